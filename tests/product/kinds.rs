//! What a prompt asks for: a report, an update, issues.

use claude_workers::domain::{Filed, Outcome, Run};
use claude_workers::fakehub::{IssueView, NewIssue, Role};

use crate::openapi::validate_exchanges;
use crate::world::{APP, Config, World};

/// A world in which this agent worked on a prompt of this kind.
fn after(agent: &str, args: &[&str]) -> World {
    let world = World::new();
    world.issue("Crash at start");
    run(&world, agent, args);
    world
}

/// Has the agent work on a prompt of this kind, to its end.
#[track_caller]
fn run(world: &World, agent: &str, args: &[&str]) -> Run {
    world.agent(agent);
    world.writes_do_not_wait();
    world.cron(&[&["dispatch", "-r", APP, "-p", "Look around", "--kind"], args].concat()).ok();
    world.quiet();
    world.last_run()
}

#[track_caller]
fn ended(run: &Run, outcome: Outcome, why: &str) {
    let ended = run.ended.as_ref().unwrap();
    assert!(ended.outcome == outcome && ended.why.contains(why), "{ended:?} {:?}", run.work);
}

fn notes(run: &Run) -> Vec<String> {
    run.work.as_ref().unwrap().notes.clone()
}

/// The issues that are no pull requests, without the one that the world began with.
fn new_issues(world: &World) -> Vec<IssueView> {
    let all = world.hub.issues(APP).unwrap();
    all.into_iter().filter(|i| !i.is_pull && i.title != "Crash at start").collect()
}

/// A shell line that leaves an issue.
fn leaves(file: &str, text: &str) -> String {
    format!("mkdir -p $outbox/issues; printf -- '{text}' >$outbox/issues/{file}\n")
}

#[test]
fn a_report_is_in_the_history_and_nothing_is_published() {
    let agent = "printf '# Findings\\n\\nThe flag is read *twice*.\\n' >$outbox/report.md
        commit a b; commit c d; echo chatter";
    let world = after(agent, &["report"]);
    let run = world.last_run();
    ended(&run, Outcome::Succeeded, "reported");
    let work = run.work.as_ref().unwrap();
    assert_eq!(work.report.as_deref(), Some("# Findings\n\nThe flag is read *twice*."));
    let [note] = notes(&run).try_into().unwrap();
    assert!(note.contains("2 on task-") && note.contains("were not published"), "{note}");
    let line = world.cron(&["history"]).ok().out;
    assert!(line.contains("reported: # Findings The flag is read *twice*."), "{line}");
    let json: serde_json::Value =
        serde_json::from_str(&world.cron(&["history", "--json"]).ok().out).unwrap();
    assert_eq!(json["runs"][0]["kind"], "report");
    assert_eq!(json["runs"][0]["work"]["report"], "# Findings\n\nThe flag is read *twice*.");
    assert!(world.pulls().is_empty());
    // The fetch of the mirror is all that was asked of the server.
    assert_eq!(world.asked_lines(), [""; 0]);
    assert!(world.hub.exchanges().iter().all(|e| !e.path.contains("receive-pack")));
}

#[test]
fn a_report_on_an_issue_is_its_one_comment() {
    let world = after("echo '## Report' >$outbox/report.md; echo chatter", &["report", "-i", "1"]);
    ended(&world.last_run(), Outcome::Succeeded, "reported");
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.starts_with("## Report\n\n<sub>"), "{comment}");
    assert!(!comment.contains("chatter"), "{comment}");
    assert!(world.labels(1).is_empty() && world.pulls().is_empty());
}

