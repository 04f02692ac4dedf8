//! Commands that the program calls itself: hidden, and no interface for anybody else.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use super::block_on;
use super::complete::Style;
use crate::domain::{BranchName, Rlimits, WorkerId};
use crate::egress::{self, forward};
use crate::failpoint::{Trouble, around};
use crate::git::clone::{self, Request};
use crate::git::sweep;
use crate::ops::{Exit, Failure, publish, step, supervise};
use crate::process::command;
use crate::sandbox::filter::refuse_calls;
use crate::sandbox::inside::{NO_AGENT, Orders, Verdict, limit};

/// They have a parser of their own: the program starts itself several times a run, and the parser
/// of everything that people can say would take a good part of each start.
#[derive(Debug, clap::Parser)]
#[command(name = "claude-workers")]
pub(super) struct Cli {
    #[command(flatten)]
    everywhere: super::Everywhere,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Own a run from claim to archive
    Supervise {
        /// The worker
        worker: WorkerId,
        /// Its issue has just been claimed for this run
        #[arg(long)]
        claimed: bool,
    },
    /// Do the part of a run that talks to GitHub
    Step {
        /// The worker
        worker: WorkerId,
        #[command(subcommand)]
        what: Step,
    },
    /// Be the first process in a jail
    Jail {
        #[command(subcommand)]
        what: Jail,
    },
    /// Be a run's way out of its jail: the listener is standard output, the task comes in on
    /// standard input, and its end is the run's
    EgressProxy,
    /// Give git the token
    GitCredential {
        /// What git wants
        action: String,
    },
    /// Say how a half-written command line can go on
    Complete {
        /// In which way
        style: Style,
        /// Which of the words is being written, from 0
        index: usize,
        /// The words of the line, the program's name first
        #[arg(last = true)]
        words: Vec<OsString>,
    },
    /// Be the demo's agent
    DemoAgent {
        /// The git program
        git: PathBuf,
        /// The prompt
        prompt: PathBuf,
    },
}

/// Whether a command line that starts with `word` is one of these.
pub(super) fn is_ours(word: &OsStr) -> bool {
    ["supervise", "step", "jail", "egress-proxy", "git-credential", "complete", "demo-agent"]
        .iter()
        .any(|own| word == *own)
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Step {
    /// Read the issue
    Brief {
        /// The branch that the run would publish
        branch: BranchName,
        /// The issue was claimed long after it was looked at
        #[arg(long)]
        late: bool,
    },
    /// Push, open, say, label
    Publish,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Jail {
    /// Wait for the word, try the walls, then make way for the program
    Enter {
        /// What to do, as JSON
        orders: String,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
    /// Make, reset or read the clone
    Clone,
}

pub(super) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // Those that run inside a jail, or for git, have no configuration to read.
    let context = || cli.everywhere.context();
    match cli.command {
        Command::Supervise { worker, claimed } => {
            supervise::supervise(&context()?, &worker, claimed)?;
        }
        Command::Step { worker, what: Step::Brief { branch, late } } => {
            answer(&block_on(step::brief(&context()?, &worker, &branch, late))?)?;
        }
        Command::Step { worker, what: Step::Publish } => {
            answer(&block_on(publish::publish(&context()?, &worker))?)?;
        }
        Command::Jail { what: Jail::Enter { orders, argv } } => return enter(&orders, &argv),
        Command::Jail { what: Jail::Clone } => return clone_inside(),
        Command::EgressProxy => proxy()?,
        Command::GitCredential { action } => {
            super::print::out(&crate::git::credential(&action));
        }
        Command::Complete { style, index, words } => {
            let cli = super::Cli::command();
            super::print::out(&super::complete::answer(cli, style, words, index));
        }
        Command::DemoAgent { git, prompt } => {
            crate::demo::agent::run(&git, &prompt).map_err(|e| Failure::new(Exit::Failed, e))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(value: &impl serde::Serialize) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(Exit::Failed, format!("cannot answer: {e}"));
    let mut out = std::io::stdout().lock();
    let mut say = || {
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n").and_then(|()| out.flush())
    };
    around(Trouble::Process, || "answer".into(), &mut say).map_err(fail)
}

/// No git needs more memory of its own for an honest clone, in bytes.
const MUCH_MEMORY: u64 = 4 << 30;

fn clone_inside() -> Result<ExitCode, Failure> {
    let fail = |e: String| Failure::new(Exit::Failed, e);
    let rlimits = Rlimits { memory: Some(MUCH_MEMORY), ..Rlimits::default() };
    limit(&rlimits).and_then(|()| refuse_calls()).map_err(fail)?;
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).map_err(|e| fail(e.to_string()))?;
    let request: Request = serde_json::from_slice(&input).map_err(|e| fail(e.to_string()))?;
    let done = match request {
        Request::Prepare(it) => clone::prepare(&it).map(|(made, patch)| (answer(&made), patch)),
        Request::Collect(it) => clone::collect(&it).map(|(work, pack)| (answer(&work), pack)),
        Request::Survey(it) => Ok((answer(&sweep::survey(&it)), Vec::new())),
        Request::Sweep(it) => Ok((answer(&sweep::sweep(&it)), Vec::new())),
    };
    match done {
        Ok((answered, raw)) => {
            answered?;
            std::io::stdout().write_all(&raw).map_err(|e| fail(e.to_string()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(e) if e.is_fault() => {
            super::print::failure(&e.into());
            Ok(ExitCode::from(clone::FAULT))
        }
        Err(e) => Err(e.into()),
    }
}

fn proxy() -> Result<(), Failure> {
    let streams = || {
        let life = std::io::stdin().as_fd().try_clone_to_owned()?;
        let listener = std::io::stdout().as_fd().try_clone_to_owned()?;
        egress::serve(listener.into(), life)
    };
    streams().map_err(|e: std::io::Error| Failure::new(Exit::Failed, format!("the proxy: {e}")))
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

fn enter(orders: &str, argv: &[OsString]) -> Result<ExitCode, Failure> {
    let fail = |e: String| Failure::new(Exit::Failed, e);
    let orders: Orders = serde_json::from_str(orders).map_err(|e| fail(e.to_string()))?;
    if !matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
        // The clone could not be made ready, or the supervisor is gone.
        return Ok(ExitCode::FAILURE);
    }
    let walled = orders.canary.try_all().and_then(|()| limit(&orders.rlimits));
    let fault = walled.and_then(|()| refuse_calls()).err();
    close_inherited();
    let held = fault.is_none();
    answer(&Verdict { jail_fault: fault })?;
    if !held {
        return Ok(ExitCode::from(WALL_FAULT));
    }
    let stdin = std::fs::File::open(&orders.stdin).map_err(|e| fail(e.to_string()))?;
    let mut agent = command(&argv[0]);
    agent.args(&argv[1..]).envs(crate::config::Env::of_process().all());
    agent.stdin(stdin).current_dir(&orders.cwd);
    let e = match orders.routes {
        None => agent.exec(),
        Some(routes) => match forward::run(agent, &routes) {
            Ok(code) => return Ok(ExitCode::from(code)),
            Err(e) => e,
        },
    };
    // After its own first line the supervisor heeds another one only with this exit code.
    answer(&Verdict { jail_fault: Some(format!("cannot start {}: {e}", argv[0].display())) })?;
    Ok(ExitCode::from(NO_AGENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hidden_command_is_known_and_no_other() {
        assert!(Cli::command().get_subcommands().all(|c| is_ours(c.get_name().as_ref())));
        assert!(
            !super::super::Cli::command().get_subcommands().any(|c| is_ours(c.get_name().as_ref()))
        );
    }
}
