//! Where executables were found, kept by absolute path: cron has no PATH.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Root, read_bounded, write_private};

/// Executables by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    version: u32,
    paths: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Reads what was found earlier. What cannot be read counts as nothing found: the file is a
    /// memory, and is made again.
    #[must_use]
    pub fn load(root: &Root) -> Self {
        let read = read_bounded(&root.tools(), 1 << 16).ok().flatten();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The absolute path of `name`: the remembered one while it is still executable, else the first
    /// on `search_path` (`PATH`) or in the usual places, which is remembered.
    pub fn find(
        &mut self,
        name: &str,
        search_path: Option<&str>,
        user_home: &Path,
    ) -> Option<PathBuf> {
        if let Some(path) = self.paths.get(name).filter(|p| is_executable(p)) {
            return Some(path.clone());
        }
        let usual = [".local/bin", ".npm-global/bin", ".bun/bin", ".cargo/bin", "bin"]
            .iter()
            .map(|dir| user_home.join(dir));
        let system = ["/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin"].map(PathBuf::from);
        let found = search_path
            .unwrap_or_default()
            .split(':')
            .filter(|dir| dir.starts_with('/'))
            .map(PathBuf::from)
            .chain(usual)
            .chain(system)
            .map(|dir| dir.join(name))
            .find(|p| is_executable(p))?;
        self.paths.insert(name.to_owned(), found.clone());
        Some(found)
    }

    /// Writes the memory if it differs from what is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(mut self, root: &Root) -> Result<(), Error> {
        self.version = 1;
        if Self::load(root) == self {
            return Ok(());
        }
        let json = serde_json::to_vec_pretty(&self)
            .map_err(|e| Error::Broken { path: root.tools(), why: e.to_string() })?;
        write_private(&root.tools(), &json)
    }
}

/// Whether `path` is a regular file that we may execute.
fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_tool_is_remembered_for_a_caller_without_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        super::super::make_private_dir(&root.pool()).unwrap();
        let mut tools = Tools::load(&root);
        assert_eq!(tools.find("no-such-tool", Some("/usr/bin"), dir.path()), None);
        let bin = dir.path().join("x");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy("/bin/true", bin.join("mytool")).unwrap();
        let found = tools.find("mytool", bin.to_str(), dir.path()).unwrap();
        tools.save(&root).unwrap();
        assert_eq!(Tools::load(&root).find("mytool", None, dir.path()), Some(found));
        std::fs::remove_file(bin.join("mytool")).unwrap();
        assert_eq!(Tools::load(&root).find("mytool", None, dir.path()), None);
    }
}
