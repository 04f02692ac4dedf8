//! Holding an issue against other hosts, by its claim on the remote. The label only shows it.
//!
//! A run takes the claim before the label, moves it on in the same push as its branch (a host that
//! has lost it publishes nothing), and marks it done at the very end. A claim that has not changed
//! for its whole time may be taken over; that time is longer than an agent may take, so nothing has
//! to be renewed while one works.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::claim::still_ours;
use super::dispatch::{fresh_number, fresh_uuid};
use super::{Context, Exit, Failure};
use crate::domain::{
    Claim, ClaimHeld, ClaimState, HostId, IssueNumber, RepoSlug, Run, RunId, WorkerId,
};
use crate::git::{self, Fence, FoundClaim, Host, Swap};
use crate::plan::{MARGIN, Standing, is_late, standing, time_to_live};
use crate::process::uptime;
use crate::store::{self, ClaimsLock};

/// Everything that is needed to move the claim of one run.
pub(super) struct Hold<'a> {
    ctx: &'a Context,
    git: Host,
    url: String,
    repo: RepoSlug,
    issue: IssueNumber,
    me: HostId,
}

/// A claim that may be taken: the record that is to be replaced, and the epoch of the next.
pub(super) struct Vacant {
    from: Option<String>,
    epoch: u64,
    /// The worker of a host that is gone, if it is one's.
    pub(super) relieves: Option<WorkerId>,
}

impl Vacant {
    /// Whether there was no claim at all.
    pub(super) fn was_none(&self) -> bool {
        self.from.is_none()
    }
}

impl<'a> Hold<'a> {
    /// `None`: the run has no issue, or the configuration says that no other host is there.
    ///
    /// # Errors
    /// When there is no git, or this host cannot tell who it is.
    pub(super) fn of(ctx: &'a Context, run: &Run) -> Result<Option<Self>, Failure> {
        match run.issue {
            Some(issue) => Self::on(ctx, &run.repo, issue),
            None => Ok(None),
        }
    }

