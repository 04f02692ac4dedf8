//! Disks that are full, read-only, or not the same one.

use std::fs;
use std::path::Path;
use std::process::Command;

use claude_workers::domain::{Outcome, Phase};
use claude_workers::fakehub::Fault;
use claude_workers::store;

use crate::mounts::Mount;
use crate::world::{APP, Config, World, app};

/// A world whose root is a disk of 160 MiB with an idle worker.
fn small() -> Option<(World, Mount)> {
    let world = World::bare(&Config::default());
    world.hub.add_repo(&app()).unwrap();
    fs::create_dir_all(world.root.path()).unwrap();
    let disk = Mount::new(world.root.path(), 160)?;
    world.init(&["01"]);
    world.issue("One");
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
    world.cron(&["assign"]).exits(1).says("is full: 0 MiB are free").says("make room");
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
    for looks in [&["status"][..], &["history"], &["doctor"], &["gc", "--dry-run"]] {
        let said = world.cron(looks);
        assert!((0..=1).contains(&said.code), "{said:?}");
    }
    fs::remove_file(filled).unwrap();
    world.tick();
    all_is_done(&world);
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
    #[expect(clippy::disallowed_methods, reason = "a person does it")]
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(done.success());
}

/// A home, or all the records, on a disk of their own, as a person mounts one there.
#[test]
fn homes_and_records_may_be_on_different_disks() {
    for which in ["01", ".pool"] {
        let world = World::bare(&Config::default());
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
