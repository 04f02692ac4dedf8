//! Where tests make the program die, hang or fail: between any two effects of a run.
//!
//! Every effect (a file written or removed, a lock taken, a request, a process) goes through one of
//! a few places, and each of those says here what it is about to do and that it has done it. A
//! debug build that is told so by its environment writes down each such point, and at one of them
//! kills itself, waits, or lets the effect fail. What is waited for at length can be cut short for a
//! test, too. A release build has none of this.
//!
//! A point is called `before <effect>` or `after <effect>`; what differs from run to run is left out
//! of the name. It is told apart from others of its name by the role of the process (the command
//! that it was started with) and by its number there.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How an effect fails, when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The disk is full.
    Disk,
    /// The connection breaks.
    Network,
    /// No process can be started.
    Process,
}

/// An effect that is about to happen.
#[derive(Debug)]
#[must_use]
pub struct Effect {
    #[cfg(debug_assertions)]
    named: Option<(String, Trouble)>,
}

impl Effect {
    /// `what` is asked for only where it matters.
    #[cfg(debug_assertions)]
    pub fn new(trouble: Trouble, what: impl FnOnce() -> String) -> Self {
        Self { named: armed::plan().map(|_| (what(), trouble)) }
    }

    /// `what` is asked for only where it matters.
    #[cfg(not(debug_assertions))]
    pub fn new(_: Trouble, _: impl FnOnce() -> String) -> Self {
        Self {}
    }

    /// The moment before it.
    ///
    /// # Errors
    /// Only when a test wants it to fail: then it is not to be done.
    pub fn before(&self) -> io::Result<()> {
        self.reach("before", true)
    }

    /// The moment after it.
    ///
    /// # Errors
    /// Only when a test wants it to fail although it is done.
    pub fn after(&self) -> io::Result<()> {
        self.reach("after", true)
    }

    /// The moment after an effect that cannot fail any more.
    pub fn passed(&self) {
        let _ = self.reach("after", false);
    }

    #[cfg(debug_assertions)]
    fn reach(&self, when: &str, may_fail: bool) -> io::Result<()> {
        let Some((what, trouble)) = &self.named else { return Ok(()) };
        armed::reach(&format!("{when} {what}"), may_fail.then_some(*trouble))
    }

