//! A world of its own for each test: an embedded GitHub, a user's home with a configuration and a
//! token, workers, and an agent that is a shell script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use claude_workers::domain::{Outcome, Run};
use claude_workers::fakehub::{Exchange, FakeHub, NewIssue, NewRepo, Options, PullView};
use claude_workers::store::{self, Root, State};
use nix::sys::signal::Signal;

pub use crate::words::{Config, Said};

/// The repository that every world has; its default branch is not `main`.
pub const APP: &str = "octo/app";
pub const TRUNK: &str = "trunk";
/// What `octo` signs in with.
pub const TOKEN: &str = "ghp_world000000000000000000000000000octo";

pub struct World {
    pub hub: FakeHub,
    pub root: Root,
    pub dir: PathBuf,
    _tmp: tempfile::TempDir,
}

impl World {
    /// `octo` with a token and the repository, the default configuration, worker `01`, and an
    /// agent that does its work.
    pub fn new() -> Self {
        Self::with(&Config::default(), &["01"])
    }

    /// A world in which `script` works on issue 1, as far as its first mark.
    pub fn at_work(script: &str, config: &Config) -> Self {
        let world = Self::with(config, &["01"]);
        world.agent(script);
        world.issue("One");
        world.cron(&["assign"]).ok();
        world.wait_until("the agent is at work", || !world.marks().is_empty());
        world
    }

    pub fn with(config: &Config, workers: &[&str]) -> Self {
        let world = Self::bare(config);
        world.hub.add_repo(&app()).unwrap();
        world.init(workers);
        world
    }

