//! `logs`

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use super::print::{self, CYAN, DIM, RED, styled};
use crate::domain::WorkerId;
use crate::executor::Said;
use crate::ops::watching::Log;
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
    if args.raw && !args.follow && !std::io::stdout().is_terminal() {
        return copy(log.path());
    }
    let each = |line: &[u8], said: Vec<Said>| {
        if args.raw {
            raw(line);
        } else {
            for said in &said {
                print::out(&shown(said));
            }
        }
    };
    if args.follow {
        log.follow(ctx, 0, each)?;
    } else {
        log.read(each)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole of a log, readable.
pub(super) fn whole(log: &Log) -> Result<ExitCode, Failure> {
    log.read(|_, said| said.iter().for_each(|said| print::out(&shown(said))))?;
    Ok(ExitCode::SUCCESS)
}

/// The file itself, by the kernel.
fn copy(path: &std::path::Path) -> Result<ExitCode, Failure> {
    let fail = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
    let mut log = File::open(path).map_err(fail)?;
    match std::io::copy(&mut log, &mut std::io::stdout().lock()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(fail(e)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn raw(line: &[u8]) {
    if std::io::stdout().is_terminal() {
        print::out(&tame(&String::from_utf8_lossy(line)));
        return;
    }
    let mut out = std::io::stdout().lock();
    if out.write_all(line).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// The agent's words must not act on a terminal: control characters are shown as `\u{fffd}`.
pub(super) fn tame(text: &str) -> String {
    let tame = |c: char| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c };
    text.chars().map(tame).collect()
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
            let mark = |status: &str| match status {
                "completed" => "✓",
                "in_progress" => "→",
                _ => "○",
            };
            let lines = todos.iter().map(|t| format!("  {} {}\n", mark(&t.status), tame(&t.what)));
            lines.collect::<String>() + "\n"
        }
        // The same words have just been said.
        Said::End(_) => String::new(),
    }
}
