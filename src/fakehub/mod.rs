//! The embedded GitHub: a stateful REST API and git over smart HTTP on one loopback port, shared
//! by `demo` and the test-suite.
//!
//! It promises to answer as GitHub does, in statuses, headers, error bodies and every property
//! that GitHub's API description requires, and to refuse with 501 what it does not know instead
//! of ignoring it. A test checks all of it against that description.
//!
//! [`FakeHub`] is set up and read by plain calls; the server lives on a thread of its own, so
//! that it serves synchronous tests and an asynchronous demo alike. Everything is in memory but
//! the repositories, which are real, bare, and below [`Options::git_dir`].
//!
//! What real GitHub has and this has not: forks, teams, reviews, checks, milestones, assignees,
//! search and GraphQL; lists lag only on request.

mod activity;
mod api;
mod auth;
mod changes;
mod exchange;
mod fault;
mod git;
mod git_http;
mod render;
mod reply;
mod server;
mod setup;
mod state;
mod views;
mod weather;

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use activity::NewIssue;
pub use exchange::Exchange;
pub use fault::Fault;
pub use setup::NewRepo;
pub use state::Role;
pub use views::{CommentView, IssueView, LabelView, PullView};
pub use weather::{Chance, Trouble, Weather};

use git::Git;
use state::State;

/// What can be wrong with setting up or reading the embedded GitHub.
#[derive(Debug, thiserror::Error)]
pub enum FakeHubError {
    /// The port cannot be had, or the directory cannot be made.
    #[error("cannot start the embedded GitHub on port {port}, repositories in {git_dir}")]
    Start {
        /// The port that was asked for.
        port: u16,
        /// Where the repositories were to be.
        git_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A repository, user, issue or pull request that was never set up.
    #[error("the embedded GitHub has no {what} {name}")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A name that is taken.
    #[error("the embedded GitHub has a {what} {name} already")]
    Taken {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// git could not do what it was asked in a repository.
    #[error("git failed in the embedded repository {repo}")]
    Git {
        /// `owner/name`.
        repo: String,
        /// git's own words.
        source: io::Error,
    },
}

impl FakeHubError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { port: 0, .. } | Self::Taken { .. } | Self::Unknown { .. } => None,
            Self::Start { .. } => Some("choose another port, or 0 for any free one".to_owned()),
            Self::Git { .. } => Some("git 2.38 or newer must be installed".to_owned()),
        }
    }
}

/// How to start it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the bare repositories live; made if it is not there.
    pub git_dir: PathBuf,
    /// The port on 127.0.0.1; 0 is any free one.
    pub port: u16,
    /// The git program: a path, or a name to be found.
    pub git: PathBuf,
}

impl Options {
    /// Any free port, and the git that is found by its name.
    #[must_use]
    pub fn new(git_dir: impl Into<PathBuf>) -> Self {
        Self { git_dir: git_dir.into(), port: 0, git: PathBuf::from("git") }
    }
}

/// A running embedded GitHub. It stops when this is dropped; the repositories stay on disk.
pub struct FakeHub {
    state: Arc<Mutex<State>>,
    server_url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for FakeHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHub").field("server_url", &self.server_url).finish_non_exhaustive()
    }
}

impl FakeHub {
    /// Starts it, empty. It takes connections from the moment this returns.
    pub fn start(options: &Options) -> Result<Self, FakeHubError> {
        let failed = |source| FakeHubError::Start {
            port: options.port,
            git_dir: options.git_dir.clone(),
            source,
        };
        std::fs::create_dir_all(&options.git_dir).map_err(failed)?;
        let root = options.git_dir.canonicalize().map_err(failed)?;
        let listener = TcpListener::bind(("127.0.0.1", options.port)).map_err(failed)?;
        let server_url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let git = Git { program: options.git.clone(), root };
        let state = Arc::new(Mutex::new(State::new(server_url.clone(), git)));
        let (stop, stopped) = oneshot::channel();
        let thread = server::spawn(listener, Arc::clone(&state), stopped).map_err(failed)?;
        Ok(Self { state, server_url, stop: Some(stop), thread: Some(thread) })
    }

    /// The base of the REST API, with a path prefix as GitHub Enterprise has it:
    /// `http://127.0.0.1:PORT/api/v3`. The same API answers without the prefix.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}/api/v3", self.server_url)
    }

    /// The base of pages and clones, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A test that panicked while it held the lock must not hide its own message behind ours.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only if the thread is.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
