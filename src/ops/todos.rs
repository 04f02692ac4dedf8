//! What agents have set themselves to do.

use serde::Serialize;

use super::log::Log;
use super::queries::known;
use super::unknown::broken;
use super::{Context, Failure};
use crate::domain::{IssueNumber, RepoSlug, RunId, WorkerId};
use crate::executor::Todo;
use crate::store::{self, State};

/// The answer to `todos`. As JSON it is versioned; fields may be added to a version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Todos {
    /// Version of the shape.
    pub version: u32,
    /// The workers.
    pub workers: Vec<WorkerTodos>,
    /// Those whose record cannot be read, so that nobody knows whether they have a run.
    #[serde(skip)]
    pub unread: Vec<Failure>,
}

/// The list of one worker's agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerTodos {
    /// The worker.
    pub worker: WorkerId,
    /// `busy`, `stopped` or `crashed`; `idle` when it is its last run that is shown.
    pub state: &'static str,
    /// The run.
    pub run: RunId,
    /// Where.
    pub repo: RepoSlug,
    /// On what.
    pub issue: Option<IssueNumber>,
    /// The same in words: `octo/app#22`.
    #[serde(skip)]
    pub subject: String,
    /// The issue's title.
    pub title: Option<String>,
    /// Who works.
    pub executor: String,
    /// The list, in the agent's order; empty if it has none, `None` if agents of this executor do
    /// not tell.
    pub todos: Option<Vec<Todo>>,
}

/// Reads the list of one worker's agent, of the last run if the worker is idle; or of all workers
/// that have a run.
///
/// # Errors
/// When the worker asked for does not exist or has never run, or a log cannot be read.
pub fn todos(ctx: &Context, only: Option<&WorkerId>) -> Result<Todos, Failure> {
    let mut unread = Vec::new();
    let asked: Vec<_> = if let Some(id) = only {
        known(ctx, id)?;
        vec![store::worker(&ctx.root, id.clone())]
    } else {
        let mut asked = Vec::new();
        for worker in store::list(&ctx.root)? {
            match &worker.state {
                State::Busy(_) | State::Crashed(_) => asked.push(worker),
                State::Broken(why) => unread.push(broken(ctx, &worker.id, why)),
                State::Idle | State::Starting => {}
            }
        }
        asked
    };
    let workers = asked.into_iter().map(|worker| of_worker(ctx, worker));
    Ok(Todos { version: 1, workers: workers.collect::<Result<_, _>>()?, unread })
}

fn of_worker(ctx: &Context, worker: store::Worker) -> Result<WorkerTodos, Failure> {
    let state = match &worker.state {
        State::Busy(_) => "busy",
        State::Crashed(run) => run.lies(),
        State::Idle | State::Starting | State::Broken(_) => "idle",
    };
    let log = Log::in_state(ctx, &worker.id, worker.state)?;
    let todos = log.todos()?;
    let run = log.into_run();
    Ok(WorkerTodos {
        worker: worker.id,
        state,
        subject: run.subject(),
        run: run.run,
        repo: run.repo,
        issue: run.issue,
        title: run.title,
        executor: run.executor,
        todos,
    })
}
