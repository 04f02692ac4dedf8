//! The bare repositories on disk, by the real git.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::state::Stats;

/// Refuses the refs named, one a line, in a file of the repository; `*` is all branches.
const PRE_RECEIVE: &str = r#"#!/bin/sh
while read -r _ _ ref; do
  while read -r refused; do
    case $refused:$ref in "$ref:$ref" | '*:refs/heads/'*)
      echo "error: GH006: Protected branch update failed for $ref." >&2
      exit 1 ;;
    esac
  done <refused-refs
done
"#;

/// Where git is, and where the repositories are.
#[derive(Debug, Clone)]
pub(super) struct Git {
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
}

/// A ref as git lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ref {
    /// `refs/heads/main`.
    pub(super) name: String,
    pub(super) sha: String,
    /// `commit`, `tag`, …
    pub(super) kind: String,
}

impl Git {
    /// git, away from the caller's configuration and repository.
    #[expect(
        clippy::disallowed_methods,
        reason = "this server stands for a machine of GitHub's: its git is not the product's"
    )]
    pub(super) fn command(&self, repo: &str) -> Command {
        let mut command = Command::new(&self.program);
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_NAMESPACE",
            "GIT_CONFIG_PARAMETERS",
            "GIT_PROTOCOL",
        ] {
            command.env_remove(name);
        }
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "0")
            .env("LC_ALL", "C")
            .args(["-c", "gc.auto=0", "-c", "uploadpack.allowFilter=true"])
            .args(["-c", "user.name=GitHub", "-c", "user.email=noreply@github.com"])
            .current_dir(self.root.join(repo));
        command
    }

    fn run(&self, repo: &str, args: &[&str]) -> io::Result<Output> {
        self.command(repo).args(args).stdin(Stdio::null()).output()
    }

    /// What git printed, trimmed; an error with git's own words if it failed.
    fn text(&self, repo: &str, args: &[&str]) -> io::Result<String> {
        checked(args, &self.run(repo, args)?)
    }

    /// Makes a bare repository. With files, they are the first commit of `branch`; those that
    /// start with `#!` are executable.
    pub(super) fn create(
        &self,
        repo: &str,
        branch: &str,
        files: &[(String, String)],
    ) -> io::Result<()> {
        fs::create_dir_all(self.root.join(repo))?;
        let head = format!("--initial-branch={branch}");
        self.text(repo, &["init", "--quiet", "--bare", "--template=", &head, "."])?;
        if files.is_empty() {
            return Ok(());
        }
        let mut stream = Vec::new();
        writeln!(stream, "commit refs/heads/{branch}")?;
        writeln!(stream, "committer GitHub <noreply@github.com> 1767225600 +0000")?;
        writeln!(stream, "data 14\nInitial commit")?;
        for (path, text) in files {
            let mode = if text.starts_with("#!") { "100755" } else { "100644" };
            let path = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            writeln!(stream, "M {mode} inline \"{path}\"\ndata {}\n{text}", text.len())?;
        }
        let args = ["fast-import", "--quiet"];
        let mut child = self
            .command(repo)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&stream)?;
        }
        checked(&args, &child.wait_with_output()?).map(drop)
    }

    /// All refs that start with `prefix`, by name.
    pub(super) fn refs(&self, repo: &str, prefix: &str) -> io::Result<Vec<Ref>> {
        let format = "--format=%(objectname) %(objecttype) %(refname)";
        let listed = self.text(repo, &["for-each-ref", format])?;
        let parse = |line: &str| {
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            let (sha, kind, name) = (words.next()?, words.next()?, words.next()?);
            name.starts_with(prefix).then_some(Ref { name, sha, kind })
        };
        Ok(listed.lines().filter_map(parse).collect())
    }

    /// Whether the repository has this object.
    pub(super) fn has(&self, repo: &str, sha: &str) -> io::Result<bool> {
        Ok(self.run(repo, &["cat-file", "-e", sha])?.status.success())
    }

    /// Whether `old` is an ancestor of `new`, or the same.
    pub(super) fn leads_to(&self, repo: &str, old: &str, new: &str) -> io::Result<bool> {
        Ok(self.run(repo, &["merge-base", "--is-ancestor", old, new])?.status.success())
    }

    /// Sets a ref, if it stands where `old` says (all zeros: if it is not there). Returns whether
    /// it did: git compares and sets in one step.
    pub(super) fn set_ref(&self, repo: &str, name: &str, new: &str, old: &str) -> io::Result<bool> {
        Ok(self.run(repo, &["update-ref", name, new, old])?.status.success())
    }

    pub(super) fn delete_ref(&self, repo: &str, name: &str) -> io::Result<()> {
        self.text(repo, &["update-ref", "-d", name]).map(drop)
    }

    /// How many commits `head` has that `base` does not.
    pub(super) fn ahead(&self, repo: &str, base: &str, head: &str) -> io::Result<u64> {
        let count = self.text(repo, &["rev-list", "--count", &format!("{base}..{head}")])?;
        count.parse().map_err(io::Error::other)
    }

    /// What GitHub shows of a pull request.
    pub(super) fn stats(&self, repo: &str, base: &str, head: &str) -> io::Result<Stats> {
        let numbers = self.text(repo, &["diff", "--numstat", &format!("{base}...{head}")])?;
        let (mut files, mut additions, mut deletions) = (0, 0, 0);
        for line in numbers.lines() {
            // A binary file has dashes for numbers.
            let mut count = line.split('\t').map(|n| n.parse::<u64>().unwrap_or(0));
            files += 1;
            additions += count.next().unwrap_or(0);
            deletions += count.next().unwrap_or(0);
        }
        let commits = self.ahead(repo, base, head)?;
        let mergeable = self.merge_tree(repo, base, head)?.is_some();
        Ok(Stats { commits, files, additions, deletions, mergeable })
    }

    /// The difference that a pull request makes.
    pub(super) fn diff(&self, repo: &str, base: &str, head: &str) -> io::Result<String> {
        let args = ["diff", &format!("{base}...{head}")];
        let output = self.run(repo, &args)?;
        checked(&args, &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn merge_tree(&self, repo: &str, base: &str, head: &str) -> io::Result<Option<String>> {
        let output = self.run(repo, &["merge-tree", "--write-tree", base, head])?;
        let tree = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(output.status.success().then_some(tree))
    }

    /// Merges `head` into the branch `base` with a merge commit. Returns its id; `None` on a
    /// conflict.
    pub(super) fn merge(
        &self,
        repo: &str,
        base: &str,
        head: &str,
        message: &str,
    ) -> io::Result<Option<String>> {
        let branch = format!("refs/heads/{base}");
        let old = self.text(repo, &["rev-parse", "--verify", &branch])?;
        let Some(tree) = self.merge_tree(repo, &old, head)? else { return Ok(None) };
        let commit =
            self.text(repo, &["commit-tree", &tree, "-p", &old, "-p", head, "-m", message])?;
        self.text(repo, &["update-ref", &branch, &commit, &old])?;
        Ok(Some(commit))
    }

    /// Refuses pushes to a branch from now on; `*` is every ref.
    pub(super) fn refuse_pushes(&self, repo: &str, branch: &str) -> io::Result<()> {
        let dir = self.root.join(repo);
        let hooks = dir.join("hooks");
        fs::create_dir_all(&hooks)?;
        let hook = hooks.join("pre-receive");
        if !hook.exists() {
            write_executable(&hook, PRE_RECEIVE)?;
        }
        let name = if branch == "*" { "*".to_owned() } else { format!("refs/heads/{branch}") };
        let mut list =
            fs::OpenOptions::new().create(true).append(true).open(dir.join("refused-refs"))?;
        writeln!(list, "{name}")
    }

    /// Takes pushes again.
    pub(super) fn accept_pushes(&self, repo: &str) -> io::Result<()> {
        fs::write(self.root.join(repo).join("refused-refs"), "")
    }
}

fn write_executable(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn checked(args: &[&str], output: &Output) -> io::Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let command = args.first().copied().unwrap_or_default();
    Err(io::Error::other(format!("git {command} failed: {}", words.trim())))
}
