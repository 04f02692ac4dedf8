//! `watch`

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    let ends = wait(ctx, &args.ids, args.any, |still| progress.show(still));
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

fn as_json(end: &End) -> serde_json::Value {
    serde_json::json!({ "worker": end.run.worker, "outcome": end.outcome, "run": end.run })
}

fn line(end: &End) -> String {
    let run = &end.run;
    let outcome = styled(outcome_style(end.outcome), end.outcome.as_str());
    let more = match (&run.pr, &run.ended) {
        (Some(pr), _) => pr.url.clone(),
        (None, Some(ended)) => text::one_line(&ended.why, 120),
        (None, None) => "its supervisor is gone; the next `assign` carries on".to_owned(),
    };
    format!("worker {}  {}  {outcome}  {more}\n", run.worker, run.subject())
}

/// A line on a terminal that is written over; nothing in a pipe.
struct Progress {
    on: bool,
    next: Instant,
}

impl Progress {
    fn new() -> Self {
        let dumb = Env::of_process().get("TERM") == Some("dumb");
        Self { on: std::io::stderr().is_terminal() && !dumb, next: Instant::now() }
    }

    fn show(&mut self, still: &[Run]) {
        if !self.on || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_secs(1);
        let now = Timestamp::now().as_second();
        let parts: Vec<String> = still
            .iter()
            .map(|run| {
                let elapsed = duration(now - run.working_since().as_second());
                format!("{} {} {elapsed}", run.worker, run.subject())
            })
            .collect();
        let _ = write!(
            std::io::stderr(),
            "\r\u{1b}[Kwaiting: {}",
            text::one_line(&parts.join(", "), 100)
        );
    }

    fn clear(&self) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
