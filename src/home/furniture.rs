//! What was placed in a home, remembered in the record: the home itself is the agent's, and cannot
//! tell which files are ours to take away again.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::domain::CredentialMode;
use crate::store::{self, read_bounded, write_private};

/// The format that this program reads and writes.
const VERSION: u32 = 1;

/// No honest list comes near this size.
const MAX: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    /// A home that was made before there was a choice holds copies.
    #[serde(default)]
    credentials: CredentialMode,
    files: BTreeSet<PathBuf>,
}

/// What was placed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Furniture {
    /// Whether credentials for GitHub are among it.
    pub credentials: CredentialMode,
    /// The paths, relative to the home.
    pub files: BTreeSet<PathBuf>,
}

/// Reads it. `None`: the home was made before it was remembered.
pub(super) fn read(path: &Path) -> Result<Option<Furniture>, Error> {
    let Some(bytes) = read_bounded(path, MAX)? else { return Ok(None) };
    let broken = |why: String| store::Error::Broken { path: path.to_owned(), why };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(VERSION) => {
            return Err(store::Error::Newer { path: path.to_owned(), found, known: VERSION }.into());
        }
        _ => {}
    }
    let read: OnDisk = serde_json::from_value(value).map_err(|e| broken(e.to_string()))?;
    let plain = |p: &&PathBuf| p.components().all(|c| matches!(c, Component::Normal(_)));
    if let Some(odd) = read.files.iter().find(|p| !plain(p)) {
        return Err(broken(format!("{} is not a path in a home", odd.display())).into());
    }
    Ok(Some(Furniture { credentials: read.credentials, files: read.files }))
}

/// Whether a home may hold credentials for GitHub, by what is remembered of it in the record.
///
/// # Errors
/// When that is there and cannot be read.
pub fn mode_of(path: &Path) -> Result<CredentialMode, Error> {
    Ok(read(path)?.unwrap_or_default().credentials)
}

/// Writes it. A name that is not UTF-8 is left out: it stays in the home like an agent's own.
pub(super) fn write(path: &Path, furniture: &Furniture) -> Result<(), Error> {
    let Furniture { credentials, files } = furniture;
    let files = files.iter().filter(|p| p.to_str().is_some()).cloned().collect();
    let json = serde_json::to_vec(&OnDisk { version: VERSION, credentials: *credentials, files })
        .map_err(|e| store::Error::Broken { path: path.to_owned(), why: e.to_string() })?;
    Ok(write_private(path, &json)?)
}