#[test]
fn without_a_report_the_comment_or_the_last_words_are_it() {
    for (agent, report) in [
        ("echo Spoken.", "Spoken."),
        ("echo Written. >$outbox/comment.md; echo Spoken.", "Written."),
        (": >$outbox/report.md; echo Spoken.", "Spoken."),
    ] {
        let world = after(agent, &["report", "-i", "1"]);
        let run = world.last_run();
        ended(&run, Outcome::Succeeded, "reported");
        assert_eq!(run.work.unwrap().report.as_deref(), Some(report));
        let [comment] = world.comments(1).try_into().unwrap();
        assert!(comment.starts_with(report), "{comment}");
    }
    let world = after("echo A >$outbox/comment.md; echo B >$outbox/report.md", &["report"]);
    let run = world.last_run();
    assert_eq!(notes(&run), ["outbox/comment.md was left out: the report is the comment"]);
    assert_eq!(run.work.unwrap().report.as_deref(), Some("B"));
}

#[test]
fn a_run_that_hands_in_nothing_is_deferred() {
    for (kind, agent, why) in [
        ("report", ":", "without a report or a word"),
        ("report", "commit a b >/dev/null", "without a report or a word"),
        ("issues", ":", "without issues or a word"),
        ("issues", "mkdir $outbox/issues", "without issues or a word"),
        ("update", "echo Nothing to do.", "without a commit"),
    ] {
        let world = after(agent, &[kind, "-i", "1"]);
        ended(&world.last_run(), Outcome::Deferred, why);
        assert_eq!(world.labels(1), ["worker:01", "blocked"], "{kind}");
        assert!(world.pulls().is_empty() && new_issues(&world).is_empty());
    }
}

#[test]
fn an_agent_that_asks_for_a_person_or_fails_has_filed_and_reported_nothing() {
    let draft = leaves("a.md", "One\\n");
    for (end, outcome, words) in [
        ("echo 'Which part?' >$outbox/blocked.md", Outcome::Deferred, "Which part?"),
        ("exit 3", Outcome::Failed, "exit code 3"),
    ] {
        for kind in ["report", "issues"] {
            let agent = format!("{draft} echo Draft. >$outbox/report.md; {end}");
            let world = after(&agent, &[kind, "-i", "1"]);
            ended(&world.last_run(), outcome, words);
            let [comment] = world.comments(1).try_into().unwrap();
            assert!(comment.contains("This needs a person"), "{comment}");
            assert!(comment.contains(words) && comment.contains("Draft."), "{comment}");
            assert!(new_issues(&world).is_empty());
        }
    }
}

#[test]
fn a_report_of_64_kb_is_kept_whole_and_a_larger_one_is_said() {
    let fill =
        |n: u32| format!("head -c {n} /dev/zero | tr '\\0' '\"' >$outbox/report.md; echo Words.");
    let world = after(&fill(65_536), &["report", "-i", "1"]);
    let run = world.last_run();
    assert_eq!(run.work.unwrap().report.unwrap().len(), 65_536);
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.len() > 40_000 && comment.contains("this is cut"), "{}", comment.len());
    let run = self::run(&world, &fill(65_537), &["report"]);
    assert!(notes(&run)[0].contains("outbox/report.md was left out"), "{:?}", notes(&run));
    assert_eq!(run.work.unwrap().report.as_deref(), Some("Words."));
}

#[test]
fn an_update_ends_in_a_pull_request() {
    let world = after("commit a b", &["update", "-i", "1"]);
    ended(&world.last_run(), Outcome::Succeeded, "1 commit");
    let [pull] = world.pulls().try_into().unwrap();
    assert_eq!((pull.head.as_str(), pull.title.as_str()), ("issue-1", "Crash at start (#1)"));
    assert!(!pull.body.contains("Closes"), "{}", pull.body);
}

