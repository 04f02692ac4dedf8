//! A worker's log: its end, all of it, and what is added while the agent works.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use memchr::memrchr;

use super::archive::{Shown, last_log};
use super::queries::known;
use super::unknown::broken;
use super::watching::{End, Observed, Observer, end_of};
use super::{Context, Exit, Failure};
use crate::domain::{Run, WorkerId};
use crate::executor::{Executor, LogLines, Said, Todo};
use crate::process::Woken;
use crate::store::{self, State};

/// How much is read at a time.
const BLOCK: usize = 64 << 10;

/// The log of a worker's run, its current or its last one.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Where it will be when the run is over.
    archived: PathBuf,
    run: Run,
    executor: Executor,
    /// Whether a supervisor writes it now.
    live: bool,
}

impl Log {
    /// Finds it. The log of a current run may not be there yet.
    ///
    /// # Errors
    /// When the worker does not exist, is broken, or has never run.
    pub fn of(ctx: &Context, id: &WorkerId) -> Result<Self, Failure> {
        known(ctx, id)?;
        Self::in_state(ctx, id, store::worker(&ctx.root, id.clone()).state)
    }

    /// The same for a worker that is known to exist, and what it is doing.
    pub(super) fn in_state(ctx: &Context, id: &WorkerId, state: State) -> Result<Self, Failure> {
        let paths = ctx.root.record(id);
        let (run, path, live) = match state {
            State::Busy(run) => (*run, paths.log(), true),
            State::Crashed(run) => (*run, paths.log(), false),
            State::Broken(why) => return Err(broken(ctx, id, &why)),
            State::Idle | State::Starting => {
                let (run, path) = last_log(ctx, id)?;
                (run, path, false)
            }
        };
        Ok(Self::at(ctx, run, path, live))
    }

    /// That of one run, as far as it is there now.
    ///
    /// # Errors
    /// When it has none, or none any more.
    pub fn of_run(ctx: &Context, shown: &Shown) -> Result<Self, Failure> {
        Ok(Self::at(ctx, shown.run.as_ref().clone(), shown.log()?, false))
    }

    fn at(ctx: &Context, run: Run, path: PathBuf, live: bool) -> Self {
        // An executor that is configured no more is read as plain text.
        let executor = Executor::named(&run.executor, &ctx.settings.executors)
            .unwrap_or(Executor::Custom(crate::config::ExecutorSection::default()));
        let name = format!("{}.log", run.archive_stem());
        let archived = ctx.root.record(&run.worker).completed().join(name);
        Self { path, archived, run, executor, live }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run that it is of.
    #[must_use]
    pub fn into_run(self) -> Run {
        self.run
    }

    /// `None`: nothing has been said yet.
    fn open(&self) -> Result<Option<File>, Failure> {
        // In this order: when this run is archived, another one may write under the old name.
        for path in [&self.archived, &self.path] {
            match File::open(path) {
                Ok(file) => return Ok(Some(file)),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(self.unreadable(e)),
            }
        }
        Ok(None)
    }

    /// The file that is to be read after `file`, if there is one: a run that was taken up again may
    /// write to another.
    fn successor(&self, file: &File) -> Result<Option<File>, Failure> {
        let (Ok(here), Ok(there)) = (file.metadata(), fs::metadata(&self.path)) else {
            return Ok(None);
        };
        if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
            return Ok(None);
        }
        self.open()
    }

