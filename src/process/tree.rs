//! Everything that a run has started, and its end.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Makes orphaned descendants our children, so that they can be found and ended.
///
/// # Errors
/// When the kernel refuses.
pub fn become_subreaper() -> nix::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// The direct children of a process, as `/proc` lists them.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Every process below one, whatever sessions and groups they made for themselves.
#[must_use]
pub fn descendants_of(pid: u32) -> Vec<u32> {
    let mut all = children_of(pid);
    let mut next = 0;
    while next < all.len() {
        all.extend(children_of(all[next]));
        next += 1;
    }
    all
}

/// Kills every descendant of this process and waits for them. As a subreaper we inherit the
/// orphans, so one round of killing children exposes the next; it ends when none is left.
pub fn kill_descendants() {
    let me = std::process::id();
    loop {
        let children = children_of(me);
        for child in &children {
            kill_tree(*child);
        }
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(_) => return,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(std::time::Duration::from_millis(2)),
            Ok(_) => {}
        }
    }
}

/// Kills a process after its descendants have been stopped, so that none forks on meanwhile.
pub fn kill_tree(pid: u32) {
    let Ok(raw) = i32::try_from(pid) else { return };
    let _ = kill(Pid::from_raw(raw), Signal::SIGSTOP);
    for child in children_of(pid) {
        kill_tree(child);
    }
    let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
}
