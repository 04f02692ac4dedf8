use super::*;
use crate::domain::{Claim, ClaimState, Ended, HostId, Issue, PullRef, Run};
use crate::plan::{history_refuses, not_started_in_a_row};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + day * DAY).unwrap()
}

fn rules(days: u64) -> Retention {
    let all = Some(Duration::from_secs(days * 86_400));
    Retention { logs: all, records: all, mirrors: all, clones: all, claims: all }
}

fn id(worker: &str) -> WorkerId {
    worker.parse().unwrap()
}

fn repo(n: u8) -> RepoSlug {
    format!("o/r{n}").parse().unwrap()
}

fn piece(thing: Thing, path: String, day: i64) -> Piece {
    Piece { thing, path: path.into(), bytes: 10, since: Some(at(day)) }
}

/// The `nth` run: its day is its age, its issue and worker as given.
fn run(nth: u16, day: i64, issue: u64, outcome: Outcome, cleared: bool) -> SeenRun {
    let run = RunId::new(at(day), nth);
    let pieces = [Thing::Log, Thing::Patch, Thing::Record];
    SeenRun {
        pieces: pieces.map(|t| piece(t, format!("/{run}.{}", t.as_str()), day)).to_vec(),
        run,
        repo: repo(0),
        issue: (issue > 0).then(|| issue.try_into().unwrap()),
        started_at: at(day),
        ended_at: Some(at(day)),
        outcome: Some(outcome),
        cleared,
        pull: false,
    }
}

fn worker(name: &str, runs: Vec<SeenRun>) -> SeenWorker {
    SeenWorker {
        id: id(name),
        away: None,
        holds: Holds::Nothing,
        runs,
        clones: vec![],
        borrows: BTreeSet::new(),
        loose: vec![],
    }
}

fn clone_of(repo: RepoSlug) -> SeenClone {
    SeenClone { path: format!("/home/{repo}").into(), repo, inside: Some((100, false)) }
}

fn removed(seen: &Seen, rules: &Retention, day: i64) -> Vec<String> {
    gc(seen, rules, at(day)).iter().map(|r| r.path.display().to_string()).collect()
}

fn one(worker: SeenWorker) -> Seen {
    Seen { workers: vec![worker], ..Seen::default() }
}

#[test]
fn logs_go_before_records_and_neither_before_its_time() {
    let runs =
        || vec![run(1, 0, 1, Outcome::Succeeded, false), run(2, 5, 1, Outcome::Failed, false)];
    let seen = one(worker("01", runs()));
    let logs = Retention { records: None, ..rules(10) };
    assert_eq!(removed(&seen, &logs, 9).len(), 0);
    let gone = removed(&seen, &logs, 12);
    assert_eq!(gone.len(), 2, "log and patch of the first: {gone:?}");
    let gone = removed(&seen, &rules(10), 12);
    assert!(gone.last().unwrap().ends_with(".record"), "the record goes last: {gone:?}");
    assert_eq!(gone.len(), 3);
    // The second says that a person has to look.
    assert_eq!(records_that_speak(&seen, &rules(10), at(99)), 1);
    // A run that ended in the future is a clock's mistake.
    assert_eq!(removed(&seen, &rules(0), -1).len(), 0);
    let forever =
        Retention { logs: None, records: None, mirrors: None, clones: None, claims: None };
    assert_eq!(removed(&seen, &forever, 9999).len(), 0);
}

#[test]
fn a_clone_stays_while_anything_in_it_may_be_wanted() {
    let with = |runs: Vec<SeenRun>, inside| {
        let clone = SeenClone { inside, ..clone_of(repo(0)) };
        let seen = one(SeenWorker { clones: vec![clone], ..worker("01", runs) });
        let logs = Retention { logs: None, records: None, ..rules(10) };
        removed(&seen, &logs, 20).len()
    };
    let clean = Some((1, false));
    let done = || run(2, 5, 2, Outcome::Succeeded, false);
    assert_eq!(with(vec![done()], clean), 1);
    assert_eq!(with(vec![done()], Some((1, true))), 0, "uncommitted");
    assert_eq!(with(vec![done()], None), 0, "not looked into");
    assert_eq!(with(vec![], clean), 0, "of no run");
    assert_eq!(with(vec![run(2, 15, 2, Outcome::Succeeded, false)], clean), 0, "used lately");
    assert_eq!(with(vec![run(2, 5, 2, Outcome::Failed, false)], clean), 0);
    assert_eq!(with(vec![run(2, 5, 2, Outcome::Failed, true)], clean), 1, "cleared");
    let waits = run(1, 1, 1, Outcome::Deferred, false);
    assert_eq!(with(vec![waits.clone(), done()], clean), 0, "its commits wait for a person");
    let later = run(3, 6, 1, Outcome::Succeeded, false);
    assert_eq!(with(vec![waits, done(), later], clean), 1, "done by now");
}

