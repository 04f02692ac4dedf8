//! Rate limits: how one is recognised, how long it lasts, and that it is not forgotten.
//!
//! The pause is written to `cooldown.json`, so that the next run of the program, and any other
//! that uses the same token, sends nothing before it is over.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::disk::{locked, read_json, write_json};

const VERSION: u32 = 1;
/// The least pause where GitHub names none, by its own advice.
const FIRST: SignedDuration = SignedDuration::from_secs(60);
/// The longest pause that doubling leads to.
const DOUBLED_AT_MOST: SignedDuration = SignedDuration::from_hours(1);
/// The longest pause believed at all: a wrong header or clock must not stop us for years.
const AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// A limit this soon after the last pause counts as the same trouble going on.
const SAME_TROUBLE: SignedDuration = SignedDuration::from_hours(1);

/// Which limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// Requests an hour.
    Primary,
    /// Too much at once: concurrency, points a minute, content created.
    Secondary,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "hourly rate limit",
            Self::Secondary => "secondary rate limit",
        })
    }
}

/// A pause that is not over yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// Nothing is sent before this.
    pub until: Timestamp,
    /// Which limit caused it.
    pub kind: LimitKind,
    /// GitHub's words, one line.
    pub why: String,
    /// How often in a row GitHub did not say how long to wait.
    #[serde(default)]
    strikes: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    version: u32,
    /// By the short hash of API address and token.
    tokens: BTreeMap<String, Cooldown>,
}

/// Whether an answer is a rate limit. `message` is GitHub's.
pub(super) fn recognise(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
) -> Option<LimitKind> {
    let refused = status == StatusCode::FORBIDDEN || status == StatusCode::TOO_MANY_REQUESTS;
    if !refused {
        return None;
    }
    let message = message.to_ascii_lowercase();
    let says_secondary = message.contains("secondary rate limit") || message.contains("abuse");
    let used_up = number(headers, "x-ratelimit-remaining") == Some(0);
    if used_up && !says_secondary {
        return Some(LimitKind::Primary);
    }
    let limited = status == StatusCode::TOO_MANY_REQUESTS
        || headers.contains_key("retry-after")
        || used_up
        || says_secondary
        || message.contains("rate limit exceeded");
    limited.then_some(LimitKind::Secondary)
}

/// How long to wait by what GitHub said, or nothing if it did not say.
fn told(now: Timestamp, headers: &HeaderMap) -> Option<SignedDuration> {
    let until = |at: Timestamp| Some(at.duration_since(now)).filter(SignedDuration::is_positive);
    if let Some(text) = headers.get("retry-after").and_then(|v| v.to_str().ok()) {
        if let Ok(seconds) = text.trim().parse::<i64>() {
            return Some(SignedDuration::from_secs(seconds.max(1)));
        }
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim());
        if let Some(wait) = date.ok().and_then(until) {
            return Some(wait);
        }
    }
    if number(headers, "x-ratelimit-remaining") != Some(0) {
        return None;
    }
    let reset = i64::try_from(number(headers, "x-ratelimit-reset")?).ok()?;
    until(Timestamp::from_second(reset).ok()?)
}

