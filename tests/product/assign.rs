//! Which issues a tick takes, and which it leaves alone.

use std::path::PathBuf;

use claude_workers::fakehub::{Fault, IssueView, NewIssue, NewRepo, Role};
use jiff::{SignedDuration, Timestamp};

use crate::world::{APP, Config, TOKEN, World, files};

const THREE: &str = "repos = ['octo/app', 'octo/b', 'octo/c']";

/// `octo/app`, `octo/b` and `octo/c`, with an issue each.
fn three(top: &'static str, workers: &[&str]) -> World {
    let world = World::bare(&Config { top, ..Config::default() });
    for slug in [APP, "octo/b", "octo/c"] {
        world.hub.add_repo(&NewRepo::new(slug).file("README.md", "hello\n")).unwrap();
        world.hub.add_issue(slug, &NewIssue::new("octo", "Something")).unwrap();
    }
    world.init(workers);
    world
}

/// An issue that is so many hours old.
fn aged(hours: i64, title: &str) -> NewIssue {
    NewIssue::new("octo", title).created_at(Timestamp::now() - SignedDuration::from_hours(hours))
}

/// What a dry run would start: `01 octo/app#1`, ….
fn planned(world: &World) -> Vec<String> {
    let said = world.cron(&["assign", "--dry-run"]).ok();
    let line = |line: &str| {
        let words: Vec<&str> = line.strip_prefix("would start worker ")?.split(' ').collect();
        Some(format!("{} {}", words[0], words[2]))
    };
    said.out.lines().filter_map(line).collect()
}

#[test]
fn one_tick_starts_as_many_issues_as_there_are_idle_workers() {
    let world = World::with(
        &Config { assign: "max_per_repo = 9", ..Config::default() },
        &["01", "02", "03", "04"],
    );
    for n in 1..=6 {
        world.issue(&format!("Issue {n}"));
    }
    world.tick();
    let mut taken: Vec<u64> = world.runs().iter().map(|r| r.issue.unwrap().get()).collect();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4]);
    world.tick();
    assert_eq!(world.pulls().len(), 6);
}

#[test]
fn at_most_two_of_a_repository_are_under_way_at_once() {
    let world = three(THREE, &["01", "02", "03", "04"]);
    world.hub.add_issue(APP, &aged(5, "A")).unwrap();
    world.hub.add_issue(APP, &aged(4, "B")).unwrap();
    let planned = planned(&world);
    assert_eq!(planned, ["01 octo/app#2", "02 octo/app#3", "03 octo/b#1", "04 octo/c#1"]);
    world.agent("mark start; sleep 1000");
    world.cron(&["assign"]).ok();
    world.init(&["05"]);
    world.cron(&["assign", "-v"]).ok().says("octo/app#1: 2 runs are under way");
}

