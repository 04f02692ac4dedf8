//! `logs`

use std::fs::File;
use std::io::ErrorKind;
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
    match std::io::copy(&mut log, &mut std::io::stdout().lock()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(fail(e)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
