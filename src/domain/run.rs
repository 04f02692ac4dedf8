//! A run: one attempt of one agent at one task, as `task.json` and the archive hold it.
//!
//! The file keeps the names that earlier worker homes used (`repo`, `issue`, `prompt`, `pid`,
//! `startedAt`) and adds to them. Times are RFC 3339 in UTC.

use std::fmt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::limits::{JailMode, Limits, NetworkMode};
use super::outcome::{AgentReport, Ended, Outcome, Work};
use super::{BranchName, Filed, IssueNumber, PullRef, RepoSlug, RunId, WorkerId, text};

/// The format version that this program reads and writes.
pub const CURRENT_VERSION: u32 = 1;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Work on an issue and end in a pull request.
    Implement,
    /// Do what a prompt says; commits, if any, become a pull request.
    Prompt,
    /// Look into what a prompt says, and report. Nothing is changed.
    Report,
    /// Change what a prompt says, and end in a pull request.
    Update,
    /// Look into what a prompt says, and leave issues to be filed.
    Issues,
}

impl Kind {
    /// Whether its commits become a pull request. What the others have to hand in is words.
    #[must_use]
    pub fn publishes_commits(self) -> bool {
        matches!(self, Self::Implement | Self::Prompt | Self::Update)
    }
}

/// Where a run is. A phase is written to `task.json` before its work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The worker and the issue are taken; no supervisor works yet.
    Claimed,
    /// Mirror, clone, issue text and prompt are being made ready.
    Preparing,
    /// The agent works in its jail.
    Running,
    /// What the agent left is being looked at.
    Verifying,
    /// Branch, pull request, comment and labels are being brought to GitHub.
    Publishing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Claimed => "claimed",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Publishing => "publishing",
        })
    }
}

/// What the records say that were written before there was a choice.
fn the_only_network() -> NetworkMode {
    NetworkMode::Host
}

/// This host's claim on an issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimHeld {
    /// The commit that the claim's ref is at as long as nobody else has taken the issue over.
    pub id: String,
    /// Its epoch.
    pub epoch: u64,
    /// When it was written.
    pub at: Timestamp,
}

/// The words of an issue that a run was allowed to start with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedText {
    /// Which words they are; see [`text_id`](super::text_id).
    pub id: String,
    /// Whether somebody with write permission stands for these words only, and not for whatever the
    /// author makes of them later.
    pub approved: bool,
}

/// An attempt that is over, of a run that got another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Which attempt.
    pub attempt: u32,
    /// How it ended: `failed` or `timed_out`, or `lost` if its supervisor was.
    pub outcome: Outcome,
    /// Why, in one line.
    pub why: String,
    /// When that was seen.
    pub at: Timestamp,
    /// US dollars, by the agent's own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// The pause before a run's next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// When it began.
    pub since: Timestamp,
    /// How long it is, in seconds.
    pub secs: u64,
    /// The boot during which `up_secs` means something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When it began, in seconds since the machine's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_secs: Option<i64>,
}

/// One run, from claim to archive. This is the content of `task.json`, and of the archived record
/// once `ended` and `ended_at` are set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Format of the file; see [`CURRENT_VERSION`].
    pub version: u32,
    /// The run's id.
    pub run: RunId,
    /// The worker that has it.
    pub worker: WorkerId,
    /// What it is for.
    pub kind: Kind,
    /// The repository.
    pub repo: RepoSlug,
    /// The issue, if it has one.
    pub issue: Option<IssueNumber>,
    /// The issue's title, for people; hostile text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The issue's words as they were when they were last allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<AllowedText>,
    /// The beginning of the prompt that a person gave, if one did. The whole is in `request.txt`.
    pub prompt: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// The executor's name.
    pub executor: String,
    /// The branch that is to be published.
    pub branch: Option<BranchName>,
    /// The branch that it starts from: the remote's default branch.
    pub base: Option<BranchName>,
    /// The commit that it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_sha: Option<String>,
    /// 1 for the first time that this run is started, 2 after it was taken up again, ….
    pub attempt: u32,
    /// When the present attempt was begun, if it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_at: Option<Timestamp>,
    /// How often its supervisor was lost under it since a person last started it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub losses: u32,
    /// How often its agent failed, or ran into a limit, since a person last started it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// How often what its agent left was looked at in vain, for faults of this machine.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub looks: u32,
    /// The attempts that are over, as long as there is another. The latest ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// The pause before the next attempt, if it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Where it is.
    pub phase: Phase,
    /// When it came there.
    pub phase_at: Timestamp,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// The supervisor.
    pub pid: Option<u32>,
    /// The supervisor's start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub pid_start: Option<u64>,
    /// The boot during which the PID means something.
    pub boot_id: Option<String>,
    /// The control group of the supervisor and of what it has started, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// The agent's conversation.
    pub session_id: Option<String>,
    /// Whether the agent carries that conversation on, rather than beginning it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resume: bool,
    /// The limits that apply.
    #[serde(default)]
    pub limits: Limits,
    /// The wall around the agent.
    #[serde(default)]
    pub sandbox: JailMode,
    /// What the agent reaches of the network.
    #[serde(default = "the_only_network")]
    pub network: NetworkMode,
    /// The issue's claim on the remote, as this host last wrote it (or was just about to).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimHeld>,
    /// The worker of a host that is gone, whose label this run's end takes off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relieves: Option<WorkerId>,
    /// What the agent's process said, after `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentReport>,
    /// What was found in the clone, after `verifying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// How it ended, decided at the end of `verifying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// The pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pr: Option<PullRef>,
    /// The issues that it filed, by the names of their files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filed: Vec<Filed>,
    /// Whether `worker:NN` and `blocked` were really put on the issue at the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub labels_left: bool,
    /// When the issue had last changed as they were on it, by GitHub's clock. `None`: it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled_at: Option<Timestamp>,
    /// What of the ending could not be brought to GitHub, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsaid: Vec<String>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// By how many seconds the clock was set while the present attempt was under way: ahead, or back
    /// (negative).
    #[serde(default, skip_serializing_if = "is_not_set")]
    pub clock_set_secs: i64,
    /// Whether a person has cleared it with `reset` since; kept beside the record, which does not
    /// change any more.
    #[serde(skip)]
    pub cleared: bool,
}