#[test]
fn memory_goes_by_age_and_beyond_its_bound_the_oldest_first() {
    let with = |memory: &[(&str, Option<i64>, u64)]| {
        let of = |&(path, day, mib): &(&str, Option<i64>, u64)| Piece {
            bytes: mib << 20,
            since: day.map(at),
            ..piece(Thing::Memory, path.into(), 0)
        };
        let memory = memory.iter().map(of).collect();
        removed(&Seen { memory, ..Seen::default() }, &rules(10), 40)
    };
    let list = |path, day| (path, Some(day), 1);
    // What the configuration says is of other things.
    assert_eq!(
        with(&[list("/a", 9), list("/b", 10), list("/c", 11), list("/d", 50)]),
        ["/b", "/a"]
    );
    assert_eq!(with(&[("/a", Some(39), 32), ("/b", Some(38), 32)]), [""; 0]);
    assert_eq!(with(&[("/a", Some(39), 32), ("/b", Some(38), 33)]), ["/b"]);
    assert_eq!(with(&[("/a", Some(37), 1), ("/b", Some(38), 64), ("/c", Some(39), 1)]), ["/b"]);
    // Claims are the first to go.
    assert_eq!(with(&[("/a", Some(20), 60), ("/objects", None, 5)]), ["/objects"]);
    assert_eq!(with(&[("/objects", None, 64)]), [""; 0]);
}

#[test]
fn a_mirror_stays_while_anybody_needs_it() {
    let with = |change: &dyn Fn(&mut SeenWorker)| {
        let mut worker = worker("01", vec![]);
        change(&mut worker);
        let piece = piece(Thing::Mirror, "/m".into(), 0);
        let mirrors = vec![SeenMirror { repo: repo(0), piece, packs: 1, loose: 1 }];
        removed(&Seen { mirrors, ..one(worker) }, &rules(10), 20).len()
    };
    assert_eq!(with(&|_| ()), 1);
    assert_eq!(with(&|w| w.borrows = [repo(0)].into()), 0);
    assert_eq!(with(&|w| w.borrows = [repo(1)].into()), 1);
    assert_eq!(with(&|w| (w.away, w.holds) = (Some("busy".into()), Holds::Run(repo(0), None))), 0);
    assert_eq!(with(&|w| (w.away, w.holds) = (Some("busy".into()), Holds::Run(repo(1), None))), 1);
    assert_eq!(with(&|w| w.holds = Holds::Unknown), 0);
    assert_eq!(with(&|w| w.away = Some("it is retired".into())), 1);
}

fn issue(number: u64, updated: i64) -> Issue {
    Issue {
        repo: repo(0),
        number: number.try_into().unwrap(),
        title: String::new(),
        body: String::new(),
        author: String::new(),
        labels: vec![],
        created_at: at(0),
        updated_at: at(updated),
        open: true,
        is_pull: false,
        locked: false,
    }
}

/// The record as `assign` reads it.
fn full(run: &SeenRun, worker: &WorkerId) -> Run {
    let json = format!(
        r#"{{"version":1,"run":"{}","worker":"{worker}","kind":"implement","repo":"{}","issue":1,
        "prompt":null,"model":null,"executor":"x","branch":null,"base":null,"attempt":1,
        "phase":"publishing","phaseAt":"{at}","startedAt":"{at}","pid":null,"pidStart":null,
        "bootId":null,"sessionId":null,"labelsLeft":true}}"#,
        run.run,
        run.repo,
        at = run.started_at
    );
    let mut full: Run = serde_json::from_str(&json).unwrap();
    full.issue = run.issue;
    full.ended = run.outcome.map(|outcome| Ended { outcome, why: String::new() });
    (full.ended_at, full.cleared) = (run.ended_at, run.cleared);
    let url = run.run.to_string();
    let head = "issue-1".parse().unwrap();
    full.pr = run.pull.then_some(PullRef { number: 1, url, head, open: true });
    full
}

