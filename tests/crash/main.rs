//! The real program, killed, hung or failing between any two effects of a run. Whatever happens, the
//! next ticks bring the issue to its one pull request (or give it free, or to a person), and nothing
//! is left behind.
//!
//! The points are not listed here: a run that writes down all that it reaches is the list.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(debug_assertions)]
mod check;
#[cfg(debug_assertions)]
mod drive;
#[cfg(debug_assertions)]
mod matrix;
#[cfg(debug_assertions)]
mod points;
#[cfg(debug_assertions)]
#[path = "../product/words.rs"]
#[expect(dead_code, reason = "other tests say more with it")]
mod words;
#[cfg(debug_assertions)]
#[path = "../product/world.rs"]
#[expect(dead_code, reason = "other tests look at more of it")]
mod world;

#[cfg(not(debug_assertions))]
#[test]
fn a_release_has_no_failpoints() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_claude-workers")).unwrap();
    for words in ["CLAUDE_WORKERS_FAILPOINT", "CLAUDE_WORKERS_PATIENCE", "let the agent in"] {
        assert!(!program.windows(words.len()).any(|bytes| bytes == words.as_bytes()), "{words}");
    }
}
