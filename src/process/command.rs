//! The one place that starts processes.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};

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
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    bounded(command, stdin, input, max_stdout)
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
    bounded(command, stdin, b"", max_stdout)
}

fn bounded(
    command: &mut Command,
    stdin: Stdio,
    input: &[u8],
    max_stdout: u64,
) -> std::io::Result<Captured> {
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let result = std::thread::scope(|scope| {
        let writer = stdin.map(|mut pipe| scope.spawn(move || drop(pipe.write_all(input))));
        let errors = stderr.map(|pipe| scope.spawn(move || read_tail(pipe)));
        let mut out = Vec::new();
        let read = stdout.map_or(Ok(0), |pipe| pipe.take(max_stdout + 1).read_to_end(&mut out));
        let too_much = out.len() as u64 > max_stdout;
        if too_much || read.is_err() {
            // Its pipes close with it, and so end the threads.
            let _ = child.kill();
        }
        let status = child.wait();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        let stderr = errors.and_then(|e| e.join().ok()).unwrap_or_default();
        read?;
        if too_much {
            let why = format!("it wrote more than {max_stdout} bytes");
            return Err(std::io::Error::other(why));
        }
        Ok(Captured { status: status?, stdout: out, stderr })
    })?;
    Ok(result)
}

fn read_tail(mut pipe: impl Read) -> String {
    const KEEP: usize = 8 << 10;
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        if kept.len() > 2 * KEEP {
            kept.drain(..kept.len() - KEEP);
        }
    }
    let from = kept.len().saturating_sub(KEEP);
    String::from_utf8_lossy(&kept[from..]).trim().to_owned()
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
    fn a_child_that_says_too_much_is_ended() {
        let mut yes = command("/usr/bin/yes");
        assert!(run_bounded(&mut yes, b"", 1000).is_err());
    }
}
