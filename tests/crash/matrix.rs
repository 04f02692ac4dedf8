//! Every point in every mode.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use claude_workers::domain::Outcome;

use crate::check::check;
use crate::drive::{ASSIGN, CONTESTED, DISPATCH, FAILING, JAILED, Mode, RESET, Scenario, run};
use crate::points::{Point, reached_by};

/// Most of the time of a case is waiting.
const THREADS: usize = 4;

fn survives_everywhere(scenario: &Scenario, mode: Mode, expected: Outcome) {
    let start = Instant::now();
    let points = reached_by(scenario);
    let here =
        |point: &&Point| applies(point, mode) && scenario.roles.contains(&point.role.as_str());
    let cases: Vec<&Point> = points.iter().filter(here).collect();
    assert!(!cases.is_empty(), "{points:#?}");
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some(point) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ended = run(scenario, point, mode).and_then(|world| check(&world, expected));
            if let Err(why) = ended {
                eprintln!("{mode:?} at {point}: {why}");
                wrong.lock().unwrap().push(format!("{mode:?} at {point}: {why}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!(
        "{:?}, {mode:?}: {} points, {} cases, {} wrong, {} s",
        scenario.words,
        points.len(),
        cases.len(),
        wrong.len(),
        start.elapsed().as_secs()
    );
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
}

fn applies(point: &Point, mode: Mode) -> bool {
    match mode {
        Mode::Error => point.may_fail,
        Mode::KillAgent => point.name == "after spawn agent",
        _ => !point.same_as_next,
    }
}

#[test]
fn a_process_killed_between_any_two_effects_loses_nothing() {
    survives_everywhere(&ASSIGN, Mode::Kill, Outcome::Succeeded);
}

#[test]
fn a_machine_that_loses_power_between_any_two_effects_loses_nothing() {
    survives_everywhere(&ASSIGN, Mode::KillAll, Outcome::Succeeded);
}

#[test]
fn a_process_that_stands_still_between_any_two_effects_lets_nothing_be_done_twice() {
    survives_everywhere(&CONTESTED, Mode::Overlap, Outcome::Succeeded);
}

#[test]
fn an_effect_that_fails_or_seems_to_loses_nothing() {
    survives_everywhere(&ASSIGN, Mode::Error, Outcome::Succeeded);
}

#[test]
fn an_agent_that_is_killed_is_a_failure_and_calls_a_person() {
    survives_everywhere(&ASSIGN, Mode::KillAgent, Outcome::Failed);
}

#[test]
fn a_dispatch_by_hand_killed_between_any_two_effects_loses_nothing() {
    survives_everywhere(&DISPATCH, Mode::Kill, Outcome::Succeeded);
}

#[test]
fn a_failure_killed_between_any_two_effects_is_told_once() {
    survives_everywhere(&FAILING, Mode::Kill, Outcome::Failed);
}

#[test]
fn a_reset_killed_between_any_two_effects_gives_the_issue_free_or_changes_nothing() {
    survives_everywhere(&RESET, Mode::Kill, Outcome::Failed);
}

#[test]
fn a_jailed_run_killed_between_any_two_effects_loses_nothing() {
    survives_everywhere(&JAILED, Mode::Kill, Outcome::Succeeded);
}
