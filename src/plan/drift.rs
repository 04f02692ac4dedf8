//! Where GitHub's labels and the records on this machine say different things.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{Issue, IssueNumber, Label, Outcome, Phase, RepoSlug, Run, WorkerId};

/// What a worker of this machine is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Doing<'a> {
    /// Nothing.
    Idle,
    /// It is just being taken, for what is not known yet.
    Taken,
    /// A run: under way, stopped, or crashed.
    On(&'a Run),
    /// Its record cannot be read.
    Broken,
}

/// Both sides, as they were seen.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// The workers of this machine.
    pub workers: &'a BTreeMap<WorkerId, Doing<'a>>,
    /// Finished runs of this machine, oldest first: at least those of the labelled issues.
    pub archive: &'a [Run],
    /// The open issues, from the lists.
    pub issues: &'a [Issue],
    /// The repositories whose open issues these are.
    pub listed: &'a BTreeSet<RepoSlug>,
}

/// An issue about which the two sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The repository.
    pub repo: RepoSlug,
    /// The issue.
    pub issue: IssueNumber,
    /// Its title: hostile text.
    pub title: String,
    /// The label that is there or is missing: hostile text unless it names a worker.
    pub label: String,
    /// The worker that the label names, if it names one.
    pub worker: Option<WorkerId>,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with a label `worker:NN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing: a run here ended so, and left the label for a person on purpose.
    WaitsForYou(Outcome),
    /// The records explain it and say that it should be off: so the run ended (`None`: it was
    /// cleared).
    LeftOver(Option<Outcome>),
    /// Its worker is idle, and no record explains it.
    Idle,
    /// Its worker works on something else, and no record explains it.
    Elsewhere(String),
    /// What its worker does cannot be read.
    Broken,
    /// No worker of this machine has that name.
    Unknown,
    /// Our worker works on the issue, and its label is not there.
    Missing,
    /// Our worker works on the issue, which is not open any more.
    NotOpen,
}

impl Wrong {
    /// The word for scripts.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::WaitsForYou(_) => "waits_for_you",
            Self::LeftOver(_) => "left_over",
            Self::Idle => "idle",
            Self::Elsewhere(_) => "elsewhere",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::NotOpen => "not_open",
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = self.worker.as_ref().map_or("its worker", WorkerId::as_str);
        match &self.wrong {
            Wrong::WaitsForYou(outcome) => write!(f, "waits for you: the run here ended {outcome}"),
            Wrong::LeftOver(Some(outcome)) => {
                write!(f, "was left behind: the run here ended {outcome}")
            }
            Wrong::LeftOver(None) => f.write_str("was left behind: the run here was cleared"),
            Wrong::Idle => write!(f, "{worker} is idle, and no record here explains the label"),
            Wrong::Elsewhere(what) => {
                write!(f, "{worker} works on {what}, and no record here explains the label")
            }
            Wrong::Broken => write!(f, "what {worker} does cannot be read"),
            Wrong::Unknown => f.write_str("no worker here has this name: another host's, or gone"),
            Wrong::Missing => write!(f, "{worker} works on it, but the label is gone"),
            Wrong::NotOpen => write!(f, "{worker} works on it, but it is not open any more"),
        }
    }
}

impl Drift {
    /// What will be done, or what a person can do. `assign_looks`: whether the repository is one
    /// that `assign` looks at.
    #[must_use]
    pub fn hint(&self, assign_looks: bool) -> String {
        let (repo, issue) = (&self.repo, self.issue);
        let Some(worker) = &self.worker else {
            return "if nobody works on it, take the label off".into();
        };
        let by_hand = |change: &str| {
            format!("`gh issue edit {issue} -R {repo} --{change}-label {}`", worker.label())
        };
        match &self.wrong {
            Wrong::WaitsForYou(_) => format!(
                "see `claude-workers history {worker}`; to have it tried again take the labels off, \
                 or `claude-workers dispatch -r {repo} -i {issue}`"
            ),
            Wrong::LeftOver(_) if assign_looks => {
                "the next `assign` takes it off, unless a person put it on".into()
            }
            Wrong::LeftOver(_) => format!("take it off: {}", by_hand("remove")),
            Wrong::Idle | Wrong::Elsewhere(_) | Wrong::Unknown => {
                format!("if no other host works on it, take it off: {}", by_hand("remove"))
            }
            Wrong::Broken => format!("see `claude-workers status {worker}`"),
            Wrong::Missing => format!(
                "put it back: {}; or give the task up: `claude-workers reset {worker} --force`",
                by_hand("add")
            ),
            Wrong::NotOpen => format!("give it up: `claude-workers reset {worker} --force`"),
        }
    }

    /// Whether it was certainly a run of its worker that put the label on: our own login did it
    /// while one of that worker's runs of the issue in the `archive` lasted: mostly when it began, but a
    /// run whose dispatcher died does it when it is taken up. Whoever put it on later, or with another
    /// login, is a person or another host.
    #[must_use]
    pub fn is_ours(&self, archive: &[Run], own_login: &str, by: &str, at: Timestamp) -> bool {
        let of_it = |run: &&Run| {
            Some(&run.worker) == self.worker.as_ref()
                && run.repo == self.repo
                && run.issue == Some(self.issue)
        };
        let began = |run: &Run| {
            let ended = run.ended_at.unwrap_or(run.phase_at);
            let from = run.started_at.saturating_sub(CLOCKS);
            from.is_ok_and(|from| from <= at) && at <= ended
        };
        by.eq_ignore_ascii_case(own_login) && archive.iter().filter(of_it).any(began)
    }
}

/// Compares both sides: for each label `worker:NN` of an open issue and for each issue that a
/// worker has, what is wrong with it, ordered by repository and issue.
#[must_use]
pub fn drift(sides: &Sides<'_>) -> Vec<Drift> {
    let mut found = Vec::new();
    for issue in sides.issues.iter().filter(|i| i.open && !i.is_pull) {
        for label in issue.labels.iter().filter(|l| l.is_worker()) {
            found.extend(of_label(sides, issue, label));
        }
    }
    for (worker, doing) in sides.workers {
        if let Doing::On(run) = doing {
            found.extend(of_run(sides, worker, run));
        }
    }
    found.sort_by(|a, b| (&a.repo, a.issue, &a.label).cmp(&(&b.repo, b.issue, &b.label)));
    found
}

fn of_label(sides: &Sides<'_>, issue: &Issue, label: &Label) -> Option<Drift> {
    let known = sides.workers.iter().find(|(id, _)| label.is_of(id));
    let drift = |worker: Option<WorkerId>, wrong| {
        Some(Drift {
            repo: issue.repo.clone(),
            issue: issue.number,
            title: issue.title.clone(),
            label: label.0.clone(),
            worker,
            wrong,
        })
    };
    let Some((worker, doing)) = known else {
        let named = label.0.split_once(':').and_then(|(_, id)| id.parse().ok());
        return drift(named, Wrong::Unknown);
    };
    let unexplained = match doing {
        Doing::Taken => return None,
        Doing::On(run) if is_about(run, issue) => return None,
        Doing::Broken => return drift(Some(worker.clone()), Wrong::Broken),
        Doing::On(run) => Wrong::Elsewhere(run.subject()),
        Doing::Idle => Wrong::Idle,
    };
    let here: Vec<&Run> = sides.archive.iter().filter(|run| is_about(run, issue)).collect();
    let held =
        || sides.workers.values().any(|d| matches!(d, Doing::On(run) if is_about(run, issue)));
    let wrong = match here.iter().rev().find(|run| run.worker == *worker) {
        None => unexplained,
        Some(own) => {
            // What another worker of ours did here later settles the issue for this one too.
            let last = here.last().copied().into_iter();
            match (last.chain([*own]).find(|run| is_off_after(run)), own.outcome()) {
                (Some(run), _) => Wrong::LeftOver(run.outcome().filter(|_| !run.cleared)),
                (None, Some(outcome)) if !held() => Wrong::WaitsForYou(outcome),
                (None, _) => unexplained,
            }
        }
    };
    drift(Some(worker.clone()), wrong)
}

fn of_run(sides: &Sides<'_>, worker: &WorkerId, run: &Run) -> Option<Drift> {
    let number = run.issue.filter(|_| sides.listed.contains(&run.repo))?;
    // Before, the label is just being put on; afterwards, it is just being taken off.
    if !(Phase::Preparing..=Phase::Verifying).contains(&run.phase) {
        return None;
    }
    let issue = sides.issues.iter().find(|issue| is_about(run, issue));
    let wrong = match issue {
        None => Wrong::NotOpen,
        Some(issue) if !issue.labels.iter().any(|l| l.is_of(worker)) => Wrong::Missing,
        Some(_) => return None,
    };
    let title = issue.map(|issue| issue.title.clone()).or_else(|| run.title.clone());
    Some(Drift {
        repo: run.repo.clone(),
        issue: number,
        title: title.unwrap_or_default(),
        label: worker.label(),
        worker: Some(worker.clone()),
        wrong,
    })
}

fn is_about(run: &Run, issue: &Issue) -> bool {
    run.repo == issue.repo && run.issue == Some(issue.number)
}

/// Whether the label of a run that ended so should be off.
fn is_off_after(run: &Run) -> bool {
    run.cleared || matches!(run.outcome(), Some(Outcome::Succeeded | Outcome::NotStarted))
}

/// GitHub's clock and ours differ, and GitHub's times are whole seconds.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);

#[cfg(test)]
mod tests;
