//! The supervisor: owns a run from claim to archive.
//!
//! It is detached (a session of its own), small (no runtime, no TLS; what needs those is a process
//! of its own, see [`step`]) and resumable: each phase is written to `task.json` before
//! its work begins, every phase can be done again, and a supervisor started on a record carries on
//! from the phase that it finds there.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use jiff::Timestamp;

use super::anteroom::{Anteroom, Start, Ways};
use super::dispatch::READY;
use super::patience::{is_full, patiently};
use super::prepare::{keep_claim, prepare};
use super::publish::PublishAnswer;
use super::reconcile::{cgroup_name, clock, next};
use super::secrets;
use super::step;
use super::verify::{has_lost_its_commits, verify};
use super::{Context, Exit, Failure};
use crate::domain::redact::{Redactor, Stream};
use crate::domain::{AgentReport, Ended, JailMode, Outcome, Phase, Run, WorkerId, text};
use crate::executor::Reader;
use crate::failpoint::{Effect, Trouble};
use crate::plan::reconcile::{Action, Way, another};
use crate::process::{self, End, Uptime, Watched, cgroup};
use crate::sandbox::inside::{NO_AGENT, Verdict};
use crate::store::{self, WorkerLock};

/// Runs the supervisor of `worker`: the lock comes in as standard input, the ready byte goes out on
/// standard output. `claimed`: whoever starts it has just claimed the issue for it.
///
/// # Errors
/// When the lock or the record cannot be used; then nothing was done.
pub fn supervise(ctx: &Context, worker: &WorkerId, claimed: bool) -> Result<(), Failure> {
    let lock = WorkerLock::inherit(&ctx.root, worker, std::io::stdin())?;
    let Some(mut run) = store::read_task(&ctx.root, worker)? else {
        return Err(Failure::new(Exit::Failed, format!("worker {worker} has no task")));
    };
    detach().map_err(|e| Failure::new(Exit::Failed, format!("cannot detach: {e}")))?;
    if let Some(me) = process::identity_of_self() {
        (run.pid, run.pid_start, run.boot_id) = (Some(me.pid), Some(me.start), Some(me.boot_id));
    }
    match next(ctx, &run)? {
        // The clone has them still.
        Action::TakeUp(Way::Publish) if has_lost_its_commits(ctx, &run) => {
            run.carry_on(Way::Verify, Timestamp::now());
        }
        Action::TakeUp(way) => run.carry_on(way, Timestamp::now()),
        // It died with everything said and its record written.
        Action::Finish => run.phase = Phase::Publishing,
        other => {
            let what = format!("worker {worker} is not to be taken up: {other}");
            return Err(Failure::new(Exit::Failed, what));
        }
    }
    let ctx = &keep_settings(ctx, &run)?;
    let redactor = secrets::redactor(ctx, worker)?;
    run.cgroup = match run.sandbox {
        // Its end is the end of all that is in it.
        JailMode::Bwrap => None,
        JailMode::None => cgroup::enter(&cgroup_name(&run)),
    };
    let group = run.cgroup.clone();
    let began = Clocks::now();
    let redactor_of_run = redactor.clone();
    let supervisor =
        Supervisor { ctx, lock, run, claimed, redactor: redactor_of_run, room: None, began };
    let done = supervisor.run().map_err(|failure| Failure {
        message: redactor.text(&failure.message).into_owned(),
        ..failure
    });
    if let Some(group) = group {
        cgroup::leave(&group);
    }
    done
}

/// The same context, for a run that goes on with the settings that it was started with: its steps
/// are processes of their own, and must not read what somebody is just writing to the configuration.
fn keep_settings(ctx: &Context, run: &Run) -> Result<Context, Failure> {
    let kept = ctx.root.record(&run.worker).config();
    // Whoever takes the run up again writes it again.
    store::write_memory(&kept, ctx.settings.config_text.as_bytes())?;
    let mut ctx = ctx.clone();
    ctx.flags.config = Some(kept);
    // One that is taken up again keeps its wall: what it left in its clone is behind that.
    ctx.settings.sandbox = run.sandbox;
    Ok(ctx)
}

/// A session of its own, no terminal, and the orphans of what it starts.
fn detach() -> nix::Result<()> {
    match nix::unistd::setsid() {
        // A leader already: it was started from a shell for a look.
        Ok(_) | Err(nix::errno::Errno::EPERM) => {}
        Err(e) => return Err(e),
    }
    process::become_subreaper()
}

struct Supervisor<'a> {
    ctx: &'a Context,
    lock: WorkerLock,
    run: Run,
    /// Whether its dispatcher has just claimed the issue.
    claimed: bool,
    /// Knows what must not be written down.
    redactor: Redactor,
    /// Where the agent will work, between the phases `preparing` and `running`.
    room: Option<Anteroom>,
    /// When it was taken up.
    began: Clocks,
}

