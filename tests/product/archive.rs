//! The archive: what `show` tells of a run, and what `gc` removes and leaves.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use claude_workers::domain::Outcome;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::world::{APP, Config, WORKS, World, files};

/// Everything is old enough at once.
const AT_ONCE: &str = "[retention]\nlogs = '0s'\nrecords = '0s'\nmirrors = '0s'\nclones = '0s'";

fn hoarding_nothing() -> Config {
    Config { more: AT_ONCE.into(), ..Config::default() }
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).unwrap()
}

/// What `gc` removed, or would: the kinds of things, sorted.
fn things(said: &str) -> Vec<String> {
    let report = json(said);
    let things = report["things"].as_array().unwrap().iter();
    let mut kinds: Vec<_> = things.map(|t| t["what"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds
}

fn completed(world: &World, worker: &str) -> PathBuf {
    world.root.record(&worker.parse().unwrap()).completed()
}

#[test]
fn show_tells_everything_of_a_finished_run() {
    let world = World::new();
    world.cron(&["show", "01"]).exits(1).says("worker 01 has not had a run yet");
    world.issue("One");
    world.agent("printf 'Done \\033[31mred\\033[0m.\\nSecond line.\\n'; commit a b");
    world.tick();
    world.issue("Two\u{1b}[31m");
    world.agent("echo 'no more tokens'; exit 3");
    world.tick();
    let runs = world.runs();
    let (first, last) = (runs[0].run.as_str(), runs[1].run.as_str());
    for way in [first, &first[5..], &first[..20]] {
        let said = world.cron(&["show", way]).ok();
        assert!(!said.out.contains('\u{1b}') && said.out.contains(first), "{}", said.out);
        said.says("octo/app#1  One").says("succeeded: 1 commit").says("/octo/app/pull/2");
    }
    // What the history shows of an id is enough.
    let listed = world.cron(&["history"]).ok().out;
    assert!(listed.lines().next().unwrap().contains(&first[9..]), "{listed}");
    let said = world.cron(&["show", &last[9..]]).ok();
    said.says("failed: the agent ended with exit code 3").says("last words\n  no more tokens\n");
    let said = world.cron(&["show", "01", "--json"]).ok().out;
    let shown = json(&said);
    assert_eq!(shown["version"], 1);
    assert_eq!((&shown["state"], &shown["cleared"]), (&"finished".into(), &false.into()));
    assert_eq!(shown["run"]["run"], last);
    for file in shown["files"].as_array().unwrap() {
        let len = fs::metadata(file["path"].as_str().unwrap()).unwrap().len();
        assert_eq!(file["bytes"], len);
    }
    // The title has something that people do not see.
    let log = "claude-workers: hidden parts of the issue, taken out: 1\nno more tokens\n";
    assert_eq!(world.cron(&["show", last, "--log"]).ok().out, log);
    assert_eq!(world.cron(&["logs", "01"]).ok().out, log);
    // Both begin with the century.
    let both = world.cron(&["show", "20"]).exits(2);
    assert!(both.err.contains(first) && both.err.contains(last), "{}", both.err);
    world.cron(&["show", "99"]).exits(3).says("there is no run or worker \"99\"");
    world.cron(&["show", ""]).exits(2);
    world.cron(&["reset", "01"]).ok();
    world.cron(&["show", "01"]).ok().says("(cleared)");
    fs::write(completed(&world, "01").join(format!("octo-app-3-{last}.json")), "{").unwrap();
    world.cron(&["show", last]).exits(1).says("is broken");
}

#[test]
fn show_tells_of_runs_under_way_and_crashed() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.agent("echo at work; mark start; sleep 1000");
    world.cron(&["dispatch", "-r", APP, "-p", "Tidy up", "-w", "01"]).ok();
    world.wait_until("it is at work", || {
        fs::read(world.root.record(&"01".parse().unwrap()).log()).is_ok_and(|l| !l.is_empty())
    });
    let said = world.cron(&["show", "01", "--json"]).ok().out;
    let shown = json(&said);
    assert_eq!((&shown["state"], &shown["run"]["phase"]), (&"busy".into(), &"running".into()));
    let run = shown["run"]["run"].as_str().unwrap().to_owned();
    world.cron(&["show", &run]).ok().says("busy, running").says("Tidy up").says("prompt.txt");
    world.cron(&["show", &run, "--log"]).ok().says("at work");
    world.kill_supervisor("01");
    world.cron(&["show", &run[9..]]).ok().says("crashed, running");
    // A crashed run loses nothing to retention.
    world.configure(&hoarding_nothing());
    let kept = || {
        let mut kept = files(&world.root.pool());
        // What time it was when somebody last looked.
        kept.retain(|(path, _)| !path.ends_with("clock.json"));
        kept
    };
    let before = kept();
    world.cron(&["gc"]).ok().says("worker 01 was left alone: octo/app waits to be carried on");
    assert!(kept() == before);
    world.cron(&["show", &run, "--log"]).ok().says("at work");
}

#[test]
fn gc_says_what_it_would_remove_and_then_does() {
    let world = World::with(&hoarding_nothing(), &["01"]);
    world.issue("One");
    world.tick();
    world.agent("echo 'no more tokens'; exit 3");
    world.issue("Two");
    world.tick();
    world.agent(WORKS);
    let last = world.last_run().run;
    let home = files(&world.home("01"));
    let pool = files(&world.root.pool());
    let said = world.cron(&["gc", "--dry-run", "--json"]).ok().out;
    // The record of the first run is the last of its issue, that of the second its worker's last;
    // the clone was last used by a run that failed.
    assert_eq!(things(&said), ["log", "log"]);
    assert_eq!((&json(&said)["dryRun"], &json(&said)["recordsKept"]), (&true.into(), &2.into()));
    world.cron(&["gc", "--dry-run"]).ok().says("would remove log of worker 01").says("2 records");
    assert_eq!((files(&world.home("01")), files(&world.root.pool())), (home, pool));
    let done = world.cron(&["gc"]).ok().says("removed log of worker 01");
    done.says("2 things removed").says(last.as_str());
    world.cron(&["gc"]).ok().says("nothing is old enough");
    for words in [&["logs", "01"][..], &["inspect", "01"], &["show", "01", "--log"]] {
        world.cron(words).exits(1).says("was removed by retention on 20").says("[retention]");
    }
    world.cron(&["show", "01"]).ok().says("removed by retention on 20").says("no more tokens");
    assert_eq!(world.outcomes(), [Outcome::Succeeded, Outcome::Failed]);
    // Neither issue is forgotten, whatever its labels say.
    for (issue, labels) in [(1, vec![]), (3, vec!["worker:01", "blocked"])] {
        assert_eq!(world.labels(issue), labels);
    }
    world.cron(&["assign", "--dry-run"]).ok().says("has a pull request");
    // A person has cleared it: the clone is free, and then its mirror.
    world.cron(&["reset", "01"]).ok();
    let said = world.cron(&["gc", "--json"]).ok().out;
    assert_eq!(things(&said), ["clone"]);
    assert!(json(&said)["bytes"].as_u64().unwrap() > 1000);
    assert!(!world.home("01").join("github/octo/app").exists());
    assert_eq!(things(&world.cron(&["gc", "--json"]).ok().out), ["mirror"]);
    // Everything is made again when it is needed.
    world.tick();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(world.pulls().len(), 2);
    // And the record of the cleared run says nothing any more.
    assert_eq!(world.runs().len(), 3);
    let said = world.cron(&["gc", "--json"]).ok().out;
    assert_eq!(things(&said), ["clone", "log", "record"]);
    assert_eq!(world.outcomes(), [Outcome::Succeeded, Outcome::Succeeded]);
    let names: Vec<_> = files(&completed(&world, "01")).into_iter().map(|(path, _)| path).collect();
    assert!(!names.iter().any(|path| path.to_string_lossy().contains(last.as_str())), "{names:?}");
}

#[test]
fn a_clone_with_uncommitted_work_or_of_a_worker_at_work_stays() {
    let world = World::with(&hoarding_nothing(), &["01", "02", "03"]);
    for worker in ["01", "02", "03"] {
        world.issue("Something");
        world
            .cron(&["dispatch", "-r", APP, "-i", &world.issue("It").to_string(), "-w", worker])
            .ok();
        world.quiet();
    }
    let clone = |worker: &str| world.home(worker).join("github/octo/app");
    fs::write(clone("01").join("README.md"), "a person was here").unwrap();
    world.agent("mark start; sleep 1000");
    world.cron(&["dispatch", "-r", APP, "-p", "x", "-w", "02"]).ok();
    world.wait_until("it is at work", || world.marks().len() == 1);
    fs::write(world.task("03"), "{").unwrap();
    let before = files(&world.root.record(&"02".parse().unwrap()).completed());
    let said = world.cron(&["gc", "--json"]).ok().out;
    assert_eq!(things(&said), ["log"], "that of worker 01");
    let left = json(&said)["left"].to_string();
    assert!(left.contains("busy with octo/app") && left.contains("is broken"), "{left}");
    assert_eq!(files(&world.root.record(&"02".parse().unwrap()).completed()), before);
    assert!(["01", "02", "03"].iter().all(|w| clone(w).join(".git").is_dir()));
    assert_eq!(fs::read_to_string(world.task("03")).unwrap(), "{");
    world.cron(&["stop", "02"]).ok();
}

#[test]
fn a_planted_link_costs_nothing_outside_the_home() {
    for sandbox in ["", "mode = 'none'"] {
        let world = World::with(&Config { sandbox, ..hoarding_nothing() }, &["01"]);
        world.issue("One");
        world.tick();
        assert_eq!(world.outcomes(), [Outcome::Succeeded]);
        // All that the agent's clone held, and an outbox set aside, somewhere else.
        let elsewhere = world.dir.join("precious");
        fs::rename(world.home("01").join("github"), &elsewhere).unwrap();
        fs::create_dir_all(elsewhere.join("octo/app.broken-1/x")).unwrap();
        symlink(&elsewhere, world.home("01").join("github")).unwrap();
        symlink(&elsewhere, world.home("01").join("outbox.broken-1")).unwrap();
        let before = files(&elsewhere);
        world.cron(&["gc"]).ok();
        assert_eq!(files(&elsewhere), before);
        // One step further down.
        fs::remove_file(world.home("01").join("github")).unwrap();
        fs::create_dir(world.home("01").join("github")).unwrap();
        symlink(elsewhere.join("octo"), world.home("01").join("github/octo")).unwrap();
        world.cron(&["gc"]).ok();
        assert_eq!(files(&elsewhere), before);
        // And the clone itself a link; inside one that goes, another.
        fs::remove_file(world.home("01").join("github/octo")).unwrap();
        fs::create_dir(world.home("01").join("github/octo")).unwrap();
        symlink(elsewhere.join("octo/app"), world.home("01").join("github/octo/app")).unwrap();
        let aside = world.home("01").join("github/octo/app.broken-1");
        fs::create_dir(&aside).unwrap();
        symlink(&elsewhere, aside.join("inner")).unwrap();
        assert_eq!(things(&world.cron(&["gc", "--json"]).ok().out), ["setAside"]);
        assert!(!aside.exists());
        assert_eq!(files(&elsewhere), before);
    }
}

/// Sets the time of its last change back by two days.
fn age(path: &Path) {
    let then = Timestamp::now() - SignedDuration::from_hours(48);
    File::open(path).unwrap().set_modified(then.into()).unwrap();
}

#[test]
fn leftovers_of_what_died_go_and_what_cannot_be_read_stays() {
    let world = World::with(&Config::default(), &["01"]);
    world.issue("One");
    world.tick();
    let record = world.root.record(&"01".parse().unwrap());
    let gone = [
        record.scratch().join("objects"),
        record.dir().join(".write-abc123"),
        world.root.github().join(".write-abc123"),
        world.root.pool().join(".new-07-abcdefgh/.gitconfig"),
        completed(&world, "01").join(".write-abc123"),
    ];
    let stays = [
        completed(&world, "01").join("octo-app-9-20200101T000000-0000.json"),
        completed(&world, "01").join("octo-app-9-20200101T000000-0000.log"),
        completed(&world, "01").join("notes of a person.log"),
        world.root.pool().join(".write-young"),
        world.root.pool().join("unknown/thing"),
    ];
    for path in gone.iter().chain(&stays) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
        if !path.ends_with(".write-young") {
            age(path);
        }
    }
    age(&world.root.pool().join(".new-07-abcdefgh"));
    let held = File::open(world.root.pool().join(".new-07-abcdefgh")).unwrap();
    held.lock().unwrap();
    world.cron(&["gc"]).exits(1).says("somebody works on it");
    drop(held);
    let said = world.cron(&["gc"]).ok().says("20200101T000000-0000.json cannot be read");
    assert!(said.out.contains("temporary"), "{}", said.out);
    assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
    assert!(stays.iter().all(|path| path.exists()), "{stays:?}");
    // A log whose record is gone is nobody's; it goes when logs go.
    fs::remove_file(&stays[0]).unwrap();
    world.cron(&["gc"]).ok().says("nothing is old enough");
    world.configure(&Config { more: "[retention]\nlogs = '1d'".into(), ..Config::default() });
    assert_eq!(things(&world.cron(&["gc", "--json"]).ok().out), ["orphan"]);
    assert!(!stays[1].exists() && stays[2].exists());
}

