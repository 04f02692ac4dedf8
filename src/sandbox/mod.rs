//! The wall around an agent.
//!
//! [`Jail`] describes it and turns into a bubblewrap command; [`inside`] is what our own binary does
//! as the jail's first process: a canary that tries what must not work, then the agent in its
//! place. The room decides and describes; `process` starts.
//!
//! What the wall is made of: namespaces of its own for users, PIDs, mounts, IPC and host name; the
//! worker's home as the only writable tree; `/usr` and a few files of `/etc` read-only; private
//! `/tmp`, `/run`, `/proc` and `/dev`; no capabilities; no environment but the given one. The jail
//! dies with its supervisor. It has a network of its own with nothing in it, and at most one way out
//! of that, [`crate::egress`]; it has the host's only where the user wrote so.

pub mod filter;
pub mod inside;
mod jail;
mod reach;

pub use jail::{Bind, Jail, bounds_memory, covers};
pub use reach::needed_to_run;
