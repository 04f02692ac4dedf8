//! The archive, read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::record::read_run;
use super::{Error, Root, records, retired, workers, write_private};
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

/// All finished runs, oldest first; of one worker if `only` names it. What cannot be read is
/// returned beside them.
///
/// # Errors
/// When the root cannot be listed.
pub fn completed(root: &Root, only: Option<&WorkerId>) -> Result<(Vec<Run>, Vec<Skipped>), Error> {
    collect(root, only, |_| true)
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
) -> Result<(Vec<Run>, Vec<Skipped>), Error> {
    let prefix = |(repo, issue): &(RepoSlug, IssueNumber)| {
        format!("{}-{}-{issue}-", repo.owner(), repo.name())
    };
    let prefixes: Vec<String> = issues.iter().map(prefix).collect();
    let (mut runs, broken) =
        collect(root, None, |name| prefixes.iter().any(|prefix| name.starts_with(prefix)))?;
    // `a-b/c` and `a/b-c` share a prefix.
    runs.retain(|run| run.issue.is_some_and(|n| issues.contains(&(run.repo.clone(), n))));
    Ok((runs, broken))
}

/// The finished runs, in no order, by the names of their files alone: id, worker, and repository and
/// issue as they are written there (`octo-app-22`). What cannot be listed has none.
#[must_use]
pub fn names_of_completed(root: &Root) -> Vec<(RunId, WorkerId, String)> {
    let mut names = Vec::new();
    let present = workers::recorded(root).unwrap_or_default().into_iter();
    let present = present.map(|worker| (root.record(&worker), worker));
    let retired = retired(root, None).unwrap_or_default().into_iter();
    for (record, worker) in present.chain(retired.map(|(worker, record)| (record, worker))) {
        for path in records_in(&record.completed(), |_| true) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            // `<owner>-<repo>-<issue|prompt>-<date>-<salt>`
            let Some((what, salt)) = stem.rsplit_once('-') else { continue };
            let Some((what, date)) = what.rsplit_once('-') else { continue };
            if let Ok(run) = format!("{date}-{salt}").parse() {
                names.push((run, worker.clone(), what.to_owned()));
            }
        }
    }
    names
}

fn collect(
    root: &Root,
    only: Option<&WorkerId>,
    wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<Run>, Vec<Skipped>), Error> {
    let (mut runs, mut broken) = (Vec::new(), Vec::new());
    let there = workers::recorded(root)?.into_iter().filter(|id| only.is_none_or(|o| o == id));
    let there = there.map(|id| root.record(&id));
    for record in there.chain(retired(root, only)?.into_iter().map(|(_, record)| record)) {
        for path in records_in(&record.completed(), &wanted) {
            match read_run(&path) {
                Ok(Some(mut run)) => {
                    run.cleared = path.with_extension(CLEARED).exists();
                    runs.push(run);
                }
                Ok(None) => {}
                Err(why) => broken.push(Skipped { path, why }),
            }
        }
    }
    // The id is no finer than a second.
    runs.sort_by(|a, b| (a.started_at, &a.run).cmp(&(b.started_at, &b.run)));
    Ok((runs, broken))
}

fn records_in(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.ends_with(".json") && wanted(n)))
        .map(|e| e.path())
        .collect()
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
