//! One case: a world, a point to strike at, and ticks until nothing moves any more.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use claude_workers::domain::Phase;
use claude_workers::process::{children_of, command};
use claude_workers::store::{self, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::points::Point;
use crate::world::{APP, Config, LONG, World};

/// What is started, and how its agent ends.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What is run to its end first, undisturbed.
    pub before: &'static [&'static str],
    /// What is struck, with what comes of it.
    pub words: &'static [&'static str],
    pub agent: &'static str,
    pub sandbox: &'static str,
    pub workers: &'static [&'static str],
    /// The processes that are struck; the others do nothing that they do not do in another scenario.
    pub roles: &'static [&'static str],
}

/// An agent that does its work; it waits where a test holds the program up.
pub const WORKS: &str = "commit work-$issue.txt done; echo 'All done.'";
/// One that does not.
pub const FAILS: &str = "echo 'I cannot.'; exit 1";
/// As long as its home has this, no agent begins.
const STAYS: &str = "stays";

pub const ASSIGN: Scenario = Scenario {
    before: &[],
    words: &["assign"],
    agent: WORKS,
    sandbox: "mode = 'none'",
    workers: &["01"],
    roles: &["assign", "supervise", "step brief", "step publish"],
};
pub const DISPATCH: Scenario =
    Scenario { words: &["dispatch", "-r", APP, "-i", "1"], roles: &["dispatch"], ..ASSIGN };
pub const FAILING: Scenario = Scenario { agent: FAILS, roles: &["step publish"], ..ASSIGN };
/// What a failure has left, cleared by a person: the next tick tries again.
pub const RESET: Scenario =
    Scenario { before: &["assign"], words: &["reset", "01"], roles: &["reset"], ..FAILING };
pub const JAILED: Scenario = Scenario { sandbox: "", roles: &["supervise"], ..ASSIGN };
/// With somebody to take what the first one has.
pub const CONTESTED: Scenario = Scenario { workers: &["01", "02"], ..ASSIGN };

impl Scenario {
    pub fn world(&self) -> World {
        // A home without credentials is mended before each run.
        let credentials = if self.sandbox.is_empty() { "mode = 'broker'" } else { "copy = []" };
        let config = Config { sandbox: self.sandbox, credentials, ..Config::default() };
        let world = World::with(&config, self.workers);
        let hangs = hangs(&world).display().to_string();
        world.agent(&format!(
            "echo x >>$HOME/starts; echo $$ >$HOME/agent.pid\n\
             while [ -e '{hangs}' ] || [ -e $HOME/{STAYS} ]; do sleep 0.02; done\n{}",
            self.agent
        ));
        world.issue("One");
        if !self.before.is_empty() {
            world.cron(self.before).ok();
            world.quiet();
        }
        world
    }

    /// Starts the first command, with these variables beside HOME.
    pub fn start(&self, world: &World, vars: &[(&str, String)]) -> Started {
        let mut program = command(env!("CARGO_BIN_EXE_claude-workers"));
        program.env("HOME", world.user_home()).envs(vars.iter().map(|(k, v)| (k, v)));
        program.args(self.words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Started(program.spawn().unwrap())
    }
}

/// A command that may hang.
pub struct Started(Child);

impl Started {
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub fn wait(mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended, or may never do so by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The process there is killed.
    Kill,
    /// Everything of this world is killed: a machine that loses power.
    KillAll,
    /// The agent is killed, and everything else goes on.
    KillAgent,
    /// The process there stands still while others do what they do.
    Overlap,
    /// The effect fails, or seems to.
    Error,
}

fn marker(world: &World) -> PathBuf {
    world.dir.join("struck")
}

fn hangs(world: &World) -> PathBuf {
    world.dir.join("struck.hangs")
}

/// Runs the scenario with this happening, and then ticks until nothing moves.
///
/// # Errors
/// What did not come to pass: in words.
pub fn run(scenario: &Scenario, point: &Point, mode: Mode) -> Result<World, String> {
    let world = scenario.world();
    if mode == Mode::KillAgent {
        // It may be further than the point when its supervisor is there.
        std::fs::write(world.home("01").join(STAYS), "").unwrap();
    }
    let how = match mode {
        Mode::Kill => "kill",
        Mode::Error => "error",
        _ => "hang",
    };
    let place = marker(&world).display().to_string();
    let strike = format!("{how}|{}|{}|{}|{place}", point.role, point.name, point.nth);
    let mut first = scenario.start(&world, &[("CLAUDE_WORKERS_FAILPOINT", strike)]);
    if how == "hang" {
        wait(&world, "it hangs", || hangs(&world).exists())?;
        match mode {
            Mode::KillAll => kill_all(&world),
            Mode::KillAgent => kill_agent(&world)?,
            _ => {
                world.cron(&["assign"]);
                world.cron(&["dispatch", "-r", APP, "-i", "1"]);
            }
        }
        std::fs::remove_file(hangs(&world)).unwrap();
    }
    wait(&world, "the first command ends", || first.has_ended())?;
    quiet(&world)?;
    if !marker(&world).exists() {
        return Err("the point was not reached".into());
    }
    for _ in 0..TICKS {
        world.cron(&["assign"]);
        quiet(&world)?;
        if all_idle(&world) {
            // One more must find nothing to do but what is free.
            world.cron(&["assign"]);
            quiet(&world)?;
            return Ok(world);
        }
    }
    Err(format!("after {TICKS} ticks a worker is not idle: {:?}", store::list(&world.root)))
}

/// More are never needed.
const TICKS: u32 = 5;

fn all_idle(world: &World) -> bool {
    store::list(&world.root).unwrap().iter().all(|w| matches!(w.state, State::Idle))
}

fn wait(world: &World, what: &str, mut so: impl FnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > LONG / 3 {
            return Err(format!("it never came that {what}: {:?}", world.processes()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Who does nothing for so long is waiting.
const NAP: Duration = Duration::from_millis(600);

/// Waits until nothing of this world runs. A supervisor that waits for GitHub is killed: it would
/// wait for a minute.
pub fn quiet(world: &World) -> Result<(), String> {
    let mut waits: Option<(u32, Instant)> = None;
    wait(world, "all is quiet", || {
        let workers = store::list(&world.root).unwrap();
        let now = workers.iter().find_map(|worker| {
            let State::Busy(run) = &worker.state else { return None };
            let pid = run.pid.filter(|_| run.phase == Phase::Publishing && !run.unsaid.is_empty());
            pid.filter(|pid| children_of(*pid).is_empty())
        });
        waits = match (now, waits) {
            (Some(pid), Some((same, since))) if pid == same => Some((pid, since)),
            (now, _) => now.map(|pid| (pid, Instant::now())),
        };
        if let Some((pid, since)) = waits
            && since.elapsed() > NAP
        {
            let _ = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
        }
        // The processes are many to look at.
        let busy = |w: &store::Worker| matches!(w.state, State::Busy(_) | State::Starting);
        !workers.iter().any(busy) && world.processes().is_empty()
    })
}

/// Again and again, because some are just being born.
fn kill_all(world: &World) {
    loop {
        let all = world.processes();
        if all.is_empty() {
            return;
        }
        for (pid, _) in all {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn kill_agent(world: &World) -> Result<(), String> {
    let file = world.home("01").join("agent.pid");
    let pid = || std::fs::read_to_string(&file).ok()?.trim().parse::<i32>().ok();
    wait(world, "the agent runs", || pid().is_some())?;
    kill(Pid::from_raw(pid().unwrap()), Signal::SIGKILL).map_err(|e| e.to_string())
}
