//! The current run (`task.json`) and its way into the archive.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::atomic::{rename_file, sync_dir};
use super::line::{Line, Slim};
use super::{
    Error, Root, WorkerLock, io_error, make_private_dir, read_bounded, remove_dir_all, remove_file,
    rename_new, write_private,
};
use crate::domain::{CURRENT_VERSION, IssueNumber, RepoSlug, Run, RunId, WorkerId};

/// No honest record comes near this size.
const MAX_RECORD: u64 = 1 << 20;

/// Reads and checks a record. `None`: there is none.
pub(super) fn read_run(path: &Path) -> Result<Option<Run>, Error> {
    let Some(bytes) = read_bounded(path, MAX_RECORD)? else { return Ok(None) };
    // The usual case first, in one pass; only what fails is looked at more closely.
    if let Ok(run) = serde_json::from_slice::<Run>(&bytes)
        && run.version == CURRENT_VERSION
    {
        return Ok(Some(run));
    }
    let broken = |why: String| Error::Broken { path: path.to_owned(), why };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| broken(format!("it is not JSON: {e}")))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(CURRENT_VERSION) => {
            Err(Error::Newer { path: path.to_owned(), found, known: CURRENT_VERSION })
        }
        _ => Err(broken(match serde_json::from_value::<Run>(value) {
            Err(e) => e.to_string(),
            Ok(run) => format!("format version {} never was", run.version),
        })),
    }
}

/// Reads a record for a line about it. `None`: there is none.
pub(super) fn read_slim(path: &Path) -> Result<Option<Line>, Error> {
    let Some(bytes) = read_bounded(path, MAX_RECORD)? else { return Ok(None) };
    match serde_json::from_slice::<Slim<'_>>(&bytes) {
        Ok(slim) if slim.version == CURRENT_VERSION => Ok(Some(slim.into())),
        // What is wrong with it is said as of every record.
        slim => match (read_run(path)?, slim) {
            (Some(_), Err(e)) => Err(Error::Broken { path: path.to_owned(), why: e.to_string() }),
            (None, _) | (_, Ok(_)) => Ok(None),
        },
    }
}

/// A worker's current run. `None`: it is idle.
///
/// # Errors
/// When there is a record that cannot be read: the worker is broken then, not idle.
pub fn read_task(root: &Root, worker: &WorkerId) -> Result<Option<Run>, Error> {
    read_run(&root.record(worker).task())
}

/// Writes the current run.
///
/// # Errors
/// When it cannot be written; the old record is untouched then.
pub fn write_task(root: &Root, lock: &WorkerLock, run: &Run) -> Result<(), Error> {
    write_private(&root.record(lock.worker()).task(), &to_json(run)?)
}

fn to_json(run: &Run) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(run)
        .map_err(|e| Error::Broken { path: "task.json".into(), why: e.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What the record of a broken worker still tells, read as leniently as can be: the issue that it
/// was about, and the run.
#[must_use]
pub fn tell_of_broken(root: &Root, worker: &WorkerId) -> Option<(RepoSlug, IssueNumber, RunId)> {
    let bytes = read_bounded(&root.record(worker).task(), MAX_RECORD).ok()??;
    let told: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let repo = told.get("repo")?.as_str()?.parse().ok()?;
    let issue = told.get("issue")?.as_u64()?.try_into().ok()?;
    Some((repo, issue, told.get("run")?.as_str()?.parse().ok()?))
}

/// Moves a record that cannot be read out of the way, whatever is in its place, and with it all
/// else of its run. Returns where it is now. Nothing is changed in it, and nobody removes it.
///
/// # Errors
/// When something cannot be moved; the record is then still there.
pub fn set_aside_task(root: &Root, lock: &WorkerLock, now: Timestamp) -> Result<PathBuf, Error> {
    let paths = root.record(lock.worker());
    let ending = format!("broken-{}", now.strftime("%Y%m%dT%H%M%S"));
    let mut aside = PathBuf::new();
    let of_run = [
        paths.scratch(),
        paths.log(),
        paths.egress_log(),
        paths.supervisor_log(),
        paths.request(),
        paths.prompt(),
        paths.config(),
    ];
    // The record goes last: without it the worker is idle.
    for from in of_run.into_iter().chain([paths.task()]) {
        let mut name = from.clone().into_os_string();
        name.push(format!(".{ending}"));
        aside = PathBuf::from(name);
        match rename_new(&from, &aside) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error("set aside", &from)(e)),
            Ok(()) => {}
        }
    }
    sync_dir(paths.dir()).map_err(io_error("sync", paths.dir()))?;
    Ok(aside)
}

