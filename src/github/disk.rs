//! What is remembered between runs of the program: answers with their `ETag`s, labels known to be
//! there, and pauses.
//!
//! All of it may be lost at any time and costs a few requests then. So a file that is missing,
//! damaged, of another version or about something else is treated as absent, nothing is fsynced,
//! and a failure to write is not an error. Files are replaced whole (0600, in directories of
//! 0700), so that readers see one version or the other.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failpoint::{Trouble, around, place};
use crate::store::{TEMPORARY, make_private_dir, open_in_place, read_bounded, remove_file};

const VERSION: u32 = 1;
/// No list of issues comes near this size.
const MAX: u64 = 64 << 20;

/// The two kinds of memory: they are forgotten for different reasons.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shelf {
    /// Lists and their `ETag`s.
    Cache,
    /// What is known to have been done.
    Memory,
}

/// The files of one token at one API address.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Record<T> {
    version: u32,
    /// The full name: file names are short hashes of it, and hashes can collide.
    name: String,
    value: T,
}

impl Disk {
    pub(super) fn new(root: PathBuf, api_url: &str, token: Option<&SecretString>) -> Self {
        // 64 bits say nothing useful about a token, and two tokens of one person do not collide.
        let key = short_hash(&(api_url, token.map_or("", |t| t.expose_secret())));
        Self { root, key }
    }

    /// Names the token without telling it.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    fn dir(&self, on: Shelf) -> PathBuf {
        let name = match on {
            Shelf::Cache => "cache",
            Shelf::Memory => "memory",
        };
        self.root.join(name).join(&self.key)
    }

    fn path(&self, on: Shelf, name: &str) -> PathBuf {
        self.dir(on).join(format!("{}.json", short_hash(&name)))
    }

    pub(super) fn load<T: DeserializeOwned>(&self, on: Shelf, name: &str) -> Option<T> {
        let record: Record<T> = read_json(&self.path(on, name))?;
        (record.version == VERSION && record.name == name).then_some(record.value)
    }

    pub(super) fn store<T: Serialize>(&self, on: Shelf, name: &str, value: T) {
        let record = Record { version: VERSION, name: name.to_owned(), value };
        let _ = write_json(&self.path(on, name), &record);
    }

    /// Takes one name off the shelf.
    pub(super) fn forget(&self, on: Shelf, name: &str) -> Result<(), (PathBuf, io::Error)> {
        let path = self.path(on, name);
        let forget = || gone(fs::remove_file(&path));
        around(Trouble::Disk, || format!("remove {}", place(&path)), forget).map_err(|e| (path, e))
    }

    /// Clears the shelf.
    pub(super) fn forget_all(&self, on: Shelf) -> Result<(), (PathBuf, io::Error)> {
        let path = self.dir(on);
        gone(fs::remove_dir_all(&path)).map_err(|e| (path, e))
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn short_hash(value: &impl std::hash::Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read_bounded(path, MAX).ok()??).ok()
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let make = || tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir);
    let write = || {
        let mut file = match make() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
                make()?
            }
            other => other?,
        };
        file.write_all(&serde_json::to_vec(value)?)?;
        Ok(file)
    };
    let file = around(Trouble::Disk, || format!("write {}", place(path)), write)?;
    let replace = || file.persist(path).map(drop).map_err(|e| e.error);
    around(Trouble::Disk, || format!("replace {}", place(path)), replace)
}

/// How often a lock is tried for. Who has it lets go within a millisecond, unless it is stopped.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The file, made if need be, while no other process has it so. Nothing, where that cannot be had.
pub(super) async fn locked(path: &Path) -> Option<File> {
    make_private_dir(path.parent()?).ok()?;
    let open = || open_in_place(path, File::options().read(true).write(true));
    // Something else may be in its place.
    let file = open().or_else(|_| remove_file(path).and_then(|()| open())).ok()?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(BETWEEN_TRIES).await,
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn disk(root: &Path, token: &str) -> Disk {
        Disk::new(root.to_owned(), "https://h", Some(&SecretString::from(token.to_owned())))
    }

    #[test]
    fn each_token_has_its_own_files() {
        let root = tempfile::tempdir().unwrap();
        disk(root.path(), "one").store(Shelf::Cache, "a", 1);
        assert_eq!(disk(root.path(), "one").load(Shelf::Cache, "a"), Some(1));
        assert_eq!(disk(root.path(), "two").load::<i32>(Shelf::Cache, "a"), None);
        assert_eq!(disk(root.path(), "one").load::<i32>(Shelf::Memory, "a"), None);
    }

    #[test]
    fn damaged_foreign_and_newer_files_are_absent() {
        let root = tempfile::tempdir().unwrap();
        let disk = disk(root.path(), "one");
        disk.store(Shelf::Cache, "a", 1);
        let path = disk.path(Shelf::Cache, "a");
        for text in [
            "",
            "{",
            r#"{"version":2,"name":"a","value":1}"#,
            r#"{"version":1,"name":"b","value":1}"#,
            r#"{"version":1,"name":"a","value":"x"}"#,
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(disk.load::<i32>(Shelf::Cache, "a"), None, "{text}");
        }
        disk.store(Shelf::Cache, "a", 2);
        assert_eq!(disk.load(Shelf::Cache, "a"), Some(2));
    }

    #[test]
    fn files_are_private() {
        let root = tempfile::tempdir().unwrap();
        let disk = disk(root.path(), "one");
        disk.store(Shelf::Cache, "a", 1);
        let path = disk.path(Shelf::Cache, "a");
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}
