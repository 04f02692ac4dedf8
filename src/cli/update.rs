//! `update`

use std::process::ExitCode;

use super::print;
use crate::domain::text;
use crate::ops::update::{Done, Look, look, update};
use crate::ops::{Context, Failure};

/// Bring this program up to date, the way it was installed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers update
  claude-workers update --check     exit code 0: up to date, 8: there is something newer
  claude-workers update --dry-run   what it would do

A checkout is pulled (only forward) and built; what `cargo install` installed, from a directory, a
git repository or a registry, is built from there. The new program is tried before it replaces the
old one, and then refreshes the idle workers. Runs that are under way go on.")]
pub(super) struct Args {
    /// Only say whether there is something newer
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// The exit code of `--check` when there is something newer.
const NEWER: u8 = 8;

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    if args.check || args.dry_run {
        return Ok(tell(&look(ctx)?, args.check));
    }
    match update(ctx)? {
        Done::UpToDate(at) => print::out(&up_to_date(&at)),
        Done::Updated { to, refreshed } => {
            print::out(&format!("claude-workers is {} now\n", shown(&to)));
            if let Err(why) = refreshed {
                print::note(&format!(
                    "note: not every worker was refreshed: {why}; `claude-workers refresh --all \
                     --wait` does the rest"
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(look: &Look, check: bool) -> ExitCode {
    let Some(newer) = &look.newer else {
        print::out(&up_to_date(look.now.as_deref().unwrap_or_default()));
        return ExitCode::SUCCESS;
    };
    let newer = shown(newer);
    let from = text::one_line(&look.from, 300);
    match &look.now {
        Some(now) => print::out(&format!("{from} has {newer}; this is {}\n", shown(now))),
        None => print::out(&format!(
            "{from} has {newer}; what this program was built from is not known\n"
        )),
    }
    if check {
        return ExitCode::from(NEWER);
    }
    let program = look.program.display();
    print::out(&format!(
        "would build {newer}, try it, put it in the place of {program}, and refresh idle workers\n"
    ));
    ExitCode::SUCCESS
}

fn up_to_date(at: &str) -> String {
    format!("claude-workers is up to date: {}\n", shown(at))
}

/// A version, or the beginning of a commit.
fn shown(at: &str) -> String {
    text::one_line(at.get(..12).unwrap_or(at), 40)
}
