//! `restart`

use std::process::ExitCode;

use super::loud::Quiet;
use super::print;
use crate::domain::WorkerId;
use crate::ops::dispatch::Dispatched;
use crate::ops::stop::restart;
use crate::ops::{Context, Failure};

/// Carry a stopped, waiting or crashed run on, where it was left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers restart 01

Same task, model and executor, same clone with its uncommitted work, and the same conversation where
the executor can carry one on. The log goes on.")]
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
    let (run, pid) = restart(ctx, &args.id)?;
    if args.json {
        return print::json(&print::run_json(&Dispatched { run, pid }));
    }
    args.quiet.out(&format!("worker {} carries on with {} (pid {pid})\n", args.id, run.subject()));
    Ok(ExitCode::SUCCESS)
}