/// The pause for the `strikes`-th limit in a row (from 0) that came without a time: 60 s, doubled
/// each time, up to an hour, and up to a quarter more by `jitter` (0 to 255).
fn guessed(strikes: u32, jitter: u8) -> SignedDuration {
    let doubled = FIRST.checked_mul(1 << strikes.min(10)).unwrap_or(DOUBLED_AT_MOST);
    let base = doubled.min(DOUBLED_AT_MOST);
    base + base / 4 * i32::from(jitter) / 255
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A random number, good enough for spreading delays.
pub(super) fn jitter() -> u8 {
    RandomState::new().hash_one(0).to_le_bytes()[0]
}

/// The pauses of one token.
#[derive(Debug)]
pub(super) struct Limits {
    path: PathBuf,
    key: String,
    /// For the rest of this process, should the file not be writable.
    met: Mutex<Option<Cooldown>>,
}

impl Limits {
    pub(super) fn new(path: PathBuf, key: String) -> Self {
        Self { path, key, met: Mutex::new(None) }
    }

    fn last(&self) -> Option<Cooldown> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = self.file().tokens.remove(&self.key);
        met.into_iter().chain(kept).max_by_key(|c| c.until)
    }

    fn file(&self) -> File {
        read_json::<File>(&self.path).filter(|f| f.version == VERSION).unwrap_or_default()
    }

    /// The pause that is not over at `now`.
    pub(super) fn current(&self, now: Timestamp) -> Option<Cooldown> {
        self.last().filter(|c| c.until > now && c.until.duration_since(now) <= AT_MOST)
    }

    /// Notes that a limit was met at `now`, and returns the pause that holds then: an earlier one that
    /// is longer is not cut short by the answer to what was on its way when it began.
    pub(super) async fn meet(
        &self,
        now: Timestamp,
        kind: LimitKind,
        headers: &HeaderMap,
        message: String,
    ) -> Cooldown {
        // It stays. The file itself is replaced.
        let _alone = locked(&self.path.with_extension("lock")).await;
        let longer = self.current(now);
        let before = self.last().filter(|c| now.duration_since(c.until) <= SAME_TROUBLE);
        let (wait, strikes) = if let Some(wait) = told(now, headers) {
            (wait.min(AT_MOST), 0)
        } else {
            let strikes = before.map_or(0, |c| c.strikes);
            (guessed(strikes, jitter()), strikes.saturating_add(1))
        };
        let until = now.checked_add(wait).unwrap_or(now);
        let met = Cooldown { until, kind, why: message, strikes };
        let mut cooldown = match longer.filter(|longer| longer.until > until) {
            Some(longer) => Cooldown { strikes: strikes.max(longer.strikes), ..longer },
            None => met,
        };
        let mut file = self.file();
        file.version = VERSION;
        file.tokens.retain(|_, c| now.duration_since(c.until) <= SAME_TROUBLE);
        file.tokens.insert(self.key.clone(), cooldown.clone());
        if let Err(e) = write_json(&self.path, &file) {
            cooldown.why = format!(
                "{}; the next run will not know, because {} cannot be written: {e}",
                cooldown.why,
                self.path.display()
            );
        }
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(cooldown.clone());
        cooldown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T07:15:00Z".parse().unwrap()
    }

    fn meet(
        limits: &Limits,
        now: Timestamp,
        kind: LimitKind,
        headers: &HeaderMap,
        message: &str,
    ) -> Cooldown {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(limits.meet(now, kind, headers, message.to_owned()))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect()
    }

    fn seconds(pairs: &[(&'static str, &str)]) -> Option<i64> {
        told(now(), &headers(pairs)).map(|d| d.as_secs())
    }

    #[test]
    fn a_403_is_a_limit_only_if_it_says_so() {
        let kind = |status: u16, pairs: &[(&'static str, &str)], message: &str| {
            recognise(StatusCode::from_u16(status).unwrap(), &headers(pairs), message)
        };
        let left = ("x-ratelimit-remaining", "12");
        let none = ("x-ratelimit-remaining", "0");
        assert_eq!(kind(403, &[left], "Must have admin rights"), None);
        assert_eq!(kind(403, &[none], "API rate limit exceeded"), Some(LimitKind::Primary));
        assert_eq!(kind(429, &[none], ""), Some(LimitKind::Primary));
        assert_eq!(kind(429, &[left], ""), Some(LimitKind::Secondary));
        assert_eq!(kind(403, &[("retry-after", "5")], ""), Some(LimitKind::Secondary));
        let words = "You have exceeded a secondary rate limit.";
        assert_eq!(kind(403, &[left], words), Some(LimitKind::Secondary));
        assert_eq!(kind(403, &[none], words), Some(LimitKind::Secondary));
        assert_eq!(kind(404, &[none, ("retry-after", "5")], words), None);
    }

    #[test]
    fn what_github_says_about_the_wait_is_believed_in_order() {
        let reset = ("x-ratelimit-reset", "1795245900"); // ten minutes later
        let none = ("x-ratelimit-remaining", "0");
        assert_eq!(seconds(&[("retry-after", "90"), none, reset]), Some(90));
        assert_eq!(seconds(&[("retry-after", "0")]), Some(1));
        assert_eq!(seconds(&[("retry-after", "Sat, 21 Nov 2026 07:16:00 GMT")]), Some(60));
        assert_eq!(seconds(&[none, reset]), Some(600));
        assert_eq!(seconds(&[("x-ratelimit-remaining", "3"), reset]), None);
        assert_eq!(seconds(&[none, ("x-ratelimit-reset", "1")]), None);
        assert_eq!(seconds(&[none, ("x-ratelimit-reset", "99999999999999999999")]), None);
        assert_eq!(seconds(&[]), None);
    }

    #[test]
    fn a_guessed_wait_doubles_from_a_minute_to_an_hour() {
        let secs = |strikes, jitter| guessed(strikes, jitter).as_secs();
        assert_eq!([secs(0, 0), secs(1, 0), secs(2, 0)], [60, 120, 240]);
        assert_eq!([secs(6, 0), secs(u32::MAX, 0)], [3600, 3600]);
        assert_eq!([secs(0, 255), secs(50, 255)], [75, 4500]);
    }

    #[test]
    fn limits_in_a_row_wait_longer_and_a_quiet_hour_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let new = || Limits::new(dir.path().join("cooldown.json"), "k".into());
        let meet = |at| meet(&new(), at, LimitKind::Secondary, &HeaderMap::new(), "");
        let first = meet(now());
        assert!(first.until.duration_since(now()) >= SignedDuration::from_secs(60));
        let second = meet(first.until);
        assert!(second.until.duration_since(first.until) >= SignedDuration::from_secs(120));
        let later = second.until + SignedDuration::from_hours(2);
        let third = meet(later);
        assert!(third.until.duration_since(later) <= SignedDuration::from_secs(75));
    }

    #[test]
    fn a_pause_is_never_cut_short_by_what_was_on_its_way_when_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let new = |key: &str| Limits::new(dir.path().join("cooldown.json"), key.into());
        let told = headers(&[("retry-after", "2400")]);
        let long = meet(&new("k"), now(), LimitKind::Primary, &told, "used up");
        for (kind, words) in [
            (LimitKind::Secondary, HeaderMap::new()),
            (LimitKind::Secondary, headers(&[("retry-after", "5")])),
        ] {
            let met = meet(&new("k"), now(), kind, &words, "slow down");
            assert_eq!((met.until, met.kind, &*met.why), (long.until, long.kind, "used up"));
            assert_eq!(new("k").current(now()).unwrap().until, long.until);
        }
        // A longer one counts, and so does what other tokens meet at the same time.
        let told = headers(&[("retry-after", "4800")]);
        let longer = meet(&new("k"), now(), LimitKind::Secondary, &told, "");
        assert!(longer.until > long.until);
        std::thread::scope(|scope| {
            for n in 0..20 {
                let other = new(&format!("other {n}"));
                let words = &told;
                scope.spawn(move || meet(&other, now(), LimitKind::Primary, words, ""));
            }
        });
        assert!((0..20).all(|n| new(&format!("other {n}")).current(now()).is_some()));
        assert_eq!(new("k").current(now()).unwrap().until, longer.until);
        // Written by a clock that ran years ahead: that is no pause.
        let early = now() - SignedDuration::from_hours(1000);
        let met = meet(&new("k"), early, LimitKind::Primary, &headers(&[("retry-after", "9")]), "");
        assert_eq!(met.until, early + SignedDuration::from_secs(9));
    }

    #[test]
    fn a_pause_holds_for_its_token_until_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cooldown.json");
        let limits = Limits::new(path.clone(), "k".into());
        let told = headers(&[("retry-after", "90")]);
        let met = meet(&limits, now(), LimitKind::Primary, &told, "why");
        let read = |key: &str, at| Limits::new(path.clone(), key.into()).current(at);
        assert_eq!(read("k", now()), Some(met.clone()));
        assert_eq!(read("other", now()), None);
        assert_eq!(read("k", met.until), None);
        // Written by a clock that ran years ahead.
        assert_eq!(read("k", now() - SignedDuration::from_hours(1000)), None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(read("k", now()), None);
    }

    #[test]
    fn no_pause_is_longer_than_a_day_whatever_github_says() {
        let none = ("x-ratelimit-remaining", "0");
        for absurd in [
            &[("retry-after", "86401")][..],
            &[("retry-after", "4294967295")],
            &[("retry-after", "9223372036854775807")],
            &[("retry-after", "Thu, 31 Dec 9998 23:59:59 GMT")],
            &[none, ("x-ratelimit-reset", "4102444800")],
            &[none, ("x-ratelimit-reset", "253402207200")],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let new = || Limits::new(dir.path().join("cooldown.json"), "k".into());
            let met = meet(&new(), now(), LimitKind::Primary, &headers(absurd), "");
            assert_eq!(met.until, now() + SignedDuration::from_hours(24), "{absurd:?}");
            // By then it is over, and until then it is believed, also by another process.
            assert_eq!(new().current(now()), Some(met.clone()), "{absurd:?}");
            assert_eq!(new().current(met.until), None, "{absurd:?}");
        }
    }

    #[test]
    fn a_pause_that_cannot_be_written_holds_for_the_process_and_says_so() {
        let limits = Limits::new("/proc/nowhere/cooldown.json".into(), "k".into());
        let met = meet(&limits, now(), LimitKind::Primary, &HeaderMap::new(), "why");
        assert!(met.why.contains("/proc/nowhere/cooldown.json"), "{}", met.why);
        assert_eq!(limits.current(now()), Some(met));
    }
}
