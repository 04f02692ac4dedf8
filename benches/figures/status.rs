//! `status` of 10, 100 and 1,000 workers: a third idle, a third busy, a third crashed.

use std::process::Stdio;
use std::time::Instant;

use claude_workers::domain::{Run, WorkerId};
use claude_workers::process::command;
use claude_workers::store::{Root, WorkerLock, make_private_dir, write_task};

use super::Res;
use super::stage::{Stage, Workshop};
use super::table::{Table, Times};

const ROUNDS: usize = 40;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    for (count, target) in [(10_u32, 2.0), (100, 4.0), (1000, 15.0)] {
        let stage = Stage::empty(workshop)?;
        let held = populate(&stage.root, count, run)?;
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            let mut status = stage.ours(&["status"]);
            status.stdout(Stdio::null());
            let before = Instant::now();
            let ended = status.status()?;
            times.add(before.elapsed());
            if !ended.success() {
                return Err("it failed".into());
            }
        }
        let shown = String::from_utf8(stage.ours(&["status"]).output()?.stdout)?;
        let busy = shown.lines().filter(|l| l.contains(" busy ")).count();
        if busy != held.len() {
            return Err(format!("{busy} of {} busy workers are shown:\n{shown}", held.len()).into());
        }
        table.at_most(&format!("`status` of {count} workers"), &times, target);
        if count == 1000 {
            memory(workshop, &stage, table)?;
            company(workshop, &stage, table)?;
        }
    }
    Ok(())
}

/// Makes workers. The locks of the busy ones are held as long as the result lives.
pub fn populate(root: &Root, count: u32, run: impl Fn(u32) -> Res<Run>) -> Res<Vec<WorkerLock>> {
    let mut held = Vec::new();
    for n in 1..=count {
        let id: WorkerId = format!("{n:02}").parse()?;
        make_private_dir(&root.home(&id))?;
        make_private_dir(root.record(&id).dir())?;
        let Some(lock) = WorkerLock::try_take(root, &id)? else { return Err("taken".into()) };
        if n % 3 != 0 {
            write_task(root, &lock, &run(n)?)?;
            std::fs::write(root.record(&id).log(), "said something\n")?;
        }
        if n % 3 == 1 {
            held.push(lock);
        }
    }
    Ok(held)
}

pub fn run(n: u32) -> Res<Run> {
    let json = format!(
        r#"{{"version":1,"run":"20261121T071500-{n:04x}","worker":"{n:02}","kind":"implement",
        "repo":"octo/app","issue":{n},"title":"Something that is to be done","prompt":null,
        "model":"sonnet","executor":"claude","branch":"issue-{n}","base":"main","attempt":1,
        "phase":"running","phaseAt":"2026-11-21T07:15:00Z","startedAt":"2026-11-21T07:15:00Z",
        "pid":{n},"pidStart":2,"bootId":"b","sessionId":null}}"#
    );
    Ok(serde_json::from_str(&json)?)
}

fn memory(workshop: &Workshop, stage: &Stage, table: &mut Table) -> Res {
    let ours = stage.ours(&["status"]);
    let mut peak = command(&workshop.peak);
    peak.arg(ours.get_program()).args(ours.get_args()).env("HOME", stage.home());
    let kib: f64 = String::from_utf8(peak.output()?.stdout)?.trim().parse()?;
    let mib = kib / 1024.0;
    table.row("its memory at most", &format!("{mib:.1} MiB"), "< 10 MB", kib * 1024.0 < 1e7);
    Ok(())
}

/// Whether it starts or asks anybody, by the system calls it makes.
fn company(workshop: &Workshop, stage: &Stage, table: &mut Table) -> Res {
    let figure = "child processes and connections of `status`";
    let Some(strace) = &workshop.strace else {
        Table::note(figure, "not measured: there is no strace");
        return Ok(());
    };
    let ours = stage.ours(&["status"]);
    let log = stage.dir.path().join("strace");
    let mut traced = command(strace);
    traced.args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork,execve,socket,connect", "-o"]);
    traced.arg(&log).arg(ours.get_program()).args(ours.get_args());
    traced.env("HOME", stage.home()).stdout(Stdio::null());
    if !traced.status()?.success() {
        Table::note(figure, "not measured: strace may not trace here");
        return Ok(());
    }
    let calls = std::fs::read_to_string(&log)?;
    // A thread is no process, and the first call is its own start.
    let counts = |l: &&str| l.contains('(') && !l.contains("CLONE_THREAD");
    let calls = calls.lines().filter(counts).count().saturating_sub(1);
    table.row(figure, &calls.to_string(), "0", calls == 0);
    Ok(())
}