    #[cfg(not(debug_assertions))]
    fn reach(&self, _: &str, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// Does an effect between its two points.
///
/// # Errors
/// Its own.
pub fn around<T>(
    trouble: Trouble,
    what: impl FnOnce() -> String,
    effect: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let named = Effect::new(trouble, what);
    named.before()?;
    let done = effect()?;
    named.after()?;
    Ok(done)
}

/// How long `what` is waited for, which takes no such time if all is well. Tests have less of it.
#[cfg(debug_assertions)]
#[must_use]
pub fn patience(what: &str, usual: Duration) -> Duration {
    armed::patience(what).unwrap_or(usual)
}

/// How long `what` is waited for, which takes no such time if all is well.
#[cfg(not(debug_assertions))]
#[must_use]
pub fn patience(_: &str, usual: Duration) -> Duration {
    usual
}

/// A file, as the name of a point has it: names that differ from run to run by their directory.
#[must_use]
pub fn place(path: &Path) -> String {
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let name = part(path.file_name());
    if !name.contains(|c: char| c.is_ascii_digit()) {
        return name;
    }
    let mut parent = path.parent().and_then(Path::file_name);
    // Directories with names of such a kind: a worker's, those named by a hash.
    if part(parent).contains(|c: char| c.is_ascii_digit()) {
        parent = path.parent().and_then(Path::parent).and_then(Path::file_name);
    }
    let ending = name.split_once('.').map(|(_, ending)| format!(".{ending}")).unwrap_or_default();
    format!("{}/*{ending}", part(parent))
}

/// A path of the REST API, as the name of a point has it.
#[must_use]
pub fn endpoint(path: &str) -> String {
    let mut shown = Vec::new();
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let after = |word: &str, by: usize| at >= by && parts[at - by] == word;
        shown.push(match *part {
            _ if after("repos", 1) => "{owner}",
            _ if after("repos", 2) => "{repo}",
            _ if after("collaborators", 1) => "{login}",
            _ if after("labels", 1) => "{name}",
            n if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => "{n}",
            other => other,
        });
    }
    shown.join("/")
}

/// A command, as the name of a point has it: what git is to do with which refs, or what our own
/// program is.
#[must_use]
pub fn command_name(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|w| w.to_string_lossy()).collect();
    let word = |at: usize| words.get(at).map(AsRef::as_ref).unwrap_or_default();
    if let Some(at) = words.iter().position(|word| word == "jail") {
        return format!("jail {}", word(at + 1));
    }
    match word(0) {
        "step" => return format!("step {}", word(2)),
        "supervise" => return "supervise".to_owned(),
        _ => {}
    }
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    if program != "git" {
        return program.to_string_lossy().into_owned();
    }
    let mut rest = words.iter().map(AsRef::as_ref);
    let mut name = "git".to_owned();
    while let Some(word) = rest.next() {
        if matches!(word, "-c" | "--git-dir") {
            rest.next();
        } else {
            name.push_str(&format!(" {word}"));
            break;
        }
    }
    for word in rest.filter(|word| !word.starts_with('-') && word.contains("refs/")) {
        let target = word.rsplit(':').next().unwrap_or_default();
        let digits = |c: char| c.is_ascii_digit();
        name.push_str(&format!(" {}", target.trim_end_matches(digits)));
        if target.ends_with(digits) {
            name.push_str("{n}");
        }
    }
    name
}

