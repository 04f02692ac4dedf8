//! The program's effects, in its order, and what may happen between them.

use std::time::Duration;

use claude_workers::domain::Outcome;
use claude_workers::plan::{Standing, is_late, standing};

use crate::looks::{abandoned, check, closer, is_planned, leaves_label, unchanged};
use crate::mishaps::{arrive, die, disaster, under_way};
use crate::world::{
    Agent, At, Held, Listed, Process, REAL, Record, State, TTL, Task, run_id, worker_of,
};
use crate::{Config, Variant, collect};

/// Whose step it is, and what it is.
pub(crate) type Step = (u8, &'static str);

/// Everything that may happen next.
pub(crate) fn next(state: &State, cfg: Config) -> Vec<(Step, State)> {
    let mut all = possible(state, cfg);
    for (_, state) in &mut all {
        state.settle();
    }
    all
}

fn possible(state: &State, cfg: Config) -> Vec<(Step, State)> {
    let mut out = Vec::new();
    // What only its own disk sees need not be tried in every order with what the other host does.
    let alone = |p: &Process| !cfg.same_host && p.at.is_local();
    if let Some(i) = state.processes.iter().position(alone) {
        Turn { state, i, cfg, out: &mut out }.take();
        die(state, i, cfg, &mut out);
        disaster(state, cfg, cfg.host(state.processes[i].worker), &mut out);
        return out;
    }
    for worker in 0..2 {
        begin(state, cfg, worker, &mut out);
    }
    arrive(state, &mut out);
    for i in 0..state.processes.len() {
        Turn { state, i, cfg, out: &mut out }.take();
        die(state, i, cfg, &mut out);
    }
    for host in 0..cfg.hosts() {
        disaster(state, cfg, host, &mut out);
    }
    if cfg.gc {
        collect::steps(state, cfg, &mut out);
    }
    // Time matters from when somebody watches a claim.
    let watched = state.disks.iter().any(|d| d.seen.is_some_and(|(_, age)| age < TTL))
        || state.gc && state.remote.claim.is_some_and(|claim| claim.done && claim.age == 0);
    let stalled = u8::from(!state.processes.is_empty());
    if watched && state.stalls >= stalled {
        let mut later = State { stalls: state.stalls - stalled, ..state.clone() };
        later.tick();
        out.push(((9, "time passes"), later));
    }
    out
}

/// A tick of cron (or, of the second worker of one host, a dispatch by hand).
fn begin(state: &State, cfg: Config, worker: u8, out: &mut Vec<(Step, State)>) {
    let mine = || state.processes.iter().filter(|p| p.worker == worker);
    if state.dead[cfg.host(worker)] || mine().any(|p| !p.supervises) {
        return;
    }
    let busy = state.is_locked(worker);
    if busy && !(cfg.is(Variant::TakeUpWithoutLock) && mine().count() < 2) {
        return;
    }
    let mut new = Process::new(worker, At::List);
    if state.disks[usize::from(worker)].task.is_some() {
        (new.at, new.supervises, new.locked) = (At::TakeUp, true, true);
    } else if busy {
        return;
    }
    let lists = new.at == At::List;
    let mut state = state.clone();
    state.processes.push(new);
    let i = state.processes.len() - 1;
    if lists {
        Turn { state: &state, i, cfg, out }.take();
    } else {
        state.processes.sort_by_key(|p| p.worker);
        out.push(((worker, "begins"), state));
    }
}

/// How a request ended, as far as its sender knows.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Told {
    Done,
    /// It may or may not have been done.
    Nothing,
}

pub(crate) struct Turn<'a> {
    pub(crate) state: &'a State,
    i: usize,
    pub(crate) cfg: Config,
    out: &'a mut Vec<(Step, State)>,
}