    /// No repository and no worker yet.
    pub fn bare(config: &Config) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().canonicalize().unwrap();
        let hub = FakeHub::start(&Options::new(dir.join("github"))).unwrap();
        hub.add_user("octo").unwrap();
        hub.add_user("stranger").unwrap();
        hub.add_token("octo", TOKEN, Some("repo")).unwrap();
        let world = Self { hub, root: Root::new(dir.join("home/workers")), dir, _tmp: tmp };
        fs::create_dir_all(world.user_home().join(".config/claude-workers")).unwrap();
        fs::create_dir(world.dir.join("agents")).unwrap();
        world.write_token(TOKEN);
        world.configure(config);
        world.agent(WORKS);
        world
    }

    pub fn user_home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub fn token_file(&self) -> PathBuf {
        self.user_home().join("token")
    }

    pub fn config_file(&self) -> PathBuf {
        self.user_home().join(".config/claude-workers/config.toml")
    }

    /// A worker's home.
    pub fn home(&self, worker: &str) -> PathBuf {
        self.root.home(&worker.parse().unwrap())
    }

    /// A worker's `task.json`.
    pub fn task(&self, worker: &str) -> PathBuf {
        self.root.record(&worker.parse().unwrap()).task()
    }

    pub fn write_token(&self, token: &str) {
        fs::write(self.token_file(), token).unwrap();
        fs::set_permissions(self.token_file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn configure(&self, config: &Config) {
        let text = config.text(&self.hub, &self.dir.join("agents"));
        fs::write(self.config_file(), text).unwrap();
    }

    /// What the agent does from now on. `mark NAME` shows in GitHub's log, `commit FILE TEXT`
    /// commits, `$prompt` is the prompt's file, `$issue` the issue's number, `$outbox` the outbox.
    pub fn agent(&self, script: &str) {
        let text = format!(
            "prompt=$1 issue=$2 model=$3 outbox=$CLAUDE_WORKERS_OUTBOX\n\
             mark() {{ git ls-remote \"{}/mark/$1.git\" >/dev/null 2>&1; }}\n\
             commit() {{ echo \"$2\" >\"$1\" && git add --all && git commit -q -m \"Add $1\"; }}\n\
             {script}\n",
            self.hub.server_url()
        );
        fs::write(self.dir.join("agents/agent.sh"), text).unwrap();
    }

    /// Runs an agent of worker `01` with a prompt and gives what is in its log.
    #[track_caller]
    pub fn says(&self, agent: &str) -> String {
        self.agent(agent);
        self.cron(&["dispatch", "-r", APP, "-p", "Look around", "-w", "01"]).ok();
        self.quiet();
        assert_eq!(self.last_run().outcome(), Some(Outcome::Succeeded), "{:?}", self.last_run());
        self.cron(&["logs", "01"]).ok().out
    }

    pub fn init(&self, workers: &[&str]) {
        for id in workers {
            self.cron(&["init", id]).ok();
        }
    }

    /// An issue of `octo` in the repository.
    pub fn issue(&self, title: &str) -> u64 {
        self.hub.add_issue(APP, &NewIssue::new("octo", title)).unwrap()
    }

    /// The program, with an environment that holds HOME alone and nothing on standard input.
    pub fn program(&self) -> assert_cmd::Command {
        let mut program = assert_cmd::Command::new(env!("CARGO_BIN_EXE_claude-workers"));
        program.env_clear().env("HOME", self.user_home()).timeout(LONG);
        program
    }

    /// Runs the program as cron does.
    pub fn cron(&self, args: &[&str]) -> Said {
        Said::of(&self.program().args(args).output().unwrap())
    }

    /// Gives all of it to a user who is not root, for [`as_nobody`](Self::as_nobody). `false`: that
    /// is not possible here.
    pub fn is_given_to_nobody(&self) -> bool {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: it takes root to be somebody else");
            return false;
        }
        #[expect(clippy::disallowed_methods, reason = "it is changed from outside")]
        let mut owned = std::process::Command::new("chown");
        let to = format!("{NOBODY}:{NOBODY}");
        assert!(owned.arg("-R").arg(to).arg(&self.dir).status().unwrap().success());
        let may = self.as_nobody(&["status"]).code == 0;
        if !may {
            println!("skipped: another user may not run {}", env!("CARGO_BIN_EXE_claude-workers"));
        }
        may
    }

    /// Runs the program as a user who is not root.
    pub fn as_nobody(&self, args: &[&str]) -> Said {
        #[expect(clippy::disallowed_methods, reason = "the program is started as another user")]
        let mut program = std::process::Command::new("setpriv");
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        program.args(ids).arg("--clear-groups");
        program.arg(env!("CARGO_BIN_EXE_claude-workers")).args(args);
        program.env_clear().env("HOME", self.user_home()).env("PATH", "/usr/bin:/bin");
        Said::of(&program.output().unwrap())
    }

    /// A tick, and what it started to its end.
    #[track_caller]
    pub fn tick(&self) -> Said {
        let said = self.cron(&["assign"]).ok();
        self.quiet();
        said
    }

    /// Waits until no worker has anything to do and nothing of this world runs.
    #[track_caller]
    pub fn quiet(&self) {
        self.quiet_while(|| ());
    }

    /// The same, doing something each time that it looks.
    #[track_caller]
    pub fn quiet_while(&self, meanwhile: impl Fn()) {
        self.wait_until("every worker is idle and no process is left", || {
            meanwhile();
            let busy = |w: &store::Worker| matches!(w.state, State::Busy(_) | State::Starting);
            !store::list(&self.root).unwrap().iter().any(busy) && self.processes().is_empty()
        });
    }

    /// That many writes are spread over time is another test's. Without the file for it none is.
    pub fn writes_do_not_wait(&self) {
        let pace = self.root.github().join("pace.json");
        let _ = fs::remove_file(&pace);
        fs::create_dir_all(pace).unwrap();
    }

    /// Looks again and again until it is so.
    #[track_caller]
    pub fn wait_until(&self, what: &str, so: impl Fn() -> bool) {
        let start = Instant::now();
        while !so() {
            if start.elapsed() > LONG {
                let status = self.cron(&["status", "--json"]);
                panic!("it never came that {what}: {status:?} {:?}", self.processes());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All processes that were started in this world, with their command lines.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mine = self.dir.display().to_string();
        let read = |path: PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let of = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = read(entry.path().join("cmdline"));
            let ours = line.contains(&mine) || read(entry.path().join("environ")).contains(&mine);
            ours.then_some((pid, line))
        };
        fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
    }

    /// Kills the supervisor of a worker that is busy, and waits until its jail is gone too.
    pub fn kill_supervisor(&self, worker: &str) {
        let run = store::read_task(&self.root, &worker.parse().unwrap()).unwrap().unwrap();
        kill(i32::try_from(run.pid.unwrap()).unwrap());
        self.quiet();
    }

    /// The finished runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        let (runs, broken) = store::completed(&self.root, None).unwrap();
        assert!(broken.is_empty(), "{broken:?}");
        runs
    }

    /// How the finished runs of an issue ended; records that cannot be read are left out.
    pub fn runs_of(&self, issue: u64) -> Vec<Outcome> {
        let (runs, _) = store::completed(&self.root, None).unwrap();
        let of = |run: &&Run| run.issue.is_some_and(|number| number.get() == issue);
        runs.iter().filter(of).filter_map(Run::outcome).collect()
    }

    /// The last finished run.
    #[track_caller]
    pub fn last_run(&self) -> Run {
        self.runs().pop().expect("a run has finished")
    }

    #[track_caller]
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.runs().iter().map(|run| run.outcome().unwrap()).collect()
    }

    /// Labels of an issue of the repository.
    pub fn labels(&self, issue: u64) -> Vec<String> {
        self.hub.labels_of(APP, issue).unwrap()
    }

    pub fn pulls(&self) -> Vec<PullView> {
        self.hub.pulls(APP).unwrap()
    }

    /// The texts of an issue's comments.
    pub fn comments(&self, issue: u64) -> Vec<String> {
        self.hub.comments(APP, issue).unwrap().into_iter().map(|c| c.body).collect()
    }

    /// The requests to the REST API since they were last forgotten.
    pub fn asked(&self) -> Vec<Exchange> {
        self.hub.exchanges().into_iter().filter(|e| e.api).collect()
    }

    /// `GET /user`, … of each of them.
    pub fn asked_lines(&self) -> Vec<String> {
        self.asked().iter().map(Exchange::line).collect()
    }

    /// Puts a script in the place of bubblewrap; in it, `$real` is the real one.
    pub fn bubblewrap(&self, script: &str) {
        let (tools, place) = (self.root.tools(), self.dir.join("bwrap"));
        let text = fs::read_to_string(&tools).unwrap();
        let known: serde_json::Value = serde_json::from_str(&text).unwrap();
        let found = find(&known, "bwrap").expect("init remembered bwrap");
        let earlier = fs::read_to_string(&place).unwrap_or_default();
        let real = earlier.split('\'').nth(1).unwrap_or(&found);
        fs::write(&place, format!("#!/bin/sh\nreal='{real}'\n{script}\n")).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&tools, text.replace(&found, place.to_str().unwrap())).unwrap();
    }

    /// The marks that the agents made, in order.
    pub fn marks(&self) -> Vec<String> {
        let name =
            |e: &Exchange| Some(e.path.strip_prefix("/mark/")?.split('.').next()?.to_owned());
        self.hub.exchanges().iter().filter_map(name).collect()
    }
}

