use proptest::prelude::*;

use super::*;
use crate::domain::Ended;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + minute * 60).unwrap()
}

fn id(text: &str) -> WorkerId {
    text.parse().unwrap()
}

fn issue(number: u64, labels: &[&str]) -> Issue {
    Issue {
        repo: "o/a".parse().unwrap(),
        number: number.try_into().unwrap(),
        title: "Title".into(),
        body: String::new(),
        author: "a".into(),
        labels: labels.iter().map(|l| Label((*l).to_owned())).collect(),
        created_at: at(0),
        updated_at: at(0),
        open: true,
        is_pull: false,
        locked: false,
    }
}

/// A run of minutes 10 to 20; under way if it has no outcome.
fn run(worker: &str, number: u64, outcome: Option<Outcome>) -> Run {
    let json = format!(
        r#"{{"version":1,"run":"20261121T071500-7f3a","worker":"{worker}","kind":"implement",
        "repo":"o/a","issue":{number},"prompt":null,"model":null,"executor":"x","branch":null,
        "base":null,"attempt":1,"phase":"running","phaseAt":"{}","startedAt":"{}","pid":null,
        "pidStart":null,"bootId":null,"sessionId":null}}"#,
        at(10),
        at(10)
    );
    let mut run: Run = serde_json::from_str(&json).unwrap();
    run.ended = outcome.map(|outcome| Ended { outcome, why: String::new() });
    run.ended_at = outcome.map(|_| at(20));
    run
}