impl Turn<'_> {
    pub(crate) fn me(&self) -> &Process {
        &self.state.processes[self.i]
    }

    /// One outcome of the step.
    pub(crate) fn go(&mut self, what: &'static str, act: impl FnOnce(&mut State, &mut Process)) {
        let (mut state, cfg) = (self.state.clone(), self.cfg);
        let mut me = state.processes.remove(self.i);
        act(&mut state, &mut me);
        let worker = me.worker;
        if me.at == At::Publish
            && let Some(task) = &mut me.task
            && task.ended != Some(Outcome::Succeeded)
        {
            (me.at, me.back) = (At::Own, At::Comments);
            let never = matches!(task.agent, None | Some(Agent::NotStarted));
            let never = never && task.relieves.is_none();
            if cfg.claims() && task.claim.is_none() && never {
                // It never had the issue, and says nothing about it.
                (task.ended, me.at) = (Some(Outcome::NotStarted), At::OffNever);
            }
        }
        if me.at == At::OffRelieved && me.task.is_some_and(|t| t.relieves.is_none()) {
            me.at = At::Finish;
        }
        if me.at != At::End {
            me.forget();
            state.processes.insert(self.i.min(state.processes.len()), me);
            state.processes.sort_by_key(|p| p.worker);
        }
        if state != *self.state {
            self.out.push(((worker, what), state));
        }
    }

    /// A change on the remote: done and told, done and not told, not done.
    pub(crate) fn request(
        &mut self,
        what: &'static str,
        effect: impl Fn(&mut State, &mut Process),
        then: impl Fn(&mut State, &mut Process, Told),
    ) {
        self.go(what, |s, p| {
            effect(s, p);
            then(s, p, Told::Done);
        });
        let me = self.me();
        let free = self.cfg.fickle && me.worker == 0 && matches!(me.at, At::Label | At::Unlabel);
        if self.state.faults > 0 || free {
            let cost = u8::from(!free);
            for applied in [true, false] {
                self.go("got no answer", |s, p| {
                    s.faults -= cost;
                    if applied {
                        effect(s, p);
                    }
                    then(s, p, Told::Nothing);
                });
            }
        }
        if self.state.faults > 0
            && let Some(late) = under_way(self.state, self.me(), self.cfg)
        {
            self.go("gave up its push, which is under way", |s, p| {
                (s.faults, s.late) = (s.faults - 1, Some(late));
                then(s, p, Told::Nothing);
            });
        }
    }

    fn take(mut self) {
        let cfg = self.cfg;
        match self.me().at {
            At::List => self.list(),
            At::Check => self.go("reads the issue again", |s, p| check(s, p, cfg)),
            At::Write => self.go("writes the record", |s, p| {
                s.disks[usize::from(p.worker)].task = p.task;
                p.at = if cfg.same_host { At::Others } else { claim_first(p, cfg) };
            }),
            At::Others => self.go("looks at the others' records", |s, p| {
                let other = &s.disks[usize::from(1 - p.worker)];
                p.at = if other.task.is_some() { At::Forget } else { claim_first(p, cfg) };
            }),
            At::TakeNew | At::TakeSwap | At::KeepSwap | At::OwnSwap => self.swap(),
            At::TakeRead => self.go("reads the claim", |s, p| take_read(s, p, cfg)),
            At::SaveClaim => self.save("records its claim", |p| p.at = At::Label),
            At::CheckAgain => self.go("reads the issue once more", |s, p| {
                let gone = p.abandoned.map_or(0, |w| 1 << cfg.name(w));
                let free = s.remote.labels & !gone == 0 && !s.remote.blocked;
                p.at = if free && !s.remote.pulls.contains(&0) { At::TakeSwap } else { At::Forget };
            }),
            At::CheckLate => self.go("reads the issue once more", |s, p| {
                let gone = p.abandoned.map_or(0, |w| 1 << cfg.name(w));
                let free = s.remote.labels & !gone == 0 && !s.remote.blocked;
                let free = free && !s.remote.pulls.contains(&0);
                p.at = if free { At::SaveClaim } else { At::ReleaseLate };
            }),
            At::ReleaseLate => self.go("gives the claim back", |s, p| {
                mark_done(s, p);
                p.at = At::Forget;
            }),
            At::Label => self.request("labels the issue", put_label(cfg), |_, p, told| {
                let relieves = p.task.is_some_and(|t| t.relieves.is_some());
                p.at = match told {
                    Told::Done => At::Start,
                    Told::Nothing if relieves => At::End,
                    Told::Nothing => At::Release,
                };
            }),
            At::Release | At::Finish => self.finish(),
            At::ReleaseSwap => self.go("gives the claim back", |s, p| {
                mark_done(s, p);
                p.at = At::Unlabel;
            }),
            At::Unlabel => self.request("takes the label back", take_label(cfg), |_, p, told| {
                p.at = if told == Told::Done { At::Forget } else { At::End };
            }),
            At::Forget => self.go("removes the record", |s, p| {
                s.disks[usize::from(p.worker)].task = None;
                p.at = At::End;
            }),
            At::Start => self.start(),
            At::Relieve => {
                self.request("takes the gone host's label off", relieve(cfg), |_, p, _| {
                    p.at = At::End;
                });
            }
            _ => self.supervise(),
        }
    }

    fn start(&mut self) {
        let cfg = self.cfg;
        self.go("starts the supervisor", |s, p| {
            let mut new = Process::new(p.worker, At::TakeUp);
            (new.supervises, new.locked, new.claimed) = (true, true, true);
            s.processes.push(new);
            p.at = if p.abandoned.is_some() { At::Relieve } else { At::End };
        });
        if cfg.fickle && self.me().worker == 0 {
            self.go("cannot start the supervisor", |_, p| {
                let relieves = p.task.is_some_and(|t| t.relieves.is_some());
                p.at = if relieves { At::End } else { At::Release };
            });
        }
    }

    fn list(&mut self) {
        let cfg = self.cfg;
        let worker = self.me().worker;
        let last = self.state.disks[usize::from(worker)].archive.last();
        let remote = &self.state.remote;
        let now = Listed {
            labels: remote.labels,
            blocked: remote.blocked,
            changed: last.is_some_and(|old| old.changed),
        };
        let stale = Listed { labels: 0, blocked: false, changed: false };
        for (what, listed) in [("lists", now), ("gets an old list", stale)] {
            if what != "lists" && listed == now {
                continue;
            }
            if leaves_label(self.state, self.me(), cfg, listed) {
                self.go("takes a label off that was left", |s, p| {
                    take_label(cfg)(s, p);
                    p.at = At::End;
                });
            }
            self.go(what, |s, p| {
                p.at = At::End;
                let foreign = listed.labels != 0 && !listed.blocked;
                let held = cfg.same_host && s.disks.iter().any(|d| d.task.is_some());
                if foreign && !held && cfg.claims() {
                    abandoned(s, p, cfg, listed);
                }
                // More of the same is not looked at: what was tried so often without an end has none.
                let tried = s.disks[usize::from(p.worker)].archive.len();
                if tried <= cfg.most_runs() && is_planned(s, p, cfg, listed, None) {
                    closer(s, p, cfg, listed);
                }
            });
        }
    }

    pub(crate) fn save(&mut self, what: &'static str, then: impl FnOnce(&mut Process)) {
        self.go(what, |s, p| {
            then(p);
            s.disks[usize::from(p.worker)].task = p.task;
        });
    }

    /// A compare-and-swap of the claim, and the look at it when its answer was lost or bad.
    fn swap(&mut self) {
        let cfg = self.cfg;
        if self.me().doubt {
            self.go("looks whether it has the claim", |s, p| {
                let there = s.remote.claim.map(|c| c.id);
                let won = there == Some(p.to);
                let end = if won { Some(true) } else { (there != p.from).then_some(false) };
                let own = is_ours(s, p).is_some();
                swapped(p, cfg, end);
                if p.at == At::OffLost && own {
                    // A push of its own came late. It tries again.
                    p.at = At::Publish;
                }
            });
            return;
        }
        let fresh = self.state.fresh_id();
        let from = self.me().from;
        let there = self.state.remote.claim.map(|c| c.id);
        let to = if cfg.is(Variant::SameObject) { 100 + self.me().epoch } else { fresh };
        let wins = there == from || cfg.is(Variant::ClaimWithoutCompare) || there == Some(to);
        let effect = move |s: &mut State, p: &mut Process| {
            p.to = to;
            if wins {
                let run = p.task.map_or(0, |t| t.run);
                s.remote.claim = Some(Record { id: to, run, epoch: p.epoch, done: false, age: 0 });
            }
        };
        self.request("swaps the claim", effect, move |_, p, told| {
            p.to = to;
            if wins && told == Told::Done {
                swapped(p, cfg, Some(true));
            } else {
                p.doubt = true;
            }
        });
    }

    fn finish(&mut self) {
        let cfg = self.cfg;
        if self.me().at == At::Release {
            self.go("reads its claim", |_, p| {
                p.at = At::ReleaseSwap;
            });
            return;
        }
        // If it fails, the claim runs out by itself.
        self.request("marks the claim as done", mark_done, move |_, p, _| {
            let ended = if cfg.is(Variant::ArchiveFirst) { At::End } else { At::Archive };
            p.at = if p.orphan { At::End } else { ended };
        });
    }
}

