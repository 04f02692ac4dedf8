//! Retires workers: the home goes, the archive stays.

use std::path::PathBuf;

use super::refresh::take_idle;
use super::stop::worker;
use super::unknown::no_such_worker;
use super::{Context, Exit, Failure};
use crate::domain::{Outcome, WorkerId};
use crate::home::{self, remove_tree};
use crate::store::{self, State, WorkerLock};

/// What goes with a worker.
#[derive(Debug)]
pub struct Goes {
    /// The worker.
    pub worker: WorkerId,
    /// Its home, wherever an earlier attempt has brought it.
    pub home: PathBuf,
    /// How many clones are in it.
    pub clones: usize,
    /// About how many bytes it takes.
    pub bytes: u64,
    /// What its last run left undone, in words.
    pub undone: Option<String>,
}

/// Looks at a worker that is to be retired.
///
/// # Errors
/// When there is none of this name, or it is not idle.
pub fn look(ctx: &Context, id: &WorkerId) -> Result<Goes, Failure> {
    let record = ctx.root.record(id);
    let home = if begun(ctx, id)? {
        record.old_home()
    } else if let Some(left) = leftovers(ctx, id)?.into_iter().next()
        && !store::ids(&ctx.root)?.contains(id)
    {
        left.old_home()
    } else {
        let _lock = take_idle(ctx, id).map_err(|left| other_case(ctx, id, left.into()))?;
        let home = ctx.root.home(id);
        // Else it could be neither measured nor moved.
        home::open_up(&home)?;
        home
    };
    let (clones, bytes) = home::size(&home);
    Ok(Goes { worker: id.clone(), home, clones, bytes, undone: undone(ctx, id)? })
}

/// Retires the worker, or finishes what an interrupted attempt has begun. Returns where its archive
/// is now.
///
/// # Errors
/// When it is not idle (any more), or something cannot be removed; doing it again carries on.
pub fn remove(ctx: &Context, id: &WorkerId) -> Result<PathBuf, Failure> {
    let lock = if begun(ctx, id)? {
        Some(WorkerLock::try_take(&ctx.root, id)?.ok_or_else(|| under_way(id))?)
    } else if store::ids(&ctx.root)?.contains(id) {
        Some(take_idle(ctx, id)?)
    } else {
        None
    };
    let new = lock.as_ref().map(|lock| store::retire(&ctx.root, lock)).transpose()?;
    for record in leftovers(ctx, id)? {
        // The lock of the one that was just retired is in our hand.
        let _lock = if new.as_ref() == Some(&record) {
            None
        } else {
            Some(WorkerLock::try_take_retired(id, &record)?.ok_or_else(|| under_way(id))?)
        };
        // No run needs its secrets any more.
        for path in [record.values(), record.furniture()] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    let what = format!("cannot remove {}: {e}", path.display());
                    return Err(Failure::new(Exit::Failed, what));
                }
                _ => {}
            }
        }
        let kept = home::kept_beside(&record.furniture());
        for dir in [ctx.root.moved_home(id), kept, record.quarantine()] {
            if dir.exists() {
                remove_tree(&dir)?;
            }
        }
        remove_tree(&record.old_home())?;
    }
    let last = store::retired(&ctx.root, Some(id))?.pop().map(|(_, record)| record);
    match new.or(last) {
        Some(record) => Ok(record.dir().to_owned()),
        None => Err(no_such_worker(ctx, id)),
    }
}

fn under_way(id: &WorkerId) -> Failure {
    Failure::new(Exit::Failed, format!("worker {id} is being removed by another command"))
}

/// Whether its home has been moved away by an attempt that got no further.
fn begun(ctx: &Context, id: &WorkerId) -> Result<bool, Failure> {
    let away = ctx.root.record(id).old_home().exists() && !ctx.root.home(id).exists();
    Ok(away
        && matches!(worker(ctx, id)?, State::Broken(_))
        && store::read_task(&ctx.root, id)?.is_none())
}

/// Homes of retired workers of this name that are not deleted yet.
fn leftovers(ctx: &Context, id: &WorkerId) -> Result<Vec<store::RecordPaths>, Failure> {
    let all = store::retired(&ctx.root, Some(id))?.into_iter().map(|(_, record)| record);
    Ok(all.filter(|record| record.old_home().exists()).collect())
}

/// Labels ignore case, and so may the person; the disk does not.
fn other_case(ctx: &Context, id: &WorkerId, failure: Failure) -> Failure {
    let ids = store::ids(&ctx.root).unwrap_or_default();
    match ids.iter().find(|other| *other != id && other.collides_with(id)) {
        Some(other) if !ids.contains(id) => failure.hint(format!("did you mean {other}?")),
        _ => failure,
    }
}

/// What the last run left that would be lost, or that nobody would take off the issue.
fn undone(ctx: &Context, id: &WorkerId) -> Result<Option<String>, Failure> {
    let Some(run) = store::completed(&ctx.root, Some(id))?.0.pop() else { return Ok(None) };
    if run.cleared || run.outcome() == Some(Outcome::Succeeded) {
        return Ok(None);
    }
    let commits = run.work.as_ref().map_or(0, |work| work.commits);
    let mut left = Vec::new();
    if commits > 0 && run.pr.is_none() {
        left.push(format!("{commits} commits that are not published"));
    }
    if run.labels_left {
        left.push(format!("the labels {} and blocked on the issue", run.worker.label()));
    }
    let outcome = run.outcome().map(|outcome| outcome.to_string()).unwrap_or_default();
    Ok((!left.is_empty()).then(|| {
        format!("its last run ({}, {outcome}) left {}", run.subject(), left.join(", and "))
    }))
}
