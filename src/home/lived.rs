//! A home that an agent has lived in: hostile ground.
//!
//! Directories are held open and entered one by one, never through a link; files arrive by being
//! renamed to their place. So nothing is ever written outside the home, whatever was planted in it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use tempfile::TempPath;

use super::DIRS;
use super::error::Error;
use super::staging::STAGING;
use super::tree::PRIVATE_DIR;
use crate::failpoint::{Effect, Trouble};
use crate::store::rename_new;

/// A directory, by what it is and not by its name.
const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// How a file in the home compares to the one that should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    Differs,
    Missing,
}

/// The home.
pub(super) struct Lived {
    path: PathBuf,
    top: OwnedFd,
}

impl Lived {
    /// Opens it; a link in its place is refused.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let top = open(path, DIRECTORY, Mode::empty())
            .map_err(|e| Error::io("open the home", path)(e.into()))?;
        Ok(Self { path: path.to_owned(), top })
    }

    /// Compares what is at `relative` with the file `wanted`, which nobody else can write.
    pub fn compare(&self, relative: &Path, wanted: &Path) -> Compared {
        match self.is_same(relative, wanted) {
            Ok(true) => Compared::Same,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Compared::Missing,
            // Also what cannot be looked at, as it is.
            Ok(false) | Err(_) => Compared::Differs,
        }
    }

    fn is_same(&self, relative: &Path, wanted: &Path) -> io::Result<bool> {
        let (dir, private) = self.enter(relative, false)?;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let found = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(below(&dir, name(relative)?))?;
        let (is, should) = (found.metadata()?, fs::symlink_metadata(wanted)?);
        if !private
            || !is.is_file()
            || is.permissions().mode() & 0o7777 != should.permissions().mode() & 0o7777
            || is.len() != should.len()
        {
            return Ok(false);
        }
        // Through the same limit on both sides: the home's file may be growing.
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(found, should.len() + 1), &mut bytes)?;
        Ok(bytes == fs::read(wanted)?)
    }

    /// Moves the file `from` to its place. Returns what was in the way and was moved aside: from
    /// where, and to where.
    pub fn put(&self, relative: &Path, from: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
        let mut aside = Vec::new();
        let mut put = || -> io::Result<()> {
            let dir = self.make_way(relative, &mut aside)?;
            let name = name(relative)?;
            // A file or a link of this name is replaced, by what it is: nothing is followed.
            let mut moved = renameat(AT_FDCWD, from, &dir, name);
            let near = if moved == Err(Errno::EXDEV) { Some(copy_near(&dir, from)?) } else { None };
            let from = near.as_deref().unwrap_or(from);
            if near.is_some() {
                moved = renameat(AT_FDCWD, from, &dir, name);
            }
            match moved {
                Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST) => {
                    aside.push(move_aside(&dir, relative, ASIDE)?);
                    renameat(AT_FDCWD, from, &dir, name)?;
                }
                moved => moved?,
            }
            File::open(handle(&dir))?.sync_all()
        };
        put().map_err(Error::io("write", &self.path.join(relative)))?;
        Ok(aside)
    }

    /// Puts a copy of the file `from` at its place; the rest is as for [`Self::put`].
    pub fn put_copy(&self, relative: &Path, from: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
        let near = make_private(&self.top).and_then(|()| copy_near(&self.top, from));
        let near = near.map_err(Error::io("write", &self.path.join(relative)))?;
        self.put(relative, &near)
    }

    /// Moves whatever is at `relative` out of the home, to `to`, where nothing is; what cannot be
    /// moved because that is on another disk is removed. Returns whether there was something.
    pub fn take_out(&self, relative: &Path, to: &Path) -> Result<bool, Error> {
        let take = || -> io::Result<()> {
            let (dir, _) = self.enter(relative, true)?;
            let name = name(relative)?;
            let inner = openat(&dir, name, DIRECTORY, Mode::empty());
            if let Ok(inner) = &inner {
                make_private(inner)?;
            }
            match renameat(&dir, name, AT_FDCWD, to) {
                Err(Errno::EXDEV) if inner.is_ok() => {
                    remove_tree(&below(&dir, name)).map_err(io::Error::other)
                }
                Err(Errno::EXDEV) => Ok(unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)?),
                moved => Ok(moved?),
            }
        };
        match take() {
            Err(e) if is_absent(&e) => Ok(false),
            taken => {
                taken.map(|()| true).map_err(Error::io("move away", &self.path.join(relative)))
            }
        }
    }

    /// Makes a directory and those above it where there are none, and moves aside what is no
    /// directory.
    pub fn make_dir(&self, relative: &Path) -> Result<(), Error> {
        let made = self.make_way(&relative.join("_"), &mut Vec::new());
        made.map(drop).map_err(Error::io("make the directory", &self.path.join(relative)))
    }

    /// Whether there is a directory, with no link on the way.
    pub fn is_dir(&self, relative: &Path) -> bool {
        self.enter(&relative.join("_"), false).is_ok()
    }

    /// Renames what is at `relative` to its name, `ending` and a number.
    pub fn set_aside(&self, relative: &Path, ending: &str) -> Result<(), Error> {
        let aside = || -> io::Result<()> {
            let (dir, _) = self.enter(relative, true)?;
            move_aside(&dir, relative, ending).map(drop)
        };
        aside().map_err(Error::io("move aside", &self.path.join(relative)))
    }

    /// Whether a file of ours would be removed from here. What cannot be looked at may be one.
    pub fn has(&self, relative: &Path) -> bool {
        let found = || -> nix::Result<bool> {
            let (dir, _) = self.enter(relative, false)?;
            let name = relative.file_name().ok_or(Errno::ENOENT)?;
            let stat = fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            Ok(stat.st_mode & nix::libc::S_IFMT != nix::libc::S_IFDIR)
        };
        match found() {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => false,
            found => found.unwrap_or(true),
        }
    }

    /// Whether anything has this name. What cannot be looked at may have it.
    pub fn holds(&self, relative: &Path) -> bool {
        let found = || -> nix::Result<()> {
            let (dir, _) = self.enter(relative, false)?;
            let name = relative.file_name().ok_or(Errno::ENOENT)?;
            fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(drop)
        };
        !matches!(found(), Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP))
    }

    /// The names in a directory; none if it is not there.
    pub fn names(&self, relative: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        let listed = || -> io::Result<Vec<std::ffi::OsString>> {
            let (dir, _) = self.enter(relative, false)?;
            let dir = openat(&dir, name(relative)?, DIRECTORY, Mode::empty())?;
            fs::read_dir(handle(&dir))?.map(|entry| Ok(entry?.file_name())).collect()
        };
        listed().or_else(|e| if is_absent(&e) { Ok(Vec::new()) } else { Err(e) })
    }

    /// At most `max` bytes of a regular file; nothing if there is none of this name.
    pub fn read(&self, relative: &Path, max: u64) -> io::Result<Vec<u8>> {
        let read = || -> io::Result<Vec<u8>> {
            let (dir, _) = self.enter(relative, false)?;
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags.bits())
                .open(below(&dir, name(relative)?))?;
            let mut bytes = Vec::new();
            if file.metadata()?.is_file() {
                io::Read::read_to_end(&mut io::Read::take(file, max), &mut bytes)?;
            }
            Ok(bytes)
        };
        read().or_else(|e| if is_absent(&e) { Ok(Vec::new()) } else { Err(e) })
    }

    /// Removes a file (a directory in its place is somebody else's), and the directories above it
    /// that are empty now.
    pub fn remove(&self, relative: &Path) -> Result<(), Error> {
        let unlink = |relative: &Path, flags| -> nix::Result<()> {
            let (dir, _) = self.enter(relative, true)?;
            unlinkat(&dir, relative.file_name().ok_or(Errno::ENOENT)?, flags)?;
            File::open(handle(&dir)).and_then(|dir| dir.sync_all()).map_err(errno)
        };
        match unlink(relative, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {}
            Err(Errno::ENOENT | Errno::EISDIR) => return Ok(()),
            Err(e) => return Err(Error::io("remove", &self.path.join(relative))(e.into())),
        }
        let own =
            |dir: &&Path| dir.parent().is_some() && !DIRS.iter().any(|d| *dir == Path::new(d));
        for dir in relative.ancestors().skip(1).take_while(own) {
            if unlink(dir, UnlinkatFlags::RemoveDir).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The directory that `relative` is in, and whether every one on the way is ours alone; with
    /// `mend` they are made so.
    fn enter(&self, relative: &Path, mend: bool) -> nix::Result<(OwnedFd, bool)> {
        let mut dir = self.top.try_clone().map_err(errno)?;
        let mut private = true;
        for part in relative.parent().unwrap_or(Path::new("")).iter().map(Some).chain([None]) {
            if mend {
                make_private(&dir).map_err(errno)?;
            }
            private &= is_private(&dir).map_err(errno)?;
            if let Some(part) = part {
                dir = openat(&dir, part, DIRECTORY, Mode::empty())?;
            }
        }
        Ok((dir, private))
    }

    /// The same, made where it is missing, moved aside where it is something else, and private.
    fn make_way(
        &self,
        relative: &Path,
        aside: &mut Vec<(PathBuf, PathBuf)>,
    ) -> io::Result<OwnedFd> {
        let mut dir = self.top.try_clone()?;
        make_private(&dir)?;
        let mut path = PathBuf::new();
        for part in relative.parent().unwrap_or(Path::new("")) {
            path.push(part);
            let next = match openat(&dir, part, DIRECTORY, Mode::empty()) {
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    aside.push(move_aside(&dir, &path, ASIDE)?);
                    Err(Errno::ENOENT)
                }
                found => found,
            };
            dir = match next {
                Err(Errno::ENOENT) => {
                    mkdirat(&dir, part, Mode::S_IRWXU)?;
                    openat(&dir, part, DIRECTORY, Mode::empty())?
                }
                found => found?,
            };
            make_private(&dir)?;
        }
        Ok(dir)
    }
}

