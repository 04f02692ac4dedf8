//! `refresh`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::print;
use crate::domain::{WorkerId, text};
use crate::ops::refresh::{Left, Refreshed, means, refresh, wait};
use crate::ops::{Context, Failure};
use crate::store;

/// Give workers templates and credentials again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers refresh 01 02
  claude-workers refresh --all --dry-run   what would change
  claude-workers refresh --all --wait      also those that are at work, once they are done

What comes from templates and `[credentials] copy` is made anew, file by file; what came from there
earlier and does not any more is removed. What agents made stays. A variable that is not set takes
no token away. A worker that is not idle is left as it is; the exit code is 3 then.")]
pub(super) struct Args {
    /// The workers
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<WorkerId>,
    /// Every worker
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Wait for workers that are at work
    #[arg(long)]
    wait: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The same as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    version: u32,
    dry_run: bool,
    workers: Vec<Worker>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Worker {
    id: WorkerId,
    /// Why it was left as it was, if it was.
    left: Option<String>,
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    moved_aside: Vec<Moved>,
    values_set: Vec<String>,
    values_removed: Vec<String>,
    notes: Vec<String>,
}

/// What was in the way: where it was, and where it is now.
#[derive(Serialize)]
struct Moved {
    from: String,
    to: String,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let means = means(ctx, args.dry_run)?;
    let ids =
        if args.all { store::ids(&ctx.root)?.into_iter().collect() } else { args.ids.clone() };
    let mut answer = Answer { version: 1, dry_run: args.dry_run, workers: Vec::new() };
    let (mut first, mut said) = (None, BTreeSet::new());
    let mut tell = |id: &WorkerId, done: Result<Refreshed, Failure>| {
        let (worker, failure) = told(args, &mut said, id, done);
        answer.workers.push(worker);
        if let Some(failure) = failure {
            print::failure(&failure);
            first.get_or_insert(failure.exit);
        }
    };
    let mut busy = Vec::new();
    for id in &ids {
        match refresh(ctx, id, &means, args.dry_run) {
            Err(Left::Busy(failure)) if args.wait => {
                print::note(&format!("{failure}: waiting"));
                busy.push(id);
            }
            done => tell(id, done.map_err(Failure::from)),
        }
    }
    for id in busy {
        let done = loop {
            wait(ctx, id);
            match refresh(ctx, id, &means, args.dry_run) {
                // Somebody was quicker.
                Err(Left::Busy(_)) => {}
                done => break done,
            }
        };
        tell(id, done.map_err(Failure::from));
    }
    if args.json {
        answer.workers.sort_by(|a, b| a.id.cmp(&b.id));
        print::json(&answer)?;
    } else if ids.is_empty() {
        print::note("there are no workers yet");
    }
    Ok(first.map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit as u8)))
}

/// Says how it went with one worker, unless everything is said as JSON at the end.
fn told(
    args: &Args,
    said: &mut BTreeSet<String>,
    id: &WorkerId,
    done: Result<Refreshed, Failure>,
) -> (Worker, Option<Failure>) {
    let mut worker = Worker {
        id: id.clone(),
        left: None,
        added: Vec::new(),
        changed: Vec::new(),
        removed: Vec::new(),
        moved_aside: Vec::new(),
        values_set: Vec::new(),
        values_removed: Vec::new(),
        notes: Vec::new(),
    };
    let done = match done {
        Ok(done) => done,
        Err(failure) => {
            worker.left = Some(failure.message.clone());
            return (worker, Some(failure));
        }
    };
    let notes = done.report.skipped.iter().map(ToString::to_string);
    worker.notes = notes.chain(done.report.notes.iter().cloned()).collect();
    if !args.json {
        let would = if args.dry_run { " (dry run)" } else { "" };
        print::out(&format!("worker {id}{would}: {}\n", summary(&done)));
        for line in details(&done, args.dry_run) {
            print::out(&format!("  {}\n", text::one_line(&line, 400)));
        }
        // Most are about this machine and not about the worker: once is enough.
        for note in worker.notes.iter().filter(|note| said.insert((*note).clone())) {
            print::note(&format!("note: {note}"));
        }
    }
    let shown = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect();
    worker.added = shown(&done.files.added);
    worker.changed = shown(&done.files.changed);
    worker.removed = shown(&done.files.removed);
    let moved = |(from, to): &(PathBuf, PathBuf)| Moved {
        from: from.display().to_string(),
        to: to.display().to_string(),
    };
    worker.moved_aside = done.files.moved_aside.iter().map(moved).collect();
    (worker.values_set, worker.values_removed) = (done.values_set, done.values_removed);
    (worker, None)
}

fn summary(done: &Refreshed) -> String {
    if done.is_nothing() {
        return "nothing to change".to_owned();
    }
    let files = &done.files;
    let counted = [
        (files.changed.len(), "changed"),
        (files.added.len(), "added"),
        (files.removed.len(), "removed"),
    ];
    let mut parts: Vec<String> = Vec::new();
    for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
        let noun = match (parts.is_empty(), count) {
            (true, 1) => " file",
            (true, _) => " files",
            (false, _) => "",
        };
        parts.push(format!("{count}{noun} {what}"));
    }
    for (names, what) in [(&done.values_set, "set"), (&done.values_removed, "removed")] {
        if !names.is_empty() {
            parts.push(format!("{} {what}", names.join(" and ")));
        }
    }
    parts.join(", ")
}

/// What a person has to know in any case, and in a dry run everything.
fn details(done: &Refreshed, all: bool) -> Vec<String> {
    let files = &done.files;
    let mut lines = Vec::new();
    if all {
        lines.extend(files.changed.iter().map(|file| format!("changed: {}", file.display())));
        lines.extend(files.added.iter().map(|file| format!("added: {}", file.display())));
    }
    lines.extend(files.removed.iter().map(|file| format!("removed: {}", file.display())));
    lines.extend(files.moved_aside.iter().map(|(from, to)| {
        format!("{} was in the way; it is {} now", from.display(), to.display())
    }));
    lines
}
