//! A configuration that is changed, broken or taken away while runs are going.

use std::fs;

use claude_workers::domain::Outcome;

use crate::world::{APP, Config, World};

/// A run whose agent works until it is told to go on.
fn at_work(config: &Config) -> World {
    let world = World::with(config, &["01"]);
    world.issue("One");
    world.agent("commit a b; mark up; until [ -e $HOME/go ]; do sleep 0.05; done; echo over");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world
}

/// Lets the agent end, and looks at what became of its work.
#[track_caller]
fn ends_well(world: &World, about: &str) {
    fs::write(world.home("01").join("go"), "").unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded], "{about}: {:?}", world.last_run().ended);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1), "{about}");
    assert!(world.labels(1).is_empty(), "{about}");
    // Whoever would be the next to have it does not find it here.
    assert!(!world.root.record(&"01".parse().unwrap()).config().exists());
}

#[test]
fn whatever_becomes_of_the_configuration_a_run_that_is_going_ends_well_and_nothing_new_begins() {
    type Change = fn(&World);
    let write = |world: &World, text: &str| fs::write(world.config_file(), text).unwrap();
    let changes: [(&str, Change, &str); 8] = [
        ("syntax", |w| fs::write(w.config_file(), "root = \n").unwrap(), "config.toml:1: "),
        ("an unknown key", |w| append(w, "[assign2]\nx = 1"), "unknown field `assign2`"),
        ("a bad value", |w| replace(w, "[limits]", "[limits]\nsilence = 'soon'"), "\"soon\""),
        ("bytes", |w| fs::write(w.config_file(), b"\xff\xfe").unwrap(), "it is not UTF-8 text"),
        (
            "a directory",
            |w| {
                fs::remove_file(w.config_file()).unwrap();
                fs::create_dir(w.config_file()).unwrap();
            },
            "cannot read the configuration",
        ),
        (
            "a link that leads nowhere",
            |w| {
                fs::remove_file(w.config_file()).unwrap();
                std::os::unix::fs::symlink("/no/such/file", w.config_file()).unwrap();
            },
            "cannot read the configuration",
        ),
        ("no executor", |w| replace(w, "[executors.agent]", "[executors.other]"), "agent"),
        ("no token", |w| replace(w, "~/token", "~/no-token"), "no-token"),
    ];
    std::thread::scope(|scope| {
        for (about, change, says) in changes {
            scope.spawn(move || {
                let world = at_work(&Config::default());
                let two = world.issue("Two");
                world.init(&["02"]);
                let before = fs::read_to_string(world.config_file()).unwrap();
                change(&world);
                let said = world.cron(&["assign"]).says(says);
                assert!(matches!(said.code, 1 | 2), "{about}: {said:?}");
                assert!(world.labels(two).is_empty() && said.out.is_empty(), "{about}: {said:?}");
                if about != "no token" {
                    ends_well(&world, about);
                }
                let _ = fs::remove_dir_all(world.config_file());
                let _ = fs::remove_file(world.config_file());
                write(&world, &before);
                if about == "no token" {
                    ends_well(&world, about);
                }
            });
        }
    });
}

fn append(world: &World, more: &str) {
    let text = fs::read_to_string(world.config_file()).unwrap();
    fs::write(world.config_file(), format!("{text}\n{more}\n")).unwrap();
}

fn replace(world: &World, from: &str, to: &str) {
    let text = fs::read_to_string(world.config_file()).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(world.config_file(), text.replacen(from, to, 1)).unwrap();
}

/// Valid, and about something else: what is going is not moved there.
#[test]
fn a_run_that_is_going_keeps_the_settings_that_it_was_started_with() {
    let url = "api_url = 'http://127.0.0.1:9/'\nserver_url = 'http://127.0.0.1:9'\n#";
    let changes = [
        ("root", "executor = 'agent'\n", "executor = 'agent'\nroot = '~/elsewhere'\n"),
        ("another GitHub", "api_url", url),
        ("no wall", "[sandbox]", "[sandbox]\nmode = 'none'"),
        ("claims", "[git]", "[git]\nclaims = false"),
    ];
    std::thread::scope(|scope| {
        for (about, from, to) in changes {
            scope.spawn(move || {
                let world = at_work(&Config::default());
                if about == "another GitHub" {
                    let text = fs::read_to_string(world.config_file()).unwrap();
                    let without: Vec<&str> =
                        text.lines().filter(|l| !l.starts_with("server_url")).collect();
                    fs::write(world.config_file(), without.join("\n")).unwrap();
                }
                replace(&world, from, to);
                ends_well(&world, about);
            });
        }
        scope.spawn(|| {
            let world = at_work(&Config { sandbox: "mode = 'none'", ..Config::default() });
            replace(&world, "mode = 'none'", "");
            ends_well(&world, "a wall");
        });
    });
}

/// Its supervisor died meanwhile: the next one reads what there is now, as it waits for a person to
/// put things right, but the wall stays.
#[test]
fn a_run_that_is_taken_up_again_keeps_its_wall() {
    let world = at_work(&Config::default());
    world.kill_supervisor("01");
    replace(&world, "[sandbox]", "[sandbox]\nmode = 'none'");
    world.agent("ls /etc/hostname; commit c d; echo over");
    world.cron(&["assign"]).ok();
    world.quiet();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Succeeded), "{:?}", run.ended);
    let said = world.cron(&["logs", "01"]).ok().out;
    assert!(said.contains("hostname': No such file"), "{said}");
}

#[test]
fn a_root_that_is_relative_is_the_same_for_everybody_who_is_started() {
    let world = World::new();
    world.issue("One");
    let dir = world.user_home();
    replace(&world, "executor = 'agent'\n", "executor = 'agent'\nroot = 'workers'\n");
    let mut program = world.program();
    program.current_dir(&dir).args(["dispatch", "-r", APP, "-i", "1"]);
    assert!(program.output().unwrap().status.success());
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}
