//! What people see on a terminal: a real one, with a size, keys and signals.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claude_workers::fakehub::NewIssue;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::world::{APP, Config, LONG, World};

const HIDE: &str = "\u{1b}[?25l";
const SHOW: &str = "\u{1b}[?25h";

/// A program in a session and on a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: Option<PtyMaster>,
    line: File,
    before: Termios,
    seen: Vec<u8>,
    size: (usize, usize),
}

impl Terminal {
    fn start(world: &World, args: &[&str], size: (usize, usize), env: &[(&str, &str)]) -> Self {
        // Not to be inherited: whoever holds it keeps the terminal open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let keyboard = posix_openpt(flags).unwrap();
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).unwrap();
        let line = ptsname_r(&keyboard).unwrap();
        let line = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(line)
            .unwrap();
        resize(&keyboard, size);
        let before = tcgetattr(&line).unwrap();
        let end = || Stdio::from(line.try_clone().unwrap());
        #[expect(clippy::disallowed_methods, reason = "the one that is tested, on a terminal")]
        let mut setsid = Command::new("setsid");
        let child = setsid
            .args(["--ctty", env!("CARGO_BIN_EXE_claude-workers")])
            .args(args)
            .env_clear()
            .envs([("TERM", "xterm"), ("PATH", "/usr/bin:/bin")])
            .env("HOME", world.user_home())
            .envs(env.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self { child, keyboard: Some(keyboard), line, before, seen: Vec::new(), size }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn press(&self, keys: &str) {
        nix::unistd::write(self.keyboard.as_ref().unwrap(), keys.as_bytes()).unwrap();
    }

    fn resize(&mut self, size: (usize, usize)) {
        self.size = size;
        resize(self.keyboard.as_ref().unwrap(), size);
    }

    /// Reads what has been written so far; waits a moment for more.
    fn read(&mut self) {
        let keyboard = self.keyboard.as_ref().unwrap();
        let mut fds = [PollFd::new(keyboard.as_fd(), PollFlags::POLLIN)];
        // The end of some other test's child may interrupt it.
        if poll(&mut fds, PollTimeout::from(20_u8)).unwrap_or(0) > 0 {
            let mut buffer = [0; 4096];
            let n = nix::unistd::read(keyboard, &mut buffer).unwrap_or(0);
            self.seen.extend_from_slice(&buffer[..n]);
        }
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads until it is so.
    #[track_caller]
    fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(start.elapsed() < LONG, "it never came that {what}: {:?}", self.raw());
            self.read();
        }
    }

    #[track_caller]
    fn until_shown(&mut self, words: &str) {
        self.until(words, |t| t.screen().join("\n").contains(words));
    }

