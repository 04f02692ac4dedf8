//! Issues that bear the label of a host that is gone: their claims have not changed for as long as
//! they are good. They may be taken over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::domain::{BLOCKED_LABEL, Issue, IssueNumber, Label, RepoSlug, WorkerId};
use crate::ops::hold::Hold;
use crate::ops::{Context, Failure};
use crate::plan::IssueRef;
use crate::store;

/// How often the claims of a repository are looked at.
const EVERY: Duration = Duration::from_mins(10);

/// Finds them among `issues`. What this host's own workers hold, and what waits for a person, is not
/// looked at. The remote is asked once for each repository, and not again within ten minutes.
pub(super) fn abandoned(
    ctx: &Context,
    issues: &[Issue],
    running: &[(RepoSlug, Option<IssueNumber>, WorkerId)],
    report: &mut Report,
) -> BTreeMap<IssueRef, WorkerId> {
    let mut by_repo: BTreeMap<&RepoSlug, Vec<&Issue>> = BTreeMap::new();
    for issue in issues {
        let is_it = |(repo, number, _): &_| (repo, *number) == (&issue.repo, Some(issue.number));
        let foreign = issue.labels.iter().any(Label::is_worker)
            && !issue.has_label(BLOCKED_LABEL)
            && !running.iter().any(is_it);
        if ctx.settings.claims && foreign {
            by_repo.entry(&issue.repo).or_default().push(issue);
        }
    }
    let mut found = BTreeMap::new();
    for (repo, issues) in by_repo {
        match look(ctx, repo, &issues) {
            Ok(some) => found.extend(some),
            Err(failure) => report.problems.push(failure),
        }
    }
    found
}

fn look(
    ctx: &Context,
    repo: &RepoSlug,
    issues: &[&Issue],
) -> Result<Vec<(IssueRef, WorkerId)>, Failure> {
    if !store::claims_are_due(&ctx.root, repo, EVERY)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut there = None;
    for issue in issues {
        let Some(hold) = Hold::on(ctx, repo, issue.number)? else { continue };
        let there = match &mut there {
            Some(there) => there,
            empty => empty.insert(hold.all()?),
        };
        // Without a claim the label is not explained: it is left alone.
        let Some(id) = there.get(&issue.number) else { continue };
        if let Some(worker) = hold.run_out(id)?
            && issue.labels.iter().any(|label| label.is_of(&worker))
        {
            found.push(((repo.clone(), issue.number), worker));
        }
    }
    Ok(found)
}