/// A moment by two clocks: the one that people set, and the one that nobody does.
struct Clocks(Timestamp, Option<Uptime>);

impl Clocks {
    fn now() -> Self {
        Self(Timestamp::now(), process::uptime())
    }

    /// By how many seconds the first was set since; less than a minute is no matter.
    fn set_since(&self) -> i64 {
        let Self(wall, Some(up)) = self else { return 0 };
        let (now, Some(now_up)) = (Timestamp::now(), process::uptime()) else { return 0 };
        let set = now.as_second() - wall.as_second() - (now_up.secs - up.secs);
        if set.abs() < 60 { 0 } else { set }
    }
}

impl Supervisor<'_> {
    fn run(mut self) -> Result<(), Failure> {
        secrets::clean(&mut self.run, &self.redactor);
        // Here nobody waits for room: the dispatcher is waiting for us.
        store::write_task(&self.ctx.root, &self.lock, &self.run)?;
        release_standard_streams().map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot let go of the dispatcher: {e}"))
        })?;
        loop {
            match self.run.phase {
                Phase::Claimed => self.enter(Phase::Preparing)?,
                Phase::Preparing => match self.prepare() {
                    Ok(room) => {
                        self.room = room;
                        self.enter(Phase::Running)?;
                    }
                    Err(why) => {
                        self.run.agent =
                            Some(AgentReport { not_started: Some(why), ..AgentReport::default() });
                        self.enter(Phase::Verifying)?;
                    }
                },
                Phase::Running => {
                    let report = self.agent();
                    if report.stopped {
                        // A shutdown, as far as anybody knows (`stop` says so itself when we are
                        // gone): the record stays as if we had been killed, and the next tick takes
                        // the run up again.
                        return Ok(());
                    }
                    self.run.agent = Some(report);
                    self.enter(Phase::Verifying)?;
                }
                Phase::Verifying => {
                    let agent = self.run.agent.clone().unwrap_or_default();
                    let verified =
                        patiently(|| verify(self.ctx, &self.run, &agent, &self.redactor));
                    let (work, ended) = match verified {
                        Ok(verified) => verified,
                        Err(why) => {
                            if !is_full(&why) {
                                self.run.looks = self.run.looks.saturating_add(1);
                                self.save()?;
                            }
                            return Err(self.waits("looked at", &why));
                        }
                    };
                    (self.run.work, self.run.ended) = (Some(work), Some(ended));
                    if self.run.outcome() == Some(Outcome::Stopped) {
                        // The task stays, for a person to carry on or to clear.
                        return self.save();
                    }
                    if self.waits_for_another_attempt() {
                        return self.save();
                    }
                    self.enter(Phase::Publishing)?;
                }
                Phase::Publishing => {
                    if let Some(archived) = store::read_archived(&self.ctx.root, &self.run)? {
                        // It died with everything said and its record written: only that is left.
                        self.run = archived;
                    } else {
                        self.publish()?;
                        self.run.clock_set_secs = self.began.set_since();
                        self.run.ended_at = Some(Timestamp::now());
                        secrets::clean(&mut self.run, &self.redactor);
                    }
                    patiently(|| store::archive(&self.ctx.root, &self.lock, &self.run))?;
                    return Ok(());
                }
            }
        }
    }

    fn prepare(&mut self) -> Result<Option<Anteroom>, String> {
        let before = self.run.claim.clone();
        let late = keep_claim(self.ctx, &mut self.run, self.claimed)?;
        // One that comes late is written down with what the look at the issue then finds: whoever takes
        // the run up before has to look, too.
        if self.run.claim != before && !late {
            self.save().map_err(|e| e.to_string())?;
        }
        prepare(self.ctx, (&self.lock, &mut self.run), late, &self.redactor)
    }

    /// Makes the record that of a run that waits for its next attempt, if it gets another.
    fn waits_for_another_attempt(&mut self) -> bool {
        // Before anything of it is cut: half a secret is not found.
        secrets::clean(&mut self.run, &self.redactor);
        let (run, clock) = (&mut self.run, clock());
        let Some(ended) = run.ended.clone() else { return false };
        if let Some(pause) = another(run, &ended, &self.ctx.settings.retry, &clock) {
            run.try_again(&ended, pause, clock.now);
            return true;
        }
        if run.failures > 0 && ended.outcome.is_failure() {
            let why = format!("{} (attempt {})", ended.why, run.attempt);
            run.ended = Some(Ended { why, ..ended });
        }
        false
    }

    fn save(&mut self) -> Result<(), Failure> {
        secrets::clean(&mut self.run, &self.redactor);
        Ok(patiently(|| store::write_task(&self.ctx.root, &self.lock, &self.run))?)
    }

    fn enter(&mut self, phase: Phase) -> Result<(), Failure> {
        self.run.phase = phase;
        self.run.phase_at = Timestamp::now();
        self.save()
    }

    /// The record stays as it is, and the next tick carries on there.
    fn waits(&self, to_be: &str, why: &str) -> Failure {
        let what = format!("{} waits to be {to_be}: {why}", self.run.subject());
        Failure::new(Exit::Failed, what)
    }

    /// Brings the ending to GitHub. What cannot be reached now is tried twice more; then the
    /// supervisor ends, the record stays, and the next tick carries on here.
    fn publish(&mut self) -> Result<(), Failure> {
        let mut waits = [Duration::from_secs(10), Duration::from_mins(1)].into_iter();
        loop {
            let answer = patiently(|| match step::run(self.ctx, &self.lock, &["publish"]) {
                Ok(PublishAnswer::Later { why, .. }) if is_full(&why) => Err(why),
                other => other,
            });
            let why = match answer {
                Ok(PublishAnswer::Done(done)) => {
                    if let Some(ended) = done.ended {
                        self.run.ended = Some(ended);
                    }
                    self.run.pr = done.pr;
                    self.run.labels_left = done.labels_left;
                    self.run.labelled_at = done.labelled_at;
                    self.run.filed = done.filed;
                    self.run.unsaid = done.unsaid;
                    return Ok(());
                }
                Ok(PublishAnswer::Later { why, filed }) => {
                    if !filed.is_empty() {
                        self.run.filed = filed;
                    }
                    why
                }
                Err(why) => why,
            };
            self.run.unsaid = vec![text::one_line(&why, 300)];
            self.save()?;
            match waits.next() {
                Some(wait) => std::thread::sleep(wait),
                None => {
                    return Err(self.waits("published", &why));
                }
            }
        }
    }

    /// Runs the agent to its end.
    fn agent(&mut self) -> AgentReport {
        let room = self.room.take();
        match self.try_agent(room) {
            Ok(report) => report,
            Err(why) => AgentReport { not_started: Some(why), ..AgentReport::default() },
        }
    }

    fn try_agent(&self, room: Option<Anteroom>) -> Result<AgentReport, String> {
        let (ctx, run) = (self.ctx, &self.run);
        let (executor, _) = ctx.executor(&run.executor).map_err(|e| e.to_string())?;
        let paths = ctx.root.record(&run.worker);
        let jailed_run = run.sandbox == JailMode::Bwrap;
        let log = open_log(&paths.log())?;
        let (child, ways) = match room.and_then(Anteroom::let_in) {
            Some(entered) => entered,
            None if jailed_run => return Err("the sandbox was not made".into()),
            None => (Start::of(ctx, run)?.plainly(ctx, run)?, Ways::default()),
        };
        let mut output = Output {
            log,
            reader: executor.reader(),
            verdict: if jailed_run { Entry::Awaited } else { Entry::Passed },
            bait: ways.bait,
            room: MAX_LOG,
            streams: [(); 2].map(|()| Stream::new(self.redactor.clone())),
            said: Vec::new(),
            no_agent: None,
            begun: !jailed_run,
        };
        let watched = process::watch(child, jailed_run, &run.limits, |is_err, line, whole| {
            output.take(is_err, line, whole)
        })
        .map_err(|e| format!("cannot watch the agent: {e}"))?;
        Effect::new(Trouble::Process, || "the agent".into()).passed();
        // Before the rest, so that it can finish its log.
        drop(ways.egress);
        // In a jail nothing can be left; without one, nothing may be.
        if let Err(pids) = process::kill_descendants() {
            let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
            let mut said = std::io::stderr();
            let _ = writeln!(said, "what the agent started does not die: pid {}", pids.join(", "));
        }
        Ok(output.report(&watched, run))
    }
}

