//! `demo`

use std::process::ExitCode;

use super::print::{self, BOLD, CYAN, GREEN, RED, styled};
use crate::config::Env;
use crate::ops::Failure;

/// See it all happen on this machine: no account, no key, no network
///
/// Starts an embedded GitHub with a small repository and three open issues, makes two workers, runs
/// `assign` as cron would, and shows the pull requests that a scripted agent makes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers demo
  claude-workers demo --keep       look around afterwards; ends with Ctrl-C")]
pub(super) struct Args {
    /// Leave the embedded GitHub and the files in place, and say where they are
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let env = Env::of_process();
    crate::demo::run(args.keep, env.get("PATH"), &mut |line| {
        let style = match line.trim_start() {
            l if l.starts_with('$') => Some(CYAN),
            l if l.starts_with('+') => Some(GREEN),
            l if l.starts_with('-') => Some(RED),
            l if l.starts_with('#') && line.contains('→') => Some(BOLD),
            _ => None,
        };
        let line = style.map_or_else(|| line.to_owned(), |s| styled(s, line));
        print::out(&(line + "\n"));
    })
}
