//! Reading what agents say: `inspect`, `todos` and `logs` of a log of 50 MB, following it, waiting
//! for its end.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claude_workers::config::Env;
use claude_workers::domain::{Ended, Outcome, Run, WorkerId};
use claude_workers::process::command;
use claude_workers::store::{Tools, WorkerLock, archive, make_private_dir, write_task};
use serde_json::json;

use super::Res;
use super::stage::{Stage, Workshop, wait_until};
use super::supervisors::ticks;
use super::table::{Table, Times};

const ROUNDS: usize = 20;
const SIZE: usize = 50 << 20;
const SILENCE: Duration = Duration::from_secs(10);

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::empty(workshop)?;
    let id: WorkerId = "01".parse()?;
    make_private_dir(&stage.root.home(&id))?;
    make_private_dir(stage.root.record(&id).dir())?;
    let Some(lock) = WorkerLock::try_take(&stage.root, &id)? else { return Err("taken".into()) };
    write_task(&stage.root, &lock, &run()?)?;
    let log = stage.root.record(&id).log();
    std::fs::write(&log, conversation())?;

    let inspect = times(|| stage.ours(&["inspect", "01"]), Stdio::null)?;
    table.at_most("`inspect` of a log of 50 MB", &inspect, 5.0);
    for (words, target) in [(&["inspect", "01"][..], 5.0), (&["todos", "01"], 10.0)] {
        let mib = memory(workshop, &stage, words)?;
        let figure = format!("memory of `{}` at most", words[0]);
        table.row(&figure, &format!("{mib:.1} MiB"), &format!("≤ {target} MB"), {
            mib * 1.048_576 <= target
        });
    }
    let todos = times(|| stage.ours(&["todos", "01"]), Stdio::null)?;
    table.at_most("`todos` of it", &todos, 50.0);
    raw(&stage, &log, table)?;
    let readable = times(|| stage.ours(&["logs", "01"]), Stdio::null)?;
    table.at_most("`logs` of it", &readable, 500.0);
    following(&stage, table)?;
    reaction(&stage, lock, table)
}

fn run() -> Res<Run> {
    let me = claude_workers::process::identity_of_self().ok_or("no identity")?;
    let run = json!({
        "version": 1, "run": "20261121T071500-0001", "worker": "01", "kind": "implement",
        "repo": "octo/app", "issue": 1, "prompt": null, "model": "sonnet", "executor": "claude",
        "branch": "issue-1", "base": "main", "attempt": 1, "phase": "running",
        "phaseAt": "2026-11-21T07:15:00Z", "startedAt": "2026-11-21T07:15:00Z",
        "pid": me.pid, "pidStart": me.start, "bootId": me.boot_id, "sessionId": null,
    });
    Ok(serde_json::from_value(run)?)
}

/// Messages, calls and answers of the usual sizes, a picture now and then, and a list of tasks.
fn conversation() -> Vec<u8> {
    let mut log = Vec::with_capacity(SIZE + (8 << 20));
    let mut n = 0;
    while log.len() < SIZE {
        n += 1;
        let id = format!("toolu_{n:08}");
        let (tool, input, answer) = match n % 100 {
            0 => {
                let task = format!("Task {n}");
                let answer = format!("Task #{n} created successfully: {task}");
                ("TaskCreate", json!({"subject": task, "description": task}), json!(answer))
            }
            50 => {
                let data = "iVBORw0KGgo".repeat(30_000);
                let picture = json!([{"type": "image", "source": {"data": data}}]);
                ("Read", json!({"file_path": format!("/p/{n}.png")}), picture)
            }
            _ => {
                let lines = "     1\tpub fn measure() -> \"a line\\n\" {\n".repeat(80);
                (
                    "Bash",
                    json!({"command": format!("cat src/{n}.rs"), "description": "x"}),
                    json!(lines),
                )
            }
        };
        let text =
            json!([{"type": "text", "text": "Now I look at the next file, and so on. ".repeat(5)}]);
        let call = json!([{"type": "tool_use", "id": id, "name": tool, "input": input}]);
        let answer = json!([{"type": "tool_result", "tool_use_id": id, "content": answer}]);
        for (kind, content) in [("assistant", text), ("assistant", call), ("user", answer)] {
            let event = json!({"type": kind, "message": {"role": kind, "content": content},
                "parent_tool_use_id": null, "session_id": "s", "uuid": "u"});
            log.extend_from_slice(event.to_string().as_bytes());
            log.push(b'\n');
        }
    }
    log
}