/// The first text in a JSON document that ends in this file name.
fn find(value: &serde_json::Value, name: &str) -> Option<String> {
    match value {
        serde_json::Value::String(s) if s.ends_with(&format!("/{name}")) => Some(s.clone()),
        serde_json::Value::Object(map) => map.values().find_map(|v| find(v, name)),
        serde_json::Value::Array(all) => all.iter().find_map(|v| find(v, name)),
        _ => None,
    }
}

impl Drop for World {
    /// A test that failed leaves no agent behind.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            kill(pid);
        }
    }
}

fn kill(pid: i32) {
    // It may be gone already.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
}

/// A user who owns nothing, and that user's group.
pub const NOBODY: u32 = 65534;

/// Nothing here takes this long unless it hangs.
pub const LONG: Duration = Duration::from_mins(3);

/// An agent that does what it should.
pub const WORKS: &str = "commit work-$issue.txt done; echo 'All done.'";

/// The repository as it is first.
pub fn app() -> NewRepo {
    NewRepo::new(APP).default_branch(TRUNK).file("README.md", "# app\n")
}

/// Every file below a directory and what is in it, for "nothing was written".
pub fn files(below: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![below.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => {
                    files.push((entry.path(), fs::read(entry.path()).unwrap()));
                }
                _ => {}
            }
        }
    }
    files.sort();
    files
}
