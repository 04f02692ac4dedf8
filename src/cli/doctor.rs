//! `doctor`

use std::process::ExitCode;

use super::block_on;
use super::loud::Verbose;
use super::print::{self, CYAN, GREEN, RED, YELLOW, styled};
use crate::ops::doctor::{Grade, doctor};
use crate::ops::{Context, Failure};

/// Check that everything needed is there, and say how to mend what is not
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers doctor
  claude-workers doctor --json | jq '.checks[] | select(.grade == \"failure\")'

Exits with 1 if a check fails.")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let github = ctx.github();
    let checks = block_on(async { Ok(doctor(ctx, github.as_ref()).await) })?;
    if let Ok(github) = &github {
        args.verbose.requests(&github.usage());
    }
    let failed = checks.iter().any(|c| c.grade == Grade::Failure);
    let code = if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if args.json {
        print::json(&serde_json::json!({ "version": 1, "checks": checks }))?;
        return Ok(code);
    }
    let mut out = String::new();
    for check in &checks {
        let (style, word) = match check.grade {
            Grade::Ok => (GREEN, "ok     "),
            Grade::Warning => (YELLOW, "warning"),
            Grade::Failure => (RED, "failure"),
        };
        out.push_str(&format!("{}  {}: {}\n", styled(style, word), check.what, check.found));
        if let Some(mend) = &check.mend {
            out.push_str(&format!("         {} {mend}\n", styled(CYAN, "→")));
        }
    }
    print::out(&out);
    Ok(code)
}
