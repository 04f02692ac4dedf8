//! A server that fails, or falls silent, at every call of a run in turn. Whatever happens, a later
//! tick (or a person) brings the issue to its one pull request, and nothing is done twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claude_workers::domain::Outcome;
use claude_workers::fakehub::{Exchange, Fault};
use serde_json::json;

use crate::world::{APP, Config, World};

const ASSIGN: &[&str] = &["assign"];
const DISPATCH: &[&str] = &["dispatch", "-r", APP, "-i", "1"];

/// One issue with comments, and an agent that counts its starts.
fn ready(config: &Config) -> World {
    let world = World::with(config, &["01"]);
    world.issue("One");
    world.hub.add_comment(APP, 1, "octo", "Please.").unwrap();
    world.hub.add_comment(APP, 1, "stranger", "Me too.").unwrap();
    world.agent("echo x >>$HOME/starts; commit a b");
    world
}

/// What every call of a run is, in order, when all goes well.
fn calls(config: &Config, words: &[&str]) -> Vec<Exchange> {
    let world = ready(config);
    world.cron(words).ok();
    world.quiet();
    assert_eq!(world.pulls().len(), 1);
    let calls = world.hub.exchanges();
    assert!(calls.len() > 15, "{calls:#?}");
    calls
}

/// Waits until nothing goes on. What GitHub asks to wait for is over at once.
fn quiet(world: &World) {
    let pauses = world.root.github().join("cooldown.json");
    world.quiet_while(|| drop(std::fs::remove_file(&pauses)));
}

/// Starts a run with this trouble, lets it pass, and looks at what became of it all.
fn survives(config: &Config, words: &[&str], trouble: Fault) -> Result<(), String> {
    let world = ready(config);
    world.hub.inject(trouble);
    let first = world.cron(words);
    quiet(&world);
    world.hub.clear_faults();
    for _ in 0..2 {
        world.cron(ASSIGN);
        quiet(&world);
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
    at_each(&Config::default(), words, |_| vec![trouble()]);
}

/// The same without a jail, with all the troubles that suit a call.
fn at_calls(troubles: impl Fn(&Exchange) -> Vec<Fault>) {
    let config = Config { sandbox: "mode = 'none'", ..Config::default() };
    at_each(&config, ASSIGN, troubles);
}

fn at_each(config: &Config, words: &[&str], troubles: impl Fn(&Exchange) -> Vec<Fault>) {
    let calls: Vec<(usize, String, Fault)> = calls(config, words)
        .iter()
        .enumerate()
        .flat_map(|(at, call)| troubles(call).into_iter().map(move |t| (at, call.line(), t)))
        .collect();
    assert!(calls.len() > 3, "{calls:#?}");
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((at, call, trouble)) = calls.get(at) else { return wrong };
            let passes = u32::try_from(*at).unwrap();
            if let Err(why) = survives(config, words, trouble.clone().after(passes)) {
                wrong.push(format!("{at} {call} {trouble:?}: {why}"));
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

#[test]
fn a_server_that_is_silent_beyond_the_limit_of_time_loses_nothing() {
    // REST is given up after 30 seconds, git after 60. All calls wait at the same time.
    at_calls(|call| {
        let wait = Duration::from_secs(if call.api { 33 } else { 66 });
        vec![Fault::slow("*", "", wait)]
    });
}

#[test]
fn an_answer_from_a_replica_that_is_behind_loses_nothing_and_does_nothing_twice() {
    at_calls(|call| {
        let lags: &[u64] = if call.api && call.method == "GET" { &[1, 2, 4] } else { &[] };
        lags.iter().map(|lag| Fault::stale("*", "", *lag)).collect()
    });
}

#[test]
fn replicas_that_stay_behind_lose_nothing_and_do_nothing_twice() {
    for lag in 1..=6 {
        let config = Config { sandbox: "mode = 'none'", ..Config::default() };
        let behind = Fault::stale("*", "", lag).times(1000);
        survives(&config, ASSIGN, behind).unwrap_or_else(|why| panic!("{lag} behind: {why}"));
    }
}

#[test]
fn a_request_that_arrives_twice_is_done_once_in_the_end() {
    let write = |call: &Exchange| call.method != "GET";
    at_calls(|call| if write(call) { vec![Fault::twice("*", "")] } else { Vec::new() });
}

#[test]
fn an_element_on_two_pages_of_a_list_is_taken_once() {
    let list = |call: &Exchange| call.target().contains("per_page");
    at_calls(|call| if list(call) { vec![Fault::repeat("*", "")] } else { Vec::new() });
}

#[test]
fn a_token_that_is_refused_in_the_middle_loses_nothing() {
    at_calls(|_| vec![Fault::answer("*", "", 401).body(json!({"message": "Bad credentials"}))]);
}

#[test]
fn a_limit_of_the_rate_met_at_any_call_loses_nothing() {
    let secondary = "You have exceeded a secondary rate limit. Please wait.";
    at_calls(|call| {
        let refused = |status| Fault::answer("*", "", status);
        if !call.api {
            // What git cannot tell from other words of a server that is asked too much.
            return vec![refused(429).header("retry-after", "1")];
        }
        let mut all = vec![
            refused(403).body(json!({ "message": secondary })),
            refused(429).body(json!({ "message": "Too many requests" })),
        ];
        for status in [403, 429] {
            all.push(refused(status).header("retry-after", "1"));
            let used_up = refused(status).header("x-ratelimit-remaining", "0");
            let words = json!({ "message": "API rate limit exceeded for user" });
            all.push(used_up.header("x-ratelimit-reset", "4102444800").body(words));
        }
        all
    });
}
