//! `history`

use std::borrow::Cow;
use std::process::ExitCode;

use anstyle::Style;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;

use super::print::{self, BOLD, DIM, outcome_style, table};
use crate::domain::{Outcome, RepoSlug, WorkerId, text};
use crate::ops::queries::{Filter, history, history_lines};
use crate::ops::{Context, Failure, repo_meant};
use crate::store::{Line, Skipped};

/// Show finished runs: outcome, pull request, minutes and cost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers history
  claude-workers history 01
  claude-workers history --since 7d --outcome failed
  claude-workers history --json | jq '.runs[] | select(.ended.outcome == \"failed\")'")]
pub(super) struct Args {
    /// Only this worker's
    #[arg(value_name = "ID")]
    id: Option<WorkerId>,
    /// Only those started since: a date (2026-11-21), or a length of time (12h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Only this repository's
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<RepoSlug>,
    /// Only those with this outcome
    #[arg(long, value_parser = outcome())]
    outcome: Option<Outcome>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// clap knows the values: for its help, completions and "did you mean".
fn outcome() -> impl TypedValueParser<Value = Outcome> {
    PossibleValuesParser::new(Outcome::ALL.map(Outcome::as_str))
        .try_map(|word| word.parse::<Outcome>())
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let start = date.to_zoned(jiff::tz::TimeZone::UTC);
        return start.map(|start| start.timestamp()).map_err(|e| e.to_string());
    }
    let span: jiff::Span = text.parse().map_err(|_| {
        format!("{text:?} is neither a date (2026-11-21) nor a length of time (12h, 7d)")
    })?;
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.checked_sub(span.abs()).map(|then| then.timestamp()).map_err(|e| e.to_string())
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let filter = Filter {
        worker: args.id.clone(),
        repo: args.repo.clone(),
        outcome: args.outcome,
        since: args.since,
    };
    if args.json {
        let (entries, skipped) = history(ctx, &filter)?;
        warn(&skipped);
        return print::json(&serde_json::json!({ "version": 1, "runs": entries }));
    }
    let (lines, skipped) = history_lines(ctx, &filter)?;
    warn(&skipped);
    if lines.is_empty() {
        let narrowed = args.since.is_some() || args.repo.is_some() || args.outcome.is_some();
        let such = if narrowed { "no such run" } else { "no run" };
        print::out(&format!("{such} has finished yet\n"));
        if let Some(meant) = args.repo.as_ref().and_then(|repo| repo_meant(ctx, repo)) {
            print::hint(&format!("did you mean {meant}?"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = lines.iter().map(row).collect();
    print::out(&table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn warn(skipped: &[Skipped]) {
    for broken in skipped {
        print::note(&format!("warning: {}", broken.why));
    }
}

/// What of a run's id comes before the part shown: the date, which is shown beside it.
const DATE: usize = "20261121T".len();

fn row(line: &Line) -> [(Style, Cow<'_, str>); 8] {
    let plain = Style::new();
    let outcome = line.outcome.unwrap_or(Outcome::Lost);
    let subject = match line.issue {
        Some(issue) => format!("{}#{issue}", line.repo).into(),
        None => line.repo.as_str().into(),
    };
    let last = match &line.pr {
        Some(url) => text::one_line(url, 200),
        None => text::one_line(&line.summary, usize::MAX),
    };
    [
        (DIM, line.started_at.strftime("%Y-%m-%d %H:%M").to_string().into()),
        (DIM, line.run.as_str()[DATE..].into()),
        (BOLD, line.worker.as_str().into()),
        (plain, subject),
        (outcome_style(outcome), outcome.as_str().into()),
        (plain, line.minutes.map(|m| format!("{m} min")).unwrap_or_default().into()),
        (plain, line.cost_usd.map(|c| format!("${c:.2}")).unwrap_or_default().into()),
        (plain, last.into()),
    ]
}
