//! Following what a worker's agent says, and waiting for its end. The disk answers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::archive::{Shown, log_of_worker};
use super::{Context, Exit, Failure};
use crate::domain::{Outcome, Run, WorkerId};
use crate::executor::{Executor, Said};
use crate::process::Lines;
use crate::store::{self, State};

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The longest line that is understood as one event.
const LINE_MAX: usize = 4 << 20;

/// A worker's log, current or last, and the executor that wrote it.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    executor: Executor,
    worker: WorkerId,
    /// The run that writes it now.
    live: Option<Run>,
}

impl Log {
    /// Finds it.
    ///
    /// # Errors
    /// When the worker does not exist or has never run.
    pub fn of(ctx: &Context, id: &WorkerId) -> Result<Self, Failure> {
        let (run, path) = log_of_worker(ctx, id)?;
        let live = match store::worker(&ctx.root, id.clone()).state {
            State::Busy(run) => Some(*run),
            _ => None,
        };
        Ok(Self::at(ctx, path, id.clone(), run.as_ref(), live))
    }

    /// That of one run, as far as it is there now.
    ///
    /// # Errors
    /// When it has none, or none any more.
    pub fn of_run(ctx: &Context, shown: &Shown) -> Result<Self, Failure> {
        let run = &shown.run;
        Ok(Self::at(ctx, shown.log()?, run.worker.clone(), Some(run), None))
    }

    fn at(
        ctx: &Context,
        path: PathBuf,
        worker: WorkerId,
        run: Option<&Run>,
        live: Option<Run>,
    ) -> Self {
        let name = run.map_or(&ctx.settings.executor, |run| &run.executor);
        // An executor that is configured no more is read as plain text.
        let executor = Executor::named(name, &ctx.settings.executors)
            .unwrap_or(Executor::Custom(crate::config::ExecutorSection::default()));
        Self { path, executor, worker, live }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last `count` lines for people, read from the end of the log: its length does not matter.
    /// Returns them and where the next line will begin.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn last_lines(&self, count: usize, width: usize) -> Result<(Vec<String>, u64), Failure> {
        let fail = |e: std::io::Error| self.unreadable(&e);
        let mut file = File::open(&self.path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let mut block: u64 = 64 << 10;
        loop {
            let start = len.saturating_sub(block);
            file.seek(SeekFrom::Start(start)).map_err(fail)?;
            let mut bytes = Vec::new();
            file.by_ref().take(len - start).read_to_end(&mut bytes).map_err(fail)?;
            // The first line may be half of one; the last may not be finished yet.
            let first = if start == 0 { 0 } else { line_end(&bytes).unwrap_or(bytes.len()) };
            let whole =
                bytes.iter().rposition(|b| *b == b'\n').map_or(first, |at| at + 1).max(first);
            let mut last: VecDeque<String> = VecDeque::new();
            for line in bytes[first..whole].split_inclusive(|b| *b == b'\n') {
                for shown in self.executor.said(line).iter().filter_map(|said| said.line(width)) {
                    if last.len() == count {
                        last.pop_front();
                    }
                    last.push_back(shown);
                }
            }
            if last.len() == count || start == 0 {
                return Ok((last.into(), start + whole as u64));
            }
            block = block.saturating_mul(4);
        }
    }

    /// Gives every line that is there now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(&self, each: impl FnMut(&[u8], Vec<Said>)) -> Result<(), Failure> {
        self.pump(0, || true, each)
    }

