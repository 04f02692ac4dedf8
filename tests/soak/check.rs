//! What must be so, at any time and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use claude_workers::domain::{Outcome, Run};
use claude_workers::store::{self, State};
use jiff::Timestamp;

use crate::killer::Killer;
use crate::world::{Fate, Name, World, file_of, is_settled};

/// What is wrong now that may never be.
pub fn at_any_time(world: &World) -> Vec<String> {
    let mut wrong = doubles(world);
    for (name, pulls) in World::pulls(&world.seen()) {
        if pulls.len() > 1 {
            wrong.push(format!("{name:?} has the pull requests {pulls:?}"));
        }
    }
    wrong
}

/// The notes of agents that met another one at work on their issue.
fn doubles(world: &World) -> Vec<String> {
    let note = |(host, worker, text): (String, String, String)| {
        let issues: Vec<&str> = text.lines().collect();
        format!("{host} {worker}: another agent was at work on {issues:?}")
    };
    notes(world, "double").into_iter().map(note).collect()
}

/// Files of this name in the workers' homes: host, worker, text.
fn notes(world: &World, file: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for host in &world.hosts {
        for worker in store::list(&host.root).unwrap() {
            if let Ok(text) = fs::read_to_string(host.root.home(&worker.id).join(file)) {
                found.push((host.name.clone(), worker.id.to_string(), text));
            }
        }
    }
    found
}

/// The world at its end.
pub struct Account {
    /// With the name of the host.
    runs: Vec<(String, Run)>,
    unread: Vec<String>,
    /// The ids of runs that our comments on each issue are about.
    said: BTreeMap<Name, Vec<String>>,
    /// When agents were started on each issue's file.
    starts: BTreeMap<String, Vec<Timestamp>>,
}

impl Account {
    pub fn of(world: &World) -> Self {
        let (mut runs, mut unread) = (Vec::new(), Vec::new());
        for host in &world.hosts {
            let (all, broken) = store::completed(&host.root, None).unwrap();
            runs.extend(all.into_iter().map(|run| (host.name.clone(), run)));
            unread.extend(broken.iter().map(|b| format!("{}: {}", host.name, b.path.display())));
        }
        let said = world.issues.keys().map(|name| {
            let comments = world.hub.comments(&name.0, name.1).unwrap();
            let about = |body: &str| {
                let (_, after) = body.rsplit_once("<!-- claude-workers run ")?;
                Some(after.split(' ').next()?.to_owned())
            };
            (name.clone(), comments.iter().filter_map(|c| about(&c.body)).collect())
        });
        let mut starts: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for line in notes(world, "starts").iter().flat_map(|(_, _, text)| text.lines()) {
            let (file, at) = line.split_once(' ').unwrap();
            let (secs, nanos) = at.split_once('.').unwrap();
            let at = Timestamp::new(secs.parse().unwrap(), nanos.parse().unwrap()).unwrap();
            starts.entry(file.to_owned()).or_default().push(at);
        }
        Self { said: said.collect(), runs, unread, starts }
    }

    /// Everything that is not as it must be.
    pub fn wrong(&self, world: &World) -> Vec<String> {
        let mut wrong = at_any_time(world);
        wrong.extend(self.unread.iter().map(|path| format!("{path} cannot be read")));
        let seen = world.seen();
        let pulls = World::pulls(&seen);
        let mut of_issue: BTreeMap<Name, Vec<&Run>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for (host, run) in &self.runs {
            let number = run.issue.map_or(0, |n| n.to_string().parse().unwrap());
            of_issue.entry((run.repo.to_string(), number)).or_default().push(run);
            if !ids.insert(run.run.to_string()) {
                wrong.push(format!("{host}: run {} has two records", run.run));
            }
        }
        for (name, fate) in &world.issues {
            let view = &seen[name];
            let has = pulls.get(name).map_or(0, Vec::len);
            let mut runs = of_issue.remove(name).unwrap_or_default();
            runs.sort_by_key(|run| run.ended_at);
            let told: Vec<String> = runs.iter().map(|run| told(run)).collect();
            let mut not =
                |what: &str| wrong.push(format!("{name:?} ({fate:?}): {what}: {told:#?}"));
            if !is_settled(*fate, view, has) {
                not(&format!("lost, with the labels {:?} and {has} pull requests", view.labels));
            }
            let done = runs.iter().filter(|run| run.outcome() == Some(Outcome::Succeeded));
            if done.count() != usize::from(*fate == Fate::Succeed) {
                not("it did not succeed once, or should not have");
            }
            let success = runs.iter().find(|run| run.outcome() == Some(Outcome::Succeeded));
            let since = success.and_then(|run| run.ended_at);
            let starts = self.starts.get(&file_of(name)).into_iter().flatten();
            for at in starts.filter(|at| since.is_some_and(|since| **at > since)) {
                not(&format!("an agent was started at {at}, after it had succeeded"));
            }
            let said = &self.said[name];
            for run in &runs {
                let times = said.iter().filter(|id| **id == run.run.to_string()).count();
                let wanted = match run.outcome() {
                    Some(Outcome::NotStarted | Outcome::Lost) => 0..=1,
                    _ => 1..=1,
                };
                if !wanted.contains(&times) {
                    not(&format!("run {} is told of in {times} comments", run.run));
                }
            }
            if let Some(id) = said.iter().find(|id| !ids.contains(*id)) {
                not(&format!("a comment is about {id}, of which there is no record"));
            }
        }
        for host in &world.hosts {
            for worker in store::list(&host.root).unwrap() {
                if !matches!(worker.state, State::Idle) {
                    wrong.push(format!("{} {} is stuck: {:?}", host.name, worker.id, worker.state));
                }
            }
        }
        wrong
    }

    pub fn summary(&self, world: &World, killer: &Killer<'_>, took: Duration) -> String {
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, run) in &self.runs {
            *outcomes.entry(run.outcome().map_or("none", Outcome::as_str)).or_default() += 1;
        }
        let (kills, struck) = (killer.kills(), world.hub.struck());
        let lost = world.issues.len() - world.settled();
        let mut text = String::new();
        let _ = writeln!(
            text,
            "soak of seed {}: {} issues on {} hosts in {:.0} s\n  runs: {} {outcomes:?}, {} agents \
             started\n  kills: {} {kills:?}\n  faults: {} {struck:?}\n  lost {lost}, double {}",
            world.options.seed,
            world.issues.len(),
            world.hosts.len(),
            took.as_secs_f64(),
            self.runs.len(),
            self.starts.values().map(Vec::len).sum::<usize>(),
            kills.values().sum::<u64>(),
            struck.values().sum::<u64>(),
            at_any_time(world).len(),
        );
        text
    }
}

/// A run in a line.
fn told(run: &Run) -> String {
    let ended = run.ended.as_ref().map(|e| format!("{}: {}", e.outcome, e.why)).unwrap_or_default();
    format!(
        "{} worker {} attempt {} losses {} {ended}",
        run.run, run.worker, run.attempt, run.losses
    )
}
