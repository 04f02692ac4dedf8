//! The sources: what is newest there, and bringing a checkout to it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::NAME;
use super::origin::Origin;
use crate::domain::text;
use crate::ops::{Context, Exit, Failure};
use crate::process::{command, run_bounded};

/// What the program was built from, if that is known, and what it could be built from.
pub(super) struct News {
    pub now: Option<String>,
    pub newest: String,
}

/// Asks the sources. `built_from` is what we remember of the program ourselves.
pub(super) fn news(
    ctx: &Context,
    origin: &Origin,
    built_from: Option<String>,
) -> Result<News, Failure> {
    match origin {
        Origin::Checkout { dir, .. } => {
            Ok(News { now: built_from, newest: newest_of_checkout(ctx, dir)? })
        }
        Origin::Git { url, reference, commit, .. } => {
            let now = built_from.unwrap_or_else(|| commit.clone());
            let newest = newest_of_remote(ctx, url, reference.as_deref(), &now)?;
            Ok(News { now: Some(now), newest })
        }
        Origin::Registry { index, version, .. } => {
            let now = built_from.unwrap_or_else(|| version.clone());
            Ok(News { now: Some(now), newest: newest_release(ctx, index.as_deref())? })
        }
    }
}

/// Fetches, and refuses what cannot be brought forward without losing something.
fn newest_of_checkout(ctx: &Context, dir: &Path) -> Result<String, Failure> {
    let refuse = |why: String, hint: &str| {
        Failure::new(Exit::Failed, format!("the checkout {} {why}", dir.display())).hint(hint)
    };
    ask(ctx, dir, &["rev-parse", "--git-dir"]).map_err(|failure| {
        refuse(
            format!("cannot be used: {failure}"),
            "put newer sources there by hand, and install from them again",
        )
    })?;
    if !ask(ctx, dir, &["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
        return Err(refuse(
            "has changes that are not committed".into(),
            "commit them, or stash them",
        ));
    }
    let Ok(branch) = ask(ctx, dir, &["symbolic-ref", "--short", "--quiet", "HEAD"]) else {
        return Err(refuse(
            "is on no branch".into(),
            "switch to the branch that is to be followed",
        ));
    };
    let branch = text::one_line(&branch, 100);
    if ask(ctx, dir, &["rev-parse", "--verify", "--quiet", "@{upstream}"]).is_err() {
        let why = format!("is on {branch}, which follows no branch of a remote");
        return Err(refuse(why, "git branch --set-upstream-to=origin/main"));
    }
    shown(git(ctx)?.arg("-C").arg(dir).args(["fetch", "--quiet"]), "git fetch")?;
    let counts = ask(ctx, dir, &["rev-list", "--left-right", "--count", "HEAD...@{upstream}"])?;
    let mut counts = counts.split_whitespace();
    let (ahead, behind) = (counts.next().unwrap_or("0"), counts.next().unwrap_or("0"));
    match (ahead, behind) {
        (_, "0") => ask(ctx, dir, &["rev-parse", "HEAD"]),
        ("0", _) => ask(ctx, dir, &["rev-parse", "@{upstream}"]),
        _ => Err(refuse(
            format!("has diverged: {branch} has {ahead} commits of its own and lacks {behind}"),
            "bring them together by hand: `git rebase`, or `git merge`",
        )),
    }
}

/// Brings a checkout to what [`news`] found; other sources are fetched by cargo.
pub(super) fn bring(ctx: &Context, origin: &Origin) -> Result<(), Failure> {
    let Origin::Checkout { dir, .. } = origin else { return Ok(()) };
    // As `git pull --ff-only`, without asking the remote a second time.
    shown(
        git(ctx)?.arg("-C").arg(dir).args(["merge", "--ff-only", "--quiet", "@{upstream}"]),
        "git merge",
    )
}

/// The commit that a checkout is at.
pub(super) fn head(ctx: &Context, dir: &Path) -> Result<String, Failure> {
    ask(ctx, dir, &["rev-parse", "HEAD"])
}

fn newest_of_remote(
    ctx: &Context,
    url: &str,
    reference: Option<&str>,
    now: &str,
) -> Result<String, Failure> {
    let wanted = match reference.and_then(|r| r.split_once('=')) {
        None => "HEAD".to_owned(),
        Some(("branch", branch)) => format!("refs/heads/{branch}"),
        // Pinned by whoever installed it.
        Some(_) => return Ok(now.to_owned()),
    };
    let said = ask(ctx, Path::new("/"), &["ls-remote", "--exit-code", "--", url, &wanted])?;
    let commit = said.split_whitespace().next().unwrap_or_default();
    if commit.len() < 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        let what = format!("{url} does not tell the commit of {wanted}");
        return Err(Failure::new(Exit::Failed, what));
    }
    Ok(commit.to_owned())
}

