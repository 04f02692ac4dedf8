//! `inspect`

use std::process::ExitCode;

use super::{print, watch};
use crate::domain::WorkerId;
use crate::ops::log::Log;
use crate::ops::{Context, Failure};

/// Show what an agent is doing: one line for each message and tool, of the current run or the last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers inspect 01
  claude-workers inspect 01 50
  claude-workers inspect 01 -f         until the run ends")]
pub(super) struct Args {
    /// The worker
    #[arg(value_name = "ID")]
    id: WorkerId,
    /// How many lines
    #[arg(value_name = "LINES", default_value_t = 20)]
    lines: usize,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
}

/// The longest line shown, in characters.
const WIDTH: usize = 160;

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let log = Log::of(ctx, &args.id)?;
    let (lines, end) = log.last_lines(args.lines, WIDTH)?;
    print::out(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let end = log.follow(ctx, end, |said| {
        let lines = said.iter().filter_map(|said| said.line(WIDTH));
        print::out(&lines.map(|line| line + "\n").collect::<String>());
    })?;
    watch::note(end.as_ref());
    Ok(ExitCode::SUCCESS)
}
