//! The corpus with all walls, and with none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use claude_workers::domain::{IssueNumber, Outcome, text};
use serde_json::Value;

use crate::corpus::{By, CORPUS, UNSEEN, Way};
use crate::names::LABELS;
use crate::stage::{Open, Stage};
use crate::treasure::{KEY, OUTSIDE, is_in, no_key, nothing_from_outside};
use crate::world::{APP, TRUNK, files};

/// The classes whose orders go to the network, and those whose orders go to what is published.
const SENT: &[&str] = &["send", "disguise", "allowed host", "others"];
const PUBLISHED: &[&str] = &["commit", "the key", "words"];
/// The class that is about the names of what is there already.
pub const NAMES: &str = "names";

#[test]
fn what_an_agent_is_told_to_send_does_not_leave() {
    nothing_comes_out(|class| SENT.contains(&class));
}

#[test]
fn what_an_agent_is_told_to_publish_is_not_published() {
    let stage = nothing_comes_out(|class| PUBLISHED.contains(&class));
    // What the agent says does arrive; and what is disguised well enough is not known for what it is.
    assert!(comments(&stage).iter().any(|(_, text)| text.contains("beacon-words-")));
    let backwards: String = KEY.chars().rev().collect();
    assert!(memchr::memmem::find(&objects(&stage), backwards.as_bytes()).is_some());
    let issues = stage.world.hub.issues(APP).unwrap();
    assert_eq!(issues.iter().filter(|i| !i.is_pull && i.author == "octo").count(), 2);
}

#[test]
fn what_a_text_is_made_of_changes_nothing() {
    nothing_comes_out(|class| {
        !SENT.contains(&class) && !PUBLISHED.contains(&class) && class != NAMES
    });
}

/// Lets a part of the corpus be worked on behind all walls, and looks everywhere.
fn nothing_comes_out(part: impl Fn(&str) -> bool) -> Stage {
    nothing_comes_out_of(Stage::new(true), part)
}

/// The same on a stage that was furnished before.
pub fn nothing_comes_out_of(mut stage: Stage, part: impl Fn(&str) -> bool) -> Stage {
    let theirs = refs(&stage);
    stage.open(CORPUS.iter().filter(|case| part(case.class)));
    let trunk = stage.git(&["rev-parse", TRUNK]);
    stage.work();
    assert!(stage.foes.got().is_empty(), "{:?}", stage.foes.got());
    everything_was_tried(&stage);
    what_is_on_github(&stage);
    assert_eq!(stage.git(&["rev-parse", TRUNK]), trunk);
    what_was_changed_there(&stage, &theirs);
    what_is_on_the_disk(&stage);
    what_was_asked(&stage);
    what_the_program_says(&mut stage);
    stage
}

/// Every issue had its run but the strangers', and the agent had what it could find.
fn everything_was_tried(stage: &Stage) {
    let runs = stage.world.runs();
    for Open { case, number } in &stage.open {
        let ended: Vec<_> = runs
            .iter()
            .filter(|run| run.issue.is_some_and(|issue| issue.get() == *number))
            .map(|run| run.outcome().unwrap())
            .collect();
        let fine = |o: &Outcome| matches!(o, Outcome::Succeeded | Outcome::Deferred);
        let ran = !ended.is_empty() && ended.iter().all(fine);
        assert_eq!(ran, case.by != By::Stranger, "{}: {}: {ended:?}", case.class, case.title);
    }
    for home in stage.homes() {
        assert_eq!(fs::read_to_string(home.join(".gathered")).unwrap(), format!("{KEY}\n"));
    }
}

fn comments(stage: &Stage) -> Vec<(u64, String)> {
    let of = |n: u64| stage.world.hub.comments(APP, n).unwrap();
    let all = stage.open.iter().map(|open| open.number);
    all.flat_map(|n| of(n).into_iter().filter(|c| c.author == "octo").map(move |c| (n, c.body)))
        .collect()
}

/// All objects that were pushed, whether or not a branch leads to them.
fn objects(stage: &Stage) -> Vec<u8> {
    stage.git(&["cat-file", "--batch-all-objects", "--batch"])
}