fn found(workers: &[(&str, Doing<'_>)], archive: &[Run], issues: &[Issue]) -> Vec<Drift> {
    let workers = workers.iter().map(|(worker, doing)| (id(worker), *doing)).collect();
    let listed = BTreeSet::from(["o/a".parse().unwrap()]);
    drift(&Sides { workers: &workers, archive, issues, listed: &listed })
}

fn wrong(workers: &[(&str, Doing<'_>)], archive: &[Run], issues: &[Issue]) -> Vec<Wrong> {
    found(workers, archive, issues).into_iter().map(|drift| drift.wrong).collect()
}

#[test]
fn a_label_is_as_good_as_what_its_worker_does() {
    let labelled = [issue(1, &["Worker:01"])];
    let (on_it, elsewhere) = (run("01", 1, None), run("01", 2, None));
    let both = [issue(1, &["worker:01"]), issue(2, &["worker:01"])];
    assert_eq!(wrong(&[("01", Doing::On(&on_it))], &[], &labelled), []);
    assert_eq!(wrong(&[("01", Doing::Taken)], &[], &labelled), []);
    assert_eq!(wrong(&[("01", Doing::Idle)], &[], &labelled), [Wrong::Idle]);
    assert_eq!(wrong(&[("01", Doing::Broken)], &[], &labelled), [Wrong::Broken]);
    assert_eq!(wrong(&[("1", Doing::Idle)], &[], &labelled), [Wrong::Unknown]);
    let elsewhere = wrong(&[("01", Doing::On(&elsewhere))], &[], &both);
    assert_eq!(elsewhere, [Wrong::Elsewhere("o/a#2".into())]);
}

#[test]
fn how_the_run_ended_says_whether_the_label_should_be_off() {
    let labelled = [issue(1, &["worker:01", "blocked"])];
    let after = |outcome, cleared| {
        let mut ended = run("01", 1, Some(outcome));
        ended.cleared = cleared;
        wrong(&[("01", Doing::Idle)], &[ended], &labelled)
    };
    for outcome in Outcome::ALL {
        let expected = match outcome {
            Outcome::Succeeded | Outcome::NotStarted => Wrong::LeftOver(Some(outcome)),
            _ => Wrong::WaitsForYou(outcome),
        };
        assert_eq!(after(outcome, false), [expected]);
        assert_eq!(after(outcome, true), [Wrong::LeftOver(None)]);
    }
}

#[test]
fn the_last_run_of_the_issue_counts_whoever_had_it() {
    let labelled = [issue(1, &["worker:01"])];
    let archive = |last| [run("01", 1, Some(Outcome::Failed)), run("02", 1, Some(last))];
    let idle = [("01", Doing::Idle), ("02", Doing::Idle)];
    let of = |last| wrong(&idle, &archive(last), &labelled);
    assert_eq!(of(Outcome::Succeeded), [Wrong::LeftOver(Some(Outcome::Succeeded))]);
    assert_eq!(of(Outcome::Failed), [Wrong::WaitsForYou(Outcome::Failed)]);
    // A run of another worker alone explains nothing.
    let other = [run("02", 1, Some(Outcome::Succeeded))];
    assert_eq!(wrong(&idle, &other, &labelled), [Wrong::Idle]);
    // It does not wait for anybody while another worker has it.
    let on_it = run("02", 1, None);
    let now = [("01", Doing::Idle), ("02", Doing::On(&on_it))];
    let now = wrong(&now, &archive(Outcome::Failed)[..1], &labelled);
    assert_eq!(now, [Wrong::Idle, Wrong::Missing]);
}

#[test]
fn a_label_is_missed_while_it_must_be_there_and_no_longer() {
    let bare = [issue(1, &[])];
    let mut on_it = run("01", 1, None);
    for (phase, missed) in [
        (Phase::Claimed, false),
        (Phase::Preparing, true),
        (Phase::Running, true),
        (Phase::Verifying, true),
        (Phase::Publishing, false),
    ] {
        on_it.phase = phase;
        let doing = [("01", Doing::On(&on_it))];
        let expected = |wrong| if missed { vec![wrong] } else { Vec::new() };
        assert_eq!(wrong(&doing, &[], &bare), expected(Wrong::Missing), "{phase}");
        assert_eq!(wrong(&doing, &[], &[]), expected(Wrong::NotOpen), "{phase}");
    }
    on_it.phase = Phase::Running;
    on_it.repo = "o/not-listed".parse().unwrap();
    assert_eq!(wrong(&[("01", Doing::On(&on_it))], &[], &bare), []);
}

#[test]
fn a_label_is_ours_if_our_login_put_it_on_while_the_run_lasted() {
    let mut archive =
        [run("01", 1, Some(Outcome::Succeeded)), run("02", 2, Some(Outcome::Succeeded))];
    let left = &found(&[("01", Doing::Idle)], &archive, &[issue(1, &["worker:01"])])[0];
    let is_ours = |archive: &[Run], by: &str, minute| left.is_ours(archive, "octo", by, at(minute));
    archive[0].ended_at = Some(at(30));
    assert!(is_ours(&archive, "Octo", 10) && is_ours(&archive, "octo", 30));
    assert!(!is_ours(&archive, "octo", 31));
    // GitHub's clock may be a minute behind.
    assert!(is_ours(&archive, "octo", 9) && !is_ours(&archive, "octo", 8));
    assert!(!is_ours(&archive, "person", 10) && !is_ours(&archive[1..], "octo", 10));
    archive[0].ended_at = Some(at(12));
    assert!(is_ours(&archive, "octo", 12) && !is_ours(&archive, "octo", 13));
}

#[test]
fn a_strangers_label_gets_into_no_command() {
    let hostile = [issue(1, &["worker:$(reboot)"])];
    let found = found(&[("01", Doing::Idle)], &[], &hostile);
    assert_eq!(found[0].wrong, Wrong::Unknown);
    assert!(!found[0].hint(true).contains("reboot"));
    assert!(!found[0].to_string().contains("reboot"));
}

proptest! {
    #[test]
    fn each_label_is_explained_once(
        labels in prop::collection::vec(prop::collection::btree_set(0..4u8, 0..4), 1..5),
        doing in prop::collection::vec(0..8u8, 3),
        ended in prop::collection::vec((0..4u8, 1..6u64, 0..7usize, any::<bool>()), 0..8),
    ) {
        let name = |worker: u8| format!("0{worker}");
        let issues: Vec<Issue> = (1..).zip(&labels).map(|(number, workers)| {
            let labels: Vec<String> = workers.iter().map(|w| format!("worker:{}", name(*w))).collect();
            issue(number, &labels.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let runs: Vec<Run> = (0..3).zip(&doing)
            .map(|(w, n)| run(&name(w), u64::from(*n).max(1), None)).collect();
        let workers: BTreeMap<WorkerId, Doing<'_>> = (0..3).zip(&doing).map(|(w, n)| {
            let doing = match n {
                0 => Doing::Idle,
                6 => Doing::Taken,
                7 => Doing::Broken,
                _ => Doing::On(&runs[usize::from(w)]),
            };
            (id(&name(w)), doing)
        }).collect();
        let archive: Vec<Run> = ended.iter().map(|(worker, number, outcome, cleared)| {
            let mut run = run(&name(*worker), *number, Some(Outcome::ALL[*outcome]));
            run.cleared = *cleared;
            run
        }).collect();
        let listed = BTreeSet::from(["o/a".parse().unwrap()]);
        let found = drift(&Sides { workers: &workers, archive: &archive, issues: &issues, listed: &listed });
        for issue in &issues {
            for label in &issue.labels {
                let about = |d: &&Drift| d.issue == issue.number && label.is(&d.label);
                let count = found.iter().filter(about).count();
                let worker = workers.iter().find(|(id, _)| label.is_of(id)).map(|(_, doing)| doing);
                let fine = match worker {
                    Some(Doing::Taken) => true,
                    Some(Doing::On(run)) => is_about(run, issue),
                    _ => false,
                };
                prop_assert_eq!(count, usize::from(!fine));
            }
        }
        for drift in &found {
            let holder = drift.worker.as_ref().and_then(|worker| workers.get(worker));
            // What is taken off is never the label of a worker that has the issue.
            if matches!(drift.wrong, Wrong::LeftOver(_)) {
                prop_assert!(!matches!(holder, Some(Doing::On(run)) if run.issue == Some(drift.issue)));
                prop_assert!(archive.iter().any(|run| Some(&run.worker) == drift.worker.as_ref()
                    && run.issue == Some(drift.issue)));
            }
            prop_assert!(!drift.hint(true).is_empty());
        }
    }
}