    fn open_now(&self) -> Result<File, Failure> {
        self.open()?.ok_or_else(|| {
            let worker = &self.run.worker;
            Failure::new(Exit::Failed, format!("the agent of worker {worker} has said nothing yet"))
                .hint(format!("`claude-workers status {worker}` tells how far it is"))
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
    fn unreadable(&self, e: std::io::Error) -> Failure {
        Failure::new(Exit::Failed, format!("{}: {e}", self.path.display()))
    }

    /// The last `count` lines for people, of `width` characters at most, read from the end of the
    /// log: neither its length nor that of its lines matters. Returns them and where the next line
    /// will begin.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn last_lines(&self, count: usize, width: usize) -> Result<(Vec<String>, u64), Failure> {
        let Some(file) = self.open()? else { return Ok((Vec::new(), 0)) };
        self.last_lines_of(file, count, width).map_err(|e| self.unreadable(e))
    }

    fn last_lines_of(
        &self,
        file: File,
        count: usize,
        width: usize,
    ) -> std::io::Result<(Vec<String>, u64)> {
        let mut tail = Tail::of(file)?;
        // The last line may not be finished yet; nobody finishes that of a run that is over.
        let whole = if self.live { tail.after_newline(tail.len)? } else { tail.len };
        let (mut shown, mut end) = (VecDeque::new(), whole);
        while end > 0 && shown.len() < count {
            let start = tail.after_newline(end - 1)?;
            let mut lines = Vec::new();
            let mut parts = LogLines::at_a_glance();
            let mut take = |line: &[u8]| {
                let said = self.executor.said(line);
                lines.extend(said.iter().filter_map(|said| said.line(width)));
            };
            tail.read(start, end, |bytes| parts.push(bytes, &mut take))?;
            parts.finish(take);
            lines.into_iter().rev().for_each(|line| shown.push_front(line));
            end = start;
        }
        let more = shown.len().saturating_sub(count);
        Ok((shown.into_iter().skip(more).collect(), whole))
    }

    /// The file, to be copied as it is.
    ///
    /// # Errors
    /// When it is not there yet or cannot be opened.
    pub fn file(&self) -> Result<File, Failure> {
        self.open_now()
    }

    /// Gives all bytes that are there now.
    ///
    /// # Errors
    /// When there is nothing yet, or it cannot be read.
    pub fn read_raw(&self, mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut source = Source { file: Some(self.open_now()?) };
        source.drain(&mut vec![0; BLOCK], &mut each).map_err(|e| self.unreadable(e))
    }

    /// Gives everything that was said until now, some of it at a time.
    ///
    /// # Errors
    /// As for [`Self::read_raw`].
    pub fn read(&self, each: impl FnMut(&[Said])) -> Result<(), Failure> {
        let mut heard = Heard { lines: LogLines::to_read(), executor: &self.executor, each };
        self.read_raw(|bytes| heard.bytes(bytes))?;
        heard.finish();
        Ok(())
    }

    /// The agent's list of things to do; `None` if this executor does not tell of one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn todos(&self) -> Result<Option<Vec<Todo>>, Failure> {
        let Some(mut todos) = self.executor.todos() else { return Ok(None) };
        let mut source = Source { file: self.open()? };
        let mut lines = LogLines::at_a_glance();
        source
            .drain(&mut vec![0; BLOCK], &mut |bytes| lines.push(bytes, |line| todos.line(line)))
            .map_err(|e| self.unreadable(e))?;
        lines.finish(|line| todos.line(line));
        Ok(Some(todos.list()))
    }

    /// Gives what is said from byte `from` on, until the run ends; at once if it has. Returns how
    /// it ended; `None` when nobody reads our standard output any more.
    ///
    /// # Errors
    /// When the log or the record cannot be read.
    pub fn follow(
        &self,
        ctx: &Context,
        from: u64,
        each: impl FnMut(&[Said]),
    ) -> Result<Option<End>, Failure> {
        let mut heard = Heard { lines: LogLines::to_read(), executor: &self.executor, each };
        let end = self.follow_raw(ctx, from, |bytes| heard.bytes(bytes))?;
        heard.finish();
        Ok(end)
    }

    /// The same with the bytes as the agent wrote them.
    ///
    /// # Errors
    /// As for [`Self::follow`].
    pub fn follow_raw(
        &self,
        ctx: &Context,
        from: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Option<End>, Failure> {
        let mut observer = Observer::of(ctx, [&self.run.worker]);
        let mut run = self.run.clone();
        let mut buffer = vec![0; BLOCK];
        let mut source = Source { file: None };
        let mut from = Some(from);
        loop {
            // Looked at before the reading, so that nothing written before the end is missed.
            let seen = if self.live {
                observer.look(ctx, &run)?
            } else {
                Observed::Over(Box::new(end_of(run)))
            };
            // The open file stays the same one when the log is archived under another name.
            source.drain(&mut buffer, &mut each).map_err(|e| self.unreadable(e))?;
            let next = match (&source.file, &seen) {
                (None, _) => self.open()?,
                (Some(_), Observed::Over(_)) => None,
                (Some(file), Observed::Still(_)) => self.successor(file)?,
            };
            if let Some(mut next) = next {
                next.seek(SeekFrom::Start(from.take().unwrap_or(0)))
                    .map_err(|e| self.unreadable(e))?;
                observer.also_on(&next);
                source.file = Some(next);
                source.drain(&mut buffer, &mut each).map_err(|e| self.unreadable(e))?;
            }
            run = match seen {
                Observed::Over(end) => return Ok(Some(*end)),
                Observed::Still(run) => *run,
            };
            if observer.wait(std::slice::from_ref(&run), None)? == Woken::Unread {
                return Ok(None);
            }
        }
    }
}

/// Understands bytes, and tells what they say.
struct Heard<'a, F> {
    lines: LogLines,
    executor: &'a Executor,
    each: F,
}

impl<F: FnMut(&[Said])> Heard<'_, F> {
    fn bytes(&mut self, bytes: &[u8]) {
        let mut said = Vec::new();
        self.lines.push(bytes, |line| said.extend(self.executor.said(line)));
        (self.each)(&said);
    }

