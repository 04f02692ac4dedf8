//! Waiting for an agent: its output line by line, its limits, its end.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::tree::{children_of, descendants_of};
use crate::domain::Limits;
use crate::failpoint::patience;

/// Cuts a stream of bytes into lines, without ever holding more than `max` bytes: a longer line
/// comes in pieces.
#[derive(Debug)]
pub struct Lines {
    pending: Vec<u8>,
    max: usize,
    inside_long: bool,
}

impl Lines {
    /// Pieces are at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { pending: Vec::new(), max, inside_long: false }
    }

    /// Takes bytes in and gives whole lines out, each with its newline. The second argument says
    /// whether the line is whole (not a piece of a longer one).
    pub fn push(&mut self, mut bytes: &[u8], mut out: impl FnMut(&[u8], bool)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.pending.extend_from_slice(line);
            out(&self.pending, !std::mem::take(&mut self.inside_long));
            self.pending.clear();
            bytes = rest;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= self.max {
            out(&self.pending, false);
            self.inside_long = true;
            self.pending.clear();
        }
        // A rare long line must not keep its memory for hours.
        if self.pending.is_empty() && self.pending.capacity() > 64 << 10 {
            self.pending = Vec::new();
        }
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self, mut out: impl FnMut(&[u8], bool)) {
        if !self.pending.is_empty() {
            self.pending.push(b'\n');
            out(&self.pending, !self.inside_long);
            self.pending.clear();
        }
    }
}

/// Why the watch ended the agent, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It ended by itself.
    Itself,
    /// It took longer than the wall-clock limit.
    WallClock,
    /// It said nothing for longer than the limit of silence.
    Silence,
    /// It had said its final word and did not go.
    HungAfterResult,
    /// We were asked to stop (TERM, INT or HUP).
    Stopped,
}

/// What became of it.
#[derive(Debug)]
pub struct Watched {
    /// How the process ended.
    pub status: ExitStatus,
    /// Who ended it.
    pub end: End,
    /// How long it lived.
    pub took: Duration,
}

/// The longest piece of a line that is held in memory.
const LINE_MAX: usize = 1 << 20;

