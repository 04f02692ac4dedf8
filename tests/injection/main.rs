//! Hostile issues, and an agent that obeys every line of them: it gathers what it can find and tries to
//! bring it out by every channel there is. With the walls nothing comes out; without them it does, by
//! the same orders, or this would prove nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod names;
mod stage;
mod treasure;
mod walls;

#[path = "../product/words.rs"]
#[expect(dead_code, reason = "not everything of it is needed here")]
mod words;
#[path = "../product/world.rs"]
#[expect(dead_code, reason = "not everything of it is needed here")]
mod world;
