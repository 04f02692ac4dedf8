//! What all processes of a root keep to together, so that GitHub is not asked too much: the pace of
//! writes, pauses, and how much is remembered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use claude_workers::domain::{Outcome, Phase};
use claude_workers::fakehub::{Exchange, Fault};
use claude_workers::process::uptime;
use claude_workers::store;
use serde_json::{Value, json};

use crate::world::{APP, Config, Said, World, files};

/// A file of `.pool/github` that says something of one token: what it says.
fn of_token(world: &World, name: &str) -> Value {
    let kept: Value =
        serde_json::from_slice(&fs::read(world.root.github().join(name)).unwrap()).unwrap();
    let tokens = kept["tokens"].as_object().unwrap();
    assert_eq!(tokens.len(), 1, "{kept}");
    tokens.values().next().unwrap().clone()
}

/// Makes it say something else.
fn tell_of_token(world: &World, name: &str, field: &str, value: &Value) {
    let path = world.root.github().join(name);
    let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for token in kept["tokens"].as_object_mut().unwrap().values_mut() {
        token[field] = value.clone();
    }
    fs::write(path, kept.to_string()).unwrap();
}

/// So many seconds from now a bucket is full again. Returns when that is.
fn full_in(world: &World, bucket: &str, secs: i64) -> i64 {
    let at = uptime().unwrap().secs + secs;
    tell_of_token(world, "pace.json", bucket, &json!(at));
    at
}

fn waited(said: &Said) -> u64 {
    let said: Value = serde_json::from_str(&said.out).unwrap();
    said["github"]["waitedSecs"].as_u64().unwrap()
}

fn is_write(exchange: &Exchange) -> bool {
    exchange.api && exchange.method != "GET" && !exchange.path.contains("graphql")
}

fn is_content(exchange: &Exchange) -> bool {
    let kinds = ["/issues", "/comments", "/pulls"];
    exchange.method == "POST" && kinds.iter().any(|kind| exchange.path.ends_with(kind))
}

fn count(world: &World, which: impl Fn(&Exchange) -> bool) -> i64 {
    i64::try_from(world.hub.exchanges().iter().filter(|e| which(e)).count()).unwrap()
}

#[test]
fn a_tick_waits_for_no_turn_and_what_it_starts_takes_from_the_same_turns() {
    let world = World::with(&Config::default(), &["01", "02"]);
    for title in ["One", "Two"] {
        world.issue(title);
    }
    let said = world.cron(&["assign", "--json"]).ok();
    assert_eq!(waited(&said), 0);
    world.quiet();
    assert_eq!(world.pulls().len(), 2);
    // Half of what an hour has room for is used.
    let full = full_in(&world, "content", 1200);
    world.issue("Three");
    world.hub.clear_exchanges();
    assert_eq!(waited(&world.cron(&["assign", "--json"]).ok()), 0);
    world.quiet();
    let made = count(&world, is_content);
    assert!(made >= 2, "a pull request and a comment: {:?}", world.asked_lines());
    assert_eq!(of_token(&world, "pace.json")["content"], full + 12 * made);
}

#[test]
fn more_writes_than_may_go_at_once_take_turns_and_reads_do_not() {
    let world = World::new();
    world.issue("One");
    world.tick();
    let full = full_in(&world, "changes", 27);
    world.issue("Two");
    world.hub.clear_exchanges();
    let before = fs::read(world.root.github().join("pace.json")).unwrap();
    assert_eq!(waited(&world.cron(&["assign", "--dry-run", "--json"]).ok()), 0);
    assert_eq!(fs::read(world.root.github().join("pace.json")).unwrap(), before);
    world.cron(&["assign", "-v"]).ok().says("writes waited");
    world.quiet();
    // A second for each, also for those of the run's own processes.
    let writes = count(&world, is_write);
    assert!(writes >= 4, "{:?}", world.asked_lines());
    assert_eq!(of_token(&world, "pace.json")["changes"], full + writes);
    assert_eq!(world.outcomes(), [Outcome::Succeeded; 2]);
}

