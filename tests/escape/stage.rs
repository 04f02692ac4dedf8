//! Attempts, and the stage on which they are made: a world full of secrets, and a process of the
//! host that holds one in every place where a process can.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use claude_workers::domain::Outcome;
use nix::pty::{OpenptyResult, openpty};

use crate::world::{APP, Config, TRUNK, World, app};

/// What must not be seen.
pub const TREASURE: &str = "TREASURE of the host";

/// One attempt: a script that ends well if it got what must be out of reach.
pub struct Try {
    pub name: &'static str,
    script: &'static str,
    /// Where its end proves nothing because a jail has a world of its own: whether the host's has
    /// changed.
    seen: Option<fn(&Stage) -> bool>,
    needs: Needs,
}

/// Why some attempts prove nothing where the tests are not run by root.
pub const NEEDS_ROOT: &str = "needs root";

/// What the attempt takes to succeed where there is no wall.
enum Needs {
    Nothing,
    Root,
    /// More than a test can have.
    More(&'static str),
}

impl Try {
    pub const fn new(name: &'static str, script: &'static str) -> Self {
        Self { name, script, seen: None, needs: Needs::Nothing }
    }

    pub const fn seen(mut self, on_host: fn(&Stage) -> bool) -> Self {
        self.seen = Some(on_host);
        self
    }

    pub const fn needs_root(mut self) -> Self {
        self.needs = Needs::Root;
        self
    }

    pub const fn unproven(mut self, why: &'static str) -> Self {
        self.needs = Needs::More(why);
        self
    }

    /// Why it cannot be shown here that it succeeds without the wall, if so.
    pub fn unproven_because(&self) -> Option<&'static str> {
        match self.needs {
            Needs::Nothing => None,
            Needs::Root if nix::unistd::geteuid().is_root() => None,
            Needs::Root => Some(NEEDS_ROOT),
            Needs::More(why) => Some(why),
        }
    }
}

pub struct Stage {
    pub world: World,
    /// Where the host has what no run is told of.
    pub away: tempfile::TempDir,
    victim: Option<Child>,
    vars: Vec<(&'static str, String)>,
    terminal: OpenptyResult,
}

/// The helper that tries what a shell cannot.
fn helper() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("tries");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/escape/tries.c");
        host("cc", &["-O1", "-o", program.to_str().unwrap(), source]);
        fs::read(program).unwrap()
    })
}

/// A program of the host, which must succeed.
#[track_caller]
pub fn host(program: &str, args: &[&str]) -> String {
    let out = plain(program).args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "what the host does beside the program")]
