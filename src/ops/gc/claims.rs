//! Claims on the remote that say nothing any more.

use jiff::Timestamp;

use super::{Item, Left};
use crate::domain::{Claim, IssueNumber, RepoSlug};
use crate::ops::dispatch::fresh_number;
use crate::ops::{Context, Failure};
use crate::plan::gc::{
    InQuestion, Removal, Retention, Seen, SeenClaim, SeenRun, SeenWorker, Thing, claim_is_due,
    claims_in_question,
};
use crate::store::{self, ClaimsLock};

/// Looks for them, and unless it is a `dry_run` removes them. Each repository is asked once; one that
/// does not answer is left alone.
pub(super) fn collect(
    ctx: &Context,
    (seen, rules, now): (&Seen, &Retention, Timestamp),
    dry_run: bool,
    left: &mut Vec<Left>,
    done: &mut impl FnMut(Item),
) {
    if !ctx.settings.claims {
        return;
    }
    for (repo, issues) in claims_in_question(seen, rules, now) {
        if let Err(failure) = of_repository(ctx, repo, &issues, (rules, now), dry_run, done) {
            left.push(Left { worker: None, why: failure.message });
        }
    }
}

fn of_repository(
    ctx: &Context,
    repo: &RepoSlug,
    issues: &InQuestion<'_>,
    (rules, now): (&Retention, Timestamp),
    dry_run: bool,
    done: &mut impl FnMut(Item),
) -> Result<(), Failure> {
    let (git, url) = (ctx.git()?, ctx.settings.clone_url(repo));
    let me = store::host_id(&ctx.root, fresh_number)?;
    let objects = store::claims_repository(&ctx.root);
    let _shared = ClaimsLock::share(&ctx.root)?;
    let mut there = git.claims(&url)?;
    there.retain(|issue, _| issues.contains_key(issue));
    let mut due: Vec<(IssueNumber, Removal)> = Vec::new();
    for (issue, (claim, at)) in git.read_claims(&objects, &url, &there)? {
        let runs = issues.get(&issue).map(Vec::as_slice).unwrap_or_default();
        let is_its = |(worker, run): &&(&SeenWorker, &SeenRun)| {
            (&worker.id, &run.run) == (&claim.worker, &claim.run)
        };
        let Some((worker, run)) = runs.iter().find(is_its) else { continue };
        let found = SeenClaim { claim, at };
        let Some(why) = claim_is_due(&found, &me, run.outcome, rules, now) else { continue };
        let removal = Removal {
            what: Thing::Claim,
            worker: Some(worker.id.clone()),
            run: Some(run.run.clone()),
            repo: Some(repo.clone()),
            path: Claim::ref_name(issue).into(),
            bytes: 0,
            why,
        };
        due.push((issue, removal));
    }
    if dry_run {
        for (_, removal) in due {
            done(Item { removal, removed: false, problem: None });
        }
        return Ok(());
    }
    there.retain(|issue, _| due.iter().any(|(due, _)| due == issue));
    if there.is_empty() {
        return Ok(());
    }
    let gone = git.remove_claims(&objects, &url, &there)?;
    for (issue, removal) in due {
        let moved = || "somebody has just taken it".to_owned();
        let result = if gone.contains(&issue) { Ok(()) } else { Err(moved()) };
        done(Item::new(removal, result));
    }
    Ok(())
}
