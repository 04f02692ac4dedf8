//! `inspect`

use std::process::ExitCode;

use super::print;
use crate::domain::WorkerId;
use crate::ops::watching::Log;
use crate::ops::{Context, Failure};

/// Show what an agent is doing: one line for each message and tool
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

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let log = Log::of(ctx, &args.id)?;
    let width = print::width();
    let most = width.unwrap_or(usize::MAX);
    let show = |line: &str| print::out(&(print::cut(line, width) + "\n"));
    let (lines, end) = log.last_lines(args.lines, most)?;
    for line in &lines {
        show(line);
    }
    if args.follow {
        log.follow(ctx, end, |_, said| {
            for line in said.iter().filter_map(|s| s.line(most)) {
                show(&line);
            }
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