/// So many of the attempts are kept.
const MOST_TRIED: usize = 20;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
pub(super) fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_not_set(secs: &i64) -> bool {
    *secs == 0
}

impl Run {
    /// `octo/app#22`, or `octo/app` for a run without an issue.
    #[must_use]
    pub fn subject(&self) -> String {
        match self.issue {
            Some(issue) => format!("{}#{issue}", self.repo),
            None => self.repo.to_string(),
        }
    }

    /// The outcome, once there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.ended.as_ref().map(|e| e.outcome)
    }

    /// What a run is that nobody works on: `stopped` by a person, `waiting` for its next attempt, or
    /// else `crashed`.
    #[must_use]
    pub fn lies(&self) -> &'static str {
        match (self.outcome(), &self.pause) {
            (Some(Outcome::Stopped), _) => "stopped",
            (_, Some(_)) => "waiting",
            _ => "crashed",
        }
    }

    /// The executor and its model, for people.
    #[must_use]
    pub fn agent_name(&self) -> String {
        match &self.model {
            Some(model) => format!("{}, {model}", self.executor),
            None => self.executor.clone(),
        }
    }

    /// The stem of the file names in the archive: `<owner>-<repo>-<issue|prompt>-<run>`.
    #[must_use]
    pub fn archive_stem(&self) -> String {
        let subject = self.issue.map_or_else(|| "prompt".to_owned(), |n| n.to_string());
        format!("{}-{}-{subject}-{}", self.repo.owner(), self.repo.name(), self.run)
    }

    /// Begins another attempt at it, in the phase that its supervisor starts in.
    pub fn begin_again(&mut self, now: Timestamp) {
        self.attempt = self.attempt.saturating_add(1);
        (self.clock_set_secs, self.looks) = (0, 0);
        self.attempt_at = Some(now);
        self.pause = None;
        self.phase = Phase::Preparing;
    }

    /// Keeps how the present attempt ended, since it is not the last.
    pub fn was_tried(&mut self, ended: &Ended, at: Timestamp) {
        // Nobody reads more, and a record has a largest size.
        if self.tried.len() >= MOST_TRIED {
            self.tried.remove(0);
        }
        self.tried.push(Tried {
            attempt: self.attempt,
            outcome: ended.outcome,
            why: text::one_line(&ended.why, 300),
            at,
            cost_usd: self.agent.as_ref().and_then(|agent| agent.cost_usd),
        });
    }

    /// When the present attempt was begun: a run that lay stopped over night has not worked since.
    #[must_use]
    pub fn working_since(&self) -> Timestamp {
        self.attempt_at.unwrap_or(self.started_at)
    }

    /// Whole minutes of the last attempt, rounded up, once it is over.
    #[must_use]
    pub fn minutes(&self) -> Option<i64> {
        minutes(self.working_since(), self.ended_at?, self.clock_set_secs)
    }
}

/// Whole minutes between two times, rounded up, if the clock was set in between by so many seconds.
#[must_use]
pub fn minutes(from: Timestamp, to: Timestamp, clock_set_secs: i64) -> Option<i64> {
    let set = SignedDuration::from_secs(clock_set_secs);
    let took = to.duration_since(from).saturating_sub(set).as_millis().max(0);
    i64::try_from((took + 59_999) / 60_000).ok()
}
