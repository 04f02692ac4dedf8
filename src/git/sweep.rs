//! Clones that are looked into and removed, from inside a jail.
//!
//! Everything below a home is the agent's: a link on the way to a clone may lead anywhere. In the
//! jail there is nowhere to lead to; and where there is no jail, no link is followed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::clone::{Clone, set_aside};

/// Look into clones.
#[derive(Debug, std::clone::Clone, Serialize, Deserialize)]
pub struct Survey {
    /// Git's path inside the jail.
    pub git: PathBuf,
    /// The home.
    pub home: PathBuf,
    /// Paths below the home, and whether they are clones whose work is asked for.
    pub paths: Vec<(PathBuf, bool)>,
}

/// What is at one of the paths.
#[derive(Debug, std::clone::Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The path below the home.
    pub path: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// Whether it holds, or may hold, something that was not committed.
    pub uncommitted: bool,
}

/// Remove directories.
#[derive(Debug, std::clone::Clone, Serialize, Deserialize)]
pub struct Sweep {
    /// The home.
    pub home: PathBuf,
    /// Paths below the home.
    pub paths: Vec<PathBuf>,
}

/// Looks into what is there; what is not, or lies behind a link, is left out.
#[must_use]
pub fn survey(request: &Survey) -> Vec<Inside> {
    let look = |(path, is_clone): &(PathBuf, bool)| {
        let dir = plain(&request.home, path)?;
        let clone = Clone { git: &request.git, dir: &dir };
        let uncommitted = *is_clone && !clone.holds_nothing();
        Some(Inside { path: path.clone(), bytes: size(&dir), uncommitted })
    };
    request.paths.iter().filter_map(look).collect()
}

/// Removes what is there and returns, for each path, why it could not be removed, if so.
#[must_use]
pub fn sweep(request: &Sweep) -> Vec<Option<String>> {
    let remove = |path: &PathBuf| {
        let Some(dir) = plain(&request.home, path) else {
            return Some("it is not a directory, or lies behind a link".to_owned());
        };
        // Out of its place first: half a clone must not be taken for one.
        let aside = match set_aside(&dir) {
            Ok(aside) => aside,
            Err(e) => return Some(e.to_string()),
        };
        open_up(&aside);
        fs::remove_dir_all(&aside).err().map(|e| format!("{}: {e}", aside.display()))
    };
    request.paths.iter().map(remove).collect()
}

/// The path of a directory below the home, if there is no link on the way.
#[must_use]
pub fn plain(home: &Path, below: &Path) -> Option<PathBuf> {
    let mut path = home.to_owned();
    for part in below.components() {
        let Component::Normal(name) = part else { return None };
        path.push(name);
        if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            return None;
        }
    }
    (path != home).then_some(path)
}

/// Bytes on disk of a tree; links are not followed, and what cannot be read counts nothing.
#[must_use]
pub fn size(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        bytes += meta.blocks() * 512;
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    bytes
}

/// Directories that their owner may not write cannot be emptied.
fn open_up(dir: &Path) {
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        let _ = fs::set_permissions(&dir, Permissions::from_mode(0o700));
        let dirs = fs::read_dir(&dir).into_iter().flatten().flatten();
        left.extend(dirs.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(home: &Path, path: &str) -> Option<String> {
        sweep(&Sweep { home: home.to_owned(), paths: vec![path.into()] }).remove(0)
    }

    #[test]
    fn no_link_on_the_way_is_followed_and_none_inside_either() {
        let dir = tempfile::tempdir().unwrap();
        let (home, out) = (dir.path().join("home"), dir.path().join("out"));
        for below in ["github/octo/app/.git", "github/octo/lib"] {
            fs::create_dir_all(home.join(below)).unwrap();
        }
        fs::create_dir_all(out.join("app")).unwrap();
        fs::write(out.join("app/precious"), "x").unwrap();
        let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, home.join(at)).unwrap();
        link(&out, "github/evil");
        link(&out.join("app"), "github/octo/evil");
        link(&out, "github/octo/app/evil");
        for bad in ["github/evil/app", "github/octo/evil", "../out/app", "/etc", "", "github/none"]
        {
            assert!(swept(&home, bad).is_some(), "{bad}");
        }
        fs::set_permissions(home.join("github/octo/app/.git"), Permissions::from_mode(0o0))
            .unwrap();
        assert_eq!(swept(&home, "github/octo/app"), None);
        assert!(!home.join("github/octo/app").exists());
        assert!(home.join("github/octo/lib").exists());
        assert_eq!(fs::read(out.join("app/precious")).unwrap(), b"x");
        assert_eq!(fs::read_dir(home.join("github/octo")).unwrap().count(), 2);
    }

    #[test]
    fn what_git_cannot_read_may_hold_anything() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/.git")).unwrap();
        fs::write(dir.path().join("a/file"), vec![1; 100_000]).unwrap();
        for name in ["clean", "trap"] {
            let mut git = crate::process::command("/usr/bin/git");
            git.args(["init", "--quiet", "--"]).arg(dir.path().join(name));
            assert!(crate::process::run_bounded(&mut git, b"", 1000).unwrap().status.success());
        }
        // Whoever reads it waits for ever.
        let pipe = dir.path().join("trap/.gitignore");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let paths = [("a", true), ("a", false), ("b", true), ("clean", true), ("trap", true)];
        let paths = paths.map(|(path, is_clone)| (path.into(), is_clone)).into();
        let request = Survey { git: "/usr/bin/git".into(), home: dir.path().into(), paths };
        let seen = survey(&request);
        assert_eq!(
            seen.iter().map(|s| s.uncommitted).collect::<Vec<_>>(),
            [true, false, false, true]
        );
        assert!(pipe.exists());
        assert!(seen[0].bytes >= 100_000);
    }
}
