//! `init`

use std::process::ExitCode;

use super::print;
use crate::domain::WorkerId;
use crate::ops::{Context, Failure, init};

/// Make workers: a home each, from templates and copied credentials
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers init 01
  claude-workers init 01 02 03

What is copied is set by `[credentials] copy` in the configuration; templates in
~/.config/claude-workers/templates/worker/ go before the built-in ones, file by file.")]
pub(super) struct Args {
    /// Ids: letters, digits, `-` and `_`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<WorkerId>,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    for id in &args.ids {
        let made = init::init(ctx, id)?;
        print::out(&format!("worker {id} is ready: {}\n", ctx.root.home(id).display()));
        for skipped in &made.report.skipped {
            print::note(&format!("warning: {skipped}"));
        }
        for note in &made.report.notes {
            print::note(&format!("note: {note}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
