//! Waits that would never end: git in a clone that an agent has made a trap of, a supervisor that
//! stands still before it is ready, an agent that does not go, processes that do not die.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::process::Stdio;

use claude_workers::domain::{Outcome, Phase, Run};
use claude_workers::process::{children_of, command};
use claude_workers::store::{self, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{APP, Config, Said, WORKS, World};

/// The program with less patience.
fn hasty(world: &World, patience: &str, args: &[&str]) -> Said {
    let mut program = world.program();
    Said::of(&program.env("CLAUDE_WORKERS_PATIENCE", patience).args(args).output().unwrap())
}

fn state(world: &World) -> State {
    store::worker(&world.root, "01".parse().unwrap()).state
}

fn task(world: &World) -> Run {
    store::read_task(&world.root, &"01".parse().unwrap()).unwrap().expect("there is a task")
}

fn is_verifying(world: &World) -> bool {
    matches!(state(world), State::Busy(run) if run.phase == Phase::Verifying)
}

/// Whether a process with these words on its command line is there, in whatever jail.
fn is_running(words: &str) -> bool {
    let line = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let has = |line: Vec<u8>| String::from_utf8_lossy(&line).replace('\0', " ").contains(words);
    fs::read_dir("/proc").unwrap().flatten().map(line).any(has)
}

/// What every git waits for that reads objects.
const TRAP: &str = "cd .git/objects/info && mv alternates kept && mkfifo alternates";

#[test]
fn a_pipe_in_the_place_of_what_git_reads_costs_no_work_and_no_time() {
    for sandbox in ["", "mode = 'none'"] {
        let world = World::with(&Config { sandbox, ..Config::default() }, &["01"]);
        let pipes = [".gitignore", ".gitattributes", ".git/info/exclude", ".git/info/attributes"];
        for pipe in pipes {
            world.agent(&format!(
                "commit work-$issue.txt done; mkdir -p .git/info; rm -f {pipe}; mkfifo {pipe}"
            ));
            world.issue("One");
            world.tick();
            assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded), "{pipe} {sandbox}");
        }
        // One that is found in the way only when the next run begins.
        for pipe in [".gitignore", ".git/config"] {
            let pipe =
                world.root.clone_of(&"01".parse().unwrap(), &APP.parse().unwrap()).join(pipe);
            let _ = fs::remove_file(&pipe);
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
            world.agent(WORKS);
            world.issue("One");
            world.tick();
            assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded), "{pipe:?} {sandbox}");
            assert!(!fs::metadata(&pipe).is_ok_and(|meta| meta.file_type().is_fifo()));
        }
        assert_eq!(world.pulls().len(), 6);
    }
}

#[test]
fn a_clone_that_makes_git_wait_for_ever_is_left_after_a_time_and_the_next_run_has_another() {
    let filter = "git config filter.slow.clean 'sleep 1000.75'; commit work-$issue.txt done
        echo '* filter=slow' >.gitattributes; echo changed >>README.md";
    let trap = format!("commit work-$issue.txt done; {TRAP}");
    let next_run_has_another = |sandbox, agent: &str, outcome| {
        let world = World::with(&Config { sandbox, ..Config::default() }, &["01"]);
        world.agent(agent);
        world.issue("One");
        hasty(&world, "jail=8", &["assign"]).ok();
        world.quiet();
        let ended = world.last_run().ended.unwrap();
        assert_eq!(ended.outcome, outcome, "{agent}: {ended:?}");
        let why =
            if outcome == Outcome::Failed { "took longer than 8 seconds" } else { "1 commit" };
        assert!(ended.why.contains(why), "{ended:?}");
        world.agent(WORKS);
        world.issue("Two");
        hasty(&world, "jail=8", &["assign"]).ok();
        world.quiet();
        assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded), "{:?}", world.last_run());
    };
    // Most of it is waiting.
    std::thread::scope(|scope| {
        scope.spawn(|| next_run_has_another("", filter, Outcome::Succeeded));
        scope.spawn(|| next_run_has_another("mode = 'none'", filter, Outcome::Succeeded));
        scope.spawn(|| next_run_has_another("mode = 'none'", &trap, Outcome::Failed));
    });
    assert!(!is_running("sleep 1000.75"));
}

/// A world whose supervisor looks at a clone that makes git wait.
fn with_a_trap(sandbox: &'static str) -> World {
    let world = World::with(&Config { sandbox, ..Config::default() }, &["01"]);
    world.agent(&format!("commit a b; {TRAP}"));
    world.issue("One");
    world.cron(&["assign"]).ok();
    world.wait_until("it is looked at", || is_verifying(&world));
    world
}

#[test]
fn a_person_ends_a_supervisor_that_looks_at_a_clone_for_ever() {
    for sandbox in ["", "mode = 'none'"] {
        let world = with_a_trap(sandbox);
        world.cron(&["stop", "01"]).ok().says("stopped looking at what its agent left");
        assert!(world.processes().is_empty(), "{:?}", world.processes());
        assert_eq!((task(&world).phase, task(&world).ended), (Phase::Verifying, None));
        world.cron(&["assign"]).ok().says("worker 01 carries on");
        world.wait_until("it is looked at again", || is_verifying(&world));
        world.cron(&["reset", "01", "--force"]).ok();
        assert!(world.processes().is_empty(), "{:?}", world.processes());
        assert_eq!(world.outcomes(), [Outcome::Lost]);
        assert!(matches!(state(&world), State::Idle) && world.labels(1).is_empty());
    }
}

