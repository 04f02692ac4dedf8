//! Whole files or nothing, and readable by their owner only.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
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
pub fn write_memory(path: &Path, content: &[u8]) -> Result<(), Error> {
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
///
/// # Errors
/// What the file system says.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a directory of ours durable, with everything in it.
///
/// # Errors
/// What the file system says.
pub(crate) fn sync_tree(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
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

/// Makes a file in a directory of ours, if that is there, and removes it again.
///
/// # Errors
/// When nothing can be written there.
pub fn try_writing(dir: &Path) -> Result<(), Error> {
    match tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error("write to", dir)(e)),
        _ => Ok(()),
    }
}

/// Removes a file; one that is not there is none the less gone.
///
/// # Errors
/// When it is still there.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    removed("remove", path, || std::fs::remove_file(path))
}

/// The same with a directory and everything in it, or with a file in its place.
///
/// # Errors
/// When any of it is still there.
pub fn remove_dir_all(path: &Path) -> Result<(), Error> {
    removed("remove", path, || match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => std::fs::remove_file(path),
        done => done,
    })
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

/// Opens a file of ours to write to it in place, making it (0600) if need be. It is a regular file
/// and no link: nothing elsewhere is written to, and no pipe's reader is waited for.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub fn open_in_place(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    options.create(true).mode(0o600).custom_flags(flags);
    let file = around(Disk, || format!("open {}", place(path)), || options.open(path))
        .map_err(|e| cannot("open", path, e))?;
    regular(&file, path)?;
    Ok(file)
}

/// Its size, if it is a regular file.
fn regular(file: &File, path: &Path) -> Result<u64, Error> {
    let meta = file.metadata().map_err(io_error("read", path))?;
    if meta.is_file() {
        return Ok(meta.len());
    }
    Err(Error::Broken { path: path.to_owned(), why: "it is not a regular file".into() })
}

/// The kernel's own words for a link that is not followed tell nobody anything.
fn cannot(action: &'static str, path: &Path, e: std::io::Error) -> Error {
    if e.raw_os_error() == Some(nix::libc::ELOOP) {
        return Error::Broken { path: path.to_owned(), why: "it is a link".into() };
    }
    io_error(action, path)(e)
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
        Err(e) => return Err(cannot("read", path, e)),
    };
    let len = regular(&file, path)?;
    if len > max {
        let why = format!("it is larger than {max} bytes");
        return Err(Error::Broken { path: path.to_owned(), why });
    }
    // As long as it was when it was opened: our own files are replaced whole and never grow, and
    // reading on for the end would cost a call for every file of every worker.
    let mut content = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(len).read_to_end(&mut content).map_err(io_error("read", path))?;
    Ok(Some(content))
}

/// Reads a file that a person wrote, of at most `max` bytes of UTF-8: links are followed, and
/// `/dev/null` is empty. Nothing that could make us wait is read.
///
/// # Errors
/// When it cannot be opened or read, or is not such a file.
pub fn read_text(path: &Path, max: u64) -> std::io::Result<String> {
    let flags = nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(std::io::Error::other(format!("it is larger than {max} bytes")));
    }
    String::from_utf8(content).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}
