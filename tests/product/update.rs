//! `update`: the program under test is the real one, copied to where it would be installed; the
//! newer one comes from a small package of the same name, by real git and real cargo.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use claude_workers::domain::Outcome;
use claude_workers::process::command;
use claude_workers::store::UpdateLock;

use crate::world::{APP, Said, World};

const REAL: &str = env!("CARGO_BIN_EXE_claude-workers");

/// A program that answers what it must, and writes down how it is called to refresh.
const SMALL: &str = r#"
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args[0].as_str() {
        "--version" => println!("claude-workers 0.2.0 {}", MARK),
        "status" => println!("{{\"version\": 1, \"workers\": []}}"),
        "refresh" => {
            let home = std::env::var("HOME").unwrap();
            std::fs::write(home + "/refreshed", args.join(" ")).unwrap();
        }
        other => panic!("{other}"),
    }
}
"#;

/// A world with an upstream repository, and a checkout of it.
struct Place {
    world: World,
}

impl Place {
    fn new() -> Self {
        let place = Self { world: World::new() };
        place.git(".", &["init", "-q", "--bare", "-b", "main", "upstream.git"]);
        place.git(".", &["clone", "-q", "upstream.git", "author"]);
        let package = "[package]\nname = 'claude-workers'\nversion = '0.2.0'\nedition = '2024'\n";
        place.write("author/Cargo.toml", package);
        place.write("author/.gitignore", "target\n");
        let lock = "version = 4\n\n[[package]]\nname = \"claude-workers\"\nversion = \"0.2.0\"\n";
        place.write("author/Cargo.lock", lock);
        place.publish("one");
        place.git(".", &["clone", "-q", "upstream.git", "checkout"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The environment of somebody who has git and cargo.
    fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let cargo = Path::new(env!("CARGO")).parent().unwrap().display();
        vec![
            ("HOME", self.world.user_home().into()),
            ("PATH", format!("{cargo}:/usr/local/bin:/usr/bin:/bin").into()),
            ("CARGO_HOME", self.path("cargo-home").into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_AUTHOR_NAME", "Ada".into()),
            ("GIT_AUTHOR_EMAIL", "ada@localhost".into()),
            ("GIT_COMMITTER_NAME", "Ada".into()),
            ("GIT_COMMITTER_EMAIL", "ada@localhost".into()),
        ]
    }

    fn with_tools(&self, program: &mut assert_cmd::Command) {
        program.env_clear().envs(self.environment());
    }

    fn git(&self, dir: &str, args: &[&str]) -> String {
        let mut git = assert_cmd::Command::new("git");
        self.with_tools(&mut git);
        let out = git.current_dir(self.path(dir)).args(args).unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// A new version at the upstream; returns its commit.
    fn publish(&self, mark: &str) -> String {
        self.publish_source(&format!("const MARK: &str = {mark:?};\n{SMALL}"))
    }

    fn publish_source(&self, main: &str) -> String {
        self.write("author/src/main.rs", main);
        self.git("author", &["add", "--all"]);
        self.git("author", &["commit", "-q", "--allow-empty", "-m", "A version"]);
        self.git("author", &["push", "-q", "origin", "HEAD:main"]);
        self.git("author", &["rev-parse", "HEAD"])
    }

    /// A release in the registry.
    fn release(&self, version: &str, mark: &str) {
        for file in ["author/Cargo.toml", "author/Cargo.lock"] {
            let old = fs::read_to_string(self.path(file)).unwrap();
            self.write(file, &old.replace("0.2.0", version));
        }
        self.publish(mark);
        let mut cargo = assert_cmd::Command::new(env!("CARGO"));
        self.with_tools(&mut cargo);
        let package = ["package", "--quiet", "--no-verify", "--allow-dirty"];
        cargo.current_dir(self.path("author")).args(package).unwrap();
        let name = format!("claude-workers-{version}.crate");
        let index = "registry/index/cl/au/claude-workers";
        let mut entries = fs::read_to_string(self.path(index)).unwrap_or_default();
        let made = self.path(&format!("author/target/package/{name}"));
        let sum = assert_cmd::Command::new("sha256sum").arg(&made).unwrap().stdout;
        let sum = String::from_utf8(sum).unwrap();
        let entry = serde_json::json!({
            "name": "claude-workers", "vers": version, "deps": [], "features": {},
            "cksum": sum.split(' ').next().unwrap(), "yanked": false,
        });
        entries.push_str(&format!("{entry}\n"));
        self.write(index, &entries);
        fs::copy(made, self.path("registry").join(name)).unwrap();
    }

    /// Installs with cargo, and puts the real program where cargo has put its own.
    fn install(&self, from: &[&str]) -> PathBuf {
        let mut cargo = assert_cmd::Command::new(env!("CARGO"));
        self.with_tools(&mut cargo);
        let root = self.path("cargo-home");
        cargo.current_dir("/").args(["install", "--debug", "--locked", "--root"]).arg(&root);
        cargo.args(from).unwrap();
        Self::put(root.join("bin/claude-workers"))
    }

    fn install_checkout(&self) -> PathBuf {
        self.install(&["--path", self.path("checkout").to_str().unwrap()])
    }

    fn put(program: PathBuf) -> PathBuf {
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&program);
        fs::copy(REAL, &program).unwrap();
        program
    }

    fn program(&self, program: &Path, args: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(program);
        self.with_tools(&mut command);
        command.args(args);
        command
    }

    fn run(&self, program: &Path, args: &[&str]) -> Said {
        Said::of(&self.program(program, args).output().unwrap())
    }

    /// How the new program was called to refresh, if it was.
    fn refreshed(&self) -> Option<String> {
        fs::read_to_string(self.world.user_home().join("refreshed")).ok()
    }

    /// Lets every program that cargo links here be the real one, with `tag` behind its last byte.
    fn links_the_real_one(&self, tag: &str) {
        self.write("tag", tag);
        let script = format!(
            "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\ncat {REAL} {} >\"$2\"\nchmod 755 \"$2\"\n",
            self.path("tag").display()
        );
        self.write("link", &script);
        fs::set_permissions(self.path("link"), Permissions::from_mode(0o755)).unwrap();
        let config =
            format!("[build]\nrustflags = ['-C', 'linker={}']\n", self.path("link").display());
        self.write("cargo-home/config.toml", &config);
    }
}

fn same_file(path: &Path) -> (u64, u64, i64) {
    let meta = fs::metadata(path).unwrap();
    (meta.ino(), meta.len(), meta.mtime_nsec())
}

#[test]
fn a_checkout_is_pulled_built_tried_and_put_in_place() {
    for installed in [true, false] {
        let place = Place::new();
        let program = if installed {
            place.install_checkout()
        } else {
            Place::put(place.path("checkout/target/debug/claude-workers"))
        };
        fs::set_permissions(&program, Permissions::from_mode(0o750)).unwrap();
        let commit = place.publish("two");
        let before = (same_file(&program), place.git("checkout", &["rev-parse", "HEAD"]));
        place.run(&program, &["update", "--check"]).exits(8).says(&commit[..12]);
        place.run(&program, &["update", "--dry-run"]).ok().says("in the place of");
        let after = (same_file(&program), place.git("checkout", &["rev-parse", "HEAD"]));
        assert_eq!(after, before);
        let said = place.run(&program, &["update"]).ok();
        assert_eq!(said.out, format!("claude-workers is {} now\n", &commit[..12]));
        place.run(&program, &["--version"]).ok().says("0.2.0 two");
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o7777, 0o750);
        assert!(place.refreshed().unwrap().starts_with("refresh --all --root "));
        let dir = fs::read_dir(program.parent().unwrap()).unwrap().flatten();
        assert_eq!(dir.filter(|e| e.file_name().to_string_lossy().ends_with(".new")).count(), 0);
    }
}

#[test]
fn what_came_from_a_git_repository_comes_from_there_again() {
    let place = Place::new();
    let url = format!("file://{}", place.path("upstream.git").display());
    let program = place.install(&["--git", &url, "--branch", "main"]);
    let first = place.git("author", &["rev-parse", "HEAD"]);
    for args in [&["update", "--check"][..], &["update"]] {
        let said = place.run(&program, args).ok();
        assert_eq!(said.out, format!("claude-workers is up to date: {}\n", &first[..12]));
    }
    let commit = place.publish("two");
    place.run(&program, &["update", "--check"]).exits(8).says(&first[..12]);
    place.run(&program, &["update"]).ok().says(&commit[..12]);
    place.run(&program, &["--version"]).ok().says("0.2.0 two");
}

#[test]
fn what_came_from_a_registry_comes_from_there_again() {
    let place = Place::new();
    let registry = place.path("registry");
    let config = "[source.crates-io]\nreplace-with = 'here'\n[source.here]\nlocal-registry = ";
    place.write("cargo-home/config.toml", &format!("{config}{registry:?}\n"));
    place.release("0.2.0", "one");
    let program = place.install(&["claude-workers"]);
    place.run(&program, &["update", "--check"]).ok().says("up to date: 0.2.0");
    place.release("0.3.0", "two");
    place.run(&program, &["update", "--check"]).exits(8).says("crates.io has 0.3.0; this is 0.2.0");
    place.run(&program, &["update"]).ok().says("claude-workers is 0.3.0 now");
    place.run(&program, &["--version"]).ok().says("two");
}

#[test]
fn a_run_that_is_under_way_goes_on_while_the_program_is_replaced() {
    let place = Place::new();
    let world = &place.world;
    world.init(&["02"]);
    let program = place.install_checkout();
    // The same once more: nothing to do, and known from now on.
    place.links_the_real_one("");
    let first = place.git("author", &["rev-parse", "HEAD"]);
    place.run(&program, &["update", "--check"]).exits(8).says("is not known");
    let before = same_file(&program);
    for args in [&["update"][..], &["update"], &["update", "--check"]] {
        let said = place.run(&program, args).ok();
        assert_eq!(said.out, format!("claude-workers is up to date: {}\n", &first[..12]));
    }
    assert_eq!(same_file(&program), before);

    world.issue("One");
    world.agent("mark start; while ! test -e ~/go; do sleep 0.05; done; commit a b");
    place.run(&program, &["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.wait_until("the agent works", || world.marks() == ["start"]);
    place.links_the_real_one("newer");
    let commit = place.publish("two");
    fs::write(world.home("02").join(".zshenv"), "old").unwrap();
    let said = place.run(&program, &["update"]).ok().says("worker 02: 1 file changed");
    assert!(said.out.contains(&format!("is {} now", &commit[..12])), "{said:?}");
    assert!(said.err.contains("worker 01 is busy") && said.err.contains("--wait"), "{said:?}");
    assert!(fs::read(&program).unwrap().ends_with(b"newer"));
    place.run(&program, &["status", "01"]).ok().says("busy");
    fs::write(world.home("01").join("go"), "").unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    place.run(&program, &["update", "--check"]).ok().says("up to date");
}

#[test]
fn a_run_goes_on_with_the_version_that_it_was_started_by() {
    let place = Place::new();
    let world = &place.world;
    let program = place.install_checkout();
    world.issue("One");
    world.agent("mark start; while ! test -e ~/go; do sleep 0.05; done; commit a b");
    place.run(&program, &["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.wait_until("the agent works", || world.marks() == ["start"]);
    // The new one understands nothing of what a supervisor asks of its own program.
    place.publish("another");
    place.run(&program, &["update"]).ok();
    assert!(place.refreshed().is_some());
    fs::write(world.home("01").join("go"), "").unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn a_version_that_does_not_work_does_not_take_the_place() {
    let place = Place::new();
    let program = place.install_checkout();
    let before = same_file(&program);
    let version = r#"if std::env::args().any(|a| a == "--version") { println!("claude-workers 9"); return; }"#;
    for (main, why) in [
        ("fn main() { this is not Rust }".to_owned(), "cargo build failed"),
        ("fn main() { std::process::exit(3) }".to_owned(), "`--version` fails"),
        (
            r#"fn main() { println!("something else") }"#.to_owned(),
            "`--version` says something else",
        ),
        (format!("fn main() {{ {version} panic!(\"oh dear\") }}"), "oh dear"),
        (
            format!("fn main() {{ {version} println!(\"idle\") }}"),
            "`status --json` says something else",
        ),
    ] {
        place.publish_source(&main);
        let said = place.run(&program, &["update"]).exits(1).says(why);
        assert!(said.err.contains("hint: "), "{said:?}");
        assert_eq!(same_file(&program), before);
        place.run(&program, &["status"]).ok();
    }
    assert_eq!(place.refreshed(), None);
    place.publish("works");
    place.run(&program, &["update"]).ok();
}

#[test]
fn an_update_that_is_killed_leaves_the_old_program_and_can_be_done_again() {
    let place = Place::new();
    let program = place.install_checkout();
    let before = same_file(&program);
    let (building, go) = (place.path("building"), place.path("go"));
    place.write("author/build.rs", &format!(
        "fn main() {{ std::fs::write({building:?}, \"\").unwrap(); while !std::path::Path::new({go:?})\
         .exists() {{ std::thread::sleep(std::time::Duration::from_millis(20)); }} }}"
    ));
    place.publish("two");
    let mut update = command(&program);
    update.arg("update").envs(place.environment());
    update.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut update = update.spawn().unwrap();
    place.world.wait_until("cargo builds", || building.exists());
    place.run(&program, &["update"]).exits(1).says("another update is under way");
    update.kill().unwrap();
    update.wait().unwrap();
    assert_eq!(same_file(&program), before);
    place.run(&program, &["status"]).ok().says("idle");
    // What a later death leaves, beside the program.
    fs::write(program.with_file_name(".claude-workers.new"), "half").unwrap();
    fs::write(go, "").unwrap();
    place.run(&program, &["update"]).ok();
    place.run(&program, &["--version"]).ok().says("0.2.0 two");
    assert!(!program.with_file_name(".claude-workers.new").exists());
}

#[test]
fn a_checkout_that_is_somebody_s_work_is_not_touched() {
    let place = Place::new();
    let program = place.install_checkout();
    let refused = |why: &str| {
        let before = (same_file(&program), place.git("checkout", &["rev-parse", "HEAD"]));
        for args in [&["update"][..], &["update", "--check"]] {
            place.run(&program, args).exits(1).says(why);
        }
        assert_eq!((same_file(&program), place.git("checkout", &["rev-parse", "HEAD"])), before);
    };
    place.write("checkout/src/main.rs", "// mine\n");
    refused("has changes that are not committed");
    place.git("checkout", &["commit", "-q", "-a", "-m", "Mine"]);
    place.publish("two");
    refused("has diverged: main has 1 commits of its own and lacks 1");
    place.git("checkout", &["reset", "-q", "--hard", "origin/main"]);
    place.git("checkout", &["checkout", "-q", "--detach"]);
    refused("is on no branch");
    place.git("checkout", &["checkout", "-q", "-b", "own"]);
    refused("follows no branch of a remote");
    place.git("checkout", &["checkout", "-q", "main"]);
    fs::rename(place.path("upstream.git"), place.path("gone.git")).unwrap();
    refused("git fetch failed");
    fs::rename(place.path("checkout/.git"), place.path("git")).unwrap();
    place.run(&program, &["update"]).exits(1).says("cannot be used");
}

#[test]
fn a_program_that_something_else_put_there_is_left_to_it() {
    let place = Place::new();
    let program = Place::put(place.path("usr/local/bin/claude-workers"));
    for args in [&["update"][..], &["update", "--check"], &["update", "--dry-run"]] {
        place.run(&program, args).exits(1).says("install/setup-vps --binary");
    }
    assert!(!place.world.root.update().join("target").exists());
}

#[test]
fn one_update_at_a_time() {
    let place = Place::new();
    let program = place.install_checkout();
    let held = UpdateLock::try_take(&place.world.root).unwrap().unwrap();
    place.run(&program, &["update"]).exits(1).says("another update is under way");
    drop(held);
}
