//! What a person is told who names something that is not there or cannot be used: what was probably
//! meant, and the way out.

use super::{Context, Exit, Failure};
use crate::domain::{RepoPattern, RepoSlug, WorkerId, text};
use crate::store;

/// There is no worker of that id.
pub(super) fn no_such_worker(ctx: &Context, id: &WorkerId) -> Failure {
    let ids = store::ids(&ctx.root).unwrap_or_default();
    let hint = match text::nearest(id.as_str(), ids.iter().map(WorkerId::as_str)) {
        Some(meant) => format!("did you mean {meant}?"),
        None if ids.is_empty() => format!("make it: `claude-workers init {id}`"),
        None => "`claude-workers status` lists them".to_owned(),
    };
    Failure::new(Exit::NoWorker, format!("there is no worker {id}")).hint(hint)
}

/// The worker is broken, for this reason.
pub(super) fn broken(ctx: &Context, id: &WorkerId, why: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("worker {id} is broken: {why}"));
    match way_out(ctx, id) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// How a broken worker is to be mended; `None` where the reason says so itself.
pub(super) fn way_out(ctx: &Context, id: &WorkerId) -> Option<String> {
    if store::read_task(&ctx.root, id).is_err() {
        return Some(format!(
            "look at it; `claude-workers reset {id} --force` sets it aside, and the worker is idle"
        ));
    }
    let lock = ctx.root.record(id).lock();
    let unusable = store::is_locked(&lock).is_err();
    unusable.then(|| "look at the file named, and move it away if it is of no use".to_owned())
}

/// The repository of the configuration that was probably meant by one that is not in it.
#[must_use]
pub fn repo_meant<'a>(ctx: &'a Context, repo: &RepoSlug) -> Option<&'a str> {
    let patterns = ctx.settings.repos.as_deref().unwrap_or_default();
    if patterns.iter().any(|pattern| pattern.matches(repo)) {
        return None;
    }
    let known = patterns.iter().filter_map(RepoPattern::one).map(RepoSlug::as_str);
    text::nearest(repo.as_str(), known)
}
