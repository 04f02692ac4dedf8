//! Clocks that jump, machines that were started anew, PIDs that come round again, and a supervisor
//! that stands still.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use claude_workers::domain::{Outcome, Run};
use claude_workers::process::start_time;
use claude_workers::store::{self, State, WorkerLock};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::world::{APP, Config, Said, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_claude-workers");

/// An agent that works until it is told to go on.
const WAITS: &str = "commit a b; mark up; until [ -e $HOME/go ]; do sleep 0.05; done; echo over";

fn go(world: &World) {
    fs::write(world.home("01").join("go"), "").unwrap();
}

fn task(world: &World) -> Run {
    store::read_task(&world.root, &"01".parse().unwrap()).unwrap().unwrap()
}

fn supervisor(world: &World) -> Pid {
    Pid::from_raw(i32::try_from(task(world).pid.unwrap()).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "it is started from outside")]
fn start(program: &str, args: &[&str]) -> Child {
    let mut child = Command::new(program);
    child.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child.spawn().unwrap()
}

fn is_alive(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

/// Runs a shell script in namespaces of its own. `None`, and a word why, where there are none: it
/// takes root.
#[expect(clippy::disallowed_methods, reason = "it is started from outside")]
fn apart(world: &World, namespaces: &[&str], script: &str) -> Option<Said> {
    let allowed = Command::new("unshare").args(namespaces).arg("true").output();
    if !allowed.is_ok_and(|out| out.status.success()) {
        println!("skipped: no namespaces of one's own without root: {namespaces:?}");
        return None;
    }
    let mut shell = Command::new("unshare");
    shell.args(namespaces).args(["sh", "-euc", script]);
    shell.env_clear().env("HOME", world.user_home()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    shell.env("PROGRAM", PROGRAM).env("DIR", &world.dir).env("TASK", world.task("01"));
    Some(Said::of(&shell.stdin(Stdio::null()).output().unwrap()))
}

/// In a PID namespace the next PID can be chosen: the supervisor's comes round again at once.
#[test]
fn a_pid_that_came_round_again_is_never_signalled() {
    let world = World::new();
    world.issue("One");
    world.agent("mark up; sleep 1000");
    let file = |name: &str| world.dir.join(name);
    let script = r#"
        wait_for() { until [ -e "$DIR/$1" ]; do sleep 0.02; done; }
        "$PROGRAM" assign
        wait_for at-work
        pid=$(sed -n 's/.*"pid": \([0-9]*\),.*/\1/p' "$TASK")
        kill -KILL $pid
        while [ -d /proc/$pid ]; do sleep 0.02; done
        # As long as one of its session is not gone, its number is not free either.
        stranger=
        until [ "$stranger" = $pid ]; do
            [ -z "$stranger" ] || kill -KILL $stranger
            sleep 0.02
            echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
            sleep 1000 & stranger=$!
        done
        echo >"$DIR/reused"
        wait_for held
        ! "$PROGRAM" stop 01
        ! "$PROGRAM" reset 01 --force
        "$PROGRAM" status
        "$PROGRAM" assign
        kill -0 $stranger
        echo >"$DIR/refused"
        wait_for free
        "$PROGRAM" status
        "$PROGRAM" stop 01
        kill -0 $stranger
        "$PROGRAM" reset 01
        kill -0 $stranger
        echo the stranger lives"#;
    std::thread::scope(|scope| {
        let there = scope
            .spawn(|| apart(&world, &["--pid", "--fork", "--mount-proc", "--kill-child"], script));
        let came = |name: &'static str| {
            world.wait_until(name, || file(name).exists() || there.is_finished());
        };
        world.wait_until("the agent is at work", || {
            !world.marks().is_empty() || there.is_finished()
        });
        fs::write(file("at-work"), "").unwrap();
        came("reused");
        // What a part of the run does that has outlived its supervisor.
        let held = WorkerLock::try_take(&world.root, &"01".parse().unwrap());
        fs::write(file("held"), "").unwrap();
        came("refused");
        drop(held);
        fs::write(file("free"), "").unwrap();
        let Some(said) = there.join().unwrap() else { return };
        let said = said.ok().says("the stranger lives").says("01  crashed");
        assert_eq!(
            said.err.matches("its PID belongs to another process now").count(),
            2,
            "{said:?}"
        );
        assert_eq!(world.outcomes(), [Outcome::Stopped]);
        assert!(world.labels(1).is_empty());
    });
}

#[test]
fn after_a_reboot_nobody_is_signalled_and_the_run_is_taken_up() {
    let world = World::at_work(WAITS, &Config::default());
    world.kill_supervisor("01");
    // A stranger has the very PID and start time that a supervisor of the other boot had.
    let mut stranger = start("sleep", &["1000"]);
    let mut run = task(&world);
    (run.pid, run.pid_start) = (Some(stranger.id()), start_time(stranger.id()));
    fs::write(world.task("01"), serde_json::to_vec(&run).unwrap()).unwrap();
    let held = WorkerLock::try_take(&world.root, &"01".parse().unwrap()).unwrap();
    let other = "echo 11111111-2222-4333-8444-555555555555 >\"$DIR/boot\"
        mount --bind \"$DIR/boot\" /proc/sys/kernel/random/boot_id";
    let Some(said) = apart(&world, &["--mount"], &format!("{other}\n\"$PROGRAM\" stop 01")) else {
        let _ = stranger.kill();
        let _ = stranger.wait();
        return;
    };
    said.exits(1).says("its PID belongs to another process now");
    drop(held);
    assert!(is_alive(&mut stranger));
    go(&world);
    let status = format!("{other}\n\"$PROGRAM\" status");
    apart(&world, &["--mount"], &status).unwrap().ok().says("01  crashed");
    // No jail can be made there, so the record is the one of another boot.
    run.boot_id = Some("11111111-2222-4333-8444-555555555555".into());
    fs::write(world.task("01"), serde_json::to_vec(&run).unwrap()).unwrap();
    world.cron(&["assign"]).ok().says("worker 01 carries on with octo/app#1");
    world.quiet();
    assert!(is_alive(&mut stranger));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!((world.outcomes(), world.last_run().attempt), (vec![Outcome::Succeeded], 2));
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn a_supervisor_that_stood_still_judges_fairly_and_does_nothing_twice() {
    let talks = "commit a b; mark up; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 \
                 22 23 24 25; do echo $i; sleep 0.1; done; mark late; until [ -e $HOME/go ]; do echo x; \
                 sleep 0.1; done";
    let world = World::at_work(talks, &Config { limits: "silence = '2s'", ..Config::default() });
    let pid = supervisor(&world);
    nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
    world.cron(&["status"]).ok().says("01  busy");
    world.cron(&["assign"]).ok();
    world.cron(&["reset", "01"]).exits(3).says("is busy");
    world.wait_until("the agent has talked for long", || world.marks().len() == 2);
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    go(&world);
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded], "{:?}", world.last_run().ended);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
    assert!(fs::read_to_string(log(&world)).unwrap().contains("\n25\n"));
}

fn log(world: &World) -> PathBuf {
    let run = world.last_run();
    let archive = world.root.record(&run.worker).completed();
    archive.join(format!("{}.log", run.archive_stem()))
}

#[test]
fn the_time_that_a_supervisor_stood_still_is_the_agents() {
    let world = World::at_work(
        "mark up; i=0; while :; do i=$((i + 1)); echo $i; [ $i != 40 ] || mark late; sleep 0.1; done",
        &Config { limits: "wall_clock = '3s'", ..Config::default() },
    );
    let pid = supervisor(&world);
    nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
    world.wait_until("its time is over", || world.marks().len() == 2);
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::TimedOut]);
}

