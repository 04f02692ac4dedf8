//! Removes what is kept no longer: logs, records, clones, mirrors, leftovers, claims on the remote; and
//! packs what a mirror has in many files.
//!
//! What is to go is decided by [`crate::plan::gc`] from what was seen, and a worker is touched only
//! with its lock in hand and if it has not worked since. Every step leaves a state that the rest of
//! the program understands, so that being killed at any moment costs nothing but the space.

mod claims;
mod look;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::jailing::ask_inside;
use super::{Context, Failure};
use crate::domain::{RunId, WorkerId};
use crate::git::clone::Request;
use crate::git::remove_mirror;
use crate::git::sweep::Sweep;
use crate::plan::gc::{self, Removal, Seen, Thing};
use crate::store::{self, Skipped, State, WorkerLock};

/// What was, or would be, removed. As JSON it is versioned; fields may be added to a version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of the shape.
    pub version: u32,
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// The things.
    pub things: Vec<Item>,
    /// Bytes of all that was removed; in a dry run, of all that would be.
    pub bytes: u64,
    /// Records older than the rules want them that stay: they say whether an issue may be taken
    /// again, or what a worker did last.
    pub records_kept: usize,
    /// What was left alone, and why.
    pub left: Vec<Left>,
    /// Records that cannot be read. They are never removed.
    pub unreadable: Vec<PathBuf>,
}

/// One thing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// It.
    #[serde(flatten)]
    pub removal: Removal,
    /// Whether it is gone.
    pub removed: bool,
    /// Why not, although it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Something that was left alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Why.
    pub why: String,
}

/// Looks, decides, and unless it is a `dry_run` removes; `each` hears of every thing.
///
/// # Errors
/// When the root or an archive cannot be listed. That a single thing cannot be removed is reported.
pub fn gc(
    ctx: &Context,
    now: Timestamp,
    dry_run: bool,
    mut each: impl FnMut(&Item),
) -> Result<Report, Failure> {
    let rules = &ctx.settings.retention;
    let mut left = Vec::new();
    let clock = now;
    let now = store::believed_time(&ctx.root, clock);
    if now < clock {
        let why = format!(
            "the clock has jumped to {clock:.0}: until it has said so for a day, ages are reckoned by \
             {now:.0}"
        );
        left.push(Left { worker: None, why });
    }
    let (seen, broken) = look::look(ctx, rules, now, &mut left)?;
    let mut things = Vec::new();
    let mut done = |item: Item| {
        each(&item);
        things.push(item);
    };
    let mut removals = gc::gc(&seen, rules, now);
    if dry_run {
        let item = |removal| Item { removal, removed: false, problem: None };
        removals.into_iter().map(item).for_each(&mut done);
    } else {
        for worker in seen.workers.iter().filter(|w| w.away.is_none()) {
            let its = |removal: &mut Removal| removal.worker.as_ref() == Some(&worker.id);
            let its: Vec<Removal> = removals.extract_if(.., its).collect();
            if !its.is_empty() {
                let runs = worker.runs.iter().map(|run| run.run.clone());
                let known = runs.chain(broken.iter().filter_map(Skipped::run_id)).collect();
                of_worker(ctx, &worker.id, &known, its, &mut done);
            }
        }
        for removal in removals {
            let result = of_nobody(ctx, &seen, &removal);
            done(Item::new(removal, result));
        }
    }
    claims::collect(ctx, (&seen, rules, now), dry_run, &mut left, &mut done);
    let counts = |item: &&Item| item.removed || dry_run;
    Ok(Report {
        version: 1,
        dry_run,
        bytes: things.iter().filter(counts).map(|item| item.removal.bytes).sum(),
        things,
        records_kept: gc::records_that_speak(&seen, rules, now),
        left,
        unreadable: broken.into_iter().map(|skipped| skipped.path).collect(),
    })
}

impl Item {
    fn new(removal: Removal, result: Result<(), String>) -> Self {
        Self { removal, removed: result.is_ok(), problem: result.err() }
    }
}

