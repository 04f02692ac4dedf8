//! `assign`

use std::process::ExitCode;

use serde_json::json;

use super::block_on;
use super::loud::Verbose;
use super::print::{self, DIM, styled};
use crate::domain::text;
use crate::ops::assign::{Report, Tick, assign};
use crate::ops::reconcile::Item;
use crate::ops::turn::UnderWay;
use crate::ops::{Context, Failure};
use crate::plan::reconcile::Action;
use crate::plan::{Drift, Skip};

/// Pair idle workers with open issues: one tick, for cron
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers assign --dry-run      what would be started, and why the rest is left alone
  claude-workers assign -v             what was asked of GitHub, and why the rest is left alone
  claude-workers assign --json | jq -r '.started[].run'

In cron:
  */5 * * * * /usr/local/bin/claude-workers assign -q")]
pub(super) struct Args {
    /// Show the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Say nothing when there is nothing to do
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Print what was done, or would be, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let tick = block_on(assign(ctx, args.dry_run))?;
    let (report, already_running) = match tick {
        Tick::AlreadyRunning(other) => {
            let stuck = other.and_then(|other| other.stuck());
            (Report { problems: stuck.into_iter().collect(), ..Report::default() }, Some(other))
        }
        Tick::Done(report) => (*report, None),
    };
    if args.json {
        print::json(&as_json(&report, already_running.is_some(), args.dry_run))?;
    } else if let Some(other) = already_running {
        if !args.quiet && report.problems.is_empty() {
            let other = in_parentheses(other);
            print::out(&format!("another assign is under way{other}; nothing to do\n"));
        }
    } else {
        show(&report, args);
    }
    if args.verbose.verbose && !args.dry_run && !args.json {
        for line in left_alone(&report) {
            print::note(&line);
        }
    }
    args.verbose.requests(&report.usage);
    for problem in &report.problems {
        print::failure(problem);
    }
    let code = report.problems.first().map(|p| ExitCode::from(p.exit as u8));
    Ok(code.unwrap_or(ExitCode::SUCCESS))
}

/// Who has the turn, where that is known.
pub(super) fn in_parentheses(other: Option<UnderWay>) -> String {
    other.map(|other| format!(" ({other})")).unwrap_or_default()
}

fn as_json(report: &Report, already_running: bool, dry_run: bool) -> serde_json::Value {
    let taken_up = report
        .taken_up
        .iter()
        .map(|(worker, subject)| json!({ "worker": worker, "subject": subject }));
    let planned = report.planned.iter().map(|(worker, (repo, issue), title)| {
        json!({ "worker": worker, "repo": repo, "issue": issue, "title": title })
    });
    let skipped = report.skipped.iter().map(
        |((repo, issue), why)| json!({ "repo": repo, "issue": issue, "why": why.to_string() }),
    );
    let reconciled = report.reconciled.iter().map(super::reconcile::as_json);
    let mended = report.mended.iter().map(|left| {
        json!({
            "repo": left.repo, "issue": left.issue, "label": left.label, "why": left.to_string(),
        })
    });
    let problems = report.problems.iter().map(|failure| {
        json!({
            "message": failure.message, "hint": failure.hint, "exitCode": failure.exit as u8,
        })
    });
    json!({
        "version": 1,
        "alreadyRunning": already_running,
        "dryRun": dry_run,
        "idle": report.idle,
        "openIssues": report.open_issues,
        "reconciled": reconciled.collect::<Vec<_>>(),
        "mended": mended.collect::<Vec<_>>(),
        "takenUp": taken_up.collect::<Vec<_>>(),
        "started": report.started.iter().map(print::run_json).collect::<Vec<_>>(),
        "planned": planned.collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(),
        "github": {
            "requests": report.usage.requests,
            "notModified": report.usage.not_modified,
            "remaining": report.usage.remaining,
            "limit": report.usage.limit,
            "reset": report.usage.reset,
            "waitedSecs": report.usage.waited.as_secs(),
        },
    })
}

fn left_alone(report: &Report) -> impl Iterator<Item = String> {
    let lines = report.skipped.iter();
    lines
        .map(|((repo, number), why)| text::one_line(&format!("{repo}#{number}: {why}"), usize::MAX))
}

fn show(report: &Report, args: &Args) {
    let mut out = String::new();
    let width = print::width();
    let mut line = |line: &str| {
        out.push_str(&print::cut(line, width));
        out.push('\n');
    };
    // What is taken up is told below, and a claim is renewed every few hours.
    let quietly = |action: &Action| matches!(action, Action::TakeUp(_) | Action::KeepClaim);
    let loud = args.dry_run || args.verbose.verbose;
    let told = |item: &&Item| loud || !item.actions.iter().all(quietly);
    // Titles are strangers' words.
    let dim = |words: &str| styled(DIM, &text::one_line(words, usize::MAX));
    for item in report.reconciled.iter().filter(told) {
        line(&super::reconcile::line(item));
    }
    for (worker, subject) in &report.taken_up {
        line(&format!("worker {worker} carries on with {subject}"));
    }
    for left in &report.mended {
        let verb = if args.dry_run { "would take" } else { "took" };
        let Drift { label, repo, issue, .. } = left;
        line(&format!("{verb} {label} off {repo}#{issue}, where it {left}"));
    }
    for started in &report.started {
        let run = &started.run;
        let title = dim(run.title.as_deref().unwrap_or(""));
        line(&format!("worker {} works on {} {title}", run.worker, run.subject()));
    }
    for (worker, (repo, number), title) in &report.planned {
        line(&format!("would start worker {worker} on {repo}#{number} {}", dim(title)));
    }
    if args.dry_run {
        left_alone(report).for_each(|words| line(&styled(DIM, &words)));
    }
    let quiet_tick = report.started.is_empty()
        && report.taken_up.is_empty()
        && !report.reconciled.iter().any(|item| told(&item))
        && report.mended.is_empty()
        && report.planned.is_empty()
        && report.problems.is_empty();
    if quiet_tick && !args.quiet {
        out.push_str(&nothing(report));
    }
    print::out(&out);
}

fn nothing(report: &Report) -> String {
    if report.idle == 0 {
        return "nothing to do: no worker is idle\n".into();
    }
    let count = |suits: fn(&Skip) -> bool| report.skipped.iter().filter(|(_, s)| suits(s)).count();
    let groups = [
        (count(|s| matches!(s, Skip::Worker(_) | Skip::Held(_))), "held"),
        (count(|s| matches!(s, Skip::Blocked | Skip::NeedsPerson(_))), "waiting for a person"),
        (count(|s| matches!(s, Skip::HasPull(_))), "with a pull request"),
        (count(|s| matches!(s, Skip::NotTrusted(_))), "not approved"),
        (count(|s| matches!(s, Skip::BackOff(_))), "to be tried later"),
        (count(|s| matches!(s, Skip::NotAskedFor(_))), "without the label"),
        (count(|s| matches!(s, Skip::RepoFull(_) | Skip::NoWorker)), "in line"),
    ];
    let parts: Vec<String> =
        groups.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let detail = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("nothing to do: {} idle, {} open issues{detail}\n", report.idle, report.open_issues)
}