#[test]
fn issues_are_filed_blocked_and_listed() {
    let world = World::new();
    world.issue("Crash at start");
    let agent = leaves("b.md", "Second\\n\\n@octo, see <b>this</b>.\\n")
        + &leaves("a.md", "# First\\r\\nLabels: bug\\r\\n\\r\\nIt \\033[31mis\\033[0m so.\\r\\n")
        + &leaves("c.md", "CRASH at start \\n\\nAgain.")
        + &leaves("d.md", "second\\n\\nAgain.")
        + &leaves("README.txt", "no issue");
    world.hub.add_issue(APP, &NewIssue::new("octo", "Crash at start").label("bug")).unwrap();
    let run = run(&world, &agent, &["issues", "-i", "1"]);
    ended(&run, Outcome::Succeeded, "2 issues filed, 2 there already");
    let filed: Vec<_> =
        run.filed.iter().map(|f| (f.file.as_str(), f.number.get(), f.there_already)).collect();
    let there = filed[2].1;
    assert!(there <= 2);
    assert_eq!(
        filed,
        [("a.md", 3, false), ("b.md", 4, false), ("c.md", there, true), ("d.md", 4, true)]
    );
    let Filed { url, title, .. } = &run.filed[0];
    assert_eq!(
        (url, title.as_str()),
        (&format!("{}/{APP}/issues/3", world.hub.server_url()), "First")
    );
    let [first, second] = new_issues(&world).try_into().unwrap();
    assert_eq!(
        (first.title.as_str(), first.labels),
        ("First", vec!["blocked".into(), "bug".into()])
    );
    assert_eq!((second.title.as_str(), second.labels), ("Second", vec!["blocked".to_owned()]));
    let marker = |file| format!("<!-- claude-workers run {} issue {file} -->", run.run);
    let footer = "\n\n---\n*By worker `01` (agent), from its work on #1.*\n\n";
    assert_eq!(first.body, format!("It [31mis[0m so.{footer}{}", marker("a.md")));
    assert_eq!(second.body, format!("@octo, see <b>this</b>.{footer}{}", marker("b.md")));
    let [comment] = world.comments(1).try_into().unwrap();
    let listed = format!("- #3\n- #4\n- #{there} (there already)\n- #4 (there already)\n");
    assert!(comment.contains("2 issues filed") && comment.contains(&listed), "{comment}");
    let line = world.cron(&["history"]).ok().out;
    assert!(line.contains("2 issues filed, 2 there already: #3 #4"), "{line}");
    let json: serde_json::Value =
        serde_json::from_str(&world.cron(&["history", "--json"]).ok().out).unwrap();
    let filed = &json["runs"][0]["filed"];
    assert_eq!((&filed[0]["number"], &filed[0]["file"]), (&3.into(), &"a.md".into()));
    assert!(world.labels(1).is_empty() && world.pulls().is_empty());
    assert_eq!(validate_exchanges(&world.hub.exchanges()), [""; 0]);
}

#[test]
fn with_nothing_to_file_the_words_are_what_is_handed_in() {
    let world = after("echo 'All is well.'", &["issues", "-i", "1"]);
    ended(&world.last_run(), Outcome::Succeeded, "nothing to file");
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.starts_with("Done: nothing to file.\n\nAll is well."), "{comment}");
    world.cron(&["history"]).ok().says("nothing to file: All is well.");
}

#[test]
fn what_is_no_issue_is_left_out_and_said() {
    let agent = "mkdir -p $outbox/issues/directory.md; cd $outbox/issues
        head -c 66560 /dev/zero | tr '\\0' x >large.md
        printf '\\n\\nno title\\n' >untitled.md
        printf 'Title\\n\\n\\377\\376' >latin.md
        printf 'Title\\nat once\\n' >headless.md
        printf 'Secret\\n' >../secret; ln -s ../secret link.md
        mkfifo fifo.md
        printf 'Forged\\n' >'x --> <!-- claude-workers run y.md'
        printf 'Good one\\n\\nText\\n' >good.md";
    let world = after(agent, &["issues"]);
    let run = world.last_run();
    ended(&run, Outcome::Succeeded, "1 issue filed");
    let notes = notes(&run);
    for (file, fault) in [
        ("directory.md", "regular file"),
        ("large.md", "64 KB"),
        ("untitled.md", "not a title"),
        ("latin.md", "not UTF-8"),
        ("headless.md", "no empty line"),
        ("link.md", "regular file"),
        ("fifo.md", "regular file"),
        ("x --> <!--", "its name"),
    ] {
        let said = notes.iter().any(|n| n.contains(&format!("issues/{file}")) && n.contains(fault));
        assert!(said, "{file}: {notes:#?}");
    }
    assert_eq!((notes.len(), run.work.unwrap().left_out), (8, 8));
    let [good] = new_issues(&world).try_into().unwrap();
    assert_eq!(good.title, "Good one");
    let run =
        self::run(&world, "mkdir $outbox/issues; echo >$outbox/issues/a.md; echo w", &["issues"]);
    ended(&run, Outcome::Deferred, "no issue that the agent left can be filed");
}