#[test]
fn a_supervisor_that_stands_still_can_be_stopped() {
    for mode in ["", "mode = 'none'"] {
        let world =
            World::at_work("mark up; sleep 1000", &Config { sandbox: mode, ..Config::default() });
        nix::sys::signal::kill(supervisor(&world), Signal::SIGSTOP).unwrap();
        world.cron(&["stop", "01"]).ok();
        assert!(world.processes().is_empty(), "{:?}", world.processes());
        assert_eq!(task(&world).outcome(), Some(Outcome::Stopped));
    }
}

/// Debian's library that tells programs another time.
fn faketime() -> Option<PathBuf> {
    let dirs = fs::read_dir("/usr/lib").unwrap().flatten().map(|dir| dir.path());
    let mut all = dirs.map(|dir| dir.join("faketime/libfaketime.so.1"));
    let found = all.find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no libfaketime; tests/setup installs it");
    }
    found
}

/// The program by a clock that is as wrong as the file `clock` says: only that clock, and not those
/// that nobody sets.
fn by_clock(world: &World, library: &Path, args: &[&str]) -> Said {
    let mut program = world.program();
    program.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", world.dir.join("clock"));
    program.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    program.env("NO_FAKE_STAT", "1").args(args);
    Said::of(&program.output().unwrap())
}

