//! `rm`: the home goes, the history stays.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use claude_workers::domain::Outcome;
use claude_workers::process::command;
use claude_workers::store;
use nix::sys::stat::Mode;

use crate::lifecycle::furnished;
use crate::world::{APP, Config, Said, World, files};

/// The program as a command of the standard library.
fn program(world: &World, args: &[&str]) -> Command {
    let mut program = command(env!("CARGO_BIN_EXE_claude-workers"));
    program.env("HOME", world.user_home()).args(args);
    program
}

/// Runs `rm 01` on a terminal, and answers.
fn on_a_terminal(world: &World, answer: &str) -> String {
    let line = format!("{} rm 01", env!("CARGO_BIN_EXE_claude-workers"));
    let mut script = assert_cmd::Command::new("script");
    script.env_clear().env("HOME", world.user_home()).env("SHELL", "/bin/sh");
    script.args(["-qec", &line, "/dev/null"]).write_stdin(format!("{answer}\n"));
    String::from_utf8_lossy(&script.output().unwrap().stdout).into_owned()
}

#[test]
fn a_retired_worker_is_gone_and_its_history_is_not() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    world.agent("echo words; commit a b; exit 1");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    let said = world.cron(&["rm", "01", "-y"]).ok().says("with 1 clone");
    assert!(
        said.err.contains("left") && said.err.contains("`claude-workers reset 01` first"),
        "{said:?}"
    );
    assert!(!world.home("01").exists());
    let said = world.cron(&["status"]).ok();
    assert!(!said.out.contains("01") && said.out.contains("02"), "{said:?}");
    world.cron(&["history"]).ok().says("octo/app#1");
    world.cron(&["history", "01"]).ok().says("failed");
    world.cron(&["rm", "01", "-y"]).exits(3).says("no worker 01");

    // Also when somebody has taken one of the labels off: nobody forgets that it was tried.
    world.hub.unlabel(APP, 1, "worker:01", "octo").unwrap();
    world.tick().says("nothing to do");
    assert_eq!(world.runs().len(), 1);

    // The same id again: a home of its own, and the old one's labels can be cleared with it.
    world.init(&["01"]);
    world.cron(&["status", "01"]).ok().says("idle");
    world.cron(&["logs", "01", "--path"]).ok().says("/.retired/01.1/completed/");
    world.cron(&["reset", "01"]).ok().says("octo/app#1 is cleared");
    assert_eq!(world.labels(1), [""; 0]);
    world.agent("commit a b");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded]);
    world.cron(&["rm", "01", "02", "-y", "--json"]).ok().says("/.retired/01.2");
    assert_eq!(world.runs().len(), 2);
    world.cron(&["status"]).ok();
    assert!(store::ids(&world.root).unwrap().is_empty());
}

#[test]
fn a_person_is_asked_on_a_terminal_and_nobody_is_waited_for_elsewhere() {
    let world = furnished();
    for answer in ["n", "", "what?"] {
        let said = on_a_terminal(&world, answer);
        assert!(
            said.contains("Delete it? [y/N]") && said.contains("nothing was removed"),
            "{said}"
        );
        assert!(world.home("01").exists());
    }
    // Standard input is open, and nothing ever comes.
    let mut open = program(&world, &["rm", "01"]);
    let open = open.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut open = open.spawn().unwrap();
    let stdin = open.stdin.take();
    Said::of(&open.wait_with_output().unwrap()).exits(2).says("say -y");
    drop(stdin);
    assert!(world.home("01").exists());
    let said = on_a_terminal(&world, "y");
    assert!(said.contains("worker 01 is removed"), "{said}");
    assert!(!world.home("01").exists());
}

#[test]
fn a_worker_that_is_not_idle_is_refused_with_the_way_out() {
    let world = World::with(&Config::default(), &["Ab", "02"]);
    world.cron(&["rm", "ab", "-y"]).exits(3).says("did you mean Ab?");
    world.issue("One");
    world.agent("mark start; sleep 1000");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "Ab"]).ok();
    world.wait_until("the agent works", || world.marks() == ["start"]);
    // None goes if one cannot.
    world.cron(&["rm", "02", "Ab", "-y"]).exits(3).says("claude-workers stop Ab");
    assert!(world.home("02").exists());
    world.cron(&["stop", "Ab"]).ok();
    world.cron(&["rm", "Ab", "-y"]).exits(3).says("claude-workers reset Ab");
    fs::write(world.task("Ab"), "{").unwrap();
    world.cron(&["rm", "Ab", "-y"]).exits(1).says("broken");
    assert!(world.home("Ab").exists());
    fs::remove_file(world.task("Ab")).unwrap();
    world.cron(&["rm", "Ab", "-y"]).ok();
    // Another spelling is free now.
    world.cron(&["init", "aB"]).ok();
    world.cron(&["rm", "aB", "-y"]).ok().says("/.retired/aB.1");
    assert!(world.root.retired().join("Ab.1").exists());
}

