//! The set-up of a server and `cw` over ssh, on a server: this machine's distribution with an sshd
//! and a systemd of its own, booted by `tests/install/vps`.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

#[expect(dead_code, reason = "not every program of the tests uses all of it")]
#[path = "../support/processes.rs"]
mod processes;
mod set_up;
mod ssh;
mod tick;
mod vps;
