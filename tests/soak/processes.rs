//! The processes of the simulated hosts, as `/proc` shows them.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process and what it is to us.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub role: Role,
    /// Its arguments.
    pub line: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Dispatcher,
    Supervisor,
    Step,
    Git,
    Jail,
    Agent,
}

impl Role {
    fn of(line: &str) -> Self {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        let command = words.next().unwrap_or_default();
        match (program, command) {
            ("claude-workers", "supervise") => Self::Supervisor,
            ("claude-workers", "step") => Self::Step,
            ("claude-workers", "assign" | "dispatch") => Self::Dispatcher,
            ("bwrap", _) | ("claude-workers", "jail") => Self::Jail,
            (git, _) if git.starts_with("git") => Self::Git,
            ("claude-workers", _) => Self::Git,
            _ => Self::Agent,
        }
    }
}

/// The processes that have a path below `dir` in their arguments or their environment.
pub fn below(dir: &Path) -> Vec<Process> {
    let place = format!("{}/", dir.display());
    let place = place.as_bytes();
    let mentions = |bytes: &[u8]| bytes.windows(place.len()).any(|w| w == place);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let environment = || fs::read(entry.path().join("environ")).unwrap_or_default();
        if mentions(&line) || mentions(&environment()) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push(Process { pid, role: Role::of(&line), line });
        }
    }
    found
}

/// It may be gone already.
pub fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Kills a process and all that it has started, so that none escapes.
pub fn kill_tree(pid: i32) {
    send(pid, Signal::SIGSTOP);
    let children = u32::try_from(pid).map(claude_workers::process::children_of);
    for child in children.unwrap_or_default() {
        kill_tree(child.cast_signed());
    }
    send(pid, Signal::SIGKILL);
}

/// Kills all, and what they start meanwhile.
pub fn kill_all_below(dir: &Path) {
    loop {
        let all = below(dir);
        if all.is_empty() {
            return;
        }
        for process in all {
            send(process.pid, Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
