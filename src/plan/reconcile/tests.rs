use super::*;
use crate::domain::ClaimHeld;
use proptest::prelude::*;

const NOW: i64 = 1_000_000_000;
const YEAR: i64 = 366 * 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn clock(second: i64, up: i64) -> Clock {
    Clock { now: at(second), up: Some(("this".into(), up)) }
}

fn retry() -> Retry {
    Retry { lost: 1, failed: 0, wait: Duration::from_mins(10) }
}

fn run(phase: Phase) -> Run {
    let json = format!(
        r#"{{"version":1,"run":"20261121T071500-7f3a","worker":"01","kind":"implement",
        "repo":"o/a","issue":1,"prompt":null,"model":null,"executor":"x","branch":null,
        "base":null,"attempt":1,"phase":"{phase}","phaseAt":"2026-11-21T07:15:00Z",
        "startedAt":"2026-11-21T07:15:00Z","pid":null,"pidStart":null,"bootId":null,
        "sessionId":null}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn ended(outcome: Outcome) -> Ended {
    Ended { outcome, why: "so".into() }
}

fn crashed(run: &Run) -> Seen<'_> {
    Seen {
        record: Record::Of(run),
        held: false,
        alive: &[],
        archived: false,
        claims: true,
        resetting: false,
    }
}

fn pause_of(secs: u64) -> Pause {
    Pause { since: at(NOW), secs, boot_id: Some("this".into()), up_secs: Some(5000) }
}

#[test]
fn each_thing_that_can_be_seen_has_one_thing_to_be_done() {
    let (preparing, running) = (run(Phase::Preparing), run(Phase::Running));
    let with = |phase, change: fn(&mut Run)| {
        let mut run = run(phase);
        change(&mut run);
        run
    };
    let lost = with(Phase::Running, |run| run.losses = 1);
    let absurd = with(Phase::Running, |run| (run.losses, run.attempt) = (u32::MAX, u32::MAX));
    let published = with(Phase::Publishing, |run| run.ended = Some(ended(Outcome::Failed)));
    let stopped = with(Phase::Running, |run| run.ended = Some(ended(Outcome::Stopped)));
    let held_claim = |run: &mut Run, at| {
        run.claim = Some(ClaimHeld { id: "c".into(), epoch: 1, at });
    };
    let mut old_claim = stopped.clone();
    held_claim(&mut old_claim, at(NOW - 5405));
    let mut fresh_claim = stopped.clone();
    held_claim(&mut fresh_claim, at(NOW - 5000));
    let mut waits = running.clone();
    waits.pause = Some(pause_of(600));
    let mut over = waits.clone();
    over.pause = Some(pause_of(0));
    let mut waits_long = waits.clone();
    held_claim(&mut waits_long, at(NOW - 5405));

    let minutes = Duration::from_mins;
    let cases: Vec<(Seen<'_>, Action)> = vec![
        (Seen { record: Record::None, ..crashed(&running) }, Action::Leave),
        (Seen { record: Record::None, held: true, ..crashed(&running) }, Action::Leave),
        (
            Seen { record: Record::Unreadable("{"), archived: true, ..crashed(&running) },
            Action::Report("{".into()),
        ),
        (Seen { held: true, ..crashed(&running) }, Action::Leave),
        (Seen { alive: &[7, 9], ..crashed(&running) }, Action::End(vec![7, 9])),
        (Seen { alive: &[7], archived: true, ..crashed(&stopped) }, Action::End(vec![7])),
        (Seen { archived: true, ..crashed(&running) }, Action::Finish),
        (Seen { archived: true, resetting: true, ..crashed(&stopped) }, Action::Finish),
        (Seen { resetting: true, ..crashed(&running) }, Action::Reset),
        (crashed(&stopped), Action::Leave),
        (crashed(&fresh_claim), Action::Leave),
        (crashed(&old_claim), Action::KeepClaim),
        (crashed(&preparing), Action::TakeUp(Way::AfterLoss)),
        (crashed(&running), Action::TakeUp(Way::AfterLoss)),
        (crashed(&lost), Action::TakeUp(Way::GiveUp)),
        (crashed(&absurd), Action::TakeUp(Way::GiveUp)),
        (crashed(&waits), Action::Wait(minutes(10))),
        (crashed(&waits_long), Action::KeepClaim),
        (crashed(&over), Action::TakeUp(Way::AfterPause)),
        (crashed(&published), Action::TakeUp(Way::Publish)),
    ];
    for (seen, wanted) in cases {
        let clock = clock(NOW, 5000);
        assert_eq!(decide(&seen, &retry(), &clock), wanted, "{seen:?}");
    }
    for (phase, way) in [
        (Phase::Claimed, Way::Start),
        (Phase::Verifying, Way::Verify),
        (Phase::Publishing, Way::Verify),
    ] {
        let action = decide(&crashed(&run(phase)), &retry(), &clock(NOW, 5000));
        assert_eq!(action, Action::TakeUp(way), "{phase}");
    }
    let no_claims = Seen { claims: false, ..crashed(&old_claim) };
    assert_eq!(decide(&no_claims, &retry(), &clock(NOW, 0)), Action::Leave);
}

