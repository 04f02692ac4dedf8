//! `claude-workers`: a cron-driven GitHub issue dispatcher with sandboxed worker homes.
//!
//! # Overview
//!
//! `assign`, run by cron, pairs idle **workers** (whole `$HOME` directories) with open issues that
//! nobody holds. Each pairing is a **run**: a detached **supervisor** (this same binary) takes it
//! from claim to archive. The agent works in a jail and only ever commits; everything that reaches
//! GitHub is pushed, opened and said by the supervisor, outside.
//!
//! ```text
//! claimed → preparing → running → verifying → publishing → archived
//! ```
//!
//! # Rooms
//!
//! Imports go down only; a test reads the `use crate::` lines and fails on one that goes up.
//!
//! | layer | rooms | what they are |
//! |---|---|---|
//! | 4 | [`cli`], [`demo`] | entry points: parse, call, print |
//! | 3 | [`ops`] | use cases: assign, dispatch, supervise, and the questions people ask |
//! | 2 | [`config`], [`store`], [`home`], [`process`], [`executor`], [`sandbox`], [`egress`], [`github`], [`git`], [`fakehub`], [`failpoint`] | adapters: the world outside |
//! | 1 | [`plan`] | pure decisions |
//! | 0 | [`domain`] | values that cannot hold a wrong thing |
//!
//! # Where state lives
//!
//! The agent may write anywhere in its home, so nothing that the program believes lives there.
//! `<root>/NN` is the home; `<root>/.pool/NN` is the record: `task.json` (there while the worker is
//! not idle), `lock` (held by the supervisor for the whole run), the log, and the archive.
//! [`store`] has the details.

pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod egress;
pub mod executor;
pub mod failpoint;
pub mod fakehub;
pub mod git;
pub mod github;
pub mod home;
pub mod ops;
pub mod plan;
pub mod process;
pub mod sandbox;
pub mod store;
