//! `stop`, `restart` and `reset`: what people do to a run by hand.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::dispatch::start_supervisor;
use super::reconcile::end_what_is_left;
use super::turn::under_way;
use super::unknown::{broken, no_such_worker};
use super::{Context, Exit, Failure, chores};
use crate::domain::{AgentReport, Ended, Outcome, Phase, Run, WorkerId};
use crate::github::GitHub;
use crate::process::{self, Identity};
use crate::store::{self, State, WorkerLock, is_locked};

/// The state of a worker.
///
/// # Errors
/// When there is none of this name.
pub(super) fn worker(ctx: &Context, id: &WorkerId) -> Result<State, Failure> {
    let known = store::list(&ctx.root)?.into_iter().find(|w| w.id == *id);
    known.map(|w| w.state).ok_or_else(|| no_such_worker(ctx, id))
}

/// Ends the run of a busy worker: the agent is asked to end, killed after the grace, and confirmed
/// dead. The task stays, for `restart` or `reset`; one whose agent has ended by itself stays as it is,
/// and what that left is looked at by the next tick.
///
/// # Errors
/// When there is no run to stop, it is being published (its work is done), or it cannot be ended.
pub fn stop(ctx: &Context, id: &WorkerId) -> Result<Run, Failure> {
    let run = match worker(ctx, id)? {
        State::Busy(run) => run,
        State::Idle => {
            return Err(Failure::new(
                Exit::Failed,
                format!("worker {id} is idle: nothing to stop"),
            ));
        }
        State::Starting => {
            return Err(Failure::new(Exit::Failed, format!("worker {id} is just being taken"))
                .hint(while_it_is_taken(ctx)));
        }
        State::Crashed(run) => return mark_stopped(ctx, id, *run),
        State::Broken(why) => return Err(broken(ctx, id, &why)),
    };
    if run.phase == Phase::Publishing {
        let what = format!("the agent of worker {id} has ended; its work is just published");
        return Err(Failure::new(Exit::Failed, what).hint("wait a moment"));
    }
    end_supervisor(ctx, id, &run)?;
    match worker(ctx, id)? {
        State::Crashed(left) if run.phase == Phase::Verifying => Ok(*left),
        State::Crashed(run) => mark_stopped(ctx, id, *run),
        // It came to its end just then.
        _ => Ok(*run),
    }
}

