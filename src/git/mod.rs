//! Git, in two places that never mix.
//!
//! - **On the host** ([`Host`]): bare repositories that only we write. The mirror of a repository is
//!   fetched here, and a run's commits are checked and pushed from a bare repository of their own.
//!   The host never runs git in a clone that an agent could write: its configuration and hooks are
//!   the agent's.
//! - **In the jail** ([`clone`]): our binary, as a jail's first process, makes and resets the clone
//!   and packs what the agent committed; [`sweep`] removes clones. What it reports is a claim; the host checks the objects.

mod changes;
mod claims;
pub mod clone;
mod host;
mod mirror;
mod outbox;
mod publish;
pub mod sweep;

pub use claims::{Fence, FoundClaim, Swap};
pub use host::{Host, HostEnv, credential};
pub use mirror::{Mirror, REMOVING, fetched_at, is_mirror, remove_mirror};
pub use publish::Imported;

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::domain::text;

/// What can go wrong with git.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Git could not be started.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Git ran and failed.
    #[error("cannot {what}: {}", text::one_line(said, 400))]
    Failed {
        /// What was tried.
        what: String,
        /// What git said.
        said: String,
    },
    /// What came out of git is not what we expect.
    #[error("cannot {what}: {why}")]
    Unexpected {
        /// What was tried.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A file operation beside git failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether git could not be run to its end for a fault of this machine (no process to be had, no
    /// memory): it says nothing of what git was to read.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        let told = [ErrorKind::FileTooLarge, ErrorKind::TimedOut];
        matches!(self, Self::Start { source, .. } if !told.contains(&source.kind()))
    }

    /// Whether the remote does not accept the token, or the token may not do this.
    #[must_use]
    pub fn is_access(&self) -> bool {
        let signs = ["error: 401", "error: 403", "Authentication failed"];
        matches!(self, Self::Failed { said, .. } if signs.iter().any(|sign| said.contains(sign)))
    }
}

fn io_error(
    what: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}