    /// For an issue, whoever has it.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub(super) fn on(
        ctx: &'a Context,
        repo: &RepoSlug,
        issue: IssueNumber,
    ) -> Result<Option<Self>, Failure> {
        if !ctx.settings.claims {
            return Ok(None);
        }
        let me = store::host_id(&ctx.root, fresh_number)?;
        let url = ctx.settings.clone_url(repo);
        Ok(Some(Self { ctx, git: ctx.git()?, url, repo: repo.clone(), issue, me }))
    }

    /// Where the claims on all issues of the repository are.
    ///
    /// # Errors
    /// When the remote does not tell.
    pub(super) fn all(&self) -> Result<BTreeMap<IssueNumber, String>, Failure> {
        Ok(self.git.claims(&self.url)?)
    }

    /// Whose label may be taken off: the worker of another host whose claim, seen at `id` just now,
    /// has run out.
    ///
    /// # Errors
    /// When the remote does not tell, or what was seen cannot be remembered.
    pub(super) fn run_out(&self, id: &str) -> Result<Option<WorkerId>, Failure> {
        // Most of the time a look at what is remembered is enough.
        if self.unchanged(id)? < MARGIN {
            return Ok(None);
        }
        let Some(found) = self.read()? else { return Ok(None) };
        let theirs = found.claim.host != self.me
            && self.unchanged(&found.id)?.as_secs() >= found.claim.ttl_secs;
        Ok(theirs.then_some(found.claim.worker))
    }

    fn unchanged(&self, id: &str) -> Result<Duration, Failure> {
        let Some(now) = uptime() else { return Ok(Duration::ZERO) };
        Ok(store::unchanged_for(&self.ctx.root, &self.repo, self.issue, id, &now)?)
    }

    /// Takes the claim on an issue that bears none; most are such. `None`: this one does.
    ///
    /// # Errors
    /// When it is not known who has it.
    pub(super) fn take_first(&self, run: &Run) -> Result<Option<ClaimHeld>, Failure> {
        self.swap(run, None, 1)
    }

    /// What has to be replaced to take the claim. Whoever takes it looks at the issue between this
    /// and [`take`](Self::take): then nobody can have finished it since. `labelled`: it bears a
    /// label of the host whose claim may be there.
    ///
    /// # Errors
    /// [`Exit::Refused`] when another host has it; else when it is not known who has it.
    pub(super) fn look(&self, run: &Run, labelled: bool) -> Result<Vacant, Failure> {
        let found = self.read()?;
        let from = found.as_ref().map(|f| f.id.as_str());
        let unchanged = from.map_or(Ok(Duration::ZERO), |id| self.unchanged(id))?;
        let claim = found.as_ref().map(|f| &f.claim);
        match standing(claim, &self.me, &run.run, unchanged, labelled) {
            Standing::Ours { epoch } | Standing::Free { epoch } => {
                let gone = |c: &&Claim| c.host != self.me && c.state == ClaimState::Held;
                let relieves = claim.filter(gone).map(|c| c.worker.clone());
                Ok(Vacant { from: from.map(str::to_owned), epoch, relieves })
            }
            Standing::Theirs { left } => {
                let by = |claim: &Claim| format!("worker {} of {}", claim.worker, claim.host);
                let minutes = left.as_secs().div_ceil(60);
                Err(self.refused(&claim.map(by).unwrap_or_default()).hint(format!(
                    "if that host is gone, this one may take it over in {minutes} minutes"
                )))
            }
        }
    }

    /// Takes the claim as it was found vacant.
    ///
    /// # Errors
    /// [`Exit::Refused`] when somebody was quicker; else when it is not known who has it.
    pub(super) fn take(&self, run: &Run, vacant: &Vacant) -> Result<ClaimHeld, Failure> {
        let won = self.swap(run, vacant.from.as_deref(), vacant.epoch)?;
        won.ok_or_else(|| self.refused("another host"))
    }

    /// Makes sure that `run` still has the issue, before its agent is started. What its dispatcher has
    /// just `claimed` is believed; else the claim gets its full time again. A run whose dispatcher died before it had the
    /// claim gets it only if nobody else has had it, and it is not late: what others have done to the
    /// issue since the dispatcher looked, nobody has looked at.
    ///
    /// # Errors
    /// [`Exit::Refused`] when another host has taken it over; else when that is not known.
    pub(super) fn keep(&self, run: &Run, claimed: bool) -> Result<ClaimHeld, Failure> {
        let Some(held) = &run.claim else {
            still_ours(self.ctx, run)?;
            // What others have done may be over for so long that their claim is collected; and this
            // process may itself be stopped for so long before it has the claim.
            let in_time = || {
                if !is_late(run.started_at, Timestamp::now()) {
                    return Ok(());
                }
                let what = format!("{}#{} was looked at too long ago", self.repo, self.issue);
                Err(Failure::new(Exit::Refused, what))
            };
            in_time()?;
            let first = match self.read()? {
                None => self.swap(run, None, 1)?,
                // Its own, or an earlier run's: one that had ended before this one was written down.
                Some(found)
                    if (&found.claim.host, &found.claim.worker) == (&self.me, &run.worker) =>
                {
                    let earlier = !self.is_of(&found.claim, &run.run);
                    let epoch = found.claim.epoch.saturating_add(earlier.into());
                    self.swap(run, Some(&found.id), epoch)?
                }
                Some(_) => None,
            };
            let first =
                first.ok_or_else(|| self.refused("another run, or was since it was looked at"))?;
            return in_time().map(|()| first);
        };
        let age = Timestamp::now().duration_since(held.at);
        if claimed && run.attempt == 1 && age.unsigned_abs() < MARGIN {
            return Ok(held.clone());
        }
        if let Some(renewed) = self.renew(run)? {
            return Ok(renewed);
        }
        Err(match self.read()? {
            Some(found) => self.refused(&format!("{} now", found.claim.host)),
            None => self.refused("nobody: its claim was removed"),
        })
    }

    fn refused(&self, by: &str) -> Failure {
        Failure::new(Exit::Refused, format!("{}#{} is held by {by}", self.repo, self.issue))
    }

    fn read(&self) -> Result<Option<FoundClaim>, Failure> {
        self.with_objects(|objects| self.git.read_claim(objects, &self.url, self.issue))
    }

    /// Does something in our repository of claims. One that is damaged is made anew: nothing in there
    /// is nowhere else.
    fn with_objects<T>(&self, act: impl Fn(&Path) -> Result<T, git::Error>) -> Result<T, Failure> {
        let root = &self.ctx.root;
        let objects = store::claims_repository(root);
        let once = || -> Result<_, Failure> {
            // What is written is to be there still when it is pushed.
            let _shared = ClaimsLock::share(root)?;
            Ok(act(&objects))
        };
        match once()? {
            Err(e) if e.is_damage() && store::forget_claims_repository(root)? => Ok(once()??),
            done => Ok(done?),
        }
    }

    /// Writes a claim of `run` in the place of `from`. `None`: something else was there.
    fn swap(
        &self,
        run: &Run,
        from: Option<&str>,
        epoch: u64,
    ) -> Result<Option<ClaimHeld>, Failure> {
        let at = Timestamp::now();
        let claim = self.claim(run, epoch, fresh_uuid());
        Ok(self.put(&claim, from, at)?.map(|id| ClaimHeld { id, epoch, at }))
    }

    /// Puts a claim in the place of `from`, and says where it is. `None`: something else was there.
    fn put(
        &self,
        claim: &Claim,
        from: Option<&str>,
        at: Timestamp,
    ) -> Result<Option<String>, Failure> {
        self.with_objects(|objects| {
            let id = self.git.write_claim(objects, claim, at)?;
            let swap = self.git.swap_claim(objects, &self.url, self.issue, from, &id)?;
            Ok((swap == Swap::Won).then_some(id))
        })
    }

    fn claim(&self, run: &Run, epoch: u64, nonce: String) -> Claim {
        let ttl = time_to_live(&run.limits).as_secs();
        Claim::new(self.me.clone(), run.worker.clone(), run.run.clone(), epoch, nonce, ttl)
    }

    /// Gives the claim its full time again. `None`: it is lost.
    ///
    /// # Errors
    /// When it is not known whether it was renewed.
    pub(super) fn renew(&self, run: &Run) -> Result<Option<ClaimHeld>, Failure> {
        let at = Timestamp::now();
        let renewed = self.confirm(run)?;
        Ok(renewed.map(|FoundClaim { id, claim }| ClaimHeld { id, epoch: claim.epoch, at }))
    }

    /// The claim that replaces `held` in the push of `run`'s work.
    pub(super) fn next(&self, run: &Run, held: &ClaimHeld) -> Claim {
        self.claim(run, held.epoch, fresh_uuid())
    }

    /// The fence for that push.
    pub(super) fn fence<'f>(&self, held: &'f ClaimHeld, next: &'f Claim) -> Fence<'f> {
        Fence { issue: self.issue, from: &held.id, next }
    }

    /// The claim, if nobody has taken the issue over from `run`. One that it has marked as done is
    /// its own, too.
    ///
    /// # Errors
    /// When the remote does not tell.
    pub(super) fn still_ours(&self, run: &RunId) -> Result<Option<FoundClaim>, Failure> {
        Ok(self.read()?.filter(|found| self.is_of(&found.claim, run)))
    }

    /// Makes sure that the issue is still `run`'s and stays so for a while: the claim gets its full
    /// time again. `None`: another host has taken it over.
    ///
    /// # Errors
    /// When that is not known.
    pub(super) fn confirm(&self, run: &Run) -> Result<Option<FoundClaim>, Failure> {
        // What a step of this run has pushed that died, or gave it up, may arrive just in between.
        for _ in 0..2 {
            let Some(found) = self.still_ours(&run.run)? else { return Ok(None) };
            let claim = self.claim(run, found.claim.epoch, fresh_uuid());
            if let Some(id) = self.put(&claim, Some(&found.id), Timestamp::now())? {
                return Ok(Some(FoundClaim { id, claim }));
            }
        }
        let what = format!("the claim on {}#{} does not stand still", self.repo, self.issue);
        Err(Failure::new(Exit::Failed, what))
    }

    /// The claim of another run (here or of another host) that has, or has had, the issue since `run`.
    ///
    /// # Errors
    /// When the remote does not tell.
    pub(super) fn taken_over(&self, run: &RunId) -> Result<Option<Claim>, Failure> {
        let found = self.read()?.filter(|found| !self.is_of(&found.claim, run));
        Ok(found.map(|found| found.claim))
    }

    fn is_of(&self, claim: &Claim, run: &RunId) -> bool {
        (&claim.host, &claim.run) == (&self.me, run)
    }

    /// Marks the claim as done if it is still this run's. That matters to other hosts only, and a
    /// claim that is not marked runs out by itself.
    ///
    /// # Errors
    /// When it is not known whether it was marked.
    pub(super) fn release(&self, run: &RunId) -> Result<(), Failure> {
        self.still_ours(run)?.map_or(Ok(()), |found| self.finish(found))
    }

    /// The same for a claim of ours that was seen just now.
    ///
    /// # Errors
    /// When it is not known whether it was marked.
    pub(super) fn finish(&self, found: FoundClaim) -> Result<(), Failure> {
        let FoundClaim { id, mut claim } = found;
        if claim.state == ClaimState::Done {
            return Ok(());
        }
        claim.state = ClaimState::Done;
        self.put(&claim, Some(&id), Timestamp::now())?;
        Ok(())
    }
}
