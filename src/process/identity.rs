//! Which process a PID means. A bare PID is never trusted: it comes round again.

use std::fs;

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

fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// When the process started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything, also parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let me = identity_of_self().unwrap();
        assert_eq!(start_time(me.pid), Some(me.start));
        assert_eq!(start_time(u32::MAX), None);
    }
}
