//! `stop`

use std::process::ExitCode;

use super::loud::Quiet;
use super::print;
use crate::domain::{Phase, WorkerId};
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
    let (id, subject) = (&args.id, run.subject());
    args.quiet.out(&match (run.phase, &run.ended) {
        (Phase::Verifying, None) => format!(
            "worker {id} has stopped looking at what its agent left for {subject}; the next `assign` \
             looks again, `claude-workers reset {id}` gives it up\n"
        ),
        _ => format!("worker {id} has stopped working on {subject}\n"),
    });
    Ok(ExitCode::SUCCESS)
}
