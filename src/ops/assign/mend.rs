//! Labels that a run of this machine put on and that its end did not take off.

use super::Report;
use super::memory::Memory;
use crate::domain::{Issue, Run, WorkerId};
use crate::github::{Error, ErrorKind, GitHub};
use crate::ops::hold::Hold;
use crate::ops::lists::Seen;
use crate::ops::{Context, Exit, Failure, drift};
use crate::plan::{Drift, Wrong};
use crate::store::{self, Worker, WorkerLock};

/// Takes off what is surely ours: the records say that the label should be off, its worker does not
/// have the issue now, and GitHub says that our login put it on while the run lasted. What a person
/// or another host put on stays, and is not asked about again until the issue changes. Asks nothing
/// where no label looks like it. `workers` are as they were before the lists were read: the label of
/// a run that has ended since is just gone.
///
/// # Errors
/// When nothing more can be asked, or the disk cannot be read.
pub(super) async fn mend(
    ctx: &Context,
    github: &GitHub,
    workers: &[Worker],
    seen: &mut Seen,
    dry_run: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let known = report.problems.len();
    let archive = drift::runs_of_labelled(ctx, seen, &mut report.problems)?;
    if archive.is_empty() || report.problems.len() > known {
        return Ok(());
    }
    let mut found = drift::drift(workers, &archive, seen);
    found.retain(|drift| matches!(drift.wrong, Wrong::LeftOver(_)));
    let mut memory = Memory::load(ctx, seen.issues.iter());
    for left in found {
        let Some(worker) = &left.worker else { continue };
        let is_it = |issue: &&mut Issue| issue.repo == left.repo && issue.number == left.issue;
        let Some(issue) = seen.issues.iter_mut().find(is_it) else { continue };
        if memory.is_not_ours(issue, &left.label) {
            continue;
        }
        match take_off(ctx, github, &left, worker, &archive, dry_run).await {
            Ok(Done::Off) => {
                issue.labels.retain(|label| !label.is_of(worker));
                report.mended.push(left);
            }
            Ok(Done::NotOurs) => memory.not_ours(issue, &left.label),
            Ok(Done::NotNow) => {}
            Err(Refused::ByGitHub(e)) => {
                let passes = matches!(e.kind(), ErrorKind::Unreachable | ErrorKind::RateLimited);
                let failure = Failure::from(e);
                if failure.exit == Exit::RateLimited {
                    memory.save(ctx);
                    return Err(failure);
                }
                if !passes {
                    memory.not_ours(issue, &left.label);
                }
                report.problems.push(failure);
            }
            Err(Refused::Here(failure)) => report.problems.push(failure),
        }
    }
    memory.save(ctx);
    Ok(())
}

enum Done {
    Off,
    NotOurs,
    /// The worker is just being given something to do.
    NotNow,
}

enum Refused {
    ByGitHub(Error),
    Here(Failure),
}

impl From<Error> for Refused {
    fn from(e: Error) -> Self {
        Self::ByGitHub(e)
    }
}

impl From<store::Error> for Refused {
    fn from(e: store::Error) -> Self {
        Self::Here(e.into())
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Here(failure)
    }
}

async fn take_off(
    ctx: &Context,
    github: &GitHub,
    left: &Drift,
    worker: &WorkerId,
    archive: &[Run],
    dry_run: bool,
) -> Result<Done, Refused> {
    let (repo, number) = (&left.repo, left.issue);
    let Some(labelled) = github.who_labelled(repo, number, &left.label).await? else {
        return Ok(Done::NotOurs);
    };
    let own_login = github.viewer().await?.login;
    if !left.is_ours(archive, &own_login, &labelled.by, labelled.at) {
        return Ok(Done::NotOurs);
    }
    // A worker of that name on another host, or another run of ours, may have the issue since.
    let about_it = |run: &&Run| run.repo == *repo && run.issue == Some(number);
    if let Some(last) = archive.iter().rev().find(about_it)
        && let Some(hold) = Hold::on(ctx, repo, number)?
        && hold.taken_over(&last.run)?.is_some_and(|claim| claim.worker == *worker)
    {
        return Ok(Done::NotOurs);
    }
    // A `dispatch` by hand may be giving it this very issue: not while we hold its lock, and one
    // that is busy with something else cannot get it.
    let lock = WorkerLock::try_take(&ctx.root, worker)?;
    let has_it = match store::read_task(&ctx.root, worker)? {
        Some(run) => run.repo == *repo && run.issue == Some(number),
        None => lock.is_none(),
    };
    if has_it {
        return Ok(Done::NotNow);
    }
    if !dry_run {
        github.remove_label(repo, number, &left.label).await?;
    }
    Ok(Done::Off)
}