    /// Reads to the end, and gives the exit code.
    #[track_caller]
    fn end(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                self.read();
                return status.code().unwrap_or_else(|| -status.signal().unwrap());
            }
            assert!(start.elapsed() < LONG, "it does not end: {:?}", self.raw());
        }
    }

    /// What stands on the screen, as a terminal shows it that knows the sequences used here.
    fn screen(&self) -> Vec<String> {
        let (columns, height) = self.size;
        let mut rows: Vec<Vec<char>> = vec![Vec::new(); height];
        let (mut row, mut column) = (0, 0);
        let text = self.raw();
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\u{1b}[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
                let (given, kind) = (&sequence[..end], &sequence[end..=end]);
                rest = &sequence[end + 1..];
                match kind {
                    "H" => {
                        let first = given.split(';').next().unwrap();
                        (row, column) = (first.parse::<usize>().unwrap_or(1) - 1, 0);
                    }
                    "K" => rows[row].truncate(column),
                    "J" => {
                        rows[row].truncate(column);
                        rows[row + 1..].iter_mut().for_each(Vec::clear);
                    }
                    "m" | "h" | "l" => {}
                    other => panic!("a sequence that is not known: {given}{other}"),
                }
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                '\r' => column = 0,
                '\n' if row + 1 == height => {
                    rows.rotate_left(1);
                    rows[row].clear();
                }
                '\n' => row += 1,
                c => {
                    let width = c.width().unwrap();
                    assert!(column + width <= columns, "row {row} is too long: {text:?}");
                    // Each cell of a wide letter counts.
                    let end = rows[row].len().max(column + width);
                    rows[row].resize(end, ' ');
                    rows[row][column] = c;
                    rows[row][column + 1..column + width].fill('\0');
                    column += width;
                }
            }
        }
        let line = |row: &Vec<char>| row.iter().filter(|c| **c != '\0').collect::<String>();
        rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
    }

    #[track_caller]
    fn is_as_before(&self) {
        let now = tcgetattr(&self.line).unwrap();
        assert_eq!(now.local_modes, self.before.local_modes);
        assert_eq!(format!("{:?}", now.special_codes), format!("{:?}", self.before.special_codes));
        let raw = self.raw();
        assert!(raw.rfind(SHOW) > raw.rfind(HIDE), "the cursor is hidden: {raw:?}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &PtyMaster, (columns, rows): (usize, usize)) {
    let (ws_col, ws_row) = (u16::try_from(columns).unwrap(), u16::try_from(rows).unwrap());
    tcsetwinsize(terminal, Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

fn watch(world: &World, size: (usize, usize)) -> Terminal {
    Terminal::start(world, &["status", "--watch"], size, &[])
}

/// A world with a worker at work on an issue whose title is long and wide.
fn at_work() -> World {
    let world = World::with(&Config::default(), &["01", "02"]);
    world
        .agent("echo \"$(printf '検索が遅い %.0s' 1 2 3 4 5 6 7 8 9 10)\"; mark start; sleep 1000");
    world.issue(WIDE);
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.wait_until("the agent is at work", || world.marks().len() == 1);
    world
}

const WIDE: &str =
    "検索が遅い: the search is slow 🦀 when there are many of them and it rains outside";

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let world = World::new();
    for ending in ["q", "\u{3}", "TERM", "HUP"] {
        let mut terminal = watch(&world, (60, 10));
        terminal.until_shown("01  idle");
        let drawn = terminal.raw();
        assert!(drawn.contains(HIDE) && !drawn.contains("\u{1b}[2J"), "{drawn:?}");
        assert!(drawn.contains("\u{1b}[?2026h\u{1b}[H"), "{drawn:?}");
        assert!(drawn.ends_with("\u{1b}[J\u{1b}[?2026l"), "{drawn:?}");
        let modes = tcgetattr(&terminal.line).unwrap().local_modes;
        assert!(!modes.intersects(LocalModes::ECHO | LocalModes::ICANON));
        match ending {
            "TERM" => kill(terminal.pid(), Signal::SIGTERM).unwrap(),
            "HUP" => kill(terminal.pid(), Signal::SIGHUP).unwrap(),
            keys => terminal.press(keys),
        }
        assert_eq!(terminal.end(), 0, "{ending}");
        terminal.is_as_before();
        // The last state stays, and the shell goes on below it.
        assert_eq!(terminal.screen()[0], "01  idle");
        assert!(terminal.raw().ends_with(&format!("\u{1b}[2;1H\u{1b}[J{SHOW}")));
    }
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    let world = World::new();
    let mut terminal = watch(&world, (60, 10));
    terminal.until_shown("01  idle");
    drop(terminal.keyboard.take());
    let start = Instant::now();
    while terminal.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < LONG, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stopped_it_gives_the_terminal_back_and_continued_it_draws_again() {
    let world = World::new();
    let mut terminal = watch(&world, (60, 10));
    terminal.until_shown("01  idle");
    terminal.press("\u{1a}");
    let stat = format!("/proc/{}/stat", terminal.pid());
    let stopped = |_: &Terminal| std::fs::read_to_string(&stat).unwrap().contains(") T ");
    terminal.until("it is stopped", stopped);
    terminal.read();
    terminal.is_as_before();
    terminal.seen.clear();
    kill(terminal.pid(), Signal::SIGCONT).unwrap();
    terminal.until_shown("01  idle");
    assert!(terminal.raw().contains(HIDE));
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    terminal.is_as_before();
}

#[test]
fn only_what_changed_is_drawn_again() {
    let world = World::with(&Config::default(), &["alpha", "beta"]);
    let mut terminal = watch(&world, (200, 10));
    terminal.until_shown("beta   idle");
    std::fs::write(world.task("beta"), "{").unwrap();
    terminal.until_shown("beta   broken");
    let raw = terminal.raw();
    assert_eq!(raw.matches("alpha").count(), 1, "{raw:?}");
    assert_eq!(terminal.screen()[0], "alpha  idle");
    std::fs::remove_file(world.task("beta")).unwrap();
    terminal.until_shown("beta   idle");
    assert_eq!(terminal.screen()[1..], ["beta   idle", "", "", "", "", "", "", "", ""]);
}

#[test]
fn what_has_no_room_is_cut_and_counted_and_another_size_is_drawn_at_once() {
    let world = at_work();
    let ids: Vec<String> = (3..=15).map(|n| format!("{n:02}")).collect();
    world.init(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut terminal = watch(&world, (200, 30));
    terminal.until_shown("15  idle");
    assert!(terminal.screen()[0].ends_with("and it rains outside"), "{:?}", terminal.screen());
    terminal.seen.clear();
    terminal.resize((60, 6));
    terminal.until_shown("… 11 more");
    let screen = terminal.screen();
    assert!(
        screen[0].starts_with("01  busy  octo/app#1") && screen[0].ends_with('…'),
        "{screen:?}"
    );
    assert_eq!(screen[1..], ["02  idle", "03  idle", "04  idle", "… 11 more", ""]);
}

#[test]
fn github_is_asked_once_however_often_the_screen_is_drawn() {
    let world = at_work();
    world.hub.unlabel(APP, 1, "worker:01", "octo").unwrap();
    world.hub.clear_exchanges();
    let mut terminal = Terminal::start(&world, &["status", "--watch", "--remote"], (150, 20), &[]);
    terminal.until_shown("octo/app#1  worker:01  01 works on it, but the label is gone");
    let row = terminal.screen()[0].clone();
    let passes = |t: &Terminal| t.screen()[0] != row;
    terminal.until("time passes on the screen", passes);
    let row = terminal.screen()[0].clone();
    terminal.until("time passes again", |t| t.screen()[0] != row);
    assert_eq!(world.asked_lines().len(), 1);
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn github_in_trouble_is_told_on_the_screen() {
    let world = World::new();
    world.write_token("ghp_wrong");
    let mut terminal = Terminal::start(&world, &["status", "--watch", "--remote"], (150, 20), &[]);
    terminal.until_shown("error: GitHub says 401");
    assert_eq!(terminal.screen()[0], "01  idle");
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let world = World::new();
    let said = world.cron(&["status", "--watch"]).exits(2).says("needs a terminal");
    said.says("hint: `claude-workers watch ID`").says("`status --json`");
    let mut dumb = Terminal::start(&world, &["status", "--watch"], (80, 9), &[("TERM", "dumb")]);
    assert_eq!(dumb.end(), 2);
    assert!(!dumb.raw().contains(HIDE));
}

/// What a command writes to a terminal of so many columns.
fn lines(world: &World, args: &[&str], columns: usize, env: &[(&str, &str)]) -> Vec<String> {
    let env = [&[("NO_COLOR", "1")], env].concat();
    let mut terminal = Terminal::start(world, args, (columns, 50), &env);
    assert_eq!(terminal.end(), 0, "{}", terminal.raw());
    terminal.raw().lines().map(str::to_owned).collect()
}

#[test]
fn lists_end_where_the_terminal_does_and_a_pipe_gets_everything() {
    let world = at_work();
    let words = "検索が遅い ".repeat(10);
    world.hub.add_issue(APP, &NewIssue::new("stranger", "Not trusted")).unwrap();
    world.hub.add_issue(APP, &NewIssue::new("octo", WIDE)).unwrap();
    for (args, whole) in [
        (vec!["status"], WIDE),
        (vec!["assign", "--dry-run"], WIDE),
        (vec!["inspect", "01"], words.trim_end()),
    ] {
        let narrow = lines(&world, &args, 50, &[]);
        assert!(narrow.iter().all(|line| line.width() <= 50), "{narrow:#?}");
        let cut = narrow.iter().find(|line| line.ends_with('…')).unwrap();
        assert!(cut.width() >= 49, "{narrow:#?}");
        let asked = lines(&world, &args, 50, &[("COLUMNS", "30")]);
        assert!(asked.iter().all(|line| line.width() <= 30), "{asked:#?}");
        assert!(lines(&world, &args, 300, &[]).concat().contains(whole));
        let piped = world.program().env("COLUMNS", "30").args(&args).output().unwrap();
        assert!(String::from_utf8(piped.stdout).unwrap().contains(whole), "{args:?}");
    }
}

#[test]
fn history_cuts_reasons_and_leaves_addresses_whole() {
    let world = World::new();
    world.issue("One");
    world.tick();
    world.issue("Two");
    world.agent("echo 'there are no more tokens for today, come again tomorrow' >&2; exit 3");
    world.tick();
    let narrow = lines(&world, &["history"], 70, &[]);
    assert!(narrow[0].ends_with("/octo/app/pull/2"), "{narrow:#?}");
    assert!(narrow[1].width() == 70 && narrow[1].ends_with('…'), "{narrow:#?}");
}
