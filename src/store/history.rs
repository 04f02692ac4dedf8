//! The archive, read.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::record::read_run;
use super::spread::{MANY, spread};
use super::{Error, Root, io_error, records, retired, workers, write_private};
use crate::domain::{IssueNumber, RepoSlug, Run, RunId, WorkerId};

/// The ending of the file beside a record that says: a person has cleared it.
const CLEARED: &str = "cleared";

/// Notes that a person has cleared the run: it is in no issue's way any more.
///
/// # Errors
/// When the note cannot be written.
pub fn mark_cleared(root: &Root, run: &Run) -> Result<(), Error> {
    let name = format!("{}.json", run.archive_stem());
    let mut all = records(root, &run.worker)?.into_iter().map(|r| r.completed().join(&name));
    let current = root.record(&run.worker).completed().join(&name);
    let record = all.find(|path| path.exists()).unwrap_or(current);
    write_private(&record.with_extension(CLEARED), b"")
}

/// An archived record that could not be read.
#[derive(Debug)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: Error,
}

impl Skipped {
    /// The run's id, if the name ends in one.
    #[must_use]
    pub fn run_id(&self) -> Option<RunId> {
        self.path.file_stem()?.to_str().and_then(run_id_at_end)
    }
}

/// What could be read of many records, and what could not.
pub type Read<T> = (Vec<T>, Vec<Skipped>);

/// A record in the archive, by its name; it has not been opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Whose archive it is in.
    pub worker: WorkerId,
    /// The archive.
    pub dir: PathBuf,
    /// What the names of its files begin with: `<owner>-<repo>-<issue|prompt>-<run>`.
    pub stem: String,
    /// Whether a person has cleared it.
    pub cleared: bool,
}

impl Archived {
    /// The file of this run with such an ending: `json`, `log`, `supervisor.log`.
    #[must_use]
    pub fn file(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", self.stem))
    }

    /// The run's id, if the name ends in one.
    #[must_use]
    pub fn run_id(&self) -> Option<RunId> {
        run_id_at_end(&self.stem)
    }

    /// Reads the record. `None`: it is gone.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<Option<Run>, Error> {
        let run = read_run(&self.file("json"))?;
        Ok(run.map(|run| Run { cleared: self.cleared, ..run }))
    }
}

/// The name, in the archive, of what an earlier run had left uncommitted when `run` began.
#[must_use]
pub fn patch_name(repo: &RepoSlug, run: &RunId) -> String {
    format!("{}-{}-leftovers-{run}.patch", repo.owner(), repo.name())
}

/// The name, in the archive, of what `run` had committed that was not allowed to be published.
#[must_use]
pub fn unpublished_name(repo: &RepoSlug, run: &RunId) -> String {
    format!("{}-{}-unpublished-{run}.patch", repo.owner(), repo.name())
}

/// The run's id at the end of the stem of a name in the archive.
#[must_use]
pub fn run_id_at_end(stem: &str) -> Option<RunId> {
    stem.get(stem.len().checked_sub(RunId::LEN)?..)?.parse().ok()
}

/// The records of the archive by their names; of one worker if `only` names it.
///
/// # Errors
/// When the root, or an archive that is there, cannot be listed.
pub fn archived(root: &Root, only: Option<&WorkerId>) -> Result<Vec<Archived>, Error> {
    let mut archives = archives(root)?;
    archives.retain(|(worker, _)| only.is_none_or(|only| only == worker));
    let mut all = Vec::new();
    for listed in spread(&archives, MANY_LISTS, |(worker, dir)| list(worker, dir)) {
        all.append(&mut listed?);
    }
    Ok(all)
}

/// Fewer archives are not worth a second thread.
const MANY_LISTS: usize = 8;

/// Every archive there is, and whose it is; those of retired workers too.
fn archives(root: &Root) -> Result<Vec<(WorkerId, PathBuf)>, Error> {
    let there = workers::recorded(root)?.into_iter().map(|id| (id.clone(), root.record(&id)));
    let all = there.chain(retired(root, None)?);
    Ok(all.map(|(id, record)| (id, record.completed())).collect())
}

fn list(worker: &WorkerId, dir: &Path) -> Result<Vec<Archived>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("list", dir)(e)),
    };
    let (mut all, mut cleared) = (Vec::new(), HashSet::new());
    for name in entries.flatten().filter_map(|e| e.file_name().into_string().ok()) {
        if let Some(stem) = name.strip_suffix(".json") {
            let (worker, dir, stem) = (worker.clone(), dir.to_owned(), stem.to_owned());
            all.push(Archived { worker, dir, stem, cleared: false });
        } else if let Some(stem) = name.strip_suffix(".cleared") {
            cleared.insert(stem.to_owned());
        }
    }
    for one in &mut all {
        one.cleared = cleared.contains(&one.stem);
    }
    Ok(all)
}

/// All finished runs, oldest first; of one worker if `only` names it. What cannot be read is
/// returned beside them.
///
/// # Errors
/// When the root cannot be listed.
pub fn completed(root: &Root, only: Option<&WorkerId>) -> Result<Read<Run>, Error> {
    completed_since(root, only, None)
}

/// The finished runs that may have been started at or after a time, oldest first; records that are
/// older by their names are not opened.
///
/// # Errors
/// As for [`completed`].
pub fn completed_since(
    root: &Root,
    only: Option<&WorkerId>,
    since: Option<Timestamp>,
) -> Result<Read<Run>, Error> {
    let mut listed = archived(root, only)?;
    leave_out_older(&mut listed, since);
    let (mut runs, broken) = read_all(&listed, Archived::read);
    in_order(&mut runs);
    Ok((runs, broken))
}