pub fn plain(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn executable(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn jailed() -> Config {
    Config::default()
}

/// The same agent without a wall.
pub fn open() -> Config {
    Config { sandbox: "mode = 'none'", network: Some("mode = 'host'".into()), ..Config::default() }
}

impl Stage {
    pub fn new(config: &Config) -> Self {
        let world = World::bare(config);
        world.hub.add_repo(&app()).unwrap();
        world.init(&["01", "02"]);
        // The mirror and the locks are there from now on.
        world.cron(&["assign"]).ok();
        world.agent("true");
        world.cron(&["dispatch", "-r", APP, "-p", "Begin", "-w", "01"]).ok();
        world.quiet();

        let away = tempfile::tempdir().unwrap();
        let at = |name: &str| away.path().join(name);
        executable(&at("tries"), helper(), 0o755);
        for dir in ["cwd", "fired"] {
            fs::create_dir(at(dir)).unwrap();
        }
        for name in ["treasure", "cwd/treasure"] {
            executable(&at(name), TREASURE.as_bytes(), 0o600);
        }
        answering(UnixListener::bind(at("socket")).unwrap());
        let nameless = format!("nameless-{}", away.path().file_name().unwrap().display());
        let name = SocketAddr::from_abstract_name(nameless.as_bytes()).unwrap();
        answering(UnixListener::bind_addr(&name).unwrap());

        // Keys of shared memory are the machine's: nobody else has our PID in his.
        let key = (0x7000_0000 | std::process::id()).to_string();
        let mut victim = plain(at("tries"))
            .args(["victim", TREASURE, at("treasure").to_str().unwrap(), &key])
            .env_clear()
            .env("SECRET", TREASURE)
            .current_dir(at("cwd"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(victim.stdout.take().unwrap()).read_line(&mut address).unwrap();

        let terminal = openpty(None, None).unwrap();
        let tty = nix::unistd::ttyname(&terminal.slave).unwrap();
        let agents = world.dir.join("agents");
        executable(&agents.join("tries"), helper(), 0o755);
        executable(&agents.join("setuid-tries"), helper(), 0o4755);
        let mirror = world.root.mirror(world.hub.server_url(), &APP.parse().unwrap());
        let vars = [
            ("T", agents.join("tries")),
            ("AGENTS", agents),
            ("ROOT", world.root.path().to_owned()),
            ("POOL", world.root.pool()),
            ("USER_HOME", world.user_home()),
            ("MIRROR", mirror),
            ("AWAY", away.path().to_owned()),
            ("TREASURE_FILE", at("treasure")),
            ("TTY", tty),
        ];
        let mut vars: Vec<_> =
            vars.into_iter().map(|(name, path)| (name, path.display().to_string())).collect();
        vars.push(("VICTIM", victim.id().to_string()));
        vars.push(("VICTIM_AT", address.trim().to_owned()));
        vars.push(("VICTIM_KEY", key));
        vars.push(("NAMELESS", nameless));
        let stage = Self { world, away, victim: Some(victim), vars, terminal };
        stage.plant();
        stage
    }

    /// Secrets in all places that a run must not see.
    fn plant(&self) {
        let user = self.world.user_home();
        let pool = self.world.root.pool();
        for path in [
            user.join(".ssh/id_ed25519"),
            user.join(".netrc"),
            user.join(".bash_history"),
            user.join(".config/gh/hosts.yml"),
            user.join(".config/claude-workers/notes"),
            self.world.home("02").join("notes"),
            self.world.dir.join("notes"),
            self.clone_dir().with_file_name("vault").join("notes"),
            self.world.home("01").join("github/other/vault/notes"),
            pool.join("02/notes"),
            self.mirror().with_file_name("other.git").join("notes"),
            self.mirror().join("planted"),
            PathBuf::from(format!("/dev/shm/{}", self.name())),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            executable(&path, TREASURE.as_bytes(), 0o600);
        }
    }

    /// A name that nobody else has.
    pub fn name(&self) -> String {
        self.away.path().file_name().unwrap().to_string_lossy().replace('.', "escape-")
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.away.path().join(name)
    }

    pub fn mirror(&self) -> PathBuf {
        self.world.root.mirror(self.world.hub.server_url(), &APP.parse().unwrap())
    }

    pub fn clone_dir(&self) -> PathBuf {
        self.world.root.clone_of(&"01".parse().unwrap(), &APP.parse().unwrap())
    }

    /// An agent that knows the way to everything.
    pub fn agent(&self, script: &str) {
        let mut head = String::new();
        for (name, value) in &self.vars {
            head.push_str(&format!("export {name}='{value}'\n"));
        }
        head.push_str(&format!("export prompt issue outbox SHM='/dev/shm/{}'\n", self.name()));
        head.push_str("git config user.name a; git config user.email a@b.c\n");
        self.world.agent(&format!("{head}{script}"));
    }

    /// What arrived at the terminal of the host.
    pub fn terminal_saw(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut fds = [PollFd::new(self.terminal.master.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    /// Makes the attempts in one run, and gives the names of those that got through.
    pub fn reached(&self, tries: &[Try]) -> BTreeSet<&'static str> {
        let dir = self.world.dir.join("agents");
        let mut agent = format!(
            "attempt() {{
                timeout -s KILL 20 sh {}/$1.try >/dev/null 2>&1 </dev/null && echo \"REACHED $1\"
                echo \"TRIED $1\"
            }}\n",
            dir.display()
        );
        for one in tries {
            fs::write(dir.join(format!("{}.try", one.name)), one.script).unwrap();
            agent.push_str(&format!("attempt {}\n", one.name));
        }
        self.agent(&agent);
        // The dispatcher has a key in its session's keyring and a secret in its environment.
        let out = plain(self.at("tries"))
            .args(["with-key", env!("CARGO_BIN_EXE_claude-workers")])
            .args(["dispatch", "-r", APP, "-p", "Get out", "-w", "01"])
            .env_clear()
            .env("HOME", self.world.user_home())
            .env("SECRET", TREASURE)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        self.world.quiet();
        let run = self.world.last_run();
        assert_eq!(run.outcome(), Some(Outcome::Succeeded), "{run:?}");
        let said = self.world.cron(&["logs", "01"]).ok().out;
        let has = |word: &str, one: &Try| {
            let line = format!("{word} {}", one.name);
            said.lines().any(|l| l == line)
        };
        for one in tries {
            assert!(has("TRIED", one), "{} was not tried: {said}", one.name);
        }
        let reached = |one: &&Try| one.seen.map_or_else(|| has("REACHED", one), |seen| seen(self));
        tries.iter().filter(reached).map(|one| one.name).collect()
    }
}

/// The table, in the jail and without one.
#[track_caller]
pub fn try_all(tries: &[Try]) {
    let reached = Stage::new(&jailed()).reached(tries);
    assert!(reached.is_empty(), "reached from inside of the jail: {reached:?}");
    let reached = Stage::new(&open()).reached(tries);
    let missed: Vec<_> = tries
        .iter()
        .filter(|one| one.unproven_because().is_none() && !reached.contains(one.name))
        .map(|one| one.name)
        .collect();
    assert!(missed.is_empty(), "not reached without a jail either: {missed:?}");
}

/// A service of the host that tells everybody.
fn answering(listener: UnixListener) {
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(TREASURE.as_bytes());
        }
    });
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut victim) = self.victim.take() {
            // Its standard input ends, and it takes its shared memory along.
            drop(victim.stdin.take());
            let _ = victim.wait();
        }
        let _ = fs::remove_file(format!("/dev/shm/{}", self.name()));
    }
}

/// A branch of the repository on GitHub that is not the default one.
pub fn refs(world: &World, repo: &str) -> Vec<String> {
    let dir = world.hub.repo_dir(repo).unwrap();
    let dir = dir.to_str().unwrap();
    let all = host("git", &["--git-dir", dir, "for-each-ref", "--format=%(refname)"]);
    let trunk = format!("refs/heads/{TRUNK}");
    all.lines().filter(|name| *name != trunk).map(str::to_owned).collect()
}
