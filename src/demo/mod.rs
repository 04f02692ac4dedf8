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
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

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
        loop {
            std::thread::park();
        }
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

    /// Runs this program as cron would: an empty environment but for HOME.
    fn cron(&self, words: &[&str], say: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        let shown = words.join(" ");
        say(&format!("$ claude-workers {shown}"));
        let mut child: Command = command(&self.program);
        child
            .env("HOME", self.dir.join("home"))
            .arg("--config")
            .arg(self.config_file())
            .args(words);
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
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(failed("it takes too long", format!("{} of {wanted} pull requests", self.pulls()?)))
    }

    /// Says what changed about a worker.
    fn tell(
        worker: &store::Worker,
        seen: &mut BTreeMap<WorkerId, (String, Phase)>,
        say: &mut dyn FnMut(&str),
    ) {
        match &worker.state {
            State::Busy(run) => {
                let now = (run.subject(), run.phase);
                if seen.get(&worker.id) != Some(&now) {
                    say(&format!("  {}  {}  {}", worker.id, now.0, now.1));
                    seen.insert(worker.id.clone(), now);
                }
            }
            State::Idle => {
                if let Some((subject, _)) = seen.remove(&worker.id) {
                    say(&format!("  {}  {subject}  done", worker.id));
                }
            }
            State::Crashed(_) | State::Broken(_) | State::Starting => {}
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
