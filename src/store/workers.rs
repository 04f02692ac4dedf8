//! Which workers there are, and what each is doing. Only the disk is asked.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::record::read_run;
use super::spread::{MANY, spread};
use super::{Error, Root, io_error, is_locked};
use crate::domain::{Run, WorkerId};

/// What a worker is doing, by its record and its lock.
#[derive(Debug)]
pub enum State {
    /// No record, lock free.
    Idle,
    /// Somebody holds the lock and has not written a record yet, or is just removing it.
    Starting,
    /// Record there, lock held.
    Busy(Box<Run>),
    /// Record there, lock free: its supervisor is gone.
    Crashed(Box<Run>),
    /// The record or the home cannot be used as it is.
    Broken(String),
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// What it is doing.
    pub state: State,
    /// When its agent last wrote something.
    pub last_activity: Option<SystemTime>,
}

/// All workers, by id: every directory of the root (and of the record) that has a worker's name.
///
/// # Errors
/// When the root is there and cannot be listed. No root means no workers.
pub fn list(root: &Root) -> Result<Vec<Worker>, Error> {
    let (records, homes) = (recorded(root)?, names_in(root.path())?);
    let look = |id: &WorkerId| {
        // The listings tell what exists, unless it is a link: asking again is for the exceptions.
        look_at(root, id.clone(), || Places {
            record: records.contains(id) || root.record(id).dir().is_dir(),
            home: homes.contains(id) || root.home(id).is_dir(),
        })
    };
    let ids: Vec<&WorkerId> = records.union(&homes).collect();
    Ok(spread(&ids, MANY, |id| look(id)))
}

/// The ids of all workers: cheaper than [`list`] where nothing else is asked.
///
/// # Errors
/// As for [`list`].
pub fn ids(root: &Root) -> Result<BTreeSet<WorkerId>, Error> {
    let mut ids = recorded(root)?;
    ids.extend(names_in(root.path())?);
    Ok(ids)
}

/// The workers that have a record.
pub(super) fn recorded(root: &Root) -> Result<BTreeSet<WorkerId>, Error> {
    names_in(&root.pool())
}

fn names_in(dir: &std::path::Path) -> Result<BTreeSet<WorkerId>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(e) => return Err(io_error("list", dir)(e)),
    };
    Ok(entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect())
}

/// Which of a worker's two directories exist.
#[derive(Debug, Clone, Copy)]
struct Places {
    record: bool,
    home: bool,
}

/// One worker's state.
#[must_use]
pub fn worker(root: &Root, id: WorkerId) -> Worker {
    let (record, home) = (root.record(&id), root.home(&id));
    look_at(root, id, || Places { record: record.dir().is_dir(), home: home.is_dir() })
}

fn look_at(root: &Root, id: WorkerId, places: impl FnOnce() -> Places) -> Worker {
    let paths = root.record(&id);
    // The record is read before the lock is asked: a supervisor that ends in between makes us say
    // "crashed" of a record that is already gone, so a free lock is confirmed by a second look.
    let state = match (read_run(&paths.task()), is_locked(&paths.lock())) {
        (Err(e), _) | (_, Err(e)) => State::Broken(e.to_string()),
        (Ok(Some(run)), Ok(true)) => State::Busy(Box::new(run)),
        (Ok(Some(run)), Ok(false)) => match std::fs::symlink_metadata(paths.task()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => State::Idle,
            _ => State::Crashed(Box::new(run)),
        },
        (Ok(None), Ok(true)) => State::Starting,
        (Ok(None), Ok(false)) => without_record(root, &id, places()),
    };
    let last_activity = match &state {
        State::Busy(_) | State::Crashed(_) => {
            std::fs::metadata(paths.log()).and_then(|m| m.modified()).ok()
        }
        _ => None,
    };
    Worker { id, state, last_activity }
}

fn without_record(root: &Root, id: &WorkerId, places: Places) -> State {
    let home = root.home(id);
    if !places.record {
        // Made by another program of this name, which kept its task in the home itself.
        let task = home.join("task.json");
        let held = std::fs::symlink_metadata(&task).is_ok_and(|m| m.is_file());
        let what = if held { " and holds a task" } else { "" };
        return State::Broken(format!(
            "{} was not made by this program{what}; move it away and run `claude-workers init {id}`",
            home.display()
        ));
    }
    if !places.home && root.record(id).old_home().exists() {
        return State::Broken(format!(
            "its removal was interrupted; `claude-workers rm {id}` finishes it"
        ));
    }
    if !places.home {
        return State::Broken(format!(
            "its home {} is missing; `claude-workers init {id}` makes it anew",
            home.display()
        ));
    }
    State::Idle
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::run;
    use super::super::{WorkerLock, make_private_dir, write_task};
    use super::*;

    #[test]
    fn a_workers_state_follows_record_and_lock() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        assert!(list(&root).unwrap().is_empty());
        let id: WorkerId = "01".parse().unwrap();
        make_private_dir(root.record(&id).dir()).unwrap();
        let state = || worker(&root, "01".parse().unwrap()).state;
        assert!(matches!(state(), State::Broken(_)), "no home");
        make_private_dir(&root.home(&id)).unwrap();
        assert!(matches!(state(), State::Idle));
        let lock = WorkerLock::try_take(&root, &id).unwrap().unwrap();
        assert!(matches!(state(), State::Starting));
        write_task(&root, &lock, &run("01", Some(22), "20261121T071500-0001")).unwrap();
        assert!(matches!(state(), State::Busy(_)));
        drop(lock);
        assert!(matches!(state(), State::Crashed(_)));
        std::fs::write(root.record(&id).task(), "garbage").unwrap();
        assert!(matches!(state(), State::Broken(_)));
        assert_eq!(std::fs::read(root.record(&id).task()).unwrap(), b"garbage");
    }

    #[test]
    fn many_workers_come_by_id_as_few_do() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let mut wanted: Vec<WorkerId> =
            (0..=MANY).map(|n| format!("w{n}").parse().unwrap()).collect();
        for id in &wanted {
            make_private_dir(&root.home(id)).unwrap();
            make_private_dir(root.record(id).dir()).unwrap();
        }
        wanted.sort();
        let workers = list(&root).unwrap();
        assert!(workers.iter().all(|w| matches!(w.state, State::Idle)));
        assert_eq!(workers.into_iter().map(|w| w.id).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_home_of_another_program_is_seen_and_not_idle() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        std::fs::create_dir(dir.path().join("07")).unwrap();
        std::fs::write(dir.path().join("07/task.json"), r#"{"repo":"a/b","pid":1}"#).unwrap();
        let workers = list(&root).unwrap();
        assert_eq!(workers.len(), 1);
        assert!(matches!(&workers[0].state, State::Broken(why) if why.contains("holds a task")));
    }
}
