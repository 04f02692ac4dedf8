//! The environment variables that mean something here: the one list.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where workers and their records live.
pub const ROOT: &str = "CLAUDE_WORKERS_ROOT";
/// Another configuration file.
pub const CONFIG: &str = "CLAUDE_WORKERS_CONFIG";
/// Base of GitHub's REST API.
pub const API_URL: &str = "GITHUB_API_URL";
/// Where repositories are cloned from.
pub const SERVER_URL: &str = "GITHUB_SERVER_URL";
/// The token, first choice.
pub const GH_TOKEN: &str = "GH_TOKEN";
/// The token, second choice.
pub const GITHUB_TOKEN: &str = "GITHUB_TOKEN";
/// Where gh keeps its configuration, if not at the usual place.
pub const GH_CONFIG_DIR: &str = "GH_CONFIG_DIR";
/// A model key for Claude Code, billed by use.
pub const ANTHROPIC_API_KEY: &str = "ANTHROPIC_API_KEY";
/// A model token for Claude Code, from `claude setup-token`.
pub const CLAUDE_CODE_OAUTH_TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";
/// Set in an agent's environment: the directory for what it wants said.
pub const OUTBOX: &str = "CLAUDE_WORKERS_OUTBOX";
/// Set in an agent's environment: the worker's id.
pub const WORKER: &str = "CLAUDE_WORKERS_WORKER";
/// Set in an agent's environment: the run's id. By it what a run has left alive is found.
pub const RUN: &str = "CLAUDE_WORKERS_RUN";
/// The terminal's width, if another than it says itself is wanted.
pub const COLUMNS: &str = "COLUMNS";
/// What kind of terminal it is.
pub const TERM: &str = "TERM";
/// Debug builds only: the file to write down every failpoint in that is reached.
#[cfg(debug_assertions)]
pub const FAILPOINT_RECORD: &str = "CLAUDE_WORKERS_FAILPOINT_RECORD";
/// Debug builds only: the failpoint to strike at, and how.
#[cfg(debug_assertions)]
pub const FAILPOINT: &str = "CLAUDE_WORKERS_FAILPOINT";
/// Debug builds only: for how long something is waited for, as `jail=5,ready=1`, in seconds.
#[cfg(debug_assertions)]
pub const PATIENCE: &str = "CLAUDE_WORKERS_PATIENCE";

/// Where others' proxies are: for the host's git, and for agents with the host's network.
pub const PROXIES: &[&str] = &[
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "all_proxy",
];

/// Which certificates are trusted, by the host's git and by agents.
pub const CERTIFICATES: &[&str] = &["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What the agents are told of language and time.
pub const LOCALE: &[&str] = &["LANG", "LC_ALL", "TZ"];

/// A snapshot of the environment. Everything that reads it takes this value, so that a test (and a
/// reader) sees what a function depends on.
///
/// `Debug` shows names only: values may be secret.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Env {
    /// The process's own environment.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of `name`; an empty or non-UTF-8 value counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&OsString::from(name)).and_then(|v| v.to_str()).filter(|v| !v.is_empty())
    }

    /// The value of `name` as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(&OsString::from(name)).filter(|v| !v.is_empty()).map(PathBuf::from)
    }

    /// Everything, for a child process that is this program again.
    pub fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }

    /// Those of `names` that are set.
    pub fn only<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> impl Iterator<Item = (String, String)> + use<'a> {
        names.iter().filter_map(|n| self.get(n).map(|v| ((*n).to_owned(), v.to_owned())))
    }

    /// Those whose names start with `prefix`.
    pub fn starting_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (String, String)> + use<'a> {
        self.0.iter().filter_map(move |(k, v)| {
            let (k, v) = (k.to_str()?, v.to_str()?);
            k.starts_with(prefix).then(|| (k.to_owned(), v.to_owned()))
        })
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        Self(vars.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}