/// The log goes on after what an earlier attempt has written, on a new line: its supervisor may have
/// died in the middle of one.
pub(super) fn open_log(path: &Path) -> Result<File, String> {
    let log = store::open_in_place(path, File::options().read(true).append(true));
    let mut log = log.map_err(|e| e.to_string())?;
    let mut end_line = || {
        let (len, mut last) = (log.metadata()?.len(), [b'\n']);
        if len > 0 {
            log.read_exact_at(&mut last, len - 1)?;
        }
        if last == [b'\n'] { Ok(()) } else { log.write_all(b"\n") }
    };
    end_line().map_err(|e: std::io::Error| format!("{}: {e}", path.display()))?;
    Ok(log)
}

/// An agent that writes more than this in one attempt has gone wrong; the disk must not fill.
const MAX_LOG: u64 = 512 << 20;

/// How far the way into the jail was seen to go.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Awaited,
    Passed,
    Refused(String),
}

/// Takes the agent's output apart: to the log, to the executor's reader.
struct Output {
    log: File,
    reader: Reader,
    verdict: Entry,
    /// What the canary must not have reached.
    bait: Option<TcpListener>,
    /// Bytes that the log may still grow by.
    room: u64,
    /// Standard output and standard error without secrets.
    streams: [Stream; 2],
    /// Standard error before the canary's word, to say why there is no jail.
    said: Vec<u8>,
    /// The last line of standard output, if it is the only one and says why there is no agent.
    no_agent: Option<String>,
    /// Whether the agent's output has begun.
    begun: bool,
}

