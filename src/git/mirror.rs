//! Mirrors: one bare repository for each remote, fetched once for all workers.
//!
//! Clones borrow its objects (git's *alternates*) and see it read-only. Its objects are never
//! pruned: somebody may be borrowing them. They are put into fewer files now and then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Error, Host, io_error};
use crate::domain::BranchName;
use crate::failpoint::{Trouble, around};
use crate::store::{make_private_dir, read_bounded, sync_dir, write_private};

/// A mirror, up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The bare repository.
    pub path: PathBuf,
    /// The remote's default branch.
    pub default: BranchName,
    /// The commit at its tip.
    pub tip: String,
    /// All branches of the remote.
    pub branches: BTreeMap<String, String>,
}

/// What is remembered of the last look at the remote, in the mirror itself.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    default: BranchName,
    branches: BTreeMap<String, String>,
}

const SEEN: &str = "claude-workers.json";

impl Host {
    /// Brings the mirror at `path` of the repository at `url` up to date, making it if need be. A
    /// look at the remote that is younger than `max_age` at `now` is good enough.
    ///
    /// Asks the remote once for its branches and fetches only if one of them is new.
    ///
    /// # Errors
    /// When the remote cannot be reached, refuses, or has no commits; the mirror stays as it was, unless
    /// it was damaged.
    pub fn mirror(
        &self,
        url: &str,
        path: &Path,
        max_age: Duration,
        now: Timestamp,
    ) -> Result<Mirror, Error> {
        let parent = path.parent().unwrap_or(path);
        make_private_dir(parent).map_err(|e| Error::Unexpected {
            what: "make the mirror".into(),
            why: e.to_string(),
        })?;
        // One at a time for each mirror; whoever waited finds a fresh one.
        let lock_path = path.with_extension("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        around(Trouble::Disk, || "lock the mirror".into(), || lock.lock())
            .map_err(io_error("lock", &lock_path))?;

        let known = read_seen(path);
        if let Some(seen) = &known {
            let age = now.duration_since(seen.at);
            if !age.is_negative() && age.unsigned_abs() < max_age {
                return mirror_of(path, url, seen);
            }
        }
        let seen = self.look(url, now)?;
        let unchanged = known.is_some_and(|k| k.branches == seen.branches);
        if !unchanged {
            self.fetch(url, path, &seen.default).or_else(|e| {
                if !e.is_damage() {
                    return Err(e);
                }
                set_aside(path).map_err(io_error("set aside", path))?;
                self.fetch(url, path, &seen.default)
            })?;
        }
        write_seen(path, &seen)?;
        mirror_of(path, url, &seen)
    }

    /// Asks the remote for its default branch and all branches.
    fn look(&self, url: &str, now: Timestamp) -> Result<Seen, Error> {
        let what = format!("list the branches of {url}");
        let args = ["ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*"];
        let out = self.remote(&what, None, url, &args)?;
        let (mut default, mut branches) = (None, BTreeMap::new());
        for line in String::from_utf8_lossy(&out).lines() {
            let Some((left, name)) = line.split_once('\t') else { continue };
            if name == "HEAD" {
                if let Some(target) = left.strip_prefix("ref: refs/heads/") {
                    default = target.parse::<BranchName>().ok();
                }
            } else if let Some(branch) = name.strip_prefix("refs/heads/") {
                branches.insert(branch.to_owned(), left.to_owned());
            }
        }
        match default {
            Some(default) if branches.contains_key(default.as_str()) => {
                Ok(Seen { at: now, default, branches })
            }
            _ => Err(Error::Unexpected {
                what,
                why: "the remote has no default branch with a commit on it".into(),
            }),
        }
    }

    /// Puts the objects of a mirror's many files into few packs. All of them stay, also those that
    /// nothing in the mirror leads to: a clone may borrow them. Runs that want to fetch wait meanwhile.
    ///
    /// # Errors
    /// Why it is as it was, in words.
    pub fn pack_mirror(&self, path: &Path) -> Result<(), String> {
        let _lock = try_lock(path)?;
        let args = ["repack", "-d", "-q", "--geometric=2"];
        self.local("pack the mirror", Some(path), &args, &[]).map(drop).map_err(|e| e.to_string())
    }

    fn fetch(&self, url: &str, path: &Path, default: &BranchName) -> Result<(), Error> {
        if !is_mirror(path) {
            self.make_bare("make the mirror", path)?;
        }
        remove_stale_locks(path);
        let before = directories(path);
        let args = [
            "fetch",
            "--quiet",
            "--prune",
            "--no-write-fetch-head",
            "--",
            url,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        self.remote(&format!("fetch {url}"), Some(path), url, &args)?;
        let head = format!("refs/heads/{default}");
        self.local("set the mirror's HEAD", Some(path), &["symbolic-ref", "HEAD", &head], &[])?;
        // Git makes files durable, and leaves their names to the file system. What says that they
        // are there is written next.
        let new = directories(path).into_iter().filter(|(dir, at)| before.get(dir) != Some(at));
        for (dir, _) in new {
            sync_dir(&dir).map_err(io_error("sync", &dir))?;
        }
        Ok(())
    }
}

/// Forgets when the mirror was last brought up to date: the next who wants it fetches, and sees whether
/// it is whole.
///
/// # Errors
/// When that cannot be forgotten.
pub fn doubt_mirror(path: &Path) -> Result<(), Error> {
    let seen = path.join(SEEN);
    match fs::remove_file(&seen) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", &seen)(e)),
        _ => Ok(()),
    }
}

/// Makes room for a new mirror in the place of a damaged one; `gc` removes that.
fn set_aside(path: &Path) -> std::io::Result<()> {
    let away = path.with_extension(REMOVING);
    match fs::remove_dir_all(&away) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::rename(path, away)
}

/// Whether there is a mirror that was fetched.
#[must_use]
pub fn is_mirror(path: &Path) -> bool {
    path.join(SEEN).exists()
}

/// When a mirror was last brought up to date; of one that never was, when it last changed.
#[must_use]
pub fn fetched_at(path: &Path) -> Option<Timestamp> {
    read_seen(path).map(|seen| seen.at).or_else(|| {
        let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok()?;
        Timestamp::try_from(changed).ok()
    })
}

/// The ending of a mirror that is being removed.
pub const REMOVING: &str = "removing";

/// Removes a mirror, unless it is in use or has been fetched since it was seen.
///
/// # Errors
/// Why it stays, in words.
pub fn remove_mirror(path: &Path, seen_at: Option<Timestamp>) -> Result<(), String> {
    let _lock = try_lock(path)?;
    if fetched_at(path) != seen_at {
        return Err(USED.into());
    }
    // Half a mirror must not be taken for one.
    let away = path.with_extension(REMOVING);
    fs::rename(path, &away)
        .and_then(|()| fs::remove_dir_all(&away))
        .map_err(|e| format!("{}: {e}", path.display()))
}

const USED: &str = "it has just been used";

/// A mirror's lock, if nobody has it. The file stays: whoever waits for it must not hold another one
/// than who comes next.
fn try_lock(path: &Path) -> Result<File, String> {
    let lock_path = path.with_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
    let lock = lock.map_err(|e| format!("{}: {e}", lock_path.display()))?;
    lock.try_lock().map_err(|_| USED)?;
    Ok(lock)
}

/// How many packs a mirror has, and how many objects that are in none.
#[must_use]
pub fn packs_and_loose(path: &Path) -> (u64, u64) {
    let names = |dir: PathBuf| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let objects = path.join("objects");
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let packs = names(objects.join("pack")).iter().filter(|name| name.ends_with(".pack")).count();
    let fans = names(objects.clone()).into_iter().filter(|name| name.len() == 2);
    let loose = fans.map(|fan| count(names(objects.join(fan)).len())).sum();
    (count(packs), loose)
}

/// Git's own locks are held for a moment, and nobody else writes here: an old one was left by a git
/// that was killed, and every later fetch would refuse because of it.
fn remove_stale_locks(dir: &Path) {
    const OLD: Duration = Duration::from_mins(10);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            if !path.ends_with("objects") {
                remove_stale_locks(&path);
            }
        } else if path.extension().is_some_and(|e| e == "lock")
            && meta.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > OLD)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// A directory and those in it, with the time of their last change.