/// Lets its owner into a home again, whatever mode an agent has given it.
///
/// # Errors
/// When it is a link or cannot be opened.
pub fn open_up(home: &Path) -> Result<(), Error> {
    make_private(&Lived::open(home)?.top).map_err(Error::io("set the mode of", home))
}

/// Makes sure that there is a directory at `relative` in a home, with no link on the way; what is in
/// the way is moved aside.
///
/// # Errors
/// When that cannot be done.
pub fn make_dir(home: &Path, relative: &Path) -> Result<(), Error> {
    point("make a directory", home, || Lived::open(home)?.make_dir(relative))
}

/// Whether there is a directory at `relative` in a home, with no link on the way.
#[must_use]
pub fn is_dir(home: &Path, relative: &Path) -> bool {
    Lived::open(home).is_ok_and(|home| home.is_dir(relative))
}

/// Renames what is at `relative` in a home to its name, `ending` and a number, without following a
/// link.
///
/// # Errors
/// When that cannot be done.
pub fn set_aside(home: &Path, relative: &Path, ending: &str) -> Result<(), Error> {
    point("set aside", home, || Lived::open(home)?.set_aside(relative, ending))
}

/// Does something to a home between its two points.
pub(super) fn point<T>(
    what: &'static str,
    home: &Path,
    effect: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let named = Effect::new(Trouble::Disk, || format!("{what} in the home"));
    named.before().map_err(Error::io(what, home))?;
    let done = effect()?;
    named.after().map_err(Error::io(what, home))?;
    Ok(done)
}

