//! Builds the newer program below the state root, and tries it.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::NAME;
use super::origin::{How, Origin};
use super::sources::{cargo, head, shown};
use crate::domain::text;
use crate::ops::{Context, Exit, Failure};

/// A program that was built and is not in place.
pub(super) struct Built {
    pub program: PathBuf,
    /// The commit or version.
    pub from: String,
}

/// Builds it. What cargo made is kept: the next time is quicker.
pub(super) fn build(ctx: &Context, origin: &Origin) -> Result<Built, Failure> {
    let target = ctx.root.update().join("target");
    match origin {
        Origin::Checkout { dir, how } => {
            let mut build = cargo(ctx)?;
            // In the checkout, whose own settings for cargo and toolchain hold.
            build.arg("build").current_dir(dir);
            said(&mut build, how, &target);
            Ok(Built { program: built(&mut build)?, from: head(ctx, dir)? })
        }
        Origin::Git { url, reference, how, .. } => {
            let mut words = vec!["--git".to_owned(), url.clone()];
            if let Some((kind, name)) = reference.as_deref().and_then(|r| r.split_once('=')) {
                words.extend([format!("--{kind}"), name.to_owned()]);
            }
            install(ctx, &words, how, &target)
        }
        Origin::Registry { index, how, .. } => {
            let index = index.iter().flat_map(|index| ["--index".to_owned(), index.clone()]);
            install(ctx, &index.collect::<Vec<_>>(), how, &target)
        }
    }
}

/// What every build is told.
fn said(cargo: &mut Command, how: &How, target: &Path) {
    cargo.args(["--locked", "--bin", NAME, "--target-dir"]).arg(target);
    if !how.profile.is_empty() {
        cargo.args(["--profile", &how.profile]);
    }
    if !how.features.is_empty() {
        cargo.args(["--features", &how.features.join(",")]);
    }
    for (flag, wanted) in
        [("--all-features", how.all_features), ("--no-default-features", how.no_default_features)]
    {
        cargo.args(Some(flag).filter(|_| wanted));
    }
}

/// One line of cargo's account.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Runs `cargo build`, and finds the program wherever the settings have put it.
fn built(build: &mut Command) -> Result<PathBuf, Failure> {
    let fail = |why: String| {
        Failure::new(Exit::Failed, format!("cargo build failed: {why}"))
            .hint("the program that is installed was not touched")
    };
    build.args(["--message-format", "json-render-diagnostics"]);
    let out = build.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let out =
        out.and_then(std::process::Child::wait_with_output).map_err(|e| fail(e.to_string()))?;
    if !out.status.success() {
        return Err(fail(out.status.to_string()));
    }
    let messages = out.stdout.split(|b| *b == b'\n');
    messages
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok()?.executable)
        .find(|path| path.file_name().is_some_and(|name| name == NAME))
        .ok_or_else(|| fail("it does not say where the program is".into()))
}

/// Lets cargo install it into a place of our own.
fn install(ctx: &Context, from: &[String], how: &How, target: &Path) -> Result<Built, Failure> {
    let stage = ctx.root.update().join("installed");
    let mut install = cargo(ctx)?;
    install.arg("install").args(from).args(["--force", "--root"]).arg(&stage).current_dir("/");
    said(&mut install, how, target);
    shown(install.arg(NAME), "cargo install")
        .map_err(|failure| failure.hint("the program that is installed was not touched"))?;
    let program = stage.join("bin").join(NAME);
    let from = match Origin::of(&program)? {
        Origin::Git { commit, .. } => commit,
        Origin::Registry { version, .. } => version,
        Origin::Checkout { dir, .. } => head(ctx, &dir)?,
    };
    Ok(Built { program, from })
}

/// A program that takes longer to say who it is does not work.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts it: it must say who it is, and understand the state as it is on this disk. Both only read.
pub(super) fn try_out(ctx: &Context, program: &Path) -> Result<(), Failure> {
    let fail = |why: String| {
        Failure::new(Exit::Failed, format!("the new program does not work: {why}"))
            .hint("the old one is still in place")
    };
    let version = answer(ctx, program, &["--version"]).map_err(&fail)?;
    if !version.starts_with(NAME.as_bytes()) {
        return Err(fail("`--version` says something else".into()));
    }
    let status = answer(ctx, program, &["status", "--json"]).map_err(&fail)?;
    let status = serde_json::from_slice::<serde_json::Value>(&status).ok();
    if !status.is_some_and(|status| status["version"].is_u64()) {
        return Err(fail("`status --json` says something else".into()));
    }
    Ok(())
}

/// What the program says on standard output, if it ends well and soon.
fn answer(ctx: &Context, program: &Path, words: &[&str]) -> Result<Vec<u8>, String> {
    let file = || tempfile::tempfile_in(ctx.root.update()).map_err(|e| e.to_string());
    let (mut out, mut err) = (file()?, file()?);
    let handle = |file: &File| file.try_clone().map(Stdio::from).map_err(|e| e.to_string());
    let mut command = ctx.program_command(program, words);
    command.stdin(Stdio::null()).stdout(handle(&out)?).stderr(handle(&err)?);
    let mut child = command.spawn().map_err(|e| format!("it does not start: {e}"))?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{}` does not end", words.join(" ")));
            }
        }
    };
    let read = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
        Ok::<_, String>(bytes)
    };
    if status.success() {
        return read(&mut out);
    }
    let said = String::from_utf8_lossy(&read(&mut err)?).into_owned();
    let said = text::one_line(text::tail(&said, 400), 400);
    Err(format!("`{}` fails ({status}) {said}", words.join(" ")))
}
