//! What `status`, `history` and `logs` answer. None of them asks GitHub.

use claude_workers::domain::Outcome;

use crate::world::{APP, Config, World};

/// A snapshot of a text in which what differs from run to run is replaced.
macro_rules! assert_says {
    ($text:expr, @$expected:literal) => {
        insta::with_settings!({filters => vec![
            (r"(?i)\d{8}T\d{6}-[0-9a-f]{4}", "[run]"),
            (r"\b\d{6}-[0-9a-f]{4}\b", "[end]"),
            (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[time]"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d", "[day]"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}", "[uuid]"),
            (r"\b[0-9a-f]{40}\b", "[commit]"),
            (r#"\bpid(Start)?("?:?) \d+"#, "pid$1$2 [n]"),
            (r#"Secs": \d+"#, r#"Secs": [n]"#),
            (r#"Ms": \d+"#, r#"Ms": [n]"#),
            (r"\b\d+s\b", "[n]s"),
            (r"http://127\.0\.0\.1:\d+", "[github]"),
            (r"/\S*/\.tmp\w+", "[dir]"),
            (r"(\S) {2,}", "$1  "),
        ]}, { insta::assert_snapshot!($text, @$expected) });
    };
}

/// A worker in each state: idle, busy, crashed, broken.
pub fn of_each_state() -> World {
    let world = World::with(&Config::default(), &["01", "02", "03", "04"]);
    world.agent("echo at work; mark start; sleep 1000");
    world.issue("Slow\u{1b}[31m search");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "03", "-m", "opus"]).ok();
    world.wait_until("the first agent is at work", || world.marks().len() == 1);
    world.kill_supervisor("03");
    world.cron(&["dispatch", "-r", APP, "-p", "Tidy up the tests", "-w", "02"]).ok();
    world.wait_until("the second agent is at work", || world.marks().len() == 2);
    for worker in ["02", "03"] {
        let log = world.root.record(&worker.parse().unwrap()).log();
        world.wait_until("it is in the log", || std::fs::read(&log).is_ok_and(|l| !l.is_empty()));
    }
    std::fs::write(world.task("04"), "{").unwrap();
    world.hub.clear_exchanges();
    world
}

#[test]
fn status_shows_each_state() {
    let world = of_each_state();
    assert_says!(world.cron(&["status"]).ok().out, @r##"
    01  idle
    02  busy  octo/app  running  [n]s  agent  last word [n]s ago  Tidy up the tests
    03  crashed  octo/app#1  running  [n]s  agent/opus  last word [n]s ago  Slow[31m search
    04  broken
    worker 03: its supervisor died while it was running; the next `assign` carries on
    worker 04: [dir]/home/workers/.pool/04/task.json is broken: it is not JSON: EOF while parsing an object at line 1 column 1
    "##);
    assert_says!(world.cron(&["status", "02"]).ok().out, @r##"
    02  busy  octo/app  running  [n]s  agent  last word [n]s ago  Tidy up the tests
      credentials  copy
      run  [run]
      claimed  [time]
      attempt  1
      sandbox  bwrap
      network  proxy
      branch  task-[run]
      base  trunk
      supervisor  pid [n]
      conversation  [uuid]
      prompt  Tidy up the tests
    "##);
    assert_says!(world.cron(&["status", "02", "--json"]).ok().out, @r##"
    {
      "version": 1,
      "root": "[dir]/home/workers",
      "sandbox": "bwrap",
      "network": "proxy",
      "workers": [
        {
          "id": "02",
          "state": "busy",
          "credentials": "copy",
          "task": {
            "version": 1,
            "run": "[run]",
            "worker": "02",
            "kind": "prompt",
            "repo": "octo/app",
            "issue": null,
            "prompt": "Tidy up the tests",
            "model": null,
            "executor": "agent",
            "branch": "task-[run]",
            "base": "trunk",
            "baseSha": "[commit]",
            "attempt": 1,
            "phase": "running",
            "phaseAt": "[time]",
            "startedAt": "[time]",
            "pid": [n],
            "pidStart": [n],
            "bootId": "[uuid]",
            "sessionId": "[uuid]",
            "limits": {
              "wallClockSecs": [n],
              "silenceSecs": [n],
              "graceSecs": [n]
            },
            "sandbox": "bwrap",
            "network": "proxy",
            "elapsedSecs": [n],
            "quietSecs": [n]
          }
        }
      ]
    }
    "##);
    world.cron(&["status", "99"]).exits(3).says("there is no worker 99");
    assert!(world.hub.exchanges().is_empty());
}

#[test]
fn status_without_workers_says_how_to_make_one() {
    let world = World::bare(&Config::default());
    world.cron(&["status"]).ok().says("make one with `claude-workers init 01`");
    let json: serde_json::Value =
        serde_json::from_str(&world.cron(&["status", "--json"]).ok().out).unwrap();
    assert_eq!(json["workers"], serde_json::json!([]));
}

#[test]
fn history_and_logs_show_how_runs_ended() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.cron(&["history"]).ok().says("run has finished yet");
    world.cron(&["logs", "01"]).exits(1).says("worker 01 has no log yet");
    world.issue("One");
    world.tick();
    world.issue("Two");
    world.agent("echo 'no more tokens' >&2; exit 3");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded, Outcome::Failed]);
    world.hub.clear_exchanges();
    assert_says!(world.cron(&["history"]).ok().out, @r##"
    [day]  [end]  01  octo/app#1  succeeded  1 min  [github]/octo/app/pull/2
    [day]  [end]  01  octo/app#3  failed  1 min  the agent ended with exit code 3: no more tokens
    "##);
    let json = world.cron(&["history", "--json"]).ok().out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["version"], 1);
    let first = serde_json::to_string_pretty(&json["runs"][0]).unwrap();
    assert_says!(first, @r##"
    {
      "agent": {
        "claimedSuccess": true,
        "costUsd": null,
        "durationMs": [n],
        "exitCode": 0,
        "lastWords": "All done.",
        "limit": null,
        "notStarted": null,
        "signal": null,
        "stopped": false,
        "turns": null
      },
      "attempt": 1,
      "base": "trunk",
      "baseSha": "[commit]",
      "bootId": "[uuid]",
      "branch": "issue-1",
      "claim": {
        "at": "[time]",
        "epoch": 1,
        "id": "[commit]"
      },
      "ended": {
        "outcome": "succeeded",
        "why": "1 commit"
      },
      "endedAt": "[time]",
      "executor": "agent",
      "issue": 1,
      "kind": "implement",
      "limits": {
        "graceSecs": [n],
        "silenceSecs": [n],
        "wallClockSecs": [n]
      },
      "minutes": 1,
      "model": null,
      "network": "proxy",
      "phase": "publishing",
      "phaseAt": "[time]",
      "pid": [n],
      "pidStart": [n],
      "pr": {
        "head": "issue-1",
        "number": 2,
        "open": true,
        "url": "[github]/octo/app/pull/2"
      },
      "prompt": null,
      "repo": "octo/app",
      "run": "[run]",
      "sandbox": "bwrap",
      "sessionId": "[uuid]",
      "startedAt": "[time]",
      "summary": "1 commit",
      "text": {
        "approved": false,
        "id": "84b9b357fe4c4bfc33ff2d897721ec89de8dba931d911fa3936f7ddf1b0deeb6"
      },
      "title": "One",
      "version": 1,
      "work": {
        "blocked": null,
        "comment": null,
        "commits": 1,
        "head": "[commit]",
        "notes": [],
        "prText": null,
        "uncommitted": false
      },
      "worker": "01"
    }
    "##);
    assert_says!(world.cron(&["history", "02"]).ok().out, @r##"
    no run has finished yet
    "##);
    assert_eq!(world.cron(&["logs", "01"]).ok().out, "no more tokens\n");
    assert_says!(world.cron(&["logs", "01", "--path"]).ok().out, @r##"
    [dir]/home/workers/.pool/01/completed/octo-app-3-[run].log
    "##);
    world.cron(&["history", "99"]).exits(3);
    assert!(world.hub.exchanges().is_empty());
}

#[test]
fn a_log_can_be_read_while_the_agent_works() {
    let world = of_each_state();
    assert_eq!(world.cron(&["logs", "02"]).ok().out, "at work\n");
    world.cron(&["logs", "04"]).exits(1);
}