#[test]
fn what_a_retired_worker_has_tried_is_shown_and_kept() {
    let world = World::with(&hoarding_nothing(), &["01", "02"]);
    world.agent("echo 'no more tokens'; exit 3");
    world.issue("One");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.quiet();
    world.cron(&["rm", "01", "-y"]).ok();
    let before = files(&world.root.retired());
    // Nobody's clone borrows from the mirror any more.
    assert_eq!(things(&world.cron(&["gc", "--json"]).ok().out), ["mirror"]);
    assert_eq!(files(&world.root.retired()), before);
    world.cron(&["show", "01"]).ok().says("octo/app#1").says("no more tokens");
    let id = world.last_run().run;
    assert_eq!(world.cron(&["show", id.as_str(), "--log"]).ok().out, "no more tokens\n");
}

#[test]
fn a_worker_does_not_collect() {
    let world = World::new();
    let mut gc = world.program();
    let out = gc.env("CLAUDE_WORKERS_WORKER", "01").args(["gc", "--dry-run"]).output().unwrap();
    assert_eq!(out.status.code(), Some(4));
    world.configure(&Config { more: "[retention]\nlogs = 'soon'".into(), ..Config::default() });
    world.cron(&["gc"]).exits(2).says("\"soon\" is not how long to keep something");
    world.configure(&Config { more: "[retention]\nclaims = '6d'".into(), ..Config::default() });
    world.cron(&["gc"]).exits(2).says("`claims` must be at least 7d");
}

