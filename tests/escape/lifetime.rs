//! Time. A run is over when its supervisor says so, and then nothing of it is left that could read,
//! send or change anything later. (How much it may take at once: see `tests/product/rlimits.rs`.)

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Stage, jailed, plain};
use crate::world::APP;

/// Ways to outlive whoever started it. `@` is a program that stays until it is killed.
pub const SURVIVORS: &[(&str, &str)] = &[
    ("child", "@ & true"),
    ("double-fork", "(@ &) & wait"),
    ("session-of-its-own", "setsid @ >/dev/null 2>&1 </dev/null & true"),
    ("no-environment", "setsid env -i @ >/dev/null 2>&1 </dev/null & true"),
    ("deaf", "(trap '' TERM HUP INT; setsid @ >/dev/null 2>&1 </dev/null &) & true"),
    ("holds-the-pipe", "setsid @ & true"),
    ("user-namespace-of-its-own", "unshare -r setsid @ >/dev/null 2>&1 </dev/null & true"),
    ("stopped", "setsid @ >/dev/null 2>&1 </dev/null & sleep 0.2; kill -STOP $!"),
];

/// The processes that stay, and nobody else's.
fn staying(mark: &str) -> Vec<Pid> {
    let mine = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let is = line.split(|b| *b == 0).eq(["sleep", mark, ""].map(str::as_bytes));
        is.then_some(Pid::from_raw(pid))
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(mine).collect()
}

fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_mins(1), "it never came that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn script(mark: &str) -> String {
    let all: Vec<&str> = SURVIVORS.iter().map(|(_, script)| *script).collect();
    format!("({})\n", all.join(")\n(")).replace('@', &format!("sleep {mark}"))
}

/// All of them, started without a wall, are there when their starter is gone. They are killed then.
fn outlive_a_shell(dir: &Path, mark: &str) -> usize {
    let path = dir.join("survive");
    fs::write(&path, script(mark)).unwrap();
    let started = plain("sh").arg(&path).stdout(std::process::Stdio::null()).status().unwrap();
    assert!(started.success());
    until("they are there", || staying(mark).len() >= SURVIVORS.len());
    let all = staying(mark);
    for pid in &all {
        kill(*pid, Signal::SIGKILL).unwrap();
    }
    until("they are gone", || staying(mark).is_empty());
    all.len()
}

/// A test that failed leaves none of them behind.
struct Gone<'a>(&'a str);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        for pid in staying(self.0) {
            // It may have gone meanwhile.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

#[test]
fn nothing_of_a_run_outlives_it() {
    let stage = Stage::new(&jailed());
    // A time that nobody else sleeps for.
    let mark = format!("9{}", std::process::id());
    let _gone = Gone(&mark);
    assert_eq!(outlive_a_shell(stage.away.path(), &mark), SURVIVORS.len());
    let go = stage.world.home("01").join("go");
    for last in ["exit 0", "kill -9 $$", "sleep 600"] {
        stage.agent(&format!(
            "rm -f $HOME/go\n{}until [ -e $HOME/go ]; do sleep 0.02; done\n{last}",
            script(&mark)
        ));
        stage.world.cron(&["dispatch", "-r", APP, "-p", "Stay", "-w", "01"]).ok();
        until("they are there", || staying(&mark).len() == SURVIVORS.len());
        fs::write(&go, "").unwrap();
        if last.starts_with("sleep") {
            stage.world.cron(&["stop", "01"]).ok();
        }
        stage.world.quiet();
        assert_eq!(staying(&mark), [], "after {last}");
    }
}
