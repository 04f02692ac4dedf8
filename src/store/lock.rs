//! Locks as permission.
//!
//! A worker's lock is an *open file description* lock (`F_OFD_SETLK`): it belongs to the open file,
//! not to the process. So the dispatcher hands it to the supervisor as an open descriptor with no
//! gap, the kernel frees it when the last holder dies however it dies, and anybody can ask whether
//! it is held ([`is_locked`]) without taking it for a moment and getting in the way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::{Error, RecordPaths, Root, io_error, make_private_dir, read_bounded};
use crate::domain::WorkerId;
use crate::failpoint::{Effect, Trouble, around, place};
use crate::process::{Identity, identity_of_self};

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(io_error("open", path))
}

/// Whether `path` names this very file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// The whole file, exclusively.
fn whole() -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "the constants are 0 and 1")]
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn try_lock(path: &Path) -> Result<Option<File>, Error> {
    let effect = Effect::new(Trouble::Disk, || format!("take {}", place(path)));
    effect.before().map_err(io_error("lock", path))?;
    let file = open(path)?;
    let taken = match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
        Ok(_) => Some(file),
        Err(Errno::EAGAIN | Errno::EACCES) => None,
        Err(e) => return Err(io_error("lock", path)(e.into())),
    };
    effect.after().map_err(io_error("lock", path))?;
    Ok(taken)
}

/// Whether somebody holds the lock. Takes nothing.
///
/// # Errors
/// When the file is there and cannot be opened or asked.
pub fn is_locked(path: &Path) -> Result<bool, Error> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let open = |write| OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
    let file = match open(true) {
        // There it can be asked for all the same.
        Err(e) if e.kind() == ErrorKind::ReadOnlyFilesystem => open(false),
        other => other,
    };
    let file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(io_error("open", path)(e)),
    };
    let mut probe = whole();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut probe))
        .map_err(|e| io_error("ask for the lock", path)(e.into()))?;
    Ok(i32::from(probe.l_type) != libc::F_UNLCK)
}

/// The permission to write a worker's record. Dropping the last copy frees the worker.
#[derive(Debug)]
pub struct WorkerLock {
    worker: WorkerId,
    file: File,
}

impl WorkerLock {
    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn try_take(root: &Root, worker: &WorkerId) -> Result<Option<Self>, Error> {
        let path = root.record(worker).lock();
        let file = try_lock(&path)?;
        // Between opening and locking the worker may have been retired, and its record moved away.
        let file = file.filter(|file| is_at(file, &path));
        Ok(file.map(|file| Self { worker: worker.clone(), file }))
    }

    /// Takes the lock of a retired worker's record, if it is free.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn try_take_retired(
        worker: &WorkerId,
        record: &RecordPaths,
    ) -> Result<Option<Self>, Error> {
        let file = try_lock(&record.lock())?;
        Ok(file.map(|file| Self { worker: worker.clone(), file }))
    }

    /// Takes over the lock that came in as an open descriptor (standard input of a supervisor).
    ///
    /// # Errors
    /// When the descriptor is not this worker's lock file, or the lock is not held through it.
    pub fn inherit(root: &Root, worker: &WorkerId, fd: impl AsFd) -> Result<Self, Error> {
        let path = root.record(worker).lock();
        // The duplicate is close-on-exec: nothing that the supervisor starts may keep it.
        let file =
            File::from(fd.as_fd().try_clone_to_owned().map_err(io_error("take over", &path))?);
        let broken = |why: &str| Error::Broken { path: path.clone(), why: why.to_owned() };
        if !is_at(&file, &path) {
            return Err(broken("the descriptor handed over is not this worker's lock"));
        }
        let effect = Effect::new(Trouble::Disk, || "inherit lock".into());
        effect.before().map_err(io_error("take over", &path))?;
        // Locking again through the same description succeeds at once when it holds the lock.
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
            Ok(_) => Ok(Self { worker: worker.clone(), file }),
            Err(_) => Err(broken("another process holds the lock")),
        }
    }

    /// Whose lock this is.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// A second handle on the same lock, to be handed to a supervisor.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn hand_over(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }
}

/// Held by the one `assign` that is under way. Its file says who that is; what permits is the lock.
#[derive(Debug)]
pub struct AssignLock(File);

/// What is in the file of an [`AssignLock`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    version: u32,
    pid: u32,
    pid_start: u64,
    boot_id: String,
}

