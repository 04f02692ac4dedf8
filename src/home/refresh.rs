//! Templates and credentials again, for a home that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::furniture::{self, Furniture};
use super::lived::{Compared, Lived};
use super::staging::Staging;
use super::tree::{self, Tree};
use super::{Blueprint, Error, Report, furnish, mend};
use crate::domain::CredentialMode;

/// What differs in the home, by paths in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that were not there.
    pub added: Vec<PathBuf>,
    /// Files that were there and were not as they should be.
    pub changed: Vec<PathBuf>,
    /// Files that were placed earlier and come from nowhere any more.
    pub removed: Vec<PathBuf>,
    /// What was in the way: where it was, and where it is now.
    pub moved_aside: Vec<(PathBuf, PathBuf)>,
}

/// Everything that the home should have, ready beside it.
pub struct Ready<'a> {
    blueprint: &'a Blueprint<'a>,
    staging: Staging,
    files: BTreeSet<PathBuf>,
    placed: Furniture,
    report: Report,
}

/// Furnishes a directory beside the home, completely. The home is not touched; nobody may use it
/// from here to [`Ready::apply`].
///
/// # Errors
/// What a template, a value or the file system does not allow.
pub fn prepare<'a>(blueprint: &'a Blueprint<'a>) -> Result<Ready<'a>, Error> {
    tree::ensure_dir(blueprint.staging_parent)?;
    let placed = furniture::read(blueprint.furniture)?;
    let staging = Staging::begin_for(blueprint.home, blueprint.staging_parent, blueprint.worker)?;
    let mut tree = Tree::new(staging.path().to_owned());
    let mut report = furnish(blueprint, &mut tree)?;
    report.files = tree.finish()?;
    report.files.sort();
    if placed.is_none() {
        report.notes.push(
            "this home was made before it was written down what is placed in it: what came \
             earlier and is gone at its source stays"
                .to_owned(),
        );
    }
    let placed = placed.unwrap_or_default();
    if placed.credentials == CredentialMode::Copy && blueprint.mode == CredentialMode::Broker {
        report.notes.push(
            "credentials were in reach of this home's agents, who may have kept copies: renew the \
             token and the keys, or retire the worker and make a new one"
                .to_owned(),
        );
    }
    let files = report.files.iter().cloned().collect();
    Ok(Ready { blueprint, staging, files, placed, report })
}

impl Ready<'_> {
    fn changes(&self) -> Result<Changes, Error> {
        let home = Lived::open(self.blueprint.home)?;
        let mut changes = Changes::default();
        for file in &self.files {
            match home.compare(file, &self.staging.path().join(file)) {
                Compared::Same => {}
                Compared::Differs => changes.changed.push(file.clone()),
                Compared::Missing => changes.added.push(file.clone()),
            }
        }
        changes.removed = self.gone().into_iter().filter(|file| home.has(file)).collect();
        Ok(changes)
    }

    /// What was placed and comes from nowhere any more. What only could not be read today is not
    /// gone.
    fn gone(&self) -> BTreeSet<PathBuf> {
        let unsure = |file: &Path| self.report.unsure.iter().any(|top| file.starts_with(top));
        self.placed.files.difference(&self.files).filter(|file| !unsure(file)).cloned().collect()
    }

    /// Says what would change, and leaves the home as it is.
    ///
    /// # Errors
    /// When the home cannot be opened.
    pub fn only_look(mut self) -> Result<(Changes, Report), Error> {
        Ok((self.changes()?, std::mem::take(&mut self.report)))
    }

    /// Moves what differs into the home, file by file. An end at any point leaves every file old or
    /// new, and doing it again finishes.
    ///
    /// # Errors
    /// When the home or its record cannot be written.
    pub fn apply(mut self) -> Result<(Changes, Report), Error> {
        let mut changes = self.changes()?;
        let home = Lived::open(self.blueprint.home)?;
        // First what is or will be ours, so that a later run knows it however far this one gets.
        let ours = &self.placed.files | &self.files;
        // Only a home that is done with, and had nothing before either, counts as one that has nothing.
        let (before, after) = (self.placed.credentials, self.blueprint.mode);
        let credentials = if before == after { after } else { CredentialMode::Copy };
        let meanwhile = Furniture { credentials, files: ours.clone() };
        if meanwhile != self.placed {
            furniture::write(self.blueprint.furniture, &meanwhile)?;
        }
        mend::keep(self.blueprint.furniture, self.staging.path(), &self.files, after)?;
        // What goes makes room for what comes: a file may become a directory.
        for file in &changes.removed {
            home.remove(file)?;
        }
        for file in changes.changed.iter().chain(&changes.added) {
            changes.moved_aside.extend(home.put(file, &self.staging.path().join(file))?);
        }
        let left = Furniture { credentials: after, files: &ours - &self.gone() };
        if left != meanwhile {
            furniture::write(self.blueprint.furniture, &left)?;
        }
        let report = std::mem::take(&mut self.report);
        Ok((changes, report))
    }
}

/// The files that a home was given when it was made, for its record; `home` is where they are now.
pub(super) fn remember(
    blueprint: &Blueprint<'_>,
    home: &Path,
    made: &[PathBuf],
) -> Result<(), Error> {
    let link = |file: &Path| blueprint.links.iter().any(|(name, _)| file == Path::new(name));
    let files = made.iter().filter(|file| !link(file)).cloned().collect();
    mend::keep(blueprint.furniture, home, &files, blueprint.mode)?;
    furniture::write(blueprint.furniture, &Furniture { credentials: blueprint.mode, files })
}

/// How many clones a home holds, and about how many bytes. What cannot be read counts as nothing.
#[must_use]
pub fn size(home: &Path) -> (usize, u64) {
    let subdirs = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
    };
    let owners = subdirs(&home.join("github"));
    let clones = owners.iter().map(|owner| subdirs(owner).len()).sum();
    let (mut bytes, mut dirs) = (0, vec![home.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    (clones, bytes)
}
