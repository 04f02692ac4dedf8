//! `show`

use std::process::ExitCode;

use super::logs;
use super::print::{self, BOLD, DIM, bytes, outcome_style, styled, table};
use crate::domain::text;
use crate::ops::archive::{Kept, Shown, show};
use crate::ops::log::Log;
use crate::ops::{Context, Failure};

/// Show everything of one run, under way or long over
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers show 01                     the current or last run of worker 01
  claude-workers show 071500-7f3a            by the end of its id, as `history` lists it
  claude-workers show 20261121T071500-7f3a --log
  claude-workers show 01 --json | jq -r .run.agent.lastWords

Exit codes:
  2  more than one run fits; they are listed   3  none does")]
pub(super) struct Args {
    /// A run's id, a beginning or an end of it, or a worker's id
    #[arg(value_name = "RUN", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: String,
    /// Print its log instead, as `logs` does
    #[arg(long, conflicts_with = "json")]
    log: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let shown = show(ctx, &args.run)?;
    if args.json {
        return print::json(&shown);
    }
    if args.log {
        return logs::whole(&Log::of_run(ctx, &shown)?);
    }
    print::out(&everything(&shown));
    Ok(ExitCode::SUCCESS)
}

fn everything(shown: &Shown) -> String {
    let run = &shown.run;
    let plain = anstyle::Style::new();
    let title = run.title.as_deref().map(|t| text::one_line(t, 200)).unwrap_or_default();
    let mut out = format!("{}  {title}", styled(BOLD, &run.subject())).trim_end().to_owned() + "\n";
    let mut rows = Vec::new();
    let mut add = |name: &str, style, value: Option<String>| {
        let value = value.map(|v| text::one_line(&v, 400)).filter(|v| !v.is_empty());
        rows.extend(value.map(|v| vec![(DIM, format!("  {name}")), (style, v)]));
    };
    let (agent, work) = (run.agent.as_ref(), run.work.as_ref());
    add("run", plain, Some(run.run.to_string()));
    match &run.ended {
        Some(ended) => {
            let cleared = if shown.cleared { " (cleared)" } else { "" };
            let how = format!("{}: {}{cleared}", ended.outcome, ended.why);
            add("outcome", outcome_style(ended.outcome), Some(how));
        }
        None => add("state", plain, Some(format!("{}, {}", shown.state, run.phase))),
    }
    add("worker", plain, Some(run.worker.to_string()));
    let kind = serde_json::to_value(run.kind).ok();
    add("kind", plain, kind.and_then(|k| k.as_str().map(str::to_owned)));
    add("executor", plain, Some(run.executor.clone()));
    add("model", plain, run.model.clone());
    add("started", plain, Some(run.started_at.to_string()));
    let took = shown.minutes.map(|m| format!(" ({m} min)")).unwrap_or_default();
    add("ended", plain, run.ended_at.map(|at| format!("{at}{took}")));
    add("attempt", plain, Some(run.attempt.to_string()));
    for tried in &run.tried {
        let cost = tried.cost_usd.map(|c| format!(" (${c:.2})")).unwrap_or_default();
        let what = format!("attempt {}, {}: {}{cost}", tried.attempt, tried.outcome, tried.why);
        add("tried", outcome_style(tried.outcome), Some(what));
    }
    add("sandbox", plain, Some(run.sandbox.to_string()));
    add("network", plain, Some(run.network.to_string()));
    add(
        "base",
        plain,
        run.base
            .as_ref()
            .map(|base| format!("{base} {}", run.base_sha.as_deref().unwrap_or_default())),
    );
    add("branch", plain, run.branch.as_ref().map(ToString::to_string));
    add(
        "commits",
        plain,
        work.map(|work| {
            let head = work.head.as_deref().unwrap_or_default();
            let left = if work.uncommitted { "; uncommitted changes were left" } else { "" };
            format!("{} {head}", work.commits).trim_end().to_owned() + left
        }),
    );
    add("pull request", plain, run.pr.as_ref().map(|pr| pr.url.clone()));
    add("cost", plain, agent.and_then(|a| a.cost_usd).map(|c| format!("${c:.2}")));
    add("turns", plain, agent.and_then(|a| a.turns).map(|n| n.to_string()));
    add("conversation", plain, run.session_id.clone());
    let denied = agent.map(|a| a.denied.join(", ")).filter(|d| !d.is_empty());
    add("not allowed", plain, denied);
    add("prompt", plain, run.prompt.clone());
    for filed in &run.filed {
        add("filed", plain, Some(format!("#{} {}", filed.number, filed.url)));
    }
    for note in work.map(|work| work.notes.as_slice()).unwrap_or_default() {
        add("note", plain, Some(note.clone()));
    }
    for unsaid in &run.unsaid {
        add("not said", plain, Some(unsaid.clone()));
    }
    out.push_str(&table(&rows));
    let files: Vec<_> = shown.files.iter().map(file).collect();
    out.push_str(&format!("\n{}\n{}", styled(BOLD, "files"), table(&files)));
    let report = work.and_then(|work| work.report.as_deref());
    let last_words = agent.and_then(|a| a.last_words.as_deref());
    for (what, words) in [("report", report), ("last words", last_words)] {
        let Some(words) = words.map(str::trim).filter(|words| !words.is_empty()) else { continue };
        let lines = logs::tame(words);
        let lines = lines.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n");
        out.push_str(&format!("\n{}\n", styled(BOLD, what)));
        out.extend(lines);
    }
    out
}

fn file(kept: &Kept) -> Vec<(anstyle::Style, String)> {
    let size = match kept.removed_at {
        Some(at) => format!("removed by retention on {}", at.strftime("%Y-%m-%d")),
        None => bytes(kept.bytes),
    };
    let path = text::one_line(&kept.path.display().to_string(), 4096);
    let plain = anstyle::Style::new();
    vec![(DIM, format!("  {}", kept.what)), (plain, size), (plain, path)]
}
