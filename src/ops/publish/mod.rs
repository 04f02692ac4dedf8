//! The end of a run on GitHub: push, pull request, comment, labels. A step (see
//! [`step`](super::step)): it can be done again, because every effect is looked up first.

mod words;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::claim;
use super::filing::{self, Filing, Stop};
use super::hold::Hold;
use super::patience::{self, is_full};
use super::step::record;
use super::trust::Trusted;
use super::{Context, Exit, Failure, secrets};
use crate::domain::redact::Redactor;
use crate::domain::{
    BLOCKED_LABEL, Claim, ClaimHeld, ClaimState, Ended, Filed, IssueNumber, Outcome, PullRef, Run,
    Work, WorkerId,
};
use crate::git::{FoundClaim, Imported};
use crate::github::{Comment, Error, ErrorKind, GitHub, NewPull};
use crate::plan::{NOT_STARTED_MAX, issues, not_started_in_a_row};
use crate::process::{Uptime, uptime};
use crate::store;

/// What the step `publish` answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum PublishAnswer {
    /// All that can be done is done.
    Done(Published),
    /// GitHub cannot be reached: to be tried again later.
    Later {
        /// Why.
        why: String,
        /// The issues that are filed so far.
        filed: Vec<Filed>,
    },
}

/// What was brought to GitHub.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Published {
    /// The outcome, if publishing changed it.
    pub ended: Option<Ended>,
    /// The pull request.
    pub pr: Option<PullRef>,
    /// The issues that are filed.
    pub filed: Vec<Filed>,
    /// Whether our labels are on the issue and stay there.
    pub labels_left: bool,
    /// When the issue had last changed as they were on it, by GitHub's clock.
    pub labelled_at: Option<Timestamp>,
    /// What could not be said, and why.
    pub unsaid: Vec<String>,
}

/// Whether an error will pass: nobody answered, or a person has to put a token right. Until then the
/// work waits; giving it up would lose it.
pub(super) fn passes(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Unreachable | ErrorKind::RateLimited)
        || matches!(e, Error::Unauthorized { .. } | Error::NoToken { .. })
}

/// Marks our comments, so that they are found again. The run's id follows.
pub(super) const MARKER: &str = "<!-- claude-workers run ";

/// Push, pull request, comment, labels: whatever the outcome asks for.
///
/// # Errors
/// When the record or the configuration cannot be used.
pub async fn publish(ctx: &Context, worker: &WorkerId) -> Result<PublishAnswer, Failure> {
    let run = record(ctx, worker)?;
    let github = ctx.github()?;
    let Some(ended) = run.ended.clone() else {
        return Err(Failure::new(
            Exit::Failed,
            format!("the task of worker {worker} has not ended"),
        ));
    };
    let hold = Hold::of(ctx, &run)?;
    let never_started = run.agent.as_ref().is_none_or(|agent| agent.not_started.is_some());
    let never_had =
        hold.is_some() && run.claim.is_none() && run.relieves.is_none() && never_started;
    let mut publishing = Publishing {
        ctx,
        github: &github,
        run: &run,
        hold,
        redactor: secrets::redactor(ctx, worker)?,
        claim: None,
        ended,
        done: Published::default(),
    };
    let published = if never_had { publishing.nothing().await } else { publishing.all().await };
    match published {
        Ok(()) => Ok(PublishAnswer::Done(publishing.done)),
        Err(why) => Ok(PublishAnswer::Later { why, filed: publishing.done.filed }),
    }
}

struct Publishing<'a> {
    ctx: &'a Context,
    github: &'a GitHub,
    run: &'a Run,
    /// Knows what must not be said.
    redactor: Redactor,
    /// The issue's claim.
    hold: Option<Hold<'a>>,
    /// As this step has written it, and when.
    claim: Option<(FoundClaim, Option<Uptime>)>,
    ended: Ended,
    done: Published,
}

