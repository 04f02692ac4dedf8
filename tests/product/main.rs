//! The product's behaviour: the real program, started as cron starts it, against the embedded
//! GitHub, with a scripted agent in a real jail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/openapi.rs"]
mod openapi;

#[path = "../support/mounts.rs"]
mod mounts;

mod again;
mod archive;
mod assign;
mod attempts;
mod broker;
mod budgets;
mod by_hand;
mod clocks;
mod colours;
mod comfort;
mod config;
mod described;
mod dispatch;
mod drift;
mod durable;
mod economy;
mod egress;
mod egress_tls;
mod faults;
mod git;
mod happy;
mod homes;
mod hosts;
mod jail;
mod json;
mod kinds;
mod kinds_faults;
mod kinds_stdin;
mod lifecycle;
mod limits;
mod manual;
mod outcomes;
mod policy;
mod queries;
mod reconcile;
mod registries;
mod retire;
mod rlimits;
mod room;
mod secrets;
mod settings;
mod shells;
mod state;
mod streams;
mod stuck;
mod terminal;
mod trust;
mod update;
mod ways_out;
mod words;
mod world;
