//! One tick of cron: take up what crashed, then pair idle workers with open issues.
//!
//! The disk is looked at first: with no idle worker GitHub is asked nothing. The plan is made by
//! [`plan::assign`]; this module finds out what that wants to know, asking only about issues that
//! are next in line, and carries the result out.

mod abandoned;
mod look;
mod memory;
mod mend;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::dispatch::{self, Dispatched};
use super::init::load_values;
use super::lists::{self, Seen};
use super::room::{self, Room};
use super::turn::{UnderWay, under_way};
use super::unknown::broken;
use super::{Context, Exit, Failure, chores, custody, jailing, reconcile};
use crate::domain::{Issue, IssueNumber, RepoSlug, WorkerId};
use crate::github::{GitHub, Usage};
use crate::plan::reconcile::Action;
use crate::plan::room::Takes;
use crate::plan::{self, Assignment, Drift, IssueRef, Plan, Rules, Skip, Snapshot, Verdict};
use crate::store::{self, AssignLock, State, Worker};
use look::Look;
use mend::mend;

/// What a tick did.
#[derive(Debug)]
pub enum Tick {
    /// Another `assign` is under way; nothing was done. Who that is, if it says so.
    AlreadyRunning(Option<UnderWay>),
    /// It went through.
    Done(Box<Report>),
}

/// What was seen and done.
#[derive(Debug, Default)]
pub struct Report {
    /// Idle workers at the start.
    pub idle: usize,
    /// Open issues that were looked at.
    pub open_issues: usize,
    /// Workers that nobody worked for, and what was done about them (in a dry run: would be).
    pub reconciled: Vec<reconcile::Item>,
    /// Crashed runs that were taken up again: worker, and what it works on.
    pub taken_up: Vec<(WorkerId, String)>,
    /// Runs that were started (none in a dry run).
    pub started: Vec<Dispatched>,
    /// What would be started; only in a dry run.
    pub planned: Vec<(WorkerId, IssueRef, String)>,
    /// Labels of ours that were left behind and are taken off (in a dry run: would be).
    pub mended: Vec<Drift>,
    /// What is left alone, and why.
    pub skipped: Vec<(IssueRef, Skip)>,
    /// What went wrong; the rest went on.
    pub problems: Vec<Failure>,
    /// What GitHub was asked.
    pub usage: Usage,
}

/// Runs a tick.
///
/// # Errors
/// When nothing can be done at all: configuration, token, rate limit, sandbox.
pub async fn assign(ctx: &Context, dry_run: bool) -> Result<Tick, Failure> {
    let Some(_lock) = AssignLock::try_take(&ctx.root)? else {
        return Ok(Tick::AlreadyRunning(under_way(ctx)));
    };
    let mut report = Report::default();
    // `gc` comes too seldom to notice what the clock does in between.
    if !dry_run {
        let _ = store::believed_time(&ctx.root, Timestamp::now());
    }
    put_right(ctx, store::list(&ctx.root)?, dry_run, &mut report);
    let workers = store::list(&ctx.root)?;
    let mut idle: Vec<WorkerId> =
        workers.iter().filter(|w| matches!(w.state, State::Idle)).map(|w| w.id.clone()).collect();
    // Without its values an agent would start and fail, issue after issue.
    idle.retain(|id| {
        load_values(&ctx.root, id).map_err(|failure| report.problems.push(failure)).is_ok()
    });
    report.idle = idle.len();
    if workers.is_empty() {
        return Err(Failure::new(Exit::NoWorker, "there are no workers yet")
            .hint("make one: `claude-workers init 01`"));
    }
    let chores = !dry_run && chores::any(ctx);
    if idle.len() > ctx.settings.reserve {
        room::keep_roomy(ctx, &mut idle, &mut report.problems);
    }
    let pairs = idle.len() > ctx.settings.reserve;
    if !chores && !pairs {
        return Ok(Tick::Done(Box::new(report)));
    }
    // One for the whole tick: it counts what is asked.
    let github = ctx.github()?;
    if chores {
        let left = chores::do_them(ctx, &github).await?;
        report.problems.extend(left.into_iter().map(|what| Failure::new(Exit::Failed, what)));
    }
    if pairs {
        // What was started stays started: a failure on the way is one of the report's problems.
        if let Err(failure) = pair(ctx, &github, &workers, idle, dry_run, &mut report).await {
            report.problems.push(failure);
        }
    }
    report.usage = github.usage();
    Ok(Tick::Done(Box::new(report)))
}

