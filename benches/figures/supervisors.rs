//! What supervisors cost while their agents work in silence.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Res;
use super::stage::{REPO, Stage, Workshop, wait_until};
use super::table::Table;

const COUNT: u32 = 50;
const SILENCE: Duration = Duration::from_secs(5);

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::with_workers(workshop, COUNT)?;
    stage.configure("git.fetch_max_age = '1h'")?;
    let mut pids = Vec::new();
    let result = start(&stage, &mut pids).and_then(|()| look(&pids, table));
    for pid in &pids {
        kill(Pid::from_raw(*pid), Signal::SIGTERM)?;
    }
    wait_until("the supervisors are gone", || {
        Ok(!pids.iter().any(|pid| Path::new(&format!("/proc/{pid}/exe")).exists()))
    })?;
    result
}

/// Fills the workers, and waits until every agent lives.
fn start(stage: &Stage<'_>, pids: &mut Vec<i32>) -> Res {
    for n in 1..=COUNT {
        let worker = format!("{n:02}");
        let words =
            ["dispatch", "-w", &worker, "-r", REPO, "-p", "Wait.", "-e", "waiting", "--json"];
        let run: serde_json::Value = serde_json::from_str(&stage.succeed(&words)?)?;
        pids.push(i32::try_from(run["pid"].as_i64().ok_or("no pid")?)?);
    }
    for n in 1..=COUNT {
        let stamp = stage.root.home(&format!("{n:02}").parse()?).join("first-instruction");
        wait_until("the agent works", || Ok(stamp.exists()))?;
    }
    Ok(())
}

fn look(pids: &[i32], table: &mut Table) -> Res {
    let mut memory = Vec::new();
    let (mut threads, mut runtimes) = (0, 0);
    for pid in pids {
        memory.push(field(*pid, "smaps_rollup", "Pss:")?);
        threads = field(*pid, "status", "Threads:")?.max(threads);
        runtimes += runtime_descriptors(*pid)?;
    }
    memory.sort_unstable();
    let (median, most) = (memory[memory.len() / 2], memory[memory.len() - 1]);
    table.row(
        &format!("memory (PSS) of a supervisor, {COUNT} running"),
        &format!("{median} KiB (most {most})"),
        "≤ 1 MiB",
        most <= 1024,
    );
    let before = ticks(pids)?;
    std::thread::sleep(SILENCE);
    let after = ticks(pids)?;
    let burnt: u64 = after.iter().map(|(pid, t)| t - before.get(pid).unwrap_or(&0)).sum();
    table.row(
        &format!("processor time of all {COUNT} in {} silent seconds", SILENCE.as_secs()),
        &format!("{burnt} ticks"),
        "0",
        burnt == 0,
    );
    table.row("threads of a supervisor", &threads.to_string(), "1", threads == 1);
    table.row(
        "event queues and sockets (a runtime's, TLS's) in all of them",
        &runtimes.to_string(),
        "0",
        runtimes == 0,
    );
    Ok(())
}

/// A number behind a name in a file of `/proc/PID`.
fn field(pid: i32, file: &str, name: &str) -> Res<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let value = text.lines().find_map(|l| l.strip_prefix(name)).ok_or("no such field")?;
    Ok(value.split_whitespace().next().ok_or("an empty field")?.parse()?)
}

fn runtime_descriptors(pid: i32) -> Res<usize> {
    let mut count = 0;
    for fd in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = std::fs::read_link(fd?.path())?.display().to_string();
        count += usize::from(target.contains("eventpoll") || target.starts_with("socket:"));
    }
    Ok(count)
}

/// User and system time, by PID.
pub fn ticks(pids: &[i32]) -> Res<BTreeMap<i32, u64>> {
    let mut all = BTreeMap::new();
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        all.insert(*pid, fields[11].parse::<u64>()? + fields[12].parse::<u64>()?);
    }
    Ok(all)
}
