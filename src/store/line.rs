//! A finished run in a line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{Ended, Filed, IssueNumber, Outcome, RepoSlug, RunId, WorkerId, minutes};
use crate::plan::line_about;

/// As much of a finished run as a line about it takes: most of a record is what the agent said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// The run's id.
    pub run: RunId,
    /// The worker that had it.
    pub worker: WorkerId,
    /// The repository.
    pub repo: RepoSlug,
    /// The issue, if it had one.
    pub issue: Option<IssueNumber>,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Whole minutes of its last attempt, rounded up.
    pub minutes: Option<i64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Where its pull request is.
    pub pr: Option<String>,
    /// US dollars, by the agent's own account.
    pub cost_usd: Option<f64>,
    /// Why it ended, and what was said, in one line.
    pub summary: String,
}

/// The same as the file holds it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Slim<'a> {
    pub(super) version: u32,
    run: RunId,
    worker: WorkerId,
    repo: RepoSlug,
    issue: Option<IssueNumber>,
    started_at: Timestamp,
    attempt_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    ended: Option<Ended>,
    pr: Option<SlimPull>,
    #[serde(default)]
    clock_set_secs: i64,
    #[serde(default)]
    filed: Vec<Filed>,
    #[serde(borrow)]
    agent: Option<SlimAgent<'a>>,
    #[serde(borrow)]
    work: Option<SlimWork<'a>>,
}

#[derive(Debug, Deserialize)]
struct SlimPull {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimAgent<'a> {
    cost_usd: Option<f64>,
    /// Not decoded before somebody wants it.
    #[serde(borrow)]
    last_words: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct SlimWork<'a> {
    #[serde(borrow)]
    report: Option<&'a RawValue>,
}

impl From<Slim<'_>> for Line {
    fn from(slim: Slim<'_>) -> Self {
        let agent = slim.agent.as_ref();
        let decode = |raw: &RawValue| serde_json::from_str(raw.get()).ok();
        let report = || slim.work.as_ref().and_then(|w| w.report).and_then(decode);
        let last_words = || agent.and_then(|a| a.last_words).and_then(decode);
        let about = |ended| line_about(ended, &slim.filed, report, last_words);
        let since = slim.attempt_at.unwrap_or(slim.started_at);
        Self {
            summary: slim.ended.as_ref().map(about).unwrap_or_default(),
            cost_usd: agent.and_then(|a| a.cost_usd),
            run: slim.run,
            worker: slim.worker,
            repo: slim.repo,
            issue: slim.issue,
            started_at: slim.started_at,
            ended_at: slim.ended_at,
            minutes: slim.ended_at.and_then(|end| minutes(since, end, slim.clock_set_secs)),
            outcome: slim.ended.map(|ended| ended.outcome),
            pr: slim.pr.map(|pr| pr.url),
        }
    }
}
