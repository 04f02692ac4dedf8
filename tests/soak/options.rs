//! What a soak is made of.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub issues: u32,
    pub hosts: usize,
    pub workers: usize,
    /// Of a thousand exchanges.
    pub weather: u32,
    /// Milliseconds.
    pub kill_every: u64,
    pub jailed: usize,
    pub keep: bool,
}

impl Options {
    pub fn of_environment() -> Self {
        Self {
            seed: number("SOAK_SEED", RandomState::new().hash_one(0) >> 32),
            issues: number("SOAK_ISSUES", 60),
            hosts: number("SOAK_HOSTS", 3),
            workers: number("SOAK_WORKERS", 8),
            weather: number("SOAK_WEATHER", 30),
            kill_every: number("SOAK_KILL_MS", 400),
            jailed: number("SOAK_JAILED", 1),
            keep: variable("SOAK_KEEP").is_some(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switches are no setting of the program"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    variable(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e:?}")))
}
