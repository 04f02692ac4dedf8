//! Claims a worker (and an issue), starts a supervisor, and returns as soon as that is up.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::claim::{check_issue, label, still_ours, take_worker};
use super::hold::Hold;
use super::init::load_values;
use super::room::Room;
use super::trust::Trusted;
use super::{Context, Exit, Failure, custody, secrets};
use crate::config::{ApprovedIn, Settings, Trust};
use crate::domain::{
    AllowedText, CURRENT_VERSION, ClaimHeld, Issue, IssueNumber, Kind, Phase, RepoSlug, Run, RunId,
    WorkerId, text,
};
use crate::failpoint::patience;
use crate::github::{ErrorKind, GitHub};
use crate::plan::is_late;
use crate::process::spawn;
use crate::store::{self, WorkerLock, make_private_dir, write_private};

/// What is to be dispatched.
#[derive(Debug, Clone)]
pub struct Request {
    /// The repository.
    pub repo: RepoSlug,
    /// The issue.
    pub issue: Option<IssueNumber>,
    /// The worker; `None`: the first idle one.
    pub worker: Option<WorkerId>,
    /// A prompt of one's own: any bytes.
    pub prompt: Option<Vec<u8>>,
    /// What the run is for; `None`: an issue alone is implemented, a prompt done.
    pub kind: Option<Kind>,
    /// The model; `None`: the configured one.
    pub model: Option<String>,
    /// The executor; `None`: the configured one.
    pub executor: Option<String>,
    /// Whether a person named the issue (not `assign`).
    pub explicit: bool,
    /// The words of the issue that somebody approved, where that was needed; see
    /// [`text_id`](crate::domain::text_id).
    pub approved: Option<String>,
    /// The worker of another host that is gone, whose label may be on the issue.
    pub abandoned_by: Option<WorkerId>,
    /// The repository's size in bytes, if GitHub has told it.
    pub size: Option<u64>,
    /// When it began that the issue was looked at.
    pub looked_at: Timestamp,
}

/// A run that is under way.
#[derive(Debug, Clone)]
pub struct Dispatched {
    /// The record as it was claimed.
    pub run: Run,
    /// PID of the supervisor.
    pub pid: u32,
}

/// Dispatches. `github` is asked only if there is an issue.
///
/// # Errors
/// When the task is refused, no worker is idle, or the supervisor does not start. Whatever was done
/// by then is taken back: no label and no record stays behind.
pub async fn dispatch(
    ctx: &Context,
    github: &GitHub,
    request: Request,
) -> Result<Dispatched, Failure> {
    let executor = request.executor.clone().unwrap_or_else(|| ctx.settings.executor.clone());
    // What can be seen to fail now, fails before anything is claimed.
    let (how, _) = ctx.executor(&executor)?;
    let model = request.model.clone().or_else(|| ctx.settings.model.clone());
    let model = model.or_else(|| how.default_model());
    ctx.jail_program()?;
    ctx.tool("git")?;
    let mut lock = take_worker(ctx, request.worker.as_ref(), |_| true)?;
    let room_for = |worker: &WorkerId| {
        let size = || request.size.or_else(|| github.listed_size(&request.repo));
        Room::default().admit(ctx, worker, &request.repo, size)
    };
    room_for(lock.worker())?;
    load_values(&ctx.root, lock.worker())?;
    // Before the issue is read again: by this it is told whether that was long ago.
    let now = Timestamp::now();
    if request.issue.is_some() && is_late(request.looked_at, now) {
        return Err(Failure::new(Exit::Refused, "the issue was looked at too long ago")
            .hint("the next `assign` looks again"));
    }
    let (issue, mut old_labels) = match request.issue {
        Some(number) => {
            let (issue, old) = check_issue(ctx, github, number, &request, None).await?;
            if strangers(ctx, github, &issue, &request).await?
                && !custody::takes_strangers(ctx, lock.worker())
            {
                lock = another(ctx, lock, &issue, &request)?;
                room_for(lock.worker())?;
            }
            (Some(issue), old)
        }
        None => (None, Vec::new()),
    };
    let mut run = record(ctx, lock.worker(), &request, issue.as_ref(), (executor, model), now);
    secrets::clean(&mut run, &secrets::redactor(ctx, lock.worker())?);
    write_claim(ctx, &lock, &run, request.prompt.as_deref())?;
    if let Err(failure) = still_ours(ctx, &run) {
        return Err(forget(ctx, &lock, failure));
    }
    let hold = match Hold::of(ctx, &run) {
        Ok(hold) => hold,
        Err(failure) => return Err(forget(ctx, &lock, failure)),
    };
    if let Some(hold) = &hold {
        match claim(ctx, github, hold, &request, &run).await {
            Ok(Taken { held, since }) => {
                run.claim = Some(held);
                if let Some((relieves, old)) = since {
                    run.relieves = relieves.or(run.relieves);
                    old_labels = old;
                }
            }
            Err(failure) => return Err(forget(ctx, &lock, failure)),
        }
        if let Err(e) = store::write_task(&ctx.root, &lock, &run) {
            let failure = e.into();
            return Err(give_back(ctx, github, Some(hold), &lock, &run, false, failure).await);
        }
    }
    if let Some(number) = run.issue
        && let Err(failure) =
            label(github, &run.repo, number, lock.worker()).await.map_err(Failure::from)
    {
        // What GitHub refused it has not done; only where it did not answer the label may be on.
        let labelled = failure.exit == Exit::Failed;
        return Err(give_back(ctx, github, hold.as_ref(), &lock, &run, labelled, failure).await);
    }
    match start_supervisor(ctx, &lock, run.claim.is_some()) {
        Ok(pid) => {
            if let Some(number) = run.issue {
                // Labels of ours from an earlier run: best effort, they only show.
                for old in old_labels.iter().filter(|old| *old != lock.worker()) {
                    let _ = github.remove_label(&run.repo, number, &old.label()).await;
                }
            }
            Ok(Dispatched { run, pid })
        }
        Err(failure) => {
            Err(give_back(ctx, github, hold.as_ref(), &lock, &run, true, failure).await)
        }
    }
}

