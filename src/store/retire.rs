//! Workers that are no more: the home goes, the archive stays.
//!
//! The home is renamed into its record, the record into `.retired/`, and only then is anything
//! deleted. So each step is whole, and the next attempt sees how far the last one came.

use super::atomic::sync_dir;
use super::{Error, RecordPaths, Root, WorkerLock, io_error, make_private_dir, rename_new};
use crate::domain::WorkerId;

/// Moves the home out of the way and the record out of the list of workers. Returns where the record
/// is now; its [`RecordPaths::old_home`] is to be deleted.
///
/// # Errors
/// When a step is not possible; what was done by then is carried on by the next attempt.
pub fn retire(root: &Root, lock: &WorkerLock) -> Result<RecordPaths, Error> {
    let worker = lock.worker();
    let (home, record) = (root.home(worker), root.record(worker));
    match rename_new(&home, &record.old_home()) {
        Ok(()) => {}
        // An empty directory stands for it, so that every step looks as it does elsewhere.
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
            make_private_dir(&record.old_home())?;
            rename_new(&home, &root.moved_home(worker)).map_err(io_error("move away", &home))?;
        }
        // So far an earlier attempt has come.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("move away", &home)(e)),
    }
    sync_dir(record.dir()).map_err(io_error("sync", record.dir()))?;
    sync_dir(root.path()).map_err(io_error("sync", root.path()))?;
    make_private_dir(&root.retired())?;
    let mut nth = 1;
    let retired = loop {
        let to = root.retired().join(format!("{worker}.{nth}"));
        match rename_new(record.dir(), &to) {
            Ok(()) => break RecordPaths(to),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => nth += 1,
            Err(e) => return Err(io_error("move away", record.dir())(e)),
        }
    };
    for dir in [root.retired(), root.pool()] {
        sync_dir(&dir).map_err(io_error("sync", &dir))?;
    }
    Ok(retired)
}

/// The records of retired workers, of one id if `only` names it.
///
/// # Errors
/// When they cannot be listed.
pub fn retired(
    root: &Root,
    only: Option<&WorkerId>,
) -> Result<Vec<(WorkerId, RecordPaths)>, Error> {
    let dir = root.retired();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("list", &dir)(e)),
    };
    let id = |name: &str| name.rsplit_once('.').and_then(|(id, _)| id.parse::<WorkerId>().ok());
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|e| Some((id(e.file_name().to_str()?)?, RecordPaths(e.path()))))
        .filter(|(id, _)| only.is_none_or(|only| only == id))
        .collect();
    found.sort_by(|a, b| a.1.dir().cmp(b.1.dir()));
    Ok(found)
}

/// The records of a worker: the one that it has, and those of retired ones that were called so.
///
/// # Errors
/// When they cannot be listed.
pub fn records(root: &Root, worker: &WorkerId) -> Result<Vec<RecordPaths>, Error> {
    let old = retired(root, Some(worker))?.into_iter().map(|(_, record)| record);
    Ok(std::iter::once(root.record(worker)).chain(old).collect())
}
