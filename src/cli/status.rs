//! `status`

use std::process::ExitCode;

use jiff::Timestamp;

use super::print::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, duration, styled, table};
use crate::domain::{JailMode, WorkerId, text};
use crate::ops::queries::{Status, TaskStatus, WorkerStatus, status};
use crate::ops::{Context, Failure};

/// Show what the workers are doing; asks the disk only
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers status
  claude-workers status 01
  claude-workers status --json | jq '.workers[] | select(.state == \"busy\").id'")]
pub(super) struct Args {
    /// Only this worker, with everything known of it
    #[arg(value_name = "ID")]
    id: Option<WorkerId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let seen = status(ctx, args.id.as_ref(), Timestamp::now())?;
    if args.json {
        return print::json(&seen);
    }
    print::out(&shown(&seen, args.id.is_some()));
    Ok(ExitCode::SUCCESS)
}

fn shown(seen: &Status, detail: bool) -> String {
    if seen.workers.is_empty() {
        return format!(
            "no workers in {} yet; make one with `claude-workers init 01`\n",
            seen.root.display()
        );
    }
    let mut out = String::new();
    if seen.sandbox == JailMode::None {
        out.push_str(&styled(YELLOW, "sandbox: none — agents can read and write all that you can"));
        out.push('\n');
    }
    let rows: Vec<_> = seen.workers.iter().map(row).collect();
    out.push_str(&table(&rows));
    for worker in &seen.workers {
        if let Some(problem) = &worker.problem {
            out.push_str(&format!("worker {}: {}\n", worker.id, text::one_line(problem, 300)));
        }
        if let (true, Some(task)) = (detail, &worker.task) {
            out.push_str(&details(task));
        }
    }
    out
}

fn row(worker: &WorkerStatus) -> Vec<(anstyle::Style, String)> {
    let style = match worker.state {
        "idle" => DIM,
        "busy" | "starting" => GREEN,
        "stopped" => YELLOW,
        _ => RED,
    };
    let mut row = vec![(BOLD, worker.id.to_string()), (style, worker.state.to_owned())];
    let Some(task) = &worker.task else { return row };
    let plain = anstyle::Style::new();
    let run = &task.run;
    let agent = match &run.model {
        Some(model) => format!("{}/{model}", run.executor),
        None => run.executor.clone(),
    };
    row.push((plain, run.subject()));
    row.push((CYAN, run.phase.to_string()));
    row.push((plain, duration(task.elapsed_secs)));
    row.push((plain, agent));
    let quiet = task.quiet_secs.map(|s| format!("last word {} ago", duration(s.cast_signed())));
    row.push((DIM, quiet.unwrap_or_default()));
    let title = run.title.as_deref().or(run.prompt.as_deref()).unwrap_or("");
    row.push((DIM, text::one_line(title, 50)));
    row
}

fn details(task: &TaskStatus) -> String {
    let run = &task.run;
    let mut rows = vec![
        ("run", run.run.to_string()),
        ("claimed", run.started_at.to_string()),
        ("attempt", run.attempt.to_string()),
        ("sandbox", run.sandbox.to_string()),
    ];
    let mut more = |name, value: Option<String>| rows.extend(value.map(|v| (name, v)));
    more("branch", run.branch.as_ref().map(ToString::to_string));
    more("base", run.base.as_ref().map(ToString::to_string));
    more("supervisor", run.pid.map(|p| format!("pid {p}")));
    more("conversation", run.session_id.clone());
    more("prompt", run.prompt.clone());
    more(
        "outcome",
        run.ended.as_ref().map(|e| format!("{}: {}", e.outcome, text::one_line(&e.why, 200))),
    );
    rows.extend(run.filed.iter().map(|issue| ("filed", format!("{}  {}", issue.url, issue.title))));
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(k, v)| vec![(DIM, format!("  {k}")), (anstyle::Style::new(), v)])
        .collect();
    table(&rows)
}
