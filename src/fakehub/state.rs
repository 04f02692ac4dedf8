//! Everything the embedded GitHub knows. Logins and repository names compare without case and
//! keep the case that they were given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::exchange::Exchange;
use super::fault::Fault;
use super::git::Git;
use super::weather::{Trouble, Weather};

/// What a person may do in a repository. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing; a public repository can still be read.
    None,
    /// Read, comment, open issues.
    Read,
    /// Label and close issues.
    Triage,
    /// Push, open pull requests, make labels.
    Write,
    /// As `Write`, here.
    Maintain,
    /// Everything.
    Admin,
}

impl Role {
    /// The role's own name, GitHub's `role_name`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// The coarse `permission` that GitHub maps the role to.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Triage => "read",
            Self::Maintain => "write",
            other => other.name(),
        }
    }
}

pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) org: bool,
    pub(super) created: Timestamp,
}

/// A token's owner and what is left of its hour. Not `Debug`: its key is the secret.
pub(super) struct Token {
    pub(super) login: String,
    /// `x-oauth-scopes`; `None` for a fine-grained token, which sends no such header.
    pub(super) scopes: Option<String>,
    pub(super) rate: Rate,
}

/// A primary rate limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) reset: Timestamp,
}

impl Rate {
    pub(super) fn new(limit: u64, now: Timestamp) -> Self {
        Self { limit, used: 0, reset: now + SignedDuration::from_hours(1) }
    }

    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

pub(super) struct LabelDef {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) color: String,
    pub(super) description: Option<String>,
}

#[derive(Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) body: String,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// Something that somebody did to an issue.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) actor: String,
    /// `labeled`, `unlabeled`, `closed`, `reopened`, `merged`, `renamed`.
    pub(super) what: &'static str,
    /// Name and colour, for the first two.
    pub(super) label: Option<(String, String)>,
    /// The titles before and after, for the last.
    pub(super) rename: Option<(String, String)>,
    pub(super) at: Timestamp,
}

/// What makes an issue a pull request.
#[derive(Clone)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) head_sha: String,
    /// Where the base branch stood; frozen when the pull request ends.
    pub(super) base_sha: String,
    pub(super) draft: bool,
    pub(super) merged: Option<Merge>,
    /// Known for the pair of commits it was computed for.
    pub(super) stats: Option<Stats>,
}

#[derive(Clone)]
pub(super) struct Merge {
    pub(super) at: Timestamp,
    pub(super) by: String,
    pub(super) sha: String,
}

/// What GitHub computes about a pull request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stats {
    pub(super) commits: u64,
    pub(super) files: u64,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    pub(super) mergeable: bool,
}

/// Counts the changes to all issues, so that it can be said how far behind a replica is.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<AtomicU64>);

impl Changes {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// As many of its former states are kept of an issue.
const PAST: usize = 12;

#[derive(Clone)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) author: String,
    pub(super) open: bool,
    pub(super) state_reason: Option<String>,
    /// Names, as defined in the repository.
    pub(super) labels: Vec<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) closed: Option<Timestamp>,
    pub(super) locked: bool,
    /// When its body was last changed.
    pub(super) edited: Option<Timestamp>,
    pub(super) comments: Vec<Comment>,
    pub(super) events: Vec<Event>,
    pub(super) pull: Option<Pull>,
    pub(super) history: History,
}

/// How an issue was, and until which change.
#[derive(Clone)]
pub(super) struct History {
    changes: Changes,
    /// The change that made it.
    born: u64,
    past: VecDeque<(u64, Issue)>,
}

impl History {
    pub(super) fn new(changes: &Changes) -> Self {
        Self { changes: changes.clone(), born: changes.next(), past: VecDeque::new() }
    }

    fn last(&self) -> u64 {
        self.past.back().map_or(self.born, |(at, _)| *at)
    }
}

impl Issue {
    /// Notes a change that is about to be made: its second is later than that of the change before.
    /// Returns it.
    pub(super) fn touch(&mut self) -> Timestamp {
        let changes = self.history.changes.clone();
        let (born, mut past) = (self.history.born, std::mem::take(&mut self.history.past));
        past.push_back((changes.next(), self.clone()));
        if past.len() > PAST {
            past.pop_front();
        }
        self.history = History { changes, born, past };
        self.updated = after(self.updated);
        self.updated
    }

    pub(super) fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|l| l.eq_ignore_ascii_case(name))
    }
}

/// A number whose issue is no longer here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gone {
    Deleted,
    Moved { repo: u64, number: u64 },
}

pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) private: bool,
    pub(super) archived: bool,
    pub(super) has_issues: bool,
    pub(super) default_branch: String,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) labels: Vec<LabelDef>,
    pub(super) issues: BTreeMap<u64, Issue>,
    pub(super) gone: BTreeMap<u64, Gone>,
    pub(super) created: Timestamp,
    pub(super) pushed: Timestamp,
    /// What it says of its size, in KiB.
    pub(super) kib: u64,
    /// The bare repository, relative to the server's directory. It stays when the name changes.
    pub(super) git: String,
}

impl Repo {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    pub(super) fn next_number(&self) -> u64 {
        let last = |numbers: Option<&u64>| numbers.copied().unwrap_or(0);
        1 + last(self.issues.keys().next_back()).max(last(self.gone.keys().next_back()))
    }

    pub(super) fn label(&self, name: &str) -> Option<&LabelDef> {
        self.labels.iter().find(|l| l.name.eq_ignore_ascii_case(name))
    }

    /// What `login` may do here. Everybody reads a public repository.
    pub(super) fn role(&self, login: Option<&str>) -> Role {
        let floor = if self.private { Role::None } else { Role::Read };
        let Some(login) = login else { return floor };
        if login.eq_ignore_ascii_case(&self.owner) {
            return Role::Admin;
        }
        self.roles.get(&login.to_ascii_lowercase()).copied().unwrap_or(Role::None).max(floor)
    }
}

/// All of it, behind the server's mutex.
pub(super) struct State {
    /// `http://127.0.0.1:PORT`.
    pub(super) server: String,
    pub(super) git: Git,
    pub(super) users: BTreeMap<String, User>,
    pub(super) tokens: BTreeMap<String, Token>,
    /// The limit of callers without a token.
    pub(super) anonymous: Rate,
    pub(super) repos: Vec<Repo>,
    /// Former names (lower case) and the repository that had them.
    pub(super) renamed: BTreeMap<String, u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) weather: Option<Weather>,
    /// How often the weather has struck.
    pub(super) struck: BTreeMap<Trouble, u64>,
    pub(super) changes: Changes,
    pub(super) exchanges: Vec<Exchange>,
    last_id: u64,
}

impl State {
    pub(super) fn new(server: String, git: Git) -> Self {
        Self {
            server,
            git,
            users: BTreeMap::new(),
            tokens: BTreeMap::new(),
            anonymous: Rate::new(60, now()),
            repos: Vec::new(),
            renamed: BTreeMap::new(),
            faults: Vec::new(),
            weather: None,
            struck: BTreeMap::new(),
            changes: Changes::default(),
            exchanges: Vec::new(),
            last_id: 1000,
        }
    }

    /// An id that nothing else has.
    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Shows all issues as they were `lag` changes ago, and returns what [`restore`](Self::restore)
    /// needs to undo that.
    pub(super) fn rewind(&mut self, lag: u64) -> Vec<(usize, Issue)> {
        let then = self.changes.0.load(Ordering::Relaxed).saturating_sub(lag);
        let mut present = Vec::new();
        for (at, repo) in self.repos.iter_mut().enumerate() {
            let newer = |issue: &&Issue| issue.history.last() > then;
            let newer: Vec<u64> = repo.issues.values().filter(newer).map(|i| i.number).collect();
            for number in newer {
                let Some(issue) = repo.issues.remove(&number) else { continue };
                if issue.history.born <= then
                    && let Some((_, old)) = issue.history.past.iter().find(|(at, _)| *at > then)
                {
                    repo.issues.insert(number, old.clone());
                }
                present.push((at, issue));
            }
        }
        present
    }

    pub(super) fn restore(&mut self, present: Vec<(usize, Issue)>) {
        for (repo, issue) in present {
            self.repos[repo].issues.insert(issue.number, issue);
        }
    }

    pub(super) fn user(&self, login: &str) -> Option<&User> {
        self.users.get(&login.to_ascii_lowercase())
    }

    /// Where the repository with this name stands in `repos`.
    pub(super) fn find(&self, owner: &str, name: &str) -> Option<usize> {
        self.repos
            .iter()
            .position(|r| r.owner.eq_ignore_ascii_case(owner) && r.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn find_id(&self, id: u64) -> Option<usize> {
        self.repos.iter().position(|r| r.id == id)
    }
}

/// Now, in whole seconds as GitHub has it.
pub(super) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

/// Now, but at least a second later than `earlier`.
pub(super) fn after(earlier: Timestamp) -> Timestamp {
    now().max(earlier + SignedDuration::from_secs(1))
}