    /// Gives every further line, from byte `from` on, until the run that writes the log ends. Ends
    /// at the log's end if no run does.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn follow(
        &self,
        ctx: &Context,
        from: u64,
        each: impl FnMut(&[u8], Vec<Said>),
    ) -> Result<(), Failure> {
        let over = || self.live.as_ref().is_none_or(|run| !is_still(ctx, &self.worker, run));
        self.pump(from, over, each)
    }

    fn pump(
        &self,
        from: u64,
        over: impl Fn() -> bool,
        mut each: impl FnMut(&[u8], Vec<Said>),
    ) -> Result<(), Failure> {
        let fail = |e: std::io::Error| self.unreadable(&e);
        // The open file stays the same one when the log is archived under another name.
        let mut file = File::open(&self.path).map_err(fail)?;
        file.seek(SeekFrom::Start(from)).map_err(fail)?;
        let mut lines = Lines::new(LINE_MAX);
        let mut buffer = vec![0; 64 << 10];
        loop {
            // Looked at before the reading, so that nothing written before the end is missed.
            let ended = over();
            loop {
                let n = file.read(&mut buffer).map_err(fail)?;
                if n == 0 {
                    break;
                }
                lines.push(&buffer[..n], |line, _| each(line, self.executor.said(line)));
            }
            if ended {
                lines.finish(|line, _| each(line, self.executor.said(line)));
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn unreadable(&self, e: &std::io::Error) -> Failure {
        Failure::new(Exit::Failed, format!("{}: {e}", self.path.display()))
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|b| *b == b'\n').map(|at| at + 1)
}

fn is_still(ctx: &Context, id: &WorkerId, run: &Run) -> bool {
    matches!(store::worker(&ctx.root, id.clone()).state, State::Busy(now) if now.run == run.run)
}

/// How a watched run ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Its record, as it is now.
    pub run: Run,
    /// Its outcome; `Lost` for one whose supervisor is gone and that nobody has taken up yet.
    pub outcome: Outcome,
}

/// Waits for the runs of `ids` (for the first of them, if `any`). `look` is called at every look
/// with what the workers that are still waited for are doing.
///
/// # Errors
/// When a worker does not exist, has no run, or cannot be read.
pub fn wait(
    ctx: &Context,
    ids: &[WorkerId],
    any: bool,
    mut look: impl FnMut(&[Run]),
) -> Result<Vec<End>, Failure> {
    let mut waiting = Vec::new();
    for id in ids {
        waiting.push(first_look(ctx, id)?);
    }
    let mut ends = Vec::new();
    loop {
        let mut still = Vec::new();
        for run in waiting {
            match ended(ctx, &run)? {
                Some(end) => ends.push(end),
                None => still.push(run),
            }
        }
        if still.is_empty() || (any && !ends.is_empty()) {
            return Ok(ends);
        }
        look(&still);
        waiting = still;
        std::thread::sleep(LOOK);
    }
}

/// The run of a worker; a worker that is just being taken is waited for.
fn first_look(ctx: &Context, id: &WorkerId) -> Result<Run, Failure> {
    if !store::list(&ctx.root)?.iter().any(|w| w.id == *id) {
        return Err(Failure::new(Exit::NoWorker, format!("there is no worker {id}"))
            .hint("`claude-workers status` lists them"));
    }
    loop {
        match store::worker(&ctx.root, id.clone()).state {
            State::Busy(run) | State::Crashed(run) => return Ok(*run),
            State::Starting => std::thread::sleep(LOOK),
            State::Idle => {
                return Err(Failure::new(
                    Exit::NoWorker,
                    format!("worker {id} is idle: there is nothing to wait for"),
                )
                .hint(format!("`claude-workers history {id}` shows what it has done")));
            }
            State::Broken(why) => {
                return Err(Failure::new(Exit::Failed, format!("worker {id} is broken: {why}")));
            }
        }
    }
}

fn ended(ctx: &Context, run: &Run) -> Result<Option<End>, Failure> {
    match store::worker(&ctx.root, run.worker.clone()).state {
        State::Busy(now) if now.run == run.run => return Ok(None),
        State::Crashed(now) if now.run == run.run => {
            let outcome = match now.outcome() {
                Some(Outcome::Stopped) => Outcome::Stopped,
                _ => Outcome::Lost,
            };
            return Ok(Some(End { run: *now, outcome }));
        }
        State::Broken(why) => {
            let what = format!("worker {} is broken: {why}", run.worker);
            return Err(Failure::new(Exit::Failed, what));
        }
        _ => {}
    }
    let archived = store::read_archived(&ctx.root, run)?;
    let outcome = archived.as_ref().and_then(Run::outcome);
    match (archived, outcome) {
        (Some(run), Some(outcome)) => Ok(Some(End { run, outcome })),
        _ => Err(Failure::new(
            Exit::Failed,
            format!("the run {} of worker {} left no record", run.run, run.worker),
        )),
    }
}
