//! Holding an issue against other hosts, by its claim on the remote. The label only shows it.
//!
//! A run takes the claim before the label, moves it on in the same push as its branch (a host that
//! has lost it publishes nothing), and marks it done at the very end. A claim that has not changed
//! for its whole time may be taken over; that time is longer than an agent may take, so nothing has
//! to be renewed while one works.

use std::time::Duration;

use jiff::Timestamp;

use super::dispatch::fresh_uuid;
use super::{Context, Exit, Failure};
use crate::domain::{Claim, ClaimHeld, ClaimState, HostId, IssueNumber, Limits, Run};
use crate::git::{Fence, FoundClaim, Host, Swap};
use crate::plan::{Standing, standing};
use crate::process::uptime;
use crate::store;

/// What a claim lasts beyond the agent's time: for preparing, verifying and publishing.
const MARGIN: Duration = Duration::from_hours(1);

/// Everything that is needed to move the claim of one run.
pub(super) struct Hold<'a> {
    ctx: &'a Context,
    git: Host,
    url: String,
    issue: IssueNumber,
    me: HostId,
}

impl<'a> Hold<'a> {
    /// `None`: the run has no issue, or the configuration says that no other host is there.
    ///
    /// # Errors
    /// When there is no git, or this host cannot tell who it is.
    pub(super) fn of(ctx: &'a Context, run: &Run) -> Result<Option<Self>, Failure> {
        let Some(issue) = run.issue.filter(|_| ctx.settings.claims) else { return Ok(None) };
        let random = || u32::from_str_radix(&fresh_uuid()[..8], 16).unwrap_or(0);
        let me = store::host_id(&ctx.root, random)?;
        let url = ctx.settings.clone_url(&run.repo);
        Ok(Some(Self { ctx, git: ctx.git()?, url, issue, me }))
    }

    /// Takes the claim for `run`, or makes sure that it still has it: after a restart with its full
    /// time. `labelled`: the issue bears a label of the host whose claim may be there.
    ///
    /// # Errors
    /// [`Exit::Refused`] when another host has it; else when it is not known who has it.
    pub(super) fn take(&self, run: &Run, labelled: bool) -> Result<ClaimHeld, Failure> {
        // Most issues have never been claimed: no look is needed to try.
        if run.claim.is_none() && run.attempt == 1 && !labelled
            && let Some(held) = self.swap(run, None, 1)?
        {
            return Ok(held);
        }
        let found = self.read()?;
        let from = found.as_ref().map(|f| f.id.as_str());
        match self.judge(run, found.as_ref(), labelled)? {
            Standing::Ours { epoch } if run.attempt == 1 => {
                let id = from.unwrap_or_default().to_owned();
                Ok(ClaimHeld { id, epoch, at: Timestamp::now() })
            }
            Standing::Ours { epoch } | Standing::Free { epoch } => {
                self.swap(run, from, epoch)?.ok_or_else(|| self.refused(run, "another host"))
            }
            Standing::Theirs { left } => {
                let by = found.map_or_else(String::new, |f| {
                    format!("worker {} of {}", f.claim.worker, f.claim.host)
                });
                let minutes = left.as_secs().div_ceil(60);
                Err(self.refused(run, &by).hint(format!(
                    "if that host is gone, this one may take it over in {minutes} minutes"
                )))
            }
        }
    }

    fn refused(&self, run: &Run, by: &str) -> Failure {
        Failure::new(Exit::Refused, format!("{}#{} is held by {by}", run.repo, self.issue))
    }

    fn read(&self) -> Result<Option<FoundClaim>, Failure> {
        let objects = store::claims_repository(&self.ctx.root);
        Ok(self.git.read_claim(&objects, &self.url, self.issue)?)
    }

    fn judge(
        &self,
        run: &Run,
        found: Option<&FoundClaim>,
        labelled: bool,
    ) -> Result<Standing, Failure> {
        let unchanged = match (found, uptime()) {
            (Some(found), Some(now)) => {
                store::unchanged_for(&self.ctx.root, &run.repo, self.issue, &found.id, &now)?
            }
            _ => Duration::ZERO,
        };
        let claim = found.map(|f| &f.claim);
        Ok(standing(claim, &self.me, &run.run, unchanged, labelled))
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
        let id = self.write(&claim, at)?;
        let objects = store::claims_repository(&self.ctx.root);
        match self.git.swap_claim(&objects, &self.url, self.issue, from, &id)? {
            Swap::Won => Ok(Some(ClaimHeld { id, epoch, at })),
            Swap::Lost => Ok(None),
        }
    }

    fn write(&self, claim: &Claim, at: Timestamp) -> Result<String, Failure> {
        Ok(self.git.write_claim(&store::claims_repository(&self.ctx.root), claim, at)?)
    }

    fn claim(&self, run: &Run, epoch: u64, nonce: String) -> Claim {
        let ttl = time_to_live(&run.limits).as_secs();
        Claim::new(self.me.clone(), run.worker.clone(), run.run.clone(), epoch, nonce, ttl)
    }

    /// The claim that replaces `held` in the push of `run`'s work.
    pub(super) fn next(&self, run: &Run, held: &ClaimHeld) -> Claim {
        self.claim(run, held.epoch, fresh_uuid())
    }

    /// The fence for that push.
    pub(super) fn fence<'f>(&self, held: &'f ClaimHeld, next: &'f Claim) -> Fence<'f> {
        Fence { issue: self.issue, from: &held.id, next }
    }

    /// Whether nobody has taken the issue over from `run`. A claim that it has marked as done is its
    /// own, too.
    ///
    /// # Errors
    /// When the remote does not tell.
    pub(super) fn still_ours(&self, run: &Run) -> Result<bool, Failure> {
        Ok(self.read()?.is_some_and(|found| self.is_of(&found.claim, run)))
    }

    fn is_of(&self, claim: &Claim, run: &Run) -> bool {
        (&claim.host, &claim.run) == (&self.me, &run.run)
    }

    /// Marks the claim as done if it is still this run's. That matters to other hosts only, and a
    /// claim that is not marked runs out by itself.
    ///
    /// # Errors
    /// When it is not known whether it was marked.
    pub(super) fn release(&self, run: &Run) -> Result<(), Failure> {
        let Some(FoundClaim { id, mut claim }) = self.read()? else { return Ok(()) };
        if !self.is_of(&claim, run) || claim.state == ClaimState::Done {
            return Ok(());
        }
        claim.state = ClaimState::Done;
        let done = self.write(&claim, Timestamp::now())?;
        let objects = store::claims_repository(&self.ctx.root);
        self.git.swap_claim(&objects, &self.url, self.issue, Some(&id), &done)?;
        Ok(())
    }
}

/// For how long a claim is good: the agent's time and a margin.
fn time_to_live(limits: &Limits) -> Duration {
    limits.wall_clock() + limits.grace() + MARGIN
}
