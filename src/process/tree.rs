//! Everything that a run has started, and its end.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::pidfd_send_signal;

use crate::failpoint::patience;

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

/// Who does not die for so long after it was killed is another user's, or stuck in the kernel.
const DYING: Duration = Duration::from_secs(10);

/// Kills every descendant of this process and waits for them. As a subreaper we inherit the
/// orphans, so one round of killing children exposes the next; it ends when none is left.
///
/// # Errors
/// The PIDs of children of ours that do not die.
pub fn kill_descendants() -> Result<(), Vec<u32>> {
    let me = std::process::id();
    let patience = patience("end", DYING);
    let mut until = Instant::now() + patience;
    loop {
        let children = children_of(me);
        for child in &children {
            kill_tree(*child);
        }
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(_) => return Ok(()),
            Ok(WaitStatus::StillAlive) if Instant::now() >= until => return Err(children),
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(2)),
            Ok(_) => until = Instant::now() + patience,
        }
    }
}

/// Kills a child of ours, which keeps its PID until we have asked how it ended, after its descendants
/// have been stopped, so that none forks on meanwhile.
pub fn kill_tree(pid: u32) {
    let Ok(raw) = i32::try_from(pid) else { return };
    let _ = kill(Pid::from_raw(raw), Signal::SIGSTOP);
    for child in children_of(pid) {
        kill_tree(child);
    }
    let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
}

/// The same for any process, by a descriptor of it. Its PID may be another's by now: then that one
/// and its children are left alone.
pub fn kill_tree_of(process: &OwnedFd, pid: u32) {
    let stop = || pidfd_send_signal(process, rustix::process::Signal::STOP).is_ok();
    if !stop() {
        return;
    }
    let children = children_of(pid);
    // They are its own only if it has not gone meanwhile; and it buries none, for it stands still.
    if stop() {
        children.into_iter().for_each(kill_tree);
    }
    let _ = pidfd_send_signal(process, rustix::process::Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command;
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{PidfdFlags, pidfd_open};

    #[test]
    fn a_process_that_has_the_pid_of_one_that_is_gone_is_left_alone_with_its_children() {
        let start = |script| command("/bin/sh").args(["-c", script]).spawn().unwrap();
        let open = |child: &std::process::Child| {
            pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty()).unwrap()
        };
        let mut gone = start("exit 0");
        let fd = open(&gone);
        gone.wait().unwrap();
        let mut stranger = start("sleep 1000 & wait $!; exit 7");
        while children_of(stranger.id()).is_empty() {
            std::thread::yield_now();
        }
        kill_tree_of(&fd, stranger.id());
        // Were its child or itself killed or stopped, it would say so.
        let sleeper = i32::try_from(children_of(stranger.id())[0]).unwrap();
        assert!(stranger.try_wait().unwrap().is_none());
        kill(Pid::from_raw(sleeper), Signal::SIGTERM).unwrap();
        assert_eq!(stranger.wait().unwrap().code(), Some(7));

        let mut meant = start("sleep 1000 & wait");
        kill_tree_of(&open(&meant), meant.id());
        assert_eq!(meant.wait().unwrap().signal(), Some(9));
    }
}
