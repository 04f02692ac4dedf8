//! What is to be done about a worker, from what was seen of it.
//!
//! [`decide`] is asked by each tick for every worker, and by a supervisor for its own when it is
//! started. One action at a time; what is right after that, the next look tells. Nothing is done to
//! a worker whose lock somebody holds, and one whose record cannot be read is only reported.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::claim::is_half_over;
use crate::domain::{Ended, Outcome, Pause, Phase, Run};

/// No pause is longer, whatever is configured or written in a record.
pub const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// How runs are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often a run is taken up whose supervisor was lost.
    pub lost: u32,
    /// How many further attempts a run gets whose agent failed or ran into a limit.
    pub failed: u32,
    /// The pause before each of them but the first taking up; doubled each time.
    pub wait: Duration,
}

/// Now, by the clock of people and by one that nobody sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// By that of people.
    pub now: Timestamp,
    /// The boot, and the seconds since; `None` where the kernel does not tell.
    pub up: Option<(String, i64)>,
}

/// What the record is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record<'a> {
    /// There is none: the worker is idle.
    None,
    /// It, or the worker, cannot be used as it is: why.
    Unreadable(&'a str),
    /// A run.
    Of(&'a Run),
}

/// What was seen of a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen<'a> {
    /// Its record.
    pub record: Record<'a>,
    /// Whether somebody holds its lock. A supervisor asks with its own lock in hand: then nobody
    /// else does.
    pub held: bool,
    /// Processes of the run that are alive (none where the lock is held).
    pub alive: &'a [u32],
    /// Whether the run's final record is in the archive.
    pub archived: bool,
    /// Whether issues are claimed on the remote.
    pub claims: bool,
    /// Whether a person's `reset` of this run was begun: what it takes off GitHub is noted.
    pub resetting: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Leave,
    /// A person has to look: the record is not touched.
    Report(String),
    /// These processes of a supervisor that is gone are to be ended, before anything else.
    End(Vec<u32>),
    /// All is said and recorded: only the worker is to be freed.
    Finish,
    /// A reset is to be brought to its end.
    Reset,
    /// The claim of a run that lies is to get its full time again.
    KeepClaim,
    /// It is a while until the next attempt.
    Wait(Duration),
    /// The loss is to be written down, and that it is a while until the next attempt.
    Postpone(Pause),
    /// A supervisor is to carry on.
    TakeUp(Way),
}

/// Where a supervisor carries on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// At the beginning: no supervisor has been there yet.
    Start,
    /// With another attempt, because the supervisor of the last one was lost.
    AfterLoss,
    /// With another attempt, whose time has come.
    AfterPause,
    /// With a look at what the agent left.
    Verify,
    /// With bringing the ending to GitHub.
    Publish,
    /// With the run's failure: it was lost too often.
    GiveUp,
}

/// Decides what is to be done about a worker now.
#[must_use]
pub fn decide(seen: &Seen<'_>, retry: &Retry, clock: &Clock) -> Action {
    let run = match seen.record {
        Record::Unreadable(why) => return Action::Report(why.to_owned()),
        Record::None => return Action::Leave,
        Record::Of(_) if seen.held => return Action::Leave,
        Record::Of(run) => run,
    };
    if !seen.alive.is_empty() {
        return Action::End(seen.alive.to_vec());
    }
    if seen.archived {
        return Action::Finish;
    }
    if seen.resetting {
        return Action::Reset;
    }
    let keep_or = |otherwise| {
        let due = seen.claims && is_half_over(run, clock.now);
        if due { Action::KeepClaim } else { otherwise }
    };
    if run.outcome() == Some(Outcome::Stopped) {
        return keep_or(Action::Leave);
    }
    match run.phase {
        Phase::Claimed => Action::TakeUp(Way::Start),
        Phase::Preparing | Phase::Running => match &run.pause {
            Some(pause) => match left(pause, clock) {
                Duration::ZERO => Action::TakeUp(Way::AfterPause),
                left => keep_or(Action::Wait(left)),
            },
            None => match run.losses.saturating_add(1) {
                n if n > retry.lost => Action::TakeUp(Way::GiveUp),
                1 => Action::TakeUp(Way::AfterLoss),
                n => Action::Postpone(pause(n - 1, retry, clock)),
            },
        },
        Phase::Publishing if run.ended.is_some() => Action::TakeUp(Way::Publish),
        Phase::Verifying | Phase::Publishing => Action::TakeUp(Way::Verify),
    }
}

/// The pause before another attempt, if a run that `ended` so gets one.
#[must_use]
pub fn another(run: &Run, ended: &Ended, retry: &Retry, clock: &Clock) -> Option<Pause> {
    (ended.outcome.is_failure() && run.failures < retry.failed)
        .then(|| pause(run.failures.saturating_add(1), retry, clock))
}

