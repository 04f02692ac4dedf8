//! One run: found by its id, a part of it, or its worker, under way or long over.

use std::cmp::Reverse;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::unknown::broken;
use super::{Context, Exit, Failure};
use crate::domain::{Run, RunId, WorkerId};
use crate::store::{self, Archived, State, Worker};

/// A run, and what is kept of it. As JSON it is versioned; fields may be added to a version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Version of the shape.
    pub version: u32,
    /// `finished`, or what its worker is: `busy`, `stopped`, `waiting` or `crashed`.
    pub state: &'static str,
    /// Whether a person has cleared it with `reset`.
    pub cleared: bool,
    /// Whole minutes, rounded up, once it is over.
    pub minutes: Option<i64>,
    /// The record.
    pub run: Box<Run>,
    /// The files that are kept, and those that retention has emptied.
    pub files: Vec<Kept>,
}

/// A file of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// `record`, `log`, `egress log`, `supervisor log`, `prompt`, `request`, `patch` (of what an earlier
    /// run left) or `unpublished` (a patch too: commits that may not be published).
    pub what: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When `gc` removed what was in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

impl Shown {
    /// The agent's output.
    ///
    /// # Errors
    /// When there is none, or none any more.
    pub fn log(&self) -> Result<PathBuf, Failure> {
        let of = format!("run {} of worker {}", self.run.run, self.run.worker);
        match self.files.iter().find(|file| file.what == LOG) {
            Some(Kept { removed_at: Some(at), .. }) => Err(removed(&of, *at)),
            Some(log) => Ok(log.path.clone()),
            None => Err(Failure::new(Exit::Failed, format!("{of} has no log"))),
        }
    }

    /// What the agent asked of the network, if that is kept.
    #[must_use]
    pub fn egress_log(&self) -> Option<&Path> {
        self.files.iter().find(|file| file.what == EGRESS_LOG).map(|file| file.path.as_path())
    }
}

const LOG: &str = "log";
const EGRESS_LOG: &str = "egress log";

fn removed(of: &str, at: Timestamp) -> Failure {
    let day = at.strftime("%Y-%m-%d");
    let what = format!("the log of {of} was removed by retention on {day}");
    Failure::new(Exit::Failed, what).hint("`[retention] logs` says how long logs are kept")
}

/// Finds a run by a worker's id (its current run, or its last), by its own id, or by a beginning or
/// an end of that which no other run has.
///
/// # Errors
/// When there is none, or more than one, or its record cannot be read.
pub fn show(ctx: &Context, what: &str) -> Result<Shown, Failure> {
    if let Ok(worker) = what.parse::<WorkerId>()
        && (store::ids(&ctx.root)?.contains(&worker)
            || !store::retired(&ctx.root, Some(&worker))?.is_empty())
    {
        return of_worker(ctx, &worker);
    }
    let mut found: Vec<(RunId, Place)> = Vec::new();
    let fits = |id: &RunId| id.as_str().starts_with(what) || id.as_str().ends_with(what);
    for one in store::archived(&ctx.root, None)? {
        if let Some(id) = one.run_id().filter(|id| fits(id)) {
            found.push((id, Place::Archived(one)));
        }
    }
    for worker in store::list(&ctx.root)? {
        let Some((state, run)) = under_way(worker) else { continue };
        // One that died as it was being archived is in both places; its record is final.
        if fits(&run.run) && !found.iter().any(|(id, _)| *id == run.run) {
            found.push((run.run.clone(), Place::Current(state, run)));
        }
    }
    match found.len() {
        0 => Err(Failure::new(Exit::NoWorker, format!("there is no run or worker {what:?}"))
            .hint("`claude-workers history` lists the finished runs with the ends of their ids")),
        1 => found.remove(0).1.shown(ctx),
        _ => Err(ambiguous(what, &found)),
    }
}

/// As many are named as fit on a screen.
const NAMED: usize = 10;

fn ambiguous(what: &str, found: &[(RunId, Place)]) -> Failure {
    let mut named: Vec<String> =
        found.iter().map(|(id, place)| format!("{id} (worker {})", place.worker())).collect();
    named.sort();
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let which = named.join(", ");
    Failure::new(Exit::Usage, format!("{what:?} fits {} runs: {which}", found.len()))
        .hint("write more of the id")
}

