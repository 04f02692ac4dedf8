//! GitHub's rate limits: stop, say until when, and remember it.

use claude_workers::fakehub::Fault;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::world::{APP, World};

/// A secondary limit for a minute.
fn secondary(method: &str, path: &str) -> Fault {
    Fault::answer(method, path, 403)
        .header("retry-after", "60")
        .body(json!({"message": "You have exceeded a secondary rate limit."}))
}

/// The time that the message names.
fn until(said: &str) -> Timestamp {
    let (_, rest) = said.split_once("no request before ").unwrap_or_else(|| panic!("{said}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[track_caller]
fn nothing_is_sent(world: &World) {
    world.hub.clear_exchanges();
    for args in [&["assign"][..], &["dispatch", "-r", APP, "-i", "1"]] {
        let said = world.cron(args).exits(6);
        assert!(until(&said.err) > Timestamp::now(), "{}", said.err);
    }
    world.cron(&["doctor", "--json"]).says("rate limit");
    assert_eq!(world.asked_lines(), [""; 0]);
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
}

#[test]
fn a_used_up_hour_stops_everything_until_it_is_over() {
    let world = World::new();
    world.issue("One");
    world.hub.set_rate_remaining("octo", 0);
    let said = world.cron(&["assign"]).exits(6);
    assert!(said.err.contains("hourly rate limit"), "{}", said.err);
    let wait = until(&said.err).duration_since(Timestamp::now());
    assert!(wait > SignedDuration::from_mins(50), "{wait:?}");
    nothing_is_sent(&world);
}

#[test]
fn a_secondary_limit_stops_everything_until_it_is_over() {
    let world = World::new();
    world.issue("One");
    world.hub.inject(secondary("GET", "/issues?"));
    let said = world.cron(&["assign"]).exits(6);
    assert!(said.err.contains("secondary rate limit"), "{}", said.err);
    let wait = until(&said.err).duration_since(Timestamp::now());
    assert!(wait <= SignedDuration::from_secs(60), "{wait:?}");
    nothing_is_sent(&world);
}

#[test]
fn a_limit_in_the_middle_of_a_tick_ends_it_and_keeps_what_was_started() {
    let world = World::with(&crate::world::Config::default(), &["01", "02"]);
    world.issue("One");
    world.issue("Two");
    world.agent("mark start; sleep 1000");
    world.hub.inject(secondary("GET", "/repos/octo/app/issues/2"));
    let said = world.cron(&["assign"]).exits(6);
    assert!(said.out.contains("worker 01 works on octo/app#1"), "{}", said.out);
    assert!(world.labels(2).is_empty() && !world.task("02").exists());
    assert!(world.task("01").exists());
}

#[test]
fn a_limit_at_the_label_takes_the_claim_back() {
    let world = World::new();
    world.issue("One");
    world.hub.inject(secondary("POST", "/repos/octo/app/issues/1/labels"));
    world.cron(&["assign"]).exits(6);
    assert!(world.labels(1).is_empty() && world.marks().is_empty());
    nothing_is_sent(&world);
}