pub(crate) fn claim_first(p: &mut Process, cfg: Config) -> At {
    p.epoch = 1;
    if !cfg.claims() {
        return At::Label;
    }
    if p.abandoned.is_some() { At::TakeRead } else { At::TakeNew }
}

fn take_read(s: &mut State, p: &mut Process, cfg: Config) {
    let found = s.remote.claim;
    let age = found.map_or(Duration::ZERO, |c| unchanged(s, p.worker, c.id));
    let claim = found.map(|c| REAL.claim(cfg, c));
    let run = run_id(p.task.map_or(0, |t| t.run));
    let labelled = p.abandoned.is_some();
    match standing(claim.as_ref(), REAL.host(cfg, p.worker), &run, age, labelled) {
        Standing::Ours { epoch } | Standing::Free { epoch } => {
            p.epoch = u8::try_from(epoch).unwrap();
            let looks = !p.supervises && !cfg.is(Variant::CheckedOnce);
            p.from = found.map(|c| c.id);
            let theirs = |c: &Record| !c.done && cfg.host(worker_of(c.run)) != cfg.host(p.worker);
            let gone = found.filter(theirs).map(|c| worker_of(c.run));
            if let Some(task) = p.task.as_mut().filter(|_| !cfg.is(Variant::RelievedForgotten)) {
                task.relieves = gone.or(task.relieves);
            }
            p.at = if looks { At::CheckAgain } else { At::TakeSwap };
        }
        Standing::Theirs { .. } => refused(p),
    }
}

