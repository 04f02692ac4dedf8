//! What earlier runs on this machine say about an issue.

use jiff::{SignedDuration, Timestamp};

use super::Skip;
use crate::domain::{Issue, Outcome, Run};

/// After so many failed starts in a row a person has to look.
pub const NOT_STARTED_MAX: usize = 5;

/// How many of the last runs in a row never came to their agent.
#[must_use]
pub fn not_started_in_a_row(runs: &[Run]) -> usize {
    let failed = |r: &&Run| r.outcome() == Some(Outcome::NotStarted) && !r.cleared;
    runs.iter().rev().take_while(failed).count()
}

/// Whether the earlier runs of an issue, oldest first, speak against another one now.
///
/// A run that ended for a person to look at is in the way until that person takes our labels off;
/// that they are gone is believed only of a reading younger than the one that had them, and only if
/// they had really been put on.
#[must_use]
pub fn history_refuses(runs: &[Run], issue: &Issue, now: Timestamp) -> Option<Skip> {
    // One that ended well is not undone by another that came after it.
    let well = |run: &&Run| run.outcome() == Some(Outcome::Succeeded) && !run.cleared;
    if let Some(pr) = runs.iter().rev().filter(well).find_map(|run| run.pr.as_ref()) {
        return Some(Skip::HasPull(pr.url.clone()));
    }
    let last = runs.last().filter(|run| !run.cleared)?;
    let outcome = last.outcome()?;
    let ended_at = last.ended_at.unwrap_or(last.phase_at);
    match outcome {
        // Another host took it over: what became of it there, GitHub says. Or it needed none.
        Outcome::Lost | Outcome::Succeeded => None,
        Outcome::NotStarted => {
            let failures = not_started_in_a_row(runs);
            if failures >= NOT_STARTED_MAX {
                return still_waits(last, issue, (ended_at, now))
                    .then_some(Skip::NeedsPerson(outcome));
            }
            let until = ended_at.saturating_add(back_off(failures)).ok()?;
            // An end in the future is a clock that was wrong then: nothing to wait for.
            (ended_at <= now && now < until).then_some(Skip::BackOff(until))
        }
        _ => still_waits(last, issue, (ended_at, now)).then_some(Skip::NeedsPerson(outcome)),
    }
}

/// Whether nobody has taken our labels off since. Where the record does not say what time it was at
/// GitHub then, the run's end stands for it, by this host's clock. An end in the future is a clock that
/// was wrong then: it says nothing of how old the reading is (and who dispatches reads again).
fn still_waits(last: &Run, issue: &Issue, (ended_at, now): (Timestamp, Timestamp)) -> bool {
    let changed = match last.labelled_at {
        Some(at) => issue.updated_at > at,
        None => ended_at > now || issue.updated_at > ended_at,
    };
    !(last.labels_left && changed)
}

/// 5, 10, 20, 40 minutes.
fn back_off(failures: usize) -> SignedDuration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(3);
    SignedDuration::from_mins(5 * 2_i64.pow(doublings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Ended, PullRef};

    fn run(outcome: Outcome, minute: i64) -> Run {
        let json = r#"{"version":1,"run":"20261121T071500-7f3a","worker":"01","kind":"implement",
            "repo":"o/a","issue":1,"prompt":null,"model":null,"executor":"x","branch":null,
            "base":null,"attempt":1,"phase":"publishing","phaseAt":"2026-11-21T07:15:00Z",
            "startedAt":"2026-11-21T07:15:00Z","pid":null,"pidStart":null,"bootId":null,
            "sessionId":null}"#;
        let mut run: Run = serde_json::from_str(json).unwrap();
        run.ended = Some(Ended { outcome, why: String::new() });
        run.ended_at = Some(at(minute));
        run
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + minute * 60).unwrap()
    }

    fn issue(updated: i64) -> Issue {
        Issue {
            repo: "o/a".parse().unwrap(),
            number: 1.try_into().unwrap(),
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

    #[test]
    fn failed_starts_back_off_and_end() {
        let mut runs = vec![];
        assert_eq!(history_refuses(&runs, &issue(0), at(0)), None);
        for expected in [5, 10, 20, 40] {
            runs.push(run(Outcome::NotStarted, 0));
            assert_eq!(
                history_refuses(&runs, &issue(0), at(expected - 1)),
                Some(Skip::BackOff(at(expected)))
            );
            assert_eq!(history_refuses(&runs, &issue(0), at(expected)), None);
        }
        runs.push(run(Outcome::NotStarted, 0));
        let person = Some(Skip::NeedsPerson(Outcome::NotStarted));
        assert_eq!(history_refuses(&runs, &issue(0), at(9999)), person);
    }

    #[test]
    fn an_end_in_the_future_is_not_waited_for() {
        let runs = [run(Outcome::NotStarted, 500_000)];
        assert_eq!(history_refuses(&runs, &issue(0), at(1)), None);
    }

    #[test]
    fn a_failed_issue_waits_until_a_person_took_the_labels_off() {
        let mut failed = run(Outcome::Failed, 10);
        let person = Some(Skip::NeedsPerson(Outcome::Failed));
        // The labels never came on: nothing that a person could have taken off.
        assert_eq!(history_refuses(&[failed.clone()], &issue(20), at(30)), person);
        failed.labels_left = true;
        // A list older than the labels shows none and means nothing.
        assert_eq!(history_refuses(&[failed.clone()], &issue(10), at(30)), person);
        assert_eq!(history_refuses(&[failed.clone()], &issue(20), at(30)), None);
        // It ended by a clock that ran a year ahead.
        failed.ended_at = Some(at(500_000));
        assert_eq!(history_refuses(&[failed], &issue(20), at(30)), None);
    }

    #[test]
    fn whether_the_labels_were_taken_off_is_told_by_githubs_clock_alone() {
        // This host's clock is ahead of GitHub's, behind it, or right.
        for ended in [10, 40, 60, 500_000] {
            let mut failed = run(Outcome::Failed, ended);
            (failed.labels_left, failed.labelled_at) = (true, Some(at(20)));
            let refused = |updated| {
                history_refuses(std::slice::from_ref(&failed), &issue(updated), at(50)).is_some()
            };
            assert_eq!([19, 20, 21].map(refused), [true, true, false], "{ended}");
        }
    }

    #[test]
    fn a_run_that_another_host_took_over_is_in_no_way() {
        let lost = run(Outcome::Lost, 1);
        assert_eq!(history_refuses(&[lost], &issue(0), at(2)), None);
    }

    #[test]
    fn success_with_a_pull_request_is_final_and_without_one_is_not() {
        let mut done = run(Outcome::Succeeded, 1);
        assert_eq!(history_refuses(&[done.clone()], &issue(0), at(2)), None);
        done.pr = Some(PullRef {
            number: 3,
            url: "u".into(),
            head: "issue-1".parse().unwrap(),
            open: false,
        });
        let pull = Some(Skip::HasPull("u".into()));
        assert_eq!(history_refuses(&[done.clone()], &issue(0), at(2)), pull);
        // Whatever came after it: a person has dispatched the issue again, and perhaps cleared that.
        for outcome in Outcome::ALL {
            for cleared in [false, true] {
                let after = Run { cleared, labels_left: true, ..run(outcome, 3) };
                assert_eq!(history_refuses(&[done.clone(), after], &issue(5), at(99)), pull);
            }
        }
    }
}
