//! What was placed in a home, remembered in the record: the home itself is the agent's, and cannot
//! tell which files are ours to take away again.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::store::{self, read_bounded, write_private};

/// The format that this program reads and writes.
const VERSION: u32 = 1;

/// No honest list comes near this size.
const MAX: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    files: BTreeSet<PathBuf>,
}

/// Reads the paths, relative to the home. `None`: the home was made before they were remembered.
pub(super) fn read(path: &Path) -> Result<Option<BTreeSet<PathBuf>>, Error> {
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
    Ok(Some(read.files))
}

/// Writes the paths. A name that is not UTF-8 is left out: it stays in the home like an agent's own.
pub(super) fn write(path: &Path, files: &BTreeSet<PathBuf>) -> Result<(), Error> {
    let files = files.iter().filter(|p| p.to_str().is_some()).cloned().collect();
    let json = serde_json::to_vec(&OnDisk { version: VERSION, files })
        .map_err(|e| store::Error::Broken { path: path.to_owned(), why: e.to_string() })?;
    Ok(write_private(path, &json)?)
}