fn times(program: impl Fn() -> Command, stdout: impl Fn() -> Stdio) -> Res<Times> {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let mut program = program();
        program.stdin(Stdio::null()).stdout(stdout());
        let before = Instant::now();
        let ended = program.status()?;
        times.add(before.elapsed());
        if !ended.success() {
            return Err(format!("{program:?} failed").into());
        }
    }
    Ok(times)
}

fn memory(workshop: &Workshop, stage: &Stage<'_>, words: &[&str]) -> Res<f64> {
    let ours = stage.ours(words);
    let mut peak = command(&workshop.peak);
    peak.arg(ours.get_program()).args(ours.get_args()).env("HOME", stage.home());
    let kib: f64 = String::from_utf8(peak.output()?.stdout)?.trim().parse()?;
    Ok(kib / 1024.0)
}

/// `logs --raw` beside `cat`, into a pipe and into a file.
fn raw(stage: &Stage<'_>, log: &Path, table: &mut Table) -> Res {
    let path = Env::of_process();
    let cat = Tools::default().find("cat", path.get("PATH"), Path::new("/nonexistent"));
    let cat: PathBuf = cat.ok_or("no cat")?;
    let (mut theirs, mut ours) = (Times::default(), Times::default());
    let programs = || {
        let mut cat = command(&cat);
        cat.arg(log);
        [cat, stage.ours(&["logs", "01", "--raw"])]
    };
    // In turns, so that what else the machine does falls on both.
    for _ in 0..ROUNDS {
        for (mut program, times) in programs().into_iter().zip([&mut theirs, &mut ours]) {
            let before = Instant::now();
            let mut child = program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            let mut out = child.stdout.take().ok_or("no pipe")?;
            let (mut buffer, mut len) = (vec![0; 1 << 20], 0);
            loop {
                match out.read(&mut buffer)? {
                    0 => break,
                    n => len += n as u64,
                }
            }
            let ended = child.wait()?;
            times.add(before.elapsed());
            if !ended.success() || len != log.metadata()?.len() {
                return Err(format!("{program:?}: {len} bytes").into());
            }
        }
    }
    compared("`logs --raw` of it into a pipe", &theirs, &ours, table);
    let (mut theirs, mut ours) = (Times::default(), Times::default());
    let copy = stage.dir.path().join("copy");
    for _ in 0..ROUNDS {
        for (mut program, times) in programs().into_iter().zip([&mut theirs, &mut ours]) {
            program.stdin(Stdio::null()).stdout(File::create(&copy)?);
            let before = Instant::now();
            let ended = program.status()?;
            times.add(before.elapsed());
            if !ended.success() || copy.metadata()?.len() != log.metadata()?.len() {
                return Err(format!("{program:?} failed").into());
            }
        }
    }
    compared("`logs --raw` of it into a file", &theirs, &ours, table);
    Ok(())
}

fn compared(figure: &str, theirs: &Times, ours: &Times, table: &mut Table) {
    let ratio = ours.median() / theirs.median();
    let measured = format!("{}; cat {}; {ratio:.2} ×", ours.shown(), theirs.shown());
    table.row(figure, &measured, "≤ 1.3 × `cat`", ratio <= 1.3);
}

