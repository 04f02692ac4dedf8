//! `history`

use std::process::ExitCode;

use super::print::{self, BOLD, DIM, outcome_style, table};
use crate::domain::{Outcome, WorkerId, text};
use crate::ops::queries::{HistoryEntry, history};
use crate::ops::{Context, Failure};

/// Show finished runs: outcome, pull request, minutes and cost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers history
  claude-workers history 01
  claude-workers history --json | jq '.runs[] | select(.ended.outcome == \"failed\")'")]
pub(super) struct Args {
    /// Only this worker's
    #[arg(value_name = "ID")]
    id: Option<WorkerId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let (entries, skipped) = history(ctx, args.id.as_ref())?;
    for broken in &skipped {
        print::note(&format!("warning: {}", broken.why));
    }
    if args.json {
        return print::json(&serde_json::json!({ "version": 1, "runs": entries }));
    }
    if entries.is_empty() {
        print::out("no run has finished yet\n");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = entries.iter().map(row).collect();
    print::out(&table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &HistoryEntry) -> Vec<(anstyle::Style, String)> {
    let plain = anstyle::Style::new();
    let run = &entry.run;
    let outcome = run.outcome().unwrap_or(Outcome::Lost);
    let cost = run.agent.as_ref().and_then(|a| a.cost_usd);
    let last = match &run.pr {
        Some(pr) => pr.url.clone(),
        None => text::one_line(&entry.summary, 90),
    };
    vec![
        (DIM, run.started_at.strftime("%Y-%m-%d %H:%M").to_string()),
        (BOLD, run.worker.to_string()),
        (plain, run.subject()),
        (outcome_style(outcome), outcome.to_string()),
        (plain, entry.minutes.map(|m| format!("{m} min")).unwrap_or_default()),
        (plain, cost.map(|c| format!("${c:.2}")).unwrap_or_default()),
        (plain, last),
    ]
}
