//! `gc` of the claim: what plan says of it, and the removal, between which others may come. And a
//! person who closes the pull request, so that nothing is to be seen of it but to who asks.

use std::collections::BTreeSet;

use claude_workers::domain::RunId;
use claude_workers::plan::gc::{
    Holds, Retention, Seen, SeenClaim, SeenRun, SeenWorker, claim_is_due, claims_in_question,
};
use jiff::{SignedDuration, Timestamp};

use crate::steps::Step;
use crate::world::{BEGAN, REAL, State, run_id};
use crate::{Config, Variant};

/// When it is so many times as much later as a claim is kept, and a little more.
pub(crate) fn later(ticks: u8) -> Timestamp {
    BEGAN + SignedDuration::from_hours(31 * 24) * i32::from(ticks)
}

pub(crate) fn steps(state: &State, cfg: Config, out: &mut Vec<(Step, State)>) {
    let over = state.remote.claim.is_none_or(|claim| claim.done);
    if over && !state.remote.closed && !state.remote.pulls.is_empty() {
        let mut closed = state.clone();
        closed.remote.closed = true;
        closed.touch();
        out.push(((9, "a person closes the pull request"), closed));
    }
    // The hosts are alike: it is enough if one of them does it.
    let host = 0;
    if !state.dead[host] {
        let who = 0;
        let mut next = state.clone();
        if let Some(id) = state.collects {
            next.collects = None;
            let there = state.remote.claim.map(|claim| claim.id);
            if there == Some(id) || cfg.is(Variant::RemovedWithoutLease) {
                next.remote.claim = None;
            }
            out.push(((who, "removes the claim"), next));
        } else if is_due(state, cfg, host) {
            next.collects = state.remote.claim.map(|claim| claim.id);
            out.push(((who, "finds that the claim is to go"), next));
        }
    }
}

fn is_due(state: &State, cfg: Config, host: usize) -> bool {
    let Some(found) = state.remote.claim else { return false };
    let now = later(found.age);
    let rules = Retention::default();
    let seen = see(state, cfg, host);
    let in_question = claims_in_question(&seen, &rules, now);
    let Some(runs) = in_question.values().find_map(|issues| issues.get(&REAL.number)) else {
        return false;
    };
    let claim = REAL.claim(cfg, found);
    let ended = runs.iter().find(|(_, run)| run.run == claim.run).and_then(|(_, run)| run.outcome);
    let me = u8::try_from(host).unwrap();
    claim_is_due(&SeenClaim { claim, at: BEGAN }, REAL.host(cfg, me), ended, &rules, now).is_some()
}

fn see(state: &State, cfg: Config, host: usize) -> Seen {
    let of = |worker: u8| {
        let disk = &state.disks[usize::from(worker)];
        let holds = match disk.task {
            Some(_) => Holds::Run(REAL.repo.clone(), Some(REAL.number)),
            None if state.is_locked(worker) => Holds::Unknown,
            None => Holds::Nothing,
        };
        let run = |run: RunId, ended| SeenRun {
            run,
            repo: REAL.repo.clone(),
            issue: Some(REAL.number),
            started_at: BEGAN,
            ended_at: Some(BEGAN),
            outcome: ended,
            cleared: false,
            pull: true,
            pieces: Vec::new(),
        };
        let runs = disk.archive.iter().map(|old| run(run_id(old.task.run), old.task.ended));
        SeenWorker {
            id: REAL.worker(cfg, worker).clone(),
            away: None,
            holds,
            runs: runs.collect(),
            clones: Vec::new(),
            borrows: BTreeSet::new(),
            loose: Vec::new(),
        }
    };
    let workers = (0..2).filter(|worker| cfg.host(*worker) == host).map(of).collect();
    Seen { workers, ..Seen::default() }
}