    fn finish(mut self) {
        let mut said = Vec::new();
        self.lines.finish(|line| said.extend(self.executor.said(line)));
        (self.each)(&said);
    }
}

/// A log that is read on and on.
struct Source {
    file: Option<File>,
}

impl Source {
    /// Reads to the end.
    fn drain(&mut self, buffer: &mut [u8], each: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        // One that was emptied begins anew.
        if file.metadata()?.len() < file.stream_position()? {
            file.rewind()?;
        }
        loop {
            match file.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => each(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// A file that is read backwards, a block at a time.
struct Tail {
    file: File,
    len: u64,
    block: Vec<u8>,
    /// Where the block is in the file.
    at: u64,
}

impl Tail {
    fn of(file: File) -> std::io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len, block: Vec::new(), at: len })
    }

    /// What of the block is before `end`.
    fn before(&self, end: u64) -> &[u8] {
        let len = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.block.get(..len).unwrap_or_default()
    }

    /// Just after the last newline before `end`, or the beginning.
    fn after_newline(&mut self, mut end: u64) -> std::io::Result<u64> {
        while end > 0 {
            if self.before(end).is_empty() {
                self.at = end.saturating_sub(BLOCK as u64);
                let len = usize::try_from(end - self.at).unwrap_or(BLOCK);
                self.block.resize(len, 0);
                self.file.read_exact_at(&mut self.block, self.at)?;
            }
            if let Some(found) = memrchr(b'\n', self.before(end)) {
                return Ok(self.at + found as u64 + 1);
            }
            end = self.at;
        }
        Ok(0)
    }

    /// Gives the bytes from `start` to `end`.
    fn read(&self, start: u64, end: u64, mut each: impl FnMut(&[u8])) -> std::io::Result<()> {
        let held = self.before(end);
        if start >= self.at && !held.is_empty() {
            each(&held[usize::try_from(start - self.at).unwrap_or(held.len())..]);
            return Ok(());
        }
        let (mut at, mut buffer) = (start, vec![0; BLOCK]);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            self.file.read_exact_at(&mut buffer[..len], at)?;
            each(&buffer[..len]);
            at += len as u64;
        }
        Ok(())
    }
}
