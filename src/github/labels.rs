//! Labels: on the repository, on an issue, and who put them there.

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::address::encode;
use super::disk::Shelf;
use super::issues::issue_path;
use super::repos::repo_path;
use super::transport::Ask;
use super::{Error, GitHub, wire};
use crate::domain::{IssueNumber, Label, RepoSlug};

/// Who put a label on an issue, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The login.
    pub by: String,
    /// By GitHub's clock, in whole seconds.
    pub at: Timestamp,
}

impl GitHub {
    /// Who put `label` on the issue last, if it has not been taken off since. Nothing too if that
    /// person's account is deleted.
    pub async fn who_labelled(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        label: &str,
    ) -> Result<Option<Labelled>, Error> {
        let last = self.label_events(repo, number, label).await?.pop();
        let on = last.filter(|event| event.kind == "labeled");
        Ok(on.and_then(|on| Some(Labelled { by: on.actor?.login, at: on.created_at })))
    }

    /// Whether `label` is or ever was on the issue.
    pub async fn was_labelled(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        label: &str,
    ) -> Result<bool, Error> {
        Ok(!self.label_events(repo, number, label).await?.is_empty())
    }

    /// How `label` came on and off the issue, oldest first.
    async fn label_events(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        label: &str,
    ) -> Result<Vec<wire::Event>, Error> {
        let path = format!("{}/events?per_page=100", issue_path(repo, number));
        let what = format!("the events of {repo}#{number}");
        let mut events: Vec<wire::Event> = self.all(&path, &what).await?;
        events.retain(|event| {
            let about = event.label.clone().is_some_and(|l| Label::from(l).is(label));
            about && matches!(event.kind.as_str(), "labeled" | "unlabeled")
        });
        // In the order of their ids already; the sort keeps that order within a second.
        events.sort_by_key(|e| e.created_at);
        Ok(events)
    }

    /// The labels that the repository has.
    pub async fn repo_labels(&self, repo: &RepoSlug) -> Result<Vec<Label>, Error> {
        let path = format!("{}/labels?per_page=100", repo_path(repo));
        let labels: Vec<wire::Label> = self.all(&path, &format!("the labels of {repo}")).await?;
        Ok(labels.into_iter().map(Into::into).collect())
    }

    /// Makes sure that the repository has the label. `color` is six hexadecimal digits. A label
    /// that is there is not changed. Asked once for each repository and token: it is remembered.
    pub async fn ensure_label(
        &self,
        repo: &RepoSlug,
        name: &str,
        color: &str,
        description: &str,
    ) -> Result<(), Error> {
        let memory = format!("labels of {repo}");
        let mut known: Vec<Label> = self.disk.load(Shelf::Memory, &memory).unwrap_or_default();
        if known.iter().any(|l| l.is(name)) {
            return Ok(());
        }
        let url = self.url(&format!("{}/labels", repo_path(repo)));
        let body = json!({ "name": name, "color": color, "description": description });
        let ask = Ask::write(Method::POST, url, format!("the label {name} of {repo}"), Some(body));
        match self.send(&ask).await {
            Err(Error::Unprocessable { codes, .. }) if codes.iter().any(|c| is_there(c)) => {}
            // Not every server of this API says why.
            Err(refused @ Error::Unprocessable { .. }) => {
                let label = self.url(&format!("{}/labels/{}", repo_path(repo), encode(name)));
                if self.send(&Ask::get(label, &ask.what)).await.is_err() {
                    return Err(refused);
                }
            }
            other => drop(other?),
        }
        known.push(Label(name.to_owned()));
        self.disk.store(Shelf::Memory, &memory, known);
        Ok(())
    }

    /// Puts a label on the issue and returns all that it has then.
    pub async fn add_label(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        name: &str,
    ) -> Result<Vec<Label>, Error> {
        let url = self.url(&format!("{}/labels", issue_path(repo, number)));
        let what = format!("the label {name} on {repo}#{number}");
        let ask = Ask::write(Method::POST, url, what, Some(json!({ "labels": [name] })));
        let labels: Vec<wire::Label> = self.fetch(&ask).await?;
        Ok(labels.into_iter().map(Into::into).collect())
    }

    /// Takes a label off the issue; one that is not there is off already.
    pub async fn remove_label(
        &self,
        repo: &RepoSlug,
        number: IssueNumber,
        name: &str,
    ) -> Result<(), Error> {
        let url = self.url(&format!("{}/labels/{}", issue_path(repo, number), encode(name)));
        let what = format!("the label {name} on {repo}#{number}");
        match self.send(&Ask::write(Method::DELETE, url, what, None)).await {
            // The label may be absent, or the issue, or our access to it: only the first is well.
            Err(error @ Error::NotFound { .. }) => match self.issue(repo, number).await {
                Ok(issue) if !issue.has_label(name) => Ok(()),
                Ok(_) => Err(error),
                Err(other) => Err(other),
            },
            other => other.map(drop),
        }
    }
}

fn is_there(code: &str) -> bool {
    code == "already_exists"
}
