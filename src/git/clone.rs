//! The worker's clone, from inside a jail.
//!
//! Everything here runs as a jail's first process, with the home as the only writable tree and no
//! network. The clone's configuration is the agent's: hooks and file-system monitors are switched
//! off, and whatever else it may make git do stays in the jail. Requests come as JSON on standard
//! input; the answer is one line of JSON, then raw bytes.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, io_error, outbox};
use crate::domain::{BranchName, Work};
use crate::process::{command, run_bounded};
use crate::store::read_bounded;

/// What is to be done in the jail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Make or reset the clone.
    Prepare(Prepare),
    /// Pack what the agent left.
    Collect(Collect),
    /// Look into clones.
    Survey(super::sweep::Survey),
    /// Remove clones.
    Sweep(super::sweep::Sweep),
}

/// Make or reset the clone and empty the outbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prepare {
    /// Git's path inside the jail.
    pub git: PathBuf,
    /// The mirror, at the same place inside and outside.
    pub mirror: PathBuf,
    /// The clone, a directory that is there. In a jail it is a mount, and cannot be renamed.
    pub dir: PathBuf,
    /// What `origin` is to be called.
    pub url: String,
    /// The default branch.
    pub base: BranchName,
    /// The commit to start from.
    pub base_sha: String,
    /// The branch to be on.
    pub branch: BranchName,
    /// The outbox.
    pub outbox: PathBuf,
    /// An earlier attempt of the same run left this clone as it is meant to be.
    pub keep: bool,
}

/// What was made ready. The answer's raw bytes are a patch of uncommitted leftovers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Prepared {
    /// Instructions for agents that the repository holds: `AGENTS.md`, `CLAUDE.md`.
    pub instructions: Vec<String>,
}

/// Pack what the agent left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Collect {
    /// Git's path inside the jail.
    pub git: PathBuf,
    /// The clone.
    pub dir: PathBuf,
    /// The branch that the agent was to commit on.
    pub branch: BranchName,
    /// The commit that it started from.
    pub base_sha: String,
    /// The outbox.
    pub outbox: PathBuf,
    /// What comes after the answer.
    #[serde(default)]
    pub want: Want,
    /// Only what was committed is looked at: the rest is what can make git wait for ever.
    #[serde(default)]
    pub blind: bool,
}

/// What a run hands in, as the raw bytes after the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// A pack of its commits (empty: nothing to publish).
    #[default]
    Commits,
    /// Nothing: what it has to say is in the answer.
    Words,
    /// Its issues, as JSON: the name and the text of each file, by name.
    Issues {
        /// More files are left out.
        max: usize,
    },
}

/// The exit code of who could not answer for a [fault](Error::is_fault) of this machine.
pub const FAULT: u8 = 75;

/// The largest patch of leftovers that is kept.
pub const MAX_PATCH: u64 = 64 << 20;

/// The largest answer: a pack and its header.
pub const MAX_ANSWER: u64 = super::publish::MAX_PACK + (1 << 20);

/// More refs than anybody packs.
const MAX_REFS: u64 = 64 << 20;

pub(super) struct Clone<'a> {
    pub(super) git: &'a Path,
    pub(super) dir: &'a Path,
}

/// What git reads of a clone before anything else, of a pipe in its place for ever; and whether it can
/// do without.
const READ_FIRST: &[(&str, bool)] = &[
    (".gitignore", true),
    (".gitattributes", true),
    (".git/info/attributes", true),
    (".git/info/exclude", true),
    (".git/HEAD", false),
    (".git/config", false),
    (".git/index", false),
    (".git/packed-refs", false),
];

/// The pipes in the place of what git reads first, and the links to such.
fn pipes(dir: &Path) -> impl Iterator<Item = (PathBuf, bool)> {
    let is_pipe = |path: &Path| fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo());
    let all = READ_FIRST.iter().map(move |(name, spared)| (dir.join(name), *spared));
    all.filter(move |(path, _)| is_pipe(path))
}

impl<'a> Clone<'a> {
    /// A clone that is to be worked with. There is no work in a pipe.
    fn open(git: &'a Path, dir: &'a Path) -> Result<Self, Error> {
        for (pipe, spared) in pipes(dir) {
            if !spared {
                let why = format!("{} is a pipe", pipe.display());
                return Err(Error::Unexpected { what: "use the clone".into(), why });
            }
            fs::remove_file(&pipe).map_err(io_error("remove the pipe", &pipe))?;
        }
        Ok(Self { git, dir })
    }

    fn run(&self, what: &str, args: &[&str], input: &[u8], max: u64) -> Result<Vec<u8>, Error> {
        self.run_with(&[], what, args, input, max)
    }

