//! The room as its callers see it.

mod credentials;
mod templates;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::stat::{Mode, umask};
use tempfile::TempDir;

use super::*;

/// A user's home with some of everything, and a root for workers.
struct Place {
    dir: TempDir,
    worker: WorkerId,
    credentials: Vec<Credential>,
    values: BTreeMap<String, SecretString>,
    jail: JailMode,
    links: Vec<(&'static str, PathBuf)>,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
            worker: "01".parse().unwrap(),
            credentials: Credential::ALL.to_vec(),
            values: BTreeMap::new(),
            jail: JailMode::Bwrap,
            links: Vec::new(),
        };
        place.user(".gitconfig", "[user]\n\tname = Ada\n");
        place.user(".ssh/id_ed25519", "a private key\n");
        place.user(".config/gh/hosts.yml", "github.com: {}\n");
        place
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn put(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn user(&self, relative: &str, text: &str) {
        self.put(&format!("user/{relative}"), text);
    }

    fn link(&self, relative: &str, target: impl AsRef<Path>) {
        symlink(target, self.path("user").join(relative)).unwrap();
    }

    fn template(&self, relative: &str, text: impl AsRef<[u8]>) {
        self.put(&format!("templates/worker/{relative}"), text);
    }

    fn value(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned().into());
    }

    fn create(&self) -> Result<Report, Error> {
        create(&Blueprint {
            worker: &self.worker,
            home: &self.path("root/01"),
            staging_parent: &self.path("root/.pool"),
            templates: Some(&self.path("templates")),
            source_home: &self.path("user"),
            gh_config_dir: &self.path("user/.config/gh"),
            credentials: &self.credentials,
            values: &self.values,
            mode: CredentialMode::Copy,
            jail: self.jail,
            links: &self.links,
            furniture: &self.path("furniture.json"),
        })
    }

    fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path("root/01").join(relative)).unwrap()
    }

    fn json(&self, relative: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(relative)).unwrap()
    }

    /// Fails, and checks that nothing is left of the attempt.
    fn fails(&self) -> Error {
        let error = self.create().unwrap_err();
        assert!(!self.path("root/01").exists());
        assert_eq!(fs::read_dir(self.path("root/.pool")).unwrap().count(), 0);
        error
    }
}

fn why<'a>(report: &'a Report, name: &str) -> &'a Why {
    let mut found = report.skipped.iter().filter(|s| s.path.ends_with(name));
    let skipped = found.next().unwrap_or_else(|| panic!("{name} in {:?}", report.skipped));
    assert!(found.next().is_none(), "{name} is reported twice");
    &skipped.why
}

/// Every path below `dir` with its mode.
fn modes(dir: &Path, out: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        out.push((path.clone(), meta.permissions().mode() & 0o7777));
        if meta.is_dir() {
            modes(&path, out);
        }
    }
}

#[test]
fn a_home_is_private_whatever_the_umask() {
    for mask in [0o000, 0o077] {
        let place = Place::new();
        place.user(".ssh/keys/proxy", "#!/bin/sh\n");
        place.template("bin/tool", "#!/bin/sh\n");
        for tool in ["user/.ssh/keys/proxy", "templates/worker/bin/tool"] {
            fs::set_permissions(place.path(tool), Permissions::from_mode(0o6777)).unwrap();
        }
        fs::set_permissions(place.path("user/.ssh/id_ed25519"), Permissions::from_mode(0o444))
            .unwrap();
        // The mask belongs to the process: this is the only test that changes it.
        let before = umask(Mode::from_bits_truncate(mask));
        let made = place.create();
        umask(before);
        made.unwrap();

        let mut all = Vec::new();
        modes(&place.path("root"), &mut all);
        assert!(all.iter().any(|(path, _)| path.ends_with("01/.ssh/keys/proxy")));
        for (path, mode) in all {
            let tool = path.ends_with("bin/tool") || path.ends_with("keys/proxy");
            let want = if tool || path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, want, "{} under umask {mask:03o}", path.display());
        }
    }
}

#[test]
fn a_home_has_all_its_parts() {
    let mut place = Place::new();
    place.value("GH_TOKEN", "t0ken");
    place.value("ANTHROPIC_API_KEY", "k3y");
    place.links = vec![
        ("task.json", place.path("root/.pool/01/task.json")),
        ("completed", "../.pool/01/completed".into()),
    ];
    let report = place.create().unwrap();
    assert!(report.skipped.is_empty() && report.notes.is_empty(), "{report:?}");
    let files: Vec<_> = report.files.iter().map(|f| f.to_str().unwrap()).collect();
    assert_eq!(
        files,
        [
            ".bashrc",
            ".claude/CLAUDE.md",
            ".claude/settings.json",
            ".config/claude-workers/env.sh",
            ".config/gh/hosts.yml",
            ".config/git/config",
            ".gitconfig",
            ".profile",
            ".ssh/id_ed25519",
            ".zshenv",
            "completed",
            "task.json",
        ]
    );
    assert_eq!(place.read(".ssh/id_ed25519"), "a private key\n");
    assert!(place.path("root/01/outbox").is_dir() && place.path("root/01/github").is_dir());
    let link = |name: &str| fs::read_link(place.path("root/01").join(name)).unwrap();
    assert_eq!(link("task.json"), Path::new("../.pool/01/task.json"));
    assert_eq!(link("completed"), Path::new("../.pool/01/completed"));
    assert!(!format!("{report:?}").contains("t0ken"));
}

#[test]
fn an_existing_id_is_refused_and_not_touched() {
    let place = Place::new();
    place.put("root/01/mine", "kept");
    let error = place.create().unwrap_err();
    assert!(error.to_string().starts_with("worker 01 exists already: /"), "{error}");
    assert_eq!(fs::read_dir(place.path("root/01")).unwrap().count(), 1);

    let place = Place::new();
    fs::create_dir(place.path("root")).unwrap();
    symlink("nowhere", place.path("root/01")).unwrap();
    assert!(matches!(place.create(), Err(Error::Exists { .. })));
}

#[test]
fn leftovers_of_a_dead_attempt_are_removed() {
    let place = Place::new();
    place.put("root/.pool/.new-01-a1B2c3D4/.ssh/id_ed25519", "half");
    place.put("root/.pool/.new-02-a1B2c3D4/x", "of another worker");
    place.create().unwrap();
    assert!(!place.path("root/.pool/.new-01-a1B2c3D4").exists());
    assert!(place.path("root/.pool/.new-02-a1B2c3D4/x").exists());
}

#[test]
fn a_failure_after_files_were_made_leaves_nothing() {
    let place = Place::new();
    place.template(".ssh", "a file where the copied directory should be");
    let error = place.fails();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains(".ssh"), "{error}");
}

#[test]
fn links_to_the_record_are_relative() {
    let relative = |from: &str, to: &str| relative_to(Path::new(from), Path::new(to));
    assert_eq!(relative("/r/01", "/r/.pool/01/x"), Path::new("../.pool/01/x"));
    assert_eq!(relative("/r/01", "/r/01/x"), Path::new("x"));
    assert_eq!(relative("/r/01", "/other/x"), Path::new("../../other/x"));
    assert_eq!(relative("/r/01", "../x"), Path::new("../x"));
}