#[test]
fn a_clock_that_jumps_a_year_ends_nothing_removes_nothing_and_lets_nobody_wait() {
    let Some(library) = faketime() else { return };
    for (then, back) in [("+365d", "+0"), ("-365d", "+0"), ("+0", "+365d"), ("+0", "-365d")] {
        let about = format!("{then} {back}");
        let world = World::with(&Config::default(), &["01", "02"]);
        let clock = |text: &str| fs::write(world.dir.join("clock"), text).unwrap();
        let run = |args: &[&str]| by_clock(&world, &library, args);
        clock("+0");
        // One that is over, and one that waits for a person.
        world.issue("Over");
        run(&["assign"]).ok();
        world.quiet();
        let one = world.issue("One");
        world.agent(WAITS);
        clock(then);
        run(&["assign"]).ok().says(&format!("octo/app#{one}"));
        world.wait_until("the agent is at work", || !world.marks().is_empty());
        clock(back);
        let status = run(&["status", "--json"]).ok();
        let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
        let elapsed = status["workers"][0]["elapsedSecs"].as_i64();
        let elapsed = elapsed.or(status["workers"][0]["task"]["elapsedSecs"].as_i64());
        assert!((0..600).contains(&elapsed.unwrap()), "{about}: {status}");
        run(&["assign"]).ok();
        go(&world);
        world.quiet();
        let last = world.runs().into_iter().find(|run| run.issue.unwrap().get() == one).unwrap();
        assert_eq!(last.outcome(), Some(Outcome::Succeeded), "{about}: {:?}", last.ended);
        assert!((0..10).contains(&last.minutes().unwrap()), "{about}: {last:?}");
        let took = run(&["history", "--json"]).ok().out;
        assert!(!took.contains("\"minutes\": 52"), "{about}: {took}");

        // A failure, cleared by a person, and what is old by the wrong clock.
        clock(then);
        let three = world.issue("Three");
        let named = format!("octo/app#{three}");
        world.agent("exit 1");
        run(&["assign"]).ok().says(&named);
        world.quiet();
        clock(back);
        let said = run(&["gc"]).ok();
        for worker in ["01", "02"] {
            let archive = world.root.record(&worker.parse().unwrap()).completed();
            let logs = fs::read_dir(archive).into_iter().flatten().flatten();
            let mut logs = logs.filter(|e| e.path().extension().is_some_and(|e| e == "log"));
            assert!(logs.all(|e| e.metadata().unwrap().len() > 0), "{about}: {said:?}");
        }
        assert!(world.root.clone_of(&"01".parse().unwrap(), &APP.parse().unwrap()).exists());
        for label in world.labels(three) {
            world.hub.unlabel(APP, three, &label, "octo").unwrap();
        }
        world.agent("commit c d");
        run(&["assign"]).ok().says(&named);
        world.quiet();
        assert_eq!(world.runs_of(three).len(), 2, "{about}");
        assert_eq!(world.pulls().len(), 3, "{about}");
        let idle = store::list(&world.root).unwrap();
        assert!(idle.iter().all(|w| matches!(w.state, State::Idle)), "{about}");
    }
}

#[test]
fn an_issue_is_free_when_a_person_took_the_labels_off_though_the_hosts_clock_is_ahead() {
    let Some(library) = faketime() else { return };
    let world = World::new();
    fs::write(world.dir.join("clock"), "+1h").unwrap();
    world.issue("One");
    world.agent("exit 1");
    by_clock(&world, &library, &["assign"]).ok();
    world.quiet();
    let run = world.last_run();
    let ended = run.ended_at.unwrap();
    assert!(ended > jiff::Timestamp::now() + jiff::SignedDuration::from_mins(50), "{ended}");
    assert!(run.labelled_at.is_some_and(|at| at < ended), "{run:?}");
    for label in world.labels(1) {
        world.hub.unlabel(APP, 1, &label, "octo").unwrap();
    }
    world.agent("commit c d");
    by_clock(&world, &library, &["assign"]).ok().says("octo/app#1");
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded]);
}
