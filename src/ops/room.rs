//! Whether there is room for another run: looked at before anything is claimed.
//!
//! The decision is [`plan::room`](crate::plan::room)'s. State and homes may be on different disks;
//! both are asked. A disk that does not tell is not judged: what fails there says so itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Context, Exit, Failure};
use crate::domain::{RepoSlug, WorkerId};
use crate::git::{is_mirror, sweep};
use crate::plan::room::{Disk, Of, Takes, Wants, admit};

/// What helps where a disk has too little room.
pub(super) const MEND: &str = "make room: `claude-workers gc` removes what is old; how much must be \
                               free is `free_space` in [limits]";

/// What the runs will take that one command starts: each is admitted before those before it have
/// taken theirs.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    promised: Takes,
}

impl Room {
    /// Admits a run of `worker`, and says what it will take. `size`: of the repository, in bytes, if
    /// anybody has told; a mirror that is there knows better.
    ///
    /// # Errors
    /// How much is free where, and how much is needed.
    pub(super) fn admit(
        &self,
        ctx: &Context,
        worker: &WorkerId,
        repo: &RepoSlug,
        size: impl FnOnce() -> Option<u64>,
    ) -> Result<Takes, Failure> {
        let mirror_path = ctx.mirror_path(repo);
        let (home, clone) = (ctx.root.home(worker), ctx.root.clone_of(worker, repo));
        let clone = clone.strip_prefix(&home).is_ok_and(|c| sweep::plain(&home, c).is_some());
        let mirror = is_mirror(&mirror_path);
        let repository = match (mirror, clone) {
            // Nothing is to be made of it.
            (true, true) => None,
            (true, false) => Some(sweep::size(&mirror_path)),
            (false, _) => size(),
        };
        let wants = Wants { floor: ctx.settings.free_space, repository, mirror, clone };
        ask(ctx, worker, &wants, &self.promised, &format!("a run in {repo}"))
    }

    /// Counts what a run that was started will take.
    pub(super) fn promise(&mut self, takes: &Takes) {
        for (device, bytes) in takes {
            let all = self.promised.entry(*device).or_insert(0);
            *all = all.saturating_add(*bytes);
        }
    }
}

/// Keeps of the workers those in whose homes, and beside whose records, is what must be free for any
/// run. What is missing where is told once for each disk.
pub(super) fn keep_roomy(ctx: &Context, idle: &mut Vec<WorkerId>, problems: &mut Vec<Failure>) {
    let floor = ctx.settings.free_space;
    let wants = Wants { floor, repository: None, mirror: true, clone: true };
    let mut told = Vec::new();
    idle.retain(|worker| match ask(ctx, worker, &wants, &Takes::new(), "any run") {
        Ok(_) => true,
        Err(failure) => {
            if !told.contains(&failure.message) {
                told.push(failure.message.clone());
                problems.push(failure);
            }
            false
        }
    });
}

fn ask(
    ctx: &Context,
    worker: &WorkerId,
    wants: &Wants,
    promised: &Takes,
    run: &str,
) -> Result<Takes, Failure> {
    let (pool, home) = (ctx.root.pool(), ctx.root.home(worker));
    let (Some(state), Some(homes)) = (disk(&pool), disk(&home)) else { return Ok(Takes::new()) };
    admit(&state, &homes, wants, promised).map_err(|short| {
        let all = [ctx.root.path(), pool.as_path(), home.as_path()];
        let on_it = |path: &&Path| disk(path).is_some_and(|disk| disk.device == short.device);
        let at = all.into_iter().find(on_it).unwrap_or(&home).display();
        // So rounded that they are never the same.
        let (free, needed) = (short.free >> 20, short.needed.div_ceil(1 << 20));
        let what = match short.of {
            Of::Bytes => format!("{free} MiB are free, and {needed} MiB are needed"),
            Of::Files => {
                format!("{} more files can be made, and {} may be needed", short.free, short.needed)
            }
        };
        Failure::new(Exit::Failed, format!("there is no room for {run} at {at}: {what}")).hint(MEND)
    })
}

/// The disk of a path, or of what will hold it. `None`: it does not tell.
pub(super) fn disk(path: &Path) -> Option<Disk> {
    let there = path.ancestors().find(|path| path.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    let device = std::fs::metadata(there).ok()?.dev();
    let bytes = stat.blocks_available() * stat.fragment_size();
    Some(Disk::new(device, bytes, stat.files(), stat.files_available()))
}
