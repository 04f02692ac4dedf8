//! The whole product, from an open issue to a pull request, with the real Claude Code against a
//! scripted model, the GitHub emulator from npm, a git server that asks for the token, and the
//! product's own jail.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

#[expect(dead_code, reason = "this program has no use for broken connections")]
#[path = "../support/model.rs"]
mod model;
#[path = "../support/npm.rs"]
mod npm;
#[path = "../support/processes.rs"]
mod processes;

mod delivered;
mod doctor;
mod failing;
mod killed;
mod world;
