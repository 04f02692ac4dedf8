//! Reading other people's trees: never out of them, and never from anything but a regular file.

use std::fmt;
use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Directories inside directories, at most.
const MAX_DEPTH: usize = 16;

/// Why something was left out.
#[derive(Debug)]
pub enum Why {
    /// A link to nothing, or in a circle.
    Dangling,
    /// A link that leads out of the tree that is read.
    LeavesTree,
    /// A link to a directory. What is inside is copied where it really is, if that is in the tree.
    DirectoryLink,
    /// A socket, for instance of an ssh agent or of a shared ssh connection.
    Socket,
    /// A named pipe.
    Fifo,
    /// A device, or a kind of file that is unknown.
    Device,
    /// A directory where a file is expected, or a file where a directory is.
    WrongKind,
    /// More than 16 directories deep.
    TooDeep,
    /// A template makes the file of this name.
    TemplateFirst,
    /// The system does not let us read it.
    Unreadable(io::Error),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dangling => f.write_str("a link to nothing"),
            Self::LeavesTree => f.write_str("a link that leads out of its tree"),
            Self::DirectoryLink => f.write_str("a link to a directory"),
            Self::Socket => f.write_str("a socket"),
            Self::Fifo => f.write_str("a named pipe"),
            Self::Device => f.write_str("a device"),
            Self::WrongKind => f.write_str("a directory instead of a file, or the reverse"),
            Self::TooDeep => write!(f, "more than {MAX_DEPTH} directories deep"),
            Self::TemplateFirst => f.write_str("a template makes this file"),
            Self::Unreadable(e) => write!(f, "cannot be read: {e}"),
        }
    }
}

impl Why {
    fn not_regular(kind: FileType) -> Self {
        if kind.is_socket() {
            Self::Socket
        } else if kind.is_fifo() {
            Self::Fifo
        } else if kind.is_dir() {
            Self::WrongKind
        } else {
            Self::Device
        }
    }
}

/// Follows links from `path`, the top of what is to be read, as far as they stay inside `within`.
///
/// `None` if there is nothing. The answer is canonical.
pub(super) fn top(path: &Path, within: &Path) -> Option<Result<PathBuf, Why>> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => return Some(Err(Why::Unreadable(e))),
    };
    let real = fs::canonicalize(path).map_err(resolving);
    if !meta.is_symlink() {
        return Some(real);
    }
    Some(real.and_then(|real| {
        let within = fs::canonicalize(within).map_err(Why::Unreadable)?;
        if real.starts_with(within) { Ok(real) } else { Err(Why::LeavesTree) }
    }))
}

fn resolving(e: io::Error) -> Why {
    match e.kind() {
        io::ErrorKind::NotFound => Why::Dangling,
        _ if e.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => Why::Dangling,
        _ => Why::Unreadable(e),
    }
}

/// Opens the regular file at `path`, or the one inside `tree` that a link at `path` leads to.
/// `tree` is canonical.
pub(super) fn open(path: &Path, tree: &Path) -> Result<File, Why> {
    let meta = fs::symlink_metadata(path).map_err(Why::Unreadable)?;
    let mut path = path.to_owned();
    if meta.is_symlink() {
        path = fs::canonicalize(&path).map_err(resolving)?;
        if !path.starts_with(tree) {
            return Err(Why::LeavesTree);
        }
        if path.is_dir() {
            return Err(Why::DirectoryLink);
        }
    }
    let kind = fs::symlink_metadata(&path).map_err(Why::Unreadable)?.file_type();
    if !kind.is_file() {
        return Err(Why::not_regular(kind));
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(&path)
        .map_err(Why::Unreadable)?;
    // The path may have changed since it was looked at; what is open now does not.
    let kind = file.metadata().map_err(Why::Unreadable)?.file_type();
    if !kind.is_file() {
        return Err(Why::not_regular(kind));
    }
    if !fs::read_link(descriptor(&file)).map_err(Why::Unreadable)?.starts_with(tree) {
        return Err(Why::LeavesTree);
    }
    Ok(file)
}

/// A path to exactly the file that is open, whatever has become of its name.
pub(super) fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// One thing in a tree that is no directory, or a directory that cannot be read.
pub(super) struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the top.
    pub relative: PathBuf,
    /// The open file, or why it is left out.
    pub file: Result<File, Why>,
}

/// Shows every file below `top` to `visit`, directories in the order of their names. Links may
/// lead anywhere inside `tree`, which holds `top`; both are canonical.
pub(super) fn walk<E>(
    top: &Path,
    tree: &Path,
    visit: &mut dyn FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    descend(top, tree, Path::new(""), 0, visit)
}

fn descend<E>(
    dir: &Path,
    tree: &Path,
    relative: &Path,
    depth: usize,
    visit: &mut dyn FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    let names = if depth > MAX_DEPTH { Err(Why::TooDeep) } else { names(dir) };
    let names = match names {
        Ok(names) => names,
        Err(why) => {
            let (path, relative) = (dir.to_owned(), relative.to_owned());
            return visit(Found { path, relative, file: Err(why) });
        }
    };
    for name in names {
        let (path, relative) = (dir.join(&name), relative.join(&name));
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            descend(&path, tree, &relative, depth + 1, visit)?;
        } else {
            let file = open(&path, tree);
            visit(Found { path, relative, file })?;
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>, Why> {
    let mut names = fs::read_dir(dir)
        .and_then(|entries| {
            entries.map(|e| e.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()
        })
        .map_err(Why::Unreadable)?;
    names.sort();
    Ok(names)
}