fn of_worker(ctx: &Context, id: &WorkerId) -> Result<Shown, Failure> {
    let worker = store::worker(&ctx.root, id.clone());
    if let State::Broken(why) = &worker.state
        && store::ids(&ctx.root)?.contains(id)
    {
        return Err(broken(ctx, id, why));
    }
    if let Some((state, run)) = under_way(worker) {
        return Place::Current(state, run).shown(ctx);
    }
    match newest_first(ctx, id)?.into_iter().next() {
        Some(last) => Place::Archived(last).shown(ctx),
        None => Err(Failure::new(Exit::Failed, format!("worker {id} has not had a run yet"))),
    }
}

fn newest_first(ctx: &Context, id: &WorkerId) -> Result<Vec<Archived>, Failure> {
    let mut archived = store::archived(&ctx.root, Some(id))?;
    let second = |one: &Archived| one.run_id().map(|run| run.as_str()[..RunId::SECOND].to_owned());
    archived.sort_by_cached_key(|one| Reverse(second(one)));
    // Ids tell runs of the same second apart, but not which was first.
    for tied in archived.chunk_by_mut(|a, b| second(a) == second(b)).filter(|t| t.len() > 1) {
        tied.sort_by_cached_key(|one| Reverse(one.read().ok().flatten().map(|r| r.started_at)));
    }
    Ok(archived)
}

fn under_way(worker: Worker) -> Option<(&'static str, Box<Run>)> {
    match worker.state {
        State::Busy(run) => Some(("busy", run)),
        State::Crashed(run) => Some((run.lies(), run)),
        State::Idle | State::Starting | State::Broken(_) => None,
    }
}

/// The last finished run of a worker that has left a log, with that log.
///
/// # Errors
/// When it has no log, or none any more.
pub(super) fn last_log(ctx: &Context, id: &WorkerId) -> Result<(Run, PathBuf), Failure> {
    for one in newest_first(ctx, id)? {
        let log = one.file("log");
        let Ok(meta) = std::fs::symlink_metadata(&log) else { continue };
        if let Some(at) = emptied(&meta) {
            return Err(removed(&format!("the last run of worker {id}"), at));
        }
        if let Ok(Some(run)) = one.read() {
            return Ok((run, log));
        }
    }
    Err(Failure::new(Exit::Failed, format!("worker {id} has no log yet")))
}

/// When retention emptied a file of the archive: nothing that is empty ever comes into it.
fn emptied(meta: &Metadata) -> Option<Timestamp> {
    if meta.len() > 0 {
        return None;
    }
    meta.modified().ok().and_then(|at| Timestamp::try_from(at).ok())
}

/// Where a run is.
enum Place {
    Current(&'static str, Box<Run>),
    Archived(Archived),
}

impl Place {
    fn worker(&self) -> &WorkerId {
        match self {
            Self::Current(_, run) => &run.worker,
            Self::Archived(one) => &one.worker,
        }
    }

    fn shown(self, ctx: &Context) -> Result<Shown, Failure> {
        let (state, run, dir, mut files) = match self {
            Self::Current(state, run) => {
                let paths = ctx.root.record(&run.worker);
                let files = vec![
                    ("record", paths.task()),
                    (LOG, paths.log()),
                    (EGRESS_LOG, paths.egress_log()),
                    ("supervisor log", paths.supervisor_log()),
                    ("prompt", paths.prompt()),
                    ("request", paths.request()),
                ];
                (state, run, paths.completed(), files)
            }
            Self::Archived(one) => {
                let record = one.file("json");
                let Some(run) = one.read()? else {
                    let gone = format!("{} has just been removed", record.display());
                    return Err(Failure::new(Exit::Failed, gone));
                };
                let files = vec![
                    ("record", record),
                    (LOG, one.file("log")),
                    (EGRESS_LOG, one.file("egress.log")),
                    ("supervisor log", one.file("supervisor.log")),
                ];
                ("finished", Box::new(run), one.dir, files)
            }
        };
        files.push(("patch", dir.join(store::patch_name(&run.repo, &run.run))));
        files.push(("unpublished", dir.join(store::unpublished_name(&run.repo, &run.run))));
        let kept = |(what, path): (&'static str, PathBuf)| {
            let meta = std::fs::symlink_metadata(&path).ok()?;
            let removed_at = emptied(&meta).filter(|_| what == LOG && state == "finished");
            Some(Kept { what, path, bytes: meta.len(), removed_at })
        };
        Ok(Shown {
            version: 1,
            state,
            cleared: run.cleared,
            minutes: run.minutes(),
            files: files.into_iter().filter_map(kept).collect(),
            run,
        })
    }
}
