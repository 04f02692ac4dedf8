//! A simulated host: a user's home with a configuration, a root and workers, and an eager cron.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use claude_workers::fakehub::Chance;
use claude_workers::store::{self, Root, State};

use crate::world::{TOKEN, World};

pub struct Host {
    pub name: String,
    pub home: PathBuf,
    pub root: Root,
    /// Nothing is started while it is.
    pub down: AtomicBool,
}

/// Ticks that are under way at once.
const OVERLAPPING: usize = 3;

impl Host {
    pub fn new(home: PathBuf, config: &str, workers: usize) -> Self {
        let dir = home.join(".config/claude-workers");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.toml"), config).unwrap();
        let token = home.join("token");
        fs::write(&token, TOKEN).unwrap();
        fs::set_permissions(token, fs::Permissions::from_mode(0o600)).unwrap();
        let host = Self {
            name: home.file_name().unwrap().to_string_lossy().into_owned(),
            root: Root::new(home.join("workers")),
            home,
            down: AtomicBool::new(false),
        };
        // With no file for it, no write waits for its turn.
        fs::create_dir_all(host.root.github().join("pace.json")).unwrap();
        for nth in 1..=workers {
            let status = host.start(&["init", &format!("{nth:02}")]).wait().unwrap();
            assert!(status.success(), "{}", fs::read_to_string(host.log()).unwrap());
        }
        host
    }

    /// What its ticks said.
    pub fn log(&self) -> PathBuf {
        self.home.join("cron.log")
    }

    /// Starts the program as cron does.
    #[expect(clippy::disallowed_methods, reason = "the program is started from outside")]
    pub fn start(&self, args: &[&str]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_claude-workers"))
            .args(args)
            .env_clear()
            .env("HOME", &self.home)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) {
        let _ = self.start(args).wait();
    }

    /// Ticks, the next tick often before the last has ended; now and then a person dispatches.
    pub fn tick_until(&self, stop: &AtomicBool, world: &World, seed: u64) {
        let mut chance = Chance::new(seed);
        let mut ticks: Vec<Child> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            ticks.retain_mut(|tick| matches!(tick.try_wait(), Ok(None)));
            if !self.down.load(Ordering::Relaxed) && ticks.len() < OVERLAPPING {
                let by_hand = (chance.up_to(15) == 0).then(|| world.untouched(&mut chance));
                if let Some((repo, number)) = by_hand.flatten() {
                    let args = ["dispatch", "-r", &repo, "-i", &number.to_string()];
                    ticks.push(self.start(&args));
                } else {
                    ticks.push(self.start(&["assign"]));
                }
            }
            thread::sleep(Duration::from_millis(100 + chance.up_to(600)));
        }
        for mut tick in ticks {
            let _ = tick.wait();
        }
    }

    /// Whether a worker has something to do.
    pub fn is_busy(&self) -> bool {
        let workers = store::list(&self.root).unwrap();
        workers.iter().any(|w| !matches!(w.state, State::Idle))
    }
}