/// Whether the issue may be worked on only where no credentials are. A person who names an issue
/// needs no approval for it; that a stranger wrote it stays true.
async fn strangers(
    ctx: &Context,
    github: &GitHub,
    issue: &Issue,
    request: &Request,
) -> Result<bool, Failure> {
    let Settings { trust, approved_in, .. } = ctx.settings;
    if (trust, approved_in) != (Trust::Write, ApprovedIn::Broker) {
        return Ok(false);
    }
    if !request.explicit {
        return Ok(request.approved.is_some());
    }
    match Trusted::new(github, &ctx.settings).may_write(&issue.repo, &issue.author).await {
        // That the token may not ask means no.
        Err(e) if e.kind() == ErrorKind::Access => Ok(true),
        may => Ok(!may?),
    }
}

/// Takes a worker that has no credentials in the place of one that has.
fn another(
    ctx: &Context,
    lock: WorkerLock,
    issue: &Issue,
    request: &Request,
) -> Result<WorkerLock, Failure> {
    let worker = lock.worker().clone();
    drop(lock);
    if request.worker.is_none()
        && let Ok(other) = take_worker(ctx, None, |id| custody::takes_strangers(ctx, id))
    {
        return Ok(other);
    }
    let what = match &request.worker {
        Some(_) => format!("the home of worker {worker} holds GitHub credentials"),
        None => "no worker without GitHub credentials is idle".into(),
    };
    let author = text::one_line(&issue.author, 60);
    Err(Failure::new(
        Exit::Refused,
        format!("{author}, who wrote {}#{}, has no write permission, and {what}", issue.repo, issue.number),
    )
    .hint(
        "set `mode = \"broker\"` in [credentials] and run `claude-workers refresh`, or allow it with \
         `approved_in = \"any\"` in [assign]",
    ))
}

/// A claim that was taken.
struct Taken {
    held: ClaimHeld,
    /// If others have had it before: the worker of a host that is gone, and the workers whose labels
    /// are to go.
    since: Option<(Option<WorkerId>, Vec<WorkerId>)>,
}

/// Takes the claim. If others have had it, they may have ended their runs since the issue was looked
/// at; it is looked at again before the claim is taken, so that a record with a claim is one of an
/// issue that may be worked on.
async fn claim(
    ctx: &Context,
    github: &GitHub,
    hold: &Hold<'_>,
    request: &Request,
    run: &Run,
) -> Result<Taken, Failure> {
    let labelled = request.abandoned_by.is_some();
    if !labelled && let Some(held) = hold.take_first(run)? {
        in_time(ctx, github, hold, request, run).await?;
        return Ok(Taken { held, since: None });
    }
    let vacant = hold.look(run, labelled)?;
    let old = look_again(ctx, github, request, run).await?;
    let taken = hold.take(run, &vacant)?;
    if vacant.was_none() {
        in_time(ctx, github, hold, request, run).await?;
    }
    Ok(Taken { held: taken, since: Some((vacant.relieves, old)) })
}