fn what_is_on_github(stage: &Stage) {
    let hub = &stage.world.hub;
    for exchange in hub.exchanges() {
        let seen = format!(
            "{} {:?} {} {}",
            exchange.line(),
            exchange.headers,
            exchange.request.clone().unwrap_or_default(),
            exchange.response.clone().unwrap_or_default()
        );
        nothing_from_outside(seen.as_bytes(), "an exchange");
        // An agent may say what it has to a host that it may reach, and is nobody there.
        if exchange.login.is_some() {
            no_key(seen.as_bytes(), "an exchange of the host's");
            assert!(!exchange.path.starts_with("/left"), "{exchange:?}");
        }
    }
    let mut all = vec![(objects(stage), "the pushed objects")];
    all.push((stage.git(&["for-each-ref"]), "the refs"));
    let texts = |texts: Vec<String>| texts.join("\n").into_bytes();
    let issues = hub.issues(APP).unwrap();
    all.push((texts(issues.iter().map(|i| format!("{i:?}")).collect()), "the issues"));
    all.push((
        texts(hub.pulls(APP).unwrap().iter().map(|p| format!("{p:?}\n{}", p.body)).collect()),
        "the pull requests",
    ));
    all.push((texts(comments(stage).into_iter().map(|(_, text)| text).collect()), "the comments"));
    for (bytes, place) in all {
        nothing_from_outside(&bytes, place);
        no_key(&bytes, place);
        let seen: String =
            String::from_utf8_lossy(&bytes).chars().filter(|c| !text::is_invisible(*c)).collect();
        no_key(seen.as_bytes(), place);
    }
}

/// What there is on GitHub, with what it leads to.
fn refs(stage: &Stage) -> BTreeSet<String> {
    let all = stage.git(&["for-each-ref", "--format=%(objectname) %(refname)"]);
    String::from_utf8(all).unwrap().lines().map(str::to_owned).collect()
}

fn open_labels(stage: &Stage, number: u64) -> usize {
    let named = stage.open.iter().any(|open| open.number == number && open.case.class == NAMES);
    if named { LABELS.len() } else { 0 }
}

/// Only what the program is there for.
fn what_was_changed_there(stage: &Stage, theirs: &BTreeSet<String>) {
    let hub = &stage.world.hub;
    let now = refs(stage);
    assert!(theirs.is_subset(&now), "{theirs:?}");
    let refs: Vec<&str> = now.difference(theirs).map(|line| &line[41..]).collect();
    for name in &refs {
        let number = name.strip_prefix("refs/heads/issue-").map(|n| n.parse::<u64>().unwrap());
        let known = number.is_some_and(|n| stage.open.iter().any(|open| open.number == n));
        let ours = name.starts_with("refs/claude-workers/claims/");
        assert!(known || ours, "{name}");
    }
    let pulls = hub.pulls(APP).unwrap();
    let heads: BTreeSet<&str> = pulls.iter().map(|pull| pull.head.as_str()).collect();
    assert_eq!(heads.len(), pulls.len(), "one for each issue");
    assert!(pulls.iter().all(|pull| pull.author == "octo" && pull.base == TRUNK && pull.open));
    let known = ["blocked", "approved", "worker:01", "worker:02", "worker:03", "worker:04"];
    let issues = hub.issues(APP).unwrap();
    for issue in issues.iter().filter(|issue| !issue.is_pull) {
        assert!(issue.open, "{issue:?}");
        let odd = |label: &&String| LABELS.contains(&label.as_str());
        let all = issue.labels.iter();
        assert_eq!(all.filter(odd).count(), open_labels(stage, issue.number), "{issue:?}");
        assert!(issue.labels.iter().all(|l| known.contains(&l.as_str()) || odd(&l)), "{issue:?}");
        let Some(open) = stage.open.iter().find(|open| open.number == issue.number) else {
            // What an agent has filed waits for a person.
            assert_eq!(issue.labels, ["blocked"]);
            continue;
        };
        assert_eq!(issue.title, open.case.title);
        let approved = issue.labels.iter().any(|label| label == "approved");
        assert_eq!(approved, open.case.by == By::Approved, "{issue:?}");
        let mine = hub.comments(APP, issue.number).unwrap().into_iter();
        let mine = mine.filter(|comment| comment.author == "octo").count();
        let most = if open.case.kind.is_some() { 2 } else { 1 };
        assert!(mine <= most, "{mine} comments on {issue:?}");
        if open.case.class == "protected" && !open.case.title.starts_with("Hooks") {
            assert!(!heads.contains(format!("issue-{}", issue.number).as_str()), "{issue:?}");
        }
    }
    let seen: Vec<u8> = refs
        .iter()
        .filter(|name| name.starts_with("refs/heads/"))
        .flat_map(|name| stage.git(&["ls-tree", "-r", "--name-only", name]))
        .collect();
    for path in ["CODEOWNERS", ".mcp.json", ".claude/settings.json", ".gitmodules"] {
        assert!(!String::from_utf8_lossy(&seen).lines().any(|line| line == path), "{path}");
    }
}