#[test]
fn a_run_keeps_still_for_a_limit_that_another_process_met_and_goes_on_after_it() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.agent("mark start; until [ -e $HOME/go ]; do sleep 0.05; done; commit a b");
    world.issue("One");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    let words = json!({ "message": "You have exceeded a secondary rate limit." });
    let limit = Fault::answer("GET", "/user", 403).header("retry-after", "7200").body(words);
    world.hub.inject(limit);
    world.cron(&["doctor"]).says("secondary rate limit");
    let until = of_token(&world, "cooldown.json")["until"].clone();
    world.hub.clear_exchanges();
    world.issue("Two");
    fs::write(world.home("01").join("go"), "").unwrap();
    let worker = "01".parse().unwrap();
    world.wait_until("the supervisor has tried to publish", || {
        let run = store::read_task(&world.root, &worker).unwrap().unwrap();
        run.phase == Phase::Publishing && run.unsaid.iter().any(|why| why.contains("rate limit"))
    });
    // Nor does any tick ask anything, and none makes the pause longer.
    for _ in 0..2 {
        world.cron(&["assign"]).exits(6).says("secondary rate limit");
    }
    assert_eq!(world.asked_lines(), [""; 0]);
    assert_eq!(of_token(&world, "cooldown.json")["until"], until);
    assert!(world.pulls().is_empty());
    tell_of_token(&world, "cooldown.json", "until", &json!(jiff::Timestamp::now()));
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
    assert_eq!(world.hub.labels_of(APP, 1).unwrap(), [""; 0]);
}

/// As if nothing had touched it for so many days.
fn age(path: &Path, days: i64) {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    File::open(path).unwrap().set_modified(then.into()).unwrap();
}

#[test]
fn gc_forgets_what_is_old_or_too_much_of_github_and_all_of_it_is_made_again() {
    let world = World::new();
    world.issue("One");
    world.tick();
    let (github, claims) = (world.root.github(), world.root.claims());
    // Two claims of another host: one seen lately, one long ago.
    for (name, days) in [("octo-app-8.json", 29), ("octo-app-9.json", 31)] {
        let seen = claims.join("seen").join(name);
        fs::create_dir_all(seen.parent().unwrap()).unwrap();
        fs::write(&seen, r#"{"version":1,"id":"x","boot":"b","secs":1}"#).unwrap();
        age(&seen, days);
    }
    let objects = store::claims_repository(&world.root);
    fs::write(objects.join("objects/pack/pack-1.pack"), vec![1; 65 << 20]).unwrap();
    let mut old: Vec<PathBuf> =
        ["cache", "memory"].iter().flat_map(|s| files(&github.join(s))).map(|(p, _)| p).collect();
    assert!(old.len() >= 2, "{old:?}");
    for path in &old {
        age(path, 31);
    }
    old.push(claims.join("seen/octo-app-9.json"));
    let new = claims.join("seen/octo-app-8.json");
    let things = |said: &Said| -> Vec<(String, bool)> {
        let said: Value = serde_json::from_str(&said.out).unwrap();
        let things = said["things"].as_array().unwrap();
        assert!(things.iter().all(|thing| thing["what"] == "memory"), "{said}");
        let thing = |t: &Value| (t["path"].as_str().unwrap().into(), t["removed"] == true);
        things.iter().map(thing).collect()
    };
    let listed = |removed: bool, but: bool| {
        let one =
            |path: &PathBuf| (path.display().to_string(), removed && (but || *path != objects));
        let mut all: Vec<_> = old.iter().chain([&objects]).map(one).collect();
        all.sort();
        all
    };
    let sorted = |mut all: Vec<_>| {
        all.sort();
        all
    };
    let there = || old.iter().chain([&objects, &new]).filter(|path| path.exists()).count();
    let said = world.cron(&["gc", "--dry-run", "--json"]).ok();
    assert_eq!(sorted(things(&said)), listed(false, true));
    assert_eq!(there(), old.len() + 2);
    // Not while somebody is between two steps with a claim.
    let held = File::open(claims.join("objects.lock")).unwrap();
    held.lock_shared().unwrap();
    let said = world.cron(&["gc", "--json"]).exits(1).says("somebody looks at a claim");
    assert_eq!(sorted(things(&said)), listed(true, false));
    drop(held);
    world.cron(&["gc"]).ok().says("removed memory of").says("more than 64 MiB");
    assert_eq!(there(), 1);
    assert!(new.exists() && files(&github.join("cache")).is_empty());
    // Nor is a directory left of a token that is used no more.
    let left = |shelf: &str| fs::read_dir(github.join(shelf)).unwrap().count();
    assert_eq!((left("cache"), left("memory")), (0, 0));
    world.issue("Two");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded; 2]);
    assert!(objects.join("HEAD").exists() && left("cache") == 1);
    world.cron(&["gc"]).ok().says("nothing is old enough");
}