/// Removes a directory and everything in it that an agent made, however deep and whatever the modes.
/// Links are removed and not followed. What an earlier attempt left is no hindrance.
pub fn remove_tree(top: &Path) -> Result<(), Error> {
    let fail = |e: io::Error| Error::io("remove", top)(e);
    let open_top = open(top, DIRECTORY, Mode::empty()).map_err(|e| fail(e.into()))?;
    make_private(&open_top).map_err(fail)?;
    // One level at a time: what is deeper is moved up first, so that no depth is too deep for the
    // stack, the descriptors or the length of a path.
    let mut moved = 0;
    while let Some(dirs) = remove_files(&open_top).map_err(fail)? {
        for name in dirs {
            let dir = openat(&open_top, &*name, DIRECTORY, Mode::empty());
            let dir = dir.map_err(|e| fail(e.into()))?;
            make_private(&dir).map_err(fail)?;
            for inner in remove_files(&dir).map_err(fail)?.unwrap_or_default() {
                let open = openat(&dir, &*inner, DIRECTORY, Mode::empty());
                make_private(&open.map_err(|e| fail(e.into()))?).map_err(fail)?;
                loop {
                    moved += 1;
                    let (from, to) =
                        (below(&dir, &inner), below(&open_top, format!(".{moved}").as_ref()));
                    match rename_new(&from, &to) {
                        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                        renamed => break renamed.map_err(fail)?,
                    }
                }
            }
            unlinkat(&open_top, &*name, UnlinkatFlags::RemoveDir).map_err(|e| fail(e.into()))?;
        }
    }
    fs::remove_dir(top).map_err(fail)
}

