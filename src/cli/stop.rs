//! `stop`

use std::process::ExitCode;

use super::loud::Quiet;
use super::print;
use crate::domain::WorkerId;
use crate::ops::stop::stop;
use crate::ops::{Context, Failure};

/// End a worker's run; the task stays, for `restart` or `reset`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers stop 01

The agent is asked to end and killed after `[limits] grace`; everything it started dies with it. The
label on the issue stays, so that nobody else takes it.")]
pub(super) struct Args {
    /// The worker
    #[arg(value_name = "ID")]
    id: WorkerId,
    /// Print the run as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let run = stop(ctx, &args.id)?;
    if args.json {
        return print::json(&run);
    }
    args.quiet.out(&format!("worker {} has stopped working on {}\n", args.id, run.subject()));
    Ok(ExitCode::SUCCESS)
}
