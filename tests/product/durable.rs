//! Power that fails: what a record says is there must be there afterwards, or be made again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claude_workers::domain::{Outcome, Phase};
use claude_workers::fakehub::Fault;
use claude_workers::store;
use serde_json::Value;

use crate::world::{APP, World, files};

const AGENT: &str = "echo x >>$HOME/starts; commit work-$issue.txt done; mark $issue; \
                     until [ -e $HOME/go-$issue ]; do sleep 0.05; done; echo 'All done.'";

/// A run whose supervisor died before its first push.
fn publishing(world: &World, issue: u64) -> PathBuf {
    world.cron(&["assign"]).ok();
    let mark = issue.to_string();
    world.wait_until("the agent is at work", || world.marks().contains(&mark));
    world.hub.inject(Fault::answer("*", "git-receive-pack", 503));
    fs::write(world.home("01").join(format!("go-{issue}")), "").unwrap();
    let worker = "01".parse().unwrap();
    world.wait_until("a push has failed", || {
        let run = store::read_task(&world.root, &worker).unwrap().unwrap();
        run.phase == Phase::Publishing && !run.unsaid.is_empty()
    });
    world.kill_supervisor("01");
    world.root.record(&worker).scratch().join("publish.git")
}

#[test]
fn commits_that_a_power_loss_took_from_a_publishing_run_are_collected_again_and_published_once() {
    let world = World::new();
    world.agent(AGENT);
    let alternates = "objects/info/alternates";
    let cases: [&[&str]; 4] = [&["HEAD"], &[alternates], &["HEAD", "config", alternates], &[]];
    for emptied in cases {
        let issue = world.issue("One");
        let repository = publishing(&world, issue);
        for name in emptied {
            assert!(repository.join(name).is_file(), "{name}");
            fs::write(repository.join(name), "").unwrap();
        }
        if emptied.is_empty() {
            fs::remove_dir_all(&repository).unwrap();
        }
        world.tick();
        assert_eq!(
            world.runs_of(issue),
            [Outcome::Succeeded],
            "{emptied:?}: {:?}",
            world.last_run()
        );
        let heads: Vec<_> = world.pulls().into_iter().map(|pull| pull.head).collect();
        let head = format!("issue-{issue}");
        assert_eq!(heads.iter().filter(|name| **name == head).count(), 1, "{heads:?}");
        assert_eq!((heads.len(), world.comments(issue).len()), (world.runs().len(), 1));
    }
    let starts = fs::read_to_string(world.home("01").join("starts")).unwrap();
    assert_eq!(starts.lines().count(), cases.len());
}

#[test]
fn a_run_that_lost_nothing_is_published_as_it_is() {
    let world = World::new();
    world.agent(AGENT);
    let issue = world.issue("One");
    let repository = publishing(&world, issue);
    // What is collected again would not be there.
    fs::remove_dir_all(world.home("01").join("github")).unwrap();
    assert!(repository.exists());
    world.tick();
    assert_eq!((world.outcomes(), world.pulls().len()), (vec![Outcome::Succeeded], 1));
}

#[test]
fn commits_are_durable_before_the_record_says_that_they_are_published() {
    let world = World::new();
    world.issue("One");
    let record = world.dir.join("points");
    let mut program = world.program();
    program.env("CLAUDE_WORKERS_FAILPOINT_RECORD", &record).arg("assign").assert().success();
    world.quiet();
    let points = fs::read_to_string(&record).unwrap();
    let points: Vec<&str> = points.lines().filter(|line| line.contains("|supervise|")).collect();
    let nth = |what: &str| points.iter().position(|line| line.contains(what)).unwrap();
    let imported = nth("after git index-pack");
    let synced = nth("after sync publish.git");
    let written =
        imported + points[imported..].iter().position(|l| l.contains("task.json")).unwrap();
    assert!(imported < synced && synced < written, "{points:#?}");
}

/// How often each git flushed files to the disk, by its first word.
fn flushes(traces: &PathBuf) -> Vec<(String, u64)> {
    let of = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let events: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let word =
            |e: &Value| e["name"].as_str().map(str::to_owned).filter(|_| e["event"] == "cmd_name");
        let name = events.iter().find_map(word).unwrap_or_default();
        let of =
            events.iter().filter(|e| e["category"] == "fsync" && e["name"] == "hardware-flush");
        (name, of.filter_map(|e| e["count"].as_u64()).sum())
    };
    fs::read_dir(traces).unwrap().flatten().map(|e| of(e.path())).collect()
}