impl Output {
    fn take(&mut self, is_err: bool, line: &[u8], whole: bool) -> bool {
        if self.verdict == Entry::Awaited {
            if is_err {
                self.said.extend_from_slice(&line[..line.len().min(1000)]);
            } else {
                self.bait = None;
                self.verdict = match serde_json::from_slice::<Verdict>(line) {
                    Ok(Verdict { jail_fault: None }) => Entry::Passed,
                    Ok(Verdict { jail_fault: Some(why) }) => Entry::Refused(why),
                    Err(_) => Entry::Refused("the jail did not answer".into()),
                };
                return false;
            }
        }
        if !is_err {
            let first = !std::mem::replace(&mut self.begun, true);
            let verdict = first.then(|| serde_json::from_slice::<Verdict>(line).ok()).flatten();
            // The agent could say so too.
            self.no_agent = verdict.and_then(|v| v.jail_fault).map(|why| text::one_line(&why, 300));
        }
        let stream = &mut self.streams[usize::from(is_err)];
        let held = stream.holds();
        let clean = stream.push(line, line.ends_with(b"\n"));
        // The reader wants its line whole, not what is held back of the last and not of this one.
        let alone = (!is_err && (held || stream.holds())).then(|| stream.alone(line));
        self.keep(&clean);
        let line = alone.as_ref().unwrap_or(&clean);
        if is_err {
            self.reader.error_line(line);
            return false;
        }
        whole && self.reader.line(line)
    }

    /// Writes to the log, up to its limit. A full disk must not end the run either; the log ends.
    fn keep(&mut self, line: &[u8]) {
        if self.room == 0 {
            return;
        }
        self.room = self.room.saturating_sub(line.len() as u64);
        let _ = self.log.write_all(line);
        if self.room == 0 {
            let _ = self.log.write_all(b"\nclaude-workers: the log is full and ends here\n");
        }
    }

    fn report(mut self, watched: &Watched, run: &Run) -> AgentReport {
        use std::os::unix::process::ExitStatusExt;
        for stream in 0..self.streams.len() {
            let held = self.streams[stream].finish();
            self.keep(&held);
        }
        let status: ExitStatus = watched.status;
        let (exit_code, signal) = match (status.code(), status.signal()) {
            // The jail reports a signal in the shell's way.
            (Some(code @ 129..=192), _) if run.sandbox == JailMode::Bwrap => {
                (None, Some(code - 128))
            }
            other => other,
        };
        let mut report = AgentReport {
            exit_code,
            signal,
            stopped: watched.end == End::Stopped,
            limit: limit(watched.end, run),
            duration_ms: u64::try_from(watched.took.as_millis()).unwrap_or(u64::MAX),
            ..AgentReport::default()
        };
        report.not_started = match self.verdict {
            Entry::Passed => self.no_agent.filter(|_| exit_code == Some(i32::from(NO_AGENT))),
            Entry::Refused(why) => Some(format!("the sandbox does not hold: {why}")),
            Entry::Awaited if report.stopped => None,
            Entry::Awaited => Some(format!(
                "the sandbox could not be made: {}",
                text::one_line(&String::from_utf8_lossy(&self.said), 300)
            )),
        };
        // An agent that was ended only because it would not go after its final word has ended well.
        let judged = if watched.end == End::HungAfterResult { Some(0) } else { exit_code };
        self.reader.summary(judged).fill(&mut report);
        report
    }
}

fn limit(end: End, run: &Run) -> Option<String> {
    let show = |secs: u64| {
        if secs.is_multiple_of(60) {
            format!("{} minutes", secs / 60)
        } else {
            format!("{secs} seconds")
        }
    };
    match end {
        End::WallClock => Some(format!("it took longer than {}", show(run.limits.wall_clock_secs))),
        End::Silence => Some(format!("it said nothing for {}", show(run.limits.silence_secs))),
        End::Itself | End::HungAfterResult | End::Stopped => None,
    }
}

/// Says "ready" and lets go of the dispatcher's pipe and of the lock's first descriptor.
fn release_standard_streams() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let effect = Effect::new(Trouble::Process, || "say ready".into());
    // Nobody may be listening any more; the run goes on.
    let _ = effect.before().and_then(|()| out.write_all(&READY)).and_then(|()| out.flush());
    effect.passed();
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}