/// TERM, then KILL after what the supervisor itself may need; returns when the lock is free, that is
/// when nothing of the run can write its record any more.
fn end_supervisor(ctx: &Context, id: &WorkerId, run: &Run) -> Result<(), Failure> {
    let cannot = |why: &str| {
        Failure::new(Exit::Failed, format!("the run of worker {id} cannot be stopped: {why}"))
    };
    // A bare PID may be a stranger's by now.
    let known = Identity::recorded(run).and_then(|one| Some((one.open()?, one)));
    let (supervisor_fd, supervisor) = known.ok_or_else(|| {
        if run.phase == Phase::Claimed || run.pid.is_none() {
            cannot("a dispatcher holds it, and its supervisor has not said who it is yet")
                .hint(while_it_is_taken(ctx))
        } else {
            cannot("its PID belongs to another process now")
        }
    })?;
    let lock = ctx.root.record(id).lock();
    let gone_by = |deadline: Instant| -> Result<bool, Failure> {
        while Instant::now() < deadline {
            if !is_locked(&lock)? {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    };
    // One that is stopped itself is woken up to hear it.
    for signal in [Signal::TERM, Signal::CONT] {
        match pidfd_send_signal(&supervisor_fd, signal) {
            // It has come to its end meanwhile: its lock tells.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => return Err(cannot(&e.to_string())),
        }
    }
    let polite = match run.phase {
        // There is no agent to be asked.
        Phase::Verifying => Duration::ZERO,
        _ => run.limits.grace().min(Duration::from_hours(1)) + Duration::from_secs(5),
    };
    if gone_by(Instant::now() + polite)? {
        return Ok(());
    }
    // The jail dies with it.
    process::kill_tree_of(&supervisor_fd, supervisor.pid);
    if gone_by(Instant::now() + Duration::from_secs(5))? {
        return Ok(());
    }
    Err(cannot("it does not die"))
}

/// What to do about a worker that a dispatcher holds.
fn while_it_is_taken(ctx: &Context) -> String {
    let end = match under_way(ctx) {
        Some(assign) => format!(
            "if it stays so, look at the assign that is under way ({assign}): `kill -KILL {}` ends it",
            assign.pid
        ),
        None => "if it stays so, end the `dispatch` or `assign` that takes it".to_owned(),
    };
    format!("try again in a moment; {end}")
}

fn mark_stopped(ctx: &Context, id: &WorkerId, run: Run) -> Result<Run, Failure> {
    if run.outcome().is_some() {
        return Ok(run);
    }
    let Some(lock) = WorkerLock::try_take(&ctx.root, id)? else {
        return Err(Failure::new(Exit::Failed, format!("worker {id} was taken up again just now")));
    };
    // It may have been archived between the look and the lock.
    let Some(mut run) = store::read_task(&ctx.root, id)? else { return Ok(run) };
    end_what_is_left(ctx, &lock, &run)?;
    if run.ended.is_none() {
        run.pause = None;
        run.ended = Some(Ended { outcome: Outcome::Stopped, why: "it was stopped".into() });
        run.agent.get_or_insert_with(AgentReport::default).stopped = true;
        store::write_task(&ctx.root, &lock, &run)?;
    }
    Ok(run)
}

/// Carries a stopped or crashed run on: same task, same clone with its uncommitted work, and the
/// same conversation where the executor can.
///
/// # Errors
/// When there is no such run, or its supervisor does not start.
pub fn restart(ctx: &Context, id: &WorkerId) -> Result<(Run, u32), Failure> {
    match worker(ctx, id)? {
        State::Crashed(_) => {}
        State::Busy(run) => {
            return Err(Failure::new(
                Exit::NoWorker,
                format!("worker {id} is busy with {}", run.subject()),
            )
            .hint(format!("stop it first: `claude-workers stop {id}`")));
        }
        State::Idle | State::Starting => {
            return Err(Failure::new(Exit::Failed, format!("worker {id} has no run to carry on"))
                .hint("start one with `claude-workers dispatch`"));
        }
        State::Broken(why) => return Err(broken(ctx, id, &why)),
    }
    let Some(lock) = WorkerLock::try_take(&ctx.root, id)? else {
        return Err(Failure::new(Exit::NoWorker, format!("worker {id} was taken up just now")));
    };
    let Some(mut run) = store::read_task(&ctx.root, id)? else {
        return Err(Failure::new(Exit::Failed, format!("worker {id} has no run to carry on")));
    };
    end_what_is_left(ctx, &lock, &run)?;
    if run.phase <= Phase::Running || run.outcome() == Some(Outcome::Stopped) {
        (run.agent, run.work, run.ended) = (None, None, None);
        let now = Timestamp::now();
        run.begin_again(now);
        (run.losses, run.failures) = (0, 0);
        run.phase = Phase::Claimed;
        run.phase_at = now;
        store::write_task(&ctx.root, &lock, &run)?;
    }
    let pid = start_supervisor(ctx, &lock, false)?;
    Ok((run, pid))
}

/// Whether a run has ended well and GitHub has not been told all of it.
fn unpublished(run: &Run) -> bool {
    run.phase == Phase::Publishing && run.outcome() == Some(Outcome::Succeeded)
}

/// What `reset` did.
#[derive(Debug)]
pub struct Reset {
    /// The run that was cleared, if there was one.
    pub run: Option<Run>,
    /// Where the record is now that could not be read, if it was one.
    pub set_aside: Option<PathBuf>,
    /// What could not be done on GitHub now and will be by a later tick.
    pub left: Vec<String>,
}

/// Brings a worker back to idle: archives its run with its true outcome, and takes what we put on
/// the issue off, so that `assign` may take it again. Also clears the last archived run.
///
/// A record that cannot be read is set aside, if `force` is given.
///
/// # Errors
/// When the worker is busy or broken and `force` is not given, or broken in another way.
pub async fn reset(
    ctx: &Context,
    github: &GitHub,
    id: &WorkerId,
    force: bool,
) -> Result<Reset, Failure> {
    match worker(ctx, id)? {
        State::Busy(run) if !force => {
            return Err(Failure::new(
                Exit::NoWorker,
                format!("worker {id} is busy with {}", run.subject()),
            )
            .hint("wait, or stop and clear it with --force"));
        }
        State::Busy(_) => {
            stop(ctx, id)?;
        }
        State::Broken(why) => return set_aside(ctx, github, id, &why, force).await,
        State::Crashed(run) if unpublished(&run) && !force => {
            let what = format!(
                "the work of worker {id} on {} is done and waits to be published",
                run.subject()
            );
            return Err(Failure::new(Exit::Refused, what)
                .hint("the next `assign` tries again; --force gives the work up"));
        }
        State::Idle | State::Starting | State::Crashed(_) => {}
    }
    let Some(lock) = WorkerLock::try_take(&ctx.root, id)? else {
        return Err(Failure::new(Exit::NoWorker, format!("worker {id} was taken just now"))
            .hint(while_it_is_taken(ctx)));
    };
    let run = if let Some(mut run) = store::read_task(&ctx.root, id)? {
        end_what_is_left(ctx, &lock, &run)?;
        clear(ctx, &lock, &mut run)?;
        Some(run)
    } else {
        let last = store::completed(&ctx.root, Some(id))?.0.pop();
        let last = last.filter(|run| !run.cleared && run.outcome() != Some(Outcome::Succeeded));
        if let Some(run) = &last {
            chores::note(ctx, run)?;
            store::mark_cleared(&ctx.root, run)?;
        }
        last
    };
    let Some(run) = run else {
        return Ok(Reset { run: None, set_aside: None, left: Vec::new() });
    };
    let left = chores::do_them(ctx, github).await?;
    Ok(Reset { run: Some(run), set_aside: None, left })
}

/// Sets aside the record of a worker that is broken because it cannot be read, and gives free what
/// it still tells of.
async fn set_aside(
    ctx: &Context,
    github: &GitHub,
    id: &WorkerId,
    why: &str,
    force: bool,
) -> Result<Reset, Failure> {
    let broken = broken(ctx, id, why);
    // What is broken in another way has another way out.
    if store::read_task(&ctx.root, id).is_ok() || !force {
        return Err(broken);
    }
    let Some(lock) = WorkerLock::try_take(&ctx.root, id)? else {
        return Err(broken.hint("its supervisor is still at work: wait until that has ended"));
    };
    let told = store::tell_of_broken(&ctx.root, id);
    let mut left = Vec::new();
    match &told {
        Some((repo, issue, run)) => chores::note_of(ctx, (repo, *issue), run, &[id.label()])?,
        None => left.push(format!(
            "it does not tell which issue it was about: take the label {} off, if one has it",
            id.label()
        )),
    }
    let aside = store::set_aside_task(&ctx.root, &lock, Timestamp::now())?;
    left.extend(chores::do_them(ctx, github).await?);
    Ok(Reset { run: None, set_aside: Some(aside), left })
}

/// Archives a run that a person clears, with its true outcome. A tick that finds this half done does
/// it again.
///
/// # Errors
/// When a file cannot be written; the task is then still there.
pub(super) fn clear(ctx: &Context, lock: &WorkerLock, run: &mut Run) -> Result<(), Failure> {
    let last = run.tried.last().filter(|_| run.pause.is_some());
    let (outcome, why) = if unpublished(run) {
        (Outcome::Lost, "it was reset before its work was published".to_owned())
    } else if let Some(ended) = run.ended.take() {
        (ended.outcome, ended.why)
    } else if let Some(last) = last {
        (last.outcome, last.why.clone())
    } else {
        (Outcome::Lost, "its supervisor was lost, and it was reset".to_owned())
    };
    // The note on what is to be cleaned is written before the task goes away.
    chores::note(ctx, run)?;
    run.ended = Some(Ended { outcome, why });
    run.ended_at = Some(Timestamp::now());
    run.pause = None;
    // Beside a record that is not there yet: dying in between must not leave one that is not clear.
    store::make_private_dir(&ctx.root.record(lock.worker()).completed())?;
    store::mark_cleared(&ctx.root, run)?;
    Ok(store::archive(&ctx.root, lock, run)?)
}
