//! Nothing is taken twice: not at once, and not tick after tick.

use std::time::Duration;

use claude_workers::domain::Outcome;
use claude_workers::fakehub::Fault;
use claude_workers::store::{self, AssignLock, Root};

use crate::world::{APP, Config, World};

#[test]
fn an_issue_whose_pull_request_was_closed_or_merged_is_not_taken_again() {
    for merged in [false, true] {
        let world = World::new();
        world.issue("One");
        world.tick();
        if merged {
            world.hub.merge_pull(APP, 2).unwrap();
            world.hub.set_open(APP, 1, true).unwrap();
        } else {
            world.hub.set_open(APP, 2, false).unwrap();
        }
        // Another machine, which has no history of it, must not take it either.
        let history = world.root.record(&"01".parse().unwrap()).completed();
        for forgotten in [false, true] {
            if forgotten {
                std::fs::remove_dir_all(&history).unwrap();
            }
            world.tick().says("1 with a pull request");
        }
        assert_eq!(world.pulls().len(), 1);
    }
}

/// A person is quicker than a GitHub that takes no comment for a while.
#[test]
fn a_pull_request_that_was_merged_or_closed_before_all_is_said_is_not_opened_again() {
    for (merged, kept) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new();
        world.issue("One");
        world.hub.inject(Fault::answer("POST", "/comments", 502).times(9));
        world.cron(&["assign"]).ok();
        world.wait_until("the pull request is there and no comment is", || {
            let run = store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
            run.is_some_and(|run| !run.unsaid.is_empty())
        });
        world.kill_supervisor("01");
        if merged {
            world.hub.merge_pull(APP, 2).unwrap();
        } else {
            world.hub.set_open(APP, 2, false).unwrap();
        }
        let mut git = assert_cmd::Command::new("git");
        git.arg("--git-dir").arg(world.hub.repo_dir(APP).unwrap());
        let branch = "refs/heads/issue-1";
        if !kept {
            git.args(["update-ref", "-d", branch]).assert().success();
        }
        world.hub.clear_faults();
        world.tick().says("worker 01 carries on");
        let found = format!("{merged} {kept} {:?}", world.last_run());
        assert_eq!(world.outcomes(), [Outcome::Succeeded], "{found}");
        assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1), "{found}");
        assert_eq!(world.last_run().pr.map(|pr| (pr.number, pr.open)), Some((2, false)), "{found}");
        assert!(world.labels(1).is_empty());
        let mut git = assert_cmd::Command::new("git");
        git.arg("--git-dir").arg(world.hub.repo_dir(APP).unwrap());
        let listed = git.args(["for-each-ref", branch]).unwrap();
        assert_eq!(!listed.stdout.is_empty(), kept, "{found}");
    }
}

#[test]
fn a_failed_issue_is_taken_again_when_a_person_took_the_labels_off() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    world.tick();
    assert_eq!(world.runs().len(), 1);
    for label in ["worker:01", "blocked"] {
        world.hub.unlabel(APP, 1, label, "octo").unwrap();
    }
    world.agent("commit a b");
    world.tick().says("works on octo/app#1");
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded]);
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn a_failed_issue_with_one_label_left_is_not_taken_again() {
    for label in ["worker:01", "blocked"] {
        let world = World::new();
        world.issue("One");
        world.agent("exit 1");
        world.tick();
        world.hub.unlabel(APP, 1, label, "octo").unwrap();
        world.tick().says("nothing to do");
        assert_eq!(world.runs().len(), 1);
    }
}

#[test]
fn a_second_assign_says_so_and_ends_at_once() {
    let world = World::new();
    world.issue("One");
    let held = AssignLock::try_take(&Root::new(world.root.path().to_owned())).unwrap().unwrap();
    world.cron(&["assign"]).ok().says("another assign is under way");
    let said = world.cron(&["assign", "-q"]).ok();
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
    assert_eq!(world.asked_lines(), [""; 0]);
    drop(held);
    world.tick().says("works on octo/app#1");
}

#[test]
fn twenty_assigns_at_once_start_each_issue_once() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    world.issue("Two");
    std::thread::scope(|scope| {
        let ticks: Vec<_> = (0..20).map(|_| scope.spawn(|| world.cron(&["assign"]).code)).collect();
        assert!(ticks.into_iter().all(|t| t.join().unwrap() == 0));
    });
    world.quiet();
    let mut heads: Vec<String> = world.pulls().into_iter().map(|p| p.head).collect();
    heads.sort();
    assert_eq!(heads, ["issue-1", "issue-2"]);
    assert_eq!(world.runs().len(), 2);
}

#[test]
fn a_run_that_is_over_before_its_tick_is_not_begun_again_in_that_tick() {
    let world =
        World::with(&Config { sandbox: "mode = 'none'", ..Config::default() }, &["01", "02"]);
    world.issue("One");
    world.issue("Two");
    // When it is said that the second issue is gone, so that the tick plans once more, the run on the
    // first has long ended.
    world.hub.inject(Fault::answer("GET", "/issues/2", 410).late(Duration::from_secs(8)));
    world.cron(&["assign"]).says("worker 01 works on octo/app#1");
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert_eq!(world.pulls().len(), 1);
}
