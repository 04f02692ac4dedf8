//! The one place that starts processes.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, prlimit};

use super::tree::kill_tree;
use super::watch::timeout;
use crate::failpoint::{self, Effect, Trouble};

/// A command with an empty environment: what a child may know is always said.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = Command::new(program);
    command.env_clear();
    command
}

/// What a short-lived child left.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output, whole.
    pub stdout: Vec<u8>,
    /// The last 8 KiB of standard error, as text.
    pub stderr: String,
}

/// Runs a child to its end with `input` on its standard input. Output beyond `max_stdout` bytes
/// ends it with an error.
///
/// # Errors
/// When it cannot be started, or says too much.
pub fn run_bounded(
    command: &mut Command,
    input: &[u8],
    max_stdout: u64,
) -> std::io::Result<Captured> {
    begin(command, input)?.finish(max_stdout)
}

/// The same with a standard input of the caller's.
///
/// # Errors
/// When it cannot be started, or says too much.
pub fn run_bounded_with(
    command: &mut Command,
    stdin: Stdio,
    max_stdout: u64,
) -> std::io::Result<Captured> {
    begin_with(command, stdin, b"")?.finish(max_stdout)
}

/// The first half of [`run_bounded`], for a caller who has something to do meanwhile.
///
/// # Errors
/// When it cannot be started.
pub fn begin<'a>(command: &mut Command, input: &'a [u8]) -> std::io::Result<Begun<'a>> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    begin_with(command, stdin, input)
}

fn begin_with<'a>(
    command: &mut Command,
    stdin: Stdio,
    input: &'a [u8],
) -> std::io::Result<Begun<'a>> {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = spawn(command, failpoint::command_name)?;
    let end = failpoint::end_of(command);
    Ok(Begun { child, input, end, patience: None })
}

/// Starts a child that lives on; `what` it is, is for the names of failpoints.
///
/// # Errors
/// When it cannot be started.
pub fn spawn(
    command: &mut Command,
    what: impl FnOnce(&Command) -> String,
) -> std::io::Result<Child> {
    let effect = Effect::new(Trouble::Process, || format!("spawn {}", what(command)));
    effect.before()?;
    let child = command.spawn()?;
    effect.passed();
    Ok(child)
}

/// A short-lived child that was started and has not been heard yet.
#[derive(Debug)]
#[must_use]
pub struct Begun<'a> {
    child: Child,
    input: &'a [u8],
    end: Effect,
    patience: Option<Duration>,
}

/// While we stand still ourselves, so may the child. So of each wait for it no more is counted.
const COUNTED: Duration = Duration::from_secs(10);

impl Begun<'_> {
    /// Lets it have no more than so many bytes of memory of its own. What it asks for beyond is refused
    /// to it.
    ///
    /// # Errors
    /// When that cannot be set; the child is ended then.
    pub fn with_memory(mut self, max: u64) -> std::io::Result<Self> {
        let limit = Rlimit { current: Some(max), maximum: Some(max) };
        match prlimit(Some(Pid::from_child(&self.child)), Resource::Data, limit) {
            Ok(_) => Ok(self),
            Err(e) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err(e.into())
            }
        }
    }

    /// Lets it take no longer than so from the time that it is heard.
    pub fn within(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// The second half of [`run_bounded`].
    ///
    /// # Errors
    /// When it says too much ([`ErrorKind::FileTooLarge`]) or takes too long
    /// ([`ErrorKind::TimedOut`]); it is ended then, with all that it has started.
    pub fn finish(mut self, max_stdout: u64) -> std::io::Result<Captured> {
        let mut left = self.patience;
        let said = converse(&mut self.child, self.input, max_stdout, &mut left)
            .and_then(|said| await_end(&self.child, &mut left).map(|()| said))
            .map_err(|e| match (e.kind(), self.patience) {
                (ErrorKind::TimedOut, Some(patience)) => {
                    let why = format!("it took longer than {} seconds", patience.as_secs());
                    std::io::Error::new(ErrorKind::TimedOut, why)
                }
                _ => e,
            });
        if said.is_err() {
            kill_tree(self.child.id());
        }
        let status = self.child.wait();
        let (stdout, stderr) = said?;
        self.end.after()?;
        Ok(Captured { status: status?, stdout, stderr: stderr.text() })
    }
}

