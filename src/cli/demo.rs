//! `demo`

use std::process::ExitCode;

use crate::ops::Failure;

/// See it all happen on this machine: no account, no key, no network
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Leave the embedded GitHub and the files in place, and say where they are
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    crate::demo::run(args.keep)
}