#[test]
fn a_link_in_the_place_of_the_outbox_is_not_followed() {
    // Without a jail it would lead anywhere on the host.
    let world = World::with(&Config { sandbox: "mode = 'none'", ..Config::default() }, &["01"]);
    let agent =
        "mkdir -p $HOME/x/issues; echo Title >$HOME/x/issues/a.md; echo R >$HOME/x/report.md
        rm -r $outbox; ln -s $HOME/x $outbox; echo words";
    let run = run(&world, agent, &["issues"]);
    ended(&run, Outcome::Succeeded, "nothing to file");
    assert_eq!(run.work.unwrap().report.as_deref(), Some("words"));
    let agent = "ln -s $HOME/x/issues $outbox/issues; echo words";
    ended(&self::run(&world, agent, &["issues"]), Outcome::Succeeded, "nothing to file");
    assert!(new_issues(&world).is_empty());
}

#[test]
fn no_more_issues_are_filed_than_the_limit_says() {
    let agent =
        "mkdir $outbox/issues; for n in $(seq 10 30); do echo Title $n >$outbox/issues/$n.md; done";
    let world = after(agent, &["issues"]);
    let run = world.last_run();
    ended(&run, Outcome::Succeeded, "20 issues filed");
    assert_eq!(run.filed.last().unwrap().file, "29.md");
    assert_eq!(
        notes(&run),
        ["outbox/issues holds more than 20 files; the last 1 by name were left out"]
    );
    assert_eq!(new_issues(&world).len(), 20);
    world.configure(&Config { limits: "issues = 2", ..Config::default() });
    let run = self::run(&world, &format!("grep -c 'at most 2 of' $prompt; {agent}"), &["issues"]);
    ended(&run, Outcome::Succeeded, "0 issues filed, 2 there already");
    assert!(notes(&run)[0].contains("the last 19"), "{:?}", notes(&run));
    assert_eq!(run.agent.unwrap().last_words.as_deref(), Some("1"));
    world.configure(&Config { limits: "issues = 101", ..Config::default() });
    world.cron(&["status"]).exits(2).says("`issues` must be from 1 to 100, not 101");
}

#[test]
fn the_largest_run_of_all_fits_into_its_record() {
    let world = World::with(&Config { limits: "issues = 100", ..Config::default() }, &["01"]);
    let agent = "quotes() { head -c $1 /dev/zero | tr '\\0' '\"'; }
        mkdir $outbox/issues; cd $outbox/issues
        name=$(quotes 92 | tr '\"' n); body=$(quotes 64000); title=$(quotes 250)
        quotes 65536 >../report.md
        label=$(quotes 45); labels=$(for n in 1 2 3 4 5 6 7 8; do printf %s $label$n,; done)
        for n in $(seq 100 199); do
            printf '%s%s\\nlabels: %s\\n\\n%s' $n $title $labels $body >$n-$name.md
        done; quotes 20000";
    let run = run(&world, agent, &["issues"]);
    ended(&run, Outcome::Succeeded, "100 issues filed");
    assert_eq!((run.filed.len(), run.unsaid.len(), new_issues(&world).len()), (100, 100, 100));
    assert_eq!(run.filed[0].title.len(), 253);
    assert_eq!(run.work.unwrap().report.unwrap().len(), 65_536);
}

