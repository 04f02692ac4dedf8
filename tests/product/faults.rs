//! A server that fails, or falls silent, at every call of a run in turn. Whatever happens, a later
//! tick (or a person) brings the issue to its one pull request, and nothing is done twice.

use std::sync::atomic::{AtomicUsize, Ordering};

use claude_workers::domain::Outcome;
use claude_workers::fakehub::{Exchange, Fault};

use crate::world::{APP, World};

const ASSIGN: &[&str] = &["assign"];
const DISPATCH: &[&str] = &["dispatch", "-r", APP, "-i", "1"];

/// One issue with comments, and an agent that counts its starts.
fn ready() -> World {
    let world = World::new();
    world.issue("One");
    world.hub.add_comment(APP, 1, "octo", "Please.").unwrap();
    world.hub.add_comment(APP, 1, "stranger", "Me too.").unwrap();
    world.agent("echo x >>$HOME/starts; commit a b");
    world
}

/// What every call of a run is, in order, when all goes well.
fn calls(words: &[&str]) -> Vec<String> {
    let world = ready();
    world.cron(words).ok();
    world.quiet();
    assert_eq!(world.pulls().len(), 1);
    world.hub.exchanges().iter().map(Exchange::line).collect()
}

/// Starts a run with this trouble, lets it pass, and looks at what became of it all.
fn survives(words: &[&str], trouble: Fault) -> Result<(), String> {
    let world = ready();
    world.hub.inject(trouble);
    let first = world.cron(words);
    world.quiet();
    world.hub.clear_faults();
    for _ in 0..2 {
        world.cron(ASSIGN);
        world.quiet();
    }
    let found = || {
        format!(
            "{:?} {:?} {:?} {:?} first: {first:?}",
            world.outcomes(),
            world.pulls().iter().map(|p| &p.head).collect::<Vec<_>>(),
            world.comments(1),
            world.labels(1)
        )
    };
    let must = |so: bool, what: &str| if so { Ok(()) } else { Err(format!("{what}: {}", found())) };
    let starts = || std::fs::read_to_string(world.home("01").join("starts")).unwrap_or_default();
    if world.outcomes() == [Outcome::NotStarted] {
        // It waits its turn; a person need not.
        must(world.labels(1).is_empty(), "a label is left")?;
        must(world.comments(1).len() == 2 && starts().is_empty(), "something was done")?;
        world.cron(DISPATCH).ok();
        world.quiet();
    }
    must(world.outcomes().last() == Some(&Outcome::Succeeded), "it did not succeed")?;
    must(world.pulls().len() == 1, "not one pull request")?;
    must(world.comments(1).len() == 3, "not one comment")?;
    must(world.labels(1).is_empty(), "a label is left")?;
    must(starts() == "x\n", "the agent was started more than once")?;
    must(!world.task("01").exists(), "the worker is not idle")
}

/// Tries the trouble at each call.
fn at_every_call(words: &[&str], trouble: impl Fn() -> Fault + Sync) {
    let calls = calls(words);
    assert!(calls.len() > 15, "{calls:#?}");
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(call) = calls.get(at) else { return wrong };
            let passes = u32::try_from(at).unwrap();
            if let Err(why) = survives(words, trouble().after(passes)) {
                wrong.push(format!("{at} {call}: {why}"));
            }
        }
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        // All at once: most of the time is spent in pauses before something is tried again.
        let all: Vec<_> = calls.iter().map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_failing_server_at_any_call_of_assign_loses_nothing() {
    at_every_call(ASSIGN, || Fault::answer("*", "", 502));
}

#[test]
fn a_server_that_fails_three_times_at_any_call_of_assign_loses_nothing() {
    at_every_call(ASSIGN, || Fault::answer("*", "", 503).times(3));
}

#[test]
fn a_connection_dropped_at_any_call_of_assign_loses_nothing() {
    at_every_call(ASSIGN, || Fault::drop_connection("*", ""));
}

#[test]
fn an_effect_whose_answer_was_lost_is_not_done_twice() {
    at_every_call(ASSIGN, || Fault::drop_connection("*", "").applied());
}

#[test]
fn an_answer_cut_in_half_loses_nothing() {
    at_every_call(ASSIGN, || Fault::truncate("*", ""));
}

#[test]
fn a_connection_dropped_at_any_call_of_dispatch_loses_nothing() {
    at_every_call(DISPATCH, || Fault::drop_connection("*", ""));
}
