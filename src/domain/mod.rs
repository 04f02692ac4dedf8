//! The vocabulary: values that cannot hold a wrong thing.
//!
//! Nothing in here does I/O, reads a clock or the environment, or draws a random number. Everything
//! that comes from outside (argv, configuration, GitHub, files) is parsed into these types at the
//! edge, once; the rest of the program never checks again.

mod claim;
mod credentials;
mod draft;
mod host;
mod ids;
mod issue;
mod limits;
mod outcome;
pub mod redact;
mod run;
pub mod text;

pub use claim::{Claim, ClaimState, HostId};
pub use credentials::CredentialMode;
pub use draft::{Draft, Filed};
pub use host::{Host, HostError, HostPort};
pub use ids::{BranchName, IdError, IssueNumber, RepoPattern, RepoSlug, RunId, WorkerId};
pub use issue::{BLOCKED_LABEL, Issue, Label, Priority, PullRef, WORKER_LABEL_COLOR, text_id};
pub use limits::{JailMode, Limits, NetworkMode, Rlimits};
pub use outcome::{AgentReport, Ended, Outcome, Work};
pub use run::{AllowedText, CURRENT_VERSION, ClaimHeld, Kind, Pause, Phase, Run, Tried, minutes};