/// What a follower costs while the agent is silent.
fn following(stage: &Stage<'_>, table: &mut Table) -> Res {
    let follow = stage.ours(&["inspect", "01", "-f"]).stdout(Stdio::piped()).spawn()?;
    let watch = stage.ours(&["watch", "01"]).stdout(Stdio::piped()).spawn()?;
    let mut followers = [follow, watch];
    let pids = [i32::try_from(followers[0].id())?, i32::try_from(followers[1].id())?];
    for follower in &followers {
        until_asleep(follower)?;
    }
    let (before, woken) = (ticks(&pids)?, wake_ups(&pids)?);
    std::thread::sleep(SILENCE);
    let (after, woken) = (ticks(&pids)?, wake_ups(&pids)? - woken);
    let burnt: u64 = pids.iter().map(|pid| after[pid] - before[pid]).sum();
    table.row(
        "processor time of `inspect -f` and `watch` in 10 silent seconds",
        &format!("{burnt} ticks, {woken} times awake"),
        "0",
        burnt == 0 && woken == 0,
    );
    for follower in &mut followers {
        follower.kill()?;
        follower.wait()?;
    }
    Ok(())
}

/// Waits until a process has begun to wait.
fn until_asleep(child: &Child) -> Res {
    let mut last = u64::MAX;
    wait_until("the follower waits", || {
        let woken = wake_ups(&[i32::try_from(child.id())?])?;
        let watches = std::fs::read_dir(format!("/proc/{}/fd", child.id()))?.flatten();
        let mut targets = watches.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        let waits = targets.any(|to| to.ends_with("anon_inode:inotify"));
        std::thread::sleep(Duration::from_millis(50));
        Ok(waits && std::mem::replace(&mut last, woken) == woken)
    })
}

fn wake_ups(pids: &[i32]) -> Res<u64> {
    let mut sum = 0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        sum += field.ok_or("no such field")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// From the end of a run to the end of `watch`, and from a line in the log to the follower's.
fn reaction(stage: &Stage<'_>, lock: WorkerLock, table: &mut Table) -> Res {
    let log = stage.root.record(lock.worker()).log();
    let mut follow = stage.ours(&["logs", "01", "--raw", "-f"]).stdout(Stdio::piped()).spawn()?;
    let mut out = follow.stdout.take().ok_or("no pipe")?;
    let mut all = vec![0; usize::try_from(log.metadata()?.len())?];
    out.read_exact(&mut all)?;
    let mut said = Times::default();
    for _ in 0..ROUNDS {
        until_asleep(&follow)?;
        let before = Instant::now();
        File::options().append(true).open(&log)?.write_all(b"word\n")?;
        out.read_exact(&mut [0; 5])?;
        said.add(before.elapsed());
    }
    table.at_most("from a line in the log to `-f`'s", &said, 10.0);
    follow.kill()?;
    follow.wait()?;

    let (mut ended, mut lost) = (Times::default(), Times::default());
    let mut lock = Some(lock);
    for round in 0..ROUNDS {
        let is_lost = round % 2 == 1;
        let held = match lock.take() {
            Some(held) => held,
            None => WorkerLock::try_take(&stage.root, &"01".parse()?)?.ok_or("taken")?,
        };
        write_task(&stage.root, &held, &run()?)?;
        let mut watch = stage.ours(&["watch", "01"]).stdout(Stdio::null()).spawn()?;
        until_asleep(&watch)?;
        let before = Instant::now();
        if is_lost {
            drop(held);
            // The supervisor is this very process, which lives: another change tells.
            std::fs::write(stage.root.record(&"01".parse()?).request(), "")?;
        } else {
            let mut over = run()?;
            over.ended = Some(Ended { outcome: Outcome::Succeeded, why: "x".into() });
            over.ended_at = Some(over.started_at);
            archive(&stage.root, &held, &over)?;
        }
        watch.wait()?;
        if is_lost { &mut lost } else { &mut ended }.add(before.elapsed());
    }
    table.at_most("from the end of a run (written to disk) to that of `watch`", &ended, 200.0);
    table.at_most("from the loss of a supervisor to the end of `watch`", &lost, 200.0);
    Ok(())
}
