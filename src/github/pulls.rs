//! Pull requests.

use serde_json::json;

use super::address::encode;
use super::repos::repo_path;
use super::transport::Ask;
use super::{Error, GitHub, wire};
use crate::domain::{BranchName, PullRef, RepoSlug};

/// A pull request to be opened, within one repository.
#[derive(Debug, Clone, Copy)]
pub struct NewPull<'a> {
    /// The branch to be merged.
    pub head: &'a BranchName,
    /// The branch to merge into.
    pub base: &'a BranchName,
    /// The title.
    pub title: &'a str,
    /// The body, Markdown.
    pub body: &'a str,
}

impl GitHub {
    /// The pull requests from `head` of this repository itself, open, merged and closed.
    pub async fn pulls_by_head(
        &self,
        repo: &RepoSlug,
        head: &BranchName,
    ) -> Result<Vec<PullRef>, Error> {
        let pulls = self.wire_pulls(repo, head).await?;
        Ok(pulls.into_iter().map(|p| p.into_domain(head)).collect())
    }

    /// The pull request from `head` of this repository itself that brings `commit`, be it open, merged
    /// or closed.
    pub async fn pull_of_commit(
        &self,
        repo: &RepoSlug,
        head: &BranchName,
        commit: &str,
    ) -> Result<Option<PullRef>, Error> {
        let pulls = self.wire_pulls(repo, head).await?;
        Ok(pulls.into_iter().find(|p| p.is_at(commit)).map(|p| p.into_domain(head)))
    }

    /// Opens a pull request; if there is an open one for the same two branches, returns that one
    /// unchanged.
    ///
    /// # Errors
    /// [`Error::Unprocessable`] if GitHub will not have it (no commits between the branches, no
    /// such branch), and whatever a write can meet.
    pub async fn create_pull(&self, repo: &RepoSlug, new: NewPull<'_>) -> Result<PullRef, Error> {
        let body = json!({
            "head": new.head, "base": new.base, "title": new.title, "body": new.body,
        });
        let url = self.url(&format!("{}/pulls", repo_path(repo)));
        let what = format!("a pull request of {repo} from {}", new.head);
        let refused = match self.fetch::<wire::Pull>(&Ask::create(url, what, body)).await {
            Ok(pull) => return Ok(pull.into_domain(new.head)),
            Err(error) => error,
        };
        if matches!(&refused, Error::Unprocessable { message, .. } if is_there(message)) {
            let pulls = self.wire_pulls(repo, new.head).await?;
            if let Some(open) = pulls.into_iter().find(|p| p.is_open() && p.is_into(new.base)) {
                return Ok(open.into_domain(new.head));
            }
        }
        Err(refused)
    }

    async fn wire_pulls(
        &self,
        repo: &RepoSlug,
        head: &BranchName,
    ) -> Result<Vec<wire::Pull>, Error> {
        let filter = format!("{}%3A{}", encode(repo.owner()), encode(head.as_str()));
        let path = format!("{}/pulls?state=all&head={filter}&per_page=100", repo_path(repo));
        let what = format!("the pull requests of {repo} from {head}");
        let mut pulls: Vec<wire::Pull> = self.all(&path, &what).await?;
        // A filter that GitHub does not understand is ignored by it: check.
        pulls.retain(|p| p.is_from(repo, head));
        Ok(pulls)
    }
}

fn is_there(message: &str) -> bool {
    message.to_ascii_lowercase().contains("pull request already exists")
}
