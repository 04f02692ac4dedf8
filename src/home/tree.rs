//! Writing a home: modes that do not depend on the umask, and everything on the disk at the end.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::source;

/// Only the owner may enter.
pub(super) const PRIVATE_DIR: u32 = 0o700;
/// Only the owner may read.
const PRIVATE: u32 = 0o600;

/// A tree that is being filled. All paths are relative to its root.
pub(super) struct Tree {
    root: PathBuf,
    dirs: BTreeSet<PathBuf>,
    made: Vec<PathBuf>,
}

impl Tree {
    /// A tree in a directory that exists and is ours alone.
    pub fn new(root: PathBuf) -> Self {
        Self { root, dirs: BTreeSet::new(), made: Vec::new() }
    }

    /// Whether something of this name was made.
    pub fn has(&self, relative: &Path) -> bool {
        fs::symlink_metadata(self.root.join(relative)).is_ok()
    }

    /// Makes a directory and those above it.
    pub fn dir(&mut self, relative: &Path) -> Result<(), Error> {
        let mut path = PathBuf::new();
        for part in relative {
            path.push(part);
            if self.dirs.contains(&path) {
                continue;
            }
            let full = self.root.join(&path);
            private_dir(&full).map_err(Error::io("make the directory", &full))?;
            self.dirs.insert(path.clone());
        }
        Ok(())
    }

    /// Writes a file that was not there.
    pub fn write(&mut self, relative: &Path, text: &str, executable: bool) -> Result<(), Error> {
        let full = self.place(relative)?;
        let mode = mode(executable);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&full)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                settle(&file, mode)
            })
            .map_err(Error::io("write", &full))?;
        self.made.push(relative.to_owned());
        Ok(())
    }

    /// Copies an open file to where none was. `from` is its name, for messages.
    pub fn copy(&mut self, relative: &Path, file: &File, from: &Path) -> Result<(), Error> {
        let full = self.place(relative)?;
        let executable = file.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0);
        // By its descriptor: the name may lead somewhere else by now.
        fs_extra::file::copy(source::descriptor(file), &full, &fs_extra::file::CopyOptions::new())
            .map_err(|source| Error::Copy { path: from.to_owned(), source })?;
        File::open(&full)
            .and_then(|file| settle(&file, mode(executable)))
            .map_err(Error::io("write", &full))?;
        self.made.push(relative.to_owned());
        Ok(())
    }

    /// Makes a symbolic link.
    pub fn link(&mut self, relative: &Path, target: &Path) -> Result<(), Error> {
        let full = self.place(relative)?;
        symlink(target, &full).map_err(Error::io("make the link", &full))?;
        self.made.push(relative.to_owned());
        Ok(())
    }

    /// Brings the directories to the disk (the files are there already) and says what was made.
    pub fn finish(self) -> Result<Vec<PathBuf>, Error> {
        for dir in self.dirs.iter().rev() {
            sync_dir(&self.root.join(dir))?;
        }
        sync_dir(&self.root)?;
        Ok(self.made)
    }

    fn place(&mut self, relative: &Path) -> Result<PathBuf, Error> {
        if let Some(parent) = relative.parent() {
            self.dir(parent)?;
        }
        Ok(self.root.join(relative))
    }
}

fn mode(executable: bool) -> u32 {
    if executable { PRIVATE_DIR } else { PRIVATE }
}

fn settle(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(PRIVATE_DIR).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(PRIVATE_DIR))
}

/// Makes a directory, and those above it, private to the user; one that exists stays as it is.
pub(super) fn ensure_dir(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        ensure_dir(parent)?;
    }
    match private_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("make the directory", path)(e))
        }
        _ => Ok(()),
    }
}

/// Brings a directory's list of names to the disk.
pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("bring to the disk", path))
}
