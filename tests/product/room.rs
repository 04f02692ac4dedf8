//! Disks that are full, read-only, or not the same one.

use std::fs;
use std::path::Path;
use std::process::Command;

use claude_workers::domain::{Outcome, Phase};
use claude_workers::fakehub::{Exchange, Fault, NewRepo};
use claude_workers::store;

use crate::mounts::Mount;
use crate::world::{APP, Config, World, app};

/// A world whose root is a disk of 160 MiB with an idle worker; 64 must be free for a run.
fn small() -> Option<(World, Mount)> {
    let (world, disk) = on("size=160m", &floor("64MiB"), &app())?;
    world.init(&["01"]);
    world.issue("One");
    Some((world, disk))
}

fn floor(size: &str) -> Config {
    let limits = format!("free_space = '{size}'");
    Config { limits: limits.leak(), ..Config::default() }
}

/// A world without workers whose root is a disk of its own.
fn on(options: &str, config: &Config, repo: &NewRepo) -> Option<(World, Mount)> {
    let world = World::bare(config);
    world.hub.add_repo(repo).unwrap();
    fs::create_dir_all(world.root.path()).unwrap();
    let disk = Mount::with(world.root.path(), options)?;
    Some((world, disk))
}

/// Whether one of the processes of a world has these words in its command line.
fn runs(world: &World, words: &str) -> bool {
    world.processes().iter().any(|(_, line)| line.contains(words))
}

#[track_caller]
fn all_is_done(world: &World) {
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded], "{:?}", world.last_run().ended);
    assert_eq!((world.last_run().attempt, world.last_run().losses), (1, 0));
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
    // What can be made again was lost at most.
    world.cron(&["assign"]).ok();
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn on_a_full_disk_nothing_is_begun() {
    let Some((world, disk)) = small() else { return };
    let filled = disk.fill();
    world.hub.clear_exchanges();
    let said = world.cron(&["assign"]).exits(1).says("make room: `claude-workers gc`");
    let said = said.says(&format!(
        "there is no room for any run at {}: 0 MiB are free, and 64 MiB are needed",
        world.root.path().display()
    ));
    assert_eq!(said.err.matches("no room").count(), 1, "{said:?}");
    world.cron(&["dispatch", "-r", APP, "-i", "1"]).exits(1).says("no room for a run in octo/app");
    assert!(world.asked_lines().is_empty(), "{:?}", world.asked_lines());
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
    world.cron(&["doctor"]).exits(1).says("no run starts with less than 64.0 MiB");
    for looks in [&["status"][..], &["history"], &["doctor"], &["gc", "--dry-run"]] {
        let said = world.cron(looks);
        assert!((0..=1).contains(&said.code), "{said:?}");
    }
    fs::remove_file(filled).unwrap();
    world.tick();
    all_is_done(&world);
}

/// The repository is told to be of 20 MiB, so that a mirror and a clone of it need 60, and a further
/// clone 40.
#[test]
fn a_run_is_admitted_by_what_it_will_take() {
    let config = Config { top: "repos = ['octo/*']", ..floor("64MiB") };
    let Some((world, disk)) = on("size=160m", &config, &app().kib(20 << 10)) else { return };
    world.init(&["01", "02"]);
    world.issue("One");
    world.issue("Two");
    let filled = disk.fill();
    let leave = |mib: u64| {
        let all = 160 << 20;
        fs::File::options().write(true).open(&filled).unwrap().set_len(all - (mib << 20)).unwrap();
    };
    let no_room = "there is no room for a run in octo/app at ";
    leave(120);
    for words in [&["assign", "--dry-run"][..], &["assign"], &["dispatch", "-r", APP, "-i", "1"]] {
        let said = world.cron(words).exits(1).says(no_room).says("124 MiB are needed");
        assert_eq!(said.err.matches("no room").count(), 1, "{said:?}");
        assert!(!said.out.contains("would start"), "{said:?}");
    }
    let changes: Vec<String> = world.hub.exchanges().iter().map(Exchange::line).collect();
    assert!(changes.iter().all(|line| line.starts_with("GET ")), "{changes:?}");
    // For one, and not for the other before the first has taken its part.
    leave(150);
    let said = world.cron(&["assign"]).exits(1).says("worker 01 works on octo/app#1").says(no_room);
    assert!(!said.out.contains("worker 02"), "{said:?}");
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    // What is there now is known by itself, and is small.
    leave(80);
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded; 2]);
}