#[test]
fn work_is_not_given_up_because_who_looks_at_it_is_killed() {
    for sandbox in ["", "mode = 'none'"] {
        let world = with_a_trap(sandbox);
        // As often as it is tried.
        world.quiet_while(|| {
            let State::Busy(run) = state(&world) else { return };
            for pid in children_of(run.pid.unwrap()) {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&line).contains("jail\0clone") {
                    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
                }
            }
        });
        let run = task(&world);
        assert_eq!((run.phase, run.ended, run.looks), (Phase::Verifying, None, 1), "{sandbox}");
        let clone = world.root.clone_of(&"01".parse().unwrap(), &APP.parse().unwrap());
        let info = clone.join(".git/objects/info");
        fs::rename(info.join("kept"), info.join("alternates")).unwrap();
        world.tick();
        assert_eq!(world.outcomes(), [Outcome::Succeeded], "{sandbox}");
        assert_eq!(world.pulls().len(), 1);
    }
}

#[test]
fn a_supervisor_that_is_never_ready_holds_no_tick_up() {
    let world = World::new();
    world.issue("One");
    let marker = world.dir.join("struck");
    let hangs = world.dir.join("struck.hangs");
    let strike = format!("hang|supervise|before say ready|1|{}", marker.display());
    let mut assign = world.program();
    assign.env("CLAUDE_WORKERS_FAILPOINT", strike).env("CLAUDE_WORKERS_PATIENCE", "ready=1");
    let said = Said::of(&assign.arg("assign").output().unwrap());
    assert!(hangs.exists());
    said.exits(1).says("did not start: it was not ready within 1 seconds");
    assert!(world.processes().is_empty(), "{:?}", world.processes());
    assert!(matches!(state(&world), State::Idle) && world.labels(1).is_empty());
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}

#[test]
fn an_agent_that_hangs_after_its_final_word_has_ended_well() {
    let result = r#"{"type":"result","subtype":"success","is_error":false,"result":"All done."}"#;
    for mode in ["", "mode = 'none'"] {
        let world = World::bare(&Config { sandbox: mode, ..Config::default() });
        world.hub.add_repo(&crate::world::app()).unwrap();
        let agent = world.dir.join("agents/claude");
        let script = format!(
            "#!/bin/sh\ntrap '' TERM\necho b >a; git add a; git commit -qm a\necho '{result}'\n\
             while :; do sleep 1000; done\n"
        );
        fs::write(&agent, script).unwrap();
        let shown: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&agent, shown).unwrap();
        let more = format!("[executors.claude]\npath = '{}'", agent.display());
        let config = Config { sandbox: mode, limits: "grace = '0s'", more, ..Config::default() };
        world.configure(&config);
        world.init(&["01"]);
        world.issue("One");
        let words = ["dispatch", "-r", APP, "-i", "1", "--executor", "claude"];
        hasty(&world, "result=0", &words).ok();
        world.quiet();
        let run = world.last_run();
        assert_eq!(run.outcome(), Some(Outcome::Succeeded), "{run:?}");
        assert_eq!(run.agent.unwrap().limit, None);
        assert_eq!(world.pulls().len(), 1);
    }
}

/// The first process of a PID namespace does not die before all others there are buried; and one whose
/// parent is outside is buried by nobody, if that stands still.
#[test]
fn a_run_ends_though_something_that_its_agent_started_does_not_die() {
    let config = Config { sandbox: "mode = 'none'", ..Config::default() };
    let world = World::with(&config, &["01"]);
    world.agent(
        "setsid unshare --pid --fork sleep 1000.5 >/dev/null 2>&1 & commit a b; mark up
         until [ -e $HOME/go ]; do sleep 0.05; done",
    );
    world.issue("One");
    hasty(&world, "end=1", &["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    let inner = || {
        let all = world.processes();
        let unshare = all.iter().find(|(_, line)| line.starts_with("unshare"))?;
        children_of(u32::try_from(unshare.0).unwrap()).first().copied()
    };
    let go = || fs::write(world.home("01").join("go"), "").unwrap();
    let allowed = command("/usr/bin/unshare").args(["--pid", "--fork", "/usr/bin/true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: no namespaces of one's own without root");
        go();
        return world.quiet();
    }
    world.wait_until("the namespace is there", || inner().is_some());
    let target = inner().unwrap().to_string();
    let mut parent = command("/usr/bin/nsenter");
    parent.args(["-t", &target, "-p", "/usr/bin/sleep", "1000"]).stdin(Stdio::null());
    let mut parent = parent.spawn().unwrap();
    world.wait_until("its child is there", || !children_of(parent.id()).is_empty());
    let pid = Pid::from_raw(i32::try_from(parent.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    go();
    world.wait_until("the run is over", || matches!(state(&world), State::Idle));
    assert!(is_running("sleep 1000") && world.outcomes() == [Outcome::Succeeded]);
    let log = world.root.record(&"01".parse().unwrap()).completed();
    let log = log.join(format!("{}.supervisor.log", world.last_run().archive_stem()));
    assert!(fs::read_to_string(log).unwrap().contains("does not die: pid"));
    kill(pid, Signal::SIGKILL).unwrap();
    parent.wait().unwrap();
    world.quiet();
}
