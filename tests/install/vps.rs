//! A server, and a GitHub for it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use claude_workers::fakehub::{FakeHub, NewIssue, NewRepo, Options, PullView};
use serde_json::Value;
use tempfile::TempDir;

use crate::processes::wait_until;

pub const REPO: &str = "octo/app";
const TOKEN: &str = "ghp_the0token0of0octo";
const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

/// A server. It ends when this is dropped, and at the latest with the test program.
pub struct Vps {
    boot: Child,
    /// Its systemd, as this machine sees it.
    init: String,
    /// The client's ssh: configuration, key, known hosts.
    ssh: TempDir,
    /// `/srv`: the checkout's `install`, the program, and what a test adds.
    pub srv: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

pub fn command(program: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the program's own room is not for tests")]
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
    command
}

/// `tests/install/vps`, as root.
fn vps(words: &[&str]) -> Command {
    let script = format!("{CHECKOUT}/tests/install/vps");
    let mut command = if nix::unistd::geteuid().is_root() {
        command(script)
    } else {
        let mut sudo = command("sudo");
        sudo.arg("--non-interactive").arg(script);
        sudo
    };
    command.args(words);
    command
}

impl Vps {
    /// A server with nothing but what any has.
    pub fn fresh() -> Self {
        Self::boot("fresh")
    }

    /// A server that has the Debian packages already.
    pub fn ready() -> Self {
        Self::boot("ready")
    }

