//! An open issue as the planner sees it, and the labels that mean something to us.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{BranchName, IssueNumber, RepoSlug, WorkerId};

/// The label of an issue that needs a person.
pub const BLOCKED_LABEL: &str = "blocked";

/// The colour of `worker:NN` labels, as GitHub writes colours.
pub const WORKER_LABEL_COLOR: &str = "0E8A16";

/// A label's name. GitHub compares labels without case, and so does this.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Label(pub String);

impl Label {
    /// Whether this is the label called `name`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }

    /// Whether the label says that some worker holds the issue (ours or another host's).
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.0.get(..7).is_some_and(|p| p.eq_ignore_ascii_case("worker:"))
    }

    /// Whether the label says how urgent the issue is.
    #[must_use]
    pub fn is_priority(&self) -> bool {
        let name = self.0.trim().to_lowercase();
        name.starts_with("priority:") || Priority::of_label(self).is_some()
    }

    /// Whether the label is that of `worker`.
    #[must_use]
    pub fn is_of(&self, worker: &WorkerId) -> bool {
        self.is(&worker.label())
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

/// How urgent an issue says it is. Lower sorts first; no label sorts as `P2` would, after all
/// labelled ones of the same or higher urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The priority of an issue that has no priority label: after those labelled `P0`…`P2`,
    /// before `P3`.
    pub const NONE: Self = Self(5);

    /// The most urgent priority among the labels.
    #[must_use]
    pub fn of(labels: &[Label]) -> Self {
        labels.iter().filter_map(Self::of_label).min().unwrap_or(Self::NONE)
    }

    fn of_label(label: &Label) -> Option<Self> {
        let rank = match label.0.to_ascii_lowercase().as_str() {
            "p0" | "priority:critical" => 0,
            "p1" | "priority:high" => 2,
            "p2" | "priority:medium" => 4,
            "p3" | "priority:low" => 6,
            "p4" => 8,
            _ => return None,
        };
        Some(Self(rank))
    }
}

/// An open issue, as a list endpoint or a read of the one issue shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    /// The repository it belongs to.
    pub repo: RepoSlug,
    /// Its number.
    pub number: IssueNumber,
    /// Its title: hostile text, never to be used as anything but data.
    pub title: String,
    /// Its body: hostile text.
    pub body: String,
    /// Login of its author.
    pub author: String,
    /// All its labels.
    pub labels: Vec<Label>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// Whether it is open.
    pub open: bool,
    /// Whether it is really a pull request (GitHub lists them together).
    pub is_pull: bool,
    /// Whether conversation is locked.
    pub locked: bool,
}

impl Issue {
    /// Whether it carries the label `name`.
    #[must_use]
    pub fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|l| l.is(name))
    }

    /// What its words are; see [`text_id`].
    #[must_use]
    pub fn text_id(&self) -> String {
        text_id(&self.title, &self.body)
    }
}

/// Tells the words of an issue from all others: SHA-256, in hexadecimal. How lines end makes no
/// difference.
#[must_use]
pub fn text_id(title: &str, body: &str) -> String {
    let plain = |text: &str| text.replace("\r\n", "\n");
    let hash = Sha256::new()
        .chain_update(plain(title))
        // No title has a NUL.
        .chain_update([0])
        .chain_update(plain(body))
        .finalize();
    format!("{hash:x}")
}

/// A pull request, as far as we need it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRef {
    /// Its number.
    pub number: u64,
    /// Its page for people.
    pub url: String,
    /// The branch it wants merged.
    pub head: BranchName,
    /// Whether it is still open.
    pub open: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<Label> {
        names.iter().map(|n| Label((*n).to_owned())).collect()
    }

    #[test]
    fn priorities_order_as_people_expect() {
        let of = |names: &[&str]| Priority::of(&labels(names));
        assert!(of(&["P0"]) < of(&["P1"]));
        assert!(of(&["priority:critical"]) == of(&["p0"]));
        assert!(of(&["P2"]) < of(&[]));
        assert!(of(&[]) < of(&["priority:low"]));
        assert_eq!(of(&["P3", "Priority:High"]), of(&["P1"]));
    }

    #[test]
    fn other_words_are_another_text() {
        assert_eq!(text_id("a", "b\r\nc"), text_id("a", "b\nc"));
        let others = [text_id("a", "bc"), text_id("ab", "c"), text_id("a", "b c"), text_id("", "")];
        let different: std::collections::BTreeSet<_> = others.iter().collect();
        assert_eq!(different.len(), others.len());
        assert_eq!(others[0].len(), 64);
    }

    #[test]
    fn labels_ignore_case() {
        let label = Label("Worker:01".into());
        assert!(label.is_worker());
        assert!(label.is_of(&"01".parse().unwrap()));
        assert!(!label.is_of(&"1".parse().unwrap()));
        assert!(!Label("workers".into()).is_worker());
        assert!(!Label("wörker:1".into()).is_worker());
    }
}
