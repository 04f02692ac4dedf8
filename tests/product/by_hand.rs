//! `stop`, `restart` and `reset`.

use std::fs;
use std::path::PathBuf;

use claude_workers::domain::{Outcome, Run};
use claude_workers::fakehub::Fault;
use claude_workers::store::{self, State, WorkerLock};

use crate::world::{APP, Config, World, files};

/// A world in which `script` works on issue 1, as far as its first mark.
fn at_work(script: &str, config: &Config) -> World {
    let world = World::with(config, &["01"]);
    world.agent(script);
    world.issue("One");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-m", "large"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world
}

fn task(world: &World) -> Run {
    store::read_task(&world.root, &"01".parse().unwrap()).unwrap().expect("there is a task")
}

fn idle(world: &World) -> bool {
    matches!(store::worker(&world.root, "01".parse().unwrap()).state, State::Idle)
}

#[test]
fn stop_asks_everything_that_the_agent_started_and_leaves_nothing() {
    for mode in ["", "mode = 'none'"] {
        // A grandchild in a session of its own, and an orphan; each has something to put in order.
        let script = "for who in child orphan; do
                echo \"trap 'echo ended >$HOME/$who; exit' TERM; echo >$HOME/up-$who
                    while :; do sleep 0.05; done\" >$HOME/$who.sh
            done
            setsid sh $HOME/child.sh &
            (setsid sh $HOME/orphan.sh >/dev/null 2>&1 &)
            trap 'while ! [ -e $HOME/child ] || ! [ -e $HOME/orphan ]; do sleep 0.05; done; exit' TERM
            while ! [ -e $HOME/up-child ] || ! [ -e $HOME/up-orphan ]; do sleep 0.05; done
            mark up; while :; do sleep 0.05; done";
        let config = Config { sandbox: mode, limits: "grace = '60s'", ..Config::default() };
        let world = at_work(script, &config);
        world.cron(&["stop", "01"]).ok().says("worker 01 has stopped working on octo/app#1");
        assert!(world.processes().is_empty(), "{mode}: {:?}", world.processes());
        for who in ["child", "orphan"] {
            assert!(world.home("01").join(who).exists(), "{mode}: {who} was not asked");
        }
        let run = task(&world);
        assert_eq!((run.outcome(), run.ended_at), (Some(Outcome::Stopped), None));
        assert_eq!(world.labels(1), ["worker:01"]);
        assert!(world.comments(1).is_empty());
        world.tick();
        assert_eq!(task(&world), run, "a tick leaves it to the person");
    }
}

#[test]
fn stop_kills_after_the_grace_and_stops_a_crashed_run_too() {
    let script = "trap '' TERM; setsid sh -c \"trap '' TERM; sleep 1000\" & mark up; sleep 1000";
    let config = Config { limits: "grace = '0s'", ..Config::default() };
    let world = at_work(script, &config);
    world.cron(&["stop", "01"]).ok();
    assert!(world.processes().is_empty(), "{:?}", world.processes());

    let world = at_work("mark up; sleep 1000", &Config::default());
    world.kill_supervisor("01");
    world.cron(&["stop", "01"]).ok();
    assert_eq!(task(&world).outcome(), Some(Outcome::Stopped));
    // Twice is once.
    world.cron(&["stop", "01"]).ok();
}

