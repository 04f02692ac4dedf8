//! Small file systems of their own, for disks that are full or are others.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs, gone with this.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts one of so many MiB on a directory. `None`, and a word why, where that is not allowed:
    /// it takes root.
    pub fn new(at: &Path, mib: u32) -> Option<Self> {
        Self::with(at, &format!("size={mib}m"))
    }

    /// The same with options of one's own.
    #[expect(clippy::disallowed_methods, reason = "the mount is made from outside")]
    pub fn with(at: &Path, options: &str) -> Option<Self> {
        let options = format!("{options},mode=700");
        let made =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        match made {
            Ok(out) if out.status.success() => Some(Self(at.to_owned())),
            other => {
                println!("skipped: a file system cannot be mounted here: {other:?}");
                None
            }
        }
    }

    /// Fills it to the last byte with one file, and says where that is.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.0.join(".filled");
        let mut file = std::fs::File::create(&path).unwrap();
        for block in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; block]).is_ok() {}
        }
        path
    }

    #[expect(clippy::disallowed_methods, reason = "the mount is changed from outside")]
    pub fn read_only(&self, so: bool) {
        let how = if so { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", how]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    #[expect(clippy::disallowed_methods, reason = "the mount is taken away from outside")]
    fn drop(&mut self) {
        // Whoever still looks into it keeps it a moment longer.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
