//! What may happen to processes, hosts and pushes at any moment.

use crate::steps::{Step, is_ours};
use crate::supervisor::push_goes;
use crate::world::{At, Late, Process, Record, State, TTL, worker_of};
use crate::{Config, Variant};

pub(crate) fn die(state: &State, i: usize, cfg: Config, out: &mut Vec<(Step, State)>) {
    if state.faults == 0 {
        return;
    }
    let mut dead = State { faults: state.faults - 1, ..state.clone() };
    let victim = dead.processes.remove(i);
    if victim.supervises && victim.at.is_publish() && !victim.orphan {
        let mut alone = dead.clone();
        alone.processes.insert(i, Process { orphan: true, ..victim.clone() });
        out.push(((victim.worker, "supervisor killed, its step goes on"), alone));
    }
    if let Some(late) = under_way(state, &victim, cfg) {
        let alone = State { late: Some(late), ..dead.clone() };
        out.push(((victim.worker, "killed, its push is under way"), alone));
    }
    out.push(((victim.worker, "killed"), dead));
}

/// What the process is just pushing, if that may arrive long after it is gone.
pub(crate) fn under_way(state: &State, p: &Process, cfg: Config) -> Option<Late> {
    if !cfg.late || state.late.is_some() || p.doubt {
        return None;
    }
    let (there, id) = (state.remote.claim, state.fresh_id());
    let run = p.task.map(|task| task.run)?;
    let (to, branch) = match p.at {
        At::TakeNew | At::TakeSwap | At::KeepSwap | At::OwnSwap => {
            (Record { id, run, epoch: p.epoch, done: false, age: 0 }, false)
        }
        At::ReleaseSwap | At::ReleaseLate | At::Finish => {
            (Record { id, done: true, age: 0, ..is_ours(state, p)? }, false)
        }
        At::Publish if push_goes(state, p, cfg) => (Record { id, ..there? }, true),
        _ => return None,
    };
    let from = if branch || to.done { there.map(|claim| claim.id) } else { p.from };
    Some(Late { from, to, branch }).filter(|late| late.from == there.map(|claim| claim.id))
}

/// A push arrives whose sender does not wait for it any more.
pub(crate) fn arrive(state: &State, out: &mut Vec<(Step, State)>) {
    let Some(late) = state.late else { return };
    let mut next = State { late: None, ..state.clone() };
    if state.remote.claim.map(|claim| claim.id) == late.from {
        if late.branch {
            next.remote.branches.push(late.to.run);
        }
        if late.to.done {
            next.over[usize::from(worker_of(late.to.run))] = late.to.run;
        }
        next.remote.claim = Some(late.to);
    }
    out.push(((worker_of(late.to.run), "has a push arrive late"), next));
}

/// A host stops, for a moment or for ever. Its boot's clock begins again.
pub(crate) fn disaster(state: &State, cfg: Config, host: usize, out: &mut Vec<(Step, State)>) {
    if state.faults == 0 || state.dead[host] {
        return;
    }
    let mut down = State { faults: state.faults - 1, ..state.clone() };
    down.processes.retain(|p| cfg.host(p.worker) != host);
    down.disks[host].seen = None;
    let who = u8::try_from(host).unwrap();
    if state.processes.len() > down.processes.len() + 1 {
        out.push(((who, "reboots"), down.clone()));
    }
    if cfg.hosts() == 2 && !state.dead[1 - host] {
        down.dead[host] = true;
        out.push(((who, "is gone for ever"), down));
    }
    if cfg.is(Variant::WallClock)
        && let Some((id, _)) = state.disks[host].seen
    {
        let mut jumped = State { faults: state.faults - 1, ..state.clone() };
        jumped.disks[host].seen = Some((id, TTL));
        out.push(((9, "a clock jumps"), jumped));
    }
}
