//! The programs of other people that `tests/run` installs from npm, at the versions pinned in
//! `tests/npm`.

use std::path::{Path, PathBuf};

/// The Claude Code binary for this machine. It needs no Node.
pub fn claude() -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    installed(&format!("@anthropic-ai/claude-code-linux-{arch}/claude"))
}

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/node_modules").join(path);
    assert!(path.exists(), "{} is missing: run `tests/run`, which installs it", path.display());
    path
}
