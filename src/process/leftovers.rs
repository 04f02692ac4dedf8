//! What a supervisor that was killed has left alive, and its end.
//!
//! In a jail nothing can be left. Without one, the agent and what it started are found by the mark
//! in their environment, by their session if they wear no mark, by the control group if there is
//! one, and all that descends from these. What has left all of them (a new session, the environment
//! cleared, its parent gone, no control group) is not found.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::cgroup;
use super::identity::{Identity, boot_id, session_of, start_time};
use super::tree::descendants_of;

/// By what the processes of a run are known.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The variable that marks them.
    pub variable: &'static str,
    /// Its value: the run.
    pub run: String,
    /// Its supervisor, which led their session.
    pub supervisor: Option<Identity>,
    /// Where the agent is at home. A process without the mark must be there, too.
    pub home: PathBuf,
    /// Their control group.
    pub cgroup: Option<PathBuf>,
}

/// How long dying may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The processes of each of these runs that are alive, in their order. One look at `/proc`; none if
/// nobody is asked about.
#[must_use]
pub fn leftovers(of: &[Traces]) -> Vec<Vec<Identity>> {
    let mut found = vec![Vec::new(); of.len()];
    let Some(boot) = boot_id().filter(|_| !of.is_empty()) else { return found };
    let by_mark: HashMap<Vec<u8>, usize> = of
        .iter()
        .enumerate()
        .map(|(i, t)| (format!("{}={}", t.variable, t.run).into(), i))
        .collect();
    let by_session: HashMap<u32, usize> =
        of.iter().enumerate().filter_map(|(i, t)| Some((session(t, &boot)?, i))).collect();
    for pid in own_processes() {
        // Before what tells whose it is: whoever has the same PID and start later, is the same.
        let Some(start) = start_time(pid) else { continue };
        let marked = || {
            let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
            environ.split(|b| *b == 0).find_map(|var| by_mark.get(var).copied())
        };
        let at_home = |i: &usize| {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&of[*i].home))
        };
        let in_session = || by_session.get(&session_of(pid)?).copied().filter(at_home);
        if let Some(i) = marked().or_else(in_session) {
            found[i].push(Identity { pid, start, boot_id: boot.clone() });
        }
    }
    for (traces, found) in of.iter().zip(&mut found) {
        let more = traces.cgroup.iter().flat_map(|dir| cgroup::members(dir));
        let below: Vec<u32> = found.iter().flat_map(|one| descendants_of(one.pid)).collect();
        for pid in below.into_iter().chain(more) {
            let known = found.iter().any(|one| one.pid == pid) || pid == std::process::id();
            if let (false, Some(start)) = (known, start_time(pid)) {
                found.push(Identity { pid, start, boot_id: boot.clone() });
            }
        }
    }
    found
}

/// Kills all processes of a run until none is left. First all are stopped, so that none forks on
/// meanwhile.
///
/// # Errors
/// The PIDs of those that do not die.
pub fn end_leftovers(of: &Traces) -> Result<(), Vec<u32>> {
    let look = || leftovers(std::slice::from_ref(of)).pop().unwrap_or_default();
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(dir) = &of.cgroup {
            cgroup::kill(dir);
        }
        let mut stopped: HashMap<u32, OwnedFd> = HashMap::new();
        let mut left;
        loop {
            left = look();
            let before = stopped.len();
            for one in left.iter().filter(|one| !stopped.contains_key(&one.pid)).collect::<Vec<_>>()
            {
                let Some(fd) = one.open() else { continue };
                let _ = pidfd_send_signal(&fd, Signal::STOP);
                stopped.insert(one.pid, fd);
            }
            if stopped.len() == before || Instant::now() > deadline {
                break;
            }
        }
        if left.is_empty() {
            if let Some(dir) = &of.cgroup {
                cgroup::remove(dir);
            }
            return Ok(());
        }
        for fd in stopped.values() {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
        for fd in stopped.values() {
            let wait = deadline.saturating_duration_since(Instant::now());
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
            let _ = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], wait);
        }
        if stopped.is_empty() {
            // They are dying.
            std::thread::sleep(Duration::from_millis(2));
        }
        if Instant::now() > deadline {
            return Err(left.into_iter().map(|one| one.pid).collect());
        }
    }
}

/// The session that the supervisor led, unless its PID is somebody else's by now.
fn session(of: &Traces, boot: &str) -> Option<u32> {
    let led = of.supervisor.as_ref().filter(|led| led.boot_id == boot)?;
    start_time(led.pid).is_none_or(|start| start == led.start).then_some(led.pid)
}

/// All processes of our own user but this one.
fn own_processes() -> impl Iterator<Item = u32> {
    let (me, own_uid) = (std::process::id(), nix::unistd::geteuid().as_raw());
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(move |entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (pid != me && entry.metadata().ok()?.uid() == own_uid).then_some(pid)
    })
}
