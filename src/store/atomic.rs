//! Whole files or nothing, and readable by their owner only.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Error, io_error};
use crate::failpoint::Trouble::Disk;
use crate::failpoint::{around, place};

/// What the names of files begin with that are not whole yet.
pub const TEMPORARY: &str = ".write-";

/// Writes a file of mode 0600 so that a crash leaves the old one or the new one: a temporary file
/// in the same directory, fsync, rename, fsync of the directory.
///
/// # Errors
/// When any of these steps fails; the old file is untouched then.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    replace(path, content, true)
}

/// The same for what can be made again: who reads it sees the old one or the new one, but after a
/// crash of the machine it may be anything.
///
/// # Errors
/// As for [`write_private`].
pub(super) fn write_memory(path: &Path, content: &[u8]) -> Result<(), Error> {
    replace(path, content, false)
}

fn replace(path: &Path, content: &[u8], durable: bool) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(dir)?;
        file.write_all(content)?;
        if durable {
            file.as_file().sync_all()?;
        }
        Ok(file)
    };
    let replace = |file: tempfile::NamedTempFile| {
        file.persist(path).map_err(|e| e.error)?;
        if durable { sync_dir(dir) } else { Ok(()) }
    };
    around(Disk, || format!("write {}", place(path)), write)
        .and_then(|file| around(Disk, || format!("replace {}", place(path)), || replace(file)))
        .map_err(io_error("write", path))
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Renames to a name that is free.
///
/// # Errors
/// `AlreadyExists` if it is not; else what the file system says.
pub(crate) fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Some network file systems do not know the flag. A plain rename replaces at most an
        // empty directory.
        Err(Errno::EINVAL | Errno::ENOSYS) if std::fs::symlink_metadata(to).is_err() => {
            std::fs::rename(from, to)
        }
        Err(Errno::EINVAL | Errno::ENOSYS) => Err(ErrorKind::AlreadyExists.into()),
        other => Ok(other?),
    }
}

/// Makes a directory (and its missing parents) of mode 0700, whatever the umask takes away.
///
/// # Errors
/// When it cannot be made, or something else is in its place.
pub fn make_private_dir(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let make = || DirBuilder::new().recursive(true).mode(0o700).create(path);
    around(Disk, || format!("make {}", place(path)), make).map_err(io_error("make", path))
}

/// Removes a file; one that is not there is none the less gone.
///
/// # Errors
/// When it is still there.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    removed("remove", path, || std::fs::remove_file(path))
}

/// The same with a directory and everything in it.
///
/// # Errors
/// When any of it is still there.
pub fn remove_dir_all(path: &Path) -> Result<(), Error> {
    removed("remove", path, || std::fs::remove_dir_all(path))
}

/// Gives a file another name in the same file system, if it is there.
///
/// # Errors
/// When it is there and cannot be renamed.
pub(super) fn rename_file(from: &Path, to: &Path) -> Result<(), Error> {
    removed("rename", from, || std::fs::rename(from, to))
}

fn removed(
    how: &'static str,
    path: &Path,
    remove: impl FnOnce() -> std::io::Result<()>,
) -> Result<(), Error> {
    let gone = || match remove() {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    around(Disk, || format!("{how} {}", place(path)), gone).map_err(io_error(how, path))
}

/// The first bytes of a file, at most `max`. `None`: it is not there or cannot be read.
#[must_use]
pub fn read_start(path: &Path, max: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(max).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Reads a regular file of at most `max` bytes; links are not followed. `None`: it is not there.
///
/// # Errors
/// When it cannot be read, is not a regular file, or is larger.
pub fn read_bounded(path: &Path, max: u64) -> Result<Option<Vec<u8>>, Error> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", path)(e)),
    };
    let broken = |why: String| Error::Broken { path: path.to_owned(), why };
    let meta = file.metadata().map_err(io_error("read", path))?;
    if !meta.is_file() {
        return Err(broken("it is not a regular file".into()));
    }
    if meta.len() > max {
        return Err(broken(format!("it is larger than {max} bytes")));
    }
    // As long as it was when it was opened: our own files are replaced whole and never grow, and
    // reading on for the end would cost a call for every file of every worker.
    let mut content = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(meta.len()).read_to_end(&mut content).map_err(io_error("read", path))?;
    Ok(Some(content))
}
