//! Supervisors that are killed in the middle.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::model::{Fault, Script, Turn};
use crate::processes::wait_until;
use crate::world::{Way, World, bash};

/// Kills the supervisor while the model is silent, and waits until its jail is gone too.
fn kill_supervisor(world: &World) {
    let worker = world.worker();
    assert_eq!(worker["state"], "busy", "{worker}");
    let pid = worker["task"]["pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    world.wait_for_quiet();
    let worker = world.worker();
    assert_eq!(worker["state"], "crashed", "{worker}");
    assert_eq!(
        worker["problem"],
        "its supervisor died while it was running; the next `assign` carries on"
    );
}

/// What the agent has written down of a conversation.
fn conversation(world: &World, session: &str) -> String {
    let projects = fs::read_dir(world.home().join(".claude/projects")).into_iter().flatten();
    let files = projects.flatten().map(|p| p.path().join(format!("{session}.jsonl")));
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

#[test]
fn a_killed_run_is_taken_up_once_more_and_delivered_once() {
    let world = World::new(Way::Configured, "");
    let mut turns = world.mending();
    turns.push(Turn::say("Done."));
    // The commit is made when the model falls silent.
    world.script(Script::new(turns.clone()).failing(4, Fault::Silence, 1));
    world.must(&["assign"]);
    world.model.wait_for("run", 4);
    let session = world.worker()["task"]["sessionId"].clone();
    // The agent writes its conversation down a moment after it went to the model.
    wait_until("the checks are written down", String::new, || {
        conversation(&world, session.as_str().unwrap()).contains("all checks passed")
    });
    kill_supervisor(&world);
    assert_eq!(world.labels(), ["P1", "worker:01"], "nobody else takes it meanwhile");

    // The conversation goes on where it was; what was committed stays.
    world.script(Script::new([Turn::say("All of it was done already.")]));
    assert_eq!(world.must(&["assign"]), "worker 01 carries on with octo/app#1\n");
    let asked = world.model.wait_for("run", 0);
    world.wait_for_state("idle");
    world.wait_for_quiet();
    assert!(asked.prompt().contains("You were interrupted"), "{}", asked.prompt());
    assert!(asked.body.to_string().contains("all checks passed"), "the model remembers");

    let history = world.history();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["ended"]["outcome"], "succeeded", "{}", history[0]);
    assert_eq!((&history[0]["attempt"], &history[0]["sessionId"]), (&2.into(), &session));
    assert_eq!((world.pulls().len(), world.comments().len(), world.pushes()), (1, 1, 1));
    assert_eq!(world.branches(), ["issue-1", "main"]);
    assert_eq!(world.labels(), ["P1"]);
}

#[test]
fn a_run_that_a_person_stopped_is_carried_on_in_the_same_conversation() {
    let world = World::new(Way::Configured, "");
    let mut turns = world.mending();
    turns.push(Turn::say("Done."));
    world.script(Script::new(turns.clone()).failing(4, Fault::Silence, 1));
    world.must(&["dispatch", "-r", "octo/app", "-i", "1", "-m", "opus"]);
    world.model.wait_for("run", 4);
    let session = world.worker()["task"]["sessionId"].clone();
    wait_until("the checks are written down", String::new, || {
        conversation(&world, session.as_str().unwrap()).contains("all checks passed")
    });
    world.must(&["stop", "01"]);
    assert_eq!(world.worker()["state"], "stopped");
    assert_eq!(world.labels(), ["P1", "worker:01"]);

    world.script(Script::new([Turn::say("All of it was done already.")]));
    world.must(&["restart", "01"]);
    let asked = world.model.wait_for("run", 0);
    world.wait_for_state("idle");
    world.wait_for_quiet();
    assert!(asked.body.to_string().contains("all checks passed"), "the model remembers");
    assert!(asked.body["model"].as_str().unwrap().contains("opus"), "{}", asked.body["model"]);
    let run = &world.history()[0];
    assert_eq!(run["ended"]["outcome"], "succeeded", "{run}");
    assert_eq!((&run["attempt"], &run["sessionId"]), (&2.into(), &session));
    assert_eq!((world.pulls().len(), world.comments().len(), world.pushes()), (1, 1, 1));
}

#[test]
fn a_run_that_is_killed_twice_is_left_to_a_person() {
    let world = World::new(Way::Configured, "");
    // What has left the agent's session must die with the jail as well.
    let orphan = bash("setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo started");
    world.script(Script::new([orphan]).failing(1, Fault::Silence, usize::MAX));
    world.must(&["assign"]);
    world.model.wait_for("run", 1);
    kill_supervisor(&world);

    world.script(Script::new([]).failing(0, Fault::Silence, usize::MAX));
    world.must(&["assign"]);
    world.model.wait_for("run", 0);
    kill_supervisor(&world);

    world.must(&["assign"]);
    world.wait_for_state("idle");
    world.wait_for_quiet();
    let run = &world.history()[0];
    assert_eq!(run["ended"]["outcome"], "failed");
    assert_eq!(world.labels(), ["P1", "worker:01", "blocked"]);
    let comments = world.comments();
    assert_eq!(comments.len(), 1);
    assert!(
        comments[0].contains("its supervisor was lost 2 times, last while it was running"),
        "{}",
        comments[0]
    );
    assert_eq!((world.pulls().len(), world.pushes()), (0, 0));
    assert!(world.must(&["assign"]).starts_with("nothing to do"));
}
