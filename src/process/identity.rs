//! Which process a PID means. A bare PID is never trusted: it comes round again.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::domain::Run;

/// A process, named so that it cannot be confused with a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The PID.
    pub pid: u32,
    /// Its start time, in clock ticks since boot.
    pub start: u64,
    /// The boot.
    pub boot_id: String,
}

impl Identity {
    /// The supervisor that wrote the record, if it said all that it takes to tell it from others.
    #[must_use]
    pub fn recorded(run: &Run) -> Option<Self> {
        Some(Self { pid: run.pid?, start: run.pid_start?, boot_id: run.boot_id.clone()? })
    }

    /// For how long it has been there, by the clock that nobody sets; `None` if it is not of this
    /// boot.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let now = uptime().filter(|now| now.boot == self.boot_id)?;
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
        let start = self.start / u64::try_from(ticks).ok()?;
        u64::try_from(now.secs).ok()?.checked_sub(start).map(Duration::from_secs)
    }

    /// A descriptor that becomes readable when the process ends; `None` if it has, or if this is not
    /// the machine that it lives on.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Asked in this order: if the PID is the right one's now, it was when it was opened.
        let is_it = start_time(self.pid) == Some(self.start) && boot_id()? == self.boot_id;
        // One that nobody has buried yet has its PID still.
        let ended = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], 0_u8).ok()? > 0;
        (is_it && !ended).then_some(fd)
    }
}

/// The identity of this process; `None` where `/proc` does not tell.
#[must_use]
pub fn identity_of_self() -> Option<Identity> {
    let pid = std::process::id();
    Some(Identity { pid, start: start_time(pid)?, boot_id: boot_id()? })
}

/// A moment by the clock that runs from the machine's start, through sleep, and that nobody sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uptime {
    /// The boot that it counts from.
    pub boot: String,
    /// Seconds since.
    pub secs: i64,
}

/// Now, by that clock; `None` where the kernel does not tell.
#[must_use]
pub fn uptime() -> Option<Uptime> {
    let boot = boot_id()?;
    let clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?;
    Some(Uptime { boot, secs: clock.tv_sec() })
}

pub(super) fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// When the process started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    stat_field(pid, 22)
}

/// The process that leads the session that the process is in: field 6.
pub(super) fn session_of(pid: u32) -> Option<u32> {
    stat_field(pid, 6)
}

/// A number of `/proc/PID/stat`, counted as in its manual: the third field is the first here.
fn stat_field<T: FromStr>(pid: u32, nth: usize) -> Option<T> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything, also parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(nth - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let me = identity_of_self().unwrap();
        assert_eq!(start_time(me.pid), Some(me.start));
        assert_eq!(start_time(u32::MAX), None);
        assert!(me.open().is_some());
        assert!(Identity { start: me.start + 1, ..me.clone() }.open().is_none());
        assert!(Identity { boot_id: "another".into(), ..me }.open().is_none());
    }
}
