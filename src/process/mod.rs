//! Child processes: started in one place, watched, and ended whole.
//!
//! Nothing here needs an async runtime: a supervisor waits in `poll(2)` and costs nothing while its
//! agent is silent.

pub mod cgroup;
mod command;
mod fence;
mod identity;
mod leftovers;
mod tree;
mod waiting;
mod watch;

pub use command::{Begun, Captured, begin, command, run_bounded, run_bounded_with, spawn};
pub use fence::Fence;
pub use identity::{Identity, Uptime, identity_of_self, start_time, uptime};
pub use leftovers::{Traces, end_leftovers, leftovers};
pub use tree::{become_subreaper, children_of, kill_descendants, kill_tree, kill_tree_of};
pub use waiting::{Waiting, Woken};
pub use watch::{End, Lines, Watched, watch};