/// Writes `input` and reads both outputs to their ends, all in one thread: more of them would stay
/// in the memory of a supervisor for as long as it lives.
fn converse(
    child: &mut Child,
    mut input: &[u8],
    max_stdout: u64,
    left: &mut Option<Duration>,
) -> std::io::Result<(Vec<u8>, Tail)> {
    let mut stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut tail) = (Vec::new(), Tail::default());
    let mut buffer = [0; 16 << 10];
    loop {
        if input.is_empty() {
            stdin = None;
        }
        let wanted = [
            (stdin.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT),
            (stdout.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
            (stderr.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
        ];
        if wanted.iter().all(|(fd, _)| fd.is_none()) {
            return Ok((out, tail));
        }
        let [write, read_out, read_err] = ready(wanted, left)?;
        if write && let Some(pipe) = &mut stdin {
            // So much always fits into a pipe that is ready, so that it cannot block.
            match pipe.write(&input[..input.len().min(4096)]) {
                Ok(n) => input = &input[n..],
                // It does not want to hear the rest.
                Err(_) => stdin = None,
            }
        }
        if read_out && let Some(pipe) = &mut stdout {
            match pipe.read(&mut buffer)? {
                0 => stdout = None,
                n => out.extend_from_slice(&buffer[..n]),
            }
            if out.len() as u64 > max_stdout {
                let why = format!("it wrote more than {max_stdout} bytes");
                return Err(std::io::Error::new(ErrorKind::FileTooLarge, why));
            }
        }
        if read_err && let Some(pipe) = &mut stderr {
            match pipe.read(&mut buffer)? {
                0 => stderr = None,
                n => tail.push(&buffer[..n]),
            }
        }
    }
}

/// Waits for a child that has closed its outputs and may live on.
fn await_end(child: &Child, left: &mut Option<Duration>) -> std::io::Result<()> {
    if left.is_none() {
        return Ok(());
    }
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    ready([(Some(ended.as_fd()), PollFlags::POLLIN)], left).map(drop)
}

/// Waits until something can be done, and says which. What is `left` of the patience gets less.
fn ready<const N: usize>(
    wanted: [(Option<BorrowedFd<'_>>, PollFlags); N],
    left: &mut Option<Duration>,
) -> std::io::Result<[bool; N]> {
    let fds = wanted.iter().filter_map(|(fd, flags)| Some(PollFd::new((*fd)?, *flags)));
    let mut fds: Vec<PollFd<'_>> = fds.collect();
    loop {
        if *left == Some(Duration::ZERO) {
            return Err(ErrorKind::TimedOut.into());
        }
        let since = Instant::now();
        let wait = left.map_or(PollTimeout::NONE, |left| timeout(left.min(COUNTED)));
        let found = poll(&mut fds, wait);
        if let Some(left) = left {
            *left = left.saturating_sub(since.elapsed().min(COUNTED));
        }
        match found {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(e) => return Err(e.into()),
        }
    }
    let mut answers = fds.iter().map(|fd| fd.any().unwrap_or(true));
    Ok(wanted.map(|(fd, _)| fd.is_some() && answers.next().unwrap_or(false)))
}

/// The end of a text of any length.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    const KEEP: usize = 8 << 10;

    fn push(&mut self, more: &[u8]) {
        self.0.extend_from_slice(more);
        if self.0.len() > 4 * Self::KEEP {
            self.0.drain(..self.0.len() - Self::KEEP);
        }
    }

    fn text(&self) -> String {
        let from = self.0.len().saturating_sub(Self::KEEP);
        String::from_utf8_lossy(&self.0[from..]).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gets_its_input_and_nothing_of_our_environment() {
        let mut env = command("/usr/bin/env");
        env.env("ONLY", "this");
        assert_eq!(run_bounded(&mut env, b"", 1000).unwrap().stdout, b"ONLY=this\n");
        let big = vec![b'x'; 300_000];
        let cat = run_bounded(&mut command("/bin/cat"), &big, 1 << 20).unwrap();
        assert_eq!(cat.stdout.len(), big.len());
    }

    #[test]
    fn a_child_that_does_not_listen_and_talks_at_length_is_heard_out() {
        let mut deaf = command("/bin/sh");
        deaf.args(["-c", "exec <&-; printf %300000s out; printf %300000s end >&2"]);
        let captured = run_bounded(&mut deaf, &vec![b'x'; 300_000], 1 << 20).unwrap();
        assert_eq!(captured.stdout.len(), 300_000);
        assert_eq!(captured.stderr, "end");
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended_with_what_it_started() {
        for script in ["exec 3<&0; sleep 1000 & wait", "exec >&- 2>&-; sleep 1000; :"] {
            // Whoever of them lives holds the other end.
            let (mut life, held) = std::io::pipe().unwrap();
            let mut shell = command("/bin/sh");
            let begun = begin_with(shell.args(["-c", script]), Stdio::from(held), b"").unwrap();
            drop(shell);
            let e = begun.within(Duration::from_millis(300)).finish(1000).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::TimedOut, "{e}");
            assert_eq!(life.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn a_child_that_says_too_much_is_ended() {
        let mut yes = command("/usr/bin/yes");
        assert!(run_bounded(&mut yes, b"", 1000).is_err());
    }
}