impl AssignLock {
    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn try_take(root: &Root) -> Result<Option<Self>, Error> {
        make_private_dir(&root.pool())?;
        let lock = try_lock(&root.assign_lock())?.map(Self);
        if let (Some(Self(file)), Some(me)) = (&lock, identity_of_self()) {
            let Identity { pid, start: pid_start, boot_id } = me;
            let holder = Holder { version: 1, pid, pid_start, boot_id };
            // Where it cannot be written, the others are told less.
            let _ = serde_json::to_vec(&holder)
                .map_err(Into::into)
                .and_then(|json| file.set_len(0).and_then(|()| file.write_all_at(&json, 0)));
        }
        Ok(lock)
    }

    /// The process that holds it now; `None` if nobody does, or it has not said so.
    #[must_use]
    pub fn holder(root: &Root) -> Option<Identity> {
        let path = root.assign_lock();
        is_locked(&path).ok().filter(|held| *held)?;
        let holder: Holder = serde_json::from_slice(&read_bounded(&path, 4 << 10).ok()??).ok()?;
        let Holder { pid, pid_start: start, boot_id, .. } = holder;
        // One that was killed may have left its name there.
        let holder = Identity { pid, start, boot_id };
        holder.open().is_some().then_some(holder)
    }
}

impl Drop for AssignLock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

/// Held by whoever reads or writes in the repository for claims, any number of them; who throws that
/// away has it alone.
#[derive(Debug)]
pub struct ClaimsLock(#[expect(dead_code, reason = "holding the file is the point")] File);

impl ClaimsLock {
    /// Takes it with others. Who has it alone renames a directory, no more: that is waited for.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn share(root: &Root) -> Result<Self, Error> {
        let path = Self::path(root)?;
        let file = open(&path)?;
        around(Trouble::Disk, || format!("share {}", place(&path)), || file.lock_shared())
            .map_err(io_error("lock", &path))?;
        Ok(Self(file))
    }

    /// Takes it alone, if nobody has it.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn try_take(root: &Root) -> Result<Option<Self>, Error> {
        let path = Self::path(root)?;
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(io_error("lock", &path)(e)),
        }
    }

    fn path(root: &Root) -> Result<PathBuf, Error> {
        make_private_dir(&root.claims())?;
        Ok(root.claims().join("objects.lock"))
    }
}

/// Held by the one `update` that is under way.
#[derive(Debug)]
pub struct UpdateLock(#[expect(dead_code, reason = "holding the file is the point")] File);

impl UpdateLock {
    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn try_take(root: &Root) -> Result<Option<Self>, Error> {
        make_private_dir(&root.update())?;
        Ok(try_lock(&root.update().join("lock"))?.map(Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root, WorkerId) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let worker: WorkerId = "01".parse().unwrap();
        make_private_dir(root.record(&worker).dir()).unwrap();
        (dir, root, worker)
    }

    #[test]
    fn a_lock_is_taken_once_and_asking_does_not_take_it() {
        let (_dir, root, worker) = root();
        let path = root.record(&worker).lock();
        assert!(!is_locked(&path).unwrap());
        let lock = WorkerLock::try_take(&root, &worker).unwrap().unwrap();
        assert!(is_locked(&path).unwrap());
        assert!(WorkerLock::try_take(&root, &worker).unwrap().is_none());
        drop(lock);
        assert!(!is_locked(&path).unwrap());
    }

    #[test]
    fn a_handed_over_lock_outlives_the_first_holder() {
        let (_dir, root, worker) = root();
        let lock = WorkerLock::try_take(&root, &worker).unwrap().unwrap();
        let handed = lock.hand_over().unwrap();
        let inherited = WorkerLock::inherit(&root, &worker, &handed).unwrap();
        drop((lock, handed));
        assert!(is_locked(&root.record(&worker).lock()).unwrap());
        drop(inherited);
        assert!(!is_locked(&root.record(&worker).lock()).unwrap());
    }

    #[test]
    fn who_throws_claims_away_has_the_lock_alone() {
        let (_dir, root, _) = root();
        let (one, two) = (ClaimsLock::share(&root).unwrap(), ClaimsLock::share(&root).unwrap());
        assert!(ClaimsLock::try_take(&root).unwrap().is_none());
        drop(one);
        assert!(ClaimsLock::try_take(&root).unwrap().is_none());
        drop(two);
        let alone = ClaimsLock::try_take(&root).unwrap();
        assert!(alone.is_some() && ClaimsLock::try_take(&root).unwrap().is_none());
    }

    #[test]
    fn another_file_is_not_accepted_as_the_lock() {
        let (dir, root, worker) = root();
        let _lock = WorkerLock::try_take(&root, &worker).unwrap().unwrap();
        let other = File::create(dir.path().join("x")).unwrap();
        assert!(WorkerLock::inherit(&root, &worker, &other).is_err());
        let unlocked = File::open(root.record(&worker).lock()).unwrap();
        assert!(WorkerLock::inherit(&root, &worker, &unlocked).is_err());
    }
}
