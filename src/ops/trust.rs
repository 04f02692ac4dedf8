//! Who may start work, and with which words: people with write permission, directly or by approving
//! what a stranger wrote.

use std::collections::BTreeMap;

use crate::config::{Settings, Trust};
use crate::domain::{AllowedText, Issue, RepoSlug};
use crate::github::{Error, GitHub};

/// Whether an issue may start work.
#[derive(Debug)]
pub(super) enum Standing {
    /// Its author may: with whatever the author writes.
    Author,
    /// Somebody else approved just these words; see [`text_id`](crate::domain::text_id).
    Words(String),
    /// No, and why.
    Refused(String),
}

/// Asks for permissions, each person once for each repository.
#[derive(Debug)]
pub(super) struct Trusted<'a> {
    github: &'a GitHub,
    settings: &'a Settings,
    known: BTreeMap<(RepoSlug, String), bool>,
}

impl<'a> Trusted<'a> {
    pub(super) fn new(github: &'a GitHub, settings: &'a Settings) -> Self {
        Self { github, settings, known: BTreeMap::new() }
    }

    /// Whether `login` may write to `repo`. An error means no to the caller, never yes.
    pub(super) async fn may_write(&mut self, repo: &RepoSlug, login: &str) -> Result<bool, Error> {
        // A person owns what is under the own name; organizations write no issues.
        if login.eq_ignore_ascii_case(repo.owner()) {
            return Ok(true);
        }
        // What rights an app has says nothing about whose words it passes on.
        if login.ends_with(BOT) && !self.settings.bots.iter().any(|b| b.eq_ignore_ascii_case(login))
        {
            return Ok(false);
        }
        let key = (repo.clone(), login.to_ascii_lowercase());
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let may = self.github.permission(repo, login).await?.may_write();
        self.known.insert(key, may);
        Ok(may)
    }

    /// Whether the issue may start work. An error means no to the caller.
    pub(super) async fn standing(&mut self, issue: &Issue) -> Result<Standing, Error> {
        let (author, approval) = (&issue.author, &self.settings.approval_label);
        if self.settings.trust == Trust::Anyone || self.may_write(&issue.repo, author).await? {
            return Ok(Standing::Author);
        }
        let refused = |why: String| Ok(Standing::Refused(why));
        if !issue.has_label(approval) {
            return refused(format!(
                "{author} has no write permission, and nobody approved it with the label {approval}"
            ));
        }
        let labelled = self.github.who_labelled(&issue.repo, issue.number, approval).await?;
        let Some(labelled) = labelled else {
            return refused(format!("nobody can be found who put the label {approval} on"));
        };
        if !self.may_write(&issue.repo, &labelled.by).await? {
            return refused(format!(
                "{author} has no write permission, and {}, who put the label {approval} on, has \
                 none either",
                labelled.by
            ));
        }
        let words = self.github.words(&issue.repo, issue.number).await?;
        // Within one second nobody knows which came first.
        if words.changed_at.is_some_and(|changed| changed >= labelled.at) {
            return refused(format!(
                "it was edited after {} put the label {approval} on: who has read it again takes \
                 the label off and puts it on anew",
                labelled.by
            ));
        }
        Ok(Standing::Words(words.id))
    }

    /// Whether a run that was allowed for `text` may go on with the words that the issue has now.
    pub(super) async fn still_allowed(
        &mut self,
        issue: &Issue,
        text: &AllowedText,
    ) -> Result<bool, Error> {
        Ok(!text.approved
            || issue.text_id() == text.id
            || self.may_write(&issue.repo, &issue.author).await?)
    }
}

/// How the logins of apps end; no person's can.
const BOT: &str = "[bot]";
