//! `--json`: what `docs/json.md` says is what is printed, field by field.

use std::collections::BTreeSet;

use claude_workers::domain::Run;
use claude_workers::fakehub::{Fault, NewIssue};
use claude_workers::store::{self, State};
use serde_json::Value;

use crate::streams::claude_says;
use crate::world::{APP, Config, WORKS, World};

const DOCUMENTED: &str = include_str!("../../docs/json.md");
const RECORD: &str = "The run record";

/// The rows of a section: field and meaning.
fn rows(section: &str) -> Vec<(&'static str, &'static str)> {
    let rest = DOCUMENTED.split(&format!("\n## {section}\n")).nth(1).expect("a section");
    let text = rest.split("\n## ").next().unwrap();
    let row = |line: &'static str| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ");
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    if rows.is_empty() && text.trim_start().starts_with("A run:") {
        return vec![("", "a run")];
    }
    rows
}

/// The fields of a value, as the tables write them. An array without an element is a field too if
/// it is documented as one; of what could be in it nothing is known.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>, empty: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                fields(value, &at, found, empty);
            }
        }
        Value::Array(items) if items.is_empty() => {
            empty.insert(at.to_owned());
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for item in items {
                fields(item, &format!("{at}[]"), found, empty);
            }
        }
        _ => {
            found.insert(at.to_owned());
        }
    }
}

/// Every field that was printed is documented, and every documented one was printed.
fn as_documented(command: &str, printed: &[Value]) {
    let (mut found, mut empty) = (BTreeSet::new(), BTreeSet::new());
    for value in printed {
        assert_eq!(value["version"], 1, "{command}: {value}");
        fields(value, "", &mut found, &mut empty);
    }
    let record: Vec<&str> = rows(RECORD).into_iter().map(|(field, _)| field).collect();
    let mut known = BTreeSet::new();
    for (field, meaning) in rows(&format!("`{command}`")) {
        known.insert(field.to_owned());
        let mut seen = found.contains(field) || empty.contains(field);
        if meaning.starts_with("a run") {
            let below = if field.is_empty() { String::new() } else { format!("{field}.") };
            seen |= found.contains(&format!("{below}startedAt"));
            known.extend(record.iter().map(|of_run| format!("{below}{of_run}")));
        }
        assert!(seen, "{command} never printed {field:?}, which is documented: {found:#?}");
    }
    for field in &found {
        assert!(known.contains(field), "{command} printed {field:?}, which is not documented");
    }
}

#[test]
fn the_documented_run_record_is_the_record() {
    let example = DOCUMENTED.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    let run: Run = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(run).unwrap(), example, "a field is missing, or is none");
    let (mut found, mut empty) = (BTreeSet::new(), BTreeSet::new());
    fields(&example, "", &mut found, &mut empty);
    let documented = rows(RECORD).into_iter().map(|(field, _)| field.to_owned());
    assert_eq!(found.union(&empty).cloned().collect::<BTreeSet<_>>(), documented.collect());
}

