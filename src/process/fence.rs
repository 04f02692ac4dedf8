//! A control group around a jail, for root alone: the kernel does not count root's processes against
//! its limit, whatever user id the jail shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::members;
use super::tree::descendants_of;
use crate::domain::Rlimits;

/// Where control groups are.
const TOP: &str = "/sys/fs/cgroup";

/// A control group that is removed again, once nobody is in it.
#[derive(Debug)]
pub struct Fence(Vec<PathBuf>);

impl Fence {
    /// Puts a process into groups of this name, whose limits hold for all in it together: for what will
    /// come from it, too. A name that was left behind is used again. Where a group cannot be made (or
    /// is not needed) there is none: the limits of each process hold anyway.
    ///
    /// The first to be moved after a while waits tens of milliseconds for all processors.
    #[must_use]
    pub fn around(pid: u32, name: &str, rlimits: &Rlimits) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let top = Path::new(TOP);
        let unified = top.join("cgroup.controllers").is_file();
        let (processes, memory) =
            (rlimits.processes.to_string(), rlimits.memory.map(|m| m.to_string()));
        let dir = |controller: &str| {
            let top = if unified { top.to_owned() } else { top.join(controller) };
            top.is_dir().then(|| top.join(name))
        };
        let of_memory = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        let wanted = [("pids", "pids.max", Some(processes)), ("memory", of_memory, memory)];
        let mut fence = Self(Vec::new());
        for (controller, file, limit) in wanted {
            let (Some(dir), Some(limit)) = (dir(controller), limit) else { continue };
            let made = fs::create_dir(&dir).is_ok() || dir.is_dir();
            if made && !fence.0.contains(&dir) {
                fence.0.push(dir.clone());
            }
            // Without the controller a group limits nothing, and does no harm.
            let _ = fs::write(dir.join(file), limit);
        }
        fence.fetch(&[pid]);
        Some(fence)
    }

    /// Puts what had come from a process before it was put there itself into its groups.
    pub fn gather(&self, pid: u32) {
        for _ in 0..3 {
            self.fetch(&descendants_of(pid));
        }
    }

    /// Moves those that are not there yet.
    fn fetch(&self, pids: &[u32]) {
        for dir in &self.0 {
            let there = members(dir);
            for pid in pids.iter().filter(|pid| !there.contains(pid)) {
                let _ = fs::write(dir.join("cgroup.procs"), pid.to_string());
            }
        }
    }

    /// Removes the groups of this name that a dead supervisor has left, if nobody is in them.
    pub fn remove_left(name: &str) {
        for below in ["", "pids", "memory"] {
            let _ = fs::remove_dir(Path::new(TOP).join(below).join(name));
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        for dir in &self.0 {
            // The last of them may still be on their way out.
            for _ in 0..50 {
                match fs::remove_dir(dir) {
                    Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EBUSY as i32) => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    _ => break,
                }
            }
        }
    }
}