/// Puts workers right that nobody works for, or says what is to be done.
fn put_right(ctx: &Context, workers: Vec<Worker>, dry_run: bool, report: &mut Report) {
    let mut items = reconcile::look(ctx, workers);
    if !dry_run {
        items = reconcile::apply(ctx, items);
    }
    for mut item in items {
        for action in &item.actions {
            if let Action::Report(why) = action {
                report.problems.push(broken(ctx, &item.worker, why));
            }
        }
        report.problems.extend(item.problem.take());
        if item.done
            && let Some(run) = item.taken_up()
        {
            report.taken_up.push((item.worker.clone(), run.subject()));
        }
        if item.actions.iter().any(Action::changes) {
            report.reconciled.push(item);
        }
    }
}

/// So many starts that fail in one tick are no fault of the issues (a full disk, say): the others
/// are not claimed and given back one by one.
const TOO_MANY: u32 = 3;

async fn pair(
    ctx: &Context,
    github: &GitHub,
    workers: &[Worker],
    mut idle: Vec<WorkerId>,
    dry_run: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let looked_at = Timestamp::now();
    let mut seen = lists::see(ctx, github, &mut report.problems).await?;
    report.open_issues = seen.issues.len();
    mend(ctx, github, workers, &mut seen, dry_run, report).await?;
    let Seen { issues, repos, .. } = seen;
    let abandoned = abandoned::abandoned(ctx, &issues, &running(ctx)?, report);
    let mut look = Look::new(ctx, github, &issues, repos);
    let mut verdicts = BTreeMap::new();
    let mut probed = false;
    let mut failures = 0;
    let mut room = Room::default();
    loop {
        let open = (&issues[..], &abandoned);
        let plan = settle(ctx, &mut look, open, &idle, &mut verdicts, report).await?;
        report.skipped = plan.skipped;
        let takes = match admit(ctx, &room, &look, &plan.assignments) {
            Ok(takes) => takes,
            Err((admitted, failure)) => {
                leave_alone(&plan.assignments, admitted, &failure, &issues, &mut verdicts);
                report.problems.push(failure);
                continue;
            }
        };
        if dry_run {
            let title = |at: &IssueRef| {
                let issue = issues.iter().find(|i| i.repo == at.0 && i.number == at.1);
                issue.map(|i| i.title.clone()).unwrap_or_default()
            };
            report.planned = plan
                .assignments
                .into_iter()
                .map(|a| (a.worker, a.issue.clone(), title(&a.issue)))
                .collect();
            return Ok(());
        }
        if plan.assignments.is_empty() {
            return Ok(());
        }
        if !probed {
            probe(ctx, &plan.assignments[0].worker)?;
            probed = true;
        }
        let mut refused = false;
        for (assignment, takes) in plan.assignments.into_iter().zip(takes) {
            let (repo, number) = assignment.issue.clone();
            let request = dispatch::Request {
                repo: repo.clone(),
                issue: Some(number),
                worker: Some(assignment.worker.clone()),
                prompt: None,
                kind: None,
                model: None,
                executor: None,
                explicit: false,
                approved: look.approved(&assignment.issue),
                abandoned_by: abandoned.get(&(repo.clone(), number)).cloned(),
                size: look.size(&repo),
                looked_at,
            };
            let failure = match dispatch::dispatch(ctx, github, request).await {
                Ok(started) => {
                    // Its run may be over before this tick is, and nothing on the list shows it.
                    let held = Skip::Held(assignment.worker.clone());
                    verdicts.insert(assignment.issue, Verdict::Refused(held));
                    idle.retain(|id| *id != assignment.worker);
                    room.promise(&takes);
                    report.started.push(started);
                    continue;
                }
                Err(failure) => failure,
            };
            refused = true;
            let skip = Skip::Unanswered(failure.to_string());
            verdicts.insert(assignment.issue, Verdict::Refused(skip));
            match failure.exit {
                // The list was older than the issue, or somebody was quicker: no fault.
                Exit::Refused => look.forget(&repo)?,
                Exit::NoWorker => idle.retain(|id| *id != assignment.worker),
                Exit::RateLimited => return Err(failure),
                _ => {
                    report.problems.push(failure);
                    failures += 1;
                    if failures == TOO_MANY {
                        return Ok(());
                    }
                }
            }
        }
        if !refused {
            return Ok(());
        }
    }
}

