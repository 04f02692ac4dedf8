//! What people ask. The disk answers; GitHub is not asked.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::drift::DriftEntry;
use super::reconcile::clock;
use super::unknown::no_such_worker;
use super::{Context, Failure, custody};
use crate::domain::{
    CredentialMode, JailMode, NetworkMode, Outcome, Phase, RepoSlug, Run, WorkerId,
};
use crate::plan::in_a_line;
use crate::plan::reconcile::left;
use crate::process::Identity;
use crate::store::{self, Line, Skipped, State};

/// The answer to `status`. As JSON it is versioned; fields may be added to a version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the shape.
    pub version: u32,
    /// The root.
    pub root: PathBuf,
    /// The configured wall around agents.
    pub sandbox: JailMode,
    /// What agents reach of the network, as configured.
    pub network: NetworkMode,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// Where GitHub disagrees, if it was asked and answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Vec<DriftEntry>>,
}

/// One worker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Its id.
    pub id: WorkerId,
    /// `idle`, `starting`, `busy`, `stopped`, `waiting`, `crashed` or `broken`.
    pub state: &'static str,
    /// Whether its home holds credentials for GitHub; unknown if its record does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialMode>,
    /// Its run, unless it is idle or broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskStatus>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A run under way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The record.
    #[serde(flatten)]
    pub run: Box<Run>,
    /// Seconds since the claim, or since it was taken up again.
    pub elapsed_secs: i64,
    /// Seconds since the agent last wrote something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_secs: Option<u64>,
}

/// Looks at all workers, or at one.
///
/// # Errors
/// When the one asked for does not exist, or the root cannot be read.
pub fn status(ctx: &Context, only: Option<&WorkerId>, now: Timestamp) -> Result<Status, Failure> {
    let workers = match only {
        None => store::list(&ctx.root)?,
        Some(id) => {
            known(ctx, id)?;
            vec![store::worker(&ctx.root, id.clone())]
        }
    };
    Ok(Status {
        version: 1,
        root: ctx.root.path().to_owned(),
        sandbox: ctx.settings.sandbox,
        network: ctx.settings.network.mode,
        workers: workers.into_iter().map(|w| worker_status(ctx, w, now)).collect(),
        drift: None,
    })
}

fn worker_status(ctx: &Context, worker: store::Worker, now: Timestamp) -> WorkerStatus {
    let quiet_secs = worker
        .last_activity
        .and_then(|at| Timestamp::try_from(at).ok())
        .map(|at| u64::try_from(now.as_second() - at.as_second()).unwrap_or(0));
    let at_work = matches!(worker.state, State::Busy(_));
    let task = |run: Box<Run>| {
        let elapsed_secs = elapsed_secs(&run, at_work, now);
        let longest = u64::try_from(elapsed_secs).unwrap_or(0);
        let quiet_secs = quiet_secs.map(|secs| if at_work { secs.min(longest) } else { secs });
        Some(TaskStatus { run, elapsed_secs, quiet_secs })
    };
    let id = worker.id;
    let credentials = custody::mode_of(ctx, &id).ok();
    let (state, task, problem) = match worker.state {
        State::Idle => ("idle", None, None),
        State::Starting => ("starting", None, None),
        State::Busy(run) => ("busy", task(run), None),
        State::Crashed(run) if run.lies() == "stopped" => ("stopped", task(run), None),
        State::Crashed(run) => {
            let problem = match run.phase {
                _ if run.pause.is_some() => waits(&run),
                Phase::Publishing => format!(
                    "waits to be published{}; the next `assign` carries on",
                    run.unsaid.first().map(|w| format!(" ({w})")).unwrap_or_default()
                ),
                phase => format!(
                    "its supervisor died while it was {phase}; the next `assign` carries on"
                ),
            };
            (run.lies(), task(run), Some(problem))
        }
        State::Broken(why) => ("broken", None, Some(why)),
    };
    WorkerStatus { id, state, credentials, task, problem }
}

/// For how long it has been worked on. What is at work counts by its supervisor's age, which no
/// change of the clock changes.
pub(super) fn elapsed_secs(run: &Run, at_work: bool, now: Timestamp) -> i64 {
    let age = Identity::recorded(run).filter(|_| at_work).and_then(|supervisor| supervisor.age());
    let by_clock = now.as_second() - run.working_since().as_second();
    age.map_or(by_clock, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)).max(0)
}

/// Of a run that waits for its next attempt: until when, and why.
fn waits(run: &Run) -> String {
    let clock = clock();
    let left = run.pause.as_ref().map(|pause| left(pause, &clock)).unwrap_or_default();
    let until = clock.now.saturating_add(left).unwrap_or(clock.now);
    let why = run.tried.last().map(|last| format!(" (attempt {}: {})", last.attempt, last.why));
    format!(
        "waits for another attempt until {}{}; `restart` starts it now",
        until.strftime("%Y-%m-%d %H:%M:%S UTC"),
        why.unwrap_or_default()
    )
}

pub(super) fn known(ctx: &Context, id: &WorkerId) -> Result<(), Failure> {
    if store::ids(&ctx.root)?.contains(id) {
        return Ok(());
    }
    Err(no_such_worker(ctx, id))
}

/// A finished run, with a line on why it ended as it did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The record.
    #[serde(flatten)]
    pub run: Run,
    /// Outcome and last words in one line.
    pub summary: String,
    /// Whole minutes, rounded up.
    pub minutes: Option<i64>,
}

/// Which runs are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this worker.
    pub worker: Option<WorkerId>,
    /// Of this repository.
    pub repo: Option<RepoSlug>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// Started at or after.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn wants(&self, repo: &RepoSlug, outcome: Option<Outcome>, started_at: Timestamp) -> bool {
        self.repo.as_ref().is_none_or(|wanted| wanted == repo)
            && self.outcome.is_none_or(|wanted| outcome == Some(wanted))
            && self.since.is_none_or(|since| started_at >= since)
    }
}

fn known_or_retired(ctx: &Context, filter: &Filter) -> Result<(), Failure> {
    match &filter.worker {
        Some(id) if store::retired(&ctx.root, Some(id))?.is_empty() => known(ctx, id),
        _ => Ok(()),
    }
}

/// The finished runs, oldest first, and the records that cannot be read.
///
/// # Errors
/// When the worker does not exist, or the root cannot be read.
pub fn history(
    ctx: &Context,
    filter: &Filter,
) -> Result<(Vec<HistoryEntry>, Vec<Skipped>), Failure> {
    known_or_retired(ctx, filter)?;
    let worker = filter.worker.as_ref();
    let (runs, skipped) = store::completed_since(&ctx.root, worker, filter.since)?;
    let entries = runs
        .into_iter()
        .filter(|run| filter.wants(&run.repo, run.outcome(), run.started_at))
        .map(|run| HistoryEntry { summary: in_a_line(&run), minutes: run.minutes(), run })
        .collect();
    Ok((entries, skipped))
}

/// The same without what a list does not show, and so at a third of the time.
///
/// # Errors
/// As for [`history`].
pub fn history_lines(ctx: &Context, filter: &Filter) -> Result<(Vec<Line>, Vec<Skipped>), Failure> {
    known_or_retired(ctx, filter)?;
    let worker = filter.worker.as_ref();
    let (mut lines, skipped) = store::completed_lines(&ctx.root, worker, filter.since)?;
    lines.retain(|line| filter.wants(&line.repo, line.outcome, line.started_at));
    Ok((lines, skipped))
}
