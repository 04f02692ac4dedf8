//! Where GitHub's labels and the records on this machine disagree.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::lists::{self, Seen};
use super::{Context, Failure};
use crate::domain::{IssueNumber, Label, RepoSlug, Run, WorkerId, text};
use crate::github::GitHub;
use crate::plan::{self, Doing, Drift, IssueRef, Sides};
use crate::store::{self, State, Worker};

/// An issue about which GitHub and the disk do not agree, or that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// The repository.
    pub repo: RepoSlug,
    /// The issue.
    pub issue: IssueNumber,
    /// Its title, in one line.
    pub title: String,
    /// The label `worker:NN` that it is about.
    pub label: String,
    /// `waits_for_you` (which is as it should be), `left_over`, `idle`, `elsewhere`, `broken`,
    /// `unknown`, `missing` or `not_open`.
    pub wrong: &'static str,
    /// The same in words.
    pub what: String,
    /// What will be done, or what a person can do.
    pub hint: String,
}

/// What GitHub was found to say.
#[derive(Debug)]
pub struct Remote {
    /// Where it disagrees with the disk; `None` if it did not answer at all.
    pub drift: Option<Vec<DriftEntry>>,
    /// What could not be found out.
    pub problems: Vec<Failure>,
}

/// Asks GitHub for the open issues of the configured repositories, and of those that runs are under
/// way in, and compares them with the disk; only as to the worker `only`, if one is given. One
/// request for each repository, which is free if nothing changed there.
pub async fn remote(ctx: &Context, only: Option<&WorkerId>) -> Remote {
    let mut problems = Vec::new();
    let drift = match compare(ctx, only, &mut problems).await {
        Ok(drift) => drift,
        Err(failure) => {
            problems.push(failure);
            None
        }
    };
    Remote { drift, problems }
}

async fn compare(
    ctx: &Context,
    only: Option<&WorkerId>,
    problems: &mut Vec<Failure>,
) -> Result<Option<Vec<DriftEntry>>, Failure> {
    let github = ctx.github()?;
    let before = store::list(&ctx.root)?;
    let seen = see_all(ctx, &github, &before, problems).await?;
    if seen.listed.is_empty() && !problems.is_empty() {
        return Ok(None);
    }
    let archive = runs_of_labelled(ctx, &seen, problems)?;
    let at = |workers: &[Worker]| drift(workers, &archive, &seen);
    let mut found = at(&before);
    // A run that began or ended while GitHub answered is no drift.
    let after = at(&store::list(&ctx.root)?);
    found.retain(|drift| after.contains(drift));
    found.retain(|drift| only.is_none_or(|id| drift.worker.as_ref() == Some(id)));
    Ok(Some(found.into_iter().map(|drift| entry(ctx, drift)).collect()))
}

/// The lists of the configured repositories and of those that runs are under way in.
async fn see_all(
    ctx: &Context,
    github: &GitHub,
    workers: &[Worker],
    problems: &mut Vec<Failure>,
) -> Result<Seen, Failure> {
    let mut seen = lists::see(ctx, github, problems).await?;
    let more: BTreeSet<RepoSlug> = workers
        .iter()
        .filter_map(|worker| match &worker.state {
            State::Busy(run) | State::Crashed(run) => Some(run.repo.clone()),
            _ => None,
        })
        // One that is configured has been asked for, whatever came of it.
        .filter(|repo| !seen.listed.contains(repo) && lists::configured(ctx, repo) != Some(true))
        .collect();
    lists::list_each(github, more.iter(), &mut seen, problems).await?;
    Ok(seen)
}

/// The finished runs of the issues with a label `worker:NN`. Nothing is read where there is none.
pub(super) fn runs_of_labelled(
    ctx: &Context,
    seen: &Seen,
    problems: &mut Vec<Failure>,
) -> Result<Vec<Run>, Failure> {
    let labelled: BTreeSet<IssueRef> = seen
        .issues
        .iter()
        .filter(|issue| issue.labels.iter().any(Label::is_worker))
        .map(|issue| (issue.repo.clone(), issue.number))
        .collect();
    if labelled.is_empty() {
        return Ok(Vec::new());
    }
    let (runs, broken) = store::completed_of_issues(&ctx.root, &labelled)?;
    problems.extend(broken.into_iter().map(|broken| broken.why.into()));
    Ok(runs)
}

/// Compares what was seen with the disk.
pub(super) fn drift(workers: &[Worker], archive: &[Run], seen: &Seen) -> Vec<Drift> {
    fn doing(worker: &Worker) -> Doing<'_> {
        match &worker.state {
            State::Idle => Doing::Idle,
            State::Starting => Doing::Taken,
            State::Busy(run) | State::Crashed(run) => Doing::On(run),
            State::Broken(_) => Doing::Broken,
        }
    }
    let workers: BTreeMap<WorkerId, Doing<'_>> =
        workers.iter().map(|worker| (worker.id.clone(), doing(worker))).collect();
    let (issues, listed) = (&seen.issues, &seen.listed);
    plan::drift(&Sides { workers: &workers, archive, issues, listed })
}

fn entry(ctx: &Context, drift: Drift) -> DriftEntry {
    let assign_looks = lists::configured(ctx, &drift.repo) != Some(false);
    DriftEntry {
        what: drift.to_string(),
        hint: drift.hint(assign_looks),
        wrong: drift.wrong.word(),
        title: text::one_line(&drift.title, 200),
        label: text::one_line(&drift.label, 100),
        repo: drift.repo,
        issue: drift.issue,
    }
}