impl Publishing<'_> {
    /// `Err`: try again later.
    async fn all(&mut self) -> Result<(), String> {
        let work = self.run.work.clone().unwrap_or_default();
        if self.ended.outcome == Outcome::Succeeded
            && let Some(why) = self.not_approved().await?
        {
            self.end(Outcome::Deferred, why.into());
        }
        if self.ended.outcome == Outcome::Succeeded && work.head.is_some() {
            match self.pull_request(&work).await {
                Ok(pr) => self.done.pr = Some(pr),
                Err(Refused::Later(why)) => return Err(why),
                Err(Refused::Final(why)) => self.end(Outcome::Failed, why),
                Err(Refused::Lost) => return self.lost().await,
            }
        }
        if !self.still_ours()? {
            return self.lost().await;
        }
        if self.ended.outcome == Outcome::Succeeded && work.drafts > 0 {
            match self.issues().await {
                Ok(why) => self.end(Outcome::Succeeded, why),
                Err(Refused::Later(why)) => return Err(why),
                Err(Refused::Final(why)) => self.end(Outcome::Failed, why),
                Err(Refused::Lost) => return self.lost().await,
            }
        }
        let Some(issue) = self.run.issue else { return Ok(()) };
        if let Some(body) = self.comment_text(&work) {
            let result = self.comment(issue, &self.redactor.text(&body)).await;
            self.note(result, "the comment")?;
        }
        if !self.still_ours()? {
            return self.lost().await;
        }
        self.labels(issue).await?;
        if let (Some(hold), Some((claim, _))) = (&self.hold, self.claim.take()) {
            // All is said: if this fails twice, the claim runs out by itself.
            let _ = hold.finish(claim.clone()).or_else(|_| hold.finish(claim));
        }
        Ok(())
    }

    /// Whether the issue is this run's, and stays so while what comes next is brought to GitHub:
    /// this process may have been stopped since it last knew. `Err`: the remote does not tell; try
    /// again later.
    fn still_ours(&mut self) -> Result<bool, String> {
        let Some(hold) = &self.hold else { return Ok(true) };
        if self.claim.as_ref().is_some_and(|(_, at)| is_recent(at.as_ref())) {
            return Ok(true);
        }
        let at = uptime();
        let claim = hold.confirm(self.run).map_err(|e| e.to_string())?;
        if claim.is_none() && self.run.claim.is_none() {
            // Its dispatcher died before it had one. Nobody else must have one, either.
            let other = hold.taken_over(&self.run.run).map_err(|e| e.to_string())?;
            return Ok(other.is_none());
        }
        self.claim = claim.map(|claim| (claim, at));
        Ok(self.claim.is_some())
    }

    /// The run never had the issue, or has given it back: what is on it is another host's, but for a
    /// label that went on before.
    async fn nothing(&mut self) -> Result<(), String> {
        self.end(Outcome::NotStarted, self.ended.why.clone());
        let (Some(hold), Some(issue)) = (&self.hold, self.run.issue) else { return Ok(()) };
        let holder = hold.taken_over(&self.run.run).map_err(|e| e.to_string())?;
        let Some(holder) = holder else {
            let _ = hold.release(&self.run.run);
            return Ok(());
        };
        // Theirs may be of the same name.
        if holder.worker == self.run.worker { Ok(()) } else { self.take_label_off(issue).await }
    }

    /// Another host has taken the issue over: what is on it is that one's, but for the label of a
    /// worker that has it no more.
    async fn lost(&mut self) -> Result<(), String> {
        self.end(Outcome::Lost, "another host has taken the issue over".into());
        let (Some(hold), Some(issue)) = (&self.hold, self.run.issue) else { return Ok(()) };
        let holder = hold.taken_over(&self.run.run).map_err(|e| e.to_string())?;
        let shows = |c: &Claim| c.state == ClaimState::Held && c.worker == self.run.worker;
        if holder.as_ref().is_some_and(shows) { Ok(()) } else { self.take_label_off(issue).await }
    }

    async fn take_label_off(&mut self, issue: IssueNumber) -> Result<(), String> {
        let own = self.run.worker.label();
        let result = self.github.remove_label(&self.run.repo, issue, &own).await;
        self.note(result, &format!("taking off the label {own}")).map(drop)
    }

    /// Why what was done for words that somebody approved is not wanted any more: the issue says
    /// something else, or nobody can tell. Work that is out already stays.
    async fn not_approved(&self) -> Result<Option<&'static str>, String> {
        let run = self.run;
        let Some((number, text)) = run.issue.zip(run.text.as_ref()).filter(|(_, t)| t.approved)
        else {
            return Ok(None);
        };
        let look = async {
            let why = match self.github.issue(&run.repo, number).await {
                Ok(issue) => {
                    let mut trusted = Trusted::new(self.github, &self.ctx.settings);
                    if trusted.still_allowed(&issue, text).await? {
                        return Ok(None);
                    }
                    EDITED
                }
                Err(e) if e.kind() == ErrorKind::Missing => GONE,
                Err(e) => return Err(e),
            };
            let Some(branch) = &run.branch else { return Ok(Some(why)) };
            let head = run.work.as_ref().and_then(|work| work.head.as_deref()).unwrap_or_default();
            let is_out = match self.github.pull_of_commit(&run.repo, branch, head).await {
                Ok(pull) => pull.is_some(),
                Err(e) if e.kind() == ErrorKind::Missing => false,
                Err(e) => return Err(e),
            };
            Ok::<_, Error>((!is_out).then_some(why))
        };
        look.await.map_err(|e| e.to_string())
    }

    /// Decides the outcome anew.
    fn end(&mut self, outcome: Outcome, why: String) {
        self.ended = Ended { outcome, why };
        self.done.ended = Some(self.ended.clone());
    }

    /// Files the agent's issues, and says how many.
    async fn issues(&mut self) -> Result<String, Refused> {
        let drafts = filing::kept(self.ctx, &self.run.worker).map_err(Refused::Final)?;
        let (ctx, github, run) = (self.ctx, self.github, self.run);
        let mut filing =
            Filing { ctx, github, run, filed: Vec::new(), unsaid: Vec::new(), refused: 0 };
        let result = filing.all(&drafts).await;
        let Filing { filed, unsaid, refused, .. } = filing;
        let old = u32::try_from(filed.iter().filter(|f| f.there_already).count()).unwrap_or(0);
        let new = u32::try_from(filed.len()).unwrap_or(0) - old;
        let mut why = format!("{} filed", issues(new));
        if old > 0 {
            why.push_str(&format!(", {old} there already"));
        }
        (self.done.filed, self.done.unsaid) = (filed, unsaid);
        match result {
            Ok(()) if refused == 0 => Ok(why),
            Ok(()) => Err(Refused::Final(format!("{why}; GitHub refused {refused}"))),
            Err(Stop::GitHub(e)) if passes(&e) => Err(Refused::Later(e.to_string())),
            Err(Stop::GitHub(e)) => Err(Refused::Final(format!("{why}; the rest is not: {e}"))),
            Err(Stop::Unlabelled(loud)) => {
                why = format!("{loud}; {why} before it, and none after it");
                self.done.unsaid.push(loud);
                Err(Refused::Final(why))
            }
        }
    }

    /// Remembers what GitHub refused for good; gives back what will pass.
    fn note<T>(&mut self, result: Result<T, Error>, what: &str) -> Result<Option<T>, String> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e) if passes(&e) => Err(e.to_string()),
            Err(e) => {
                self.done.unsaid.push(format!("{what}: {e}"));
                Ok(None)
            }
        }
    }

    async fn pull_request(&mut self, work: &Work) -> Result<PullRef, Refused> {
        let (Some(branch), Some(base), Some(head)) = (&self.run.branch, &self.run.base, &work.head)
        else {
            return Err(Refused::Final("the run has no branch".into()));
        };
        let git = self.ctx.git().map_err(|e| Refused::Later(e.to_string()))?;
        let scratch = self.ctx.root.record(&self.run.worker).scratch();
        let imported = Imported::kept(&scratch, head, work.commits);
        let url = self.ctx.settings.clone_url(&self.run.repo);
        // An earlier step may have opened it, and a person have merged or closed it, and removed the
        // branch, since.
        let known = self.github.pull_of_commit(&self.run.repo, branch, head).await;
        let later = |e: Error| {
            let why = e.to_string();
            if passes(&e) { Refused::Later(why) } else { Refused::Final(why) }
        };
        if let Some(pull) = known.map_err(later)? {
            return Ok(pull);
        }
        let at = uptime();
        let push = |held: Option<&ClaimHeld>| {
            let hold = self.hold.as_ref().zip(held);
            let next = hold.map(|(hold, held)| hold.next(self.run, held));
            let fence = hold.zip(next.as_ref());
            let fence = fence.map(|((hold, held), next)| hold.fence(held, next));
            git.push(&imported, &url, branch, base, fence).map_err(|e| {
                let why = patience::why(self.ctx, e.to_string());
                let is_final = e.is_refusal() && !is_full(&why);
                if is_final { Refused::Final(why) } else { Refused::Later(why) }
            })
        };
        let moved = match (push(self.run.claim.as_ref()), &self.hold, &self.run.claim) {
            // A step that died may have renewed the claim, and the record not know of it.
            (Err(Refused::Final(why)), Some(hold), Some(known)) => {
                let now = hold.still_ours(&self.run.run);
                match now.map_err(|e| Refused::Later(e.to_string()))? {
                    Some(now) if now.id != known.id => {
                        push(Some(&ClaimHeld { id: now.id, ..known.clone() }))?
                    }
                    _ => return Err(Refused::Final(why)),
                }
            }
            (pushed, ..) => pushed?,
        };
        self.claim = moved.map(|claim| (claim, at));
        let refused = |e: Error| {
            let why = format!("the branch {branch} is pushed, but: {e}");
            if passes(&e) { Refused::Later(why) } else { Refused::Final(why) }
        };
        // A branch that had arrived earlier says nothing about who has the issue now.
        match self.still_ours() {
            Ok(true) => {}
            Ok(false) => return Err(Refused::Lost),
            Err(why) => return Err(Refused::Later(why)),
        }
        let (title, body) = self.pull_text(work);
        let (title, body) = (self.redactor.text(&title), self.redactor.text(&body));
        let new = NewPull { head: branch, base, title: &title, body: &body };
        self.github.create_pull(&self.run.repo, new).await.map_err(refused)
    }

    /// One comment for each run: an earlier one with our marker is brought up to date. After a new
    /// one is written it is looked whether there is a second, because something on the way may have
    /// delivered it twice, or the list may have been too old to show an earlier one.
    async fn comment(&self, issue: IssueNumber, body: &str) -> Result<(), Error> {
        let repo = &self.run.repo;
        let marker = format!("{MARKER}{} -->", self.run.run);
        // A stranger can copy the marker, so whose it is counts too; and an agent can say it, so
        // that it stands at the end does.
        let is_ours = |c: &Comment| c.body.trim_end().ends_with(&marker);
        let mut ours = self.github.comments(repo, issue, None).await?;
        ours.retain(is_ours);
        if !ours.is_empty() {
            let me = self.github.viewer().await?.login;
            ours.retain(|c| c.author.eq_ignore_ascii_case(&me));
        }
        if ours.is_empty() {
            let made = self.github.create_comment(repo, issue, body).await?;
            let since = made.created_at.checked_sub(SignedDuration::from_hours(24)).ok();
            ours = self.github.comments(repo, issue, since).await?;
            ours.retain(|c| is_ours(c) && c.author == made.author);
        }
        let mut ours = ours.into_iter();
        if let Some(first) = ours.next()
            && first.body.trim() != body.trim()
        {
            self.github.update_comment(repo, first.id, body).await?;
        }
        for second in ours {
            self.github.delete_comment(repo, second.id).await?;
        }
        Ok(())
    }

    /// Whether so many starts failed that a person has to look.
    fn gives_up(&self) -> bool {
        let Some(issue) = self.run.issue else { return false };
        self.ended.outcome == Outcome::NotStarted
            && store::completed_of_issue(&self.ctx.root, &self.run.repo, issue)
                .is_ok_and(|runs| not_started_in_a_row(&runs) + 1 >= NOT_STARTED_MAX)
    }

    /// Whether the last run of this issue here put `blocked` on; one that a person put on is theirs.
    fn blocked_before(&self, issue: IssueNumber) -> bool {
        store::completed_of_issue(&self.ctx.root, &self.run.repo, issue)
            .is_ok_and(|runs| runs.last().is_some_and(|run| run.labels_left && !run.cleared))
    }

    async fn labels(&mut self, issue: IssueNumber) -> Result<(), String> {
        let (repo, own) = (&self.run.repo, self.run.worker.label());
        let (keep_own, block) = match self.ended.outcome {
            Outcome::Succeeded => (false, false),
            Outcome::NotStarted => (false, self.gives_up()),
            Outcome::Stopped | Outcome::Lost => (true, false),
            Outcome::Failed | Outcome::TimedOut | Outcome::Deferred => (true, true),
        };
        let mut blocked = !block;
        if block {
            // First, because whoever sees that it is blocked may take both off.
            if self.run.agent.is_none() {
                // Each of its supervisors may have been lost before it had put this on.
                let result = claim::label(self.github, repo, issue, &self.run.worker).await;
                self.note(result, &format!("the label {own}"))?;
            }
            let result = match self
                .github
                .ensure_label(repo, BLOCKED_LABEL, "B60205", "Needs a person")
                .await
            {
                Ok(()) => self.github.add_label(repo, issue, BLOCKED_LABEL).await.map(drop),
                Err(e) => Err(e),
            };
            blocked = self.note(result, "the label blocked")?.is_some();
        }
        if !keep_own {
            let result = self.github.remove_label(repo, issue, &own).await;
            self.note(result, &format!("taking off the label {own}"))?;
        }
        let succeeded = self.ended.outcome == Outcome::Succeeded;
        if let Some(gone) = self.run.relieves.as_ref().map(WorkerId::label).filter(|l| *l != own) {
            let result = self.github.remove_label(repo, issue, &gone).await;
            self.note(result, &format!("taking off the label {gone}"))?;
        }
        let earlier = succeeded && self.blocked_before(issue);
        if earlier && self.run.kind.publishes_commits() {
            let result = self.github.remove_label(repo, issue, BLOCKED_LABEL).await;
            self.note(result, "taking off the label blocked")?;
        }
        // Words alone do not settle what an earlier run was blocked by: that label stays.
        self.done.labels_left = block && blocked || earlier && !self.run.kind.publishes_commits();
        if self.done.labels_left {
            // Whoever takes them off changes it after that, whatever the clock of this host says.
            let seen = self.github.issue(repo, issue).await.ok();
            let seen = seen.filter(|issue| issue.has_label(BLOCKED_LABEL));
            self.done.labelled_at = seen.map(|issue| issue.updated_at);
        }
        Ok(())
    }
}

const EDITED: &str = "the issue was edited after it was approved, while it was worked on; what was \
                      done for the earlier words is not published";

const GONE: &str = "the issue that was approved is not there any more, so nobody can tell whether it \
                    still says the same; what was done for it is not published";

enum Refused {
    Later(String),
    Final(String),
    /// Another host has the issue.
    Lost,
}

/// Whether a claim that was written then is far from running out.
fn is_recent(written: Option<&Uptime>) -> bool {
    let (Some(then), Some(now)) = (written, uptime()) else { return false };
    then.boot == now.boot && now.secs.saturating_sub(then.secs) < RECENT_SECS
}

/// Claims last for an hour and more.
const RECENT_SECS: i64 = 10 * 60;
