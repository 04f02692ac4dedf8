//! A home that must hold no credentials, put in order before each run: what looks like one is taken
//! out, and what was placed in it is as it was placed, whatever the last agent did.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::found::credentials_in;
use super::furniture;
use super::lived::{Compared, Lived, point, remove_tree};
use super::tree::ensure_dir;
use crate::domain::CredentialMode;
use crate::store::write_private;

/// What was done, by paths in the home.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// What looked like credentials for GitHub, and is in quarantine now.
    pub taken_out: Vec<PathBuf>,
    /// Files from templates that had been changed or removed.
    pub restored: Vec<PathBuf>,
}

/// Puts the home in order; nobody else may use it meanwhile. `furniture` is what
/// [`Blueprint::furniture`](super::Blueprint::furniture) was; `quarantine` is a directory outside of
/// the home that keeps what was taken out last.
///
/// # Errors
/// When something cannot be moved or written.
pub fn mend(home: &Path, furniture: &Path, quarantine: &Path) -> Result<Mended, Error> {
    point("mend", home, || mend_it(home, furniture, quarantine))
}

fn mend_it(home: &Path, furniture: &Path, quarantine: &Path) -> Result<Mended, Error> {
    let mut mended = Mended::default();
    let lived = Lived::open(home)?;
    // However many keys there are, their directory is one.
    let ssh = Path::new(".ssh");
    let whole = |path: PathBuf| if path.starts_with(ssh) { ssh.to_owned() } else { path };
    let found: BTreeSet<PathBuf> = credentials_in(home)?.into_iter().map(whole).collect();
    if !found.is_empty() {
        remove_all(quarantine)?;
    }
    for path in found {
        let to = quarantine.join(&path);
        to.parent().map_or(Ok(()), ensure_dir)?;
        if lived.take_out(&path, &to)? {
            mended.taken_out.push(path);
        }
    }
    let placed = furniture::read(furniture)?.unwrap_or_default();
    let kept = kept_beside(furniture);
    for file in placed.files {
        let wanted = kept.join(&file);
        // A home that was furnished before this was kept has none until it is refreshed.
        let is_file = fs::symlink_metadata(&wanted).is_ok_and(|meta| meta.is_file());
        if is_file && lived.compare(&file, &wanted) != Compared::Same {
            lived.put_copy(&file, &wanted)?;
            mended.restored.push(file);
        }
    }
    Ok(mended)
}

/// Keeps what is being placed, in the record, where no agent reaches it. Of a home with copied
/// credentials nothing is kept: they would lie about once more.
pub(super) fn keep(
    furniture: &Path,
    from: &Path,
    files: &BTreeSet<PathBuf>,
    mode: CredentialMode,
) -> Result<(), Error> {
    let kept = kept_beside(furniture);
    remove_all(&kept)?;
    if mode == CredentialMode::Copy {
        return Ok(());
    }
    for file in files {
        let (from, to) = (from.join(file), kept.join(file));
        to.parent().map_or(Ok(()), ensure_dir)?;
        let read = || Ok((fs::read(&from)?, fs::symlink_metadata(&from)?.permissions().mode()));
        let (bytes, mode) = read().map_err(Error::io("read", &from))?;
        write_private(&to, &bytes)?;
        let mode = Permissions::from_mode(mode & 0o777);
        fs::set_permissions(&to, mode).map_err(Error::io("set the mode of", &to))?;
    }
    Ok(())
}

/// Where what was placed in a home is kept, beside the list of it; it may hold the model's key.
#[must_use]
pub fn kept_beside(furniture: &Path) -> PathBuf {
    furniture.with_extension("d")
}

fn remove_all(dir: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => remove_tree(dir),
    }
}