#[test]
fn what_is_fetched_is_on_the_disk_before_it_is_remembered_and_what_is_not_costs_nothing() {
    let world = World::new();
    let traces = world.dir.join("traces");
    let config = format!("[trace2]\neventTarget = {}\n", traces.display());
    fs::write(world.user_home().join(".gitconfig"), config).unwrap();
    world.agent("echo 'Nothing to do.'");
    let run = || {
        let _ = fs::remove_dir_all(&traces);
        fs::create_dir(&traces).unwrap();
        world.cron(&["dispatch", "-r", APP, "-p", "Look around"]).ok();
        world.quiet();
        flushes(&traces)
    };
    let all = run();
    // So few objects are unpacked, each into a file of its own.
    let flushed = |word: &str, least: u64| {
        let of: Vec<_> = all.iter().filter(|(name, _)| name == word).collect();
        !of.is_empty() && of.iter().all(|(_, count)| *count >= least)
    };
    assert!(flushed("unpack-objects", 3), "{all:?}");
    assert!(flushed("fetch", 1), "its refs: {all:?}");
    let all = run();
    assert!(all.iter().any(|(name, _)| name == "ls-remote"), "{all:?}");
    assert!(all.iter().all(|(name, count)| name != "fetch" && *count == 0), "{all:?}");
}

#[test]
fn a_mirror_of_many_small_files_is_packed_and_nothing_that_a_clone_borrows_is_lost() {
    let world = World::new();
    world.issue("One");
    world.tick();
    let run = world.last_run();
    let mirrors = world.root.mirrors();
    let host = fs::read_dir(mirrors).unwrap().flatten().next().unwrap().path();
    let mirror = host.join("octo/app.git");
    let git = |args: &[&str], input: &str| {
        let mut git = assert_cmd::Command::new("git");
        git.arg("--git-dir").arg(&mirror).args(args).write_stdin(input.to_owned());
        String::from_utf8(git.unwrap().stdout).unwrap().trim().to_owned()
    };
    let pack = mirror.join("objects/pack/pack").display().to_string();
    // As fetches leave them, and one that no branch leads to any more.
    for n in 0..51 {
        let object = git(&["hash-object", "-w", "--stdin"], &format!("object {n}"));
        git(&["pack-objects", "-q", &pack], &object);
    }
    let borrowed = git(&["hash-object", "-w", "--stdin"], "borrowed");
    let objects = |git: &dyn Fn(&[&str], &str) -> String| {
        let all = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
        git(&all, "").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = objects(&git);
    assert!(before.contains(&borrowed) && before.contains(run.base_sha.as_ref().unwrap()));
    let packs = || {
        let all = fs::read_dir(mirror.join("objects/pack")).unwrap().flatten();
        all.filter(|e| e.path().extension().is_some_and(|e| e == "pack")).count()
    };
    assert_eq!(packs(), 51);
    let said = world.cron(&["gc", "--dry-run"]).ok().says("would pack objects of octo/app");
    said.says("51 packs and ");
    assert_eq!(packs(), 51);
    // Somebody fetches.
    let held = fs::File::open(mirror.with_extension("lock")).unwrap();
    held.lock().unwrap();
    world.cron(&["gc"]).exits(1).says("it has just been used");
    assert_eq!(packs(), 51);
    drop(held);
    world.cron(&["gc"]).ok().says("packed objects of octo/app");
    assert_eq!((packs(), objects(&git)), (1, before));
    world.cron(&["gc"]).ok().says("nothing is old enough");
    world.issue("Two");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded; 2]);
}

/// What is nowhere else is not thrown away; mirrors and what is remembered of claims are elsewhere.
#[test]
fn a_damaged_mirror_and_damaged_claims_are_made_anew() {
    let damage = |what: &str, dir: &Path| match what {
        "an empty HEAD" => fs::write(dir.join("HEAD"), "").unwrap(),
        "a broken configuration" => fs::write(dir.join("config"), "[[").unwrap(),
        "empty objects" => {
            for (path, _) in files(&dir.join("objects")) {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                fs::write(path, "").unwrap();
            }
        }
        _ => {
            fs::remove_dir_all(dir).unwrap();
            fs::write(dir, "x").unwrap();
        }
    };
    let world = World::new();
    let mirrors = world.root.pool().join("mirrors");
    let mirror =
        || fs::read_dir(&mirrors).unwrap().flatten().next().unwrap().path().join("octo/app.git");
    let claims = store::claims_repository(&world.root);
    world.issue("One");
    world.tick();
    for what in ["an empty HEAD", "a broken configuration", "empty objects", "a file"] {
        for dir in [claims.clone(), mirror()] {
            damage(what, &dir);
            let issue = world.issue(what);
            let said = world.tick();
            let found = format!("{what} in {}: {said:?} {:?}", dir.display(), world.last_run());
            assert_eq!(world.runs_of(issue), [Outcome::Succeeded], "{found}");
        }
    }
}
