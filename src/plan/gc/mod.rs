//! What is kept no longer.

mod claims;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::{IssueNumber, Outcome, RepoSlug, RunId, WorkerId};

pub use claims::{InQuestion, LEAST_KEPT, SeenClaim, claim_is_due, claims_in_question};

/// How long things are kept. `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Logs and patches of finished runs, from the run's end.
    pub logs: Option<Duration>,
    /// Records of finished runs, from the run's end.
    pub records: Option<Duration>,
    /// Mirrors that no clone borrows from, from the last fetch.
    pub mirrors: Option<Duration>,
    /// Clones of idle workers, from the end of their last run; what was moved aside, from then.
    pub clones: Option<Duration>,
    /// Claims on the remote of runs that ended well, from when they were marked as done. Seven days at
    /// least.
    pub claims: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: u64| Some(Duration::from_hours(n * 24));
        Self {
            logs: days(30),
            records: None,
            mirrors: days(60),
            clones: days(60),
            claims: days(30),
        }
    }
}

/// What dies in a moment is dead after a day: temporary files, homes half made.
const DEAD: Duration = Duration::from_hours(24);

/// What is remembered of GitHub is asked for again, for a request or two. Of a claim it is since when
/// it has been seen, and who forgets that waits longer, never less.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);

/// So much is remembered of GitHub at most, in bytes.
const REMEMBERED_BYTES: u64 = 64 << 20;

/// A kind of thing that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Thing {
    /// What an agent wrote.
    Log,
    /// What an agent asked of the network.
    EgressLog,
    /// What a supervisor had to say of itself.
    SupervisorLog,
    /// What an earlier run left uncommitted.
    Patch,
    /// The record of a finished run, with the notes beside it.
    Record,
    /// A file beside a record that is gone.
    Orphan,
    /// A worker's clone.
    Clone,
    /// A clone or an outbox that could not be used and was moved aside.
    SetAside,
    /// Scratch space of no run.
    Scratch,
    /// A temporary file, a home half made, a mirror half removed.
    Temporary,
    /// A mirror.
    Mirror,
    /// The many files of a mirror that is in use, each with a few objects: what is in them stays.
    Objects,
    /// What is remembered of GitHub: lists, labels that are there, claims.
    Memory,
    /// A claim on the remote.
    Claim,
}

impl Thing {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::EgressLog => "egress log",
            Self::SupervisorLog => "supervisor log",
            Self::Patch => "patch",
            Self::Record => "record",
            Self::Orphan => "orphan",
            Self::Clone => "clone",
            Self::SetAside => "set aside",
            Self::Scratch => "scratch",
            Self::Temporary => "temporary",
            Self::Mirror => "mirror",
            Self::Objects => "objects",
            Self::Memory => "memory",
            Self::Claim => "claim",
        }
    }
}

/// A file or directory and its size on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub thing: Thing,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// When it last changed; `None`: unknown, and so never long enough ago.
    pub since: Option<Timestamp>,
}

/// A finished run whose record could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRun {
    /// Its id.
    pub run: RunId,
    /// Its repository.
    pub repo: RepoSlug,
    /// Its issue.
    pub issue: Option<IssueNumber>,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it was over; `None`: it does not say, and so never long enough ago.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Whether a person has cleared it.
    pub cleared: bool,
    /// Whether it has a pull request.
    pub pull: bool,
    /// What is kept of it: the record itself, and beside it logs and a patch that are not empty.
    pub pieces: Vec<Piece>,
}

/// A clone in a worker's home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClone {
    /// Whose it is.
    pub repo: RepoSlug,
    /// Where it is.
    pub path: PathBuf,
    /// Its size, and whether it holds anything uncommitted; `None`: it has not been looked into.
    pub inside: Option<(u64, bool)>,
}

/// What a worker's current run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// Nothing: there is no run.
    Nothing,
    /// The mirror of a repository, and the claim on its issue.
    Run(RepoSlug, Option<IssueNumber>),
    /// Nobody knows: its record cannot be read, or is not there yet.
    Unknown,
}

