//! `init`

use std::process::ExitCode;

use super::loud::Quiet;
use super::print;
use crate::domain::WorkerId;
use crate::ops::init::{self, Made};
use crate::ops::{Context, Failure};

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
    /// Print what was made as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let mut made = Vec::new();
    let mut failure = None;
    for id in &args.ids {
        match init::init(ctx, id) {
            Ok(one) => {
                if !args.json {
                    show(ctx, &one, &args.quiet);
                }
                made.push(one);
            }
            Err(e) => {
                failure = Some(e);
                break;
            }
        }
    }
    // Those that were made are made, also when the next one could not be.
    if args.json {
        let workers: Vec<_> = made.iter().map(|one| as_json(ctx, one)).collect();
        print::json(&serde_json::json!({ "version": 1, "workers": workers }))?;
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn show(ctx: &Context, made: &Made, quiet: &Quiet) {
    let id = &made.worker;
    quiet.out(&format!("worker {id} is ready: {}\n", ctx.root.home(id).display()));
    for skipped in &made.report.skipped {
        print::note(&format!("warning: {skipped}"));
    }
    for note in &made.report.notes {
        quiet.note(&format!("note: {note}"));
    }
}

fn as_json(ctx: &Context, made: &Made) -> serde_json::Value {
    let warnings: Vec<_> = made.report.skipped.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "id": made.worker,
        "home": ctx.root.home(&made.worker),
        "warnings": warnings,
        "notes": made.report.notes,
    })
}
