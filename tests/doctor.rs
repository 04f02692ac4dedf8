//! `doctor`: what it says of everything that can be wrong, and how to mend it.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use claude_workers::fakehub::{FakeHub, Fault, NewRepo, Options, Role};
use serde_json::Value;
use tempfile::TempDir;

const TOKEN: &str = "ghp_the0token0of0octo";

/// A machine with nothing on it but the program, git and bubblewrap, and a GitHub.
struct Machine {
    home: TempDir,
    hub: FakeHub,
    _hub_dir: TempDir,
    env: Vec<(&'static str, String)>,
    /// What the program is started with, such as a wall around it.
    before: Vec<String>,
}

/// What `doctor` said: its exit code, and its checks.
struct Answer {
    code: Option<i32>,
    checks: Value,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#}", self.code, self.checks)
    }
}

impl Answer {
    /// `grade: found`, and ` → mend` if it says how.
    fn of(&self, what: &str) -> String {
        let check = self.checks.as_array().unwrap().iter().find(|c| c["what"] == what);
        let check = check.unwrap_or_else(|| panic!("no {what} in {self}"));
        let text = |key: &str| check[key].as_str().unwrap_or_default();
        let mend = check["mend"].as_str().map(|mend| format!(" → {mend}")).unwrap_or_default();
        format!("{}: {}{mend}", text("grade"), text("found"))
    }

    /// Asserts that a check starts and ends with these words.
    #[track_caller]
    fn says(&self, what: &str, start: &str, end: &str) {
        let said = self.of(what);
        assert!(said.starts_with(start) && said.ends_with(end), "{what}: {said}");
    }
}