#[test]
fn what_history_remembers_is_in_nobodys_way() {
    let world = World::with(&Config { sandbox: "mode = 'none'", ..hoarding_nothing() }, &["01"]);
    world.issue("One");
    world.agent("echo 'no more tokens'; exit 3");
    world.tick();
    let (run, at) = (world.last_run(), completed(&world, "01"));
    let record = at.join(format!("{}.json", run.archive_stem()));
    let text = fs::read_to_string(&record).unwrap();
    for nth in 0..40 {
        let id = format!("20250101T000000-{nth:04x}");
        let other = record.with_file_name(format!("octo-app-1-{id}.json"));
        fs::write(other, text.replace(run.run.as_str(), &id)).unwrap();
    }
    let listed = world.cron(&["history"]).ok().out;
    assert_eq!(listed.lines().count(), 41);
    let memory = at.join(".lines");
    assert!(memory.is_file());
    let of_it =
        |files: Vec<(PathBuf, Vec<u8>)>| files.into_iter().find(|(path, _)| *path == memory);
    let before = of_it(files(&at));
    assert_eq!(world.cron(&["history"]).ok().out, listed);
    assert_eq!(world.cron(&["history", "01", "--since", "2020-01-01"]).ok().out, listed);
    world.cron(&["show", "000000-0027"]).ok().says("20250101T000000-0027");
    world.cron(&["show", "lines"]).exits(3);
    // A person's editor.
    let first = at.join("octo-app-1-20250101T000000-0000.json");
    fs::write(&first, text.replace("no more tokens", "no more time")).unwrap();
    assert_eq!(world.cron(&["history"]).ok().out.matches("no more time").count(), 1);
    fs::write(&first, "{").unwrap();
    for _ in 0..2 {
        let said = world.cron(&["history"]).ok();
        assert!(said.err.contains("-0000.json is broken"), "{}", said.err);
        assert_eq!(said.out.lines().count(), 40);
    }
    fs::remove_file(&first).unwrap();
    for dry in [&["gc", "--json", "--dry-run"][..], &["gc", "--json"]] {
        let said = world.cron(dry).ok().out;
        assert!(things(&said).contains(&"record".to_owned()), "{said}");
        assert!(!said.contains(".lines"), "{said}");
    }
    assert_eq!(of_it(files(&at)), before);
    let left = world.cron(&["history"]).ok().out;
    assert!(left.lines().count() < 40, "{left}");
    world.cron(&["reset", "01"]).ok();
    world.cron(&["rm", "01", "-y"]).ok();
    assert_eq!(world.cron(&["history", "01"]).ok().out, left);
}