/// Looks again at an issue that bore no claim when `run` took it, if that is late: this process may
/// have been stopped for so long that others have had the issue meanwhile, and their claim is collected.
async fn in_time(
    ctx: &Context,
    github: &GitHub,
    hold: &Hold<'_>,
    request: &Request,
    run: &Run,
) -> Result<(), Failure> {
    if !is_late(run.started_at, Timestamp::now()) {
        return Ok(());
    }
    let looked = look_again(ctx, github, request, run).await;
    if looked.is_err() {
        let _ = hold.release(&run.run);
    }
    looked.map(drop)
}

/// Looks at the issue that `run` has or is about to take, and returns whose labels are to go.
async fn look_again(
    ctx: &Context,
    github: &GitHub,
    request: &Request,
    run: &Run,
) -> Result<Vec<WorkerId>, Failure> {
    let Some(number) = run.issue else { return Ok(Vec::new()) };
    Ok(check_issue(ctx, github, number, request, Some(&run.worker)).await?.1)
}

/// Gives claim and label back as far as that can be done now. The claim is in no way of this host's
/// own next try, and for others it runs out. `labelled`: the label may be on.
async fn give_back(
    ctx: &Context,
    github: &GitHub,
    hold: Option<&Hold<'_>>,
    lock: &WorkerLock,
    run: &Run,
    labelled: bool,
    failure: Failure,
) -> Failure {
    if run.relieves.is_some() {
        // Without a claim nobody would know any more that the gone host's label may come off.
        return Failure { hint: Some(KEPT.into()), ..failure };
    }
    if let Some(hold) = hold {
        // Should the record stay, whoever takes it up asks for the claim again.
        let _ = hold.release(&run.run);
    }
    if labelled {
        take_back(ctx, github, lock, run, failure).await
    } else {
        forget(ctx, lock, failure)
    }
}

const KEPT: &str = "the record is kept, so that the next `assign` can carry on";

fn record(
    ctx: &Context,
    worker: &WorkerId,
    request: &Request,
    issue: Option<&Issue>,
    (executor, model): (String, Option<String>),
    now: Timestamp,
) -> Run {
    let uuid = fresh_uuid();
    let salt = uuid.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let usual = if request.prompt.is_some() { Kind::Prompt } else { Kind::Implement };
    let head = |prompt: &[u8]| {
        let start = String::from_utf8_lossy(&prompt[..prompt.len().min(4096)]);
        text::one_line(&start, 200)
    };
    Run {
        version: CURRENT_VERSION,
        run: RunId::new(now, salt),
        worker: worker.clone(),
        kind: request.kind.unwrap_or(usual),
        repo: request.repo.clone(),
        issue: request.issue,
        title: issue.map(|i| text::one_line(&i.title, 200)),
        text: issue.map(|i| AllowedText { id: i.text_id(), approved: approval(ctx, request, i) }),
        prompt: request.prompt.as_deref().map(head),
        model,
        executor,
        branch: None,
        base: None,
        base_sha: None,
        attempt: 1,
        attempt_at: None,
        losses: 0,
        failures: 0,
        looks: 0,
        tried: Vec::new(),
        pause: None,
        phase: Phase::Claimed,
        phase_at: now,
        started_at: now,
        pid: None,
        pid_start: None,
        boot_id: None,
        cgroup: None,
        session_id: Some(uuid),
        resume: false,
        limits: ctx.settings.limits,
        sandbox: ctx.settings.sandbox,
        network: ctx.settings.network.mode,
        claim: None,
        relieves: request.abandoned_by.clone(),
        agent: None,
        work: None,
        ended: None,
        pr: None,
        filed: Vec::new(),
        labels_left: false,
        labelled_at: None,
        unsaid: Vec::new(),
        ended_at: None,
        clock_set_secs: 0,
        cleared: false,
    }
}

/// Whether the run is allowed for the issue's present words only. Who names an issue by hand has
/// read it, and nobody was asked about its author.
fn approval(ctx: &Context, request: &Request, issue: &Issue) -> bool {
    let owner = issue.author.eq_ignore_ascii_case(issue.repo.owner());
    let anyone = ctx.settings.trust == Trust::Anyone;
    request.approved.is_some() || request.explicit && !owner && !anyone
}

/// A random UUID, from the kernel.
pub(super) fn fresh_uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map(|uuid| uuid.trim().to_owned())
        .unwrap_or_default()
}

