//! Trouble by chance: which exchange goes wrong, and how, is drawn from a seed.

use std::time::Duration;

use serde_json::json;

use super::fault::{Ending, Strike};

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// 500, 502 or 503, and nothing was done.
    ErrorBefore,
    /// 500, 502 or 503, though it was done.
    ErrorAfter,
    /// No answer, and nothing was done.
    DroppedBefore,
    /// No answer, though it was done.
    DroppedAfter,
    /// Half of the true answer.
    CutShort,
    /// An answer that comes late, up to two seconds.
    Slow,
    /// A read from a replica that is up to sixteen changes behind.
    Stale,
    /// A write that arrives twice, as from a proxy that tries again.
    Twice,
    /// A list with the same element on two pages.
    Repeated,
    /// 401.
    SignedOut,
    /// 403 or 429, with a time that is soon over in `retry-after` or `x-ratelimit-reset`.
    Limited,
    /// 403 or 429 in the words of a rate limit, without a time.
    LimitedUntold,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::DroppedBefore,
        Self::DroppedAfter,
        Self::CutShort,
        Self::Slow,
        Self::Stale,
        Self::Twice,
        Self::Repeated,
        Self::SignedOut,
        Self::Limited,
        Self::LimitedUntold,
    ];

    /// Whether it can happen to such a request; `api`: REST, else git.
    fn suits(self, method: &str, api: bool) -> bool {
        let read = method == "GET";
        match self {
            Self::Stale | Self::Repeated => api && read,
            Self::Twice => !read,
            // Git knows no such words: there it is an answer like others.
            Self::LimitedUntold => api,
            _ => true,
        }
    }

    fn strike(self, api: bool, chance: &mut Chance, now: i64) -> Strike {
        let error = |chance: &mut Chance| answer([500, 502, 503][chance.below(3)], &[], "injected");
        let once = Strike::default();
        let never = Strike { applied: 0, ..Strike::default() };
        match self {
            Self::ErrorBefore => Strike { ending: error(chance), ..never },
            Self::ErrorAfter => Strike { ending: error(chance), ..once },
            Self::DroppedBefore => Strike { ending: Ending::Dropped, ..never },
            Self::DroppedAfter => Strike { ending: Ending::Dropped, ..once },
            Self::CutShort => Strike { ending: Ending::Truncated, ..once },
            Self::Slow => Strike { wait: Duration::from_millis(chance.up_to(2000)), ..once },
            Self::Stale => Strike { lag: 1 + chance.up_to(15), ..once },
            Self::Twice => Strike { applied: 2, ..once },
            Self::Repeated => Strike { repeats: true, ..once },
            Self::SignedOut => Strike { ending: answer(401, &[], "Bad credentials"), ..never },
            Self::Limited => {
                let (secs, soon) = (chance.below(3), now + 2);
                let status = if api && chance.below(2) == 0 { 403 } else { 429 };
                let ending = if chance.below(2) == 0 {
                    let words = "You have exceeded a secondary rate limit.";
                    answer(status, &[("retry-after", secs.to_string())], words)
                } else {
                    let used_up = ("x-ratelimit-remaining", "0".to_owned());
                    let reset = ("x-ratelimit-reset", soon.to_string());
                    answer(status, &[used_up, reset], "API rate limit exceeded")
                };
                Strike { ending, ..never }
            }
            Self::LimitedUntold => {
                let status = if chance.below(2) == 0 { 403 } else { 429 };
                let words = "You have exceeded a secondary rate limit.";
                Strike { ending: answer(status, &[], words), ..never }
            }
        }
    }
}

fn answer(status: u16, headers: &[(&str, String)], message: &str) -> Ending {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
    let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest"});
    Ending::Answer { status, headers, body }
}

/// Trouble by chance. The same seed decides alike for the same order of exchanges.
#[derive(Debug, Clone)]
pub struct Weather {
    chance: Chance,
    per_mille: u32,
    kinds: Vec<Trouble>,
}

impl Weather {
    /// Strikes so many of a thousand exchanges, each with one of the kinds that suit it.
    #[must_use]
    pub fn new(seed: u64, per_mille: u32, kinds: &[Trouble]) -> Self {
        Self { chance: Chance::new(seed), per_mille, kinds: kinds.to_vec() }
    }

    /// Decides about the next exchange. `now`: in seconds since 1970, for what is told about times.
    pub(super) fn strike(
        &mut self,
        method: &str,
        api: bool,
        now: i64,
    ) -> Option<(Trouble, Strike)> {
        if self.chance.up_to(999) >= u64::from(self.per_mille) {
            return None;
        }
        let suits = |kind: &&Trouble| kind.suits(method, api);
        let kinds: Vec<Trouble> = self.kinds.iter().filter(suits).copied().collect();
        let kind = *kinds.get(self.chance.below(kinds.len()))?;
        Some((kind, kind.strike(api, &mut self.chance, now)))
    }
}

/// A small generator of numbers that look random: an odd step through all 64-bit numbers, each mixed
/// by two multiplications.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Equal seeds give equal numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `most`.
    pub fn up_to(&mut self, most: u64) -> u64 {
        self.next_number() % most.saturating_add(1).max(1)
    }

    /// An index below `len`; 0 if there is none.
    pub fn below(&mut self, len: usize) -> usize {
        let most = u64::try_from(len.saturating_sub(1)).unwrap_or(u64::MAX);
        usize::try_from(self.up_to(most)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(seed: u64, kinds: &[Trouble]) -> Vec<Option<(Trouble, Strike)>> {
        let mut weather = Weather::new(seed, 500, kinds);
        (0..200).map(|n| weather.strike(["GET", "POST"][n % 2], n % 3 > 0, 0)).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_weather_and_every_kind_comes() {
        let all = strikes(7, &Trouble::ALL);
        assert_eq!(all, strikes(7, &Trouble::ALL));
        assert_ne!(all, strikes(8, &Trouble::ALL));
        let hit = all.iter().flatten().count();
        assert!((60..140).contains(&hit), "{hit}");
        for kind in Trouble::ALL {
            assert!(all.iter().flatten().any(|(k, _)| *k == kind), "{kind:?}");
        }
    }

    #[test]
    fn trouble_strikes_only_what_it_can_happen_to() {
        for (n, strike) in strikes(3, &[Trouble::Stale]).into_iter().enumerate() {
            assert!(strike.is_none() || n % 2 == 0 && n % 3 > 0, "{n}");
        }
    }
}