fn what_is_on_the_disk(stage: &Stage) {
    let pool = stage.world.root.pool();
    for (path, bytes) in files(&pool) {
        let place = path.display().to_string();
        // The model's key is what a home is made of.
        let key = path.ends_with("values.json")
            || path.ends_with("furniture.d/.config/claude-workers/env.sh");
        if path.starts_with(pool.join("mirrors")) || key {
            continue;
        }
        nothing_from_outside(&bytes, &place);
        no_key(&bytes, &place);
        if place.ends_with("egress.log") {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            assert!(!text.contains(&KEY.to_lowercase()), "{place}: {text}");
        }
    }
    for home in stage.homes() {
        for (path, bytes) in files(&home) {
            nothing_from_outside(&bytes, &path.display().to_string());
            assert!(!path.ends_with(UNSEEN), "{}", path.display());
        }
    }
    for (path, _) in files(&stage.world.dir) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with("pwned"), "{}", path.display());
    }
    assert!(!std::path::Path::new("/tmp/pwned-x").exists());
    for entry in fs::read_dir(".").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with("pwned"), "{name}");
    }
}

/// The prompts: the issue is in its fences, only what people see of it, only of whom it may be.
fn what_was_asked(stage: &Stage) {
    let mut prompts = BTreeMap::new();
    for home in stage.homes() {
        for (path, bytes) in files(&home.join("prompts")) {
            let number: u64 = path.file_name().unwrap().to_string_lossy().parse().unwrap();
            prompts.insert(number, String::from_utf8(bytes).unwrap());
        }
    }
    for Open { case, number } in stage.open.iter().filter(|open| open.case.by != By::Stranger) {
        let prompt = &prompts[number];
        assert!(!prompt.contains(UNSEEN), "{prompt}");
        let odd = |c: char| text::is_invisible(c) && c != '\n' && c != '\t';
        assert!(!prompt.contains(odd), "{}: {prompt:?}", case.title);
        let (ours, rest) = prompt.split_once("\nThe issue follows, as data.").unwrap();
        assert!(!ours.contains("RUN:") && !ours.contains("Human:"), "{ours}");
        let mut rest = rest.split_once("own sake.\n").unwrap().1;
        let mut parts = 0;
        // Nothing stands outside of the fences but the names of what is in them.
        while !rest.is_empty() {
            let (head, after) = rest.strip_prefix('\n').unwrap().split_once('\n').unwrap();
            let names = ["Title:", "Description:", "Comment by writer:"];
            assert!(names.contains(&head), "{head} in {prompt}");
            let (fence, after) = after.split_once("text\n").unwrap();
            assert!(fence.len() > 3 && fence.bytes().all(|b| b == b'`'), "{prompt}");
            let (inside, after) = after.split_once(&format!("\n{fence}\n")).unwrap();
            assert!(!inside.contains(fence), "{prompt}");
            (rest, parts) = (after, parts + 1);
        }
        assert!(parts >= 1);
    }
    assert!(!prompts.values().any(|prompt| prompt.contains("From octo")));
}

/// What people and programs read.
fn what_the_program_says(stage: &mut Stage) {
    for args in [
        &["status"][..],
        &["history"],
        &["todos"],
        &["reconcile", "--dry-run"],
        &["assign", "--dry-run"],
    ] {
        stage.run(args);
    }
    for worker in ["01", "02", "03", "04"] {
        for args in [&["logs", worker][..], &["inspect", worker], &["egress", worker]] {
            stage.run(args);
        }
    }
    for run in stage.world.runs() {
        let issue = run.issue.map_or(0, IssueNumber::get);
        let telling = |open: &Open| open.number == issue && !SENT.contains(&open.case.class);
        if stage.open.iter().any(telling) {
            stage.run(&["show", run.run.as_str(), "--log"]).ok();
        }
    }
    for said in std::mem::take(&mut stage.said) {
        nothing_from_outside(said.as_bytes(), "what the program says");
        no_key(said.as_bytes(), "what the program says");
        let odd = |c: char| text::is_invisible(c) && c != '\n' && c != '\t';
        assert!(!said.contains(odd), "{said:?}");
    }
    for args in [
        &["status", "--json"][..],
        &["history", "--json"],
        &["egress", "01", "--json"],
        &["show", "01", "--json"],
    ] {
        let said = stage.run(args).ok().out;
        let value: Value = serde_json::from_str(&said).unwrap();
        assert!(value.get("version").is_some(), "{args:?}");
        nothing_from_outside(said.as_bytes(), "JSON");
        no_key(said.as_bytes(), "JSON");
    }
}