#[test]
fn every_command_prints_what_is_documented_of_it() {
    let config = Config { assign: "reserve = 0", ..Config::default() };
    let world = World::bare(&config);
    world.hub.add_repo(&crate::world::app()).unwrap();
    let json = |args: &[&str], code: i32| -> Value {
        let said = world.cron(&[args, &["--json"]].concat()).exits(code);
        serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {said:?}"))
    };
    as_documented("init", &[json(&["init", "01", "02", "03"], 0)]);

    // 03 is broken: a problem of each tick.
    std::fs::write(world.task("03"), "garbage").unwrap();
    world.agent("mark at; echo working; exec sleep 1000");
    world.issue("One");
    let stranger = NewIssue::new("stranger", "Two");
    world.hub.add_issue(APP, &stranger).unwrap();
    let mut ticks = vec![json(&["assign", "--dry-run"], 1), json(&["assign"], 1)];
    let at_work = |times: usize| {
        world.wait_until("the agent is at work", || world.marks().len() == times);
        let log = world.root.record(&"01".parse().unwrap()).log();
        world.wait_until("it is in the log", || {
            std::fs::read(&log).is_ok_and(|log| log.ends_with(b"working\n"))
        });
    };
    at_work(1);
    world.hub.label(APP, 2, "worker:09", "octo").unwrap();
    as_documented("status", &[json(&["status", "--remote"], 0)]);
    world.kill_supervisor("01");
    as_documented("reconcile", &[json(&["reconcile", "--dry-run"], 1)]);
    ticks.push(json(&["assign"], 1));
    at_work(2);
    as_documented("stop", &[json(&["stop", "01"], 0)]);
    as_documented("watch", &[json(&["watch", "01"], 14)]);
    as_documented("restart", &[json(&["restart", "01"], 0)]);
    at_work(3);
    as_documented("reset", &[json(&["reset", "01", "--force"], 0), json(&["reset", "01"], 0)]);

    world.agent(WORKS);
    world.hub.label(APP, 1, "blocked", "octo").unwrap();
    // Here a second passes between two changes of an issue, and it is labelled while its run lasts.
    let old = NewIssue::new("octo", "Three").created_at("2026-01-01T00:00:00Z".parse().unwrap());
    let issue = world.hub.add_issue(APP, &old).unwrap().to_string();
    let label = format!("/issues/{issue}/labels/");
    world.hub.inject(Fault::answer("DELETE", &label, 403));
    let mut started = vec![json(&["dispatch", "-r", APP, "-i", &issue, "-w", "01"], 0)];
    let idle =
        |id: &str| matches!(store::worker(&world.root, id.parse().unwrap()).state, State::Idle);
    world.wait_until("worker 01 is idle", || world.pulls().len() == 1 && idle("01"));
    ticks.push(json(&["assign"], 1));
    as_documented("assign", &ticks);
    started.push(json(&["dispatch", "-r", APP, "-p", "Look", "-w", "02"], 0));
    as_documented("dispatch", &started);
    as_documented("watch", &[json(&["watch", "02"], 0)]);
    world.wait_until("worker 02 is idle", || idle("02"));
    as_documented("history", &[json(&["history"], 0)]);
    // Something of a person's where a template's file should be.
    std::fs::remove_file(world.home("02").join(".bashrc")).unwrap();
    std::fs::create_dir(world.home("02").join(".bashrc")).unwrap();
    as_documented("refresh", &[json(&["refresh", "02"], 0)]);
    as_documented("rm", &[json(&["rm", "02", "-y"], 0)]);
    as_documented("doctor", &[json(&["doctor"], 1)]);
    as_documented("egress", &[asked_of_the_network(&world)]);
    let whole = json(&["show", "01"], 0);
    world.configure(&Config { more: "[retention]\nlogs = '0s'".into(), ..config });
    // A home half made, by somebody who is still at it.
    let staging = world.root.pool().join(".new-07-abcdefgh");
    std::fs::create_dir(&staging).unwrap();
    let held = std::fs::File::open(&staging).unwrap();
    held.lock().unwrap();
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48);
    held.set_modified(then.into()).unwrap();
    as_documented("gc", &[json(&["gc"], 1)]);
    as_documented("show", &[whole, json(&["show", "01"], 0)]);
}

/// Of an agent that reaches one host and is refused another.
fn asked_of_the_network(world: &World) -> Value {
    world.agent("mark asked; git ls-remote https://evil.example/x.git; true");
    world.cron(&["dispatch", "-r", APP, "-p", "Ask", "-w", "01"]).ok();
    let idle = || matches!(store::worker(&world.root, "01".parse().unwrap()).state, State::Idle);
    world.wait_until("worker 01 is idle", idle);
    serde_json::from_str(&world.cron(&["egress", "01", "--json"]).ok().out).unwrap()
}

#[test]
fn the_todos_are_printed_as_documented() {
    let world = World::new();
    claude_says(&world, include_str!("../data/claude/todos.jsonl"));
    world.cron(&["dispatch", "-r", APP, "-p", "Look", "-e", "claude"]).ok();
    let todos = || serde_json::from_str(&world.cron(&["todos", "--json"]).ok().out).unwrap();
    let listed =
        |todos: &Value| todos["workers"][0]["todos"].as_array().is_some_and(|t| !t.is_empty());
    world.wait_until("it has a list", || listed(&todos()));
    as_documented("todos", &[todos()]);
}

#[test]
fn what_fails_says_so_in_words_and_prints_no_half_document() {
    let world = World::with(&Config::default(), &["01"]);
    for (args, code) in [
        (&["status", "7", "--json"][..], 3),
        (&["stop", "01", "--json"], 1),
        (&["restart", "01", "--json"], 1),
        (&["reset", "7", "--json"], 3),
        (&["watch", "01", "--json"], 3),
        (&["history", "7", "--json"], 3),
        (&["dispatch", "-r", APP, "-i", "99", "--json"], 4),
        (&["init", "01", "--json"], 1),
    ] {
        let said = world.cron(args).exits(code);
        assert!(said.err.starts_with("error: "), "{args:?}: {said:?}");
        if args[0] != "init" {
            assert_eq!(said.out, "", "{args:?}");
        }
    }
    // What was done before the failure is told.
    let said = world.cron(&["init", "02", "01", "--json"]).exits(1);
    let made: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(made["workers"].as_array().unwrap().len(), 1);
    assert_eq!(made["workers"][0]["id"], "02");
}