/// Moves the finished run into the archive and frees the worker.
///
/// The order makes a crash harmless: first the archived record, then the log beside it, then the
/// removal of `task.json`. Doing it again after a crash writes the same names.
///
/// # Errors
/// When a step fails; `task.json` is then still there.
pub fn archive(root: &Root, lock: &WorkerLock, run: &Run) -> Result<(), Error> {
    let paths = root.record(lock.worker());
    let completed = paths.completed();
    make_private_dir(&completed)?;
    let stem = run.archive_stem();
    write_private(&completed.join(format!("{stem}.json")), &to_json(run)?)?;
    for (from, suffix) in [
        (paths.log(), "log"),
        (paths.egress_log(), "egress.log"),
        (paths.supervisor_log(), "supervisor.log"),
    ] {
        let to = completed.join(format!("{stem}.{suffix}"));
        // Most supervisors have nothing to say.
        let empty = std::fs::metadata(&from).is_ok_and(|m| m.len() == 0);
        if empty {
            remove_file(&from)?;
        } else {
            rename_file(&from, &to)?;
        }
    }
    for path in [paths.request(), paths.prompt(), paths.config(), paths.task()] {
        remove_file(&path)?;
    }
    sync_dir(paths.dir()).map_err(io_error("sync", paths.dir()))?;
    // Last: as long as the task is there, its commits are needed.
    remove_dir_all(&paths.scratch())
}

/// The archived record of a run, if it has got that far.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read_archived(root: &Root, run: &Run) -> Result<Option<Run>, Error> {
    let name = format!("{}.json", run.archive_stem());
    read_run(&root.record(&run.worker).completed().join(name))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn run(worker: &str, issue: Option<u64>, id: &str) -> Run {
        let issue = issue.map_or("null".to_owned(), |n| n.to_string());
        let json = format!(
            r#"{{"version":1,"run":"{id}","worker":"{worker}","kind":"implement","repo":"Octo/App",
            "issue":{issue},"prompt":null,"model":"sonnet","executor":"claude","branch":"issue-22",
            "base":"main","attempt":1,"phase":"running","phaseAt":"2026-11-21T07:15:00Z",
            "startedAt":"2026-11-21T07:15:00Z","pid":1,"pidStart":2,"bootId":"b","sessionId":null}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn worker() -> (tempfile::TempDir, Root, WorkerLock) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let id = "01".parse().unwrap();
        make_private_dir(root.record(&id).dir()).unwrap();
        let lock = WorkerLock::try_take(&root, &id).unwrap().unwrap();
        (dir, root, lock)
    }

    #[test]
    fn a_record_survives_a_round_trip_and_its_archive() {
        let (_dir, root, lock) = worker();
        let run = run("01", Some(22), "20261121T071500-7f3a");
        write_task(&root, &lock, &run).unwrap();
        assert_eq!(read_task(&root, lock.worker()).unwrap().unwrap(), run);
        let paths = root.record(lock.worker());
        std::fs::write(paths.log(), "x").unwrap();
        archive(&root, &lock, &run).unwrap();
        archive(&root, &lock, &run).unwrap();
        assert!(read_task(&root, lock.worker()).unwrap().is_none());
        let names = ["json", "log"].map(|s| format!("octo-app-22-20261121T071500-7f3a.{s}"));
        assert!(names.iter().all(|n| paths.completed().join(n).exists()));
    }

    #[test]
    fn what_cannot_be_read_is_broken_and_newer_is_named() {
        let (_dir, root, lock) = worker();
        let path = root.record(lock.worker()).task();
        for bad in ["", "{", "null", "{\"version\":1}", "\u{0}\u{1}", "{\"version\":0}"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(read_task(&root, lock.worker()), Err(Error::Broken { .. })), "{bad}");
        }
        std::fs::write(&path, "{\"version\":7}").unwrap();
        assert!(matches!(read_task(&root, lock.worker()), Err(Error::Newer { found: 7, .. })));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(read_task(&root, lock.worker()).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, " ".repeat(usize::try_from(MAX_RECORD + 1).unwrap())).unwrap();
        assert!(matches!(read_task(&root, lock.worker()), Err(Error::Broken { .. })));
    }
}