#[test]
fn a_reserve_of_idle_workers_is_kept() {
    let config = Config { assign: "reserve = 1", ..Config::default() };
    let world = World::with(&config, &["01", "02"]);
    world.issue("One");
    world.issue("Two");
    world.tick();
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn priority_goes_before_age_and_a_low_one_comes_last() {
    let world = World::with(
        &Config { assign: "max_per_repo = 9", ..Config::default() },
        &["01", "02", "03", "04", "05", "06"],
    );
    let issues = [
        aged(1, "young"),
        aged(9, "old"),
        aged(5, "low").label("priority:low"),
        aged(2, "high").label("priority:high"),
        aged(3, "P1").label("P1"),
        aged(1, "critical").label("priority:critical"),
    ];
    for issue in &issues {
        world.hub.add_issue(APP, issue).unwrap();
    }
    let order: Vec<String> =
        planned(&world).iter().map(|line| line.rsplit('#').next().unwrap().to_owned()).collect();
    assert_eq!(order, ["6", "5", "4", "2", "1", "3"]);
}

#[test]
fn only_issues_with_the_configured_label_are_taken() {
    let world = World::with(&Config { assign: "label = 'agent'", ..Config::default() }, &["01"]);
    world.issue("Not for us");
    world.tick().says("1 without the label");
    world.hub.add_issue(APP, &NewIssue::new("octo", "For us").label("Agent")).unwrap();
    world.tick().says("works on octo/app#2");
}

#[test]
fn what_a_worker_or_a_person_holds_is_left_alone() {
    let world = World::new();
    world.hub.add_issue(APP, &NewIssue::new("octo", "Theirs").label("Worker:77")).unwrap();
    world.hub.add_issue(APP, &NewIssue::new("octo", "Stuck").label("blocked")).unwrap();
    let said = world.cron(&["assign", "--dry-run"]).ok();
    let said = said.says("octo/app#1: has the label Worker:77");
    said.says("octo/app#2: has the label blocked");
    world.tick().says("1 held, 1 waiting for a person");
}

#[test]
fn pull_requests_on_the_list_are_no_issues() {
    let world = World::new();
    world.issue("One");
    world.tick();
    // The pull request is open and now the only thing on the list.
    world.hub.set_open(APP, 1, false).unwrap();
    world.tick().says("1 idle, 0 open issues");
}

#[test]
fn every_page_of_a_list_is_read() {
    let world = World::new();
    let oldest = aged(100, "The oldest, on the last page");
    world.hub.add_issue(APP, &oldest).unwrap();
    for n in 2..=250 {
        world.issue(&format!("Issue {n}"));
    }
    assert_eq!(planned(&world), ["01 octo/app#1"]);
    let said = world.cron(&["assign", "-q", "--dry-run"]).ok();
    assert_eq!(said.out.matches("no idle worker is left").count(), 249);
    let pages = world.asked_lines().iter().filter(|l| l.contains("&page=")).count();
    assert_eq!(pages, 2, "{:?}", world.asked_lines());
}

#[test]
fn issues_of_all_own_repositories_are_taken_when_none_is_named() {
    let world = three("", &["01", "02", "03"]);
    world.hub.add_user("other").unwrap();
    world.hub.add_repo(&NewRepo::new("other/theirs").file("a", "a")).unwrap();
    world.hub.set_role("other/theirs", "octo", Role::Write).unwrap();
    world.hub.add_issue("other/theirs", &aged(9, "Theirs")).unwrap();
    let planned = planned(&world);
    assert_eq!(planned, ["01 octo/app#1", "02 octo/b#1", "03 octo/c#1"]);
}

#[test]
fn a_bad_repository_is_reported_and_the_rest_goes_on() {
    for (status, tries, code, words) in [(404, 1, 4, "404"), (500, 3, 1, "its server failed")] {
        let world =
            World::bare(&Config { top: "repos = ['octo/app', 'octo/b']", ..Config::default() });
        for slug in [APP, "octo/b"] {
            world.hub.add_repo(&NewRepo::new(slug).file("a", "a")).unwrap();
            world.hub.add_issue(slug, &NewIssue::new("octo", "Something")).unwrap();
        }
        world.init(&["01"]);
        world.hub.inject(Fault::answer("GET", "/repos/octo/app/issues?", status).times(tries));
        let said = world.cron(&["assign"]).exits(code);
        assert!(said.err.contains(words) && said.err.contains("octo/app"), "{}", said.err);
        world.quiet();
        assert_eq!(world.hub.pulls("octo/b").unwrap().len(), 1);
        world.tick().says("works on octo/app#1");
    }
}

#[test]
fn a_named_repository_that_cannot_be_reached_is_reported_and_the_rest_goes_on() {
    let world = three("repos = ['octo/app', 'octo/b', 'octo/c', 'octo/typo']", &["01"]);
    let said = world.cron(&["assign"]).exits(5);
    assert!(said.err.contains("octo/typo is not among the repositories"), "{}", said.err);
    world.quiet();
    assert_eq!(world.pulls().len(), 1);
}

/// What there is on GitHub, of which nothing may change.
fn written(world: &World) -> (Vec<IssueView>, usize) {
    let writes = world.asked().iter().filter(|e| e.method != "GET").count();
    (world.hub.issues(APP).unwrap(), writes)
}

#[test]
fn an_archived_repository_is_left_alone_before_anything_is_written() {
    for top in ["repos = ['octo/app']", THREE] {
        let world = three(top, &["01"]);
        world.hub.set_archived(APP, true).unwrap();
        let before = written(&world);
        let said = world.cron(&["assign", "-v"]).ok();
        said.says("octo/app#1: the repository is archived");
        world.quiet();
        assert_eq!(before.0, written(&world).0);
        assert!(world.hub.pulls(APP).unwrap().is_empty());
    }
}

#[test]
fn a_repository_without_rights_is_left_alone_before_anything_is_written() {
    let world = World::bare(&Config { top: "repos = ['boss/app']", ..Config::default() });
    world.hub.add_user("boss").unwrap();
    world.hub.add_repo(&NewRepo::new("boss/app").file("a", "a")).unwrap();
    world.hub.add_issue("boss/app", &NewIssue::new("boss", "Something")).unwrap();
    world.init(&["01"]);
    for role in [Role::Read, Role::Triage] {
        world.hub.set_role("boss/app", "octo", role).unwrap();
        let said = world.cron(&["assign", "-v"]).ok();
        said.says("boss/app#1: the token may not label and push there");
    }
    assert!(world.asked().iter().all(|e| e.method == "GET"));
    assert!(world.hub.labels("boss/app").unwrap().is_empty());
    world.hub.set_role("boss/app", "octo", Role::Write).unwrap();
    world.tick().says("works on boss/app#1");
}

#[test]
fn a_dry_run_writes_nothing_anywhere_and_tells_the_real_plan() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    world.hub.add_issue(APP, &NewIssue::new("stranger", "Two")).unwrap();
    world.hub.add_issue(APP, &NewIssue::new("octo", "Three").label("P0")).unwrap();
    // What GitHub answered may be remembered; nothing else.
    let remembered = world.root.github();
    let state = |world: &World| {
        let mut files = files(&world.user_home());
        files.retain(|(path, _)| !path.starts_with(&remembered));
        files
    };
    let before = (state(&world), written(&world));
    let plan = planned(&world);
    assert_eq!(plan, ["01 octo/app#3", "02 octo/app#1"]);
    let left: Vec<PathBuf> = state(&world).into_iter().map(|(path, _)| path).collect();
    let had: Vec<PathBuf> = before.0.iter().map(|(path, _)| path.clone()).collect();
    let lock = world.root.assign_lock();
    assert_eq!(
        left.iter().filter(|p| **p != lock).collect::<Vec<_>>(),
        had.iter().collect::<Vec<_>>()
    );
    assert_eq!(before.1, written(&world));
    let said = world.tick();
    let real = said.out.lines().filter_map(|l| l.strip_prefix("worker "));
    let real: Vec<String> = real
        .map(|l| l.split(' ').collect::<Vec<_>>())
        .map(|words| format!("{} {}", words[0], words[3]))
        .collect();
    assert_eq!(real, plan);
}

#[test]
fn quiet_is_silent_only_when_there_is_nothing_to_say() {
    let world = World::new();
    let said = world.cron(&["assign", "-q"]).ok();
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
    world.cron(&["assign"]).ok().says("nothing to do: 1 idle, 0 open issues");
    world.issue("One");
    world.cron(&["assign", "-q"]).ok().says("worker 01 works on octo/app#1");
    world.quiet();
    world.write_token("wrong");
    let said = world.cron(&["assign", "-q"]).exits(5);
    assert!(said.out.is_empty() && said.err.contains("401"), "{said:?}");
    world.write_token(TOKEN);
}

#[test]
fn without_workers_assign_says_how_to_make_one() {
    let world = World::bare(&Config::default());
    world.cron(&["assign"]).exits(3).says("hint: make one: `claude-workers init 01`");
}