/// A worker and everything of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenWorker {
    /// Its id.
    pub id: WorkerId,
    /// Why nothing of it may be touched: it is not idle, or retired.
    pub away: Option<String>,
    /// What its current run needs.
    pub holds: Holds,
    /// Its finished runs.
    pub runs: Vec<SeenRun>,
    /// Its clones.
    pub clones: Vec<SeenClone>,
    /// The repositories whose mirrors anything in its home may borrow from.
    pub borrows: BTreeSet<RepoSlug>,
    /// What is nobody's: orphans, scratch, temporary files, what was moved aside.
    pub loose: Vec<Piece>,
}

/// A mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMirror {
    /// Its repository.
    pub repo: RepoSlug,
    /// It; since the last fetch.
    pub piece: Piece,
    /// How many packs it has.
    pub packs: u64,
    /// How many objects are in no pack.
    pub loose: u64,
}

/// With more packs than this git gets slow.
const MOST_PACKS: u64 = 50;

/// More objects than this that are in no pack take much more room than they need.
const MOST_LOOSE: u64 = 5000;

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The workers.
    pub workers: Vec<SeenWorker>,
    /// The mirrors.
    pub mirrors: Vec<SeenMirror>,
    /// What is remembered of GitHub.
    pub memory: Vec<Piece>,
    /// Leftovers that are no worker's.
    pub loose: Vec<Piece>,
}

/// Something to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// What it is.
    pub what: Thing,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Of which run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Of which repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoSlug>,
    /// Where it is; of a claim, the ref.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Why it is kept no longer.
    pub why: String,
}

/// What is to be removed, in this order.
#[must_use]
pub fn gc(seen: &Seen, rules: &Retention, now: Timestamp) -> Vec<Removal> {
    let speaking = Speaking::of(seen);
    let mut removals = Vec::new();
    for worker in seen.workers.iter().filter(|w| w.away.is_none()) {
        for run in &worker.runs {
            of_run(worker, run, rules, now, speaking.keeps(worker, run), &mut removals);
        }
        let mut add = |piece: &Piece, repo: Option<&RepoSlug>, why: String| {
            removals.push(removal(piece, Some(&worker.id), None, repo, why));
        };
        for clone in &worker.clones {
            let Some((bytes, false)) = clone.inside else { continue };
            if let Some(why) = clone_is_due(&speaking, worker, clone, rules, now) {
                let (thing, path) = (Thing::Clone, clone.path.clone());
                add(&Piece { thing, path, bytes, since: None }, Some(&clone.repo), why);
            }
        }
        for piece in &worker.loose {
            if let Some(why) = loose_is_due(piece, rules, now) {
                add(piece, None, why);
            }
        }
    }
    for mirror in &seen.mirrors {
        if let Some(why) = mirror_is_due(seen, mirror, rules, now) {
            removals.push(removal(&mirror.piece, None, None, Some(&mirror.repo), why));
        } else if mirror.packs > MOST_PACKS || mirror.loose > MOST_LOOSE {
            let SeenMirror { piece, packs, loose, .. } = mirror;
            // What the disk gains is not known before.
            let objects = Piece { thing: Thing::Objects, bytes: 0, ..piece.clone() };
            let why = format!("{packs} packs and {loose} loose objects become few packs");
            removals.push(removal(&objects, None, None, Some(&mirror.repo), why));
        }
    }
    of_memory(&seen.memory, now, &mut removals);
    for piece in &seen.loose {
        if let Some(why) = loose_is_due(piece, rules, now) {
            removals.push(removal(piece, None, None, None, why));
        }
    }
    removals
}

/// How many records are older than the rules want them and stay all the same, because they say
/// whether an issue may be taken again, or what a worker did last.
#[must_use]
pub fn records_that_speak(seen: &Seen, rules: &Retention, now: Timestamp) -> usize {
    let speaking = Speaking::of(seen);
    let idle = seen.workers.iter().filter(|w| w.away.is_none());
    let old = idle.flat_map(|w| w.runs.iter().map(move |run| (w, run)));
    old.filter(|(_, run)| is_due(run.ended_at, rules.records, now).is_some())
        .filter(|(worker, run)| speaking.keeps(worker, run))
        .count()
}

