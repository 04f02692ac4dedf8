//! Who gets what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use crate::domain::{
    BLOCKED_LABEL, Issue, IssueNumber, Label, Outcome, Priority, RepoSlug, WorkerId,
};

/// An issue, named.
pub type IssueRef = (RepoSlug, IssueNumber);

/// What is known of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoFacts {
    /// Nobody can write to it.
    pub archived: bool,
    /// The token may push.
    pub may_push: bool,
    /// The token may label.
    pub may_label: bool,
    /// Its size as it is stored, in bytes, if that was told.
    pub size: Option<u64>,
}

/// The configured rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Only issues with this label.
    pub only_label: Option<String>,
    /// Runs under way at once, for each repository.
    pub max_per_repo: u32,
    /// Idle workers that are left alone.
    pub reserve: usize,
}

/// What a closer look at an issue gave: its history here, its pull requests, who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be started.
    Eligible,
    /// It may be started where no credentials are: a stranger wrote it.
    EligibleInBroker,
    /// It may not.
    Refused(Skip),
}

/// Why an issue is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// A worker has it, by its label.
    Worker(String),
    /// It waits for a person, by its label.
    Blocked,
    /// The configured label is not on it.
    NotAskedFor(String),
    /// One of our own workers has it.
    Held(WorkerId),
    /// The repository is archived.
    Archived,
    /// The token may not label or push there.
    NoRights,
    /// A pull request of ours exists.
    HasPull(String),
    /// An earlier run ended so that a person has to look first.
    NeedsPerson(Outcome),
    /// It could not be started lately; it will be tried again.
    BackOff(Timestamp),
    /// Nobody with write permission asked for it.
    NotTrusted(String),
    /// The repository has as many runs as it may.
    RepoFull(u32),
    /// Nobody is free.
    NoWorker,
    /// Nobody is free in whose home a stranger's words may be worked on.
    NoBroker,
    /// It could not be looked at.
    Unanswered(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(label) => write!(f, "has the label {label}"),
            Self::Blocked => f.write_str("has the label blocked"),
            Self::NotAskedFor(label) => write!(f, "does not have the label {label}"),
            Self::Held(worker) => write!(f, "worker {worker} has it"),
            Self::Archived => f.write_str("the repository is archived"),
            Self::NoRights => f.write_str("the token may not label and push there"),
            Self::HasPull(url) => write!(f, "has a pull request: {url}"),
            Self::NeedsPerson(outcome) => {
                write!(f, "its last run here ended {outcome}; a person has to look first")
            }
            Self::BackOff(until) => {
                write!(f, "could not be started; next try after {}", until.strftime("%H:%M:%S UTC"))
            }
            Self::RepoFull(n) => write!(f, "{n} runs are under way in its repository"),
            Self::NoWorker => f.write_str("no idle worker is left"),
            Self::NoBroker => f.write_str(
                "it needed an approval, and no worker without GitHub credentials (mode = \"broker\") \
                 is idle",
            ),
            Self::NotTrusted(why) | Self::Unanswered(why) => f.write_str(why),
        }
    }
}

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Snapshot<'a> {
    /// Open issues, from the lists.
    pub issues: &'a [Issue],
    /// Their repositories. One that is missing here is taken as writable: the claim finds out.
    pub repos: &'a BTreeMap<RepoSlug, RepoFacts>,
    /// Idle workers, in the order in which they are used.
    pub idle: &'a [WorkerId],
    /// Those of them whose homes hold no credentials.
    pub brokers: &'a BTreeSet<WorkerId>,
    /// Issues and repositories that runs under way have.
    pub running: &'a [(RepoSlug, Option<IssueNumber>, WorkerId)],
    /// Issues whose label is of a host that is gone: its claim has run out.
    pub abandoned: &'a BTreeMap<IssueRef, WorkerId>,
    /// What closer looks gave so far.
    pub verdicts: &'a BTreeMap<IssueRef, Verdict>,
}

/// A pairing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The worker.
    pub worker: WorkerId,
    /// The issue.
    pub issue: IssueRef,
}

/// The plan. It is final when `questions` is empty; otherwise the named issues want a closer look
/// (a [`Verdict`]) first, because they are next in line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Who gets what.
    pub assignments: Vec<Assignment>,
    /// What is left alone, and why.
    pub skipped: Vec<(IssueRef, Skip)>,
    /// What must be looked at before this is a plan.
    pub questions: Vec<IssueRef>,
}

