//! `watch`

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use super::EXIT_CODES;
use super::print::{self, duration, outcome_style, styled};
use crate::config::Env;
use crate::domain::{Outcome, Run, WorkerId, text};
use crate::ops::watching::{End, wait};
use crate::ops::{Context, Failure};

/// Wait until workers have finished, and exit with a code for the outcome
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(super) struct Args {
    /// The workers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<WorkerId>,
    /// Return as soon as one of them has finished
    #[arg(long)]
    any: bool,
    /// Print how they ended as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  claude-workers watch 01 && echo \"the pull request is there\"
  claude-workers watch 01 02 --any
  claude-workers watch 01 --json | jq -r '.ends[].run.pr.url'";

fn after_help() -> String {
    let codes: Vec<_> = Outcome::ALL.iter().map(|o| format!("{} {o}", code(*o))).collect();
    format!(
        "{EXAMPLES}\n\n{EXIT_CODES} {}\n\
         (of several workers: the first, in the order given, that is not 0); 3 for a worker without a run.",
        codes.join(", ")
    )
}

/// The exit code that tells an outcome.
pub(super) fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Succeeded => 0,
        Outcome::Failed => 10,
        Outcome::Deferred => 11,
        Outcome::TimedOut => 12,
        Outcome::NotStarted => 13,
        Outcome::Stopped => 14,
        Outcome::Lost => 15,
    }
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let mut progress = Progress::new();
    let every = progress.on.then_some(EVERY);
    let ends = wait(ctx, &args.ids, args.any, every, |still| progress.show(still));
    progress.clear();
    let mut ends = ends?;
    ends.sort_by_key(|end| args.ids.iter().position(|id| *id == end.run.worker));
    if args.json {
        let ends: Vec<_> = ends.iter().map(as_json).collect();
        print::json(&serde_json::json!({ "version": 1, "ends": ends }))?;
    } else {
        for end in &ends {
            print::out(&line(end));
        }
    }
    let worst = ends.iter().map(|end| code(end.outcome)).find(|code| *code != 0);
    Ok(ExitCode::from(worst.unwrap_or(0)))
}

/// Says on standard error why nothing more is to be seen of a run.
pub(super) fn note(end: Option<&End>) {
    if let Some(end) = end {
        print::note(line(end).trim_end());
    }
}

fn as_json(end: &End) -> serde_json::Value {
    serde_json::json!({ "worker": end.run.worker, "outcome": end.outcome, "run": end.run })
}

fn line(end: &End) -> String {
    let run = &end.run;
    let outcome = styled(outcome_style(end.outcome), end.outcome.as_str());
    let more = match (&run.pr, &run.ended) {
        _ if end.outcome == Outcome::Lost && run.ended_at.is_none() => {
            "its supervisor is gone; the next `assign` carries on".to_owned()
        }
        (Some(pr), _) => pr.url.clone(),
        (None, Some(ended)) => text::one_line(&ended.why, 120),
        (None, None) => String::new(),
    };
    format!("worker {}  {}  {outcome}  {more}\n", run.worker, run.subject())
}

/// How often the progress is shown anew.
const EVERY: Duration = Duration::from_secs(1);

/// A line on a terminal that is written over; nothing in a pipe.
struct Progress {
    on: bool,
    shown: String,
}

impl Progress {
    fn new() -> Self {
        let dumb = Env::of_process().get("TERM") == Some("dumb");
        Self { on: std::io::stderr().is_terminal() && !dumb, shown: String::new() }
    }

    fn show(&mut self, still: &[Run]) {
        if !self.on {
            return;
        }
        let now = Timestamp::now().as_second();
        let parts: Vec<String> = still
            .iter()
            .map(|run| {
                let elapsed = duration(now - run.working_since().as_second());
                format!("{} {} {elapsed}", run.worker, run.subject())
            })
            .collect();
        let line = text::one_line(&parts.join(", "), 100);
        if line != self.shown {
            let _ = write!(std::io::stderr(), "\r\u{1b}[Kwaiting: {line}");
            self.shown = line;
        }
    }

    fn clear(&self) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