/// Removes what is a worker's, with its lock in hand.
fn of_worker(
    ctx: &Context,
    id: &WorkerId,
    known: &BTreeSet<RunId>,
    removals: Vec<Removal>,
    done: &mut impl FnMut(Item),
) {
    let lock = match still_idle(ctx, id, known) {
        Ok(lock) => lock,
        Err(why) => {
            return removals.into_iter().for_each(|r| done(Item::new(r, Err(why.clone()))));
        }
    };
    let in_home = |r: &Removal| matches!(r.what, Thing::Clone | Thing::SetAside);
    let (in_home, in_record): (Vec<_>, Vec<_>) = removals.into_iter().partition(in_home);
    for removal in in_record {
        let result = match removal.what {
            Thing::Log => empty(&removal.path),
            Thing::Record => remove_record(&removal.path),
            _ => remove(&removal.path),
        };
        done(Item::new(removal, result));
    }
    if in_home.is_empty() {
        return;
    }
    let home = ctx.root.home(id);
    let below = |r: &Removal| r.path.strip_prefix(&home).unwrap_or(&r.path).to_owned();
    let paths = in_home.iter().map(below).collect();
    let request = Request::Sweep(Sweep { home: home.clone(), paths });
    let asked = ask_inside(ctx, id, None, &request, 1 << 20, None, || ());
    let swept = asked.map_err(|e| e.to_string()).and_then(|(answer, _)| {
        serde_json::from_slice::<Vec<Option<String>>>(&answer).map_err(|e| e.to_string())
    });
    for (nth, removal) in in_home.into_iter().enumerate() {
        let result = match &swept {
            Err(why) => Err(why.clone()),
            Ok(problems) => match problems.get(nth) {
                Some(None) => Ok(()),
                Some(Some(why)) => Err(why.clone()),
                None => Err("the jail did not answer".into()),
            },
        };
        done(Item::new(removal, result));
    }
    drop(lock);
}

/// The lock, if the worker has neither a run nor has had one since it was looked at.
fn still_idle(ctx: &Context, id: &WorkerId, known: &BTreeSet<RunId>) -> Result<WorkerLock, String> {
    let lock = WorkerLock::try_take(&ctx.root, id).map_err(|e| e.to_string())?;
    let lock = lock.ok_or("its worker was taken just now")?;
    let task = store::read_task(&ctx.root, id).map_err(|e| e.to_string())?;
    let archived = store::archived(&ctx.root, Some(id)).map_err(|e| e.to_string())?;
    let newer =
        archived.iter().filter_map(store::Archived::run_id).any(|run| !known.contains(&run));
    if task.is_some() || newer {
        return Err("its worker has been at work since".into());
    }
    Ok(lock)
}

/// Takes what is in a log and leaves it, empty: so it can be told from one that never was.
fn empty(path: &Path) -> Result<(), String> {
    let flags = nix::libc::O_NOFOLLOW;
    let log = OpenOptions::new().write(true).truncate(true).custom_flags(flags).open(path);
    gone(log.map(drop), path)
}

/// The record, and then the notes beside it, which are nothing without it.
fn remove_record(path: &Path) -> Result<(), String> {
    gone(fs::remove_file(path), path)?;
    for ending in ["log", "cleared"] {
        let beside = path.with_extension(ending);
        gone(fs::remove_file(&beside), &beside)?;
    }
    Ok(())
}

/// A file or a directory of ours.
fn remove(path: &Path) -> Result<(), String> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    gone(if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }, path)
}

fn gone(result: std::io::Result<()>, path: &Path) -> Result<(), String> {
    match result {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
        _ => Ok(()),
    }
}

/// What is remembered of GitHub.
fn forget(ctx: &Context, path: &Path) -> Result<(), String> {
    if path == store::claims_repository(&ctx.root) {
        return match store::forget_claims_repository(&ctx.root) {
            Ok(true) => Ok(()),
            Ok(false) => Err("somebody looks at a claim".into()),
            Err(e) => Err(e.to_string()),
        };
    }
    remove(path)?;
    // A token that is not used any more leaves an empty directory.
    if let Some(dir) = path.parent().filter(|dir| !dir.starts_with(ctx.root.claims())) {
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

/// Mirrors, what is remembered, and leftovers beside the workers' records.
fn of_nobody(ctx: &Context, seen: &Seen, removal: &Removal) -> Result<(), String> {
    if removal.what == Thing::Objects {
        let git = ctx.git().map_err(|e| e.to_string())?;
        return git.pack_mirror(&removal.path);
    }
    if let Some(mirror) = seen.mirrors.iter().find(|m| m.piece.path == removal.path) {
        // A run writes its record before it asks for its mirror.
        let now = store::list(&ctx.root).map_err(|e| e.to_string())?;
        let uses = |w: &store::Worker| match &w.state {
            State::Busy(run) | State::Crashed(run) => run.repo == mirror.repo,
            State::Idle | State::Starting | State::Broken(_) => false,
        };
        if now.iter().any(uses) {
            return Err("a run uses it".into());
        }
        return remove_mirror(&removal.path, mirror.piece.since);
    }
    if removal.what == Thing::Memory {
        return forget(ctx, &removal.path);
    }
    if removal.path.is_dir() {
        // Whoever makes a home holds it as long as they live.
        let held = File::open(&removal.path).map(|dir| dir.try_lock().map(|()| dir));
        if !matches!(held, Ok(Ok(_))) {
            return Err("somebody works on it".into());
        }
    }
    remove(&removal.path)
}
