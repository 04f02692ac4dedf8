//! What the disk knows: workers, runs, repositories, executors, models.

use std::any::TypeId;

use clap_complete::engine::CompletionCandidate;
use jiff::Timestamp;

use crate::cli::print::duration;
use crate::domain::{RepoPattern, RepoSlug, RunId, WorkerId, text};
use crate::executor::Executor;
use crate::ops::Context;
use crate::ops::queries::{WorkerStatus, status};
use crate::store;

/// What an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Worker,
    Run,
    Repo,
    Executor,
    Model,
}

/// Seen from the argument's type, or else its name.
pub(super) fn kind(arg: &clap::Arg) -> Option<Kind> {
    let parsed = arg.get_value_parser().type_id();
    let is = |id: TypeId| parsed == id;
    match arg.get_id().as_str() {
        _ if is(TypeId::of::<WorkerId>()) => Some(Kind::Worker),
        _ if is(TypeId::of::<RunId>()) => Some(Kind::Run),
        _ if is(TypeId::of::<RepoSlug>()) => Some(Kind::Repo),
        "executor" => Some(Kind::Executor),
        "model" => Some(Kind::Model),
        _ => None,
    }
}

/// The states of the workers that `command` can do something with, those first that are most likely
/// meant; `None`: of all.
fn states(command: &str) -> Option<&'static [&'static str]> {
    Some(match command {
        // It makes workers.
        "init" => &[],
        "stop" => &["busy", "crashed", "waiting"],
        "restart" => &["crashed", "stopped", "waiting"],
        "reset" => &["crashed", "stopped", "waiting", "busy", "starting"],
        "watch" => &["busy", "waiting", "starting"],
        "dispatch" | "rm" => &["idle"],
        _ => return None,
    })
}

/// More are no help to anybody.
const MOST_RUNS: usize = 100;

#[derive(Debug)]
pub(super) struct Known {
    ctx: Context,
    /// The other words of the line.
    others: Vec<String>,
}

impl Known {
    pub fn new(ctx: Context, others: Vec<String>) -> Self {
        Self { ctx, others }
    }

    /// What goes on from `current`; with `several`, nothing that is on the line already.
    pub fn candidates(
        &self,
        of: Kind,
        command: &str,
        several: bool,
        current: &str,
    ) -> Vec<CompletionCandidate> {
        let mut all = match of {
            Kind::Worker => self.workers(command),
            Kind::Run => self.runs(current),
            Kind::Repo => self.repos(),
            Kind::Executor => self.executors(),
            Kind::Model => self.models(),
        };
        all.retain(|(value, _)| {
            value.starts_with(current) && !(several && self.others.contains(value))
        });
        // The order is the one here, and each is a thing of its own.
        let candidate = |(at, (value, help)): (usize, (String, String))| {
            CompletionCandidate::new(value).help(Some(help.into())).display_order(Some(at))
        };
        all.into_iter().enumerate().map(candidate).collect()
    }

    fn workers(&self, command: &str) -> Vec<(String, String)> {
        let Ok(seen) = status(&self.ctx, None, Timestamp::now()) else { return Vec::new() };
        let rank = |worker: &WorkerStatus| match states(command) {
            None => Some(0),
            Some(states) => states.iter().position(|state| *state == worker.state),
        };
        let suits = |w: &WorkerStatus| Some((rank(w)?, w.id.to_string(), about(w)));
        let mut ranked: Vec<_> = seen.workers.iter().filter_map(suits).collect();
        ranked.sort();
        ranked.into_iter().map(|(_, id, about)| (id, about)).collect()
    }

    /// The newest first, by the names of their files: none is opened.
    fn runs(&self, current: &str) -> Vec<(String, String)> {
        let mut runs = store::names_of_completed(&self.ctx.root);
        runs.retain(|(run, _, _)| run.as_str().starts_with(current));
        runs.sort_by(|a, b| b.0.cmp(&a.0));
        let shown = runs.into_iter().take(MOST_RUNS);
        shown.map(|(run, worker, what)| (run.to_string(), format!("{worker} {what}"))).collect()
    }

    /// Those that the configuration names, then those that runs were in.
    fn repos(&self) -> Vec<(String, String)> {
        let settings = &self.ctx.settings;
        let named = settings.repos.iter().flatten().filter_map(RepoPattern::one);
        let named: Vec<RepoSlug> = named.cloned().collect();
        let mut seen = self.ctx.root.mirrored(&settings.server_url);
        seen.retain(|repo| !named.contains(repo));
        seen.sort();
        let named = named.into_iter().map(|repo| (repo.to_string(), "configured".to_owned()));
        named.chain(seen.into_iter().map(|repo| (repo.to_string(), "seen".to_owned()))).collect()
    }

    fn executors(&self) -> Vec<(String, String)> {
        let help = |name: &String| {
            if *name == self.ctx.settings.executor { "the default" } else { "" }.to_owned()
        };
        let names = Executor::names(&self.ctx.settings.executors);
        names.into_iter().map(|name| (name.clone(), help(&name))).collect()
    }

    fn models(&self) -> Vec<(String, String)> {
        let settings = &self.ctx.settings;
        let configured = settings.model.iter().map(|m| (m.clone(), "the default".to_owned()));
        let of_claude = ["sonnet", "opus", "haiku"].map(str::to_owned);
        let of_claude = of_claude.into_iter().filter(|m| settings.model.as_ref() != Some(m));
        configured.chain(of_claude.map(|m| (m, "Claude".to_owned()))).collect()
    }
}

/// `busy, octo/app#22 The title, 12m`
fn about(worker: &WorkerStatus) -> String {
    let Some(task) = &worker.task else { return worker.state.to_owned() };
    let title = task.run.title.as_deref().or(task.run.prompt.as_deref()).unwrap_or("");
    let elapsed = duration(task.elapsed_secs);
    let subject = task.run.subject();
    format!("{}, {subject}, {elapsed} {}", worker.state, text::one_line(title, 40))
}
