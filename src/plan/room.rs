//! Whether there is room on the disks for another run.
//!
//! A run needs what is to stay free anyway, for the agent and what it builds, and whatever of mirror
//! and clone is not there yet. What these take is known only by the size of the repository as it is
//! stored, packed: the mirror takes as much, and the clone, which borrows the mirror's objects and
//! holds one version of the files unpacked, is reckoned at [`CLONE_TIMES`] that.

use std::collections::BTreeMap;

/// How many times a repository's size its clone is reckoned to take.
pub const CLONE_TIMES: u64 = 2;

/// How many files can be made where a run is admitted. How many a repository holds nobody knows
/// before it is there.
pub const FILES: u64 = 10_000;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Tells it from others.
    pub device: u64,
    /// Bytes that this user may still write.
    pub bytes: u64,
    /// Files that may still be made; `None`: it does not count them.
    pub files: Option<u64>,
}

impl Disk {
    /// From what the kernel says. File systems that make room for files as they need it (btrfs) say
    /// that they have room for none at all.
    #[must_use]
    pub fn new(device: u64, bytes: u64, files_in_all: u64, files: u64) -> Self {
        Self { device, bytes, files: (files_in_all > 0).then_some(files) }
    }
}

/// What decides how much room a run needs. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// What is to be free wherever a run writes, whatever it is about.
    pub floor: u64,
    /// The size of its repository, packed; `None`: nobody knows.
    pub repository: Option<u64>,
    /// Whether the repository's mirror is there.
    pub mirror: bool,
    /// Whether the worker's clone is there.
    pub clone: bool,
}

/// What a run will take beyond the floor, by file system.
pub type Takes = BTreeMap<u64, u64>;

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// On which file system.
    pub device: u64,
    /// Of what.
    pub of: Of,
    /// How much of it is free.
    pub free: u64,
    /// How much is needed.
    pub needed: u64,
}

/// What there can be too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Bytes.
    Bytes,
    /// Files that can be made.
    Files,
}

/// Admits a run whose records and mirror are on `state` and whose home is on `home`, or says what is
/// missing. `promised`: what runs that were admitted just now will take, and have not yet. What this
/// one will take is returned.
///
/// # Errors
/// What is missing, of the first that is.
pub fn admit(state: &Disk, home: &Disk, wants: &Wants, promised: &Takes) -> Result<Takes, Short> {
    let size = wants.repository.unwrap_or(0);
    let mirror = if wants.mirror { 0 } else { size };
    let clone = if wants.clone { 0 } else { size.saturating_mul(CLONE_TIMES) };
    let mut takes = Takes::new();
    for (disk, more) in [(state, mirror), (home, clone)] {
        let sum = takes.entry(disk.device).or_insert(0);
        *sum = more.saturating_add(*sum);
    }
    for disk in [state, home] {
        let device = disk.device;
        let of = |takes: &Takes| takes.get(&device).copied().unwrap_or(0);
        let needed = wants.floor.saturating_add(of(&takes)).saturating_add(of(promised));
        if disk.bytes < needed {
            return Err(Short { device, of: Of::Bytes, free: disk.bytes, needed });
        }
        if let Some(free) = disk.files.filter(|files| *files < FILES) {
            return Err(Short { device, of: Of::Files, free, needed: FILES });
        }
    }
    Ok(takes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: u64 = 1_000;
    const A: u64 = 7;
    const B: u64 = 8;

    fn disk(device: u64, bytes: u64) -> Disk {
        Disk::new(device, bytes, 1 << 20, FILES)
    }

    fn wants(repository: Option<u64>, mirror: bool, clone: bool) -> Wants {
        Wants { floor: FLOOR, repository, mirror, clone }
    }

    #[test]
    fn a_run_needs_the_floor_and_what_is_not_there_yet() {
        // The repository's size, whether mirror and clone are there; what is needed where all is on
        // one disk, and what of it for state and home where they are on two.
        let cases = [
            (None, false, false, 1_000, (1_000, 1_000)),
            (Some(0), false, false, 1_000, (1_000, 1_000)),
            (Some(50), true, true, 1_000, (1_000, 1_000)),
            (Some(50), true, false, 1_100, (1_000, 1_100)),
            (Some(50), false, true, 1_050, (1_050, 1_000)),
            (Some(50), false, false, 1_150, (1_050, 1_100)),
        ];
        for (size, mirror, clone, one, (state, home)) in cases {
            let wants = wants(size, mirror, clone);
            let try_it = |at: [(u64, u64); 2]| {
                let [state, home] = at.map(|(device, bytes)| disk(device, bytes));
                admit(&state, &home, &wants, &Takes::new()).map(drop)
            };
            let short =
                |device, needed| Err(Short { device, of: Of::Bytes, free: needed - 1, needed });
            assert_eq!(try_it([(A, one), (A, one)]), Ok(()), "{wants:?}");
            assert_eq!(try_it([(A, one - 1), (A, one - 1)]), short(A, one), "{wants:?}");
            assert_eq!(try_it([(A, state), (B, home)]), Ok(()), "{wants:?}");
            assert_eq!(try_it([(A, state - 1), (B, home)]), short(A, state), "{wants:?}");
            assert_eq!(try_it([(A, state), (B, home - 1)]), short(B, home), "{wants:?}");
        }
        let all = admit(
            &disk(A, u64::MAX - 1),
            &disk(A, u64::MAX - 1),
            &wants(Some(u64::MAX), false, false),
            &Takes::new(),
        );
        assert_eq!(all.unwrap_err().needed, u64::MAX);
    }

    #[test]
    fn what_was_admitted_just_now_counts_on_its_disk() {
        let wants = wants(Some(50), false, false);
        let mut promised = admit(&disk(A, 9_999), &disk(B, 9_999), &wants, &Takes::new()).unwrap();
        assert_eq!(promised, Takes::from([(A, 50), (B, 100)]));
        let next = |a, promised: &Takes| admit(&disk(A, a), &disk(B, 1_200), &wants, promised);
        assert_eq!(next(1_100, &promised), Ok(promised.clone()));
        assert_eq!(next(1_099, &promised).unwrap_err().device, A);
        promised.insert(B, 101);
        assert_eq!(next(1_100, &promised).unwrap_err().device, B);
    }

    #[test]
    fn files_count_where_they_are_counted() {
        let try_it = |in_all, files| {
            let disk = Disk::new(A, FLOOR, in_all, files);
            admit(&disk, &disk, &wants(None, true, true), &Takes::new()).map(drop)
        };
        let short = |free| Err(Short { device: A, of: Of::Files, free, needed: FILES });
        assert_eq!(try_it(FILES, FILES), Ok(()));
        assert_eq!(try_it(FILES, FILES - 1), short(FILES - 1));
        assert_eq!(try_it(1, 0), short(0));
        assert_eq!(try_it(0, 0), Ok(()), "it does not count them");
    }
}
