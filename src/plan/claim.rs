//! Whether a host may take an issue, from the claim that was found on the remote.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Claim, ClaimState, HostId, Limits, Run, RunId};

/// What a claim lasts beyond the agent's time: for preparing, verifying and publishing.
pub const MARGIN: Duration = Duration::from_hours(1);

/// For how long a claim is good: the agent's time and a margin.
#[must_use]
pub fn time_to_live(limits: &Limits) -> Duration {
    limits.wall_clock() + limits.grace() + MARGIN
}

/// What was looked at so long ago is looked at again before anything rests on it: somebody may have
/// been there since, and gone again without a trace (`gc` removes claims that are done; of other hosts,
/// too, whose clocks may be set otherwise, after a day at least).
const LATE: Duration = Duration::from_hours(12);

/// Whether it is so long since something was `looked_at`, by a clock that may have been set.
#[must_use]
pub fn is_late(looked_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(looked_at).unsigned_abs() >= LATE
}

/// Whether half of the time of a run's claim is over, so that it is to be renewed if the run lies
/// and waits: for a person, or for its next attempt, not for another host.
#[must_use]
pub(super) fn is_half_over(run: &Run, now: Timestamp) -> bool {
    let age = |at: Timestamp| now.duration_since(at).unsigned_abs();
    run.claim.as_ref().is_some_and(|held| age(held.at) >= time_to_live(&run.limits) / 2)
}

/// What a claim that was found means for a run that wants the issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be taken, with this epoch, by replacing exactly what was found.
    Free {
        /// The epoch to write.
        epoch: u64,
    },
    /// It is this very run's.
    Ours {
        /// Its epoch.
        epoch: u64,
    },
    /// Another host has it, at least for so much longer.
    Theirs {
        /// Until it may be taken over, if it does not change.
        left: Duration,
    },
}

/// Judges the claim that was found.
///
/// `unchanged` is for how long this host has seen exactly this record, by a clock that does not
/// jump. That no other run of `me` is at work on the issue is known already. `labelled`: the issue
/// still bears a worker's label, so the host that is done may just be tidying up.
#[must_use]
pub fn standing(
    found: Option<&Claim>,
    me: &HostId,
    run: &RunId,
    unchanged: Duration,
    labelled: bool,
) -> Standing {
    let Some(claim) = found else { return Standing::Free { epoch: 1 } };
    let next = Standing::Free { epoch: claim.epoch.saturating_add(1) };
    if claim.host == *me {
        return match claim.state {
            ClaimState::Held if claim.run == *run => Standing::Ours { epoch: claim.epoch },
            _ => next,
        };
    }
    if claim.state == ClaimState::Done && !labelled {
        return next;
    }
    match Duration::from_secs(claim.ttl_secs).checked_sub(unchanged) {
        None | Some(Duration::ZERO) => next,
        Some(left) => Standing::Theirs { left },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: u64 = 100;

    fn claim(host: &str, run: &str, state: ClaimState) -> Claim {
        let mut claim = Claim::new(
            host.parse().unwrap(),
            "01".parse().unwrap(),
            run.parse().unwrap(),
            4,
            "n".into(),
            TTL,
        );
        claim.state = state;
        claim
    }

    #[test]
    fn an_issue_is_free_ours_or_theirs() {
        use ClaimState::{Done, Held};
        let (one, two) = ("20261121T071500-0001", "20261121T071500-0002");
        let me: HostId = "me".parse().unwrap();
        let free = Standing::Free { epoch: 5 };
        let left = |secs| Standing::Theirs { left: Duration::from_secs(secs) };
        let cases = [
            ("me", one, Held, 0, true, Standing::Ours { epoch: 4 }),
            ("me", two, Held, 0, true, free),
            ("me", one, Done, 0, true, free),
            ("other", one, Held, 0, false, left(TTL)),
            ("other", one, Held, TTL - 1, true, left(1)),
            ("other", one, Held, TTL, true, free),
            ("other", one, Done, 0, false, free),
            ("other", one, Done, 0, true, left(TTL)),
            ("other", one, Done, TTL, true, free),
        ];
        let run = one.parse().unwrap();
        for (host, by, state, unchanged, labelled, wanted) in cases {
            let found = claim(host, by, state);
            let unchanged = Duration::from_secs(unchanged);
            let got = standing(Some(&found), &me, &run, unchanged, labelled);
            assert_eq!(got, wanted, "{host} {by} {state:?} {unchanged:?} {labelled}");
        }
        let none = standing(None, &me, &run, Duration::ZERO, false);
        assert_eq!(none, Standing::Free { epoch: 1 });
    }
}
