//! Waiting for the end of runs. The disk answers, and the kernel says when to look.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::queries::known;
use super::unknown::broken;
use super::{Context, Exit, Failure};
use crate::domain::{Outcome, Run, WorkerId};
use crate::process::{Identity, Waiting, Woken};
use crate::store::{self, State};

/// How a watched run ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Its record, as it is now.
    pub run: Run,
    /// Its outcome; `Lost` for one whose supervisor is gone and that nobody has taken up yet.
    pub outcome: Outcome,
}

/// The end of a run that nobody is working on.
pub(super) fn end_of(run: Run) -> End {
    let outcome = match run.outcome() {
        // It has an outcome already, and nobody who brings it to GitHub.
        Some(outcome) if outcome == Outcome::Stopped || run.ended_at.is_some() => outcome,
        _ => Outcome::Lost,
    };
    End { run, outcome }
}

/// What a look at a run shows.
#[derive(Debug)]
pub(super) enum Observed {
    /// It goes on; its record as it is now.
    Still(Box<Run>),
    /// It has ended.
    Over(Box<End>),
}

/// After its supervisor's death it may take this long until somebody says why: `stop` writes the
/// record when it has seen the supervisor go.
const SETTLING: Duration = Duration::from_millis(150);

/// Looks at runs, and waits between the looks without a cost. Made before the first look.
#[derive(Debug)]
pub(super) struct Observer(Waiting);

impl Observer {
    pub(super) fn of<'a>(ctx: &Context, ids: impl IntoIterator<Item = &'a WorkerId>) -> Self {
        let records: Vec<_> = ids.into_iter().map(|id| ctx.root.record(id)).collect();
        Self(Waiting::on(records.iter().map(store::RecordPaths::dir)))
    }

    /// Wakes up also when this file is written to.
    pub(super) fn also_on(&mut self, file: &File) {
        self.0.also_on(file);
    }

    /// Waits until a look may show something new.
    pub(super) fn wait(&self, runs: &[Run], at_most: Option<Duration>) -> Result<Woken, Failure> {
        // One that waits has none; whoever takes it up, writes its record.
        let works = |run: &&Run| run.pause.is_none();
        let supervisors: Vec<_> = runs.iter().filter(works).map(supervisor).collect();
        self.wait_for(&supervisors, at_most)
    }

    fn wait_for(
        &self,
        processes: &[Option<OwnedFd>],
        at_most: Option<Duration>,
    ) -> Result<Woken, Failure> {
        let waited = self.0.wait(processes, at_most);
        waited.map_err(|e| Failure::new(Exit::Failed, format!("cannot wait: {e}")))
    }

    /// The run of a worker; a worker that is just being taken is waited for.
    fn first_look(&self, ctx: &Context, id: &WorkerId) -> Result<Run, Failure> {
        known(ctx, id)?;
        loop {
            match store::worker(&ctx.root, id.clone()).state {
                State::Busy(run) | State::Crashed(run) => return Ok(*run),
                // Nothing tells when whoever takes it gives up.
                State::Starting => self.wait_for(&[None], None)?,
                State::Idle => {
                    return Err(Failure::new(
                        Exit::NoWorker,
                        format!("worker {id} is idle: there is nothing to wait for"),
                    )
                    .hint(format!("`claude-workers history {id}` shows what it has done")));
                }
                State::Broken(why) => return Err(broken(ctx, id, &why)),
            };
        }
    }

    /// Looks at a run that was under way.
    pub(super) fn look(&self, ctx: &Context, run: &Run) -> Result<Observed, Failure> {
        let mut settled = None;
        loop {
            match store::worker(&ctx.root, run.worker.clone()).state {
                State::Busy(now) if now.run == run.run => return Ok(Observed::Still(now)),
                State::Crashed(now) if now.run == run.run && now.lies() == "waiting" => {
                    return Ok(Observed::Still(now));
                }
                State::Crashed(now) if now.run == run.run => {
                    let settled = *settled.get_or_insert_with(|| Instant::now() + SETTLING);
                    let left = settled.saturating_duration_since(Instant::now());
                    if now.outcome() == Some(Outcome::Stopped) || left.is_zero() {
                        return Ok(Observed::Over(Box::new(end_of(*now))));
                    }
                    self.wait_for(&[], Some(left))?;
                }
                State::Broken(why) => return Err(broken(ctx, &run.worker, &why)),
                _ => {
                    let archived = store::read_archived(&ctx.root, run)?;
                    let archived = archived.filter(|run| run.outcome().is_some());
                    return archived.map(|run| Observed::Over(Box::new(end_of(run)))).ok_or_else(
                        || {
                            let what = format!(
                                "the run {} of worker {} left no record",
                                run.run, run.worker
                            );
                            Failure::new(Exit::Failed, what)
                        },
                    );
                }
            }
        }
    }
}

/// The process that owns a run, to wait for its end.
fn supervisor(run: &Run) -> Option<OwnedFd> {
    Identity::recorded(run)?.open()
}

/// Waits for the runs of `ids` (for the first of them, if `any`). `look` is called with what the
/// workers that are still waited for are doing, whenever that changes and each time `every` is over.
///
/// # Errors
/// When a worker does not exist, has no run, or cannot be read; when nobody reads our standard
/// output any more.
pub fn wait(
    ctx: &Context,
    ids: &[WorkerId],
    any: bool,
    every: Option<Duration>,
    mut look: impl FnMut(&[Run]),
) -> Result<Vec<End>, Failure> {
    let observer = Observer::of(ctx, ids);
    let mut waiting = Vec::new();
    for id in ids {
        waiting.push(observer.first_look(ctx, id)?);
    }
    let mut ends = Vec::new();
    loop {
        let mut still = Vec::new();
        for run in waiting {
            match observer.look(ctx, &run)? {
                Observed::Over(end) => ends.push(*end),
                Observed::Still(run) => still.push(*run),
            }
        }
        if still.is_empty() || (any && !ends.is_empty()) {
            return Ok(ends);
        }
        look(&still);
        if observer.wait(&still, every)? == Woken::Unread {
            let what = "nobody reads the answer any more";
            return Err(Failure::new(Exit::Failed, what));
        }
        waiting = still;
    }
}
