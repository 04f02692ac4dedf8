//! The finished runs as a list shows them, and the memory that spares a list the reading of records.
//!
//! An archive of many runs has a file beside the records that holds their lines. It cannot lie: a
//! line counts only for a record of the same name that is still the very file it was made from, and
//! unchanged ([`Stamp`]). Whatever else is wrong with the memory, the records are read, and it is made
//! again.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::history::{Archived, Read, archived, leave_out_older, read_all};
use super::line::Line;
use super::record::read_slim;
use super::spread::{MANY, spread};
use super::{Error, Root, read_bounded, write_memory};
use crate::domain::WorkerId;

/// The runs that the archive holds, by record and line, in no order; otherwise as
/// [`completed`](super::completed). Every record is read.
///
/// # Errors
/// As for [`completed`](super::completed).
pub fn archived_lines(root: &Root) -> Result<Read<(Archived, Line)>, Error> {
    let read = |one: &Archived| Ok(read_line(one)?.map(|line| (one.clone(), line)));
    Ok(read_all(&archived(root, None)?, read))
}

fn read_line(one: &Archived) -> Result<Option<Line>, Error> {
    read_slim(&one.file("json"))
}

/// The finished runs as lines, oldest first; otherwise as
/// [`completed_since`](super::completed_since). What had to be read is remembered.
///
/// # Errors
/// As for [`completed`](super::completed).
pub fn completed_lines(
    root: &Root,
    only: Option<&WorkerId>,
    since: Option<Timestamp>,
) -> Result<Read<Line>, Error> {
    let mut listed = archived(root, only)?;
    leave_out_older(&mut listed, since);
    let archives: Vec<&[Archived]> = listed.chunk_by(|a, b| a.dir == b.dir).collect();
    let at_once = if listed.len() < MANY { usize::MAX } else { 2 };
    // Who has looked at a part only does not know what else is to be remembered.
    let whole = since.is_none();
    let (mut lines, mut broken) = (Vec::with_capacity(listed.len()), Vec::new());
    for (its, unread) in spread(&archives, at_once, |archive| lines_of(archive, whole)) {
        lines.extend(its);
        broken.extend(unread);
    }
    // By keys: lines are long, and to move them about takes longer than to copy the ids.
    lines.sort_by_cached_key(|line| (line.started_at, line.run.clone()));
    Ok((lines, broken))
}

/// The lines of one archive, or of a part of it.
fn lines_of(archive: &[Archived], whole: bool) -> Read<Line> {
    let Some(path) = archive.first().map(|one| one.dir.join(MEMORY)) else {
        return Read::default();
    };
    if archive.len() <= FEW {
        return read_all(archive, read_line);
    }
    let mut before = recall(&path);
    let mut lines = HashMap::with_capacity(archive.len());
    let mut unknown = Vec::new();
    for one in archive {
        match before.remove_entry(&one.stem) {
            Some((stem, known)) if known.is_of(one) => {
                lines.insert(stem, known);
            }
            _ => unknown.push(one),
        }
    }
    let (read, broken) = read_all(&unknown, |one| {
        // Before it is read: what changes in between must not look like what was read.
        let stamp = Stamp::of(one);
        Ok(read_line(one)?.map(|line| (one.stem.clone(), Known(stamp, line))))
    });
    // What is left is of records that are gone.
    let outdated = read.len().max(before.len()) > FEW;
    lines.extend(read);
    if whole && outdated {
        lines = remember(&path, lines);
    }
    (lines.into_values().map(|Known(_, line)| line).collect(), broken)
}

/// The name, in an archive, of the memory of its lines. It does not end as those of records do, for
/// which programs that do not know it would take it.
const MEMORY: &str = ".lines";

/// So many records are read as fast as a memory of them.
const FEW: usize = 32;

/// No memory that is worth it comes near this size.
const MAX_MEMORY: u64 = 1 << 26;

/// What tells one state of a file from every other: inode, size, and when it last changed, in
/// seconds and nanoseconds. The inode alone would be another's after the next two renames, and what a
/// person does with an editor can leave it as it is; nobody can set the time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp(u64, u64, i64, i64);