fn directories(dir: &Path) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let mut all = BTreeMap::new();
    let mut next = vec![dir.to_owned()];
    while let Some(dir) = next.pop() {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        next.extend(dirs.map(|entry| entry.path()));
        let changed = fs::symlink_metadata(&dir).and_then(|meta| meta.modified()).ok();
        all.insert(dir, changed);
    }
    all
}

fn read_seen(path: &Path) -> Option<Seen> {
    let bytes = read_bounded(&path.join(SEEN), 64 << 20).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

fn write_seen(path: &Path, seen: &Seen) -> Result<(), Error> {
    let fail = |why: String| Error::Unexpected { what: "remember the mirror's state".into(), why };
    let json = serde_json::to_vec(seen).map_err(|e| fail(e.to_string()))?;
    write_private(&path.join(SEEN), &json).map_err(|e| fail(e.to_string()))
}

fn mirror_of(path: &Path, url: &str, seen: &Seen) -> Result<Mirror, Error> {
    let tip = seen.branches.get(seen.default.as_str()).cloned().ok_or_else(|| {
        Error::Unexpected { what: format!("use the mirror of {url}"), why: "it has no tip".into() }
    })?;
    Ok(Mirror {
        path: fs::canonicalize(path).map_err(io_error("find", path))?,
        default: seen.default.clone(),
        tip,
        branches: seen.branches.clone(),
    })
}
