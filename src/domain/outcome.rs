//! How a run ended, and what it was seen to have done.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::run::is_zero;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The pull request is there, or the task needed none.
    Succeeded,
    /// It was tried and did not work.
    Failed,
    /// The agent handed it back: a person is needed.
    Deferred,
    /// A limit (wall clock or silence) ended it.
    TimedOut,
    /// It never came to the agent: sandbox, clone, disk or network.
    NotStarted,
    /// A person stopped it.
    Stopped,
    /// The supervisor died under it.
    Lost,
}

impl Outcome {
    /// Every outcome, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Deferred,
        Self::TimedOut,
        Self::NotStarted,
        Self::Stopped,
        Self::Lost,
    ];

    /// The word used in files and on the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::TimedOut => "timed_out",
            Self::NotStarted => "not_started",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }

    /// Whether the agent tried and did not come to an end of its own.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// Whether a person has to look before the issue may be taken again.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::Failed | Self::Deferred | Self::TimedOut | Self::Stopped | Self::Lost)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|o| o.as_str() == s).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|o| o.as_str()).collect();
            format!("{s:?} is not an outcome; the outcomes are {}", all.join(", "))
        })
    }
}

/// How a run ended, decided once and then carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in words for people.
    pub why: String,
}

/// What the agent's process and its output said. Words of the agent: reported, not believed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentReport {
    /// Exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether its output holds a final event that says success (always true for commands whose
    /// output has no such events, when they exit 0).
    pub claimed_success: bool,
    /// Which limit ended it, in words, if one did.
    pub limit: Option<String>,
    /// Why the run never came to the agent, if it did not.
    pub not_started: Option<String>,
    /// A person (or the machine's shutdown) asked for the end.
    pub stopped: bool,
    /// The agent's last words, at most 16 KiB.
    pub last_words: Option<String>,
    /// Tools that the agent was not allowed to use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    /// US dollars, by the agent's own account.
    pub cost_usd: Option<f64>,
    /// Turns of the conversation.
    pub turns: Option<u64>,
    /// Milliseconds from start to end.
    pub duration_ms: u64,
}

/// What was found in the clone after the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Work {
    /// The commit at the tip of the branch, in hexadecimal, if there is anything to publish.
    pub head: Option<String>,
    /// Commits that the branch has over its base.
    pub commits: u64,
    /// Whether changes were left uncommitted (they are kept as a patch).
    pub uncommitted: bool,
    /// Title and body of the pull request, if the agent left them.
    pub pr_text: Option<(String, String)>,
    /// A comment that the agent left.
    pub comment: Option<String>,
    /// Why the agent says a person is needed.
    pub blocked: Option<String>,
    /// The text of a run that hands in words: the report, or what it says beside its issues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Issues that it left to be filed. Their texts are not in the record, but beside it.
    #[serde(skip_serializing_if = "is_zero")]
    pub drafts: u32,
    /// Files that it left as issues and that cannot be filed; the notes say why.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// What in the outbox could not be used, and why.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_words_are_the_same_in_files_and_on_the_terminal() {
        for outcome in Outcome::ALL {
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("\"{outcome}\""));
            assert_eq!(outcome.as_str().parse::<Outcome>().unwrap(), outcome);
        }
    }
}
