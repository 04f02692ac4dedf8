//! All or nothing: a home is built beside its place and moved there whole.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use super::error::Error;
use super::tree::sync_dir;
use crate::domain::WorkerId;
use crate::store::rename_new;

/// Length of the random end of a name.
const RANDOM: usize = 8;

/// A directory `.new-<id>-<random>`, 0700, that is removed again unless it is published.
pub(super) struct Staging {
    dir: TempDir,
    /// Held as long as the attempt lives; the system lets go of it whatever ends the process.
    _alive: File,
}

/// Where a home at `home` is built: in `parent`, unless that is on another disk; then beside it.
fn on_the_same_disk<'a>(parent: &'a Path, home: &'a Path) -> &'a Path {
    let disk = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    match home.parent() {
        Some(root) if disk(root).is_some() && disk(root) != disk(parent) => root,
        _ => parent,
    }
}

impl Staging {
    /// Makes one for `home` in `parent`, or where it can be moved to its place from.
    pub fn begin_for(home: &Path, parent: &Path, id: &WorkerId) -> Result<Self, Error> {
        Self::begin(on_the_same_disk(parent, home), id)
    }

    /// Makes one in `parent`, after removing those of earlier attempts for `id` that have died.
    pub fn begin(parent: &Path, id: &WorkerId) -> Result<Self, Error> {
        // One at a time, so that nobody sweeps a directory between its making and its locking.
        let turn = File::open(parent).map_err(Error::io("open", parent))?;
        turn.lock().map_err(Error::io("lock", parent))?;
        sweep(parent, id)?;
        let dir = tempfile::Builder::new()
            .prefix(&prefix(id))
            .rand_bytes(RANDOM)
            .tempdir_in(parent)
            .map_err(Error::io("make a directory in", parent))?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700))
            .map_err(Error::io("set the mode of", dir.path()))?;
        let alive = File::open(dir.path()).map_err(Error::io("open", dir.path()))?;
        alive.lock().map_err(Error::io("lock", dir.path()))?;
        Ok(Self { dir, _alive: alive })
    }

    /// Where to build.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Moves what was built to `place`, where nothing may be.
    pub fn publish(self, place: &Path, id: &WorkerId) -> Result<(), Error> {
        rename_new(self.dir.path(), place).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::Exists { worker: id.clone(), path: place.to_owned() }
            }
            _ => Error::io("move the new home to", place)(e),
        })?;
        let from = self.dir.keep();
        for parent in [place.parent(), from.parent()].into_iter().flatten() {
            sync_dir(parent)?;
        }
        Ok(())
    }
}

/// What the names of directories begin with in which homes are being made.
pub const STAGING: &str = ".new-";

fn prefix(id: &WorkerId) -> String {
    format!("{STAGING}{id}-")
}

/// Whether `name` is the staging directory of `id`, and not of an id that begins with it.
fn is_staging_of(name: &str, id: &WorkerId) -> bool {
    name.strip_prefix(&prefix(id)).is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn sweep(parent: &Path, id: &WorkerId) -> Result<(), Error> {
    let entries = fs::read_dir(parent).map_err(Error::io("list", parent))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("list", parent))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir || !entry.file_name().to_str().is_some_and(|name| is_staging_of(name, id)) {
            continue;
        }
        let path = entry.path();
        let lock = File::open(&path).map_err(Error::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_attempts_for_the_same_worker_are_swept() {
        let pool = tempfile::tempdir().unwrap();
        let id: WorkerId = "a".parse().unwrap();
        for name in [".new-a-12345678", ".new-a-b-1234567", ".new-a-1", ".new-b-12345678", "a"] {
            fs::create_dir_all(pool.path().join(name).join("half/made")).unwrap();
        }
        let living = Staging::begin(pool.path(), &id).unwrap();
        let second = Staging::begin(pool.path(), &id).unwrap();
        assert!(!pool.path().join(".new-a-12345678").exists());
        for name in [".new-a-b-1234567", ".new-a-1", ".new-b-12345678", "a"] {
            assert!(pool.path().join(name).join("half/made").exists(), "{name}");
        }
        assert!(living.path().exists() && second.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn an_empty_directory_at_the_place_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let id: WorkerId = "01".parse().unwrap();
        let place = root.path().join("01");
        let staging = Staging::begin(root.path(), &id).unwrap();
        fs::create_dir(&place).unwrap();
        fs::write(staging.path().join("new"), "").unwrap();
        let error = staging.publish(&place, &id).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert!(!place.join("new").exists());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
