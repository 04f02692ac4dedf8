//! `assign`

use std::process::ExitCode;

use super::block_on;
use super::print::{self, BOLD, DIM, styled};
use crate::domain::text;
use crate::ops::assign::{Report, Tick, assign};
use crate::ops::{Context, Failure};
use crate::plan::{Drift, Skip};

/// Pair idle workers with open issues: one tick, for cron
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers assign --dry-run      what would be started, and why the rest is left alone
  claude-workers assign -v             what was asked of GitHub, request by request

In cron:
  */5 * * * * /usr/local/bin/claude-workers assign -q")]
pub(super) struct Args {
    /// Show the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Say nothing when there is nothing to do
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show every request, and why issues are left alone
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let report = match block_on(assign(ctx, args.dry_run))? {
        Tick::AlreadyRunning => {
            if !args.quiet {
                print::out("another assign is under way; nothing to do\n");
            }
            return Ok(ExitCode::SUCCESS);
        }
        Tick::Done(report) => report,
    };
    show(&report, args);
    for problem in &report.problems {
        print::failure(problem);
    }
    let code = report.problems.first().map(|p| ExitCode::from(p.exit as u8));
    Ok(code.unwrap_or(ExitCode::SUCCESS))
}

fn show(report: &Report, args: &Args) {
    let mut out = String::new();
    let width = print::width();
    let mut line = |line: &str| {
        out.push_str(&print::cut(line, width));
        out.push('\n');
    };
    // Titles are strangers' words.
    let dim = |words: &str| styled(DIM, &text::one_line(words, usize::MAX));
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
    if args.dry_run || args.verbose {
        for ((repo, number), why) in &report.skipped {
            line(&dim(&format!("{repo}#{number}: {why}")));
        }
    }
    if args.verbose {
        out.push_str(&requests(report));
    }
    let quiet_tick = report.started.is_empty()
        && report.taken_up.is_empty()
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

fn requests(report: &Report) -> String {
    let usage = &report.usage;
    let mut out = String::new();
    for asked in &usage.items {
        let status = asked.status.map_or("no answer".to_owned(), |s| s.to_string());
        out.push_str(&format!("  {status} {}\n", asked.what));
    }
    let left = match (usage.remaining, usage.limit) {
        (Some(remaining), Some(limit)) => format!("; {remaining} of {limit} left this hour"),
        _ => String::new(),
    };
    let total = format!("{} requests, {} of them free (304)", usage.requests, usage.not_modified);
    out + &format!("{}{left}\n", styled(BOLD, &total))
}