/// The clones that are old enough, and their last runs done with, so that they are worth looking
/// into; by worker.
#[must_use]
pub fn clones_in_question<'a>(
    seen: &'a Seen,
    rules: &Retention,
    now: Timestamp,
) -> Vec<(&'a WorkerId, Vec<&'a SeenClone>)> {
    let speaking = Speaking::of(seen);
    let of = |worker: &'a SeenWorker| {
        let due = |clone: &&SeenClone| clone_is_due(&speaking, worker, clone, rules, now).is_some();
        (&worker.id, worker.clones.iter().filter(due).collect())
    };
    let idle = seen.workers.iter().filter(|w| w.away.is_none());
    idle.map(of).filter(|(_, clones): &(_, Vec<_>)| !clones.is_empty()).collect()
}

fn clone_is_due(
    speaking: &Speaking,
    worker: &SeenWorker,
    clone: &SeenClone,
    rules: &Retention,
    now: Timestamp,
) -> Option<String> {
    let of_repo = || worker.runs.iter().filter(|run| run.repo == clone.repo);
    let last = in_order(of_repo()).pop()?;
    let done = |run: &SeenRun| run.cleared || run.outcome == Some(Outcome::Succeeded);
    // Commits that a person has yet to look at are in no other place.
    let waits = |run: &SeenRun| {
        !run.cleared
            && run.outcome.is_none_or(Outcome::needs_a_person)
            && speaking.ends_an_issue(worker, run)
    };
    if !done(last) || of_repo().any(waits) {
        return None;
    }
    let age = is_due(last.ended_at, rules.clones, now)?;
    Some(format!("last used {age} ago, nothing uncommitted"))
}

fn of_run(
    worker: &SeenWorker,
    run: &SeenRun,
    rules: &Retention,
    now: Timestamp,
    speaks: bool,
    removals: &mut Vec<Removal>,
) {
    let record_goes = (!speaks).then(|| is_due(run.ended_at, rules.records, now)).flatten();
    // The record goes last: without its logs it is whole, and without it they are nothing.
    let (records, others): (Vec<_>, Vec<_>) =
        run.pieces.iter().partition(|piece| piece.thing == Thing::Record);
    let logs_go = record_goes.clone().or_else(|| is_due(run.ended_at, rules.logs, now));
    for (pieces, age) in [(others, logs_go), (records, record_goes)] {
        let Some(age) = age else { continue };
        for piece in pieces {
            let why = format!("the run ended {age} ago");
            removals.push(removal(piece, Some(&worker.id), Some(&run.run), Some(&run.repo), why));
        }
    }
}

fn loose_is_due(piece: &Piece, rules: &Retention, now: Timestamp) -> Option<String> {
    let aged =
        |limit, what: &str| is_due(piece.since, limit, now).map(|age| format!("{what} {age} ago"));
    match piece.thing {
        Thing::Scratch => Some("no run uses it".into()),
        Thing::SetAside => aged(rules.clones, "it was moved aside"),
        Thing::Orphan => aged(rules.logs, "its run has no record; last changed"),
        _ => aged(Some(DEAD), "a leftover, last changed"),
    }
}

/// The oldest of it, and that whose age nobody knows, goes before what is newer.
fn of_memory(memory: &[Piece], now: Timestamp, removals: &mut Vec<Removal>) {
    let mut newest_first: Vec<&Piece> = memory.iter().collect();
    newest_first.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.path.cmp(&b.path)));
    let mut kept = 0_u64;
    for piece in newest_first {
        let sum = kept.saturating_add(piece.bytes);
        let why = match is_due(piece.since, Some(REMEMBERED), now) {
            Some(age) => format!("last changed {age} ago"),
            None if sum > REMEMBERED_BYTES => {
                let most = REMEMBERED_BYTES >> 20;
                format!("more than {most} MiB are remembered of GitHub")
            }
            None => {
                kept = sum;
                continue;
            }
        };
        removals.push(removal(piece, None, None, None, why));
    }
}

