//! What a tick decides from what it has seen: the program's own decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claude_workers::plan::{
    self, Doing, Drift, Rules, Sides, Skip, Snapshot, Verdict, Wrong, drift, history_refuses,
    is_late,
};

use crate::world::{At, Listed, Process, REAL, Record, State, TTL, Task, hours, worker_of};
use crate::{Config, Variant, collect};

/// What plan says of the issue for the worker. `verdict`: of a closer look.
pub(crate) fn is_planned(
    s: &State,
    p: &Process,
    cfg: Config,
    listed: Listed,
    verdict: Option<Verdict>,
) -> bool {
    let issues = [REAL.issue(listed)];
    let at = (REAL.repo.clone(), REAL.number);
    let idle = [REAL.worker(cfg, p.worker).clone()];
    let other = usize::from(1 - p.worker);
    let running: Vec<_> = (cfg.same_host && s.disks[other].task.is_some())
        .then(|| (REAL.repo.clone(), Some(REAL.number), REAL.worker(cfg, 1 - p.worker).clone()))
        .into_iter()
        .collect();
    let gone = p.abandoned.map(|w| (at.clone(), REAL.worker(cfg, w).clone()));
    let seen = Snapshot {
        issues: &issues,
        repos: &BTreeMap::new(),
        idle: &idle,
        brokers: &BTreeSet::new(),
        running: &running,
        abandoned: &gone.into_iter().collect(),
        verdicts: &verdict.map(|v| (at, v)).into_iter().collect(),
    };
    let plan = plan::assign(&seen, &Rules { only_label: None, max_per_repo: 2, reserve: 0 });
    !plan.questions.is_empty() || !plan.assignments.is_empty()
}

/// Whether the worker's label is there and should not be: as `assign` sees it, and the claim.
pub(crate) fn leaves_label(s: &State, p: &Process, cfg: Config, listed: Listed) -> bool {
    let disk = &s.disks[usize::from(p.worker)];
    let worker = REAL.worker(cfg, p.worker);
    let archive: Vec<_> = disk.archive.iter().map(|old| REAL.run(cfg, &old.task)).collect();
    let sides = Sides {
        workers: &BTreeMap::from([(worker.clone(), Doing::Idle)]),
        archive: &archive,
        issues: &[REAL.issue(listed)],
        listed: &BTreeSet::from([REAL.repo.clone()]),
    };
    let is_left =
        |d: &Drift| d.worker.as_ref() == Some(worker) && matches!(d.wrong, Wrong::LeftOver(_));
    let last = disk.archive.last().map(|old| old.task.run);
    let theirs = |c: Record| Some(c.run) != last && REAL.worker(cfg, worker_of(c.run)) == worker;
    !s.remote.claim.is_some_and(theirs) && drift(&sides).iter().any(is_left)
}

/// For how long this host has seen the claim to be `id`.
pub(crate) fn unchanged(s: &mut State, worker: u8, id: u8) -> Duration {
    let seen = &mut s.disks[usize::from(worker)].seen;
    match *seen {
        Some((known, age)) if known == id => Duration::from_secs(age.into()),
        _ => {
            *seen = Some((id, 0));
            Duration::ZERO
        }
    }
}

pub(crate) fn abandoned(s: &mut State, p: &mut Process, cfg: Config, listed: Listed) {
    if let Some(found) = s.remote.claim {
        let age = unchanged(s, p.worker, found.id);
        let theirs = worker_of(found.run);
        let is_out = cfg.host(theirs) != cfg.host(p.worker) && age.as_secs() >= TTL.into();
        if is_out && listed.labels & 1 << cfg.name(theirs) != 0 && !cfg.is(Variant::NoTakeover) {
            p.abandoned = Some(theirs);
        }
    }
}

pub(crate) fn closer(s: &mut State, p: &mut Process, cfg: Config, listed: Listed) {
    let hosts = |w: &u8| cfg.host(*w) == cfg.host(p.worker);
    let runs: Vec<_> = (0..2)
        .filter(hosts)
        .flat_map(|w| &s.disks[usize::from(w)].archive)
        .map(|old| REAL.run(cfg, &old.task))
        .collect();
    let skip = history_refuses(&runs, &REAL.issue(listed), hours(24));
    let skip = skip.filter(|_| !cfg.is(Variant::TriedForEver));
    let pull = || s.remote.pulls.contains(&0).then(|| Skip::HasPull(String::new()));
    let verdict = skip.or_else(pull).map_or(Verdict::Eligible, Verdict::Refused);
    let free = s.disks[usize::from(p.worker)].task.is_none() && !s.is_locked(p.worker);
    if is_planned(s, p, cfg, listed, Some(verdict)) && free {
        (p.locked, p.at) = (true, At::Check);
    }
}

/// As `check_issue` does.
pub(crate) fn check(s: &mut State, p: &mut Process, cfg: Config) {
    p.at = At::End;
    let gone = p.abandoned.map_or(0, |w| 1 << cfg.name(w));
    let held = cfg.same_host && s.disks[usize::from(1 - p.worker)].task.is_some();
    let late = is_late(collect::later(0), collect::later(p.looked));
    p.looked = 0;
    if late || held || s.remote.labels & !gone != 0 || s.remote.blocked {
        return;
    }
    let relieves = p.abandoned.filter(|_| !cfg.is(Variant::RelievedForgotten));
    p.task = Some(Task { relieves, ..Task::new(s.fresh_run(p.worker)) });
    p.at = At::Write;
}