#[test]
fn a_disk_on_which_few_more_files_fit_has_no_room() {
    let Some((world, _disk)) = on("size=160m,nr_inodes=9000", &floor("1MiB"), &app()) else {
        return;
    };
    world.init(&["01"]);
    world.issue("One");
    world.cron(&["assign"]).exits(1).says("more files can be made, and 10000 may be needed");
    world.cron(&["doctor"]).exits(1).says("more files: no run starts there");
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
}

/// Nobody has told the size of the repository when it is dispatched by hand.
#[test]
fn a_clone_for_which_there_is_no_room_is_not_begun_and_the_issue_is_free_again() {
    let mut random = fs::File::open("/dev/urandom").unwrap();
    let mut bytes = vec![0; 8 << 20];
    std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
    let noise: String = bytes.iter().map(|b| char::from(b' ' + b % 64)).collect();
    let repo = app().file("noise", &noise);
    let Some((world, _disk)) = on("size=40m", &floor("24MiB"), &repo) else { return };
    world.init(&["01"]);
    world.issue("One");
    world.cron(&["dispatch", "-r", APP, "-i", "1"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::NotStarted]);
    let why = world.last_run().ended.unwrap().why;
    assert!(why.contains("there is no room for a run in octo/app"), "{why}");
    assert!(world.labels(1).is_empty() && world.comments(1).is_empty());
    assert!(!world.home("01").join("github/octo/app").exists());
}

#[test]
fn a_disk_that_an_agent_fills_is_waited_for_and_its_work_is_not_lost() {
    let Some((world, _disk)) = small() else { return };
    world.agent("commit a b; dd if=/dev/zero of=$HOME/fill bs=64k 2>/dev/null; echo over");
    world.cron(&["assign"]).ok();
    // What it asks of the network cannot be written down any more, and so does not go out.
    let filled = || world.home("01").join("fill").exists() && !runs(&world, "agent.sh");
    world.wait_until("the agent is over", filled);
    let task = store::read_task(&world.root, &"01".parse().unwrap()).unwrap().unwrap();
    assert_eq!(task.phase, Phase::Running, "there was room to write something else down");
    world.cron(&["status"]).ok().says("01  busy");
    world.cron(&["assign"]).ok();
    fs::remove_file(world.home("01").join("fill")).unwrap();
    all_is_done(&world);
}

#[test]
fn a_disk_that_is_full_when_the_work_is_looked_at_is_waited_for() {
    let Some((world, disk)) = small() else { return };
    // The record finds room, the commits do not.
    world.agent(
        "head -c 3000000 /dev/urandom >big && commit a b && mark up && \
         until [ -e $HOME/go ]; do sleep 0.05; done; echo over",
    );
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    let filled = disk.fill();
    let all = fs::metadata(&filled).unwrap().len();
    fs::File::options().write(true).open(&filled).unwrap().set_len(all - (64 << 10)).unwrap();
    fs::write(world.home("01").join("go"), "").unwrap();
    world.wait_until("the agent is over", || !runs(&world, "agent.sh"));
    world.wait_until("its work is looked at", || {
        let task = store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
        task.is_none_or(|task| task.phase == Phase::Verifying)
    });
    fs::remove_file(filled).unwrap();
    all_is_done(&world);
}

#[test]
fn a_disk_that_is_full_when_all_is_to_be_said_is_waited_for() {
    let Some((world, disk)) = small() else { return };
    world.agent("commit a b");
    world.hub.inject(Fault::answer("POST", "/repos/octo/app/pulls", 502));
    world.cron(&["assign"]).ok();
    world.wait_until("it is said that it waits", || {
        let task = store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
        task.is_some_and(|task| !task.unsaid.is_empty())
    });
    let filled = disk.fill();
    world.wait_until("it is tried again", || runs(&world, " step "));
    fs::remove_file(filled).unwrap();
    all_is_done(&world);
}