/// A random number, from the kernel.
pub(super) fn fresh_number() -> u32 {
    let uuid = fresh_uuid();
    uuid.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

fn write_claim(
    ctx: &Context,
    lock: &WorkerLock,
    run: &Run,
    prompt: Option<&[u8]>,
) -> Result<(), Failure> {
    let paths = ctx.root.record(lock.worker());
    make_private_dir(paths.dir())?;
    if let Some(prompt) = prompt {
        write_private(&paths.request(), prompt)?;
    }
    Ok(store::write_task(&ctx.root, lock, run)?)
}

/// Undoes a claim. The label goes before the record: dying in between leaves a crashed worker that
/// the next tick sees, not a label that nobody explains.
async fn take_back(
    ctx: &Context,
    github: &GitHub,
    lock: &WorkerLock,
    run: &Run,
    failure: Failure,
) -> Failure {
    if let Some(number) = run.issue
        && let Err(e) = github.remove_label(&run.repo, number, &lock.worker().label()).await
        && !matches!(e.kind(), crate::github::ErrorKind::Access | crate::github::ErrorKind::Missing)
    {
        let label = lock.worker().label();
        return Failure {
            message: format!(
                "{failure}; and the label {label} could not be taken off {}: {e}",
                run.subject()
            ),
            hint: Some(KEPT.into()),
            exit: failure.exit,
        };
    }
    forget(ctx, lock, failure)
}

/// The failure, after the record of a claim that left nothing on GitHub is removed.
fn forget(ctx: &Context, lock: &WorkerLock, failure: Failure) -> Failure {
    match remove_claim(ctx, lock) {
        Ok(()) => failure,
        Err(e) => Failure { message: format!("{failure}; and {e}"), ..failure },
    }
}

fn remove_claim(ctx: &Context, lock: &WorkerLock) -> Result<(), Failure> {
    let paths = ctx.root.record(lock.worker());
    for path in [paths.request(), paths.task()] {
        store::remove_file(&path)?;
    }
    Ok(())
}

/// Starts the supervisor with the lock as its standard input and waits for its ready byte on its
/// standard output. Returns its PID.
///
/// # Errors
/// When it cannot be started or ends without being ready: its own words say why.
pub(super) fn start_supervisor(
    ctx: &Context,
    lock: &WorkerLock,
    claimed: bool,
) -> Result<u32, Failure> {
    let worker = lock.worker();
    let log_path = ctx.root.record(worker).supervisor_log();
    let fail = |why: String| {
        Failure::new(
            Exit::Failed,
            format!("the supervisor of worker {worker} did not start: {why}"),
        )
    };
    let log = store::open_in_place(&log_path, File::options().append(true));
    let log = log.map_err(|e| fail(e.to_string()))?;
    // A run that waits for weeks is taken up at every tick, and each time may have something to say.
    if log.metadata().is_ok_and(|meta| meta.len() > MAX_SUPERVISOR_LOG) {
        log.set_len(0).map_err(|e| fail(format!("{}: {e}", log_path.display())))?;
    }
    let lock_file = lock.hand_over().map_err(|e| fail(e.to_string()))?;
    let words = ["supervise", worker.as_str(), "--claimed"];
    let mut own = ctx.own_command(if claimed { &words } else { &words[..2] })?;
    own.stdin(Stdio::from(lock_file)).stdout(Stdio::piped()).stderr(Stdio::from(log));
    let mut child = spawn(&mut own, |_| "supervise".into()).map_err(|e| fail(e.to_string()))?;
    match first_byte(child.stdout.take()) {
        Ok(Some(byte)) if [byte] == READY => Ok(child.id()),
        Err(why) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(fail(why))
        }
        Ok(_) => {
            let _ = child.wait();
            let said = store::read_start(&log_path, 2 * MAX_SUPERVISOR_LOG).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            let last = text::one_line(text::tail(&said, 400), 400);
            Err(fail(if last.is_empty() { "it ended at once".into() } else { last }))
        }
    }
}

/// No supervisor needs longer to be ready. Who waits for it holds back every other tick.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// What a child says first; `None` if it says nothing.
///
/// # Errors
/// When it neither speaks nor closes its output in time: in words.
fn first_byte(pipe: Option<ChildStdout>) -> Result<Option<u8>, String> {
    let Some(mut pipe) = pipe else { return Ok(None) };
    let patience = patience("ready", READY_WITHIN);
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) if Instant::now() >= until => {
                return Err(format!("it was not ready within {} seconds", patience.as_secs()));
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(e) => return Err(e.to_string()),
        }
    }
    let mut byte = [0];
    let read = pipe.read(&mut byte);
    Ok(read.is_ok_and(|n| n == 1).then_some(byte[0]))
}

/// A log that is longer is begun anew before a supervisor is started.
const MAX_SUPERVISOR_LOG: u64 = 1 << 20;

/// What a supervisor says when it has the lock and its record.
pub(super) const READY: [u8; 1] = *b"+";
