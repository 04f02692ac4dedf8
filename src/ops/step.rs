//! The parts of a run that talk to GitHub. Each is a short-lived process of this program, started by
//! the supervisor: when it ends, the runtime and the TLS state end with it.
//!
//! A step reads the record and answers with one JSON value on standard output; the supervisor alone
//! writes the record. Every effect is looked up before it is done, so a step can be run again.

use std::process::Stdio;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::claim::label;
use super::prompt::Brief;
use super::publish::{MARKER, passes};
use super::trust::Trusted;
use super::{Context, Exit, Failure};
use crate::domain::{BLOCKED_LABEL, BranchName, Label, Run, WorkerId, text};
use crate::github::ErrorKind;
use crate::process::run_bounded_with;
use crate::store::{self, WorkerLock};

/// Runs a step as a process and reads its answer. It holds the worker's lock as its standard input: if
/// the supervisor dies meanwhile, nobody takes the run up, or clears it, before the step has ended too,
/// and nothing is said twice.
///
/// # Errors
/// When it cannot be run, fails, or answers nonsense: in words.
pub(super) fn run<T: DeserializeOwned>(
    ctx: &Context,
    lock: &WorkerLock,
    words: &[&str],
) -> Result<T, String> {
    let held = lock.hand_over().map_err(|e| format!("cannot hand the lock to a step: {e}"))?;
    let worker = lock.worker();
    let all: Vec<&str> =
        ["step", worker.as_str()].into_iter().chain(words.iter().copied()).collect();
    let mut own = ctx.own_command(&all).map_err(|e| e.to_string())?;
    let out = run_bounded_with(&mut own, Stdio::from(held), 16 << 20)
        .map_err(|e| format!("cannot run a step: {e}"))?;
    if !out.status.success() {
        let said = out.stderr.trim_start_matches("error: ");
        return Err(text::one_line(said, 600));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| format!("a step's answer is wrong: {e}"))
}

pub(super) fn record(ctx: &Context, worker: &WorkerId) -> Result<Run, Failure> {
    store::read_task(&ctx.root, worker)?
        .ok_or_else(|| Failure::new(Exit::Failed, format!("worker {worker} has no task")))
}

/// What the step `brief` answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BriefAnswer {
    /// Why the issue is not to be worked on after all.
    pub refused: Option<String>,
    /// Whether that is so because of others, whose labels it bears.
    pub has_others: bool,
    /// Which words these are; see [`text_id`](crate::domain::text_id).
    pub text: String,
    /// The issue, cleaned.
    pub brief: Brief,
}

/// Reads the issue and the comments of people with write permission. `branch` is what the run would
/// publish: behind the branches that were passed over for it an open pull request may hide. `late`:
/// the issue was claimed long after it was looked at, and others may have worked on it meanwhile.
///
/// # Errors
/// When GitHub cannot be asked.
pub async fn brief(
    ctx: &Context,
    worker: &WorkerId,
    branch: &BranchName,
    late: bool,
) -> Result<BriefAnswer, Failure> {
    let run = record(ctx, worker)?;
    let github = ctx.github()?;
    let Some(number) = run.issue else {
        return Err(Failure::new(
            Exit::Failed,
            format!("the task of worker {worker} has no issue"),
        ));
    };
    let refused = |why: String| BriefAnswer { refused: Some(why), ..BriefAnswer::default() };
    let issue = github.issue(&run.repo, number).await?;
    if !issue.open {
        return Ok(refused(format!("{}#{number} was closed meanwhile", run.repo)));
    }
    let others = |l: &&Label| l.is(BLOCKED_LABEL) || l.is_worker() && !l.is_of(worker);
    if let Some(label) = issue.labels.iter().find(others).filter(|_| late) {
        let why = format!("{}#{number} has the label {} by now", run.repo, label.0);
        return Ok(BriefAnswer { has_others: true, ..refused(why) });
    }
    let mut trusted = Trusted::new(&github, &ctx.settings);
    if let Some(text) = &run.text
        && !trusted.still_allowed(&issue, text).await?
    {
        return Ok(refused(format!("{}#{number} was edited after it was approved", run.repo)));
    }
    // What was known before the claim may have changed until the branch was chosen.
    let nth = |nth| BranchName::for_issue(number, nth);
    let passed_over = (1..).map(nth).take_while(|taken| taken != branch);
    for taken in passed_over.chain((late && *branch == nth(1)).then(|| nth(1))) {
        let pulls = github.pulls_by_head(&run.repo, &taken).await?;
        if let Some(pull) = pulls.iter().find(|p| p.open) {
            return Ok(refused(format!("there is an open pull request: {}", pull.url)));
        }
    }
    if !issue.labels.iter().any(|l| l.is_of(worker)) {
        // A dispatcher that died between its record and its label.
        label(&github, &run.repo, number, worker).await?;
    }
    let mut brief = Brief::default();
    let mut clean = |raw: &str| {
        let (seen, hidden) = text::visible(raw);
        brief.hidden += hidden.count();
        seen
    };
    let (title, body) = (clean(&issue.title), clean(&issue.body));
    let mut comments = Vec::new();
    let mut left_out = 0;
    for comment in github.comments(&run.repo, number, None).await? {
        if comment.body.contains(MARKER) {
            continue;
        }
        let may_write = match trusted.may_write(&run.repo, &comment.author).await {
            // That the token may not ask means no; that it is not accepted just now does not.
            Err(e) if e.kind() == ErrorKind::Access && !passes(&e) => false,
            other => other?,
        };
        if !may_write {
            left_out += 1;
            continue;
        }
        comments.push((comment.author, clean(&comment.body)));
    }
    (brief.title, brief.body) = (text::one_line(&title, 400), body);
    (brief.comments, brief.left_out) = (comments, left_out);
    Ok(BriefAnswer { text: issue.text_id(), brief, ..BriefAnswer::default() })
}