/// The claim is not to be had.
pub(crate) fn refused(p: &mut Process) {
    p.at = if p.supervises { At::NotStarted } else { At::Forget };
}

/// Whether a run without a claim has waited for it for so long that others may have come and gone.
pub(crate) fn task_is_late(task: &Task, p: &Process, cfg: Config) -> bool {
    let unseen = if p.supervises { Variant::LateWhenKept } else { Variant::LateAtFirst };
    is_late(collect::later(0), collect::later(task.age)) && !cfg.is(unseen)
}

/// `None`: it is not known, or something else was in the way.
fn swapped(p: &mut Process, cfg: Config, won: Option<bool>) {
    let unseen = p.supervises || p.from.is_none();
    let late = |task: Task| unseen && task.claim.is_none() && task_is_late(&task, p, cfg);
    let late = p.task.is_some_and(late);
    let held = Held { id: p.to, epoch: p.epoch, age: p.waited };
    let next = match (p.at, won) {
        (At::OwnSwap, Some(true)) => {
            p.sure = Some(held);
            Some(p.back)
        }
        (At::OwnSwap, Some(false)) => {
            lost(p);
            None
        }
        (At::OwnSwap, None) => Some(At::Publish),
        (_, Some(true)) => {
            let first = p.task.is_none_or(|task| task.claim.is_none());
            if let Some(task) = &mut p.task {
                task.claim = Some(held);
            }
            match (p.supervises, late) {
                // What comes late is looked at before it is written down.
                (true, false) if first => Some(At::Prepare),
                (true, false) => Some(At::SaveKept),
                (true, true) => {
                    p.task.iter_mut().for_each(|task| task.claim = None);
                    refused(p);
                    None
                }
                (false, false) => Some(At::SaveClaim),
                (false, true) => Some(At::CheckLate),
            }
        }
        (At::TakeNew, Some(false)) if !p.supervises => Some(At::TakeRead),
        _ => {
            refused(p);
            None
        }
    };
    p.at = next.unwrap_or(p.at);
    (p.from, p.to, p.epoch, p.doubt, p.waited) = (None, 0, 0, false, 0);
}

/// Another host has taken the issue over: what is on GitHub is that one's.
pub(crate) fn lost(p: &mut Process) {
    if let Some(task) = &mut p.task {
        task.ended = Some(Outcome::Lost);
    }
    p.at = At::OffLost;
}

pub(crate) fn is_ours(s: &State, p: &Process) -> Option<Record> {
    s.remote.claim.filter(|c| p.task.is_some_and(|t| t.run == c.run))
}

pub(crate) fn mark_done(s: &mut State, p: &mut Process) {
    if is_ours(s, p).is_some() {
        let id = s.fresh_id();
        s.remote.claim.iter_mut().for_each(|c| (c.id, c.done, c.age) = (id, true, 0));
        s.over[usize::from(p.worker)] = p.task.map_or(0, |t| t.run);
    }
    p.sure = None;
}

pub(crate) fn put_label(cfg: Config) -> impl Fn(&mut State, &mut Process) + use<> {
    move |s, p| {
        s.remote.labels |= 1 << cfg.name(p.worker);
        s.touch();
    }
}

pub(crate) fn take_label(cfg: Config) -> impl Fn(&mut State, &mut Process) + use<> {
    move |s, p| {
        s.remote.labels &= !(1 << cfg.name(p.worker));
        s.touch();
    }
}

pub(crate) fn relieve(cfg: Config) -> impl Fn(&mut State, &mut Process) + use<> {
    move |s, p| {
        let whose = p.task.and_then(|t| t.relieves).or(p.abandoned).map(|w| cfg.name(w));
        if let Some(name) = whose.filter(|name| *name != cfg.name(p.worker)) {
            s.remote.labels &= !(1 << name);
            s.touch();
        }
    }
}
