//! Visits every state that can be reached, breadth first, and looks at each.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use claude_workers::domain::Outcome;

use crate::Config;
use crate::steps::{Step, next};
use crate::world::{At, State, TTL};

pub(crate) struct Found {
    pub states: usize,
    pub steps: usize,
    /// What is wrong, and the shortest way there.
    pub wrong: Option<(&'static str, Vec<Step>)>,
    pub last: Option<State>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, {} steps", self.states, self.steps)?;
        let Some((what, trace)) = &self.wrong else { return Ok(()) };
        writeln!(f, ": {what}")?;
        for (who, step) in trace {
            writeln!(
                f,
                "  {} {step}",
                [" ", "A", "B"].get(usize::from(who + 1) % 10).unwrap_or(&" ")
            )?;
        }
        write!(f, "{:?}", self.last)
    }
}

/// What must never be, in any state.
fn broken(s: &State, cfg: Config) -> Option<&'static str> {
    let at_work: Vec<_> = s.processes.iter().filter(|p| p.at == At::Agent).collect();
    let ours = |p: &&&crate::world::Process| {
        cfg.same_host || p.task.is_some_and(|t| t.claim.is_none_or(|c| c.age < TTL))
    };
    let archive = || s.disks.iter().flat_map(|d| &d.archive);
    let silent = |task: &crate::world::Task| {
        matches!(task.ended, Some(Outcome::Succeeded | Outcome::Failed))
            && !s.remote.comments.contains(&task.run)
    };
    let stolen = s.disks.iter().filter_map(|d| d.task).any(|task| {
        let live = task.claim.is_some_and(|c| c.age < TTL);
        live && !s.over.contains(&task.run) && s.remote.claim.is_none_or(|c| c.run != task.run)
    });
    let said = &s.remote.comments;
    let said_twice = said.iter().enumerate().any(|(i, run)| said[..i].contains(run));
    let succeeded = archive().filter(|old| old.task.ended == Some(Outcome::Succeeded)).count();
    let checks = [
        (at_work.iter().filter(ours).count() > 1, "two agents work on the issue"),
        (at_work.len() > 1 && at_work[0].worker == at_work[1].worker, "a worker has two agents"),
        (stolen, "a claim was taken over before its time"),
        (s.remote.pulls.len() > 1, "there are two pull requests"),
        (said_twice || succeeded > 1, "there are two final comments"),
        (archive().any(|old| silent(&old.task)), "a run is archived whose end was not told"),
    ];
    let first = checks.into_iter().find(|(is, _)| *is).map(|(_, what)| what);
    s.wrong.or(first)
}

/// Whether all is quiet as it should be.
fn is_good(s: &State, cfg: Config) -> bool {
    let alive = |w: &u8| !s.dead[cfg.host(*w)];
    let gone = (0..2).filter(|w| !alive(w)).fold(0, |bits, w| bits | 1 << cfg.name(w));
    let labels = s.remote.labels & !gone;
    s.processes.is_empty()
        && (0..2).filter(alive).all(|w| s.disks[usize::from(w)].task.is_none())
        // Where a person has to look, that person takes the labels off. Of a name that two hosts
        // share, the one that was stopped for longer than its claim lasts may leave one behind.
        && (s.remote.blocked || !s.remote.pulls.is_empty() && (labels == 0 || cfg.same_names))
}

pub(crate) fn explore(cfg: Config) -> Found {
    let first = Rc::new(State::new(cfg));
    let mut known: HashMap<Rc<State>, u32> = HashMap::from([(first.clone(), 0)]);
    let mut states = vec![first];
    let mut from: Vec<(u32, Step)> = vec![(0, (9, ""))];
    let mut before: Vec<Vec<u32>> = vec![Vec::new()];
    let mut good: Vec<u32> = Vec::new();
    let mut steps = 0;
    let trace = |from: &[(u32, Step)], mut at: u32| {
        let mut trace = Vec::new();
        while at != 0 {
            let (earlier, step) = from[at as usize];
            trace.push(step);
            at = earlier;
        }
        trace.reverse();
        trace
    };
    let mut at = 0;
    while let Some(state) = states.get(at).cloned() {
        let here = u32::try_from(at).unwrap();
        at += 1;
        if let Some(what) = broken(&state, cfg) {
            let wrong = Some((what, trace(&from, here)));
            return Found { states: at, steps, wrong, last: Some((*state).clone()) };
        }
        let all = next(&state, cfg);
        steps += all.len();
        if is_good(&state, cfg) {
            good.push(here);
        }
        for (step, state) in all {
            let state = Rc::new(state);
            let id = *known.entry(state.clone()).or_insert_with(|| {
                states.push(state);
                from.push((here, step));
                before.push(Vec::new());
                u32::try_from(states.len() - 1).unwrap()
            });
            before[id as usize].push(here);
        }
    }
    // From everywhere some way leads to a good end.
    let mut reaches = vec![false; states.len()];
    while let Some(id) = good.pop() {
        if !std::mem::replace(&mut reaches[id as usize], true) {
            good.extend(&before[id as usize]);
        }
    }
    let stuck = reaches.iter().position(|reaches| !reaches);
    let wrong =
        stuck.map(|id| ("no way leads to a good end", trace(&from, u32::try_from(id).unwrap())));
    let last = stuck.map(|id| (*states[id]).clone());
    Found { states: states.len(), steps, wrong, last }
}
