//! The demo, as people start it: with the jail and without, and kept.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

#[expect(dead_code, reason = "this program sends plain requests only")]
#[path = "support/http.rs"]
mod http;
#[expect(dead_code, reason = "this program looks for leftovers only")]
#[path = "support/processes.rs"]
mod processes;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use processes::wait_until;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_claude-workers");

/// A command with an environment of its own, whose temporary files go to `tmp`.
fn command(words: &[OsString], tmp: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the program's own room is not for tests")]
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("HOME", tmp)
        .env("TMPDIR", tmp)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

/// Runs the demo to its end, which must be a good one, and returns what it said.
fn demo(before: &[OsString]) -> String {
    let tmp = TempDir::new().unwrap();
    let words = [before, &[PROGRAM.into(), "demo".into()]].concat();
    let output = command(&words, tmp.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}{complaints}", output.status);
    assert_eq!(complaints, "");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "its directory is gone");
    wait_for_quiet(tmp.path());
    said
}

fn wait_for_quiet(dir: &Path) {
    let left = || processes::of(dir);
    wait_until("nothing is left running", || left().join("\n"), || left().is_empty());
}

/// Three issues, three pull requests, with the changes that their agent really made.
fn assert_shows_the_work(said: &str) {
    for line in [
        "  #1 Refuse prices that are not numbers",
        "$ claude-workers init 01 02",
        "$ claude-workers assign",
        "  01  you/corner-shop#1  done",
        "$ claude-workers history",
        "  +            echo \"total.sh: not a price: $price\" >&2",
        "  +! ./total.sh 12 abc 2>/dev/null",
        "  +[ \"$(./total.sh --discount 10 200)\" = 180 ]",
        "  +runs them all and says so when they pass.",
        "3 pull requests are waiting for your review.",
    ] {
        assert!(said.lines().any(|l| l == line), "{line:?} is not in:\n{said}");
    }
    // Which of the first two is pull request 4 is a race.
    let titled = |l: &str| l.starts_with('#') && l.ends_with(" numbers  (issue-1 → trunk)");
    assert_eq!(said.lines().filter(|l| titled(l)).count(), 1, "{said}");
    assert_eq!(said.matches("  succeeded  ").count(), 3, "{said}");
    assert_eq!(said.matches("  Closes #").count(), 3, "{said}");
}

#[test]
fn the_demo_goes_from_issues_to_pull_requests_and_leaves_nothing_behind() {
    let said = demo(&[]);
    assert_shows_the_work(&said);
    assert!(!said.contains("bubblewrap"), "{said}");
}

#[test]
fn without_bubblewrap_the_demo_says_so_and_does_the_same() {
    // Everything is as it is, but that the program is no program any more.
    let bwrap = ["/usr/local/bin/bwrap", "/usr/bin/bwrap", "/bin/bwrap"];
    let bwrap: Vec<PathBuf> = bwrap.iter().map(PathBuf::from).filter(|p| p.is_file()).collect();
    let mut masked: Vec<OsString> = vec![bwrap[0].clone().into()];
    masked.extend(["--dev-bind", "/", "/"].map(OsString::from));
    for path in bwrap.iter().map(|p| p.canonicalize().unwrap()) {
        masked.extend(["--ro-bind".into(), "/dev/null".into(), path.into()]);
    }
    masked.push("--".into());
    let said = demo(&masked);
    assert_shows_the_work(&said);
    assert!(said.contains("note: bubblewrap cannot be used here"), "{said}");
    assert!(said.contains("scripted agent runs without the jail"), "{said}");
}

/// A demo that was kept, and what it said by then.
struct Kept {
    child: Child,
    said: String,
    tmp: TempDir,
}

impl Kept {
    fn start() -> Self {
        let tmp = TempDir::new().unwrap();
        let words = [PROGRAM.into(), "demo".into(), "--keep".into()];
        let mut child = command(&words, tmp.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
        while !said.ends_with("until you press Ctrl-C.\n") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        Self { child, said, tmp }
    }

    /// The rest of the line that begins with `label`.
    fn told(&self, label: &str) -> &str {
        let line = self.said.lines().find_map(|line| line.trim_start().strip_prefix(label));
        line.unwrap_or_else(|| panic!("{label:?} is not in {}", self.said))
    }

    fn end_by(&mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_kept_demo_can_be_looked_at_until_ctrl_c() {
    let mut kept = Kept::start();
    let (api, rest) = kept.told("GITHUB_API_URL=").split_once("  (token: ").unwrap();
    let token = fs::read_to_string(rest.trim_end_matches(')')).unwrap();
    let pulls = http::Client::new(api, Some(&token)).get("/repos/you/corner-shop/pulls").json;
    let titles: Vec<_> = pulls.as_array().unwrap().iter().map(|p| &p["title"]).collect();
    assert_eq!(titles.len(), 3, "{titles:?}");

    // The command that it names works as it is written.
    let status = kept.told("claude-workers --config ").to_owned();
    let words = format!("{PROGRAM}\n--config\n{}", status.replace(' ', "\n"));
    let words: Vec<OsString> = words.lines().map(OsString::from).collect();
    let answer = command(&words, kept.tmp.path()).output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(answer.matches("idle").count(), 2, "{answer}");

    let address = api.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let dir = PathBuf::from(kept.told("Kept: "));
    assert!(kept.end_by(Signal::SIGINT).success());
    assert!(TcpStream::connect(address).is_err(), "nobody answers any more");
    assert!(dir.join("config.toml").exists(), "what was kept is there");
    wait_for_quiet(kept.tmp.path());
}

#[test]
fn a_kept_demo_ends_when_it_is_told_to() {
    let mut kept = Kept::start();
    assert!(kept.end_by(Signal::SIGTERM).success());
    let mut rest = String::new();
    kept.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    wait_for_quiet(kept.tmp.path());
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let tmp = TempDir::new().unwrap();
    let words = [PROGRAM.into(), "demo".into()];
    let mut child = command(&words, tmp.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("  running")), "an agent is at work");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    wait_for_quiet(tmp.path());
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "its directory is gone");
}