/// Oldest first.
fn in_order(runs: &mut [Run]) {
    // The id is no finer than a second.
    runs.sort_by(|a, b| (a.started_at, &a.run).cmp(&(b.started_at, &b.run)));
}

/// The finished runs of one issue on this machine, oldest first.
///
/// # Errors
/// When the root cannot be listed, or one of the records cannot be read: "never tried" would be a
/// wrong answer then.
pub fn completed_of_issue(
    root: &Root,
    repo: &RepoSlug,
    issue: IssueNumber,
) -> Result<Vec<Run>, Error> {
    let (runs, broken) = completed_of_issues(root, &BTreeSet::from([(repo.clone(), issue)]))?;
    broken.into_iter().next().map_or(Ok(runs), |broken| Err(broken.why))
}

/// The finished runs of some issues on this machine, oldest first. What cannot be read is returned
/// beside them.
///
/// # Errors
/// When the root cannot be listed.
pub fn completed_of_issues(
    root: &Root,
    issues: &BTreeSet<(RepoSlug, IssueNumber)>,
) -> Result<Read<Run>, Error> {
    let prefix = |(repo, issue): &(RepoSlug, IssueNumber)| {
        format!("{}-{}-{issue}-", repo.owner(), repo.name())
    };
    let prefixes: Vec<String> = issues.iter().map(prefix).collect();
    let mut listed = archived(root, None)?;
    listed.retain(|one| prefixes.iter().any(|prefix| one.stem.starts_with(prefix)));
    let (mut runs, broken) = read_all(&listed, Archived::read);
    // `a-b/c` and `a/b-c` share a prefix.
    runs.retain(|run| run.issue.is_some_and(|n| issues.contains(&(run.repo.clone(), n))));
    in_order(&mut runs);
    Ok((runs, broken))
}

/// The finished runs, in no order, by the names of their files alone: id, worker, and repository and
/// issue as they are written there (`octo-app-22`). What cannot be listed has none.
#[must_use]
pub fn names_of_completed(root: &Root) -> Vec<(RunId, WorkerId, String)> {
    let name = |one: Archived| {
        let (run, end) = (one.run_id()?, one.stem.len() - RunId::LEN);
        Some((run, one.worker, one.stem[..end].strip_suffix('-')?.to_owned()))
    };
    let archives = archives(root).unwrap_or_default().into_iter();
    let listed = archives.flat_map(|(worker, dir)| list(&worker, &dir).unwrap_or_default());
    listed.filter_map(name).collect()
}

pub(super) fn leave_out_older(listed: &mut Vec<Archived>, since: Option<Timestamp>) {
    // A run's id and its start are of one reading of the clock, and ids sort by time.
    let Some(oldest) = since.map(|at| RunId::new(at, 0)) else { return };
    listed.retain(|one| one.run_id().is_none_or(|id| id >= oldest));
}

pub(super) fn read_all<T: Send>(
    listed: &[impl Borrow<Archived> + Sync],
    read: impl Fn(&Archived) -> Result<Option<T>, Error> + Sync,
) -> Read<T> {
    let (mut all, mut broken) = (Vec::with_capacity(listed.len()), Vec::new());
    for (one, read) in listed.iter().zip(spread(listed, MANY, |one| read(one.borrow()))) {
        match read {
            Ok(read) => all.extend(read),
            Err(why) => broken.push(Skipped { path: one.borrow().file("json"), why }),
        }
    }
    (all, broken)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::run;
    use super::super::{WorkerLock, archive, make_private_dir};
    use super::*;

    #[test]
    fn runs_come_oldest_first_and_broken_records_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        for (worker, id) in [("02", "20261121T071500-0002"), ("01", "20261121T071600-0001")] {
            let worker_id: WorkerId = worker.parse().unwrap();
            make_private_dir(root.record(&worker_id).dir()).unwrap();
            let lock = WorkerLock::try_take(&root, &worker_id).unwrap().unwrap();
            archive(&root, &lock, &run(worker, Some(22), id)).unwrap();
        }
        let completed_dir = root.record(&"01".parse().unwrap()).completed();
        std::fs::write(completed_dir.join("octo-app-22-x.json"), "{").unwrap();
        let (runs, skipped) = completed(&root, None).unwrap();
        let ids: Vec<_> = runs.iter().map(|r| r.run.as_str()).collect();
        assert_eq!(ids, ["20261121T071500-0002", "20261121T071600-0001"]);
        assert_eq!(skipped.len(), 1);
        let mut names = names_of_completed(&root);
        names.sort();
        let names: Vec<_> = names.iter().map(|(r, w, s)| format!("{r} {w} {s}")).collect();
        assert_eq!(
            names,
            ["20261121T071500-0002 02 octo-app-22", "20261121T071600-0001 01 octo-app-22"]
        );
        let repo = "octo/app".parse().unwrap();
        let of = |n: u64| completed_of_issue(&root, &repo, n.try_into().unwrap());
        assert!(of(22).unwrap_err().to_string().contains("octo-app-22-x.json"));
        assert_eq!(of(2).unwrap().len(), 0);
        std::fs::remove_file(completed_dir.join("octo-app-22-x.json")).unwrap();
        assert_eq!(of(22).unwrap().len(), 2);
        let only = "01".parse().unwrap();
        assert_eq!(completed(&root, Some(&only)).unwrap().0.len(), 1);
    }
}