impl Machine {
    fn new() -> Self {
        let hub_dir = TempDir::new().unwrap();
        let hub = FakeHub::start(&Options::new(hub_dir.path())).unwrap();
        hub.add_user("octo").unwrap();
        hub.add_token("octo", TOKEN, Some("repo, gist")).unwrap();
        hub.add_user("other").unwrap();
        let home = TempDir::new().unwrap();
        Self { home, hub, _hub_dir: hub_dir, env: Vec::new(), before: Vec::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Writes the configuration: GitHub, a token in a file, and `more`.
    fn configure(&self, more: &str) {
        self.write("token", TOKEN, 0o600);
        let github =
            format!("[github]\napi_url = {:?}\ntoken_file = '~/token'\n", self.hub.api_url());
        self.write(".config/claude-workers/config.toml", &format!("{more}\n{github}"), 0o644);
    }

    /// An agent that answers `--version` with `words`, or fails if there are none.
    fn agent(&self, words: &str) -> PathBuf {
        let script = if words.is_empty() { "exit 1".to_owned() } else { format!("echo '{words}'") };
        self.write("agent", &format!("#!/bin/sh\n{script}\n"), 0o755)
    }

    fn run(&self, words: &[&str]) -> std::process::Output {
        let program = env!("CARGO_BIN_EXE_claude-workers");
        let before = self.before.iter().map(String::as_str);
        let argv: Vec<&str> = before.chain([program]).chain(words.iter().copied()).collect();
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).env_clear().env("HOME", self.home.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.output().unwrap()
    }

    fn init(&self) {
        assert!(self.run(&["init", "01"]).status.success());
    }

    fn doctor(&self) -> Answer {
        let output = self.run(&["doctor", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        Answer { code: output.status.code(), checks: answer["checks"].clone() }
    }
}

#[test]
fn a_fresh_machine_is_told_what_to_do_first() {
    let mut machine = Machine::new();
    // There is no `claude` and no `crontab` in the usual places of this machine either.
    machine.before = vec!["bwrap".into(), "--dev-bind".into(), "/".into(), "/".into()];
    for name in ["claude", "crontab"] {
        for dir in ["/usr/local/bin", "/usr/bin"] {
            let path = Path::new(dir).join(name);
            if let Ok(path) = path.canonicalize() {
                let words = ["--ro-bind", "/dev/null", path.to_str().unwrap()];
                machine.before.extend(words.map(str::to_owned));
            }
        }
    }
    machine.env.push(("GITHUB_API_URL", machine.hub.api_url()));
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(1));
    let root = machine.path("workers").display().to_string();
    answer.says("configuration", "ok: defaults (no file); root ", &root);
    answer.says("git", "ok: /", ")");
    let claude = "failure: the program of executor claude was not found: claude → install ";
    answer.says("executor claude", claude, "or set `[executors.claude] path`");
    answer.says("sandbox", "warning: bubblewrap is there;", "→ claude-workers init 01");
    answer.says("workers", "warning: none yet → ", "claude-workers init 01 02");
    answer.says("token", "failure: there is no GitHub token", "`[github] token_file`");
    answer.says("cron", "warning: crontab was not found", "claude-workers assign -q");
}

#[test]
fn a_machine_in_order_passes() {
    let machine = Machine::new();
    let agent = machine.agent("9.9.9 (Claude Code)");
    let repo = NewRepo::new("octo/app").file("README.md", "x\n");
    machine.hub.add_repo(&repo).unwrap();
    machine.configure(&format!(
        "repos = ['octo/app']\n[executors.claude]\npath = {agent:?}\nenv = {{ ANTHROPIC_API_KEY = 'k' }}"
    ));
    machine.write("bin/crontab", "#!/bin/sh\necho '*/5 * * * * claude-workers assign -q'\n", 0o755);
    machine.init();
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(0), "{answer}");
    answer.says("executor claude", "ok: /", "(9.9.9 (Claude Code))");
    answer.says("sandbox", "ok: bubblewrap;", "every wall in place");
    answer.says("workers", "ok: 1 made", "");
    answer.says("token", "ok: of octo at http://", "from the token file; scopes: repo, gist");
    answer.says("repository octo/app", "ok: the token may label and push", "");
    // Who the token is of, and the repository.
    answer.says(
        "rate limit",
        "ok: 2 requests used this hour, 4998 of 5000 left, until ",
        " UTC; this took 2 of them, and 0 more were free (304)",
    );
    machine.hub.inject(Fault::answer("GET", "/repos/octo/app", 304));
    machine.doctor().says(
        "rate limit",
        "ok: 3 requests used",
        "took 1 of them, and 1 more were free (304)",
    );
    answer.says("cron", "ok: */5 * * * * claude-workers assign -q", "");
}

#[test]
fn an_agent_that_does_not_run_fails_and_one_without_a_key_is_warned_of() {
    let machine = Machine::new();
    let agent = machine.agent("");
    machine.configure(&format!("[executors.claude]\npath = {agent:?}"));
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(1));
    answer.says("executor claude", "failure: /", "`npm install -g @anthropic-ai/claude-code`");
    machine.agent("9.9.9");
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(0), "{answer}");
    let mend = "set CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) or ANTHROPIC_API_KEY before `init`";
    answer.says("executor claude", "warning: /", &format!("; no key for the model → {mend}"));
}

#[test]
fn a_token_is_looked_at_before_it_is_sent_and_tried() {
    let mut machine = Machine::new();
    machine.configure("");
    machine.write("token", TOKEN, 0o644);
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(1));
    answer.says("token", "failure: ", &format!("chmod 600 {}`", machine.path("token").display()));
    assert!(answer.of("token").contains("644"));
    assert!(machine.hub.exchanges().is_empty(), "a token that others know is not sent");

    machine.write("token", "ghp_another", 0o600);
    machine.doctor().says("token", "failure: GitHub says 401", "make a new one");

    machine.env.push(("GH_TOKEN", TOKEN.to_owned()));
    machine.doctor().says("token", "ok: of octo at", "from the environment; scopes: repo, gist");
    // Without the file, cron would have none.
    let api = format!("[github]\napi_url = {:?}\n", machine.hub.api_url());
    machine.write(".config/claude-workers/config.toml", &api, 0o644);
    machine.doctor().says("token", "warning: of octo", "name it in `[github] token_file`");
}