/// What each of the pairings will take of the disks; or how many of them find room, and why the next
/// does not.
fn admit(
    ctx: &Context,
    room: &Room,
    look: &Look<'_>,
    pairings: &[Assignment],
) -> Result<Vec<Takes>, (usize, Failure)> {
    let mut room = room.clone();
    let mut all = Vec::new();
    for Assignment { worker, issue: (repo, _) } in pairings {
        let takes = room.admit(ctx, worker, repo, || look.size(repo));
        let takes = takes.map_err(|failure| (all.len(), failure))?;
        room.promise(&takes);
        all.push(takes);
    }
    Ok(all)
}

/// Refuses the pairing after the `admitted` ones, and the other issues of its repository that are not
/// decided yet: for them the same would be said.
fn leave_alone(
    pairings: &[Assignment],
    admitted: usize,
    why: &Failure,
    issues: &[Issue],
    verdicts: &mut BTreeMap<IssueRef, Verdict>,
) {
    let (go, rest) = pairings.split_at(admitted);
    let Some(refused) = rest.first() else { return };
    for issue in issues.iter().filter(|issue| issue.repo == refused.issue.0) {
        let at = (issue.repo.clone(), issue.number);
        let decided = matches!(verdicts.get(&at), Some(Verdict::Refused(_)));
        if !decided && !go.iter().any(|pairing| pairing.issue == at) {
            verdicts.insert(at, Verdict::Refused(Skip::Unanswered(why.to_string())));
        }
    }
}

/// What the workers of this host have.
fn running(ctx: &Context) -> Result<Vec<(RepoSlug, Option<IssueNumber>, WorkerId)>, Failure> {
    let of = |worker: store::Worker| match worker.state {
        State::Busy(run) | State::Crashed(run) => Some((run.repo, run.issue, worker.id)),
        _ => None,
    };
    Ok(store::list(&ctx.root)?.into_iter().filter_map(of).collect())
}

/// Plans, and answers the plan's questions until it has none.
async fn settle(
    ctx: &Context,
    look: &mut Look<'_>,
    (issues, abandoned): (&[Issue], &BTreeMap<IssueRef, WorkerId>),
    idle: &[WorkerId],
    verdicts: &mut BTreeMap<IssueRef, Verdict>,
    report: &mut Report,
) -> Result<Plan, Failure> {
    let rules = Rules {
        only_label: ctx.settings.only_label.clone(),
        max_per_repo: ctx.settings.max_per_repo,
        reserve: ctx.settings.reserve,
    };
    let running = running(ctx)?;
    let brokers: BTreeSet<WorkerId> =
        idle.iter().filter(|id| custody::takes_strangers(ctx, id)).cloned().collect();
    loop {
        let repos = look.repos();
        let seen = Snapshot {
            issues,
            repos,
            idle,
            brokers: &brokers,
            running: &running,
            abandoned,
            verdicts,
        };
        let plan = plan::assign(&seen, &rules);
        if plan.questions.is_empty() {
            return Ok(plan);
        }
        for question in plan.questions {
            let verdict = look.closer(&question, report).await?;
            verdicts.insert(question, verdict);
        }
    }
}

fn probe(ctx: &Context, worker: &WorkerId) -> Result<(), Failure> {
    ctx.executor(&ctx.settings.executor)?;
    jailing::probe(ctx, worker).map_err(|why| {
        Failure::new(Exit::Sandbox, format!("the sandbox cannot be had: {why}"))
            .hint("`claude-workers doctor` says how to mend it")
    })
}
