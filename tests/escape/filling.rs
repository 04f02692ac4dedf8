//! A home that is filled. It is bounded by its disk alone; what becomes of it is the agent's own
//! business, and the record is elsewhere. Small disks of their own bound it here.

use std::fs;

use claude_workers::domain::Outcome;

use crate::mounts::Mount;
use crate::stage::{host, jailed};
use crate::world::{APP, Config, World};

/// What is filled with.
pub const FILLS: &[(&str, &str)] = &[
    ("one-file", "dd if=/dev/zero of=$HOME/fill bs=64k 2>/dev/null"),
    (
        "many-files",
        "mkdir $HOME/many; n=0; while : >$HOME/many/$n; do n=$((n+1)); done 2>/dev/null",
    ),
    ("many-directories", "cd $HOME; while mkdir d 2>/dev/null && cd d; do :; done"),
    (
        "outbox",
        "n=0; while head -c 60000 /dev/zero >$outbox/$n.md; do n=$((n+1)); done 2>/dev/null",
    ),
    (
        "git",
        "while head -c 50000 /dev/urandom | git hash-object -w --stdin; do :; done 2>/dev/null",
    ),
];

#[test]
fn a_home_that_is_filled_costs_nobody_else_anything() {
    for (name, fill) in FILLS {
        let config = Config { limits: "free_space = '1MiB'", ..jailed() };
        let world = World::with(&config, &["01", "02"]);
        let (home, before) = (world.home("01"), world.dir.join("before"));
        fs::rename(&home, &before).unwrap();
        fs::create_dir(&home).unwrap();
        let Some(disk) = Mount::with(&home, "size=16m,nr_inodes=12000") else { return };
        host("cp", &["-a", before.join(".").to_str().unwrap(), home.to_str().unwrap()]);
        let issue = world.issue("One");
        world.agent(&format!("commit a b; ({fill}) >/dev/null; echo filled"));
        world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string(), "-w", "01"]).ok();
        world.quiet();
        // What was committed before is published, and it is told in the record and in the log.
        assert_eq!(world.outcomes(), [Outcome::Succeeded], "{name}: {:?}", world.last_run().ended);
        assert_eq!((world.pulls().len(), world.comments(issue).len()), (1, 1), "{name}");
        world.cron(&["logs", "01"]).ok().says("filled");
        // The next run there begins or says why not, and its issue is free; the others work.
        let more = world.issue("Two");
        world.agent("commit c d");
        let said = world.cron(&["dispatch", "-r", APP, "-i", &more.to_string(), "-w", "01"]);
        world.quiet();
        let run = world.last_run();
        let next = run.outcome().unwrap();
        let fine = matches!(next, Outcome::NotStarted | Outcome::Succeeded);
        println!("{name}: {}; then {next:?}: {:?}", said.err, run.ended);
        assert!(fine && !world.task("01").exists(), "{name}: {run:?}");
        assert!(world.labels(more).is_empty(), "{name}");
        assert!(said.code == 0 || said.err.contains("there is no room"), "{name}: {said:?}");
        let third = world.issue("Three");
        world.cron(&["dispatch", "-r", APP, "-i", &third.to_string(), "-w", "02"]).ok();
        world.quiet();
        assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded), "{name}");
        drop(disk);
    }
}
