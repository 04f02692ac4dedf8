//! Putting workers right that nobody works for: looks at the disk, the locks and `/proc`, lets
//! [`plan::reconcile`](crate::plan::reconcile) decide, and does it.
//!
//! The whole pool is looked at once; what is done to a worker is decided anew with its lock in hand.
//! GitHub is asked nothing, but for the claim that is to be renewed.

use jiff::Timestamp;

use super::anteroom::fence_name;
use super::dispatch::start_supervisor;
use super::hold::Hold;
use super::turn::{UnderWay, under_way};
use super::{Context, Exit, Failure, chores, stop};
use crate::config::env;
use crate::domain::{Run, WorkerId};
use crate::plan::reconcile::{Action, Clock, Record, Seen, decide};
use crate::process::{self, Fence, Identity, Traces, end_leftovers, leftovers};
use crate::store::{self, AssignLock, State, Worker, WorkerLock};

/// What a worker is and what is to be done about it.
#[derive(Debug)]
pub struct Item {
    /// The worker.
    pub worker: WorkerId,
    /// `idle`, `starting`, `busy`, `stopped`, `waiting`, `crashed` or `broken`.
    pub state: &'static str,
    /// Its run.
    pub run: Option<Box<Run>>,
    /// Processes that its dead supervisor left alive.
    pub alive: Vec<u32>,
    /// What is to be done about it, one after the other; empty: nothing.
    pub actions: Vec<Action>,
    /// Whether it was done.
    pub done: bool,
    /// Why not.
    pub problem: Option<Failure>,
}

impl Item {
    /// Its run, if a supervisor carries that on.
    #[must_use]
    pub fn taken_up(&self) -> Option<&Run> {
        let carries_on = self.actions.iter().any(|a| matches!(a, Action::TakeUp(_)));
        self.run.as_deref().filter(|_| carries_on)
    }
}

/// What a look at all workers gave, and what was done.
#[derive(Debug)]
pub enum Reconciled {
    /// A tick is under way; nothing was done. Whose it is, if it says so.
    AlreadyRunning(Option<UnderWay>),
    /// By worker.
    Done(Vec<Item>),
}

/// Looks at all workers and does what is to be done, unless `dry_run`.
///
/// # Errors
/// When the root cannot be listed.
pub fn reconcile(ctx: &Context, dry_run: bool) -> Result<Reconciled, Failure> {
    let lock = if dry_run { None } else { AssignLock::try_take(&ctx.root)? };
    if lock.is_none() && !dry_run {
        return Ok(Reconciled::AlreadyRunning(under_way(ctx)));
    }
    let items = look(ctx, store::list(&ctx.root)?);
    Ok(Reconciled::Done(if dry_run { items } else { apply(ctx, items) }))
}

/// Now, by both clocks.
pub(super) fn clock() -> Clock {
    let up = process::uptime().map(|up| (up.boot, up.secs));
    Clock { now: Timestamp::now(), up }
}

/// Says what is to be done about each worker.
pub(super) fn look(ctx: &Context, workers: Vec<Worker>) -> Vec<Item> {
    let clock = clock();
    let lying = workers.iter().filter_map(|worker| match &worker.state {
        State::Crashed(run) => Some(traces(ctx, run)),
        _ => None,
    });
    let mut alive = leftovers(&lying.collect::<Vec<_>>()).into_iter();
    let look = |worker: Worker| {
        let found = match worker.state {
            State::Crashed(_) => alive.next().unwrap_or_default(),
            _ => Vec::new(),
        };
        look_at(ctx, worker, found.into_iter().map(|one| one.pid).collect(), &clock)
    };
    workers.into_iter().map(look).collect()
}

fn look_at(ctx: &Context, worker: Worker, alive: Vec<u32>, clock: &Clock) -> Item {
    let (state, run, fault) = match worker.state {
        State::Idle => ("idle", None, None),
        State::Starting => ("starting", None, None),
        State::Busy(run) => ("busy", Some(run), None),
        State::Crashed(run) => (run.lies(), Some(run), None),
        State::Broken(why) => ("broken", None, Some(why)),
    };
    let mut item = Item {
        worker: worker.id,
        state,
        run,
        alive: Vec::new(),
        actions: Vec::new(),
        done: false,
        problem: None,
    };
    let held = matches!(state, "starting" | "busy");
    let record = match (&fault, &item.run) {
        (Some(why), _) => Record::Unreadable(why),
        (None, Some(run)) => Record::Of(run),
        (None, None) => Record::None,
    };
    let mut add = |alive: &[u32]| {
        let action = match see(ctx, record, held, alive) {
            Ok(seen) => decide(&seen, &ctx.settings.retry, clock),
            Err(failure) => Action::Report(failure.to_string()),
        };
        if action != Action::Leave {
            item.actions.push(action);
        }
    };
    add(&alive);
    if !alive.is_empty() {
        // And then.
        add(&[]);
    }
    item.alive = alive;
    item
}