fn mirror_is_due(
    seen: &Seen,
    mirror: &SeenMirror,
    rules: &Retention,
    now: Timestamp,
) -> Option<String> {
    let in_use = |worker: &SeenWorker| match &worker.holds {
        Holds::Nothing => false,
        Holds::Run(repo, _) => *repo == mirror.repo,
        Holds::Unknown => true,
    };
    if seen.workers.iter().any(|w| in_use(w) || w.borrows.contains(&mirror.repo)) {
        return None;
    }
    let age = is_due(mirror.piece.since, rules.mirrors, now)?;
    Some(format!("no clone borrows from it; last fetched {age} ago"))
}

fn removal(
    piece: &Piece,
    worker: Option<&WorkerId>,
    run: Option<&RunId>,
    repo: Option<&RepoSlug>,
    why: String,
) -> Removal {
    Removal {
        what: piece.thing,
        worker: worker.cloned(),
        run: run.cloned(),
        repo: repo.cloned(),
        path: piece.path.clone(),
        bytes: piece.bytes,
        why,
    }
}

/// The age in words, if it is over the limit. A time in the future is a clock that was wrong.
fn is_due(since: Option<Timestamp>, limit: Option<Duration>, now: Timestamp) -> Option<String> {
    let limit = SignedDuration::try_from(limit?).ok()?;
    let age = now.duration_since(since?);
    if age.is_negative() || age < limit {
        return None;
    }
    Some(match age.as_hours() {
        0 => format!("{} min", age.as_mins()),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    })
}

fn in_order<'a>(runs: impl Iterator<Item = &'a SeenRun>) -> Vec<&'a SeenRun> {
    let mut runs: Vec<_> = runs.collect();
    runs.sort_by(|a, b| (a.started_at, &a.run).cmp(&(b.started_at, &b.run)));
    runs
}

/// The records that something rests on: whether an issue is taken again (its last run, failed
/// starts in a row and what they follow, its pull request), which workers have tried it, and what a worker did last
/// in a repository.
#[derive(Default)]
struct Speaking {
    keeps: BTreeSet<(WorkerId, RunId)>,
    /// The last of each issue.
    ends: BTreeSet<(WorkerId, RunId)>,
}

impl Speaking {
    fn of(seen: &Seen) -> Self {
        let mut this = Self::default();
        let mut issues: BTreeMap<_, Vec<(&SeenRun, &WorkerId)>> = BTreeMap::new();
        for worker in &seen.workers {
            let mut last: BTreeMap<_, &SeenRun> = BTreeMap::new();
            for run in in_order(worker.runs.iter()) {
                last.insert((&run.repo, None), run);
                if let Some(issue) = run.issue {
                    last.insert((&run.repo, Some(issue)), run);
                    issues.entry((&run.repo, issue)).or_default().push((run, &worker.id));
                }
            }
            this.keeps.extend(last.values().map(|run| (worker.id.clone(), run.run.clone())));
        }
        for runs in issues.values_mut() {
            runs.sort_by(|(a, _), (b, _)| (a.started_at, &a.run).cmp(&(b.started_at, &b.run)));
            let well = |run: &SeenRun| run.outcome == Some(Outcome::Succeeded) && !run.cleared;
            let done = runs.iter().rev().find(|(run, _)| well(run) && run.pull);
            this.keeps.extend(done.map(|(run, worker)| ((*worker).clone(), run.run.clone())));
            let mut newest_first = runs.iter().rev().map(|(run, worker)| {
                let never_began = run.outcome == Some(Outcome::NotStarted) && !run.cleared;
                (((*worker).clone(), run.run.clone()), never_began)
            });
            let Some((last, mut never_began)) = newest_first.next() else { continue };
            this.ends.insert(last.clone());
            this.keeps.insert(last);
            while never_began {
                let Some((before, as_well)) = newest_first.next() else { break };
                this.keeps.insert(before);
                never_began = as_well;
            }
        }
        this
    }

    fn keeps(&self, worker: &SeenWorker, run: &SeenRun) -> bool {
        self.keeps.contains(&(worker.id.clone(), run.run.clone()))
    }

    fn ends_an_issue(&self, worker: &SeenWorker, run: &SeenRun) -> bool {
        self.ends.contains(&(worker.id.clone(), run.run.clone()))
    }
}

#[cfg(test)]
mod tests;
