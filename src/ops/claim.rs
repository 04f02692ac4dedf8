//! Taking a worker, and taking an issue: the step that must not be done twice.

use jiff::Timestamp;

use super::dispatch::Request;
use super::queries::elapsed_secs;
use super::unknown::no_such_worker;
use super::{Context, Exit, Failure};
use crate::domain::{
    BLOCKED_LABEL, BranchName, Issue, IssueNumber, RepoSlug, Run, WORKER_LABEL_COLOR, WorkerId,
};
use crate::github::{Error, GitHub};
use crate::store::{self, State, WorkerLock};

/// Takes the named worker, or the first idle one that will do.
///
/// # Errors
/// When it (or every one) is busy: says who has what.
pub(super) fn take_worker(
    ctx: &Context,
    wanted: Option<&WorkerId>,
    will_do: impl Fn(&WorkerId) -> bool,
) -> Result<WorkerLock, Failure> {
    let workers = store::list(&ctx.root)?;
    if workers.is_empty() {
        return Err(Failure::new(Exit::NoWorker, "there are no workers yet")
            .hint("make one: `claude-workers init 01`"));
    }
    if let Some(id) = wanted
        && !workers.iter().any(|w| w.id == *id)
    {
        return Err(no_such_worker(ctx, id));
    }
    for worker in &workers {
        let suits = wanted.is_none_or(|id| *id == worker.id);
        if !suits || !matches!(worker.state, State::Idle) || !will_do(&worker.id) {
            continue;
        }
        let Some(lock) = WorkerLock::try_take(&ctx.root, &worker.id)? else { continue };
        // Somebody may have been quicker and be done already, or have left a record.
        if store::read_task(&ctx.root, &worker.id)?.is_none() {
            return Ok(lock);
        }
    }
    let now = Timestamp::now();
    let shown = workers.iter().filter(|w| wanted.is_none_or(|id| *id == w.id));
    let lines: Vec<String> = shown.map(|w| what_it_does(w, now)).collect();
    let failure = match wanted {
        Some(_) => Failure::new(Exit::NoWorker, lines.join("; "))
            .hint("choose another worker with -w, or leave -w out to take the first that is idle"),
        None => Failure::new(Exit::NoWorker, format!("no worker is idle: {}", lines.join("; ")))
            .hint("wait, or make another worker with `claude-workers init <id>`"),
    };
    Err(failure)
}

fn what_it_does(worker: &store::Worker, now: Timestamp) -> String {
    let id = &worker.id;
    match &worker.state {
        State::Idle | State::Starting => format!("worker {id} is just being taken"),
        State::Busy(run) => {
            let minutes = elapsed_secs(run, true, now) / 60;
            let pid = run.pid.map(|p| format!("pid {p}, ")).unwrap_or_default();
            format!("worker {id} is busy with {} ({pid}{minutes}m)", run.subject())
        }
        State::Crashed(run) => {
            let subject = run.subject();
            match run.lies() {
                "stopped" => format!("worker {id} was stopped with {subject}"),
                "waiting" => format!("worker {id} waits for another attempt at {subject}"),
                _ => format!("worker {id} crashed with {subject}; the next `assign` carries on"),
            }
        }
        State::Broken(why) => format!("worker {id} is broken: {why}"),
    }
}

/// The worker whose current run is about the issue.
fn holder<'a>(
    workers: impl IntoIterator<Item = &'a store::Worker>,
    repo: &RepoSlug,
    number: IssueNumber,
) -> Option<&'a WorkerId> {
    let about = |run: &Run| run.repo == *repo && run.issue == Some(number);
    let holds = |worker: &&store::Worker| matches!(&worker.state, State::Busy(run) | State::Crashed(run) if about(run));
    workers.into_iter().find(holds).map(|worker| &worker.id)
}

