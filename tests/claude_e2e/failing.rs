//! Runs that end badly: the reason reaches people, and nothing stays alive.

use crate::model::{Fault, Script, Turn};
use crate::processes::wait_until;
use crate::world::{Way, World, bash};

/// What a run that cannot be helped leaves on GitHub.
fn assert_left_to_a_person(world: &World, outcome: &str, why: &str) {
    let run = &world.history()[0];
    assert_eq!(run["ended"]["outcome"], outcome, "{run}");
    assert_eq!(world.labels(), ["P1", "worker:01", "blocked"]);
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains(&format!("**{outcome}**")), "{}", comments[0]);
    assert!(comments[0].contains(why), "{why:?} is not in {}", comments[0]);
    assert_eq!((world.pulls().len(), world.pushes()), (0, 0));
    // Nobody takes it again before a person has looked.
    assert!(world.must(&["assign"]).starts_with("nothing to do"));
}

#[test]
fn a_refused_key_is_told_in_the_comment() {
    let world = World::new(Way::Configured, "");
    world.script(Script::new([]).failing(0, Fault::Status(401), usize::MAX));
    world.must(&["assign"]);
    world.wait_for_state("idle");
    world.wait_for_quiet();
    assert_left_to_a_person(&world, "failed", "API Error: 401");
    assert_eq!(world.must(&["logs", "01", "--raw"]).matches("\"type\":\"result\"").count(), 1);
}

#[test]
fn a_silent_model_is_timed_out_and_all_of_its_tree_ends() {
    let world = World::new(Way::Configured, "silence = \"15s\"\ngrace = \"2s\"");
    let orphan = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & (sleep 1001 & disown) >/dev/null; \
                  echo started";
    world.script(Script::new([bash(orphan)]).failing(1, Fault::Silence, usize::MAX));
    world.must(&["assign"]);
    world.model.wait_for("run", 1);
    let sleeping = |secs| {
        crate::processes::of(world.user_home())
            .iter()
            .any(|p| p.ends_with(&format!("sleep {secs} ")))
    };
    let found = || crate::processes::of(world.user_home()).join("\n");
    wait_until("both sleep", found, || sleeping(1000) && sleeping(1001));
    world.wait_for_state("idle");
    world.wait_for_quiet();
    assert_left_to_a_person(&world, "timed_out", "it said nothing for 15 seconds");
}

#[test]
fn what_the_agent_left_in_the_background_does_not_survive_a_good_end() {
    let world = World::new(Way::Configured, "");
    let mut turns = vec![bash("setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo started")];
    turns.extend(world.mending());
    turns.push(Turn::say("Done."));
    world.script(Script::new(turns));
    world.must(&["assign"]);
    world.wait_for_state("idle");
    world.wait_for_quiet();
    assert_eq!(world.history()[0]["ended"]["outcome"], "succeeded");
    assert_eq!((world.pulls().len(), world.labels().len()), (1, 1));
}

#[test]
fn a_denied_tool_defers_a_run_that_did_nothing() {
    let world = World::new(Way::Configured, "");
    let settings = world.home().join(".claude/settings.json");
    std::fs::write(settings, r#"{"permissions": {"deny": ["Bash", "Edit"]}}"#).unwrap();
    let mut turns = world.mending();
    turns.push(Turn::say("I could not do it."));
    world.script(Script::new(turns));
    world.must(&["assign"]);
    world.wait_for_state("idle");
    let run = &world.history()[0];
    assert_eq!(run["ended"]["outcome"], "deferred", "{run}");
    assert!(world.comments()[0].contains("I could not do it."));
}
