//! `inspect`

use std::process::ExitCode;

use super::{print, watch};
use crate::domain::WorkerId;
use crate::executor::Said;
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

/// The longest line where there is no terminal, in characters.
const WIDE: usize = 400;

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let log = Log::of(ctx, &args.id)?;
    let width = print::width();
    let most = width.unwrap_or(WIDE);
    let shown = |said: &Said| Some(print::cut(&said.line(most)?, width) + "\n");
    let (lines, end) = log.last_lines(args.lines, most)?;
    print::out(&lines.iter().map(|line| print::cut(line, width) + "\n").collect::<String>());
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let end = log.follow(ctx, end, |said| {
        print::out(&said.iter().filter_map(shown).collect::<String>());
    })?;
    watch::note(end.as_ref());
    Ok(ExitCode::SUCCESS)
}