/// What `assign` and `dispatch` would know of an issue.
fn speaks(
    workers: &[SeenWorker],
    number: u64,
    gone: &BTreeSet<PathBuf>,
) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut runs: Vec<Run> = Vec::new();
    for worker in workers {
        let kept = worker.runs.iter().filter(|run| !gone.contains(&run.pieces[2].path));
        let of_issue = kept.filter(|run| run.issue.is_some_and(|i| i.get() == number));
        runs.extend(of_issue.map(|run| full(run, &worker.id)));
    }
    runs.sort_by(|a, b| (a.started_at, &a.run).cmp(&(b.started_at, &b.run)));
    let tried: BTreeSet<String> = runs.iter().map(|run| run.worker.to_string()).collect();
    let verdicts: Vec<_> =
        [0, 30, 60].map(|updated| history_refuses(&runs, &issue(number, updated), at(50))).to_vec();
    (tried, verdicts, not_started_in_a_row(&runs), runs.last().map(|run| run.run.clone()))
}

#[test]
fn claims_go_if_their_runs_ended_well_long_ago_and_nobody_has_the_issue() {
    let old = || run(1, 0, 1, Outcome::Succeeded, false);
    let asked = |seen: &Seen, day| {
        let found = claims_in_question(seen, &rules(30), at(day));
        found.values().flat_map(BTreeMap::keys).map(|issue| issue.get()).collect::<Vec<_>>()
    };
    let with = |change: &dyn Fn(&mut SeenWorker)| {
        let mut other = worker("02", vec![run(2, 0, 2, Outcome::Succeeded, false)]);
        change(&mut other);
        asked(&Seen { workers: vec![worker("01", vec![old()]), other], ..Seen::default() }, 31)
    };
    assert_eq!(asked(&one(worker("01", vec![old()])), 29), [0; 0]);
    assert_eq!(with(&|_| ()), [1, 2]);
    assert_eq!(with(&|w| w.runs[0].outcome = Some(Outcome::Failed)), [1]);
    assert_eq!(with(&|w| w.runs[0].issue = None), [1]);
    assert_eq!(with(&|w| w.away = Some("it is retired".into())), [1, 2]);
    assert_eq!(with(&|w| w.holds = Holds::Run(repo(0), Some(1.try_into().unwrap()))), [2]);
    assert_eq!(with(&|w| w.holds = Holds::Run(repo(1), Some(1.try_into().unwrap()))), [1, 2]);
    assert_eq!(with(&|w| w.holds = Holds::Run(repo(0), None)), [1, 2]);
    assert_eq!(with(&|w| w.holds = Holds::Unknown), [0; 0], "it may have any");
}

#[test]
fn only_claims_of_this_host_that_are_done_go_and_none_within_a_week() {
    let me = HostId::new("me", 1);
    let claim = |host: &HostId, state| {
        let run = "20261121T071500-7f3a".parse().unwrap();
        let mut claim = Claim::new(host.clone(), id("01"), run, 1, "n".into(), 60);
        claim.state = state;
        claim
    };
    let (held, done) = (ClaimState::Held, ClaimState::Done);
    let (well, other) = (Some(Outcome::Succeeded), HostId::new("me", 2));
    let cases = [
        (&me, done, well, 30, 30, true),
        (&me, done, well, 30, 29, false),
        (&me, held, well, 30, 99, false),
        (&other, done, well, 30, 99, false),
        (&me, done, Some(Outcome::Failed), 30, 99, false),
        (&me, done, None, 30, 99, false),
        (&me, done, well, 0, 6, false),
        (&me, done, well, 0, 7, true),
        (&me, done, well, 30, -99, false),
    ];
    for (host, state, ended, keep, day, goes) in cases {
        let seen = SeenClaim { claim: claim(host, state), at: at(0) };
        let due = claim_is_due(&seen, &me, ended, &rules(keep), at(day));
        assert_eq!(due.is_some(), goes, "{seen:?} {ended:?} {keep} {day}: {due:?}");
    }
    let seen = SeenClaim { claim: claim(&me, done), at: at(0) };
    let forever = Retention { claims: None, ..rules(30) };
    assert_eq!(claim_is_due(&seen, &me, well, &forever, at(9999)), None);
}