/// Watches a child (standard output and error piped) to its end.
///
/// Time is counted by the clock that nobody sets and that stands still while the machine sleeps, as
/// the child does. While only the watcher is stopped it goes on, and what the child has said
/// meanwhile counts as said.
///
/// `on_line(is_stderr, line, whole)` is given every line and says whether it was the agent's final
/// word. `inner` says that the child is a jail: the polite signal goes to the processes inside it,
/// because the jail itself would die at once of it.
///
/// TERM, INT and HUP are blocked in this thread from here on and mean [`End::Stopped`]; they are
/// seen for sure only by a process whose only thread this is.
///
/// # Errors
/// When the kernel refuses a descriptor or `poll` fails; the child is killed then.
pub fn watch(
    mut child: Child,
    inner: bool,
    limits: &Limits,
    mut on_line: impl FnMut(bool, &[u8], bool) -> bool,
) -> std::io::Result<Watched> {
    let result = watch_inner(&mut child, inner, limits, &mut on_line);
    if result.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn watch_inner(
    child: &mut Child,
    inner: bool,
    limits: &Limits,
    on_line: &mut dyn FnMut(bool, &[u8], bool) -> bool,
) -> std::io::Result<Watched> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let signal_fd = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // Becomes readable when the child has ended.
    let pid_fd = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let mut lines = [Lines::new(LINE_MAX), Lines::new(LINE_MAX)];
    let mut buffer = vec![0_u8; 16 << 10];

    let started = Instant::now();
    let mut last_word = started;
    let mut final_word: Option<Instant> = None;
    let mut end = End::Itself;
    let mut kill_at: Option<Instant> = None;
    let mut exited: Option<ExitStatus> = None;
    let mut drain_until: Option<Instant> = None;
    loop {
        if exited.is_none() {
            exited = child.try_wait()?;
        }
        if exited.is_some() && stdout.is_none() && stderr.is_none() {
            break;
        }
        let now = Instant::now();
        if exited.is_some() {
            // Only what is still in the pipes is wanted. Whoever goes on writing is no part of the
            // run any more.
            let until = *drain_until.get_or_insert(now + limits.grace());
            if now >= until {
                break;
            }
        }
        if exited.is_none() {
            if let Some(at) = kill_at {
                if now >= at {
                    child.kill()?;
                    kill_at = Some(now + limits.grace().max(Duration::from_secs(1)));
                }
            } else if let Some(why) = over_limit(limits, now, started, last_word, final_word)
                // We may have been stopped ourselves while it spoke.
                && (why != End::Silence || !has_spoken(stdout.as_ref(), stderr.as_ref()))
            {
                end = why;
                ask_to_end(child.id(), inner);
                kill_at = Some(now + limits.grace());
            }
        }
        let wake = drain_until.or(kill_at);
        let wake = wake.unwrap_or_else(|| next_limit(limits, started, last_word, final_word));
        let none = PollFlags::POLLIN;
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(signal_fd.as_fd(), none)];
        let open: Vec<(bool, BorrowedFd<'_>)> = stdout
            .iter()
            .map(|p| (false, p.as_fd()))
            .chain(stderr.iter().map(|p| (true, p.as_fd())))
            .collect();
        fds.extend(open.iter().map(|(_, fd)| PollFd::new(*fd, none)));
        if exited.is_none() {
            fds.push(PollFd::new(pid_fd.as_fd(), none));
        }
        match poll(&mut fds, timeout(wake.saturating_duration_since(now))) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let readable: Vec<bool> = open
            .iter()
            .zip(&fds[1..])
            .filter(|(_, fd)| fd.any().unwrap_or(false))
            .map(|((is_err, _), _)| *is_err)
            .collect();
        drop(fds);
        for is_err in readable {
            let read = if is_err {
                stderr.as_mut().map(|p| p.read(&mut buffer))
            } else {
                stdout.as_mut().map(|p| p.read(&mut buffer))
            };
            match read {
                Some(Ok(n @ 1..)) => {
                    last_word = Instant::now();
                    lines[usize::from(is_err)].push(&buffer[..n], |line, whole| {
                        if on_line(is_err, line, whole) {
                            final_word = Some(last_word);
                        }
                    });
                }
                Some(Err(e)) if e.kind() == ErrorKind::Interrupted => {}
                _ if is_err => stderr = None,
                _ => stdout = None,
            }
        }
        while let Some(info) = signal_fd.read_signal()? {
            let stop = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
            let asked = stop.iter().any(|s| *s as u32 == info.ssi_signo);
            if asked && kill_at.is_none() && exited.is_none() {
                end = End::Stopped;
                ask_to_end(child.id(), inner);
                kill_at = Some(Instant::now() + limits.grace());
            }
        }
    }
    for (i, lines) in lines.iter_mut().enumerate() {
        lines.finish(|line, whole| {
            on_line(i == 1, line, whole);
        });
    }
    let status = match exited {
        Some(status) => status,
        None => child.wait()?,
    };
    Ok(Watched { status, end, took: started.elapsed() })
}

/// Whether there is something to be read.
fn has_spoken(stdout: Option<&ChildStdout>, stderr: Option<&ChildStderr>) -> bool {
    let pipes = stdout.map(AsFd::as_fd).into_iter().chain(stderr.map(AsFd::as_fd));
    let mut fds: Vec<PollFd<'_>> = pipes.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    // That the other end is closed is no word.
    let readable = |fd: &PollFd<'_>| fd.revents().is_some_and(|r| r.contains(PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds.iter().any(readable)
}

/// How long an agent may linger after its final word.
const LINGER: Duration = Duration::from_secs(30);

fn linger() -> Duration {
    patience("result", LINGER)
}

