//! `history` of 10,000 finished runs: 50 workers, 200 each, with all that an agent says.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use claude_workers::domain::WorkerId;
use claude_workers::process::command;
use claude_workers::store::{self, Root, make_private_dir};
use jiff::{SignedDuration, Timestamp};

use super::Res;
use super::stage::{Stage, Workshop};
use super::table::{Table, Times};

const WORKERS: u32 = 50;
const RUNS: u32 = 200;
const ROUNDS: usize = 20;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::empty(workshop)?;
    let (bytes, recent) = populate(&stage.root)?;
    let all = WORKERS * RUNS;
    let what = format!("`history` of {all} runs ({} MB)", bytes / 1_000_000);
    for (what, words, target, lines) in [
        (what.as_str(), &["history"][..], 60.0, all),
        ("`history --since 1d` of the same", &["history", "--since", "1d"], 15.0, recent),
        ("`history 01` of the same", &["history", "01"], 5.0, RUNS),
    ] {
        let shown = String::from_utf8(stage.ours(words).output()?.stdout)?;
        if shown.lines().count() != usize::try_from(lines)? {
            return Err(format!("{words:?} shows {} lines", shown.lines().count()).into());
        }
        table.at_most(what, &times(|| stage.ours(words))?, target);
    }
    let ids = store::ids(&stage.root)?;
    let memory = |id| stage.root.record(id).completed().join(".lines");
    let remembered: Vec<PathBuf> = ids.iter().map(memory).collect();
    let first = || {
        for memory in &remembered {
            let _ = std::fs::remove_file(memory);
        }
        stage.ours(&["history"])
    };
    Table::note("`history` of the same, before it remembers anything", &times(first)?.shown());
    let pool = stage.root.pool();
    let peers = [
        ("`find` of the same", format!("find {} -name '*.json'", pool.display())),
        ("`cat` of the same", format!("cat {}/*/completed/*.json", pool.display())),
    ];
    for (what, script) in peers {
        let peer = || {
            let mut sh = command("/bin/sh");
            sh.env("PATH", "/usr/bin:/bin").args(["-c", &script]);
            sh
        };
        Table::note(what, &times(peer)?.shown());
    }
    Ok(())
}

fn times(peer: impl Fn() -> Command) -> Res<Times> {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let mut peer = peer();
        peer.stdout(Stdio::null());
        let before = Instant::now();
        let ended = peer.status()?;
        times.add(before.elapsed());
        if !ended.success() {
            return Err("it failed".into());
        }
    }
    Ok(times)
}

/// Makes the archive; returns its size and the number of runs since yesterday.
fn populate(root: &Root) -> Res<(usize, u32)> {
    let now = Timestamp::now();
    let (mut bytes, mut recent) = (0, 0);
    for worker in 1..=WORKERS {
        let id: WorkerId = format!("{worker:02}").parse()?;
        make_private_dir(&root.home(&id))?;
        let dir = root.record(&id).completed();
        make_private_dir(&dir)?;
        for nth in 0..RUNS {
            // One every four hours.
            let ago = SignedDuration::from_mins(i64::from(nth) * 240 + i64::from(worker));
            let started = now.checked_sub(ago)?;
            recent += u32::from(ago < SignedDuration::from_hours(24));
            let issue = worker * RUNS + nth;
            let (run, json) = record(worker, issue, started);
            bytes += json.len();
            let file =
                |ending: &str| -> PathBuf { dir.join(format!("octo-app-{issue}-{run}.{ending}")) };
            std::fs::write(file("json"), json)?;
            std::fs::write(file("log"), "said something\n")?;
        }
    }
    Ok((bytes, recent))
}

fn record(worker: u32, issue: u32, started: Timestamp) -> (String, String) {
    let run = format!("{}-{issue:04x}", started.strftime("%Y%m%dT%H%M%S"));
    let words = "I looked at `src/price.rs` and found that \"prices\" were parsed twice.\n";
    let outcome = if issue.is_multiple_of(4) { "failed" } else { "succeeded" };
    let json = serde_json::json!({
        "version": 1, "run": run, "worker": format!("{worker:02}"), "kind": "implement",
        "repo": "octo/app", "issue": issue, "title": "Refuse prices that are not numbers",
        "prompt": null, "model": "sonnet", "executor": "claude",
        "branch": format!("issue-{issue}"), "base": "main", "baseSha": "a".repeat(40),
        "attempt": 1, "phase": "publishing", "phaseAt": started, "startedAt": started,
        "pid": 4711, "pidStart": 8_123_377, "bootId": "b", "sessionId": "s",
        "agent": {
            "exitCode": 0, "signal": null, "claimedSuccess": true, "limit": null,
            "notStarted": null, "stopped": false, "lastWords": words.repeat(4096 / words.len()),
            "costUsd": 0.42, "turns": 23, "durationMs": 123_456,
        },
        "work": {
            "head": "b".repeat(40), "commits": 2, "uncommitted": false,
            "prText": ["Refuse prices", "Closes it.\n\nThe body of it all.\n".repeat(30)],
            "comment": null, "blocked": null, "notes": [],
        },
        "ended": { "outcome": outcome, "why": "2 commits" },
        "pr": {
            "number": issue, "url": format!("https://github.com/octo/app/pull/{issue}"),
            "head": format!("issue-{issue}"), "open": true,
        },
        "endedAt": started,
    });
    (run, format!("{json:#}\n"))
}