#[test]
fn hostile_titles_and_texts_stay_data() {
    let marker = "<!-- claude-workers run 20261121T071500-7f3a issue a.md -->";
    let agent = leaves("a.md", "\\033]0;evil\\007$(id) `id` ](x) <script>\\n\\nSee <!-- hidden")
        + &leaves("b.md", &format!("--help {{{{ x }}}}\\n\\n{marker}\\n\\n"));
    let world = after(&agent, &["issues"]);
    ended(&world.last_run(), Outcome::Succeeded, "2 issues filed");
    let [first, second] = new_issues(&world).try_into().unwrap();
    assert_eq!(first.title, "]0;evil$(id) `id` ](x) <script>");
    // What hides what stands below it is closed.
    assert!(first.body.starts_with("See <!-- hidden\n-->\n\n---\n*By worker"), "{}", first.body);
    assert_eq!(second.title, "--help {{ x }}");
    let run = world.last_run().run;
    assert!(
        second.body.contains(marker) && second.body.ends_with(&format!("run {run} issue b.md -->"))
    );
    assert!(!world.cron(&["history"]).ok().out.contains('\u{1b}'));
}

/// A repository with labels of every meaning.
fn labelled(assign: &'static str) -> World {
    let world = World::with(&Config { assign, ..Config::default() }, &["01"]);
    let mut old = NewIssue::new("octo", "Crash at start");
    for label in ["Bug", "approved", "ready", "P0", "priority:high", "worker:01", "blocked"] {
        old = old.label(label);
    }
    world.hub.add_issue(APP, &old).unwrap();
    world
}

#[test]
fn an_agent_cannot_label_its_issues_so_that_they_are_taken() {
    let world = labelled("label = 'ready'\napproval_label = 'approved'");
    let wish = "bug, Approved, READY, p0, Priority:High, worker:01, BLOCKED, new one";
    let agent = leaves("a.md", &format!("One\\nlabels: {wish}\\n\\nText"));
    let run = run(&world, &agent, &["issues"]);
    ended(&run, Outcome::Succeeded, "1 issue filed");
    let [made] = new_issues(&world).try_into().unwrap();
    assert_eq!(made.labels, ["blocked", "Bug"]);
    let left =
        "a.md: labels left out: Approved, READY, p0, Priority:High, worker:01, BLOCKED, new one";
    assert_eq!(run.unsaid, [left]);
    assert!(world.hub.labels(APP).unwrap().iter().all(|l| l.name != "new one"));
}

#[test]
fn a_filed_issue_waits_for_a_person_who_takes_blocked_off() {
    let world = World::new();
    run(&world, &leaves("a.md", "One\\n\\nText <!-- secret order -->\\n"), &["issues"]);
    world.agent("grep -c 'secret order\\|claude-workers run' $prompt; commit work done");
    for _ in 0..2 {
        world.tick().says("nothing to do: 1 idle, 1 open issues (1 waiting for a person)");
    }
    world.hub.unlabel(APP, 1, "blocked", "octo").unwrap();
    world.tick().says("works on octo/app#1");
    let run = world.last_run();
    ended(&run, Outcome::Succeeded, "1 commit");
    // What the page does not show, the agent is not told.
    assert_eq!(run.agent.unwrap().last_words.unwrap().lines().next(), Some("0"));
}