#[test]
fn there_is_nothing_to_stop_restart_or_reset_at_an_idle_or_unknown_worker() {
    let world = World::new();
    world.cron(&["stop", "01"]).exits(1).says("worker 01 is idle: nothing to stop");
    world.cron(&["restart", "01"]).exits(1).says("has no run to carry on");
    world.cron(&["reset", "01"]).ok().says("there was nothing to clear");
    for command in ["stop", "restart", "reset"] {
        world.cron(&[command, "07"]).exits(3).says("there is no worker 07");
    }
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn a_worker_whose_record_cannot_be_read_is_left_as_it_is() {
    let world = World::new();
    fs::write(world.task("01"), "{").unwrap();
    for args in [&["stop", "01"][..], &["restart", "01"], &["reset", "01"]] {
        world.cron(args).exits(1).says("worker 01 is broken");
    }
    world.cron(&["reset", "01"]).says("hint: look at it; `claude-workers reset 01 --force` sets");
    assert_eq!(fs::read_to_string(world.task("01")).unwrap(), "{");
}

#[test]
fn reset_by_force_sets_a_record_aside_that_cannot_be_read_and_gives_free_what_it_tells() {
    // Whether it still tells of its issue, and what it is like.
    for (tells, damage) in [(true, "\"version\": 7"), (false, "\"version\": 1, \"x")] {
        let world = at_work("echo words; mark up; sleep 1000", &Config::default());
        world.kill_supervisor("01");
        let whole = fs::read_to_string(world.task("01")).unwrap();
        let end = if tells { whole.len() } else { whole.len() / 2 };
        let broken = whole[..end].replace("\"version\": 1", damage);
        fs::write(world.task("01"), &broken).unwrap();
        let record = world.root.record(&"01".parse().unwrap());

        let held = WorkerLock::try_take(&world.root, &"01".parse().unwrap()).unwrap();
        world.cron(&["reset", "01", "-f"]).exits(1).says("its supervisor is still at work");
        drop(held);
        let said = world.cron(&["reset", "01", "-f"]).exits(i32::from(!tells));
        let said = said.says("worker 01 is idle; its record is set aside as ");
        assert_eq!(said.err.contains("take the label worker:01 off"), !tells, "{said:?}");
        assert!(idle(&world));
        let names = fs::read_dir(record.dir()).unwrap().flatten();
        let mut aside: Vec<PathBuf> =
            names.map(|e| e.path()).filter(|p| p.to_string_lossy().contains(".broken-")).collect();
        aside.sort();
        let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
        assert!(
            aside.iter().any(|p| p.to_string_lossy().contains("/task.json.") && text(p) == broken)
        );
        assert!(
            aside
                .iter()
                .any(|p| p.to_string_lossy().contains("/worker.log.") && text(p) == "words\n")
        );
        assert_eq!(world.labels(1).is_empty(), tells);
        if !tells {
            world.hub.unlabel(APP, 1, "worker:01", "octo").unwrap();
        }
        world.agent("commit a b");
        world.tick().says("works on octo/app#1");
        assert_eq!(world.outcomes(), [Outcome::Succeeded]);
        assert!(aside.iter().all(|path| path.exists()));
    }
}

#[test]
fn restart_carries_the_task_on_where_it_was_left() {
    let world =
        at_work("echo first words; echo draft >draft.txt; mark up; sleep 1000", &Config::default());
    let log = world.root.record(&"01".parse().unwrap()).log();
    world.wait_until("it has spoken", || {
        fs::read_to_string(&log).is_ok_and(|l| l.contains("first"))
    });
    world.cron(&["restart", "01"]).exits(3).says("worker 01 is busy with octo/app#1");
    world.cron(&["stop", "01"]).ok();
    let stopped = task(&world);

    world.agent("cat draft.txt; echo model=$model; grep interrupted $prompt; commit done.txt x");
    world.cron(&["restart", "01"]).ok().says("worker 01 carries on with octo/app#1");
    world.quiet();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Succeeded));
    assert_eq!((run.run, run.issue, run.model), (stopped.run, stopped.issue, stopped.model));
    assert_eq!((run.branch, run.base_sha), (stopped.branch, stopped.base_sha));
    assert_eq!((run.attempt, run.started_at), (2, stopped.started_at));
    assert!(run.attempt_at.unwrap() > run.started_at);
    let said = world.cron(&["logs", "01"]).ok().out;
    for words in ["first words", "draft", "model=large", "You were interrupted"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert_eq!(world.pulls().len(), 1);
    assert!(world.labels(1).is_empty());
    let diff = world.hub.pull_diff(APP, world.pulls()[0].number).unwrap();
    assert!(diff.contains("draft.txt"), "{diff}");
}

