//! A screen that is drawn again and again in place: it writes what has changed and nothing else, in
//! one piece, and gives the terminal back as it was, whatever ends it.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use super::print;
use crate::config::{Env, env};
use crate::ops::{Exit, Failure};

/// How often is looked.
const SECOND: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again, and draw.
    Draw,
    /// Somebody has seen enough, or the terminal is gone.
    End,
}

/// Refuses what is no terminal to draw on.
pub(super) fn wants_a_terminal(env: &Env) -> Result<(), Failure> {
    let dumb = env.get(env::TERM) == Some("dumb");
    if stdout().is_terminal() && !dumb {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "--watch needs a terminal to draw on").hint(
        "`claude-workers watch ID` waits for the end of a run; `status --json` is for scripts",
    ))
}

const HIDE: &str = "\u{1b}[?25l";
const SHOW: &str = "\u{1b}[?25h";
/// What is between these two is shown at once, by terminals that know them.
const HOLD: &str = "\u{1b}[?2026h";
const RELEASE: &str = "\u{1b}[?2026l";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// The cursor to the beginning of a row, counted from 0.
fn to_row(row: usize) -> String {
    if row == 0 { "\u{1b}[H".to_owned() } else { format!("\u{1b}[{};1H", row + 1) }
}

/// The terminal, while it is drawn on.
pub(super) struct Screen {
    /// Columns and rows.
    size: (usize, usize),
    /// The lines that are on it; `None`: to be drawn in full.
    lines: Option<Vec<String>>,
    signals: SignalFd,
    /// How standard input was before, if it is a terminal; then keys come from there.
    keys: Option<Termios>,
    /// When to look again.
    second: Instant,
    /// Nobody sees what is written any more.
    gone: bool,
}

