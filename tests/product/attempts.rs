//! Further attempts, and the pauses before them.

use std::fs;

use claude_workers::domain::{Outcome, Run};
use claude_workers::store;
use serde_json::Value;

use crate::world::{Config, World};

fn retry(text: &str) -> Config {
    Config { more: format!("[retry]\n{text}"), ..Config::default() }
}

fn task(world: &World) -> Run {
    store::read_task(&world.root, &"01".parse().unwrap()).unwrap().expect("there is a task")
}

/// An agent has failed once, with another attempt to come.
fn failed_once(config: &Config) -> World {
    let world = World::with(config, &["01"]);
    world.agent("echo half >half.txt; echo sorry >&2; exit 3");
    world.issue("One");
    world.tick();
    world
}

/// The pause is over.
fn later(world: &World) {
    let mut task: Value = serde_json::from_slice(&fs::read(world.task("01")).unwrap()).unwrap();
    task["pause"]["secs"] = 0.into();
    fs::write(world.task("01"), task.to_string()).unwrap();
}

#[test]
fn a_failed_run_waits_and_is_tried_again_in_the_same_clone() {
    let world = failed_once(&retry("failed = 1\nwait = '20m'"));
    let said = world.cron(&["status"]).ok().out;
    assert!(said.contains("01  waiting  octo/app#1"), "{said}");
    assert!(said.contains("waits for another attempt until 2"), "{said}");
    assert!(said.contains("(attempt 1: the agent ended with exit code 3)"), "{said}");
    assert_eq!(task(&world).pause.unwrap().secs, 1200);
    world.hub.clear_exchanges();
    world.tick().says("no worker is idle");
    assert_eq!(world.asked_lines(), [""; 0]);
    assert_eq!((world.labels(1), world.comments(1).len()), (vec!["worker:01".to_owned()], 0));
    assert!(world.runs().is_empty());
    world.cron(&["reconcile", "--dry-run"]).ok().says("for its next attempt");
    world.cron(&["dispatch", "-r", "octo/app", "-p", "x"]).exits(3).says("waits for another");

    later(&world);
    world.agent("cat half.txt && grep -q 'Your last attempt failed' $prompt && commit done.txt x");
    world.tick().says("worker 01 carries on with octo/app#1");
    let run = world.last_run();
    assert_eq!((run.outcome(), run.attempt, run.losses), (Some(Outcome::Succeeded), 2, 0));
    assert_eq!((run.tried.len(), run.tried[0].outcome), (1, Outcome::Failed));
    world.cron(&["show", "01"]).ok().says("attempt 1, failed: the agent ended with exit code 3");
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
    assert!(world.labels(1).is_empty());
}

#[test]
fn after_the_last_attempt_it_has_failed_and_that_is_said_once() {
    let world = failed_once(&retry("failed = 2\nwait = '0s'"));
    world.tick();
    assert_eq!(task(&world).attempt, 2);
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    world.cron(&["history"]).ok().says("the agent ended with exit code 3 (attempt 3)");
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.contains("(attempt 3)"), "{comment}");
    let json: Value = serde_json::from_str(&world.cron(&["history", "--json"]).ok().out).unwrap();
    assert_eq!(json["runs"][0]["tried"].as_array().unwrap().len(), 2);
}

#[test]
fn restart_does_not_wait_and_begins_to_count_anew() {
    let world = failed_once(&retry("failed = 1"));
    world.cron(&["restart", "01"]).ok();
    world.quiet();
    let run = task(&world);
    assert_eq!((run.attempt, run.failures, run.tried.len()), (2, 1, 2));
    world.agent("commit a b");
    world.cron(&["restart", "01"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}

#[test]
fn stop_and_reset_end_the_waiting() {
    let world = failed_once(&retry("failed = 1\nwait = '0s'"));
    world.cron(&["stop", "01"]).ok();
    world.cron(&["status"]).ok().says("01  stopped");
    world.tick();
    assert_eq!((task(&world).attempt, task(&world).pause), (1, None), "it is left to the person");

    let world = failed_once(&retry("failed = 1"));
    world.cron(&["reset", "01"]).ok();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    assert!(world.labels(1).is_empty() && world.comments(1).is_empty());
    world.agent("commit a b");
    world.tick().says("worker 01 works on octo/app#1");
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded]);
}

#[test]
fn watch_waits_for_the_end_of_the_last_attempt() {
    let world = failed_once(&retry("failed = 1"));
    let watch = std::thread::scope(|scope| {
        let watch = scope.spawn(|| world.cron(&["watch", "01"]));
        let watching = || world.processes().iter().any(|(_, line)| line.contains(" watch 01"));
        world.wait_until("somebody watches", watching);
        later(&world);
        world.agent("commit a b");
        world.cron(&["assign"]).ok();
        watch.join().unwrap()
    });
    watch.exits(0);
}

#[test]
fn a_waiting_run_keeps_its_claim() {
    let world = failed_once(&retry("failed = 1"));
    let before = task(&world).claim.unwrap();
    let text = fs::read_to_string(world.task("01")).unwrap();
    fs::write(world.task("01"), text.replace(&before.at.to_string(), "2001-01-01T00:00:00Z"))
        .unwrap();
    world.tick();
    let run = task(&world);
    assert_ne!(run.claim.unwrap().id, before.id);
    assert_eq!((run.attempt, run.pause.is_some()), (1, true));
}

#[test]
fn a_run_that_is_never_to_be_taken_up_fails_when_it_is_lost() {
    let world = World::with(&retry("lost = 0"), &["01"]);
    world.agent("mark up; sleep 1000");
    world.issue("One");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world.kill_supervisor("01");
    world.cron(&["reconcile", "--dry-run"]).ok().says("end it as failed");
    world.tick();
    assert_eq!((world.outcomes(), world.marks().len()), (vec![Outcome::Failed], 1));
    assert_eq!(world.comments(1).len(), 1);
}
