//! What our own binary does as the first process in a jail: it waits for the word, tries the canary,
//! and makes way for the agent.
//!
//! The canary runs in the very jail that the agent gets, a moment before it. It proves by trying:
//! what must be out of reach is not there, what must be read-only cannot be written, the home can.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What our own program is to do as the first process in an agent's jail. It waits for a byte on its
/// standard input first; without one it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Must hold before the agent is let in.
    pub canary: Canary,
    /// Where the agent works.
    pub cwd: PathBuf,
    /// The agent's standard input.
    pub stdin: PathBuf,
}

/// What the canary tries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Exist on the host; must not exist inside.
    pub hidden: Vec<PathBuf>,
    /// Must not be writable inside.
    pub read_only: Vec<PathBuf>,
    /// Must be writable inside.
    pub writable: Vec<PathBuf>,
}

impl Canary {
    /// Tries everything.
    ///
    /// # Errors
    /// The first thing that is not as it must be, in words.
    pub fn try_all(&self) -> Result<(), String> {
        for path in &self.hidden {
            if fs::symlink_metadata(path).is_ok() {
                return Err(format!("{} can be seen from inside", path.display()));
            }
        }
        for path in &self.read_only {
            if may_write(path) {
                return Err(format!("{} can be written from inside", path.display()));
            }
        }
        for path in &self.writable {
            if !may_write(path) {
                return Err(format!("{} cannot be written from inside", path.display()));
            }
        }
        // In PID namespace of its own the jail's first processes have small numbers, and the
        // first of all is not the host's init.
        if std::process::id() > 64 {
            return Err("the processes of the host are in reach".into());
        }
        Ok(())
    }
}

fn may_write(dir: &Path) -> bool {
    tempfile::Builder::new().prefix(".canary-").tempfile_in(dir).is_ok()
}

/// The line that tells the supervisor, before the agent says a word, how the canary fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// `None`: all is as it must be.
    pub jail_fault: Option<String>,
}

/// The exit code when the walls hold and the agent's program cannot be started: a second verdict, the
/// last line of all, says why. (A file may be there and its interpreter not.)
pub const NO_AGENT: u8 = 71;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_jail_the_canary_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let hidden = Canary { hidden: vec![path.clone()], ..Canary::default() };
        assert!(hidden.try_all().unwrap_err().contains("can be seen"));
        let read_only = Canary { read_only: vec![path.clone()], ..Canary::default() };
        assert!(read_only.try_all().unwrap_err().contains("can be written"));
        let gone = Canary { writable: vec![path.join("gone")], ..Canary::default() };
        assert!(gone.try_all().unwrap_err().contains("cannot be written"));
    }
}
