//! `dispatch`

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use jiff::Timestamp;

use super::loud::{Quiet, Verbose};
use super::{block_on, print};
use crate::domain::{IssueNumber, Kind, RepoSlug, WorkerId};
use crate::ops::dispatch::{Dispatched, Request, dispatch};
use crate::ops::{Context, Exit, Failure, repo_meant};

/// Give one issue, or a prompt of your own, to a worker
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers dispatch -r octo/app -i 22
  claude-workers dispatch -r octo/app -i 22 -m opus -w 01
  claude-workers dispatch -r octo/app -i 22 -p \"Investigate and comment, don't fix\"
  claude-workers dispatch -r octo/app -p \"Update the dependencies\"
  claude-workers dispatch -r octo/app < prompt.txt
  claude-workers dispatch -r octo/app --kind report -p \"How is input checked?\"
  agent titus | claude-workers dispatch -r octo/app --kind issues

Standard input is read only without -i and -p (and not from a terminal), or with `-p -`.
Returns as soon as the supervisor is up; `claude-workers status` shows how it goes.")]
pub(super) struct Args {
    /// Repository, owner/name
    #[arg(short, long, value_name = "OWNER/NAME")]
    repo: RepoSlug,
    /// Issue
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    issue: Option<IssueNumber>,
    /// Worker [default: the first that is idle]
    #[arg(short, long, value_name = "ID")]
    worker: Option<WorkerId>,
    /// Prompt of your own; `-` reads it from standard input
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,
    /// What the prompt asks for [default: its commits, if there are any, become a pull request]
    #[arg(long)]
    kind: Option<Wanted>,
    /// Model [default: `model` of the configuration, else sonnet]
    #[arg(short, long, value_name = "NAME", value_parser = word)]
    model: Option<String>,
    /// Executor [default: `executor` of the configuration, else claude]
    #[arg(short, long, value_name = "NAME")]
    executor: Option<String>,
    /// Print the run as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    verbose: Verbose,
}

/// What a prompt can ask for by name.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Wanted {
    /// A report; nothing is changed
    Report,
    /// Changes, in a pull request
    Update,
    /// Issues, which are filed
    Issues,
}

impl From<Wanted> for Kind {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Report => Self::Report,
            Wanted::Update => Self::Update,
            Wanted::Issues => Self::Issues,
        }
    }
}

/// A name that cannot be taken for an option by the agent's program.
fn word(value: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:/[]@".contains(c);
    if value.is_empty() || value.starts_with('-') || !value.chars().all(fine) {
        return Err("only letters, digits and -_.:/[]@ are allowed, and no dash in front".into());
    }
    Ok(value.to_owned())
}

/// A larger prompt is a mistake.
const MAX_PROMPT: u64 = 8 << 20;

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let request = Request {
        repo: args.repo.clone(),
        issue: args.issue,
        worker: args.worker.clone(),
        prompt: prompt(args)?,
        kind: args.kind.map(Into::into),
        model: args.model.clone(),
        executor: args.executor.clone(),
        explicit: true,
        approved: None,
        abandoned_by: None,
        size: None,
        looked_at: Timestamp::now(),
    };
    let github = ctx.github()?;
    let started = block_on(dispatch(ctx, &github, request));
    args.verbose.requests(&github.usage());
    let started = started.map_err(|failure| with_repo_meant(ctx, &args.repo, failure))?;
    if let Some(meant) = repo_meant(ctx, &args.repo) {
        args.quiet.note(&format!("{} is not among `repos`; did you mean {meant}?", args.repo));
    }
    if args.json {
        return print::json(&print::run_json(&started));
    }
    let Dispatched { run, pid } = &started;
    args.quiet.out(&format!(
        "worker {} works on {} (run {}, pid {pid})\n",
        run.worker,
        run.subject(),
        run.run
    ));
    Ok(ExitCode::SUCCESS)
}

/// A repository that GitHub does not have, or does not show, may be a slip of the hand.
fn with_repo_meant(ctx: &Context, repo: &RepoSlug, failure: Failure) -> Failure {
    match (failure.exit, repo_meant(ctx, repo)) {
        (Exit::Refused | Exit::Access, Some(meant)) => {
            failure.hint(format!("did you mean {meant}?"))
        }
        _ => failure,
    }
}

/// The prompt, byte for byte.
fn prompt(args: &Args) -> Result<Option<Vec<u8>>, Failure> {
    let from_stdin = match &args.prompt {
        Some(text) => text == "-",
        None => args.issue.is_none() && !std::io::stdin().is_terminal(),
    };
    let prompt = if from_stdin {
        let mut bytes = Vec::new();
        std::io::stdin().take(MAX_PROMPT + 1).read_to_end(&mut bytes).map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot read the prompt from standard input: {e}"))
        })?;
        if bytes.len() as u64 > MAX_PROMPT {
            let limit = MAX_PROMPT >> 20;
            let message = format!("the prompt is larger than {limit} MiB");
            return Err(Failure::new(Exit::Usage, message));
        }
        Some(bytes)
    } else {
        args.prompt.clone().map(OsString::into_vec)
    };
    match prompt {
        Some(bytes) if bytes.trim_ascii().is_empty() => {
            Err(Failure::new(Exit::Usage, "the prompt is empty")
                .hint("give one with -p, or an issue with -i"))
        }
        None if args.issue.is_none() => {
            Err(Failure::new(Exit::Usage, "there is neither an issue nor a prompt")
                .hint("give an issue with -i, a prompt with -p, or both"))
        }
        None if args.kind.is_some() => Err(Failure::new(Exit::Usage, "--kind needs a prompt")
            .hint("give one with -p, or with `-p -` on standard input")),
        prompt => Ok(prompt),
    }
}