fn over_limit(
    limits: &Limits,
    now: Instant,
    started: Instant,
    last_word: Instant,
    final_word: Option<Instant>,
) -> Option<End> {
    if now >= started + limits.wall_clock() {
        Some(End::WallClock)
    } else if final_word.is_some_and(|at| now >= at + linger()) {
        Some(End::HungAfterResult)
    } else if now >= last_word + limits.silence() {
        Some(End::Silence)
    } else {
        None
    }
}

fn next_limit(
    limits: &Limits,
    started: Instant,
    last_word: Instant,
    final_word: Option<Instant>,
) -> Instant {
    let next = (started + limits.wall_clock()).min(last_word + limits.silence());
    final_word.map_or(next, |at| next.min(at + linger()))
}

/// Milliseconds rounded up, so that a wake-up never comes just before its time.
pub(super) fn timeout(wait: Duration) -> PollTimeout {
    let ms = wait.as_millis() + u128::from(!wait.subsec_nanos().is_multiple_of(1_000_000));
    PollTimeout::try_from(ms.min(i32::MAX as u128)).unwrap_or(PollTimeout::MAX)
}

/// The polite signal, to the agent and to everything that it has started. In a jail that is what is
/// below the jail's first process, the child of the outer one; without a jail, all descendants of
/// this process, to which the agent's orphans have come.
fn ask_to_end(pid: u32, inner: bool) {
    let all = if inner {
        children_of(pid).into_iter().flat_map(descendants_of).collect()
    } else {
        descendants_of(std::process::id())
    };
    for one in all {
        if let Ok(raw) = i32::try_from(one) {
            let _ = kill(Pid::from_raw(raw), Signal::SIGTERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_lose_nothing_and_hold_little(chunks in prop::collection::vec("[ab\\n]{0,40}", 0..20)) {
            let mut lines = Lines::new(16);
            let (mut all, mut longest_whole) = (Vec::new(), 0);
            let mut take = |line: &[u8], whole: bool| {
                all.extend_from_slice(line);
                if whole { longest_whole = longest_whole.max(line.len()); }
            };
            for chunk in &chunks { lines.push(chunk.as_bytes(), &mut take); }
            lines.finish(&mut take);
            let mut text: String = chunks.concat();
            if !text.is_empty() && !text.ends_with('\n') && !all.is_empty() && all.len() > text.len() {
                text.push('\n');
            }
            prop_assert_eq!(String::from_utf8(all).unwrap(), text);
        }
    }

    fn watched(script: &str, limits: Limits) -> Watched {
        let mut shell = crate::process::command("/bin/sh");
        let child = shell
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        watch(child, false, &limits, |_, _, _| false).unwrap()
    }

    #[test]
    fn a_survivor_that_goes_on_writing_does_not_keep_the_watch_open() {
        // It ends when nobody reads any more.
        let script = "(while echo x; do :; done) 2>/dev/null & echo $!";
        let limits = Limits { grace_secs: 0, ..Limits::default() };
        assert!(watched(script, limits).status.success());
    }

    #[test]
    fn limits_beyond_all_reckoning_are_no_limits() {
        let limits =
            Limits { wall_clock_secs: u64::MAX, silence_secs: u64::MAX, grace_secs: u64::MAX };
        assert_eq!(watched("exit 3", limits).status.code(), Some(3));
    }

    #[test]
    fn a_line_longer_than_the_limit_comes_in_pieces_that_are_not_whole() {
        let mut lines = Lines::new(4);
        let mut got = Vec::new();
        let mut push = |bytes: &[u8]| lines.push(bytes, |l, whole| got.push((l.to_vec(), whole)));
        push(b"abcdef");
        push(b"gh\nij\n");
        assert_eq!(
            got,
            [(b"abcdef".to_vec(), false), (b"gh\n".to_vec(), false), (b"ij\n".to_vec(), true)]
        );
    }
}
