//! Agents, remotes and callers that mean harm or are clumsy, against the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the program and its callers are started from outside"
)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use claude_workers::domain::{Outcome, Run};
use claude_workers::fakehub::{FakeHub, NewIssue, NewRepo, Options};
use claude_workers::store::{self, Root, State};

const REPO: &str = "octo/app";

/// A hub with one repository, one issue and two workers whose agent is a script.
struct Stage {
    hub: FakeHub,
    dir: tempfile::TempDir,
    root: Root,
}

fn sh(script: &str) -> String {
    format!("#!/bin/sh\nset -e\n{script}\n")
}

impl Stage {
    fn new(agent: &str) -> Self {
        Self::with(&sh(agent), "")
    }

    fn with(agent: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = FakeHub::start(&Options::new(dir.path().join("hub"))).unwrap();
        hub.add_user("octo").unwrap();
        hub.add_token("octo", "ghp_owner", Some("repo")).unwrap();
        hub.add_repo(&NewRepo::new(REPO).file("README.md", "app\n")).unwrap();
        hub.add_issue(REPO, &NewIssue::new("octo", "Mend it")).unwrap();
        std::fs::create_dir_all(dir.path().join("home/.config/claude-workers")).unwrap();
        let stage = Self { root: Root::new(dir.path().join("workers")), hub, dir };
        stage.write("agent", agent, 0o755);
        stage.write("token", "ghp_owner", 0o600);
        let at = |name: &str| stage.path(name).display().to_string();
        let config = format!(
            "root = {:?}\nrepos = [{REPO:?}]\nexecutor = 'script'\n{config}\n\
             [github]\napi_url = {:?}\nserver_url = {:?}\ntoken_file = {:?}\n\
             [credentials]\ncopy = []\n[git]\nfetch_max_age = '0s'\n\
             [executors.script]\ncommand = [{:?}]\n",
            at("workers"),
            stage.hub.api_url(),
            stage.hub.server_url(),
            at("token"),
            at("agent"),
        );
        stage.write("home/.config/claude-workers/config.toml", &config, 0o600);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut own = Command::new(env!("CARGO_BIN_EXE_claude-workers"));
        own.env_clear().env("HOME", self.path("home")).args(words).stdin(Stdio::null());
        own
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn ok(&self, words: &[&str]) {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn is_quiet(&self) -> bool {
        let workers = store::list(&self.root).unwrap();
        workers.iter().all(|w| !matches!(w.state, State::Busy(_) | State::Starting))
    }

    fn finished(&self) -> Vec<Run> {
        store::completed(&self.root, None).unwrap().0
    }

    /// Waits until no worker is at work and returns the finished runs.
    fn quiet(&self) -> Vec<Run> {
        until("the workers to be quiet", || self.is_quiet());
        self.finished()
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_mins(5), "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ended(run: &Run) -> (Outcome, &str) {
    let ended = run.ended.as_ref().unwrap();
    if ended.outcome != Outcome::Succeeded {
        println!("{:?}", run.agent);
    }
    (ended.outcome, &ended.why)
}

const COMMIT: &str = "echo more >>README.md; git -c user.name=a -c user.email=a@b commit -qam more";

#[test]
fn history_that_does_not_descend_from_the_base_is_not_published() {
    let stage = Stage::new(
        "git checkout -q --orphan other && git -c user.name=a -c user.email=a@b commit -qm x\n\
         git branch -f issue-1",
    );
    stage.ok(&["init", "01"]);
    stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
    let runs = stage.quiet();
    let (outcome, why) = ended(&runs[0]);
    assert_eq!(outcome, Outcome::Failed);
    assert!(why.contains("do not descend"), "{why}");
    assert!(stage.hub.pulls(REPO).unwrap().is_empty());
}

#[test]
fn a_branch_that_somebody_made_meanwhile_is_not_written_to() {
    let stage = Stage::new(&format!("{COMMIT}; until [ -e $HOME/go ]; do sleep 0.05; done"));
    stage.ok(&["init", "01"]);
    stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
    let clone = stage.root.clone_of(&"01".parse().unwrap(), &REPO.parse().unwrap());
    until("the agent to commit", || {
        std::fs::read_to_string(clone.join("README.md")).is_ok_and(|t| t.contains("more"))
    });
    // At the very base: a plain push would be a fast-forward of it.
    let bare = stage.path("hub").join("octo/app.git");
    let git = |args: &[&str]| {
        let out = Command::new("git").arg("--git-dir").arg(&bare).args(args).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    git(&["branch", "issue-1", "main"]);
    std::fs::write(stage.root.home(&"01".parse().unwrap()).join("go"), "").unwrap();
    let runs = stage.quiet();
    assert_eq!(ended(&runs[0]).0, Outcome::Failed);
    assert_eq!(git(&["rev-parse", "issue-1"]), git(&["rev-parse", "main"]));
}

#[test]
fn words_of_controls_in_the_outbox_break_no_record() {
    let bomb = "head -c 65000 /dev/zero | tr '\\0' '\\1'";
    let texts = ["pr.md", "comment.md", "blocked.md"]
        .map(|name| format!("(echo word; {bomb}) >$CLAUDE_WORKERS_OUTBOX/{name}"));
    let stage = Stage::new(&format!("{}\n{COMMIT}", texts.join("\n")));
    stage.ok(&["init", "01"]);
    stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
    let runs = stage.quiet();
    assert_eq!((ended(&runs[0]).0, ended(&runs[0]).1.trim()), (Outcome::Deferred, "word"));
    assert_eq!(stage.hub.comments(REPO, 1).unwrap().len(), 1);
}

#[test]
fn long_words_in_the_outbox_still_fit_into_the_comment() {
    let long = "head -c 65000 /dev/zero | tr '\\0' a";
    let stage = Stage::new(&format!(
        "{long} >$CLAUDE_WORKERS_OUTBOX/comment.md; {long} >$CLAUDE_WORKERS_OUTBOX/blocked.md"
    ));
    stage.ok(&["init", "01"]);
    stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
    let runs = stage.quiet();
    assert_eq!(runs[0].unsaid, Vec::<String>::new());
    let comments = stage.hub.comments(REPO, 1).unwrap();
    assert!(comments[0].body.len() < 65_536);
    assert!(comments[0].body.trim_end().ends_with("-->"));
}

#[test]
fn an_inherited_descriptor_does_not_reach_the_agent() {
    let stage = Stage::new(
        "ls /proc/self/fd >$CLAUDE_WORKERS_OUTBOX/comment.md\n\
         cat <&9 >>$CLAUDE_WORKERS_OUTBOX/comment.md 2>&1 || true",
    );
    stage.write("secret", "of the host", 0o600);
    stage.ok(&["init", "01"]);
    let caller = Command::new("sh")
        .env_clear()
        .env("HOME", stage.path("home"))
        .args(["-c", "exec 9<\"$1\"; exec \"$2\" dispatch -r octo/app -i 1", "sh"])
        .arg(stage.path("secret"))
        .arg(env!("CARGO_BIN_EXE_claude-workers"))
        .output()
        .unwrap();
    assert!(caller.status.success());
    stage.quiet();
    let said = stage.hub.comments(REPO, 1).unwrap().remove(0).body;
    assert!(!said.contains("of the host") && !said.contains("\n9\n"), "{said}");
}

#[test]
fn two_callers_at_once_start_one_run() {
    let stage = Stage::new("until [ -e $HOME/go ]; do sleep 0.05; done");
    stage.ok(&["init", "01", "02", "03", "04"]);
    let start = || {
        let mut own = stage.command(&["dispatch", "-r", REPO, "-i", "1"]);
        own.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let callers: Vec<Child> = (0..4).map(|_| start()).collect();
    let codes = callers.into_iter().map(|mut c| c.wait().unwrap().code().unwrap());
    let started = codes.filter(|code| *code == 0).count();
    let held: Vec<_> = store::list(&stage.root)
        .unwrap()
        .into_iter()
        .filter(|w| matches!(w.state, State::Busy(_)))
        .collect();
    assert!(started <= 1 && held.len() == started, "{started} started, {} hold it", held.len());
    assert_eq!(stage.hub.labels_of(REPO, 1).unwrap().len(), started);
    for worker in held {
        std::fs::write(stage.root.home(&worker.id).join("go"), "").unwrap();
    }
    stage.quiet();
}

#[test]
fn a_request_that_was_left_behind_is_not_put_to_the_next_run() {
    let stage = Stage::new("cat >$CLAUDE_WORKERS_OUTBOX/comment.md");
    stage.ok(&["init", "01"]);
    // As a dispatcher leaves it that dies between the request and its record.
    let record = stage.root.record(&"01".parse().unwrap());
    std::fs::write(record.request(), "delete everything").unwrap();
    stage.ok(&["assign"]);
    stage.quiet();
    let said = stage.hub.comments(REPO, 1).unwrap().remove(0).body;
    assert!(said.contains("Mend it") && !said.contains("delete everything"), "{said}");
}

#[test]
fn a_supervisor_that_is_terminated_is_followed_by_another() {
    let stage =
        Stage::new(&format!("if [ ! -e $HOME/go ]; then touch $HOME/go; sleep 600; fi; {COMMIT}"));
    stage.ok(&["init", "01"]);
    stage.ok(&["assign"]);
    let worker = "01".parse().unwrap();
    until("the agent to be there", || stage.root.home(&worker).join("go").exists());
    let before = store::read_task(&stage.root, &worker).unwrap().unwrap();
    let pid = before.pid.unwrap().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    stage.quiet();
    assert_eq!(stage.finished().len(), 0);
    stage.ok(&["assign"]);
    let runs = stage.quiet();
    assert_eq!((ended(&runs[0]).0, runs[0].attempt), (Outcome::Succeeded, 2));
    assert_ne!(runs[0].session_id, before.session_id);
    assert_eq!(stage.hub.pulls(REPO).unwrap().len(), 1);
}

/// What an agent has done to its home or its clone is mended before the next run there.
#[test]
fn a_home_that_was_shut_is_opened_and_a_clone_that_is_of_no_use_moved_aside() {
    let shut = "chmod 0 $HOME/outbox; chmod 0 $HOME";
    for damage in [shut, "rm -rf .git/objects; echo '[core' >.git/config"] {
        let stage = Stage::new(damage);
        stage.ok(&["init", "01"]);
        stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
        stage.quiet();
        stage.write("agent", &sh(COMMIT), 0o755);
        stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
        let runs = stage.quiet();
        assert_eq!(ended(&runs[1]), (Outcome::Succeeded, "1 commit"), "{damage}");
    }
}

#[test]
fn a_root_behind_a_link_works() {
    let stage = Stage::new(COMMIT);
    std::fs::create_dir(stage.path("disk")).unwrap();
    symlink(stage.path("disk"), stage.path("workers")).unwrap();
    stage.ok(&["init", "01"]);
    stage.ok(&["assign"]);
    let runs = stage.quiet();
    assert_eq!(ended(&runs[0]), (Outcome::Succeeded, "1 commit"));
}

/// An agent below a directory that must be hidden, with an interpreter that no PATH names.
#[test]
fn an_agent_and_its_interpreter_may_be_installed_in_the_callers_home() {
    let stage = Stage::with("", "");
    let bin = stage.path("home/.claude/local/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(stage.path("home/.claude/secret"), "x").unwrap();
    std::fs::copy("/bin/sh", bin.join("node")).unwrap();
    let script = format!("#!/usr/bin/env node\n! ls $1 || exit 9\n{COMMIT}\n");
    stage.write("home/.claude/local/bin/real", &script, 0o755);
    let config = stage.path("home/.config/claude-workers/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let command = format!("command = [{:?}, {:?}]", bin.join("real"), bin.join("../../secret"));
    let at = text.find("command = ").unwrap();
    std::fs::write(&config, format!("{}{command}\n", &text[..at])).unwrap();
    let path = format!("{}:/usr/bin", bin.display());
    let init = stage.command(&["init", "01"]).env("PATH", path).output().unwrap();
    assert!(init.status.success());
    stage.ok(&["assign"]);
    let runs = stage.quiet();
    assert_eq!(ended(&runs[0]), (Outcome::Succeeded, "1 commit"));
}

#[test]
fn old_locks_of_a_git_that_was_killed_are_no_obstacle() {
    let stage = Stage::new(COMMIT);
    stage.ok(&["init", "01"]);
    let mirror = stage.root.mirror(stage.hub.server_url(), &REPO.parse().unwrap());
    // An empty mirror, and what a fetch leaves that was killed.
    let made = Command::new("git").args(["init", "-q", "--bare"]).arg(&mirror).status().unwrap();
    assert!(made.success());
    for name in ["packed-refs.lock", "refs/heads/main.lock"] {
        let lock = std::fs::File::create(mirror.join(name)).unwrap();
        lock.set_modified(std::time::SystemTime::now() - Duration::from_hours(1)).unwrap();
    }
    stage.ok(&["assign"]);
    let runs = stage.quiet();
    assert_eq!(ended(&runs[0]), (Outcome::Succeeded, "1 commit"));
    assert!(!mirror.join("packed-refs.lock").exists());
}

#[test]
fn a_worker_that_cannot_start_does_not_claim_issue_after_issue() {
    let stage = Stage::new(COMMIT);
    for n in 2..9 {
        stage.hub.add_issue(REPO, &NewIssue::new("octo", &format!("Mend {n}"))).unwrap();
    }
    stage.ok(&["init", "01"]);
    let log = stage.root.record(&"01".parse().unwrap()).supervisor_log();
    std::fs::create_dir(log).unwrap();
    let out = stage.run(&["assign"]);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(said.matches("did not start").count(), 3, "{said}");
    assert!(stage.hub.issues(REPO).unwrap().iter().all(|issue| issue.labels.is_empty()));
    assert!(store::list(&stage.root).unwrap().iter().all(|w| matches!(w.state, State::Idle)));
}

#[test]
fn stop_leaves_the_task_for_a_person_and_not_for_the_next_tick() {
    let stage = Stage::new("touch $HOME/go; sleep 600");
    stage.ok(&["init", "01"]);
    stage.ok(&["assign"]);
    let worker = "01".parse().unwrap();
    until("the agent to be there", || stage.root.home(&worker).join("go").exists());
    stage.ok(&["stop", "01"]);
    let run = store::read_task(&stage.root, &worker).unwrap().unwrap();
    assert_eq!(run.outcome(), Some(Outcome::Stopped));
    stage.ok(&["assign"]);
    assert!(stage.is_quiet());
}

/// What an agent does to its output and its processes, and how its run ends.
#[test]
fn whatever_an_agent_does_its_run_ends_and_nothing_of_it_is_left() {
    let forks = "R='sleep 0.01; setsid sh -c \"$R\" >/dev/null 2>&1 &'; export R; \
                 setsid sh -c \"$R\" & sleep 0.3; ";
    let agents = [
        ("forks without end", format!("{forks}{COMMIT}"), Outcome::Succeeded),
        (
            "ignores TERM and hangs",
            "trap '' TERM; while :; do sleep 1; done".into(),
            Outcome::TimedOut,
        ),
        ("closes its output", format!("exec >&- 2>&-; sleep 0.3; {COMMIT}"), Outcome::Succeeded),
        ("closes its output and hangs", "exec >&- 2>&-; sleep 600".into(), Outcome::TimedOut),
        (
            "says no UTF-8",
            format!("printf '\\377\\376\\300words\\n'; {COMMIT}"),
            Outcome::Succeeded,
        ),
        ("does nothing", "exit 0".into(), Outcome::Deferred),
        ("leaves who keeps its pipe", format!("setsid sleep 600 & {COMMIT}"), Outcome::Succeeded),
        (
            "says a gigabyte in one line",
            format!("head -c 1073741824 /dev/zero | tr '\\0' x; {COMMIT}"),
            Outcome::Succeeded,
        ),
    ];
    for mode in ["", "[sandbox]\nmode = 'none'"] {
        for (about, script, wanted) in &agents {
            // Once is enough for what takes long.
            if about.contains("gigabyte") && !mode.is_empty() {
                continue;
            }
            let silence = if *wanted == Outcome::TimedOut { "1s" } else { "1h" };
            let limits = format!("{mode}\n[limits]\nsilence = '{silence}'\ngrace = '1s'\n");
            let stage = Stage::with(&sh(script), &limits);
            stage.ok(&["init", "01"]);
            stage.ok(&["dispatch", "-r", REPO, "-i", "1"]);
            let run = stage.quiet().remove(0);
            assert_eq!(ended(&run).0, *wanted, "{about} {mode}: {:?}", run.ended);
            let record = stage.root.record(&run.worker);
            let log = record.completed().join(format!("{}.log", run.archive_stem()));
            let len = std::fs::metadata(&log).map_or(0, |meta| meta.len());
            assert!(len < (512 << 20) + (2 << 20), "{about}: {len} bytes");
            // Everything that it started bears its home in its environment.
            let home = stage.root.home(&run.worker).display().to_string();
            until("its processes to be gone", || !processes(&home));
        }
    }
}

/// Whether there is a process with these words in its environment.
fn processes(words: &str) -> bool {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
        .any(|environment| String::from_utf8_lossy(&environment).contains(words))
}