    fn run_with(
        &self,
        env: &[(&str, &str)],
        what: &str,
        args: &[&str],
        input: &[u8],
        max: u64,
    ) -> Result<Vec<u8>, Error> {
        let mut git = command(self.git);
        git.envs(env.iter().copied());
        for (name, value) in [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C.UTF-8"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            // For the reflog. Without them git asks the resolver what this machine is called.
            ("GIT_COMMITTER_NAME", "claude-workers"),
            ("GIT_COMMITTER_EMAIL", "claude-workers@localhost"),
        ] {
            git.env(name, value);
        }
        git.args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]);
        git.args([
            "-c",
            "gc.auto=0",
            "-c",
            "maintenance.auto=false",
            "-c",
            "advice.detachedHead=false",
        ]);
        git.args(args).current_dir(self.dir);
        let start = |source| Error::Start { program: self.git.to_owned(), source };
        let out = run_bounded(&mut git, input, max).map_err(start)?;
        if let Some(signal) = out.status.signal() {
            return Err(start(std::io::Error::other(format!("it was ended by signal {signal}"))));
        }
        if out.status.success() {
            Ok(out.stdout)
        } else {
            Err(Error::Failed { what: what.to_owned(), said: out.stderr })
        }
    }

    fn ok(&self, what: &str, args: &[&str]) -> Result<(), Error> {
        self.run(what, args, b"", 1 << 20).map(drop)
    }

    /// What git says in one line; nothing if it says that there is no such thing.
    fn line(&self, args: &[&str]) -> Result<Option<String>, Error> {
        match self.run("look", args, b"", 1 << 20) {
            Ok(out) => Ok(Some(String::from_utf8_lossy(&out).trim().to_owned())),
            Err(e) if e.is_fault() => Err(e),
            Err(_) => Ok(None),
        }
    }

    /// Whether it holds nothing that was not committed, as far as git can tell.
    pub(super) fn holds_nothing(&self) -> bool {
        let stash = ["rev-parse", "--verify", "--quiet", "refs/stash"];
        pipes(self.dir).next().is_none()
            && self.look().is_ok_and(|seen| !seen.dirty)
            && self.line(&stash).is_ok_and(|stash| stash.is_none())
    }

    fn look(&self) -> Result<Seen, Error> {
        let args = [
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=normal",
            "--ignore-submodules",
        ];
        let out = self.run("look at the clone", &args, b"", MAX_PATCH)?;
        let mut seen = Seen::default();
        for line in out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match line.strip_prefix(b"# ") {
                None => seen.dirty = true,
                Some(header) => {
                    let head = header.strip_prefix(b"branch.oid ");
                    seen.head = head.map_or(seen.head, |h| String::from_utf8_lossy(h).into_owned());
                }
            }
        }
        Ok(seen)
    }
}

/// What `git status` tells of a clone.
#[derive(Debug, Default)]
struct Seen {
    /// The commit that is checked out.
    head: String,
    /// Whether anything is changed or new.
    dirty: bool,
}

/// Makes or resets the clone. Returns the answer and the patch of leftovers (empty: there were
/// none).
///
/// # Errors
/// When what is there can be neither reset nor cloned into: it is to be set aside.
pub fn prepare(request: &Prepare) -> Result<(Prepared, Vec<u8>), Error> {
    empty_outbox(&request.outbox)?;
    let mut patch = Vec::new();
    if request.dir.join(".git").is_dir() {
        patch = reset(request)?;
    } else {
        make(request)?;
    }
    let instructions = ["AGENTS.md", "CLAUDE.md"]
        .into_iter()
        .filter(|name| request.dir.join(name).is_file())
        .map(str::to_owned)
        .collect();
    Ok((Prepared { instructions }, patch))
}

fn make(request: &Prepare) -> Result<(), Error> {
    let mirror = request.mirror.display().to_string();
    let clone = Clone::open(&request.git, &request.dir)?;
    let what = "clone from the mirror";
    // `--shared` borrows the mirror's objects: nothing of the history is copied.
    clone.ok(
        what,
        &["clone", "--quiet", "--shared", "--no-checkout", "--template=", "--", &mirror, "."],
    )?;
    clone.ok(what, &["remote", "set-url", "--", "origin", &request.url])?;
    check_out(&clone, request)
}

/// Puts the clone on the branch, at the base, and returns what was uncommitted.
fn reset(request: &Prepare) -> Result<Vec<u8>, Error> {
    let clone = Clone::open(&request.git, &request.dir)?;
    // A killed git leaves it behind, and every later one refuses.
    let _ = fs::remove_file(request.dir.join(".git/index.lock"));
    if request.keep
        && clone.line(&["symbolic-ref", "--short", "HEAD"])?.as_deref()
            == Some(request.branch.as_str())
    {
        return Ok(Vec::new());
    }
    let mut patch = Vec::new();
    let seen = clone.look()?;
    if seen.dirty {
        let what = "keep the leftovers of an earlier run";
        clone.ok(what, &["add", "--all"])?;
        patch = clone.run(what, &["diff", "--cached", "--binary", "HEAD"], b"", MAX_PATCH)?;
        clone.ok(what, &["reset", "--quiet", "--hard"])?;
        clone.ok(what, &["clean", "--quiet", "-ffd"])?;
    }
    if !knows_base(request) {
        let mirror = request.mirror.display().to_string();
        let refspec = "+refs/heads/*:refs/remotes/origin/*";
        let args = ["fetch", "--quiet", "--prune", "--no-write-fetch-head", "--", &mirror, refspec];
        clone.ok("fetch from the mirror", &args)?;
    }
    // Where only a name is new, `switch` leaves the files and the index alone. It refuses a branch
    // that is there already.
    let only_a_name = !seen.dirty && seen.head == request.base_sha;
    let named = ["switch", "--quiet", "--no-track", "--create", request.branch.as_str()];
    if !only_a_name || clone.ok("name the branch", &named).is_err() {
        check_out(&clone, request)?;
    }
    Ok(patch)
}