#[test]
fn repositories_are_asked_about_by_name() {
    let machine = Machine::new();
    for repo in [
        NewRepo::new("octo/old").archived(),
        NewRepo::new("other/theirs"),
        NewRepo::new("other/triaged"),
    ] {
        machine.hub.add_repo(&repo.file("README.md", "x\n")).unwrap();
    }
    machine.hub.set_role("other/triaged", "octo", Role::Triage).unwrap();
    machine.configure("repos = ['octo/old', 'octo/none', 'other/theirs', 'other/triaged']");
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(1));
    answer.says("repository octo/old", "warning: archived", "take it out of `repos`");
    answer.says("repository octo/none", "failure: GitHub says 404", "of this repository");
    for repo in ["repository other/theirs", "repository other/triaged"] {
        answer.says(repo, "failure: the token may not label and push", "and pull requests");
    }
}

#[test]
fn a_github_that_does_not_answer_is_named() {
    let mut machine = Machine::new();
    machine.configure("");
    machine.hub.inject(Fault::answer("*", "/user", 403).header("retry-after", "1000"));
    let answer = machine.doctor();
    answer.says("token", "failure: GitHub's secondary rate limit is used up", "");
    let answer = machine.doctor();
    answer.says("rate limit", "warning: secondary rate limit until ", "nothing is sent until then");
    // Nobody listens on port 1 of this machine.
    machine.env.push(("GITHUB_API_URL", "http://127.0.0.1:1".to_owned()));
    let answer = machine.doctor();
    answer.says("token", "failure: no answer from GitHub at http://127.0.0.1:1", "SSL_CERT_FILE");
    assert_eq!(answer.code, Some(1));
}

#[test]
fn a_sandbox_that_is_off_or_missing_is_told() {
    let mut machine = Machine::new();
    machine.configure("[sandbox]\nmode = 'none'");
    machine.doctor().says("sandbox", "warning: off: agents can read", "out of [sandbox]");
    machine.configure("");
    machine.init();
    machine.before = vec!["bwrap".into(), "--dev-bind".into(), "/".into(), "/".into()];
    for path in ["/usr/bin/bwrap", "/usr/local/bin/bwrap"] {
        if Path::new(path).exists() {
            machine.before.extend(["--ro-bind", "/dev/null", path].map(str::to_owned));
        }
    }
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(1));
    answer.says("sandbox", "failure: bubblewrap was not found", "apt-get install bubblewrap");
}

/// What the kernel is set to decides what helps; the settings are real where that can be done.
#[test]
fn a_sandbox_that_cannot_be_made_is_told_with_what_helps() {
    let mut machine = Machine::new();
    machine.configure("");
    machine.init();
    let one = machine.write("one", "1\n", 0o644);
    let zero = machine.write("zero", "0\n", 0o644);
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let off = words(&[
        "unshare",
        "-U",
        "-r",
        "sh",
        "-c",
        "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"",
    ]);
    let set = |name: &str, value: &Path| {
        let (at, file) = (format!("/proc/sys/kernel/{name}"), value.to_str().unwrap());
        let mut argv =
            words(&["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]);
        argv.extend(words(&["--tmpfs", "/proc/sys/kernel", "--ro-bind", file, &at]));
        argv
    };
    for (before, helps) in [
        (off, "sysctl -w user.max_user_namespaces="),
        (set("unprivileged_userns_clone", &zero), "kernel.unprivileged_userns_clone=1"),
        (set("apparmor_restrict_unprivileged_userns", &one), "AppArmor keeps user namespaces"),
        (set("apparmor_restrict_unprivileged_userns", &zero), "something around us does not"),
    ] {
        machine.before = before;
        let answer = machine.doctor();
        assert_eq!(answer.code, Some(1));
        let told = answer.of("sandbox");
        assert!(told.starts_with("failure: bwrap: ") && told.contains(helps), "{told}");
    }
}

#[test]
fn root_is_warned_of_itself() {
    let machine = Machine::new();
    machine.configure("");
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(machine.doctor().to_string().contains("root: a hole"), root);
}

#[test]
fn a_worker_whose_record_cannot_be_read_is_named() {
    let machine = Machine::new();
    machine.configure("");
    machine.init();
    let task = machine.write("workers/.pool/01/task.json", "{", 0o600);
    let answer = machine.doctor();
    assert_eq!(answer.code, Some(1));
    answer.says("worker 01", "failure: ", "sets it aside, and the worker is idle");
    assert!(answer.of("worker 01").contains(&task.display().to_string()));
    assert_eq!(fs::read_to_string(task).unwrap(), "{");
}
