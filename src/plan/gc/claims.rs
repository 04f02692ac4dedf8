//! Claims on the remote that say nothing any more.
//!
//! A claim that is done tells who comes late that somebody has had the issue since they looked at it.
//! So only those are removed that have been done for much longer than anybody is late without looking
//! again (see [`is_late`](crate::plan::is_late)), of this host, and of runs that ended well: what such
//! a run did is to be seen on GitHub, and it has left no label for a person to take off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::{Holds, Retention, Seen, SeenRun, SeenWorker, is_due};
use crate::domain::{Claim, ClaimState, HostId, IssueNumber, Outcome, RepoSlug};

/// The shortest time for which claims can be kept.
pub const LEAST_KEPT: Duration = Duration::from_hours(7 * 24);

/// A claim of this host that was found on the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClaim {
    /// What it says.
    pub claim: Claim,
    /// When it was written.
    pub at: Timestamp,
}

/// Issues of a repository, and the runs here whose claims may be on them.
pub type InQuestion<'a> = BTreeMap<IssueNumber, Vec<(&'a SeenWorker, &'a SeenRun)>>;

/// The issues whose claims are worth looking at: their runs here ended well, long ago, and no worker
/// has them now. Where nobody can say what a worker has, there are none.
#[must_use]
pub fn claims_in_question<'a>(
    seen: &'a Seen,
    rules: &Retention,
    now: Timestamp,
) -> BTreeMap<&'a RepoSlug, InQuestion<'a>> {
    let mut found: BTreeMap<_, InQuestion<'a>> = BTreeMap::new();
    if seen.workers.iter().any(|worker| worker.holds == Holds::Unknown) {
        return found;
    }
    let held: BTreeSet<(&RepoSlug, IssueNumber)> = seen
        .workers
        .iter()
        .filter_map(|worker| match &worker.holds {
            Holds::Run(repo, issue) => Some((repo, (*issue)?)),
            Holds::Nothing | Holds::Unknown => None,
        })
        .collect();
    for worker in &seen.workers {
        for run in &worker.runs {
            let Some(issue) = run.issue.filter(|issue| !held.contains(&(&run.repo, *issue))) else {
                continue;
            };
            let well = run.outcome == Some(Outcome::Succeeded);
            if well && is_due(run.ended_at, rules.claims, now).is_some() {
                found.entry(&run.repo).or_default().entry(issue).or_default().push((worker, run));
            }
        }
    }
    found
}

/// Why a claim on an issue is kept no longer, in words. `ended`: how the claim's run ended, as its
/// record here says.
#[must_use]
pub fn claim_is_due(
    seen: &SeenClaim,
    me: &HostId,
    ended: Option<Outcome>,
    rules: &Retention,
    now: Timestamp,
) -> Option<String> {
    let ours = seen.claim.host == *me && seen.claim.state == ClaimState::Done;
    if !ours || ended != Some(Outcome::Succeeded) {
        return None;
    }
    let age = is_due(Some(seen.at), rules.claims.map(|keep| keep.max(LEAST_KEPT)), now)?;
    Some(format!("its run has been done for {age}"))
}
