//! The open issues, as GitHub's lists show them: one conditional request for each repository, or two
//! for all of them. `assign` and `status --remote` read the same lists.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Exit, Failure};
use crate::domain::{Issue, RepoPattern, RepoSlug};
use crate::github::{Error, GitHub};
use crate::plan::RepoFacts;

/// What the lists show.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The open issues.
    pub issues: Vec<Issue>,
    /// What the token may do in those repositories of which the lists tell.
    pub repos: BTreeMap<RepoSlug, RepoFacts>,
    /// The repositories whose open issues these are.
    pub listed: BTreeSet<RepoSlug>,
}

/// Whether `repo` is one of the configured ones; nothing is known of it where none are named.
pub(super) fn configured(ctx: &Context, repo: &RepoSlug) -> Option<bool> {
    let patterns = ctx.settings.repos.as_ref()?;
    Some(patterns.iter().any(|pattern| pattern.matches(repo)))
}

/// The open issues of the configured repositories, and what the token may do there. What is wrong
/// with a single one is added to `problems`.
///
/// # Errors
/// When nothing more can be asked: a rate limit, a token that is not accepted, no list of
/// repositories.
pub(super) async fn see(
    ctx: &Context,
    github: &GitHub,
    problems: &mut Vec<Failure>,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let named: Option<Vec<&RepoSlug>> = ctx
        .settings
        .repos
        .as_ref()
        .and_then(|patterns| patterns.iter().map(RepoPattern::one).collect());
    // One or two lists cost no more than the listing across all repositories, and where the token
    // may not list across them there is nothing else.
    if let Some(named) = named.filter(|n| n.len() <= 2 || !github.lists_across()) {
        list_each(github, named.into_iter(), &mut seen, problems).await?;
        return Ok(seen);
    }
    let repos = github.my_repos(ctx.settings.repos.is_none()).await?;
    for repo in repos.iter().filter(|r| configured(ctx, &r.slug) != Some(false)) {
        let known = RepoFacts {
            archived: repo.archived || repo.disabled,
            may_push: repo.may_push,
            may_label: repo.may_label,
            size: repo.size,
        };
        seen.repos.insert(repo.slug.clone(), known);
    }
    for pattern in ctx.settings.repos.iter().flatten() {
        if !seen.repos.keys().any(|repo| pattern.matches(repo)) {
            let what = format!("{pattern} is not among the repositories that the token can reach");
            problems.push(
                Failure::new(Exit::Access, what).hint("check `repos` and the token's access"),
            );
        }
    }
    if github.lists_across() {
        match github.visible_open_issues().await {
            Ok(mut issues) => {
                issues.retain(|issue| seen.repos.contains_key(&issue.repo));
                seen.issues = issues;
                seen.listed = seen.repos.keys().cloned().collect();
                return Ok(seen);
            }
            Err(e) if e.is_not_available() => {}
            Err(e) => return Err(e.into()),
        }
    }
    let (with, without): (Vec<_>, Vec<_>) = repos
        .iter()
        .filter(|r| seen.repos.contains_key(&r.slug))
        .partition(|repo| repo.open_issues > 0);
    seen.listed.extend(without.into_iter().map(|repo| repo.slug.clone()));
    list_each(github, with.into_iter().map(|repo| &repo.slug), &mut seen, problems).await?;
    Ok(seen)
}

/// Adds the open issues of each repository; a bad one is reported and the rest goes on.
///
/// # Errors
/// When nothing more can be asked.
pub(super) async fn list_each(
    github: &GitHub,
    repos: impl Iterator<Item = &RepoSlug>,
    seen: &mut Seen,
    problems: &mut Vec<Failure>,
) -> Result<(), Failure> {
    for repo in repos {
        match github.open_issues(repo).await {
            Ok(issues) => {
                seen.issues.extend(issues);
                seen.listed.insert(repo.clone());
            }
            // The next one would say the same.
            Err(
                e @ (Error::RateLimited { .. }
                | Error::NoToken { .. }
                | Error::Unauthorized { .. }
                | Error::Client { .. }),
            ) => return Err(e.into()),
            Err(e) => problems.push(e.into()),
        }
    }
    Ok(())
}
