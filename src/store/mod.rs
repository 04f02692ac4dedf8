//! State on disk: where it is, who may write it, and how.
//!
//! ```text
//! <root>/01/                    the agent's $HOME; nothing in it is believed
//! <root>/.pool/01/task.json     the current run; there ⇔ the worker is not idle
//! <root>/.pool/01/lock          held by the supervisor for the whole run
//! <root>/.pool/01/completed/    the archive; `.lines` in it is a memory of what lists show of it
//! <root>/.pool/.retired/01.1/   the record of a worker that is no more
//! <root>/.pool/mirrors/         bare repositories that clones borrow objects from
//! <root>/.pool/github/          answers remembered, cooldown, pace, claims seen
//! ```
//!
//! Promises: a file is either the old one or the new one, whole; what cannot be read is never
//! overwritten and never means "idle"; a worker's record is written only with its [`WorkerLock`] in
//! hand; a record of a newer format is not written to.

mod atomic;
mod claims;
mod clock;
mod history;
mod layout;
mod line;
mod lines;
mod lock;
mod record;
mod retire;
mod spread;
mod tools;
mod workers;

pub use atomic::{
    TEMPORARY, make_private_dir, open_in_place, read_bounded, read_start, read_text,
    remove_dir_all, remove_file, try_writing, write_memory, write_private,
};
pub(crate) use atomic::{rename_new, sync_dir, sync_tree};
pub use claims::{
    claims_are_due, claims_repository, forget_claims_repository, host_id, unchanged_for,
};
pub use clock::believed_time;
pub use history::{
    Archived, Read, Skipped, archived, completed, completed_of_issue, completed_of_issues,
    completed_since, mark_cleared, names_of_completed, patch_name, run_id_at_end, unpublished_name,
};
pub use layout::{RecordPaths, Root};
pub use line::Line;
pub use lines::{archived_lines, completed_lines};
pub use lock::{AssignLock, ClaimsLock, UpdateLock, WorkerLock, is_locked};
pub use record::{archive, read_archived, read_task, set_aside_task, tell_of_broken, write_task};
pub use retire::{records, retire, retired};
pub use tools::Tools;
pub use workers::{State, Worker, ids, list, worker};

use std::path::{Path, PathBuf};

/// What can go wrong with state on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A state file is there and cannot be understood.
    #[error("{} is broken: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer program wrote the file.
    #[error("{} has format version {found}; this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that we know.
        known: u32,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Broken { path, .. } => {
                Some(format!("nothing was changed; look at {} and move it away", path.display()))
            }
            Self::Newer { .. } => Some("use the newer claude-workers that wrote it".into()),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::ResourceBusy => {
                    Some("is something mounted there? unmount it first".into())
                }
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Some("make room".into())
                }
                std::io::ErrorKind::PermissionDenied => {
                    Some("it must be yours, and you must be able to read and write it".into())
                }
                std::io::ErrorKind::NotADirectory => {
                    Some("move away what is in the place of a directory".into())
                }
                std::io::ErrorKind::ReadOnlyFilesystem => {
                    Some("mount it so that it can be written to".into())
                }
                _ => None,
            },
        }
    }
}

/// Turns an I/O error into one that says what was tried on which path.
pub(crate) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> Error + use<'a> {
    move |source| Error::Io { action, path: path.to_owned(), source }
}