#[test]
fn a_run_is_taken_up_as_often_as_is_configured_with_growing_pauses() {
    let retry = Retry { lost: 3, ..retry() };
    let mut run = run(Phase::Running);
    let mut pauses = Vec::new();
    let (mut now, mut ups) = (NOW, 0);
    let last = loop {
        match decide(&crashed(&run), &retry, &clock(now, now)) {
            Action::Postpone(pause) => run.postpone(pause, at(now)),
            Action::Wait(left) => {
                pauses.push(left.as_secs() / 60);
                now += i64::try_from(left.as_secs()).unwrap();
            }
            Action::TakeUp(way @ (Way::AfterLoss | Way::AfterPause)) => {
                run.carry_on(way, at(now));
                ups += 1;
            }
            other => break other,
        }
    };
    assert_eq!(last, Action::TakeUp(Way::GiveUp));
    assert_eq!((ups, pauses, run.attempt, run.losses), (3, vec![10, 20], 4, 3));
    let attempts: Vec<_> = run.tried.iter().map(|t| (t.attempt, t.outcome)).collect();
    assert_eq!(attempts, [(1, Outcome::Lost), (2, Outcome::Lost), (3, Outcome::Lost)]);
    run.carry_on(Way::GiveUp, at(now));
    assert_eq!((run.phase, run.outcome()), (Phase::Publishing, Some(Outcome::Failed)));
    let none = Retry { lost: 0, ..retry };
    let action = decide(&crashed(&self::run(Phase::Running)), &none, &clock(NOW, 0));
    assert_eq!(action, Action::TakeUp(Way::GiveUp));
}

#[test]
fn a_failed_attempt_is_followed_by_as_many_as_are_configured() {
    let retry = Retry { failed: 2, wait: Duration::from_hours(20), ..retry() };
    let mut run = run(Phase::Verifying);
    let clock = clock(NOW, 0);
    for outcome in [Outcome::Succeeded, Outcome::Deferred, Outcome::NotStarted, Outcome::Stopped] {
        assert_eq!(another(&run, &ended(outcome), &retry, &clock), None);
    }
    for (outcome, hours) in [(Outcome::Failed, 20), (Outcome::TimedOut, 24)] {
        let pause = another(&run, &ended(outcome), &retry, &clock).unwrap();
        assert_eq!(pause.secs, hours * 3600);
        run.try_again(&ended(outcome), pause, at(NOW));
        assert_eq!((run.lies(), run.outcome(), run.phase), ("waiting", None, Phase::Running));
        run.carry_on(Way::AfterPause, at(NOW));
        assert_eq!((run.pause.is_none(), run.losses), (true, 0));
    }
    assert_eq!((run.attempt, run.tried.len()), (3, 2));
    assert_eq!(another(&run, &ended(Outcome::Failed), &retry, &clock), None);
}

#[test]
fn a_pause_is_never_longer_than_it_was_made_whatever_the_clocks_say() {
    let secs = |pause: &Pause, clock: &Clock| left(pause, clock).as_secs();
    let pause = pause_of(600);
    // By the clock that nobody sets.
    assert_eq!(secs(&pause, &clock(NOW + YEAR, 5000)), 600);
    assert_eq!(secs(&pause, &clock(NOW - YEAR, 5599)), 1);
    assert_eq!(secs(&pause, &clock(NOW - YEAR, 5600)), 0);
    assert_eq!(secs(&pause, &clock(NOW, 4999)), 0, "nonsense");
    // After a restart of the machine, by that of people.
    let other = |second| Clock { now: at(second), up: Some(("other".into(), 1)) };
    assert_eq!(secs(&pause, &other(NOW + 599)), 1);
    assert_eq!(secs(&pause, &other(NOW + YEAR)), 0);
    assert_eq!(secs(&pause, &other(NOW - YEAR)), 0, "nonsense");
    let absurd = Pause { secs: u64::MAX, up_secs: Some(i64::MIN), ..pause };
    assert_eq!(secs(&absurd, &clock(NOW, i64::MAX)), 0);
    assert_eq!(secs(&absurd, &other(NOW)), LONGEST_PAUSE.as_secs());
}

