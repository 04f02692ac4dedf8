//! Who may start work: people with write permission, directly or by approving.

use std::collections::BTreeMap;

use crate::config::{Settings, Trust};
use crate::domain::{Issue, RepoSlug};
use crate::github::{Error, GitHub};

/// Whose words an issue's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// Of somebody who may start work.
    Trusted,
    /// A stranger's, let in by somebody who may.
    Approved,
    /// They may not start work; why.
    Refused(String),
}

/// Asks for permissions, each person once for each repository.
#[derive(Debug)]
pub(super) struct Trusted<'a> {
    github: &'a GitHub,
    known: BTreeMap<(RepoSlug, String), bool>,
}

impl<'a> Trusted<'a> {
    pub(super) fn new(github: &'a GitHub) -> Self {
        Self { github, known: BTreeMap::new() }
    }

    /// Whether `login` may write to `repo`. An error means no to the caller, never yes.
    pub(super) async fn may_write(&mut self, repo: &RepoSlug, login: &str) -> Result<bool, Error> {
        // A person owns what is under the own name; organizations write no issues.
        if login.eq_ignore_ascii_case(repo.owner()) {
            return Ok(true);
        }
        let key = (repo.clone(), login.to_ascii_lowercase());
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let may = self.github.permission(repo, login).await?.may_write();
        self.known.insert(key, may);
        Ok(may)
    }

    /// Whether the issue may start work.
    pub(super) async fn judge(
        &mut self,
        issue: &Issue,
        settings: &Settings,
    ) -> Result<Judged, Error> {
        if settings.trust == Trust::Anyone {
            return Ok(Judged::Trusted);
        }
        if self.may_write(&issue.repo, &issue.author).await? {
            return Ok(Judged::Trusted);
        }
        let (author, approval) = (&issue.author, &settings.approval_label);
        if !issue.has_label(approval) {
            return Ok(Judged::Refused(format!(
                "{author} has no write permission, and nobody approved it with the label {approval}"
            )));
        }
        let by = self.github.who_labelled(&issue.repo, issue.number, approval).await?;
        let by = by.map(|labelled| labelled.by);
        match by {
            Some(login) if self.may_write(&issue.repo, &login).await? => Ok(Judged::Approved),
            Some(login) => Ok(Judged::Refused(format!(
                "{author} has no write permission, and {login}, who put the label {approval} on, \
                 has none either"
            ))),
            None => {
                Ok(Judged::Refused(format!("nobody can be found who put the label {approval} on")))
            }
        }
    }
}