    fn boot(base: &str) -> Self {
        let srv = TempDir::new().unwrap();
        fs::create_dir(srv.path().join("install")).unwrap();
        for name in ["cw", "cw-ssh", "setup-vps"] {
            let from = Path::new(CHECKOUT).join("install").join(name);
            fs::copy(from, srv.path().join("install").join(name)).unwrap();
        }
        let program = srv.path().join("claude-workers");
        fs::copy(env!("CARGO_BIN_EXE_claude-workers"), program).unwrap();
        command("chmod").args(["-R", "a+rX"]).arg(srv.path()).status().unwrap();

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut boot = vps(&["boot", base, &port.to_string(), srv.path().to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut init = String::new();
        BufReader::new(boot.stdout.take().unwrap()).read_line(&mut init).unwrap();
        assert!(
            !init.is_empty(),
            "no server: run `tests/run`, which prepares it, as root or with sudo"
        );

        let ssh = TempDir::new().unwrap();
        let place = ssh.path().display();
        let config = format!(
            "Host vps\n HostName 127.0.0.1\n Port {port}\n User worker\n IdentityFile {place}/key\n \
             IdentitiesOnly yes\n UserKnownHostsFile {place}/known\n \
             StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
        );
        fs::write(ssh.path().join("config"), config).unwrap();
        let made = command("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(ssh.path().join("key"))
            .status();
        assert!(made.unwrap().success());
        let vps = Self { boot, init: init.trim().to_owned(), ssh, srv };
        // As providers leave it.
        let key = fs::read_to_string(vps.ssh.path().join("key.pub")).unwrap();
        vps.write("/root/.ssh/authorized_keys", &key);
        vps
    }

    /// A command in the server, as root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = vps(&["in", &self.init]);
        command.args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        self.command(words).output().unwrap().into()
    }

    /// Runs a command that must go well, and returns what it printed.
    #[track_caller]
    pub fn must(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.out
    }

    /// A line of shell, as root; it must go well.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        self.must(&["sh", "-euc", line])
    }

    /// Writes a file of the server's, as root. What is there keeps its mode.
    pub fn write(&self, path: &str, text: &str) {
        let line = "mkdir -p -- \"${1%/*}\" && cat >\"$1\"";
        let mut child =
            self.command(&["sh", "-euc", line, "sh", path]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{path}");
    }

    /// `setup-vps` with the program of this build.
    pub fn setup(&self, words: &[&str]) -> Ran {
        let script = ["/srv/install/setup-vps", "--binary", "/srv/claude-workers"];
        self.run(&[&script[..], words].concat())
    }

    /// `setup-vps`, which must go well; returns what it printed.
    #[track_caller]
    pub fn must_setup(&self, words: &[&str]) -> String {
        let ran = self.setup(words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    }

    /// The client's plain ssh.
    pub fn ssh(&self) -> Command {
        let mut ssh = command("ssh");
        ssh.arg("-F").arg(self.ssh.path().join("config"));
        ssh
    }

    /// The environment in which the laptop's script finds this server, over one connection.
    pub fn laptop(&self) -> [(&'static str, String); 2] {
        let place = self.ssh.path().display();
        let ssh = format!(
            "ssh -F {place}/config -o ControlMaster=auto -o ControlPersist=yes -o ControlPath={place}/control"
        );
        [("CW_HOST", "vps".to_owned()), ("CW_SSH", ssh)]
    }

    /// `cw` on the laptop.
    pub fn cw(&self) -> Command {
        let mut cw = command(laptops_script());
        cw.envs(self.laptop());
        cw
    }
}

/// `install/cw-ssh`.
pub fn laptops_script() -> PathBuf {
    Path::new(CHECKOUT).join("install/cw-ssh")
}

impl Drop for Vps {
    fn drop(&mut self) {
        let _ = self
            .ssh()
            .arg("-o")
            .arg(format!("ControlPath={}/control", self.ssh.path().display()))
            .args(["-O", "exit", "vps"])
            .stderr(Stdio::null())
            .status();
        drop(self.boot.stdin.take());
        let _ = self.boot.wait();
    }
}

/// A GitHub, and a worker on the server whose agent waits until it is told to go on.
pub struct World {
    pub vps: Vps,
    hub: FakeHub,
    _dir: TempDir,
}

/// The agent: says that it is there, waits, and commits.
const AGENT: &str = "\
#!/bin/sh
set -eu
: >\"$HOME/started\"
until [ -e \"$HOME/go\" ]; do sleep 0.1; done
echo two >notes.txt
git commit --quiet --all --message='Mend the notes'
";

impl World {
    /// Sets up a server with `tick`, and makes worker 01.
    pub fn new(tick: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let hub = FakeHub::start(&Options::new(dir.path())).unwrap();
        hub.add_user("octo").unwrap();
        hub.add_token("octo", TOKEN, None).unwrap();
        hub.add_repo(&NewRepo::new(REPO).private().file("notes.txt", "one\n")).unwrap();
        let vps = Vps::ready();
        fs::write(vps.srv.path().join("token"), TOKEN).unwrap();
        fs::write(vps.srv.path().join("agent"), AGENT).unwrap();
        let env =
            format!("GITHUB_API_URL={}\nGITHUB_SERVER_URL='{}'\n", hub.api_url(), hub.server_url());
        fs::write(vps.srv.path().join("env"), env).unwrap();
        vps.must_setup(&[
            tick,
            "--token-file=/srv/token",
            "--env-file",
            "/srv/env",
            "--repo",
            REPO,
        ]);
        vps.sh("install /srv/agent /usr/local/bin/agent");
        vps.sh("file=/home/worker/.config/claude-workers/config.toml
            { echo 'executor = \"mine\"'; cat $file; echo '[executors.mine]'
              echo 'command = [\"/usr/local/bin/agent\"]'; } >/tmp/config; cat /tmp/config >$file");
        vps.must(&["cw", "init", "01"]);
        Self { vps, hub, _dir: dir }
    }

    pub fn open_issue(&self) -> u64 {
        self.hub.add_issue(REPO, &NewIssue::new("octo", "Mend the notes")).unwrap()
    }

    pub fn pulls(&self) -> Vec<PullView> {
        self.hub.pulls(REPO).unwrap()
    }

    /// Worker 01's state.
    pub fn state(&self) -> String {
        let status: Value =
            serde_json::from_str(&self.vps.must(&["cw", "status", "--json"])).unwrap();
        status["workers"][0]["state"].as_str().unwrap().to_owned()
    }

    fn wait_for(&self, what: &str, happened: impl FnMut() -> bool) {
        let explain = || self.vps.sh("cat /home/worker/workers/.pool/01/*.log || true; cw history");
        wait_until(what, explain, happened);
    }

    /// Waits until the agent is at work.
    pub fn wait_for_agent(&self) {
        let started = ["test", "-e", "/home/worker/workers/01/started"];
        self.wait_for("the agent is at work", || self.vps.run(&started).code == Some(0));
    }

    /// Tells the agent to go on, and waits until the run is over.
    pub fn finish(&self) {
        self.vps.sh("touch /home/worker/workers/01/go");
        self.wait_for("worker 01 is idle", || self.state() == "idle");
        self.vps.sh("rm /home/worker/workers/01/go /home/worker/workers/01/started");
    }
}
