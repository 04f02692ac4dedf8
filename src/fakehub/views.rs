//! What there is on this GitHub now, for assertions and for people.

use std::path::PathBuf;

use super::setup::{repo_at, unknown};
use super::state::Issue;
use super::{Exchange, FakeHub, FakeHubError, api};

/// An issue or a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueView {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text; empty if it has none.
    pub body: String,
    /// The login of whoever opened it.
    pub author: String,
    /// Whether it is open.
    pub open: bool,
    /// Whether it is a pull request.
    pub is_pull: bool,
    /// The names of its labels, in the order in which they were put on.
    pub labels: Vec<String>,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullView {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text; empty if it has none.
    pub body: String,
    /// The login of whoever opened it.
    pub author: String,
    /// The branch that is to be merged.
    pub head: String,
    /// The branch that it is to be merged into.
    pub base: String,
    /// The commit that `head` stands at.
    pub head_sha: String,
    /// Whether it is open.
    pub open: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// Its page for people.
    pub url: String,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentView {
    /// Its id.
    pub id: u64,
    /// The login of whoever wrote it.
    pub author: String,
    /// Its text.
    pub body: String,
}

/// A label that a repository defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelView {
    /// Its name.
    pub name: String,
    /// Six hexadecimal digits in lower case.
    pub color: String,
    /// Its description.
    pub description: Option<String>,
}

impl FakeHub {
    /// All issues and pull requests of a repository, by number.
    pub fn issues(&self, slug: &str) -> Result<Vec<IssueView>, FakeHubError> {
        let state = self.lock();
        let repo = repo_at(&state, slug)?;
        let view = |issue: &Issue| IssueView {
            number: issue.number,
            title: issue.title.clone(),
            body: issue.body.clone().unwrap_or_default(),
            author: issue.author.clone(),
            open: issue.open,
            is_pull: issue.pull.is_some(),
            labels: issue.labels.clone(),
        };
        Ok(state.repos[repo].issues.values().map(view).collect())
    }

    /// One issue or pull request.
    pub fn issue(&self, slug: &str, number: u64) -> Result<IssueView, FakeHubError> {
        let found = self.issues(slug)?.into_iter().find(|issue| issue.number == number);
        found.ok_or_else(|| unknown("issue", format!("{slug}#{number}")))
    }

    /// The names of an issue's labels.
    pub fn labels_of(&self, slug: &str, number: u64) -> Result<Vec<String>, FakeHubError> {
        Ok(self.issue(slug, number)?.labels)
    }

    /// The pull requests of a repository, by number, as their branches stand now.
    pub fn pulls(&self, slug: &str) -> Result<Vec<PullView>, FakeHubError> {
        let mut state = self.lock();
        let repo = repo_at(&state, slug)?;
        api::follow_branches(&mut state, repo)
            .map_err(|source| FakeHubError::Git { repo: slug.to_owned(), source })?;
        let page = format!("{}/{}/pull", state.server, state.repos[repo].full_name());
        let view = |issue: &Issue| {
            let pull = issue.pull.as_ref()?;
            Some(PullView {
                number: issue.number,
                title: issue.title.clone(),
                body: issue.body.clone().unwrap_or_default(),
                author: issue.author.clone(),
                head: pull.head.clone(),
                base: pull.base.clone(),
                head_sha: pull.head_sha.clone(),
                open: issue.open,
                merged: pull.merged.is_some(),
                draft: pull.draft,
                url: format!("{page}/{}", issue.number),
            })
        };
        Ok(state.repos[repo].issues.values().filter_map(view).collect())
    }

    /// What a pull request changes, as `git diff` prints it.
    pub fn pull_diff(&self, slug: &str, number: u64) -> Result<String, FakeHubError> {
        let state = self.lock();
        let repo = &state.repos[repo_at(&state, slug)?];
        let pull = repo.issues.get(&number).and_then(|issue| issue.pull.as_ref());
        let pull = pull.ok_or_else(|| unknown("pull request", format!("{slug}#{number}")))?;
        let diff = state.git.diff(&repo.git, &pull.base_sha, &pull.head_sha);
        diff.map_err(|source| FakeHubError::Git { repo: slug.to_owned(), source })
    }

    /// The comments on an issue or a pull request, oldest first.
    pub fn comments(&self, slug: &str, number: u64) -> Result<Vec<CommentView>, FakeHubError> {
        let state = self.lock();
        let repo = &state.repos[repo_at(&state, slug)?];
        let issue = repo.issues.get(&number);
        let issue = issue.ok_or_else(|| unknown("issue", format!("{slug}#{number}")))?;
        let comments = issue.comments.iter().map(|c| CommentView {
            id: c.id,
            author: c.author.clone(),
            body: c.body.clone(),
        });
        Ok(comments.collect())
    }

    /// The labels that a repository defines, in the order in which they were made.
    pub fn labels(&self, slug: &str) -> Result<Vec<LabelView>, FakeHubError> {
        let state = self.lock();
        let labels = state.repos[repo_at(&state, slug)?].labels.iter().map(|l| LabelView {
            name: l.name.clone(),
            color: l.color.clone(),
            description: l.description.clone(),
        });
        Ok(labels.collect())
    }

    /// Where a repository's bare git repository is.
    pub fn repo_dir(&self, slug: &str) -> Result<PathBuf, FakeHubError> {
        let state = self.lock();
        let repo = repo_at(&state, slug)?;
        Ok(state.git.root.join(&state.repos[repo].git))
    }

    /// Everything that was asked and answered since the start, or since it was last forgotten.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.lock().exchanges.clone()
    }
}