/// Looks again when the claim is written: two dispatchers that looked at the same moment may both
/// have found the issue free. Each sees the other's record now, or is seen, so that never both go
/// on.
///
/// # Errors
/// When another worker holds the issue.
pub(super) fn still_ours(ctx: &Context, run: &Run) -> Result<(), Failure> {
    let Some(number) = run.issue else { return Ok(()) };
    let workers = store::list(&ctx.root)?;
    let others = workers.iter().filter(|worker| worker.id != run.worker);
    holder(others, &run.repo, number).map_or(Ok(()), |other| {
        let what = format!("{}#{number} is held by worker {other}", run.repo);
        Err(Failure::new(Exit::Refused, what))
    })
}

/// Reads the issue again and refuses what must not be started. If a person named it,
/// `blocked` and closed pull requests are not in the way. (`assign` has asked for its pull requests
/// a moment ago, when it made its plan.) `taken_by`: our worker that has taken it already, after
/// somebody else had it; whatever was asked before that is asked again.
///
/// Returns the issue, and the workers whose labels are to go: of an earlier run of ours that has
/// ended, of a host that is gone.
///
/// # Errors
/// When the issue is not one, is closed, is held, or has a pull request.
pub(super) async fn check_issue(
    ctx: &Context,
    github: &GitHub,
    number: IssueNumber,
    request: &Request,
    taken_by: Option<&WorkerId>,
) -> Result<(Issue, Vec<WorkerId>), Failure> {
    let (repo, explicit) = (&request.repo, request.explicit);
    let issue = github.issue(repo, number).await?;
    let refuse = |why: String| Failure::new(Exit::Refused, format!("{repo}#{number} {why}"));
    if issue.is_pull {
        return Err(refuse("is a pull request, not an issue".into()));
    }
    if !issue.open {
        return Err(refuse("is closed".into()));
    }
    if request.approved.as_ref().is_some_and(|approved| *approved != issue.text_id()) {
        return Err(refuse("was just edited".into())
            .hint("the next `assign` looks whether it was approved since"));
    }
    let workers = store::list(&ctx.root)?;
    let others = workers.iter().filter(|worker| Some(&worker.id) != taken_by);
    if let Some(holder) = holder(others, repo, number) {
        return Err(refuse(format!("is held by worker {holder}")));
    }
    let mut old: Vec<WorkerId> = Vec::new();
    for label in issue.labels.iter().filter(|l| l.is_worker()) {
        if let Some(gone) = request.abandoned_by.as_ref().filter(|gone| label.is_of(gone)) {
            old.push(gone.clone());
            continue;
        }
        let ended_here = explicit
            && workers.iter().any(|w| label.is_of(&w.id))
            && store::completed_of_issue(&ctx.root, repo, number)?
                .iter()
                .any(|run| label.is_of(&run.worker));
        match workers.iter().find(|w| label.is_of(&w.id)) {
            Some(worker) if ended_here => old.push(worker.id.clone()),
            _ => {
                return Err(refuse(format!("has the label {}", label.0)).hint(
                    "another worker or host holds it; take the label off if that is not so",
                ));
            }
        }
    }
    if !explicit && issue.has_label(BLOCKED_LABEL) {
        return Err(refuse("has the label blocked".into()));
    }
    if explicit || taken_by.is_some() {
        let branch = BranchName::for_issue(number, 1);
        let pulls = github.pulls_by_head(repo, &branch).await?;
        if let Some(pull) = pulls.iter().find(|p| p.open || !explicit) {
            let open = if pull.open { "an open" } else { "a" };
            return Err(refuse(format!("has {open} pull request: {}", pull.url)));
        }
    }
    Ok((issue, old))
}

/// Puts `worker:NN` on the issue, making the label first if need be.
///
/// # Errors
/// When GitHub refuses; the issue is as it was then, or the label is on it (an answer was lost).
pub(super) async fn label(
    github: &GitHub,
    repo: &RepoSlug,
    issue: IssueNumber,
    worker: &WorkerId,
) -> Result<(), Error> {
    let name = worker.label();
    let about = format!("Held by worker {worker}");
    github.ensure_label(repo, &name, WORKER_LABEL_COLOR, &about).await?;
    github.add_label(repo, issue, &name).await.map(drop)
}
