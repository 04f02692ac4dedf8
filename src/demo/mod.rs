//! The demo: the whole path on one machine, without an account, a key or a network.
//!
//! An embedded GitHub with a small repository and three open issues, two workers, `assign` run as
//! cron would run it, and a scripted agent that really edits and commits. Everything between the
//! issue and the pull request is the product's own code, started as its users start it; only GitHub
//! and the agent's mind are replaced.

pub mod agent;
mod shop;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::domain::{Phase, WorkerId};
use crate::fakehub::{FakeHub, Options};
use crate::ops::{Exit, Failure};
use crate::process::command;
use crate::store::{self, Root, State, make_private_dir, write_private};

/// Where the demo lives while it runs.
struct Stage {
    hub: FakeHub,
    dir: PathBuf,
    program: PathBuf,
    git: PathBuf,
    root: Root,
    interrupts: Interrupts,
}

fn failed(what: &str, e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("demo: {what}: {e}"))
}

/// Runs the demo. `keep`: leave the embedded GitHub running until the program is ended. `search_path`
/// is where programs are looked for; `say` prints a line.
///
/// # Errors
/// When git is missing, something cannot be started, or an issue ends without a pull request.
pub fn run(
    keep: bool,
    search_path: Option<&str>,
    say: &mut dyn FnMut(&str),
) -> Result<ExitCode, Failure> {
    let interrupts = Interrupts::take().map_err(|e| failed("cannot wait for signals", e))?;
    let place = tempfile::Builder::new()
        .prefix("claude-workers-demo-")
        .tempdir()
        .map_err(|e| failed("cannot make a directory", e))?;
    let mut tools = store::Tools::default();
    let mut find = |name: &str| tools.find(name, search_path, place.path());
    let git = find("git").ok_or_else(|| {
        Failure::new(Exit::Failed, "demo: git was not found").hint("apt-get install git")
    })?;
    let jail = find("bwrap").is_some_and(|bwrap| a_jail_can_be_had(&bwrap));
    let dir = place.path().canonicalize().map_err(|e| failed("cannot find the directory", e))?;
    let stage = Stage {
        hub: FakeHub::start(&Options { git_dir: dir.join("github"), port: 0, git: git.clone() })
            .map_err(|e| failed("the embedded GitHub does not start", e))?,
        program: std::env::current_exe().map_err(|e| failed("cannot find this program", e))?,
        git,
        root: Root::new(dir.join("workers")),
        dir,
        interrupts,
    };
    shop::open(&stage.hub).map_err(|e| failed("the repository cannot be made", e))?;
    stage.configure(jail)?;
    say(&format!(
        "An embedded GitHub at {} holds {} with three open issues:",
        stage.hub.server_url(),
        shop::REPO
    ));
    for issue in stage.issues()? {
        say(&format!("  #{} {}", issue.0, issue.1));
    }
    if !jail {
        say("");
        say(
            "note: bubblewrap cannot be used here (`apt-get install bubblewrap`), so the demo's own",
        );
        say("      scripted agent runs without the jail. A real agent would not be started.");
    }
    say("");
    stage.cron(&["init", "01", "02"], say)?;
    let result = stage.work(say).and_then(|()| stage.show(say));
    if keep {
        // The directory stays, whatever happens next.
        let dir = place.keep();
        say("");
        say(&format!("Kept: {}", dir.display()));
        say(&format!(
            "  GITHUB_API_URL={}  (token: {})",
            stage.hub.api_url(),
            stage.token_file().display()
        ));
        say(&format!("  claude-workers --config {} status", stage.config_file().display()));
        result?;
        say("The embedded GitHub answers until you press Ctrl-C.");
        stage.interrupts.within(PollTimeout::NONE);
        return Ok(ExitCode::SUCCESS);
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// A real start, not a look at a version: user namespaces may be off.
fn a_jail_can_be_had(bwrap: &Path) -> bool {
    command(bwrap)
        .args([
            "--unshare-user",
            "--unshare-pid",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--",
            "true",
        ])
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// TERM and INT, seen between two looks instead of ending the demo in the middle: it cleans up first.
struct Interrupts(SignalFd);

impl Interrupts {
    /// To be called before any thread is started, so that none is left to be ended by the signals.
    fn take() -> nix::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map(Self)
    }

    /// Waits, at most so many milliseconds; says whether one came.
    fn within(&self, wait: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, wait).is_ok_and(|ready| ready > 0)
    }
}

/// A demo that takes longer than this many looks (of 50 ms) has gone wrong.
const MAX_LOOKS: u32 = 20 * 180;

impl Stage {
    fn config_file(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    fn token_file(&self) -> PathBuf {
        self.dir.join("token")
    }

    fn configure(&self, jail: bool) -> Result<(), Failure> {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let config = format!(
            "root = {root}\nrepos = [\"{repo}\"]\nexecutor = \"demo\"\n\n\
             [github]\napi_url = \"{api}\"\nserver_url = \"{server}\"\ntoken_file = {token}\n\n\
             [credentials]\ncopy = []\n\n[sandbox]\nmode = \"{mode}\"\n\n\
             [executors.demo]\ncommand = [{program}, \"demo-agent\", {git}, \"{{prompt_file}}\"]\n",
            root = quoted(self.root.path()),
            repo = shop::REPO,
            api = self.hub.api_url(),
            server = self.hub.server_url(),
            token = quoted(&self.token_file()),
            mode = if jail { "bwrap" } else { "none" },
            program = quoted(&self.program),
            git = quoted(&self.git),
        );
        write_private(&self.config_file(), config.as_bytes())?;
        write_private(&self.token_file(), shop::TOKEN.as_bytes())?;
        Ok(make_private_dir(&self.dir.join("home"))?)
    }

    /// This program as cron would run it: an empty environment but for HOME.
    fn command(&self) -> Command {
        let mut child = command(&self.program);
        child.env("HOME", self.dir.join("home")).arg("--config").arg(self.config_file());
        child
    }

    /// Runs this program to its end and shows what it says.
    fn cron(&self, words: &[&str], say: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        let shown = words.join(" ");
        say(&format!("$ claude-workers {shown}"));
        let mut child = self.command();
        child.args(words);
        let out = child.stdin(Stdio::null()).output().map_err(|e| failed(&shown, e))?;
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            say(line);
        }
        if out.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(failed(&format!("`claude-workers {shown}` failed"), said))
    }

    fn issues(&self) -> Result<Vec<(u64, String)>, Failure> {
        let issues = self.hub.issues(shop::REPO).map_err(|e| failed("the issues", e))?;
        Ok(issues.into_iter().map(|i| (i.number, i.title)).collect())
    }

    fn pulls(&self) -> Result<usize, Failure> {
        Ok(self.hub.pulls(shop::REPO).map_err(|e| failed("the pull requests", e))?.len())
    }

    /// A tick whenever a worker is free and an issue is left, until every issue has its pull request
    /// and every worker is idle.
    fn work(&self, say: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        let wanted = self.issues()?.len();
        let mut seen: BTreeMap<WorkerId, (String, Phase)> = BTreeMap::new();
        for _ in 0..MAX_LOOKS {
            let finished = store::completed(&self.root, None)?.0;
            let workers = store::list(&self.root)?;
            let idle = workers.iter().filter(|w| matches!(w.state, State::Idle)).count();
            for worker in &workers {
                Self::tell(worker, &mut seen, say);
            }
            if let Some(bad) = finished.iter().find(|run| run.pr.is_none()) {
                let why = bad.ended.as_ref().map(|e| e.why.clone()).unwrap_or_default();
                let what = format!("{} ended without a pull request", bad.subject());
                return Err(failed(&what, why));
            }
            if finished.len() == wanted && idle == workers.len() {
                return Ok(());
            }
            let under_way = workers.len() - idle;
            if idle > 0 && finished.len() + under_way < wanted {
                self.cron(&["assign"], say)?;
            }
            if self.interrupts.within(PollTimeout::from(50_u8)) {
                self.stop_all(&workers);
                return Err(Failure::new(Exit::Failed, "demo: interrupted"));
            }
        }
        Err(failed("it takes too long", format!("{} of {wanted} pull requests", self.pulls()?)))
    }

    /// Nothing of the demo goes on without it.
    fn stop_all(&self, workers: &[store::Worker]) {
        for worker in workers {
            let mut stop = self.command();
            stop.args(["stop", worker.id.as_str()]).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = stop.stdin(Stdio::null()).status();
        }
    }

    /// Says what changed about a worker.
    fn tell(
        worker: &store::Worker,
        seen: &mut BTreeMap<WorkerId, (String, Phase)>,
        say: &mut dyn FnMut(&str),
    ) {
        let now = match &worker.state {
            State::Busy(run) => Some((run.subject(), run.phase)),
            State::Idle => None,
            State::Crashed(_) | State::Broken(_) | State::Starting => return,
        };
        let before = seen.get(&worker.id).cloned();
        if before == now {
            return;
        }
        // A look can miss the moment between two runs.
        if let Some((subject, _)) = before.filter(|(s, _)| now.as_ref().is_none_or(|n| n.0 != *s)) {
            say(&format!("  {}  {subject}  done", worker.id));
            seen.remove(&worker.id);
        }
        if let Some((subject, phase)) = now {
            say(&format!("  {}  {subject}  {phase}", worker.id));
            seen.insert(worker.id.clone(), (subject, phase));
        }
    }

    /// The pull requests, with their real differences.
    fn show(&self, say: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        say("");
        self.cron(&["history"], say)?;
        let pulls = self.hub.pulls(shop::REPO).map_err(|e| failed("the pull requests", e))?;
        for pull in &pulls {
            say("");
            say(&format!("#{} {}  ({} → {})", pull.number, pull.title, pull.head, pull.base));
            for line in pull.body.lines().filter(|l| !l.trim().is_empty()).take(4) {
                say(&format!("  {line}"));
            }
            let diff = self
                .hub
                .pull_diff(shop::REPO, pull.number)
                .map_err(|e| failed("a difference", e))?;
            for line in diff.lines() {
                say(&format!("  {line}"));
            }
        }
        say("");
        say(&format!("{} pull requests are waiting for your review.", pulls.len()));
        let _ = std::io::stdout().flush();
        Ok(())
    }
}
