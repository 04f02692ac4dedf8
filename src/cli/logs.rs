//! `logs`

use std::fs::File;
use std::io::{BufReader, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::print::{self, CYAN, DIM, RED, styled};
use super::watch;
use crate::domain::{WorkerId, text};
use crate::executor::Said;
use crate::ops::log::Log;
use crate::ops::{Context, Exit, Failure};

/// Print the whole conversation of a worker's current run, or of its last one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers logs 01
  claude-workers logs 01 -f            until the run ends
  claude-workers logs 01 --raw | jq -r 'select(.type == \"result\").result'
  claude-workers logs 01 --path")]
pub(super) struct Args {
    /// The worker
    #[arg(value_name = "ID")]
    id: WorkerId,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
    /// Print it as the agent wrote it
    #[arg(long)]
    raw: bool,
    /// Print where the log is, not what is in it
    #[arg(long, conflicts_with_all = ["follow", "raw"])]
    path: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let log = Log::of(ctx, &args.id)?;
    if args.path {
        print::out(&format!("{}\n", log.path().display()));
        return Ok(ExitCode::SUCCESS);
    }
    let readable = |said: &[Said]| print::out(&said.iter().map(shown).collect::<String>());
    match (args.raw, args.follow) {
        (false, false) => log.read(readable)?,
        (false, true) => watch::note(log.follow(ctx, 0, readable)?.as_ref()),
        (true, false) if !std::io::stdout().is_terminal() => copy(&log)?,
        (true, false) => log.read_raw(raw)?,
        (true, true) => watch::note(log.follow_raw(ctx, 0, raw)?.as_ref()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole of a log, readable.
pub(super) fn whole(log: &Log) -> Result<ExitCode, Failure> {
    log.read(|said| print::out(&said.iter().map(shown).collect::<String>()))?;
    Ok(ExitCode::SUCCESS)
}

/// The file itself: by the kernel into a pipe or another file, else in large pieces.
fn copy(log: &Log) -> Result<(), Failure> {
    let log_file = log.file()?;
    // Not through the standard library's own buffer, which looks for the ends of lines.
    let out = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let copied = out.and_then(|mut out| {
        splice_all(&log_file, &out)?;
        // Where there was no pipe, this is all of it.
        std::io::copy(&mut BufReader::with_capacity(128 << 10, log_file), &mut out)
    });
    match copied {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("cannot copy {}: {e}", log.path().display())))
        }
        _ => Ok(()),
    }
}

/// Moves the rest of the file into `out` without copying it, if that is a pipe.
fn splice_all(file: &File, out: &File) -> std::io::Result<()> {
    const PIECE: usize = 1 << 20;
    loop {
        match splice(file, None, out, None, PIECE, SpliceFlags::empty()) {
            Ok(0) | Err(Errno::INVAL) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn raw(bytes: &[u8]) {
    if std::io::stdout().is_terminal() {
        print::out(&tame(&String::from_utf8_lossy(bytes)));
        return;
    }
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// The agent's words must not act on a terminal: control characters are shown as `\u{fffd}`, other
/// invisible ones are left out.
pub(super) fn tame(text: &str) -> String {
    let tame = |c: char| match c {
        '\n' | '\t' => Some(c),
        _ if c.is_control() => Some('\u{fffd}'),
        _ => Some(c).filter(|c| !text::is_invisible(*c)),
    };
    text.chars().filter_map(tame).collect()
}

/// Answers of tools are cut here: they are what the agent read, not what it said.
const ANSWER_LINES: usize = 12;

fn shown(said: &Said) -> String {
    match said {
        Said::Words(words) => format!("{}\n\n", tame(words.trim())),
        Said::Line(line) => format!("{}\n", tame(line)),
        Said::Tool(name, what) => format!("{} {}\n", styled(CYAN, &tame(name)), tame(what)),
        Said::Answer(answer, is_error) => {
            let mut text = String::new();
            let style = if *is_error { RED } else { DIM };
            for line in answer.lines().take(ANSWER_LINES) {
                text.push_str(&format!("  {}\n", styled(style, &tame(line))));
            }
            let more = answer.lines().count().saturating_sub(ANSWER_LINES);
            if more > 0 {
                text.push_str(&format!("  {}\n", styled(DIM, &format!("… {more} more lines"))));
            }
            text + "\n"
        }
        Said::Todos(todos) => {
            let lines = todos.iter().map(|t| format!("  {} {}\n", t.status.mark(), tame(&t.what)));
            lines.collect::<String>() + "\n"
        }
        Said::End(how) => format!("{}\n", styled(DIM, &format!("ended: {}", tame(how)))),
    }
}