impl Stamp {
    fn of(one: &Archived) -> Option<Self> {
        let meta = std::fs::symlink_metadata(one.file("json")).ok()?;
        Some(Self(meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
    }
}

/// A line, and the record that it was made from.
#[derive(Debug, Serialize, Deserialize)]
struct Known(Option<Stamp>, Line);

impl Known {
    fn is_of(&self, one: &Archived) -> bool {
        self.0.is_some() && self.0 == Stamp::of(one)
    }
}

/// The memory as the file holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    version: u32,
    /// Another program may make other lines of the same records.
    program: String,
    /// By the stems of their records' names.
    lines: HashMap<String, Known>,
}

/// To be raised whenever a line comes to say something else of the same record.
const VERSION: u32 = 1;
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// What is remembered; nothing, if that cannot be read.
fn recall(path: &Path) -> HashMap<String, Known> {
    let read = read_bounded(path, MAX_MEMORY).ok().flatten();
    let memory = read.and_then(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
    let ours = memory.filter(|m| m.version == VERSION && m.program == PROGRAM);
    ours.map(|memory| memory.lines).unwrap_or_default()
}

/// Remembers the lines, if that is possible, and returns them.
fn remember(path: &Path, lines: HashMap<String, Known>) -> HashMap<String, Known> {
    let memory = Memory { version: VERSION, program: PROGRAM.into(), lines };
    if let Ok(bytes) = serde_json::to_vec(&memory) {
        // Who may not write here reads the records the next time, too.
        let _ = write_memory(path, &bytes);
    }
    memory.lines
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::super::record::tests::run;
    use super::super::{make_private_dir, write_private};
    use super::*;
    use crate::domain::{Ended, Outcome};

    /// An archive that is worth a memory.
    struct Archive {
        _dir: tempfile::TempDir,
        root: Root,
        at: PathBuf,
    }

    impl Archive {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::new(dir.path().to_owned());
            let at = root.record(&"01".parse().unwrap()).completed();
            make_private_dir(&at).unwrap();
            let archive = Self { _dir: dir, root, at };
            (0..=FEW).for_each(|nth| archive.write(nth, "2 commits"));
            archive
        }

        fn record(&self, nth: usize) -> PathBuf {
            self.at.join(format!("octo-app-22-20261121T071500-{nth:04x}.json"))
        }

        fn stamp(&self, nth: usize) -> Stamp {
            let name = self.record(nth).file_stem().unwrap().to_str().unwrap().to_owned();
            let all = archived(&self.root, None).unwrap();
            Stamp::of(all.iter().find(|one| one.stem == name).unwrap()).unwrap()
        }

        fn json(nth: usize, why: &str) -> Vec<u8> {
            let mut run = run("01", Some(22), &format!("20261121T071500-{nth:04x}"));
            let outcome = Outcome::Succeeded;
            run.ended = Some(Ended { outcome, why: why.into() });
            serde_json::to_vec(&run).unwrap()
        }

        /// As runs are archived.
        fn write(&self, nth: usize, why: &str) {
            write_private(&self.record(nth), &Self::json(nth, why)).unwrap();
        }

        fn memory(&self) -> PathBuf {
            self.at.join(MEMORY)
        }

        /// Gives remembered lines other words, so that it shows which are taken from there.
        fn tell_apart(&self) {
            let text = fs::read_to_string(self.memory()).unwrap();
            fs::write(self.memory(), text.replace("2 commits", "remembered")).unwrap();
        }

        fn read(&self, since: Option<Timestamp>) -> Read<Line> {
            completed_lines(&self.root, None, since).unwrap()
        }

        /// What is said of each run, by the number of the run; and how many cannot be read.
        fn said(&self) -> (Vec<String>, usize) {
            let (lines, broken) = self.read(None);
            (lines.into_iter().map(|line| line.summary).collect(), broken.len())
        }
    }

    #[test]
    fn what_is_remembered_is_what_the_records_say() {
        let archive = Archive::new();
        let (read, _) = archive.read(None);
        assert_eq!(read.len(), FEW + 1);
        assert_eq!(fs::metadata(archive.memory()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(archive.read(None).0, read);
        archive.tell_apart();
        assert_eq!(archive.said(), (vec!["remembered".to_owned(); FEW + 1], 0));
        let (all, _) = archived_lines(&archive.root).unwrap();
        assert!(all.iter().all(|(_, line)| line.summary == "2 commits"));
    }

    #[test]
    fn a_record_that_was_changed_in_any_way_is_read_again() {
        let archive = Archive::new();
        archive.said();
        archive.tell_apart();
        let mut wanted = vec!["remembered".to_owned(); FEW + 1];
        archive.write(0, "9 commits");
        // As an editor may do it: the inode stays, and here the size, too. Only the clock of the disk
        // tells, which ticks every few milliseconds.
        let before = archive.stamp(1);
        while archive.stamp(1) == before {
            fs::write(archive.record(1), Archive::json(1, "8 commits")).unwrap();
        }
        // Perhaps the inode that was just freed.
        fs::remove_file(archive.record(2)).unwrap();
        archive.write(2, "70 commits");
        for (nth, says) in ["9 commits", "8 commits", "70 commits"].into_iter().enumerate() {
            says.clone_into(&mut wanted[nth]);
        }
        assert_eq!(archive.said(), (wanted, 0));
    }

    #[test]
    fn a_removed_record_is_gone_and_a_new_one_is_there() {
        let archive = Archive::new();
        archive.said();
        archive.tell_apart();
        fs::remove_file(archive.record(0)).unwrap();
        archive.write(FEW + 1, "new");
        let (said, _) = archive.said();
        assert_eq!(said[..FEW], vec!["remembered"; FEW]);
        assert_eq!(said[FEW..], ["new"]);
        // A handful is not worth another memory, many are.
        assert!(!fs::read_to_string(archive.memory()).unwrap().contains("new"));
        (FEW + 2..=2 * FEW + 2).for_each(|nth| archive.write(nth, "new"));
        archive.said();
        let memory = fs::read_to_string(archive.memory()).unwrap();
        assert_eq!(memory.matches("new").count(), FEW + 2);
        assert!(!memory.contains("071500-0000"));
        (1..=FEW + 1).for_each(|nth| fs::remove_file(archive.record(nth)).unwrap());
        (2 * FEW + 3..=3 * FEW + 3).for_each(|nth| archive.write(nth, "later"));
        assert_eq!(archive.said().0.len(), 2 * FEW + 2);
        assert!(!fs::read_to_string(archive.memory()).unwrap().contains("remembered"));
    }

    #[test]
    fn what_cannot_be_read_is_said_every_time() {
        let archive = Archive::new();
        archive.said();
        archive.tell_apart();
        fs::write(archive.record(0), "{").unwrap();
        fs::remove_file(archive.record(1)).unwrap();
        symlink(archive.record(2), archive.record(1)).unwrap();
        for _ in 0..2 {
            assert_eq!(archive.said(), (vec!["remembered".to_owned(); FEW - 1], 2));
        }
        let broken = |nth| fs::write(archive.record(nth), "{\"version\":9}").unwrap();
        (0..=FEW).for_each(broken);
        for _ in 0..2 {
            assert_eq!(archive.said(), (Vec::new(), FEW + 1));
        }
    }

    #[test]
    fn a_memory_that_cannot_be_used_is_made_again() {
        let archive = Archive::new();
        let right = archive.read(None);
        let whole = fs::read(archive.memory()).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        let version = format!("\"version\":{VERSION}");
        for bad in [
            &b""[..],
            b"{",
            b"null",
            b"\0\xff",
            &whole[..whole.len() / 2],
            text.replace(&version, "\"version\":2").as_bytes(),
            text.replace(PROGRAM, "99.0.0").as_bytes(),
            text.replace("\"worker\":\"01\"", "\"worker\":\"../../x\"").as_bytes(),
            text.replace("\"lines\":", "\"lines\":[],\"lines\":").as_bytes(),
        ] {
            let bad = String::from_utf8_lossy(bad).replace("2 commits", "remembered");
            fs::write(archive.memory(), &bad).unwrap();
            assert_eq!(archive.read(None).0, right.0, "{bad}");
            assert_eq!(fs::read(archive.memory()).unwrap().len(), whole.len());
        }
    }

    #[test]
    fn a_memory_that_can_be_neither_read_nor_written_is_nobodys_trouble() {
        let archive = Archive::new();
        let elsewhere = archive.root.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        symlink(&elsewhere, archive.memory()).unwrap();
        assert_eq!(archive.said().1, 0);
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
        fs::remove_file(archive.memory()).unwrap();
        fs::create_dir(archive.memory()).unwrap();
        assert_eq!(archive.said(), (vec!["2 commits".to_owned(); FEW + 1], 0));
        let left = fs::read_dir(&archive.at).unwrap().count();
        assert_eq!(left, FEW + 2);
    }

    #[test]
    fn who_asks_for_a_part_uses_the_memory_and_leaves_it() {
        let archive = Archive::new();
        let since = Some("2026-11-01T00:00:00Z".parse().unwrap());
        assert_eq!(archive.read(since).0.len(), FEW + 1);
        assert!(!archive.memory().exists());
        archive.said();
        archive.tell_apart();
        assert!(archive.read(since).0.iter().all(|line| line.summary == "remembered"));
    }
}