fn newest_release(ctx: &Context, index: Option<&str>) -> Result<String, Failure> {
    let mut info = cargo(ctx)?;
    info.args(["info", "--color", "never", NAME]).current_dir("/");
    // Named in any case: where crates.io is mirrored, cargo wants to be told which is meant.
    info.args(index.map_or(["--registry", "crates-io"], |index| ["--index", index]));
    let said = captured(&mut info, "cargo info")?;
    let version = said.lines().find_map(|line| line.strip_prefix("version: "));
    let version = version.and_then(|v| v.split_whitespace().next());
    let what = "`cargo info` does not tell the newest version";
    version.map(str::to_owned).ok_or_else(|| Failure::new(Exit::Failed, what))
}

/// Git, with the user's own environment and configuration: it works on the user's checkout.
fn git(ctx: &Context) -> Result<Command, Failure> {
    let mut git = command(ctx.tool("git")?);
    // Nobody is there to answer.
    git.envs(ctx.env().all()).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").current_dir("/");
    Ok(git)
}

/// Cargo, with the user's environment but for tokens: the packages' build scripts need none.
pub(super) fn cargo(ctx: &Context) -> Result<Command, Failure> {
    use crate::config::env;
    let program = ctx.tool("cargo")?;
    let mut cargo = command(&program);
    cargo.envs(ctx.env().all());
    let secrets =
        [env::GH_TOKEN, env::GITHUB_TOKEN, env::ANTHROPIC_API_KEY, env::CLAUDE_CODE_OAUTH_TOKEN];
    for secret in secrets {
        cargo.env_remove(secret);
    }
    // The compiler is beside it; the linker is where the system has it.
    let beside = program.parent().unwrap_or(Path::new("/")).display();
    let path = ctx.env().get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
    cargo.env("PATH", format!("{path}:{beside}")).env("GIT_TERMINAL_PROMPT", "0");
    Ok(cargo)
}

/// What git answers, without the end of the line.
fn ask(ctx: &Context, dir: &Path, words: &[&str]) -> Result<String, Failure> {
    captured(git(ctx)?.arg("-C").arg(dir).args(words), &format!("git {}", words[0]))
}

fn captured(command: &mut Command, what: &str) -> Result<String, Failure> {
    let fail = |why: String| Failure::new(Exit::Failed, format!("{what}: {why}"));
    let out = run_bounded(command, b"", 1 << 20).map_err(|e| fail(e.to_string()))?;
    if !out.status.success() {
        let said = text::one_line(text::tail(&out.stderr, 400), 400);
        return Err(fail(if said.is_empty() { out.status.to_string() } else { said }));
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Runs a command whose progress is shown.
pub(super) fn shown(command: &mut Command, what: &str) -> Result<(), Failure> {
    let fail = |why: String| Failure::new(Exit::Failed, format!("{what} failed: {why}"));
    // Standard output is for what we have to say ourselves.
    let stderr = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned();
    let stderr = stderr.map_err(|e| fail(e.to_string()))?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::from(stderr)).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(fail(status.to_string())),
        Err(e) => Err(fail(e.to_string())),
    }
}