/// A tree as only an agent would make it.
fn litter(home: &Path, outside: &Path) {
    // Deeper than a path can say: made from the inside out.
    let (deep, outer) = (home.join("deep"), home.join("outer"));
    fs::create_dir(&deep).unwrap();
    for _ in 0..60 {
        fs::create_dir(&outer).unwrap();
        fs::write(outer.join("file"), "x").unwrap();
        fs::rename(&deep, outer.join("d".repeat(200))).unwrap();
        fs::rename(&outer, &deep).unwrap();
    }
    symlink(outside, home.join("way-out")).unwrap();
    nix::unistd::mkfifo(&home.join("pipe"), Mode::S_IRWXU).unwrap();
    fs::create_dir_all(home.join("go/pkg/mod/.1")).unwrap();
    fs::write(home.join("go/pkg/mod/file"), "").unwrap();
    for dir in ["go/pkg/mod", "go/pkg", "go"] {
        fs::set_permissions(home.join(dir), Permissions::from_mode(0o555)).unwrap();
    }
    fs::create_dir(home.join("shut")).unwrap();
    fs::set_permissions(home.join("shut"), Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn whatever_is_in_a_home_goes_and_nothing_outside() {
    let world = furnished();
    let outside = world.dir.join("outside");
    fs::create_dir_all(outside.join("dear")).unwrap();
    fs::write(outside.join("dear/file"), "kept").unwrap();
    litter(&world.home("01"), &outside);
    assert!(world.root.record(&"01".parse().unwrap()).values().exists());
    world.cron(&["rm", "01", "-y"]).ok();
    assert!(!world.root.retired().join("01.1/home").exists());
    assert_eq!(files(&outside).len(), 1);
    // Nor do the tokens stay behind in the record.
    let kept = files(&world.root.retired());
    let token = crate::world::TOKEN.as_bytes();
    assert!(!kept.iter().any(|(_, text)| text.windows(token.len()).any(|w| w == token)));
}

#[test]
fn what_was_interrupted_is_seen_and_finished() {
    // After the first step: the home is in the record.
    let world = furnished();
    let record = world.root.record(&"01".parse().unwrap());
    fs::rename(world.home("01"), record.old_home()).unwrap();
    world.cron(&["status"]).ok().says("`claude-workers rm 01` finishes it");
    world.cron(&["init", "01"]).exits(1).says("claude-workers rm 01");
    world.cron(&["rm", "01", "-y"]).ok();
    assert!(store::ids(&world.root).unwrap().is_empty());
    assert!(!world.root.retired().join("01.1/home").exists());

    // After the second: the record is retired, and the home not deleted.
    fs::create_dir_all(world.root.retired().join("01.1/home/half")).unwrap();
    world.init(&["01"]);
    world.cron(&["rm", "01", "-y"]).ok();
    assert!(!world.root.retired().join("01.1/home").exists());
    fs::create_dir_all(world.root.retired().join("01.2/home/half")).unwrap();
    world.cron(&["rm", "01", "-y"]).ok().says("01.2");
    assert!(!world.root.retired().join("01.2/home").exists());
    world.cron(&["rm", "01", "-y"]).exits(3);
}

#[test]
fn a_removal_that_is_killed_anywhere_is_finished_by_the_next() {
    let world = furnished();
    for round in 0..12 {
        let home = world.home("01");
        for n in 0..300 {
            let dir = home.join(format!("litter/{}/{n}", n % 20));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("file"), "x").unwrap();
        }
        let mut rm = program(&world, &["rm", "01", "-y"]);
        let rm = rm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rm = rm.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 5));
        rm.kill().unwrap();
        rm.wait().unwrap();
        world.cron(&["status"]).ok();
        // Done already, or done now.
        let code = world.cron(&["rm", "01", "-y"]).code;
        assert!(code == 0 || code == 3, "{code} in round {round}");
        assert!(store::ids(&world.root).unwrap().is_empty() && !home.exists());
        for retired in fs::read_dir(world.root.retired()).unwrap().flatten() {
            assert!(!retired.path().join("home").exists() && retired.path().join("lock").exists());
        }
        world.init(&["01"]);
    }
}