/// A worker, as the disk has it.
#[derive(Debug, Clone)]
struct World {
    run: Option<Run>,
    readable: bool,
    held: bool,
    alive: Vec<u32>,
    archived: bool,
    claims: bool,
    resetting: bool,
}

impl World {
    fn seen(&self) -> Seen<'_> {
        let record = match (&self.run, self.readable) {
            (_, false) => Record::Unreadable("broken"),
            (None, _) => Record::None,
            (Some(run), _) => Record::Of(run),
        };
        // Where the lock is held, nobody looks for processes.
        let alive = if self.held { &[][..] } else { &self.alive };
        let Self { held, archived, claims, resetting, .. } = *self;
        Seen { record, held, alive, archived, claims, resetting }
    }

    fn apply(&mut self, action: &Action, clock: &Clock) {
        let run = self.run.as_mut();
        match action {
            Action::Leave | Action::Report(_) | Action::Wait(_) => {}
            Action::End(_) => self.alive.clear(),
            Action::Finish | Action::Reset => self.run = None,
            Action::KeepClaim => run.unwrap().claim.as_mut().unwrap().at = clock.now,
            Action::Postpone(pause) => run.unwrap().postpone(pause.clone(), clock.now),
            Action::TakeUp(way) => {
                run.unwrap().carry_on(*way, clock.now);
                self.held = true;
            }
        }
    }
}

fn worlds() -> impl Strategy<Value = World> {
    let phases = prop::sample::select(vec![
        Phase::Claimed,
        Phase::Preparing,
        Phase::Running,
        Phase::Verifying,
        Phase::Publishing,
    ]);
    let ends = prop::option::of(prop::sample::select(Outcome::ALL.to_vec()));
    let counts = || prop_oneof![0..4_u32, Just(u32::MAX)];
    let times = || prop_oneof![NOW - 200_000..NOW + 200_000, Just(NOW - YEAR), Just(NOW + YEAR)];
    let pauses = prop::option::of((times(), any::<u64>(), any::<bool>(), any::<i64>()));
    let claims = prop::option::of(times());
    let run = (phases, ends, counts(), counts(), pauses, claims).prop_map(
        |(phase, outcome, losses, attempt, pause, claim)| {
            let mut run = run(phase);
            run.ended = outcome.map(ended);
            (run.losses, run.attempt) = (losses, attempt);
            run.pause = pause.map(|(since, secs, same, up)| Pause {
                since: at(since),
                secs,
                boot_id: Some(if same { "this" } else { "other" }.into()),
                up_secs: Some(up),
            });
            run.claim = claim.map(|when| ClaimHeld { id: "c".into(), epoch: 1, at: at(when) });
            run
        },
    );
    let flags = any::<[bool; 5]>();
    let alive = prop::collection::vec(any::<u32>(), 0..3);
    (prop::option::of(run), flags, alive).prop_map(|(run, flags, alive)| {
        let [readable, held, archived, claims, resetting] = flags;
        World { run, readable: readable || held, held, alive, archived, claims, resetting }
    })
}

proptest! {
    #[test]
    fn what_is_held_or_unreadable_is_left_and_all_else_comes_to_rest(
        first in worlds(),
        (lost, wait) in (0..4_u32, 0..100_000_u64),
        (now, up) in (NOW - YEAR..NOW + YEAR, any::<i64>()),
    ) {
        let retry = Retry { lost, failed: 0, wait: Duration::from_secs(wait) };
        let clock = clock(now, up);
        let mut world = first.clone();
        let mut done = Vec::new();
        loop {
            let action = decide(&world.seen(), &retry, &clock);
            if world.held {
                prop_assert_eq!(&action, &Action::Leave);
            } else if !world.readable {
                prop_assert!(matches!(action, Action::Report(_)));
            } else if !world.alive.is_empty() && world.run.is_some() {
                prop_assert!(matches!(action, Action::End(_)), "{:?}", action);
            }
            if !action.changes() {
                break;
            }
            // Each thing is done once: after it something else is right, or nothing.
            prop_assert!(!done.contains(&action.as_str()), "{:?} again", action);
            done.push(action.as_str());
            world.apply(&action, &clock);
        }
        prop_assert!(done.len() <= 3, "{:?}", done);
        // Nobody waits for ever, and a wait is of a worker that has its run still.
        if let Action::Wait(left) = decide(&world.seen(), &retry, &clock) {
            prop_assert!(left <= LONGEST_PAUSE && world.run.is_some());
        }
        // What is at rest without a supervisor is idle, broken, stopped, or waits.
        if let (Some(run), true, false) = (&world.run, world.readable, world.held) {
            prop_assert!(matches!(run.lies(), "stopped" | "waiting"), "{:?}", run);
        }
    }
}