/// What a command does, seen from its end.
pub fn end_of(command: &Command) -> Effect {
    let remote = |word: &str| matches!(word, "push" | "fetch" | "ls-remote");
    let remote = command.get_args().filter_map(|word| word.to_str()).any(remote);
    let trouble = if remote { Trouble::Network } else { Trouble::Process };
    Effect::new(trouble, || command_name(command))
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::fs::{self, OpenOptions};
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::Trouble;
    use crate::config::env::{Env, FAILPOINT, FAILPOINT_RECORD, PATIENCE};

    /// What the environment asks for.
    pub(super) struct Plan {
        role: String,
        record: Option<PathBuf>,
        strike: Option<Strike>,
        /// How often each point was reached by this process.
        reached: Mutex<BTreeMap<String, u32>>,
    }

    /// `mode|role|point|nth|marker`
    struct Strike {
        mode: String,
        role: String,
        point: String,
        nth: u32,
        /// Made by the one process that is struck; `<marker>.hangs` is there while it hangs.
        marker: PathBuf,
    }

    impl Strike {
        fn parse(text: &str) -> Option<Self> {
            let mut parts = text.splitn(5, '|').map(str::to_owned);
            Some(Self {
                mode: parts.next()?,
                role: parts.next()?,
                point: parts.next()?,
                nth: parts.next()?.parse().ok()?,
                marker: parts.next()?.into(),
            })
        }
    }

    pub(super) fn plan() -> Option<&'static Plan> {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        let load = || {
            let env = Env::of_process();
            let record = env.path(FAILPOINT_RECORD);
            let strike = env.get(FAILPOINT).and_then(Strike::parse);
            let asked = record.is_some() || strike.is_some();
            asked.then(|| Plan { role: role(), record, strike, reached: Mutex::default() })
        };
        PLAN.get_or_init(load).as_ref()
    }

    pub(super) fn patience(what: &str) -> Option<Duration> {
        let env = Env::of_process();
        let mut all = env.get(PATIENCE)?.split(',').filter_map(|one| one.split_once('='));
        let secs = all.find_map(|(name, secs)| (name == what).then(|| secs.parse().ok()))?;
        secs.map(Duration::from_secs)
    }

    /// The command that this process was started with.
    fn role() -> String {
        let words: Vec<String> =
            std::env::args_os().map(|w| w.to_string_lossy().into_owned()).collect();
        let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
        match word(1) {
            "step" => format!("step {}", word(3)),
            other => other.to_owned(),
        }
    }

    pub(super) fn reach(point: &str, trouble: Option<Trouble>) -> io::Result<()> {
        let Some(plan) = plan() else { return Ok(()) };
        let nth = {
            let mut reached = plan.reached.lock().unwrap_or_else(PoisonError::into_inner);
            let count = reached.entry(point.to_owned()).or_default();
            *count += 1;
            *count
        };
        if let Some(path) = &plan.record {
            let kind = trouble.map_or("-".to_owned(), |trouble| format!("{trouble:?}"));
            let pid = std::process::id();
            let line = format!("{pid}|{}|{point}|{nth}|{kind}\n", plan.role);
            OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())?;
        }
        match &plan.strike {
            Some(strike)
                if (plan.role.as_str(), point, nth)
                    == (strike.role.as_str(), strike.point.as_str(), strike.nth)
                    && is_first(&strike.marker) =>
            {
                happen(strike, trouble)
            }
            _ => Ok(()),
        }
    }

    /// Whether no process has been struck yet. Then it is this one.
    fn is_first(marker: &Path) -> bool {
        let made = OpenOptions::new().write(true).create_new(true).open(marker);
        made.and_then(|mut file| file.write_all(std::process::id().to_string().as_bytes())).is_ok()
    }

    fn happen(strike: &Strike, trouble: Option<Trouble>) -> io::Result<()> {
        match (strike.mode.as_str(), trouble) {
            ("kill", _) => {
                let _ = kill(Pid::this(), Signal::SIGKILL);
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            ("hang", _) => {
                let hangs = PathBuf::from(format!("{}.hangs", strike.marker.display()));
                fs::write(&hangs, "")?;
                while hangs.exists() {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            }
            (_, Some(trouble)) => Err(io::Error::from_raw_os_error(match trouble {
                Trouble::Disk => nix::libc::ENOSPC,
                Trouble::Network => nix::libc::ECONNRESET,
                Trouble::Process => nix::libc::EAGAIN,
            })),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command;

    #[test]
    fn a_point_is_called_the_same_in_every_run() {
        for (path, name) in [
            ("/r/.pool/01/task.json", "task.json"),
            (
                "/r/.pool/01/completed/octo-app-1-20261121T071500-7f3a.supervisor.log",
                "completed/*.supervisor.log",
            ),
            ("/r/.pool/github/cache/00ff12/34.json", "cache/*.json"),
            ("/r/.pool/01", ".pool/*"),
        ] {
            assert_eq!(place(Path::new(path)), name);
        }
        assert_eq!(
            endpoint("/repos/octo/app/issues/12/labels/worker%3A01?x=1"),
            "/repos/{owner}/{repo}/issues/{n}/labels/{name}"
        );
        let named = |program: &str, args: &[&str]| command_name(command(program).args(args));
        assert_eq!(
            named("/x/claude-workers", &["step", "01", "publish", "--root", "/r"]),
            "step publish"
        );
        assert_eq!(
            named("/usr/bin/bwrap", &["--ro-bind", "/", "/own", "jail", "clone"]),
            "jail clone"
        );
        assert_eq!(
            named(
                "/usr/bin/git",
                &[
                    "-c",
                    "a=b",
                    "--git-dir",
                    "/d",
                    "push",
                    "--quiet",
                    "--force-with-lease=refs/heads/x:",
                    "--",
                    "http://h/1",
                    "12ab:refs/heads/issue-1",
                    "34cd:refs/claude-workers/claims/issue-1"
                ]
            ),
            "git push refs/heads/issue-{n} refs/claude-workers/claims/issue-{n}"
        );
    }
}