/// Removes what is no directory, and names the directories that are left; `None` if there are none.
fn remove_files(dir: &OwnedFd) -> io::Result<Option<Vec<std::ffi::OsString>>> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(handle(dir))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            dirs.push(entry.file_name());
        } else {
            unlinkat(dir, &*entry.file_name(), UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(Some(dirs).filter(|dirs| !dirs.is_empty()))
}

/// A path to the directory that is open, whatever has become of its name.
fn handle(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

fn below(dir: &OwnedFd, name: &OsStr) -> PathBuf {
    handle(dir).join(name)
}

fn name(relative: &Path) -> io::Result<&OsStr> {
    relative.file_name().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Whether nothing of that name is there, or only something that leads elsewhere.
fn is_absent(e: &io::Error) -> bool {
    let absent = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP];
    e.raw_os_error().is_some_and(|code| absent.contains(&Errno::from_raw(code)))
}

fn errno(e: io::Error) -> Errno {
    Errno::try_from(e).unwrap_or(Errno::EIO)
}

fn is_private(dir: &OwnedFd) -> io::Result<bool> {
    Ok(fs::metadata(handle(dir))?.permissions().mode() & 0o7777 == PRIVATE_DIR)
}

fn make_private(dir: &OwnedFd) -> io::Result<()> {
    if !is_private(dir)? {
        fs::set_permissions(handle(dir), Permissions::from_mode(PRIVATE_DIR))?;
    }
    Ok(())
}

/// A copy of a file in a directory of the home, which is on another disk than the file. It is gone
/// again unless it is renamed.
fn copy_near(dir: &OwnedFd, from: &Path) -> io::Result<TempPath> {
    let mut from = File::open(from)?;
    let mut near = tempfile::Builder::new()
        .prefix(STAGING)
        .permissions(from.metadata()?.permissions())
        .tempfile_in(handle(dir))?;
    io::copy(&mut from, &mut near)?;
    // Whatever the umask has taken away.
    near.as_file().set_permissions(from.metadata()?.permissions())?;
    near.as_file().sync_all()?;
    Ok(near.into_temp_path())
}

/// What is put behind the name of something that was in the way, before a number.
const ASIDE: &str = ".aside-";

/// Renames what is at `relative` (its last part, in `dir`) to a name that is free.
fn move_aside(dir: &OwnedFd, relative: &Path, ending: &str) -> io::Result<(PathBuf, PathBuf)> {
    let old = name(relative)?;
    let mut nth = 0;
    loop {
        nth += 1;
        let mut new = old.to_owned();
        new.push(format!("{ending}{nth}"));
        match rename_new(&below(dir, old), &below(dir, &new)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            moved => return moved.map(|()| (relative.to_owned(), relative.with_file_name(new))),
        }
    }
}
