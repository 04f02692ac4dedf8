//! The names of everything under the root.

use std::path::{Path, PathBuf};

use crate::domain::{RepoSlug, WorkerId};

/// The directory that all state hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The root at an absolute path. Nothing is made.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The root's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The record of all workers, never visible in a jail.
    #[must_use]
    pub fn pool(&self) -> PathBuf {
        self.0.join(".pool")
    }

    /// A worker's `$HOME`.
    #[must_use]
    pub fn home(&self, worker: &WorkerId) -> PathBuf {
        self.0.join(worker.as_str())
    }

    /// Where the home of a worker that is retired is moved to, if its record is on another disk.
    #[must_use]
    pub fn moved_home(&self, worker: &WorkerId) -> PathBuf {
        self.0.join(format!(".retired-{worker}"))
    }

    /// A worker's record.
    #[must_use]
    pub fn record(&self, worker: &WorkerId) -> RecordPaths {
        RecordPaths(self.pool().join(worker.as_str()))
    }

    /// Held by the one `assign` that is under way.
    #[must_use]
    pub fn assign_lock(&self) -> PathBuf {
        self.pool().join("assign.lock")
    }

    /// Where executables were found.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.pool().join("tools.json")
    }

    /// The records of workers that are no more, `<id>.<n>` each.
    #[must_use]
    pub fn retired(&self) -> PathBuf {
        self.pool().join(".retired")
    }

    /// Where a newer program is built, and what is remembered of the last one.
    #[must_use]
    pub fn update(&self) -> PathBuf {
        self.pool().join(".update")
    }

    /// What is remembered of GitHub.
    #[must_use]
    pub fn github(&self) -> PathBuf {
        self.pool().join("github")
    }

    /// What is remembered of claims.
    #[must_use]
    pub fn claims(&self) -> PathBuf {
        self.github().join("claims")
    }

    /// All mirrors, by host and owner.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.pool().join("mirrors")
    }

    /// The mirror of a repository; `server` is the base of its clone URL.
    #[must_use]
    pub fn mirror(&self, server: &str, repo: &RepoSlug) -> PathBuf {
        let name = format!("{}.git", repo.name());
        self.mirrors_of(server).join(repo.owner()).join(name)
    }

    /// The repositories of a server that there are mirrors of, in no order. What cannot be listed
    /// has none.
    #[must_use]
    pub fn mirrored(&self, server: &str) -> Vec<RepoSlug> {
        let below = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut repos = Vec::new();
        for owner in below(&self.mirrors_of(server)) {
            for mirror in below(&owner.path()) {
                let (owner, name) = (owner.file_name(), mirror.file_name());
                let name = name.to_str().and_then(|name| name.strip_suffix(".git"));
                let (Some(owner), Some(name)) = (owner.to_str(), name) else { continue };
                repos.extend(format!("{owner}/{name}").parse::<RepoSlug>());
            }
        }
        repos
    }

    fn mirrors_of(&self, server: &str) -> PathBuf {
        let host = server.split_once("://").map_or(server, |(_, rest)| rest);
        let safe = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
        let host: String = host.chars().map(safe).collect();
        let host = if host.starts_with('.') { format!("_{host}") } else { host };
        self.mirrors().join(host.to_ascii_lowercase())
    }

    /// A worker's clones, by owner.
    #[must_use]
    pub fn clones(&self, worker: &WorkerId) -> PathBuf {
        self.home(worker).join("github")
    }

    /// A worker's clone of a repository.
    #[must_use]
    pub fn clone_of(&self, worker: &WorkerId, repo: &RepoSlug) -> PathBuf {
        self.clones(worker).join(repo.owner()).join(repo.name())
    }
}

/// The files of one worker's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPaths(pub(super) PathBuf);

impl RecordPaths {
    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The current run.
    #[must_use]
    pub fn task(&self) -> PathBuf {
        self.0.join("task.json")
    }

    /// The lock whose holder owns the worker.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// What a person asked for in their own words.
    #[must_use]
    pub fn request(&self) -> PathBuf {
        self.0.join("request.txt")
    }

    /// What the agent is asked.
    #[must_use]
    pub fn prompt(&self) -> PathBuf {
        self.0.join("prompt.txt")
    }

    /// The agent's raw output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("worker.log")
    }

    /// What the agent asked of the network.
    #[must_use]
    pub fn egress_log(&self) -> PathBuf {
        self.0.join("egress.log")
    }

    /// What the supervisor has to say of itself.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.0.join("supervisor.log")
    }

    /// The configuration as the supervisor has read it: what it starts reads this one.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The archive.
    #[must_use]
    pub fn completed(&self) -> PathBuf {
        self.0.join("completed")
    }

    /// Scratch space of the current run: the way out of its jail, and what is to be published.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    /// Values for the agent's environment, copied when the home was made.
    #[must_use]
    pub fn values(&self) -> PathBuf {
        self.0.join("values.json")
    }

    /// Which files were placed in the home.
    #[must_use]
    pub fn furniture(&self) -> PathBuf {
        self.0.join("furniture.json")
    }

    /// What looked like credentials in a home that must hold none, taken out before its last run.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.0.join("quarantine")
    }

    /// Where the home is moved to when the worker is retired, until it is deleted.
    #[must_use]
    pub fn old_home(&self) -> PathBuf {
        self.0.join("home")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_stays_inside_the_pool_whatever_the_server_is_called() {
        let root = Root::new("/r".into());
        let repo = "o/n".parse().unwrap();
        let at = |server| root.mirror(server, &repo).display().to_string();
        assert_eq!(at("https://GitHub.com"), "/r/.pool/mirrors/github.com/o/n.git");
        assert_eq!(
            at("http://127.0.0.1:99/a/../.."),
            "/r/.pool/mirrors/127.0.0.1_99_a_.._../o/n.git"
        );
        assert_eq!(at("http://.."), "/r/.pool/mirrors/_../o/n.git");
    }
}
