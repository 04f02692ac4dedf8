//! `logs`

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read};
use std::process::ExitCode;

use super::print;
use crate::domain::WorkerId;
use crate::ops::queries::log_path;
use crate::ops::{Context, Exit, Failure};

/// Print what a worker's agent wrote, as it wrote it: the current run's log, or the last one's
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers logs 01
  claude-workers logs 01 --path | xargs less -R")]
pub(super) struct Args {
    /// The worker
    #[arg(value_name = "ID")]
    id: WorkerId,
    /// Print where the log is, not what is in it
    #[arg(long)]
    path: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let path = log_path(ctx, &args.id)?;
    if args.path {
        print::out(&format!("{}\n", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let fail = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
    let mut log = File::open(&path).map_err(fail)?;
    if std::io::stdout().is_terminal() {
        return show(log).map_err(fail);
    }
    match std::io::copy(&mut log, &mut std::io::stdout().lock()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(fail(e)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// On a terminal the agent's words must not act: control characters are shown as `\u{fffd}`.
fn show(log: File) -> std::io::Result<ExitCode> {
    let mut reader = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(1 << 20).read_until(b'\n', &mut line)? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let tame = |c: char| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c };
        print::out(&String::from_utf8_lossy(&line).chars().map(tame).collect::<String>());
    }
}