/// What the labels alone say against an issue.
fn refused_by_labels(
    issue: &Issue,
    only_label: Option<&str>,
    abandoned_by: Option<&WorkerId>,
) -> Option<Skip> {
    let counts = |l: &&Label| l.is_worker() && !abandoned_by.is_some_and(|worker| l.is_of(worker));
    if let Some(label) = issue.labels.iter().find(counts) {
        return Some(Skip::Worker(label.0.clone()));
    }
    if issue.has_label(BLOCKED_LABEL) {
        return Some(Skip::Blocked);
    }
    only_label.filter(|l| !issue.has_label(l)).map(|l| Skip::NotAskedFor(l.to_owned()))
}

/// Pairs idle workers with issues: priority labels first, then the oldest.
#[must_use]
pub fn assign(seen: &Snapshot<'_>, rules: &Rules) -> Plan {
    let mut plan = Plan::default();
    let held: BTreeMap<IssueRef, &WorkerId> = seen
        .running
        .iter()
        .filter_map(|(repo, issue, worker)| Some(((repo.clone(), (*issue)?), worker)))
        .collect();
    let mut under_way: BTreeMap<&RepoSlug, u32> = BTreeMap::new();
    for (repo, _, _) in seen.running {
        *under_way.entry(repo).or_default() += 1;
    }
    let mut free: Vec<&WorkerId> = seen.idle.iter().collect();
    let mut left = free.len().saturating_sub(rules.reserve);
    let mut known = BTreeSet::new();
    for issue in in_order(seen.issues) {
        let at: IssueRef = (issue.repo.clone(), issue.number);
        if !known.insert(at.clone()) {
            continue;
        }
        let verdict = seen.verdicts.get(&at);
        let running = under_way.get(&issue.repo).copied().unwrap_or(0);
        let abandoned_by = seen.abandoned.get(&at);
        let refused = refused_by_labels(issue, rules.only_label.as_deref(), abandoned_by)
            .or_else(|| held.get(&at).map(|worker| Skip::Held((*worker).clone())))
            .or_else(|| refused_by_repo(seen.repos.get(&issue.repo)))
            .or_else(|| match verdict {
                Some(Verdict::Refused(why)) => Some(why.clone()),
                _ => None,
            })
            .or_else(|| (running >= rules.max_per_repo).then_some(Skip::RepoFull(running)))
            .or_else(|| (left == 0).then_some(Skip::NoWorker));
        // Who may have anything is kept for those issues that not everybody may have.
        let is_broker = |id: &&WorkerId| seen.brokers.contains(*id);
        let chosen = match verdict {
            Some(Verdict::EligibleInBroker) => free.iter().position(is_broker),
            _ => free.iter().position(|id| !is_broker(id)).or(Some(0)),
        };
        let refused = refused.or_else(|| chosen.is_none().then_some(Skip::NoBroker));
        if let Some(why) = refused {
            plan.skipped.push((at, why));
            continue;
        }
        left -= 1;
        *under_way.entry(&issue.repo).or_default() += 1;
        if verdict.is_none() {
            plan.questions.push(at);
        } else if let Some(at_hand) = chosen.filter(|nth| *nth < free.len()) {
            let worker = free.remove(at_hand).clone();
            plan.assignments.push(Assignment { worker, issue: at });
        }
    }
    plan
}

fn refused_by_repo(facts: Option<&RepoFacts>) -> Option<Skip> {
    let facts = facts?;
    if facts.archived {
        Some(Skip::Archived)
    } else if !facts.may_push || !facts.may_label {
        Some(Skip::NoRights)
    } else {
        None
    }
}