#[test]
fn what_a_token_without_write_permission_files_is_told_loudly_or_not_filed() {
    for (role, labels, filed) in
        [(Role::Read, false, 0), (Role::Triage, true, 2), (Role::Read, true, 1)]
    {
        let world = World::bare(&Config::default());
        world.hub.add_repo(&crate::world::app()).unwrap();
        world.hub.set_role(APP, "stranger", role).unwrap();
        world.hub.add_token("stranger", "ghp_other", None).unwrap();
        if labels {
            // The label is known from the time when the token could do more.
            let old = NewIssue::new("octo", "Crash at start").label("blocked");
            world.hub.add_issue(APP, &old).unwrap();
            world.hub.set_role(APP, "stranger", Role::Write).unwrap();
        }
        world.init(&["01"]);
        world.write_token("ghp_other");
        let agent = leaves("a.md", "One\\n") + &leaves("b.md", "Two\\n");
        if labels {
            run(&world, &leaves("a.md", "Crash at start\\n"), &["issues"]);
            world.hub.set_role(APP, "stranger", role).unwrap();
        }
        let run = run(&world, &agent, &["issues"]);
        assert_eq!((run.filed.len(), new_issues(&world).len()), (filed, filed), "{role:?}");
        let blocked = new_issues(&world).iter().filter(|i| i.labels == ["blocked"]).count();
        match role {
            // GitHub drops the label in silence; it is put on at once.
            Role::Triage => {
                ended(&run, Outcome::Succeeded, "2 issues filed");
                assert_eq!(blocked, 2);
            }
            _ if labels => {
                ended(&run, Outcome::Failed, "is filed WITHOUT the label blocked");
                assert!(run.unsaid[0].contains("octo/app#2 is filed WITHOUT"), "{:?}", run.unsaid);
                assert_eq!(blocked, 0);
            }
            // Without the label nothing is filed at all.
            _ => ended(&run, Outcome::Failed, "0 issues filed; the rest is not: GitHub says 403"),
        }
    }
}

#[test]
fn a_report_leaves_what_an_earlier_run_was_blocked_by_to_a_person() {
    let world = World::new();
    world.issue("Crash at start");
    world.agent("exit 1");
    world.tick();
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    ended(&run(&world, "echo Because.", &["report", "-i", "1"]), Outcome::Succeeded, "reported");
    assert_eq!(world.labels(1), ["blocked"]);
    world.agent("commit a b");
    world.tick().says("nothing to do");
    world.cron(&["dispatch", "-r", APP, "-i", "1"]).ok();
    world.quiet();
    // What works on the issue takes off what we had put on.
    assert!(world.labels(1).is_empty() && world.pulls().len() == 1);
}

#[test]
fn a_stopped_run_of_any_kind_is_carried_on() {
    for (kind, agent) in [
        ("report", "echo Found. >$outbox/report.md".to_owned()),
        ("update", "commit a b".to_owned()),
        ("issues", leaves("a.md", "One\\n")),
    ] {
        for crash in [false, true] {
            let world = World::new();
            world.agent(
                "mark up; mkdir -p $outbox/issues; echo Old >$outbox/issues/old.md; sleep 1000",
            );
            world.cron(&["dispatch", "-r", APP, "-p", "Look around", "--kind", kind]).ok();
            world.wait_until("the agent is at work", || !world.marks().is_empty());
            if crash {
                world.kill_supervisor("01");
            } else {
                world.cron(&["stop", "01"]).ok();
            }
            world.agent(&format!("grep -q 'Look around' $prompt && {{ {agent}\n}}"));
            world.cron(if crash { &["assign"] } else { &["restart", "01"] }).ok();
            world.quiet();
            let run = world.last_run();
            ended(&run, Outcome::Succeeded, "");
            assert_eq!((run.attempt, run.filed.len()), (2, usize::from(kind == "issues")));
            assert_eq!(new_issues(&world).len(), run.filed.len(), "{kind}");
            assert_eq!(world.pulls().len(), usize::from(kind == "update"));
        }
    }
}

#[test]
fn kinds_need_a_prompt_and_a_name_that_is_known() {
    let world = World::new();
    world.issue("One");
    let dispatch = |args: &[&str]| world.cron(&[&["dispatch", "-r", APP], args].concat());
    let said = dispatch(&["-i", "1", "--kind", "plan"]).exits(2);
    for kind in ["report", "update", "issues"] {
        assert!(said.err.contains(kind), "{}", said.err);
        dispatch(&["-i", "1", "--kind", kind]).exits(2).says("--kind needs a prompt");
    }
    assert_eq!(world.asked_lines(), [""; 0]);
    let said = dispatch(&["--kind", "report", "-p", "x", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["kind"], "report");
    world.quiet();
}
