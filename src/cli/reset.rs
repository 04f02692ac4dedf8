//! `reset`

use std::process::ExitCode;

use super::loud::{Quiet, Verbose};
use super::{block_on, print};
use crate::domain::WorkerId;
use crate::ops::stop::reset;
use crate::ops::{Context, Failure};

/// Bring a worker back to idle and give its issue free
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers reset 01
  claude-workers reset 01 --force      also if it is busy: stops it first; if it is broken: sets
                                       aside the record that cannot be read

The run is archived with its true outcome; the labels `worker:NN` and `blocked` are taken off the
issue, also of a run that was archived already, so that `assign` may take it again. The clone stays.")]
pub(super) struct Args {
    /// The worker
    #[arg(value_name = "ID")]
    id: WorkerId,
    /// Stop it if it is busy; give up work that waits to be published; set aside a record that
    /// cannot be read
    #[arg(short, long)]
    force: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    verbose: Verbose,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let github = ctx.github()?;
    let done = block_on(reset(ctx, &github, &args.id, args.force));
    args.verbose.requests(&github.usage());
    let done = done?;
    if args.json {
        print::json(&serde_json::json!({
            "version": 1, "worker": args.id, "run": done.run, "setAside": done.set_aside,
            "left": done.left,
        }))?;
    } else {
        let what = match (&done.run, &done.set_aside) {
            (Some(run), _) => format!("{} is cleared", run.subject()),
            (None, Some(aside)) => format!("its record is set aside as {}", aside.display()),
            (None, None) => "there was nothing to clear".to_owned(),
        };
        args.quiet.out(&format!("worker {} is idle; {what}\n", args.id));
    }
    if done.left.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for left in &done.left {
        print::note(&format!("still to be done, by the next `assign` or by you: {left}"));
    }
    Ok(ExitCode::FAILURE)
}