#[test]
fn on_a_disk_that_is_read_only_every_command_says_so_and_changes_nothing() {
    let Some((world, disk)) = small() else { return };
    disk.read_only(true);
    for words in [&["assign"][..], &["dispatch", "-r", APP, "-i", "1"], &["init", "02"]] {
        world
            .cron(words)
            .exits(1)
            .says("Read-only file system")
            .says(world.root.path().to_str().unwrap());
    }
    world.cron(&["status"]);
    assert!(world.labels(1).is_empty());
    disk.read_only(false);
    world.tick();
    all_is_done(&world);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a person does it")]
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(done.success());
}

/// A home that has no room is passed over; beside the records there must be some for anybody.
#[test]
fn every_disk_that_a_run_writes_to_must_have_room() {
    for which in ["01", ".pool"] {
        let world = World::with(&floor("64MiB"), &["01", "02"]);
        world.issue("One");
        let place = world.root.path().join(which);
        let before = world.dir.join("before");
        copy(&place, &before);
        let Some(_disk) = Mount::new(&place, 32) else { return };
        copy(&before, &place);
        let said = world.cron(&["assign"]).exits(1).says("64 MiB are needed");
        let said = said.says(&format!("there is no room for any run at {}: ", place.display()));
        assert_eq!(said.err.matches("no room").count(), 1, "{said:?}");
        let hand = ["dispatch", "-r", APP, "-p", "x", "-w", "01"];
        world.cron(&hand).exits(1).says("no room for a run in octo/app");
        world.cron(&["doctor"]).exits(1).says(&format!("MiB free at {}: no run", place.display()));
        world.quiet();
        assert_eq!(world.runs().len(), usize::from(which == "01"));
    }
}

/// A home, or all the records, on a disk of their own, as a person mounts one there.
#[test]
fn homes_and_records_may_be_on_different_disks() {
    for which in ["01", ".pool"] {
        let world = World::bare(&floor("64MiB"));
        world.hub.add_repo(&app()).unwrap();
        let place = world.root.path().join(which);
        if which == "01" {
            world.init(&["01"]);
            let before = world.dir.join("before");
            fs::rename(&place, &before).unwrap();
            fs::create_dir(&place).unwrap();
        } else {
            fs::create_dir_all(&place).unwrap();
        }
        let Some(disk) = Mount::new(&place, 160) else { return };
        if which == "01" {
            copy(&world.dir.join("before"), &place);
        } else {
            world.init(&["01"]);
        }
        world.issue("One");
        // What it leaves uncommitted becomes a patch beside the record.
        world.agent("commit a b; echo draft >draft.txt");
        world.tick();
        all_is_done(&world);
        fs::create_dir_all(world.user_home().join(".config/claude-workers/templates/worker"))
            .unwrap();
        let template = world.user_home().join(".config/claude-workers/templates/worker/hello");
        fs::write(template, "new").unwrap();
        world.cron(&["refresh", "01"]).ok();
        assert_eq!(fs::read_to_string(world.home("01").join("hello")).unwrap(), "new");
        world.issue("Two");
        world.agent("commit c d");
        world.tick();
        assert_eq!(world.outcomes(), [Outcome::Succeeded; 2]);
        let archive = world.root.record(&"01".parse().unwrap()).completed();
        let names = fs::read_dir(archive).unwrap().flatten().map(|e| e.path());
        assert_eq!(names.filter(|p| p.extension().is_some_and(|e| e == "patch")).count(), 1);
        if which == "01" {
            world.cron(&["rm", "01", "-y"]).exits(1).says("unmount it first");
            assert!(world.home("01").join("hello").exists());
            drop(disk);
        } else {
            world.cron(&["rm", "01", "-y"]).ok();
            let left = fs::read_dir(world.root.path()).unwrap().flatten();
            assert_eq!(left.map(|e| e.file_name()).collect::<Vec<_>>(), [".pool"]);
            assert_eq!(world.runs().len(), 2);
        }
    }
}