/// What else is to be seen of a worker.
fn see<'a>(
    ctx: &Context,
    record: Record<'a>,
    held: bool,
    alive: &'a [u32],
) -> Result<Seen<'a>, Failure> {
    let claims = ctx.settings.claims;
    let (archived, resetting) = match record {
        Record::Of(run) if !held => {
            (store::read_archived(&ctx.root, run)?.is_some(), chores::are_noted(ctx, run))
        }
        _ => (false, false),
    };
    Ok(Seen { record, held, alive, archived, claims, resetting })
}

/// What is right for a run whose lock is in hand, and which nothing of is alive.
///
/// # Errors
/// When the archive cannot be read.
pub(super) fn next(ctx: &Context, run: &Run) -> Result<Action, Failure> {
    Ok(decide(&see(ctx, Record::Of(run), false, &[])?, &ctx.settings.retry, &clock()))
}

/// By what the processes of a run are known.
fn traces(ctx: &Context, run: &Run) -> Traces {
    let supervisor = || {
        let (pid, start) = (run.pid?, run.pid_start?);
        Some(Identity { pid, start, boot_id: run.boot_id.clone()? })
    };
    Traces {
        variable: env::RUN,
        run: run.run.to_string(),
        supervisor: supervisor(),
        home: ctx.root.home(&run.worker),
        // Only one that bears the run's name can be the run's own.
        cgroup: run.cgroup.clone().filter(|dir| dir.ends_with(cgroup_name(run))),
    }
}

/// The name of a run's control group.
pub(super) fn cgroup_name(run: &Run) -> String {
    format!("claude-workers-{}", run.run)
}

/// Ends whatever the supervisor of a run left alive. The lock in hand says that it is dead.
///
/// # Errors
/// When something of it does not die: the worker must not be used then.
pub(super) fn end_what_is_left(ctx: &Context, lock: &WorkerLock, run: &Run) -> Result<(), Failure> {
    end_leftovers(&traces(ctx, run)).map_err(|pids| {
        let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
        let what = format!(
            "processes of a dead run of worker {} cannot be ended: pid {}",
            lock.worker(),
            pids.join(", ")
        );
        Failure::new(Exit::Failed, what)
            .hint("nothing is done with that worker until they are gone")
    })?;
    remove_groups(ctx, run);
    Ok(())
}

/// Removes the control groups of a run that nothing is alive of.
fn remove_groups(ctx: &Context, run: &Run) {
    if let Some(dir) = traces(ctx, run).cgroup {
        process::cgroup::remove(&dir);
    }
    Fence::remove_left(&fence_name(ctx, &run.worker));
}

/// Does what is to be done. The caller holds the lock of the one tick at a time.
pub(super) fn apply(ctx: &Context, mut items: Vec<Item>) -> Vec<Item> {
    for item in &mut items {
        if !item.actions.iter().any(Action::changes) {
            continue;
        }
        match put_right(ctx, item) {
            Ok(done) => item.done = done,
            Err(failure) => item.problem = Some(failure),
        }
    }
    items
}

/// Puts one worker right. What is done is decided with its lock in hand: since the look at it, it may
/// have been taken up, stopped or cleared. Says whether anything was done.
fn put_right(ctx: &Context, item: &mut Item) -> Result<bool, Failure> {
    let Some(lock) = WorkerLock::try_take(&ctx.root, &item.worker)? else { return Ok(false) };
    let Some(mut run) = store::read_task(&ctx.root, &item.worker)? else { return Ok(false) };
    // Where the look saw nothing alive, and nobody has been here since, nothing is.
    if !item.alive.is_empty() || item.run.as_deref() != Some(&run) {
        end_what_is_left(ctx, &lock, &run)?;
    } else {
        remove_groups(ctx, &run);
    }
    let action = next(ctx, &run)?;
    let ended = item.actions.iter().filter(|action| matches!(action, Action::End(_)));
    let mut actions: Vec<Action> = ended.cloned().collect();
    match &action {
        Action::Leave | Action::Report(_) | Action::Wait(_) | Action::End(_) => {}
        Action::Finish => {
            if let Some(archived) = store::read_archived(&ctx.root, &run)? {
                store::archive(&ctx.root, &lock, &archived)?;
            }
        }
        Action::Reset => stop::clear(ctx, &lock, &mut run)?,
        Action::KeepClaim => {
            let hold = Hold::of(ctx, &run)?;
            if let Some(renewed) = hold.map(|hold| hold.renew(&run)).transpose()?.flatten() {
                run.claim = Some(renewed);
                store::write_task(&ctx.root, &lock, &run)?;
            }
        }
        Action::Postpone(pause) => {
            run.postpone(pause.clone(), Timestamp::now());
            store::write_task(&ctx.root, &lock, &run)?;
        }
        Action::TakeUp(_) => {
            start_supervisor(ctx, &lock, false)?;
        }
    }
    if action != Action::Leave {
        actions.push(action);
    }
    item.actions = actions;
    item.run = Some(Box::new(run));
    Ok(item.actions.iter().any(Action::changes))
}
