//! What must be true of the world when nothing moves any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use claude_workers::domain::{Claim, Outcome};
use claude_workers::process::{command, run_bounded};

use crate::drive::quiet;
use crate::world::{APP, World, files};

/// Looks at everything.
///
/// # Errors
/// All that is wrong, in words.
pub fn check(world: &World, expected: Outcome) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut must = |so: bool, what: &str| {
        if !so {
            wrong.push(what.to_owned());
        }
    };
    let labels_now = || {
        let mut labels = world.labels(1);
        labels.sort();
        labels
    };
    let (mut outcomes, mut labels) = (world.outcomes(), labels_now());
    if let Some(Outcome::NotStarted) = outcomes.last() {
        must(labels.is_empty() && world.pulls().is_empty(), "a start that failed left something");
        must(world.comments(1).is_empty(), "a start that failed said something");
    }
    if outcomes.last().is_none_or(|last| *last == Outcome::NotStarted) {
        // It is free, then. A tick waits before it tries again; a person need not.
        let said = world.cron(&["dispatch", "-r", APP, "-i", "1"]);
        must(said.code == 0, &format!("the issue is not free: {said:?}"));
        quiet(world)?;
        (outcomes, labels) = (world.outcomes(), labels_now());
    }
    let last = outcomes.last().copied();
    must(last == Some(expected), "the outcome is another one");
    let (pulls, comments) = (world.pulls(), world.comments(1));
    match last {
        Some(Outcome::Succeeded) => {
            must(pulls.len() == 1, "there is not one pull request");
            must(labels.is_empty(), "a label is left");
        }
        Some(Outcome::Failed | Outcome::Deferred | Outcome::TimedOut) => {
            must(pulls.len() <= 1, "there is more than one pull request");
            must(labels == ["blocked", "worker:01"], "not the labels that call a person");
        }
        _ => must(false, "it is not done"),
    }
    let mut by_run: BTreeMap<String, u32> = BTreeMap::new();
    for run in world.runs() {
        *by_run.entry(run.run.to_string()).or_default() += 1;
        let said = comments.iter().filter(|c| c.contains(&format!("run {} -->", run.run))).count();
        let speaks = !matches!(run.outcome(), Some(Outcome::NotStarted | Outcome::Lost));
        must(said == usize::from(speaks), "a run has not said its one comment");
    }
    must(by_run.values().all(|count| *count == 1), "a run has more than one record");
    must(comments.len() <= by_run.len(), "somebody else said something");
    let starts = std::fs::read_to_string(world.home("01").join("starts")).unwrap_or_default();
    must(starts.len() <= 4 * by_run.len(), "the agent was started too often");
    must(!world.task("01").exists(), "a task is left");
    must(world.processes().is_empty(), "a process is left");
    let left = left_over(world);
    must(left.is_empty(), &format!("files are left: {left:?}"));
    let claim = claim(world);
    must(
        claim.as_deref().is_none_or(|c| c.contains("\"done\"")),
        &format!("the claim is {claim:?}"),
    );
    if wrong.is_empty() {
        return Ok(());
    }
    let heads: Vec<_> = pulls.iter().map(|p| &p.head).collect();
    let runs: Vec<_> = world.runs().into_iter().map(|r| (r.run, r.ended, r.unsaid)).collect();
    Err(format!("{}: {heads:?} {labels:?} {comments:?} {runs:?}", wrong.join(", ")))
}

/// Files of the state that nothing will ever look at again. What was half made when somebody was
/// killed is for `gc`, once it is old.
fn left_over(world: &World) -> Vec<PathBuf> {
    let mut left = passing(world);
    if left.iter().any(|path| is_half_made(path)) {
        for path in left.iter().filter(|path| is_half_made(path)) {
            let dirs = path.ancestors().take_while(|dir| *dir != world.root.pool());
            dirs.for_each(make_old);
        }
        world.cron(&["gc"]);
        left = passing(world);
    }
    left
}

/// Files that are there for a while only.
fn passing(world: &World) -> Vec<PathBuf> {
    let below = world.root.pool();
    let mut all: Vec<PathBuf> = files(&below).into_iter().map(|(path, _)| path).collect();
    all.retain(|path| {
        let inside = path.strip_prefix(&below).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let record = inside.starts_with("01") && inside.components().count() == 2;
        let of_a_run = ["task.json", "prompt.txt", "request.txt", "worker.log", "supervisor.log"];
        is_half_made(path) || name.starts_with(".tmp") || record && of_a_run.contains(&name)
    });
    all
}

fn is_half_made(path: &Path) -> bool {
    let part = |part: std::path::Component<'_>| {
        let name = part.as_os_str().to_str().unwrap();
        name.starts_with(".write-") || name == "scratch"
    };
    path.components().any(part)
}

fn make_old(path: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50);
    File::open(path).unwrap().set_modified(old).unwrap();
}

/// What the claim on the issue says.
fn claim(world: &World) -> Option<String> {
    let repository = world.dir.join("github").join(format!("{APP}.git"));
    let name = Claim::ref_name(1.try_into().unwrap());
    let mut git = command("/usr/bin/git");
    git.arg("--git-dir").arg(repository).args(["log", "-1", "--format=%B", &name]);
    let out = run_bounded(&mut git, b"", 1 << 16).unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}