fn in_order(issues: &[Issue]) -> Vec<&Issue> {
    let mut sorted: Vec<&Issue> = issues.iter().filter(|i| i.open && !i.is_pull).collect();
    sorted
        .sort_by_cached_key(|i| (Priority::of(&i.labels), i.created_at, i.repo.clone(), i.number));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Label;
    use proptest::prelude::*;

    fn issue(repo: &str, number: u64, labels: &[&str]) -> Issue {
        let at = Timestamp::from_second(1_000_000 + i64::try_from(number).unwrap()).unwrap();
        Issue {
            repo: repo.parse().unwrap(),
            number: number.try_into().unwrap(),
            title: String::new(),
            body: String::new(),
            author: "a".into(),
            labels: labels.iter().map(|l| Label((*l).to_owned())).collect(),
            created_at: at,
            updated_at: at,
            open: true,
            is_pull: false,
            locked: false,
        }
    }

    fn workers(n: usize) -> Vec<WorkerId> {
        (1..=n).map(|i| format!("{i:02}").parse().unwrap()).collect()
    }

    fn rules() -> Rules {
        Rules { only_label: None, max_per_repo: 2, reserve: 0 }
    }

    /// Plans with every asked issue answered "eligible".
    fn plan(issues: &[Issue], idle: &[WorkerId], rules: &Rules) -> Plan {
        let mut verdicts = BTreeMap::new();
        loop {
            let seen = Snapshot {
                issues,
                repos: &BTreeMap::new(),
                idle,
                brokers: &BTreeSet::new(),
                running: &[],
                abandoned: &BTreeMap::new(),
                verdicts: &verdicts,
            };
            let plan = assign(&seen, rules);
            if plan.questions.is_empty() {
                return plan;
            }
            verdicts.extend(plan.questions.into_iter().map(|q| (q, Verdict::Eligible)));
        }
    }

    fn pairs(plan: &Plan) -> Vec<String> {
        plan.assignments
            .iter()
            .map(|a| format!("{} {}#{}", a.worker, a.issue.0, a.issue.1))
            .collect()
    }

    #[test]
    fn priority_comes_before_age_and_age_before_the_rest() {
        let issues = [issue("a/b", 1, &[]), issue("a/c", 2, &["P1"]), issue("a/d", 3, &[])];
        assert_eq!(pairs(&plan(&issues, &workers(2), &rules())), ["01 a/c#2", "02 a/b#1"]);
    }

    #[test]
    fn labelled_blocked_and_unasked_issues_are_left_alone() {
        let issues = [
            issue("a/b", 1, &["Worker:09"]),
            issue("a/b", 2, &["blocked"]),
            issue("a/b", 3, &["x"]),
        ];
        let only = Rules { only_label: Some("ready".into()), ..rules() };
        let plan = plan(&issues, &workers(3), &only);
        let why: Vec<_> = plan.skipped.iter().map(|(_, s)| s.to_string()).collect();
        assert_eq!(
            why,
            ["has the label Worker:09", "has the label blocked", "does not have the label ready"]
        );
    }

    #[test]
    fn a_repository_gets_no_more_than_its_share_and_the_reserve_is_kept() {
        let issues: Vec<_> = (1..=5).map(|n| issue("a/b", n, &[])).collect();
        assert_eq!(plan(&issues, &workers(5), &rules()).assignments.len(), 2);
        let reserve = Rules { reserve: 4, ..rules() };
        assert_eq!(plan(&issues, &workers(5), &reserve).assignments.len(), 1);
        let all = Rules { reserve: 9, ..rules() };
        assert_eq!(plan(&issues, &workers(5), &all).assignments.len(), 0);
    }

    #[test]
    fn only_as_many_issues_are_looked_at_as_there_are_workers() {
        let issues: Vec<_> = (1..=9).map(|n| issue("a/b", n, &[])).collect();
        let seen = Snapshot {
            issues: &issues,
            repos: &BTreeMap::new(),
            idle: &workers(1),
            brokers: &BTreeSet::new(),
            running: &[],
            abandoned: &BTreeMap::new(),
            verdicts: &BTreeMap::new(),
        };
        assert_eq!(assign(&seen, &rules()).questions.len(), 1);
    }

    #[test]
    fn a_repository_that_cannot_be_written_is_refused_before_any_question() {
        let facts =
            |archived, may_push| RepoFacts { archived, may_push, may_label: true, size: None };
        let repos = BTreeMap::from([
            ("a/b".parse().unwrap(), facts(true, true)),
            ("a/c".parse().unwrap(), facts(false, false)),
        ]);
        let issues = [issue("a/b", 1, &[]), issue("a/c", 2, &[])];
        let seen = Snapshot {
            issues: &issues,
            repos: &repos,
            idle: &workers(2),
            brokers: &BTreeSet::new(),
            running: &[],
            abandoned: &BTreeMap::new(),
            verdicts: &BTreeMap::new(),
        };
        let plan = assign(&seen, &rules());
        assert!(plan.questions.is_empty());
        assert_eq!(plan.skipped[0].1, Skip::Archived);
        assert_eq!(plan.skipped[1].1, Skip::NoRights);
    }

    #[test]
    fn a_strangers_issue_goes_to_a_worker_without_credentials_and_others_leave_that_one_free() {
        let issues: Vec<_> = (1..=3).map(|n| issue("a/b", n, &[])).collect();
        let idle = workers(2);
        let one = |n: u64| ("a/b".parse().unwrap(), n.try_into().unwrap());
        let verdicts = BTreeMap::from([
            (one(1), Verdict::Eligible),
            (one(2), Verdict::EligibleInBroker),
            (one(3), Verdict::EligibleInBroker),
        ]);
        for (broker, got, why) in [
            (Some(0), vec!["02 a/b#1", "01 a/b#2"], Skip::NoWorker),
            (Some(1), vec!["01 a/b#1", "02 a/b#2"], Skip::NoWorker),
            (None, vec!["01 a/b#1"], Skip::NoBroker),
        ] {
            let seen = Snapshot {
                issues: &issues,
                repos: &BTreeMap::new(),
                idle: &idle,
                brokers: &broker.map(|nth: usize| idle[nth].clone()).into_iter().collect(),
                running: &[],
                abandoned: &BTreeMap::new(),
                verdicts: &verdicts,
            };
            let plan = assign(&seen, &Rules { max_per_repo: 9, ..rules() });
            assert_eq!(pairs(&plan), got);
            assert_eq!(plan.skipped.last().unwrap().1, why);
        }
    }

    proptest! {
        #[test]
        fn a_plan_keeps_its_limits(
            specs in prop::collection::vec((0..3u8, 1..30u64, prop::sample::select(vec!["", "P0", "blocked", "worker:7", "P3"])), 0..25),
            idle in 0..6usize, reserve in 0..4usize, max in 0..4u32,
            refused in prop::collection::btree_set((0..3u8, 1..30u64), 0..10),
            busy in prop::collection::vec((0..3u8, 1..30u64), 0..3),
            strange in prop::collection::btree_set(1..30u64, 0..20), broker in 0..6usize,
        ) {
            let repo = |r: u8| format!("o/r{r}").parse::<RepoSlug>().unwrap();
            let issues: Vec<Issue> = specs
                .iter()
                .map(|(r, n, l)| issue(&format!("o/r{r}"), *n, if l.is_empty() { &[] } else { std::slice::from_ref(l) }))
                .collect();
            let idle = workers(idle);
            let brokers: BTreeSet<_> = idle.iter().skip(broker).cloned().collect();
            let rules = Rules { only_label: None, max_per_repo: max, reserve };
            let running: Vec<_> = busy
                .iter()
                .map(|(r, n)| (repo(*r), Some(IssueNumber::try_from(*n).unwrap()), "99".parse().unwrap()))
                .collect();
            let mut verdicts: BTreeMap<IssueRef, Verdict> = BTreeMap::new();
            let plan = loop {
                let seen = Snapshot { issues: &issues, repos: &BTreeMap::new(), idle: &idle, brokers: &brokers, running: &running, abandoned: &BTreeMap::new(), verdicts: &verdicts };
                let plan = assign(&seen, &rules);
                if plan.questions.is_empty() { break plan; }
                for q in plan.questions {
                    let no = refused.iter().any(|(r, n)| repo(*r) == q.0 && *n == q.1.get());
                    let verdict = if no {
                        Verdict::Refused(Skip::NotTrusted("x".into()))
                    } else if strange.contains(&q.1.get()) {
                        Verdict::EligibleInBroker
                    } else {
                        Verdict::Eligible
                    };
                    prop_assert!(verdicts.insert(q, verdict).is_none(), "asked twice");
                }
            };
            prop_assert!(plan.assignments.len() <= idle.len().saturating_sub(reserve));
            let used: BTreeSet<_> = plan.assignments.iter().map(|a| &a.worker).collect();
            prop_assert_eq!(used.len(), plan.assignments.len());
            let given: BTreeSet<_> = plan.assignments.iter().map(|a| &a.issue).collect();
            prop_assert_eq!(given.len(), plan.assignments.len());
            for r in 0..3u8 {
                let now = plan.assignments.iter().filter(|a| a.issue.0 == repo(r)).count();
                let before = running.iter().filter(|(x, _, _)| *x == repo(r)).count();
                prop_assert!(now == 0 || now + before <= max as usize);
            }
            for a in &plan.assignments {
                prop_assert!(brokers.contains(&a.worker) || !strange.contains(&a.issue.1.get()));
                prop_assert!(!refused.iter().any(|(r, n)| repo(*r) == a.issue.0 && *n == a.issue.1.get()));
                prop_assert!(!running.iter().any(|(r, n, _)| *r == a.issue.0 && *n == Some(a.issue.1)));
            }
            // Every issue is either given or left alone with a reason.
            let all: BTreeSet<IssueRef> = issues.iter().map(|i| (i.repo.clone(), i.number)).collect();
            prop_assert_eq!(plan.assignments.len() + plan.skipped.len(), all.len());
        }
    }
}