/// The `nth` pause, which begins now.
fn pause(nth: u32, retry: &Retry, clock: &Clock) -> Pause {
    let doubled = 2_u32.saturating_pow(nth.saturating_sub(1));
    let length = retry.wait.saturating_mul(doubled).min(LONGEST_PAUSE);
    let (boot_id, up_secs) = clock.up.clone().unzip();
    Pause { since: clock.now, secs: length.as_secs(), boot_id, up_secs }
}

/// What is left of a pause. It never grows, whatever a clock or a record says: by the clock that
/// nobody sets while the machine is up, by that of people after a restart, and a time before the
/// pause began is nonsense that ends it.
#[must_use]
pub fn left(pause: &Pause, clock: &Clock) -> Duration {
    let length = Duration::from_secs(pause.secs).min(LONGEST_PAUSE);
    let passed = match (&clock.up, &pause.boot_id, pause.up_secs) {
        (Some((boot, now)), Some(began), Some(since)) if boot == began => now.checked_sub(since),
        _ => clock.now.as_second().checked_sub(pause.since.as_second()),
    };
    let passed = passed.and_then(|secs| u64::try_from(secs).ok()).map(Duration::from_secs);
    passed.map_or(Duration::ZERO, |passed| length.saturating_sub(passed))
}

impl Run {
    /// Writes down that its supervisor was lost and that it waits now.
    pub fn postpone(&mut self, pause: Pause, now: Timestamp) {
        self.lose(now);
        self.pause = Some(pause);
    }

    /// Writes down how its attempt `ended`, and that it waits for another.
    pub fn try_again(&mut self, ended: &Ended, pause: Pause, now: Timestamp) {
        self.was_tried(ended, now);
        self.failures = self.failures.saturating_add(1);
        (self.agent, self.work, self.ended) = (None, None, None);
        (self.phase, self.phase_at) = (Phase::Running, now);
        self.pause = Some(pause);
    }

    /// Makes the record that of a supervisor that carries on in this way.
    pub fn carry_on(&mut self, way: Way, now: Timestamp) {
        match way {
            Way::Start => self.phase = Phase::Preparing,
            Way::AfterLoss => {
                self.lose(now);
                self.begin_again(now);
            }
            Way::AfterPause => self.begin_again(now),
            Way::Verify => self.phase = Phase::Verifying,
            Way::Publish => {}
            Way::GiveUp => {
                let why = match self.losses.saturating_add(1) {
                    1 => format!("its supervisor was lost while it was {}", self.phase),
                    n => {
                        format!(
                            "its supervisor was lost {n} times, last while it was {}",
                            self.phase
                        )
                    }
                };
                self.ended = Some(Ended { outcome: Outcome::Failed, why });
                self.phase = Phase::Publishing;
            }
        }
        self.phase_at = now;
    }

    fn lose(&mut self, now: Timestamp) {
        let why = format!("its supervisor was lost while it was {}", self.phase);
        self.was_tried(&Ended { outcome: Outcome::Lost, why }, now);
        self.losses = self.losses.saturating_add(1);
    }
}

impl Action {
    /// The word for it in files.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Report(_) => "report",
            Self::End(_) => "end",
            Self::Finish => "finish",
            Self::Reset => "reset",
            Self::KeepClaim => "keep_claim",
            Self::Wait(_) => "wait",
            Self::Postpone(_) => "postpone",
            Self::TakeUp(Way::GiveUp) => "give_up",
            Self::TakeUp(_) => "take_up",
        }
    }

    /// Whether anything changes by it.
    #[must_use]
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Leave | Self::Report(_) | Self::Wait(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leave => f.write_str("nothing is to be done"),
            Self::Report(why) => f.write_str(why),
            Self::End(pids) => {
                let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
                write!(f, "end what its dead supervisor left alive: pid {}", pids.join(", "))
            }
            Self::Finish => f.write_str("free it: its run is over and recorded"),
            Self::Reset => f.write_str("finish its reset"),
            Self::KeepClaim => f.write_str("renew the claim on its issue"),
            Self::Wait(left) => write!(f, "wait {} for its next attempt", in_words(*left)),
            Self::Postpone(pause) => {
                let secs = Duration::from_secs(pause.secs);
                write!(f, "wait {} and take it up again", in_words(secs))
            }
            Self::TakeUp(way) => f.write_str(match way {
                Way::Start => "take it up from the beginning",
                Way::AfterLoss => "take it up again: its supervisor was lost",
                Way::AfterPause => "take it up again: its next attempt is due",
                Way::Verify => "look at what its agent left",
                Way::Publish => "publish how it ended",
                Way::GiveUp => "end it as failed: its supervisor was lost too often",
            }),
        }
    }
}

/// `10m`, `1h 20m`, `45s`.
fn in_words(time: Duration) -> String {
    let secs = time.as_secs();
    match (secs / 3600, secs % 3600 / 60) {
        (0, 0) => format!("{secs}s"),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests;