impl Screen {
    /// Takes the terminal. Signals come here from now on, in every thread that is started later.
    ///
    /// # Errors
    /// When signals cannot be had.
    pub(super) fn open() -> Result<Self, Failure> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
            Signal::SIGWINCH,
        ] {
            set.add(signal);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = set.thread_block().and_then(|()| SignalFd::with_flags(&set, flags));
        let signals = signals.map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot draw on this terminal: {e}"))
        })?;
        let (keys, second) = (tcgetattr(stdin()).ok(), Instant::now());
        let mut screen = Self { size: (80, 24), lines: None, signals, keys, second, gone: false };
        screen.take();
        Ok(screen)
    }

    /// The terminal's columns.
    pub(super) fn width(&self) -> usize {
        self.size.0
    }

    fn measure(&mut self) {
        let size = print::size(&stdout()).unwrap_or(self.size);
        if size != self.size {
            self.size = size;
            self.lines = None;
        }
    }

    fn take(&mut self) {
        if let Some(before) = &self.keys {
            let mut ours = before.clone();
            // Keys come at once and unseen; Ctrl-C stays a signal. Reading never waits.
            ours.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            ours.special_codes[SpecialCodeIndex::VMIN] = 0;
            ours.special_codes[SpecialCodeIndex::VTIME] = 0;
            let _ = tcsetattr(stdin(), OptionalActions::Now, &ours);
        }
        self.lines = None;
        self.measure();
        // What was on the screen goes up to where it can be scrolled back to.
        let up = "\n".repeat(self.size.1);
        self.write(&format!("{HIDE}{up}"));
    }

    /// Gives the terminal back; what was drawn stays.
    fn give_back(&mut self) {
        let below = to_row(self.lines.as_ref().map_or(0, Vec::len));
        self.write(&format!("{RELEASE}{below}{REST_OF_SCREEN}{SHOW}"));
        if let Some(before) = &self.keys {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }

    fn write(&mut self, text: &str) {
        let mut out = stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.gone = true;
        }
    }

    /// Shows the lines of `text`, as far as there is room.
    pub(super) fn draw(&mut self, text: &str) {
        let (width, rows) = self.size;
        let new = fitted(text, width, rows);
        let old = self.lines.take();
        let changes = changes(old.as_deref(), &new, width);
        if !changes.is_empty() {
            self.write(&format!("{HOLD}{changes}{RELEASE}"));
        }
        self.lines = Some(new);
    }

    /// Waits for the next second, for another size, or for the end.
    pub(super) fn next(&mut self) -> Next {
        let now = Instant::now();
        if self.second <= now {
            self.second = (self.second + SECOND).max(now);
        }
        loop {
            let next = if self.gone { Some(Next::End) } else { self.wait() };
            if next == Some(Next::Draw) {
                self.measure();
            }
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// One wait; nothing if it ended for nothing.
    fn wait(&mut self) -> Option<Next> {
        let left = self.second.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(Next::Draw);
        }
        let stdin = stdin();
        let wants = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![wants(self.signals.as_fd())];
        fds.extend(self.keys.is_some().then(|| wants(stdin.as_fd())));
        // Rounded up, or the last part of a millisecond would be waited for in a circle.
        let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        if poll(&mut fds, PollTimeout::from(left)).is_err() {
            return None;
        }
        let keys = fds.get(1).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if let Ok(Some(signal)) = self.signals.read_signal() {
            return Some(self.signal(signal.ssi_signo));
        }
        if keys.is_empty() {
            return None;
        }
        let closed = keys.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL);
        let mut pressed = [0; 64];
        match nix::unistd::read(&stdin, &mut pressed) {
            Ok(n) if pressed[..n].iter().any(|key| b"qQ".contains(key)) => Some(Next::End),
            Ok(0) => closed.then_some(Next::End),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => None,
            Err(_) => Some(Next::End),
        }
    }

    fn signal(&mut self, number: u32) -> Next {
        match i32::try_from(number).ok().and_then(|n| Signal::try_from(n).ok()) {
            Some(Signal::SIGWINCH) => Next::Draw,
            Some(Signal::SIGTSTP) => {
                self.give_back();
                // Stopped here, and continued here.
                let _ = raise(Signal::SIGSTOP);
                self.take();
                Next::Draw
            }
            _ => Next::End,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The lines that there is room for: the last row stays free for the cursor.
fn fitted(text: &str, width: usize, rows: usize) -> Vec<String> {
    let room = rows.saturating_sub(1).max(1);
    let mut lines: Vec<String> = text.lines().map(|line| print::cut(line, Some(width))).collect();
    if lines.len() > room {
        let more = lines.len() - (room - 1);
        lines.truncate(room - 1);
        lines.push(print::cut(&format!("… {more} more"), Some(width)));
    }
    lines.iter().map(|line| print::dressed(line).into_owned()).collect()
}

/// What must be written so that the lines `new` stand where `old` stood.
fn changes(old: Option<&[String]>, new: &[String], width: usize) -> String {
    let mut out = String::new();
    for (row, line) in new.iter().enumerate() {
        if old.and_then(|old| old.get(row)) == Some(line) {
            continue;
        }
        out.push_str(&to_row(row));
        out.push_str(line);
        // After a line that fills its row the cursor still stands on the last letter.
        if print::columns(line) < width {
            out.push_str(REST_OF_LINE);
        }
    }
    if old.is_none_or(|old| old.len() > new.len()) {
        out.push_str(&to_row(new.len()));
        out.push_str(REST_OF_SCREEN);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_changed_is_written() {
        let old = lines("one\ntwo\nthree");
        assert_eq!(changes(Some(&old), &old, 80), "");
        assert_eq!(changes(Some(&old), &lines("one\n2\nthree"), 80), "\u{1b}[2;1H2\u{1b}[K");
        assert_eq!(changes(Some(&old), &lines("one\ntwo"), 80), "\u{1b}[3;1H\u{1b}[J");
        assert_eq!(changes(None, &lines("a"), 1), "\u{1b}[Ha\u{1b}[2;1H\u{1b}[J");
    }

    #[test]
    fn what_has_no_room_is_counted() {
        assert_eq!(fitted("a\nb\nc", 80, 4), ["a", "b", "c"]);
        assert_eq!(fitted("a\nb\nc\nd", 80, 4), ["a", "b", "… 2 more"]);
        assert_eq!(fitted("a\nb", 80, 1), ["… 2 more"]);
        assert_eq!(fitted("検索が遅い", 7, 9), ["検索が…"]);
    }
}
