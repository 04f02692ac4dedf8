//! Where it is measured: compiled helpers, an embedded GitHub, a root with workers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use claude_workers::config::Env;
use claude_workers::domain::WorkerId;
use claude_workers::fakehub::{FakeHub, NewRepo, Options};
use claude_workers::process::command;
use claude_workers::store::{self, Root, State, Tools, write_private};
use jiff::Timestamp;
use tempfile::TempDir;

use super::Res;

/// The repository that is small.
pub const REPO: &str = "octo/app";

const TOKEN: &str = "ghp_bench000000000000000000000000000000";

/// Nothing takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_mins(1);

/// The programs that take part.
pub struct Workshop {
    pub program: PathBuf,
    pub git: PathBuf,
    pub strace: Option<PathBuf>,
    /// Does nothing.
    pub nothing: PathBuf,
    /// See `agent.c`.
    pub agent: PathBuf,
    /// See `ask.c`.
    pub ask: PathBuf,
    /// See `peak.c`.
    pub peak: PathBuf,
    path: String,
    _dir: TempDir,
}

impl Workshop {
    /// Finds the programs and compiles those that are written in C.
    pub fn set_up(program: PathBuf) -> Res<Self> {
        let env = Env::of_process();
        let mut tools = Tools::default();
        let mut find = |name: &str| tools.find(name, env.get("PATH"), Path::new("/nonexistent"));
        let (git, cc) = (find("git").ok_or("no git")?, find("cc").ok_or("no C compiler")?);
        let strace = find("strace");
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let path = env.get("PATH").unwrap_or_default().to_owned();
        let compile = |name: &str, more: &[&str]| -> Res<PathBuf> {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/figures").join(name);
            let out = dir.path().join(name).with_extension("");
            let mut cc = command(&cc);
            cc.env("PATH", &path).args(["-O2", "-Wall", "-o"]).arg(&out).arg(source).args(more);
            if !cc.status()?.success() {
                return Err(format!("{name} does not compile").into());
            }
            Ok(out)
        };
        Ok(Self {
            nothing: compile("nothing.c", &[])?,
            agent: compile("agent.c", &["-static"])?,
            ask: compile("ask.c", &["-static"])?,
            peak: compile("peak.c", &["-static"])?,
            program,
            git,
            strace,
            path,
            _dir: dir,
        })
    }

    /// Git away from everybody's configuration.
    pub fn git(&self, dir: &Path, args: &[&str]) -> Command {
        let mut git = command(&self.git);
        git.env("PATH", &self.path).env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(args).current_dir(dir).stdin(Stdio::null());
        git
    }
}

/// A root, and a GitHub beside it.
pub struct Stage<'a> {
    pub workshop: &'a Workshop,
    pub hub: FakeHub,
    pub root: Root,
    pub dir: TempDir,
}

/// When a dispatch came back, and when its agent came to life.
pub struct Started {
    pub returned: Duration,
    pub first_instruction: Duration,
}

impl<'a> Stage<'a> {
    /// No worker, no repository.
    pub fn empty(workshop: &'a Workshop) -> Res<Self> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut options = Options::new(dir.path().join("github"));
        options.git.clone_from(&workshop.git);
        let hub = FakeHub::start(&options)?;
        hub.add_user("octo")?;
        hub.add_token("octo", TOKEN, Some("repo"))?;
        let root = Root::new(dir.path().join("workers"));
        let stage = Self { workshop, hub, root, dir };
        std::fs::create_dir(stage.home())?;
        write_private(&stage.dir.path().join("token"), TOKEN.as_bytes())?;
        stage.configure("")?;
        Ok(stage)
    }

    /// With a small repository and `workers`.
    pub fn with_workers(workshop: &'a Workshop, workers: u32) -> Res<Self> {
        let stage = Self::empty(workshop)?;
        stage.hub.add_repo(&NewRepo::new(REPO).file("README.md", "# app\n"))?;
        let ids: Vec<String> = (1..=workers).map(|n| format!("{n:02}")).collect();
        let words: Vec<&str> = std::iter::once("init").chain(ids.iter().map(|i| &**i)).collect();
        stage.succeed(&words)?;
        Ok(stage)
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Writes the configuration; `more` are keys of its top level.
    pub fn configure(&self, more: &str) -> Res {
        let dir = self.dir.path();
        let config = format!(
            "root = '{root}'\nexecutor = 'bench'\n{more}\n\
             [github]\napi_url = '{api}'\nserver_url = '{server}'\ntoken_file = '{token}'\n\
             [credentials]\ncopy = []\n\
             [executors.bench]\ncommand = ['{agent}', '{{prompt_file}}']\n\
             [executors.waiting]\ncommand = ['{agent}', '{{prompt_file}}', 'wait']\n",
            root = self.root.path().display(),
            api = self.hub.api_url(),
            server = self.hub.server_url(),
            token = dir.join("token").display(),
            agent = self.workshop.agent.display(),
        );
        Ok(write_private(&dir.join("config.toml"), config.as_bytes())?)
    }

    /// Our program as cron starts it.
    pub fn ours(&self, words: &[&str]) -> Command {
        let mut ours = command(&self.workshop.program);
        ours.env("HOME", self.home()).stdin(Stdio::null());
        ours.arg("--config").arg(self.dir.path().join("config.toml")).args(words);
        ours
    }

    /// Runs our program and returns what it printed.
    pub fn succeed(&self, words: &[&str]) -> Res<String> {
        let out = self.ours(words).output()?;
        if !out.status.success() {
            return Err(format!("{words:?}: {}", String::from_utf8_lossy(&out.stderr)).into());
        }
        Ok(String::from_utf8(out.stdout)?)
    }

    /// Dispatches to `worker` and waits until it is idle again.
    pub fn dispatch(&self, worker: &str, words: &[&str]) -> Res<Started> {
        let stamp = self.root.home(&worker.parse()?).join("first-instruction");
        let _ = std::fs::remove_file(&stamp);
        // Nobody dispatches that often: nothing is to wait for its turn.
        let _ = std::fs::remove_file(self.root.github().join("pace.json"));
        let words = [&["dispatch", "-w", worker], words].concat();
        let before = Timestamp::now();
        self.succeed(&words)?;
        let returned = Timestamp::now().duration_since(before);
        self.until_idle(worker)?;
        let Ok(text) = std::fs::read_to_string(&stamp) else {
            return Err(format!("no agent ran:\n{}", self.succeed(&["history"])?).into());
        };
        let first = Timestamp::from_nanosecond(text.trim().parse()?)?.duration_since(before);
        Ok(Started { returned: returned.try_into()?, first_instruction: first.try_into()? })
    }

    /// Dispatches to `worker` and waits until it is idle again, whatever its agent is.
    pub fn run_to_its_end(&self, worker: &str, words: &[&str]) -> Res {
        self.succeed(&[&["dispatch", "-w", worker], words].concat())?;
        self.until_idle(worker)
    }

    fn until_idle(&self, worker: &str) -> Res {
        let id: WorkerId = worker.parse()?;
        wait_until(&format!("worker {worker} is idle"), || {
            Ok(matches!(store::worker(&self.root, id.clone()).state, State::Idle))
        })
    }
}

/// Looks again and again.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> Res<bool>) -> Res {
    let since = Instant::now();
    while !is_so()? {
        if since.elapsed() > DEADLINE {
            return Err(format!("it took too long until {what}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
