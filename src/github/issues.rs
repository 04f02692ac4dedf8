//! One issue and what was said about it.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::address::encode;
use super::repos::repo_path;
use super::transport::Ask;
use super::{Error, GitHub, wire};
use crate::domain::{Issue, IssueNumber, RepoSlug};

/// A comment on an issue or pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id, for [`GitHub::update_comment`].
    pub id: u64,
    /// Login of its author; `ghost` if the account is deleted.
    pub author: String,
    /// Whether GitHub says that the author is a bot.
    pub is_bot: bool,
    /// Its text: hostile.
    pub body: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// Its page for people.
    pub url: String,
}

/// The path of an issue's things.
pub(super) fn issue_path(repo: &RepoSlug, number: IssueNumber) -> String {
    format!("{}/issues/{number}", repo_path(repo))
}

impl GitHub {
    /// One issue with its body, always read afresh.
    ///
    /// # Errors
    /// [`Error::Moved`] if it is in another repository now, [`Error::Gone`] if it was deleted, and
    /// whatever a read can meet.
    pub async fn issue(&self, repo: &RepoSlug, number: IssueNumber) -> Result<Issue, Error> {
        let ask = Ask::get(self.url(&issue_path(repo, number)), format!("{repo}#{number}"));
        let found: wire::WholeIssue = self.fetch_named(&ask).await?;
        let there = found.repo().unwrap_or_else(|| repo.clone());
        let issue = found
            .into_domain(there, Option::unwrap_or_default)
            .map_err(|e| self.bad_answer(&ask.what, &e.to_string()))?;
        if issue.repo != *repo || issue.number != number {
            let to = format!("{}#{}", issue.repo, issue.number);
            return Err(Error::Moved { what: ask.what, to });
        }
        Ok(issue)
    }

    /// The issues (no pull requests) that `creator` opened and that changed at or after `since`, open
    /// and closed, with their bodies; the newest first. Always read afresh.
    pub async fn issues_by(
        &self,
        repo: &RepoSlug,
        creator: &str,
        since: Timestamp,
    ) -> Result<Vec<Issue>, Error> {
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let path = format!(
            "{}/issues?state=all&creator={}&since={since}&per_page=100",
            repo_path(repo),
            encode(creator)
        );
        let what = format!("the issues of {repo} by {creator}");
        let found: Vec<wire::WholeIssue> = self.all(&path, &what).await?;
        let issues = found.into_iter().filter(|issue| !issue.is_pull());
        let issues = issues.map(|i| i.into_domain(repo.clone(), Option::unwrap_or_default));
        let mut issues: Vec<Issue> =
            issues.collect::<Result<_, _>>().map_err(|e| self.bad_answer(&what, &e.to_string()))?;
        // A filter that GitHub does not understand is ignored by it: check.
        issues.retain(|issue| issue.author.eq_ignore_ascii_case(creator));
        Ok(issues)
    }

    /// Opens an issue. GitHub leaves `labels` out, and does not say so, if this token's user may not
    /// push: look at those of the answer.
    pub async fn create_issue(
        &self,
        repo: &RepoSlug,
        title: &str,
        body: &str,
        labels: &[String],
    ) -> Result<Issue, Error> {
        let url = self.url(&format!("{}/issues", repo_path(repo)));
        let what = format!("a new issue of {repo}");
        let content = json!({ "title": title, "body": body, "labels": labels });
        let ask = Ask::create(url, &what, content);
        let made: wire::WholeIssue = self.fetch(&ask).await?;
        made.into_domain(repo.clone(), Option::unwrap_or_default)
            .map_err(|e| self.bad_answer(&what, &e.to_string()))
    }

    /// The comments that were written or changed at or after `since` (`None`: all), oldest first, each
    /// once: a list that changes while it is read can show one on two pages.
    pub async fn comments(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, Error> {
        let since = since.map(|at| at.strftime("&since=%Y-%m-%dT%H:%M:%SZ").to_string());
        let since = since.unwrap_or_default();
        let path = format!("{}/comments?per_page=100{since}", issue_path(repo, number));
        let what = format!("the comments of {repo}#{number}");
        let comments: Vec<wire::Comment> = self.all(&path, &what).await?;
        let mut seen = BTreeSet::new();
        let comments = comments.into_iter().map(Comment::from);
        Ok(comments.filter(|comment| seen.insert(comment.id)).collect())
    }

    /// Writes a comment.
    pub async fn create_comment(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        body: &str,
    ) -> Result<Comment, Error> {
        let url = self.url(&format!("{}/comments", issue_path(repo, number)));
        let what = format!("a comment on {repo}#{number}");
        let ask = Ask::create(url, what, json!({ "body": body }));
        Ok(self.fetch::<wire::Comment>(&ask).await?.into())
    }

    /// Removes a comment; one that is not there is removed already.
    pub async fn delete_comment(&self, repo: &RepoSlug, id: u64) -> Result<(), Error> {
        let url = self.url(&format!("{}/issues/comments/{id}", repo_path(repo)));
        let what = format!("comment {id} of {repo}");
        match self.send(&Ask::write(Method::DELETE, url, what, None)).await {
            Err(Error::NotFound { .. } | Error::Gone { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Replaces the text of a comment.
    pub async fn update_comment(
        &self,
        repo: &RepoSlug,
        id: u64,
        body: &str,
    ) -> Result<Comment, Error> {
        let url = self.url(&format!("{}/issues/comments/{id}", repo_path(repo)));
        let what = format!("comment {id} of {repo}");
        let ask = Ask::write(Method::PATCH, url, what, Some(json!({ "body": body })));
        Ok(self.fetch::<wire::Comment>(&ask).await?.into())
    }
}