#[test]
fn restart_carries_a_prompt_and_a_crashed_run_on() {
    let world = World::new();
    world.agent("mark up; sleep 1000");
    world.cron(&["dispatch", "-r", APP, "-p", "Count the files"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world.kill_supervisor("01");
    world.agent("grep 'Count the files' $prompt");
    world.cron(&["restart", "01"]).ok();
    world.quiet();
    assert_eq!(world.last_run().agent.unwrap().last_words.as_deref(), Some("Count the files"));
}

#[test]
fn reset_archives_a_stopped_run_and_gives_its_issue_free() {
    let world = at_work("echo draft >draft.txt; mark up; sleep 1000", &Config::default());
    world.cron(&["reset", "01"]).exits(3).says("worker 01 is busy with octo/app#1");
    assert_eq!(world.labels(1), ["worker:01"]);
    world.cron(&["reset", "01", "-f"]).ok().says("octo/app#1 is cleared");
    assert!(idle(&world) && world.processes().is_empty());
    assert_eq!(world.outcomes(), [Outcome::Stopped]);
    assert!(world.labels(1).is_empty());
    assert!(world.home("01").join("github/octo/app/draft.txt").exists(), "the clone stays");
    world.agent("commit a b");
    world.tick().says("works on octo/app#1");
    assert_eq!(world.outcomes(), [Outcome::Stopped, Outcome::Succeeded]);
    // What lay in the clone was kept when the next run made room.
    let archive = world.root.record(&"01".parse().unwrap()).completed();
    let patch = files(&archive)
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|e| e == "patch"));
    assert!(String::from_utf8_lossy(&patch.unwrap().1).contains("draft.txt"));
}

#[test]
fn reset_calls_a_crashed_run_lost() {
    let world = at_work("mark up; sleep 1000", &Config::default());
    world.kill_supervisor("01");
    world.cron(&["reset", "01"]).ok();
    assert_eq!(world.outcomes(), [Outcome::Lost]);
    assert!(world.labels(1).is_empty());
}

#[test]
fn reset_clears_a_failed_run_that_has_been_archived() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    world.cron(&["reset", "01"]).ok().says("octo/app#1 is cleared");
    assert!(world.labels(1).is_empty());
    assert_eq!(world.outcomes(), [Outcome::Failed], "what happened stays as it was");
    world.cron(&["reset", "01"]).ok().says("there was nothing to clear");
    world.agent("commit a b");
    world.tick().says("works on octo/app#1");
}

#[test]
fn reset_leaves_a_block_that_a_person_put_on() {
    let world = at_work("mark up; sleep 1000", &Config::default());
    world.hub.label(APP, 1, "blocked", "octo").unwrap();
    world.cron(&["reset", "01", "-f"]).ok();
    assert_eq!(world.labels(1), ["blocked"]);
}

#[test]
fn what_reset_cannot_do_on_github_a_later_tick_does() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    let labels = "/repos/octo/app/issues/1/labels/";
    world.hub.inject(Fault::answer("DELETE", labels, 502).times(u32::MAX));
    let said = world.cron(&["reset", "01"]).exits(1);
    said.says("take the labels worker:01 and blocked off octo/app#1");
    assert!(idle(&world));
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    world.hub.clear_faults();
    world.agent("commit a b");
    world.tick();
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded]);
    assert!(world.labels(1).is_empty());
}

#[test]
fn work_that_waits_to_be_published_is_given_up_only_by_force() {
    let world = World::new();
    world.issue("One");
    world.agent("commit a b");
    world.hub.inject(Fault::drop_connection("POST", "/repos/octo/app/pulls").times(u32::MAX));
    world.cron(&["assign"]).ok();
    world.wait_until("it waits to be published", || {
        let run = store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
        run.is_some_and(|run| !run.unsaid.is_empty())
    });
    world.kill_supervisor("01");
    world.cron(&["reset", "01"]).exits(4).says("is done and waits to be published");
    assert_eq!(task(&world).outcome(), Some(Outcome::Succeeded));
    world.cron(&["reset", "01", "--force"]).ok();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Lost));
    assert_eq!(run.ended.unwrap().why, "it was reset before its work was published");
    assert!(world.labels(1).is_empty());
}