/// Whether the clone's own name for the base is up to date. Read off git's files, because starting
/// git takes longer; where they do not tell, fetching costs time and nothing else.
fn knows_base(request: &Prepare) -> bool {
    let name = format!("refs/remotes/origin/{}", request.base);
    let read = |file: &str| {
        let bytes = read_bounded(&request.dir.join(".git").join(file), MAX_REFS).ok().flatten()?;
        String::from_utf8(bytes).ok()
    };
    match read(&name) {
        Some(loose) => loose.trim_end() == request.base_sha,
        None => read("packed-refs").is_some_and(|packed| {
            packed.lines().any(|line| line == format!("{} {name}", request.base_sha))
        }),
    }
}

fn check_out(clone: &Clone<'_>, request: &Prepare) -> Result<(), Error> {
    let args = [
        "checkout",
        "--quiet",
        "--force",
        "--no-track",
        "-B",
        request.branch.as_str(),
        &request.base_sha,
        "--",
    ];
    clone.ok("check out the branch", &args)
}

/// What is put behind the name of something that is moved aside, before a number.
pub const ASIDE: &str = ".broken-";

/// The name that something had before it was moved aside, if this is the name of such.
#[must_use]
pub fn before_aside(name: &str) -> Option<&str> {
    let (before, nth) = name.rsplit_once(ASIDE)?;
    (!before.is_empty() && nth.parse::<u32>().is_ok()).then_some(before)
}

/// Moves what is in the clone's place out of the way, under a name that is free, and returns that.
pub(super) fn set_aside(dir: &Path) -> Result<PathBuf, Error> {
    let mut nth = 1;
    loop {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!("{ASIDE}{nth}"));
        let aside = dir.with_file_name(name);
        if fs::symlink_metadata(&aside).is_err() {
            fs::rename(dir, &aside).map_err(io_error("move aside", dir))?;
            return Ok(aside);
        }
        nth += 1;
    }
}

/// An empty outbox: what is said there is said by this run.
fn empty_outbox(outbox: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(outbox) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(outbox),
        Ok(_) => fs::remove_file(outbox),
        Err(_) => Ok(()),
    };
    if removed.is_err() {
        // Its modes are the agent's to set.
        set_aside(outbox)?;
    }
    fs::create_dir_all(outbox).map_err(io_error("empty", outbox))
}

/// Looks at what the agent left and packs what is wanted. Returns the findings and the raw bytes.
///
/// # Errors
/// When git cannot read the clone.
pub fn collect(request: &Collect) -> Result<(Work, Vec<u8>), Error> {
    let clone = Clone::open(&request.git, &request.dir)?;
    let uncommitted = !request.blind && clone.look().is_ok_and(|seen| seen.dirty);
    let mut work = Work { uncommitted, ..Work::default() };
    outbox::read(&request.outbox, request.want, &mut work);
    // The branch as it was asked for; else what is checked out, if the agent renamed or left it.
    let branch = format!("refs/heads/{}", request.branch);
    let mut tip = None;
    for name in [branch.as_str(), "HEAD"] {
        let Some(head) = clone.line(&["rev-parse", "--verify", "--quiet", name])? else { continue };
        let range = format!("{}..{head}", request.base_sha);
        let count = clone.line(&["rev-list", "--count", &range, "--"])?;
        let commits: u64 = count.and_then(|n| n.parse().ok()).unwrap_or(0);
        if commits > 0 {
            tip = Some((head, commits));
            break;
        }
    }
    work.commits = tip.as_ref().map_or(0, |(_, commits)| *commits);
    match (request.want, tip) {
        (Want::Commits, Some((head, _))) => {
            let revisions = format!("{head}\n^{}\n", request.base_sha);
            let args =
                ["pack-objects", "--revs", "--thin", "--stdout", "--quiet", "--delta-base-offset"];
            let max = super::publish::MAX_PACK;
            // And not those of files that lie about.
            let attributes = [("GIT_ATTR_SOURCE", request.base_sha.as_str())];
            let input = revisions.as_bytes();
            let pack = clone.run_with(&attributes, "pack the commits", &args, input, max)?;
            work.head = Some(head);
            Ok((work, pack))
        }
        (Want::Issues { max }, _) => {
            let files = outbox::issues(&request.outbox, max, &mut work);
            Ok((work, serde_json::to_vec(&files).unwrap_or_default()))
        }
        _ => Ok((work, Vec::new())),
    }
}
