//! Decisions, and nothing else: values in, values out.
//!
//! - [`assign()`]: which idle worker gets which issue;
//! - [`history_refuses`]: whether what happened before speaks against an issue;
//! - [`standing()`]: whether a host may take an issue that another may have;
//! - [`believed`]: whether the clock has just jumped;
//! - [`conclude()`]: how a run ended, from what was seen;
//! - [`drift()`]: where GitHub's labels and our records disagree;
//! - [`labels_to_file`]: what an agent's issue may be labelled;
//! - [`refusals`]: what of an agent's work is not published;
//! - [`gc::gc`]: what is kept no longer;
//! - [`reconcile::decide`]: what is to be done about a worker that nobody works for;
//! - [`room::admit`]: whether the disks have room for a run;
//! - [`first_free_branch`]: the name that a run's work is published under.

mod assign;
mod branch;
mod claim;
mod clock;
mod conclude;
mod drift;
pub mod egress;
mod filing;
pub mod gc;
mod publish;
pub mod reconcile;
mod retry;
pub mod room;

pub use assign::{Assignment, IssueRef, Plan, RepoFacts, Rules, Skip, Snapshot, Verdict, assign};
pub use branch::first_free_branch;
pub use claim::{MARGIN, Standing, is_late, standing, time_to_live};
pub use clock::{ClockSeen, believed};
pub use conclude::{conclude, in_a_line, issues, line_about};
pub use drift::{Doing, Drift, Sides, Wrong, drift};
pub use filing::labels_to_file;
pub use publish::{Change, Changes, PublishRules, Refusal, is_gitmodules, refusals};
pub use retry::{NOT_STARTED_MAX, history_refuses, not_started_in_a_row};