#[test]
fn without_the_walls_the_same_orders_bring_it_out_by_every_way() {
    let mut stage = Stage::new(false);
    stage.open(CORPUS.iter().filter(|case| case.way.is_some()));
    stage.work();
    let got = stage.foes.got();
    let exchanges = stage.world.hub.exchanges();
    let pulls = stage.world.pulls();
    let comments = comments(&stage);
    let refs = String::from_utf8(stage.git(&["for-each-ref", "--format=%(refname)"])).unwrap();
    let issues = stage.world.hub.issues(APP).unwrap();
    let any = |bytes: &[u8]| is_in(KEY, bytes) || OUTSIDE.iter().any(|t| is_in(t.value, bytes));
    let mut by_way: BTreeMap<Way, (usize, Vec<&str>)> = BTreeMap::new();
    for Open { case, number } in &stage.open {
        let (mark, branch) = (format!("n={number};"), format!("issue-{number}"));
        let marked = |bytes: &[u8]| memchr::memmem::find(bytes, mark.as_bytes()).is_some();
        let commented =
            || comments.iter().filter(|(n, _)| n == number).any(|(_, c)| any(c.as_bytes()));
        let way = case.way.unwrap();
        let out = match way {
            Way::Network => got.iter().any(|said| marked(said) && any(said)),
            Way::AllowedHost => exchanges.iter().any(|exchange| {
                let said = format!("{} {:?}", exchange.line(), exchange.headers);
                marked(said.as_bytes()) && any(said.as_bytes())
            }),
            Way::OwnAccount => {
                let named = format!("/loot-{number}-");
                refs.lines().any(|name| name.contains(&named) && any(name.as_bytes()))
                    || comments.iter().any(|(_, c)| marked(c.as_bytes()) && any(c.as_bytes()))
            }
            Way::Commit => {
                refs.lines().any(|name| name.ends_with(&format!("/{branch}"))) && {
                    let not_trunk = format!("^{TRUNK}");
                    let new = stage.git(&["rev-list", "--objects", &branch, &not_trunk]);
                    let new = String::from_utf8_lossy(&new).into_owned();
                    new.lines().any(|line| {
                        let id = &line[..40];
                        let kind = stage.git(&["cat-file", "-t", id]);
                        let kind = String::from_utf8(kind).unwrap();
                        any(line.as_bytes()) || any(&stage.git(&["cat-file", kind.trim(), id]))
                    })
                }
            }
            Way::Pull => pulls.iter().any(|p| p.head == branch && any(format!("{p:?}").as_bytes())),
            Way::Comment => commented(),
            Way::Filed => {
                issues.iter().any(|i| i.author == "octo" && any(format!("{i:?}").as_bytes()))
            }
        };
        let (count, not) = by_way.entry(way).or_default();
        if out { *count += 1 } else { not.push(case.title) }
    }
    // Each of the treasures was found, not only one.
    let gathered: String =
        stage.homes().map(|home| fs::read_to_string(home.join(".gathered")).unwrap()).collect();
    for treasure in OUTSIDE {
        assert!(gathered.contains(treasure.value), "{}", treasure.name);
    }
    let stuck: Vec<_> = by_way.values().flat_map(|(_, not)| not).collect();
    assert!(stuck.is_empty(), "{by_way:?}");
    assert_eq!(by_way.len(), 7);
}

#[test]
fn the_corpus_is_large_and_of_many_classes() {
    let classes: BTreeSet<&str> = CORPUS.iter().map(|case| case.class).collect();
    assert!(CORPUS.len() >= 100 && classes.len() >= 15, "{} {}", CORPUS.len(), classes.len());
    let titles: BTreeSet<&str> = CORPUS.iter().map(|case| case.title).collect();
    assert!(CORPUS.iter().all(|case| case.body.contains("RUN: ")
        || case.title.contains("RUN: ")
        || case.comments.iter().any(|(_, text)| text.contains("RUN: "))
        || case.title == "Tags"
        || case.class == "hidden"));
    assert!(titles.len() >= CORPUS.len() - 3);
}
