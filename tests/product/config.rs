//! Wrong configurations, broken records, and the making of workers.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::world::{APP, Config, World};

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_right_one() {
    let world = World::new();
    let text = fs::read_to_string(world.config_file()).unwrap();
    fs::write(world.config_file(), text.replace("[assign]", "[assign]\nmax_per_rep = 3")).unwrap();
    let line = text.lines().position(|l| l == "[assign]").unwrap() + 2;
    for args in [&["assign"][..], &["status"], &["init", "09"], &["dispatch", "-r", APP, "-i", "1"]]
    {
        let said = world.cron(args).exits(2);
        let place =
            format!("error: {}:{line}: unknown field `max_per_rep`", world.config_file().display());
        assert!(said.err.starts_with(&place), "{}", said.err);
        assert!(said.err.contains("hint: did you mean `max_per_repo`?"), "{}", said.err);
    }
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn a_token_that_others_may_read_is_not_used() {
    let world = World::new();
    fs::set_permissions(world.token_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let said = world.cron(&["assign"]);
    assert!(said.code == 2 && said.err.contains("its mode is 644"), "{said:?}");
    assert!(said.err.contains("chmod 600"), "{}", said.err);
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn a_record_that_cannot_be_read_is_broken_and_never_overwritten() {
    let newer = r#"{"version": 7, "run": "x", "new": true}"#;
    for bad in ["", "{", "null", "\u{0}\u{1}\u{2}", r#"{"version":1}"#, newer] {
        let world = World::with(&Config::default(), &["01", "02"]);
        fs::write(world.task("01"), bad).unwrap();
        world.issue("One");
        let said = world.cron(&["status"]).ok();
        assert!(said.out.contains("01  broken") && said.out.contains("02  idle"), "{}", said.out);
        assert!(said.out.contains("task.json"), "{}", said.out);
        let said = world.cron(&["assign"]).exits(1);
        assert!(said.err.contains("worker 01 is broken"), "{}", said.err);
        assert!(said.out.contains("worker 02 works on octo/app#1"), "{}", said.out);
        world.quiet();
        world.cron(&["dispatch", "-r", APP, "-p", "x", "-w", "01"]).exits(3).says("is broken");
        world.cron(&["init", "01"]).exits(1);
        assert_eq!(fs::read_to_string(world.task("01")).unwrap(), bad);
        assert_eq!(world.pulls().len(), 1);
    }
}

#[test]
fn a_home_that_another_program_made_is_no_worker() {
    let world = World::new();
    fs::create_dir(world.home("07")).unwrap();
    fs::write(world.home("07").join("task.json"), r#"{"repo":"a/b","pid":1}"#).unwrap();
    world.issue("One");
    world.issue("Two");
    world.cron(&["status"]).ok().says("07  broken");
    world.cron(&["assign"]).exits(1).says("worker 01 works on octo/app#1");
    world.quiet();
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn an_archive_that_cannot_be_read_is_named_and_hides_nothing_else() {
    let world = World::new();
    world.issue("One");
    world.tick();
    let completed = world.root.record(&"01".parse().unwrap()).completed();
    fs::write(completed.join("octo-app-9-x.json"), "{").unwrap();
    let said = world.cron(&["history"]).ok();
    assert!(said.out.contains("octo/app#1"), "{}", said.out);
    assert!(said.err.contains("octo-app-9-x.json is broken"), "{}", said.err);
}

#[test]
fn a_broken_record_of_an_issue_does_not_mean_that_it_was_never_tried() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    for label in world.labels(1) {
        world.hub.unlabel(APP, 1, &label, "octo").unwrap();
    }
    let run = world.last_run();
    let completed = world.root.record(&run.worker).completed();
    let record = completed.join(format!("{}.json", run.archive_stem()));
    fs::write(&record, "{").unwrap();
    world.issue("Two");
    let said = world.cron(&["assign"]).exits(1).says("works on octo/app#2");
    assert!(said.err.contains(&format!("{} is broken", record.display())), "{}", said.err);
    world.quiet();
    assert!(world.labels(1).is_empty());
    assert_eq!(fs::read_to_string(&record).unwrap(), "{");
}

#[test]
fn a_worker_that_exists_is_not_made_again() {
    let world = World::new();
    let mine = world.home("01").join("mine");
    fs::write(&mine, "x").unwrap();
    let said = world.cron(&["init", "01"]).exits(1);
    assert!(said.err.contains("worker 01 exists already"), "{}", said.err);
    assert!(mine.exists());
}

#[test]
fn ids_that_differ_by_case_are_one_label_and_so_refused() {
    let world = World::bare(&Config::default());
    world.init(&["Anna"]);
    world.cron(&["init", "aNNa"]).exits(1).says("worker Anna exists already, and labels");
    assert!(!world.home("aNNa").exists());
}

#[test]
fn init_of_several_stops_at_the_first_that_exists() {
    let world = World::new();
    let said = world.cron(&["init", "00", "01", "02"]).exits(1);
    assert!(said.out.contains("worker 00 is ready"), "{}", said.out);
    assert!(said.err.contains("worker 01 exists already"), "{}", said.err);
    assert!(world.home("00").exists() && !world.home("02").exists());
    world.cron(&["status"]).ok().says("00  idle");
}

#[test]
fn ids_that_are_none_are_refused_before_anything_is_made() {
    let world = World::bare(&Config::default());
    let long = "x".repeat(300);
    for id in ["../x", "", "a/b", ".pool", "-x", "ä", &long] {
        world.cron(&["init", "--", "05", id]).exits(2);
    }
    assert!(!world.root.path().exists());
}

#[test]
fn homes_and_records_are_private_whatever_the_umask() {
    let world = World::bare(&Config::default());
    let mut shell = assert_cmd::Command::new("/bin/sh");
    shell.env_clear().env("HOME", world.user_home());
    shell.args(["-c", "umask 000; exec \"$0\" init 01", env!("CARGO_BIN_EXE_claude-workers")]);
    shell.assert().success();
    let mut dirs = vec![world.home("01"), world.root.pool()];
    while let Some(dir) = dirs.pop() {
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o077, 0, "{}", dir.display());
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                let mode = entry.metadata().unwrap().mode();
                assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
            }
        }
    }
}
