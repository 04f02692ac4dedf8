//! Filing the issues that an agent left. Part of the step `publish`: it can be done again, because
//! what the run has filed already is looked up first.
//!
//! What is filed here is opened by the token's user, whom `assign` trusts. So that an agent cannot
//! give orders to agents, each issue has the label `blocked` from its first moment on: a person
//! takes it off, or nobody works on it.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::{Context, Exit, Failure};
use crate::domain::{BLOCKED_LABEL, Draft, Filed, Issue, IssueNumber, Label, Run, WorkerId, text};
use crate::github::{Error, GitHub};
use crate::plan::labels_to_file;
use crate::store::{self, make_private_dir, write_private};

/// A hundred files of 64 KB, and what JSON makes of them.
const MAX_DRAFTS: u64 = 64 << 20;

fn place(ctx: &Context, worker: &WorkerId) -> PathBuf {
    ctx.root.record(worker).scratch().join("issues.json")
}

/// Keeps the drafts beside the record of the run.
///
/// # Errors
/// When they cannot be written.
pub(super) fn keep(ctx: &Context, worker: &WorkerId, drafts: &[Draft]) -> Result<(), Failure> {
    let json = serde_json::to_vec(drafts)
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot keep the issues: {e}")))?;
    make_private_dir(&ctx.root.record(worker).scratch())?;
    Ok(write_private(&place(ctx, worker), &json)?)
}

/// The drafts that were kept.
///
/// # Errors
/// When they are gone or cannot be read: in words.
pub(super) fn kept(ctx: &Context, worker: &WorkerId) -> Result<Vec<Draft>, String> {
    let path = place(ctx, worker);
    let bytes = store::read_bounded(&path, MAX_DRAFTS).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("the issues in {} are gone", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// Why filing ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// GitHub refused, or did not answer.
    GitHub(Error),
    /// An issue is there without its label.
    Unlabelled(String),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::GitHub(e)
    }
}

/// What came of it so far.
pub(super) struct Filing<'a> {
    pub(super) ctx: &'a Context,
    pub(super) github: &'a GitHub,
    pub(super) run: &'a Run,
    pub(super) filed: Vec<Filed>,
    /// What GitHub did not take, and labels that were left out.
    pub(super) unsaid: Vec<String>,
    /// How many GitHub did not take.
    pub(super) refused: u32,
}

/// What is there before anything is filed.
struct There {
    /// Of this token's user, lately.
    own: Vec<Issue>,
    /// Open ones, without bodies; those that this run files join them.
    open: Vec<(IssueNumber, String)>,
    labels: Vec<Label>,
}

/// A host's clock may be wrong by this much.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

impl Filing<'_> {
    /// Files what is not there yet.
    ///
    /// # Errors
    /// When GitHub does not answer or refuses as a whole. That it will not have one of them is no
    /// error, and is told in `unsaid`.
    pub(super) async fn all(&mut self, drafts: &[Draft]) -> Result<(), Stop> {
        self.github.ensure_label(&self.run.repo, BLOCKED_LABEL, "B60205", "Needs a person").await?;
        let mut there = self.look(drafts).await?;
        for draft in drafts {
            let (labels, left_out) = self.labels(draft, &there.labels);
            let marker = self.marker(draft);
            let ours = there.own.iter().find(|issue| issue.body.trim_end().ends_with(&marker));
            if let Some(found) = ours {
                let (number, repo) = (found.number, &self.run.repo);
                let labelled = found.has_label(BLOCKED_LABEL);
                self.note(draft, number, false);
                // One that a person took off stays off.
                if !labelled && !self.github.was_labelled(repo, number, BLOCKED_LABEL).await? {
                    self.block(number).await?;
                }
            } else if let Some((number, _)) = there.open.iter().find(|(_, t)| draft.is_titled(t)) {
                self.note(draft, *number, true);
                continue;
            } else if let Some(number) = self.file(draft, &labels).await? {
                there.open.push((number, draft.title.clone()));
            }
            if !left_out.is_empty() {
                let names = text::one_line(&left_out.join(", "), 150);
                self.unsaid.push(format!("{}: labels left out: {names}", draft.file));
            }
        }
        Ok(())
    }

    async fn look(&self, drafts: &[Draft]) -> Result<There, Error> {
        let repo = &self.run.repo;
        let me = self.github.viewer().await?.login;
        let since = self.run.started_at.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
        let own = self.github.issues_by(repo, &me, since).await?;
        let open = self.github.open_issues(repo).await?;
        let labels = if drafts.iter().any(|draft| !draft.labels.is_empty()) {
            self.github.repo_labels(repo).await?
        } else {
            Vec::new()
        };
        let open = open.into_iter().map(|issue| (issue.number, issue.title)).collect();
        Ok(There { own, open, labels })
    }

    /// The labels that an issue gets, `blocked` first, and those that it does not get.
    fn labels(&self, draft: &Draft, there: &[Label]) -> (Vec<String>, Vec<String>) {
        let settings = &self.ctx.settings;
        let ours: Vec<&str> = std::iter::once(settings.approval_label.as_str())
            .chain(settings.only_label.as_deref())
            .collect();
        let (mut labels, left_out) = labels_to_file(&draft.labels, there, &ours);
        labels.insert(0, BLOCKED_LABEL.to_owned());
        (labels, left_out)
    }

    /// Opens one issue. `None`: GitHub will not have it.
    async fn file(
        &mut self,
        draft: &Draft,
        labels: &[String],
    ) -> Result<Option<IssueNumber>, Stop> {
        let (repo, body) = (&self.run.repo, self.body(draft));
        let made = match self.github.create_issue(repo, &draft.title, &body, labels).await {
            Ok(made) => made,
            Err(e @ Error::Unprocessable { .. }) => {
                self.refused += 1;
                self.unsaid.push(format!("{}: {e}", draft.file));
                return Ok(None);
            }
            Err(e) => return Err(e.into()),
        };
        self.note(draft, made.number, false);
        if !made.has_label(BLOCKED_LABEL) {
            self.block(made.number).await?;
        }
        Ok(Some(made.number))
    }

    /// Puts `blocked` on an issue of ours that lacks it.
    async fn block(&self, number: IssueNumber) -> Result<(), Stop> {
        let Err(e) = self.github.add_label(&self.run.repo, number, BLOCKED_LABEL).await else {
            return Ok(());
        };
        if super::publish::passes(&e) {
            return Err(e.into());
        }
        Err(Stop::Unlabelled(format!(
            "{}#{number} is filed WITHOUT the label {BLOCKED_LABEL}, so that an agent may be given \
             it: label or close it ({e})",
            self.run.repo
        )))
    }

    fn note(&mut self, draft: &Draft, number: IssueNumber, there_already: bool) {
        let url = format!("{}/{}/issues/{number}", self.ctx.settings.server_url, self.run.repo);
        let (title, file) = (draft.title.clone(), draft.file.clone());
        self.filed.push(Filed { number, url, title, file, there_already });
    }

    /// By which the issue is found again: at the end of its text, where only we write.
    fn marker(&self, draft: &Draft) -> String {
        format!("{}{} issue {} -->", super::publish::MARKER, self.run.run, draft.file)
    }

    fn body(&self, draft: &Draft) -> String {
        let run = self.run;
        let about = run.issue.map(|n| format!(", from its work on #{n}")).unwrap_or_default();
        format!(
            "{}\n\n---\n*By worker `{}` ({}){about}.*\n\n{}",
            draft.body,
            run.worker,
            run.agent_name(),
            self.marker(draft)
        )
    }
}
