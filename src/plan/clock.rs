//! Whether the clock can be believed when something is to be removed because it is old.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What the clock said at a moment of the one that nobody sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSeen {
    /// The boot.
    pub boot: String,
    /// Seconds since.
    pub secs: i64,
    /// What the clock said, or should have said.
    pub at: Timestamp,
    /// Since when in this boot (in its seconds) it has been saying something else.
    pub doubted_since: Option<i64>,
}

/// It may have been set by this much. Longer outages are taken for a jump, too, which costs a day.
const SET: SignedDuration = SignedDuration::from_hours(1);

/// What it goes on to say for so long is true, in seconds of the clock that nobody sets.
const ACCEPTED_AFTER: i64 = 24 * 3600;

/// The time by which ages are to be reckoned: the clock's, unless it has just jumped ahead; then what
/// it should say. Also what is to be remembered, if that is something new.
#[must_use]
pub fn believed(
    seen: Option<&ClockSeen>,
    now: Timestamp,
    (boot, secs): (&str, i64),
) -> (Timestamp, Option<ClockSeen>) {
    let anchor =
        |at, doubted_since| Some(ClockSeen { boot: boot.to_owned(), secs, at, doubted_since });
    let Some(seen) = seen else { return (now, anchor(now, None)) };
    let same_boot = seen.boot == boot;
    let passed = secs.saturating_sub(if same_boot { seen.secs } else { 0 });
    let passed = SignedDuration::from_secs(passed.max(0));
    let should = seen.at.saturating_add(passed).unwrap_or(seen.at);
    let doubted_since = seen.doubted_since.filter(|_| same_boot);
    if now.duration_since(should).abs() <= SET {
        // It may go wrong by a little every day.
        let old = passed.as_secs() > ACCEPTED_AFTER || !same_boot || doubted_since.is_some();
        return (now, old.then(|| anchor(now, None)).flatten());
    }
    match doubted_since {
        Some(since) if secs.saturating_sub(since) >= ACCEPTED_AFTER => (now, anchor(now, None)),
        Some(_) => (now.min(should), None),
        None => (now.min(should), anchor(should, Some(secs))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    const YEAR: i64 = 365 * DAY;

    /// Looks at (boot, its seconds, what the clock says in seconds) in turn; what is believed.
    fn looks(looks: &[(&str, i64, i64)]) -> Vec<i64> {
        let mut seen = None;
        let mut believe = |&(boot, secs, now): &(&str, i64, i64)| {
            let now = Timestamp::from_second(now).unwrap();
            let (believed, new) = believed(seen.as_ref(), now, (boot, secs));
            seen = new.or(seen.take());
            believed.as_second()
        };
        looks.iter().map(&mut believe).collect()
    }

    #[test]
    fn a_jump_ahead_is_not_believed_before_it_has_lasted_a_day() {
        let ahead = |secs| ("a", secs, 1000 + YEAR + secs);
        let found =
            looks(&[("a", 0, 1000), ahead(50), ahead(DAY), ahead(DAY + 50), ahead(DAY + 51)]);
        assert_eq!(found, [1000, 1050, 1000 + DAY, 1000 + YEAR + DAY + 50, 1000 + YEAR + DAY + 51]);
        // It came back; the next jump is doubted anew.
        let found = looks(&[("a", 0, 1000), ahead(50), ("a", 99, 1100), ahead(2 * DAY)]);
        assert_eq!(found, [1000, 1050, 1100, 1001 + 2 * DAY]);
    }

    #[test]
    fn a_clock_that_went_back_is_believed_because_then_nothing_is_old() {
        assert_eq!(looks(&[("a", 0, YEAR), ("a", 60, 5)]), [YEAR, 5]);
        assert_eq!(looks(&[("a", 0, YEAR), ("a", 60, 5), ("a", 90, YEAR + 90)])[2], YEAR + 90);
    }

    #[test]
    fn a_little_is_believed_and_after_a_reboot_no_more_than_that() {
        assert_eq!(looks(&[("a", 0, 1000), ("a", 60, 4000)]), [1000, 4000]);
        assert_eq!(looks(&[("a", 9, 1000), ("b", 60, 2000), ("b", 70, 2010)]), [1000, 2000, 2010]);
        let found =
            looks(&[("a", 9, 1000), ("b", 60, YEAR), ("b", 70, YEAR), ("b", 60 + DAY, YEAR)]);
        assert_eq!(found, [1000, 1060, 1070, YEAR]);
    }
}
