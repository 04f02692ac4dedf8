//! `status`

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::live::{Next, Screen};
use super::print::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, duration, styled, table_within};
use super::{block_on, live};
use crate::domain::{JailMode, NetworkMode, WorkerId, text};
use crate::ops::drift::{DriftEntry, Remote, remote};
use crate::ops::queries::{Status, TaskStatus, WorkerStatus, status};
use crate::ops::{Context, Failure};

/// Show what the workers are doing; asks the disk only, unless told otherwise
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers status
  claude-workers status 01
  claude-workers status --remote       labels on GitHub that the records here do not explain, too
  claude-workers status --watch        again and again, until q or Ctrl-C
  claude-workers status --json | jq '.workers[] | select(.state == \"busy\").id'")]
pub(super) struct Args {
    /// Only this worker, with everything known of it
    #[arg(value_name = "ID")]
    id: Option<WorkerId>,
    /// Also ask GitHub where its labels and the records here disagree
    #[arg(long)]
    remote: bool,
    /// Show it on the terminal as it changes (with --remote, GitHub is asked once a minute)
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let mut seen = status(ctx, args.id.as_ref(), Timestamp::now())?;
    if args.watch {
        live::wants_a_terminal(ctx.env())?;
        return watch(ctx, args);
    }
    let width = print::width();
    if !args.json {
        print::out(&shown(&seen, args.id.is_some(), width));
    }
    let mut problems = Vec::new();
    if args.remote {
        let said = block_on(async { Ok(remote(ctx, args.id.as_ref()).await) })?;
        if !args.json {
            print::out(
                &said.drift.as_deref().map(|drift| drifted(drift, width)).unwrap_or_default(),
            );
        }
        (seen.drift, problems) = (said.drift, said.problems);
    }
    if args.json {
        print::json(&seen)?;
    }
    problems.iter().for_each(print::failure);
    Ok(problems.first().map_or(ExitCode::SUCCESS, |first| ExitCode::from(first.exit as u8)))
}

/// How long to wait before GitHub is asked again.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// Until somebody ends it. GitHub is asked beside it, so that nothing waits for an answer.
fn watch(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let id = args.id.as_ref();
    let mut screen = Screen::open()?;
    let said: Mutex<Option<Remote>> = Mutex::new(None);
    let ask = async || loop {
        let answer = remote(ctx, id).await;
        *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        tokio::time::sleep(ASK_AGAIN).await;
    };
    std::thread::scope(|scope| {
        // Dropped at the end, whatever that is: then asking ends too.
        let (_watched, over) = oneshot::channel::<()>();
        if args.remote {
            scope.spawn(|| {
                block_on(async {
                    tokio::select! { _ = over => Ok(()), () = ask() => Ok(()) }
                })
            });
        }
        loop {
            let seen = status(ctx, id, Timestamp::now())?;
            let width = Some(screen.width());
            let mut text = shown(&seen, id.is_some(), width);
            if args.remote {
                let said = said.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&said.as_ref().map_or_else(asking, |said| answer(said, width)));
            }
            screen.draw(&text);
            if screen.next() == Next::End {
                return Ok(ExitCode::SUCCESS);
            }
        }
    })
}

fn asking() -> String {
    styled(DIM, "asking GitHub …") + "\n"
}

fn answer(said: &Remote, width: Option<usize>) -> String {
    let mut text = said.drift.as_deref().map(|drift| drifted(drift, width)).unwrap_or_default();
    for problem in &said.problems {
        let what = text::one_line(&problem.to_string(), usize::MAX);
        text.push_str(&format!("{} {what}\n", styled(RED, "error:")));
    }
    text
}

fn drifted(drift: &[DriftEntry], width: Option<usize>) -> String {
    if drift.is_empty() {
        return styled(DIM, "GitHub's labels agree with the records here") + "\n";
    }
    let mut out = String::from("\non GitHub:\n");
    for entry in drift {
        let style = if entry.wrong == "waits_for_you" { CYAN } else { YELLOW };
        let (label, what) = (styled(BOLD, &entry.label), styled(style, &entry.what));
        let title = styled(DIM, &entry.title);
        let line = format!("{}#{}  {label}  {what}  {title}", entry.repo, entry.issue);
        out.push_str(&format!("{}\n    {}\n", print::cut(&line, width), entry.hint));
    }
    out
}

fn shown(seen: &Status, detail: bool, width: Option<usize>) -> String {
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
    } else if seen.network == NetworkMode::Host {
        out.push_str(&styled(YELLOW, "network: host — agents can send anything anywhere"));
        out.push('\n');
    }
    let rows: Vec<_> = seen.workers.iter().map(row).collect();
    out.push_str(&table_within(&rows, width));
    for worker in &seen.workers {
        if let Some(problem) = &worker.problem {
            out.push_str(&format!("worker {}: {}\n", worker.id, text::one_line(problem, 300)));
        }
        if let (true, Some(mode)) = (detail, worker.credentials) {
            out.push_str(&format!("  {}  {mode}\n", styled(DIM, "credentials")));
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
        "stopped" | "waiting" => YELLOW,
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
    row.push((plain, text::one_line(&agent, usize::MAX)));
    let quiet = task.quiet_secs.map(|s| format!("last word {} ago", duration(s.cast_signed())));
    row.push((DIM, quiet.unwrap_or_default()));
    let title = run.title.as_deref().or(run.prompt.as_deref()).unwrap_or("");
    row.push((DIM, text::one_line(title, usize::MAX)));
    row
}

fn details(task: &TaskStatus) -> String {
    let run = &task.run;
    let mut rows = vec![
        ("run", run.run.to_string()),
        ("claimed", run.started_at.to_string()),
        ("attempt", run.attempt.to_string()),
        ("sandbox", run.sandbox.to_string()),
        ("network", run.network.to_string()),
    ];
    let mut more = |name, value: Option<String>| rows.extend(value.map(|v| (name, v)));
    for tried in &run.tried {
        let what = format!("{}: {}", tried.outcome, text::one_line(&tried.why, 200));
        more("tried", Some(format!("attempt {}, {what}", tried.attempt)));
    }
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
        .map(|(k, v)| (k, text::one_line(&v, usize::MAX)))
        .map(|(k, v)| vec![(DIM, format!("  {k}")), (anstyle::Style::new(), v)])
        .collect();
    // Asked for by name: everything is shown, whatever the width.
    table_within(&rows, None)
}
