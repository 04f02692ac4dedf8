//! Commands that the program calls itself: hidden, and no interface for anybody else.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use super::block_on;
use crate::domain::{BranchName, WorkerId};
use crate::git::clone::{self, Request};
use crate::ops::{Context, Exit, Failure, step, supervise};
use crate::process::command;
use crate::sandbox::inside::{Canary, Verdict};

/// Those that belong to a run.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Inner {
    /// Own a run from claim to archive
    #[command(hide = true)]
    Supervise {
        /// The worker
        worker: WorkerId,
    },
    /// Do the part of a run that talks to GitHub
    #[command(hide = true)]
    Step {
        /// The worker
        worker: WorkerId,
        #[command(subcommand)]
        what: Step,
    },
}

/// Those that run inside a jail, or for git: they have no configuration to read.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Bare {
    /// Be the first process in a jail
    #[command(hide = true)]
    Jail {
        #[command(subcommand)]
        what: Jail,
    },
    /// Give git the token
    #[command(hide = true)]
    GitCredential {
        /// What git wants
        action: String,
    },
    /// Be the demo's agent
    #[command(hide = true)]
    DemoAgent {
        /// The git program
        git: PathBuf,
        /// The prompt
        prompt: PathBuf,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Step {
    /// Read the issue
    Brief {
        /// The branch that the run would publish
        branch: BranchName,
    },
    /// Push, open, say, label
    Publish,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Jail {
    /// Try the walls, then become the program
    Enter {
        /// What to try, as JSON
        canary: String,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        argv: Vec<std::ffi::OsString>,
    },
    /// Make, reset or read the clone
    Clone,
}

pub(super) fn run(ctx: &Context, inner: Inner) -> Result<ExitCode, Failure> {
    match inner {
        Inner::Supervise { worker } => supervise::supervise(ctx, &worker)?,
        Inner::Step { worker, what: Step::Brief { branch } } => {
            answer(&block_on(step::brief(ctx, &worker, &branch))?)?;
        }
        Inner::Step { worker, what: Step::Publish } => {
            answer(&block_on(step::publish(ctx, &worker))?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn bare(bare: Bare) -> Result<ExitCode, Failure> {
    match bare {
        Bare::Jail { what: Jail::Enter { canary, argv } } => enter(&canary, &argv),
        Bare::Jail { what: Jail::Clone } => clone_inside(),
        Bare::GitCredential { action } => {
            let token = crate::git::token_for_helper();
            super::print::out(&step::git_credential(&action, token.as_deref()));
            Ok(ExitCode::SUCCESS)
        }
        Bare::DemoAgent { git, prompt } => {
            let done = crate::demo::agent::run(&git, &prompt);
            done.map(|()| ExitCode::SUCCESS).map_err(|e| Failure::new(Exit::Failed, e))
        }
    }
}

fn answer(value: &impl serde::Serialize) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(Exit::Failed, format!("cannot answer: {e}"));
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(|e| fail(e.into()))?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(fail)
}

/// No honest clone takes longer to be made, reset or read.
const TOO_LONG_SECS: u32 = 600;

fn clone_inside() -> Result<ExitCode, Failure> {
    let fail = |e: String| Failure::new(Exit::Failed, e);
    // The clone's configuration is the agent's: a filter or a pipe in it can make git wait for
    // ever. Our death is the jail's end, and so everybody's in it.
    nix::unistd::alarm::set(TOO_LONG_SECS);
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).map_err(|e| fail(e.to_string()))?;
    let request: Request = serde_json::from_slice(&input).map_err(|e| fail(e.to_string()))?;
    let raw = match request {
        Request::Prepare(prepare) => {
            let (prepared, patch) = clone::prepare(&prepare)?;
            answer(&prepared)?;
            patch
        }
        Request::Collect(collect) => {
            let (work, pack) = clone::collect(&collect)?;
            answer(&work)?;
            pack
        }
    };
    std::io::stdout().write_all(&raw).map_err(|e| fail(e.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

/// Closes what whoever started us left open beside the standard streams: an open file or socket of
/// the host would be a hole in the wall.
fn close_inherited() {
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> =
        listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// The exit code when the walls do not hold; the verdict on standard output says more.
const WALL_FAULT: u8 = 70;

fn enter(canary: &str, argv: &[std::ffi::OsString]) -> Result<ExitCode, Failure> {
    let fault = match serde_json::from_str::<Canary>(canary) {
        Ok(canary) => canary.try_all().err(),
        Err(e) => Some(format!("the canary's orders are wrong: {e}")),
    };
    close_inherited();
    let held = fault.is_none();
    answer(&Verdict { jail_fault: fault })?;
    if !held {
        return Ok(ExitCode::from(WALL_FAULT));
    }
    let mut agent = command(&argv[0]);
    agent.args(&argv[1..]).envs(crate::config::Env::of_process().all());
    let e = agent.exec();
    Err(Failure::new(Exit::Failed, format!("cannot start {}: {e}", argv[0].display())))
}
