//! `reconcile`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::print::{self, BOLD, CYAN, RED, styled};
use crate::domain::text;
use crate::ops::reconcile::{Item, Reconciled, reconcile};
use crate::ops::{Context, Failure};
use crate::plan::reconcile::Action;

/// Put workers right that nobody works for: end, take up or free what dead supervisors left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers reconcile --dry-run      what is to be done, and for which worker
  claude-workers reconcile
  claude-workers reconcile --json | jq '.workers[] | select(.problem)'

Each `assign` does this first. Only the disk and the processes are looked at; of the remote, nothing is
asked but to renew the claim of a run that waits.")]
pub(super) struct Args {
    /// Say what is to be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: every worker
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let (items, already_running) = match reconcile(ctx, args.dry_run)? {
        Reconciled::AlreadyRunning(other) => (Vec::new(), Some(other)),
        Reconciled::Done(items) => (items, None),
    };
    let stuck = already_running.flatten().and_then(|other| other.stuck());
    if args.json {
        print::json(&json!({
            "version": 1,
            "alreadyRunning": already_running.is_some(),
            "dryRun": args.dry_run,
            "workers": items.iter().map(as_json).collect::<Vec<_>>(),
        }))?;
    } else if let Some(other) = already_running {
        if stuck.is_none() {
            let other = super::assign::in_parentheses(other);
            print::out(&format!(
                "an assign is under way{other}, which does the same; nothing to do\n"
            ));
        }
    } else {
        show(&items, args.dry_run);
    }
    for problem in items.iter().filter_map(|item| item.problem.as_ref()).chain(&stuck) {
        print::failure(problem);
    }
    let failed = |item: &Item| {
        item.problem.is_some() || item.actions.iter().any(|a| matches!(a, Action::Report(_)))
    };
    Ok(if stuck.is_some() || items.iter().any(failed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The same for `assign`, without what is told there of the worker already.
pub(super) fn as_json(item: &Item) -> Value {
    let actions = item.actions.iter();
    let actions =
        actions.map(|action| json!({ "action": action.as_str(), "what": action.to_string() }));
    json!({
        "worker": item.worker,
        "state": item.state,
        "run": item.run.as_ref().map(|run| &run.run),
        "subject": item.run.as_ref().map(|run| run.subject()),
        "phase": item.run.as_ref().map(|run| run.phase),
        "alive": item.alive,
        "actions": actions.collect::<Vec<_>>(),
        "done": item.done,
        "problem": item.problem.as_ref().map(ToString::to_string),
    })
}

/// What was seen of a worker, and what is done about it, in a line.
pub(super) fn line(item: &Item) -> String {
    let style = if item.actions.iter().all(Action::changes) { CYAN } else { RED };
    let seen = match &item.run {
        Some(run) => format!("{} with {}, {}", item.state, run.subject(), run.phase),
        None => item.state.to_owned(),
    };
    let actions: Vec<String> = item.actions.iter().map(ToString::to_string).collect();
    let what = text::one_line(&actions.join("; then "), 400);
    format!("worker {} ({seen}): {}", styled(BOLD, item.worker.as_str()), styled(style, &what))
}

fn show(items: &[Item], dry_run: bool) {
    let mut out = String::new();
    for item in items.iter().filter(|item| !item.actions.is_empty()) {
        out.push_str(&line(item));
        out.push('\n');
    }
    let changes = |item: &&Item| item.actions.iter().any(Action::changes);
    let wanted = items.iter().filter(changes).count();
    let done = items.iter().filter(|item| item.done).count();
    let of = match items.len() {
        1 => "1 worker".to_owned(),
        n => format!("{n} workers"),
    };
    out.push_str(&match (wanted, dry_run) {
        (0, _) => format!("nothing to do for {of}\n"),
        (n, true) => format!("something is to be done for {n} of {of}\n"),
        (n, false) => format!("done for {done} of {n}, of {of}\n"),
    });
    print::out(&out);
}
