//! Labels that are to be taken off and could not be yet: a note on disk, so that a later tick does
//! what could not be done now.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hold::Hold;
use super::{Context, Exit, Failure};
use crate::domain::{BLOCKED_LABEL, IssueNumber, Phase, RepoSlug, Run, RunId, WorkerId};
use crate::github::{ErrorKind, GitHub};
use crate::store::{self, State, make_private_dir, read_bounded, remove_file, write_private};

/// The format version of the notes.
const VERSION: u32 = 1;

/// Labels of one run.
#[derive(Debug, Serialize, Deserialize)]
struct Chore {
    version: u32,
    repo: RepoSlug,
    issue: IssueNumber,
    labels: Vec<String>,
    /// The run that put them on.
    run: RunId,
}

fn dir(ctx: &Context) -> PathBuf {
    ctx.root.github().join("chores")
}

/// Whether `blocked` may be on the issue because of this run, and not because of a person.
fn may_have_blocked(run: &Run) -> bool {
    run.labels_left || run.phase == Phase::Publishing && run.ended_at.is_none()
}

/// Notes that the labels of a run are to be taken off its issue.
///
/// # Errors
/// When the note cannot be written.
pub(super) fn note(ctx: &Context, run: &Run) -> Result<(), Failure> {
    let Some(issue) = run.issue else { return Ok(()) };
    let blocked = may_have_blocked(run).then(|| BLOCKED_LABEL.to_owned());
    // Of the host that the run took the issue over from nobody else knows.
    let gone = run.relieves.as_ref().map(WorkerId::label);
    let labels: Vec<String> =
        std::iter::once(run.worker.label()).chain(gone).chain(blocked).collect();
    note_of(ctx, (&run.repo, issue), &run.run, &labels)
}

/// The same for a run of which no more is known.
///
/// # Errors
/// When the note cannot be written.
pub(super) fn note_of(
    ctx: &Context,
    (repo, issue): (&RepoSlug, IssueNumber),
    run: &RunId,
    labels: &[String],
) -> Result<(), Failure> {
    make_private_dir(&dir(ctx))?;
    let chore = Chore {
        version: VERSION,
        repo: repo.clone(),
        issue,
        labels: labels.to_vec(),
        run: run.clone(),
    };
    let json = serde_json::to_vec(&chore)
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot note what is to be done: {e}")))?;
    Ok(write_private(&path(ctx, run), &json)?)
}

fn path(ctx: &Context, run: &RunId) -> PathBuf {
    dir(ctx).join(format!("{run}.json"))
}

/// Does what is noted, and says what is still left. Asks GitHub nothing if nothing is noted.
///
/// # Errors
/// When the notes cannot be listed.
pub(super) async fn do_them(ctx: &Context, github: &GitHub) -> Result<Vec<String>, Failure> {
    let Ok(notes) = std::fs::read_dir(dir(ctx)) else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    let mut there = None;
    for path in
        notes.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json"))
    {
        let chore = match read(&path) {
            Ok(Some(chore)) => chore,
            Ok(None) => continue,
            // One that cannot be read is in nobody's way.
            Err(why) => {
                left.push(format!("{why}: it says which labels are to be taken off an issue"));
                continue;
            }
        };
        // Its reset is not at its end, and the run still has the issue.
        let workers = match &mut there {
            Some(workers) => workers,
            none => none.insert(store::list(&ctx.root)?),
        };
        let has_it = |w: &store::Worker| matches!(&w.state, State::Busy(run) | State::Crashed(run) if run.run == chore.run);
        if workers.iter().any(has_it) {
            continue;
        }
        match do_one(ctx, github, &chore).await {
            Ok(()) => {
                let _ = remove_file(&path);
            }
            Err(why) => left.push(format!(
                "take the labels {} off {}#{} ({why})",
                chore.labels.join(" and "),
                chore.repo,
                chore.issue
            )),
        }
    }
    Ok(left)
}

/// `None`: it is gone.
fn read(path: &Path) -> Result<Option<Chore>, store::Error> {
    let Some(bytes) = read_bounded(path, 1 << 16)? else { return Ok(None) };
    let broken =
        |e: serde_json::Error| store::Error::Broken { path: path.to_owned(), why: e.to_string() };
    let chore: Chore = serde_json::from_slice(&bytes).map_err(broken)?;
    if chore.version > VERSION {
        let found = u64::from(chore.version);
        return Err(store::Error::Newer { path: path.to_owned(), found, known: VERSION });
    }
    Ok(Some(chore))
}

async fn do_one(ctx: &Context, github: &GitHub, chore: &Chore) -> Result<(), String> {
    let say = |e: Failure| e.to_string();
    let hold = Hold::on(ctx, &chore.repo, chore.issue).map_err(say)?;
    let holder = hold.as_ref().map(|hold| hold.taken_over(&chore.run)).transpose().map_err(say)?;
    let holder = holder.flatten().map(|claim| claim.worker.label());
    for label in &chore.labels {
        // Where another host, or another run, has the issue now, what waits for a person is that one's.
        if holder.as_ref().is_some_and(|theirs| theirs == label || label == BLOCKED_LABEL) {
            continue;
        }
        match github.remove_label(&chore.repo, chore.issue, label).await {
            Err(e) if e.kind() != ErrorKind::Missing => return Err(e.to_string()),
            // Or the issue is gone, or is not ours to change any more.
            _ => {}
        }
    }
    if let Some(hold) = hold {
        // Where this fails, the claim runs out by itself.
        let _ = hold.release(&chore.run);
    }
    Ok(())
}

/// Whether something of this run is noted: then a person has begun to clear it.
pub(super) fn are_noted(ctx: &Context, run: &Run) -> bool {
    path(ctx, &run.run).exists()
}

/// Whether anything is noted.
pub(super) fn any(ctx: &Context) -> bool {
    std::fs::read_dir(dir(ctx)).is_ok_and(|mut notes| notes.next().is_some())
}