proptest! {
    #[test]
    fn nothing_that_anybody_needs_is_removed(
        specs in prop::collection::vec(
            (0..3usize, 0..40i64, 0..4u64, prop::sample::select(Outcome::ALL.to_vec()), any::<bool>()), 0..30),
        away in prop::collection::vec(any::<bool>(), 3),
        inside in prop::collection::vec(prop::option::of((0..9u64, any::<bool>())), 3),
        days in prop::collection::vec(prop::option::of(0..50u64), 4),
        borrowed in any::<bool>(),
    ) {
        let mut workers: Vec<SeenWorker> =
            ["01", "02", "03"].iter().map(|name| worker(name, vec![])).collect();
        for (nth, (w, day, issue, outcome, cleared)) in specs.iter().enumerate() {
            let nth = u16::try_from(nth).unwrap();
            let run = run(nth, *day, *issue, *outcome, *cleared);
            workers[*w].runs.push(SeenRun { pull: nth % 2 == 1, ..run });
        }
        for (nth, worker) in workers.iter_mut().enumerate() {
            worker.away = away[nth].then(|| "busy".to_owned());
            worker.holds = if away[nth] { Holds::Run(repo(1), None) } else { Holds::Nothing };
            let path = format!("/{}/clone", worker.id).into();
            worker.clones = vec![SeenClone { path, repo: repo(0), inside: inside[nth] }];
            let scratch = format!("/{}/scratch", worker.id);
            worker.loose = vec![piece(Thing::Scratch, scratch, 0)];
            worker.borrows.extend(borrowed.then(|| repo(2)));
        }
        let mirrors = (0..4u8)
            .map(|n| SeenMirror {
                repo: repo(n),
                piece: piece(Thing::Mirror, format!("/m{n}"), 0),
                packs: 1,
                loose: 1,
            })
            .collect();
        let seen = Seen { workers, mirrors, ..Seen::default() };
        let keep = |n: usize| days[n].map(|days| Duration::from_secs(days * 86_400));
        let (logs, records, mirrors, clones) = (keep(0), keep(1), keep(2), keep(3));
        let rules = Retention { logs, records, mirrors, clones, claims: None };
        let removals = gc(&seen, &rules, at(50));
        let gone: BTreeSet<PathBuf> = removals.iter().map(|r| r.path.clone()).collect();
        prop_assert_eq!(gone.len(), removals.len(), "nothing twice");
        for removal in &removals {
            let worker = seen.workers.iter().find(|w| Some(&w.id) == removal.worker.as_ref());
            prop_assert!(worker.is_none_or(|w| w.away.is_none()), "of a worker at work");
            match removal.what {
                Thing::Clone => {
                    let inside = worker.unwrap().clones[0].inside;
                    prop_assert!(matches!(inside, Some((_, false))));
                    let last = in_order(worker.unwrap().runs.iter()).pop().unwrap();
                    prop_assert!(last.cleared || last.outcome == Some(Outcome::Succeeded));
                }
                Thing::Mirror => {
                    let busy = away.iter().any(|away| *away);
                    let repo = removal.repo.clone().unwrap();
                    prop_assert!(!(busy && repo == self::repo(1)));
                    prop_assert!(!(borrowed && repo == self::repo(2)));
                }
                _ => {}
            }
        }
        // As far as any issue can tell, nothing has happened.
        for number in 1..4 {
            let (before, after) = (speaks(&seen.workers, number, &BTreeSet::new()), speaks(&seen.workers, number, &gone));
            prop_assert_eq!(before, after);
        }
        // What was old enough and speaks for nothing is gone, and is not found again.
        let kept = records_that_speak(&seen, &rules, at(50));
        let old = seen.workers.iter().filter(|w| w.away.is_none()).flat_map(|w| &w.runs)
            .filter(|run| is_due(run.ended_at, rules.records, at(50)).is_some()).count();
        let records = removals.iter().filter(|r| r.what == Thing::Record).count();
        prop_assert_eq!(records + kept, old);
        let mut after = seen.clone();
        for worker in &mut after.workers {
            worker.runs.retain(|run| !gone.contains(&run.pieces[2].path));
        }
        let again = gc(&after, &rules, at(50));
        prop_assert!(again.iter().all(|r| r.what != Thing::Record));
    }
}
