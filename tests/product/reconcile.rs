//! Dead supervisors: what they leave is ended before their worker is used again.

use std::fs;
use std::path::PathBuf;

use claude_workers::domain::{Outcome, Run};
use claude_workers::store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::{APP, Config, World};

/// Its whole family holds a lock as long as one of it lives; who finds it held, says so.
const FAMILY: &str = "exec 9>>$HOME/family; flock -n 9 || mark overlap
    setsid sh -c 'sleep 1000' &
    (setsid sh -c 'trap \"\" TERM; sleep 1000' >/dev/null 2>&1 &)
    (env -i sh -c 'sleep 1000' >/dev/null 2>&1 &)";

fn none() -> Config {
    Config { sandbox: "mode = 'none'", ..Config::default() }
}

fn task(world: &World) -> Run {
    store::read_task(&world.root, &"01".parse().unwrap()).unwrap().expect("there is a task")
}

fn json(world: &World, args: &[&str]) -> Value {
    serde_json::from_str(&world.cron(&[args, &["--json"]].concat()).out).unwrap()
}

fn actions(item: &Value) -> Vec<&str> {
    let actions = item["actions"].as_array().unwrap();
    actions.iter().map(|action| action["action"].as_str().unwrap()).collect()
}

/// Kills the supervisor, and waits for nothing but that.
fn bereave(world: &World) {
    let pid = Pid::from_raw(i32::try_from(task(world).pid.unwrap()).unwrap());
    let state = || store::worker(&world.root, "01".parse().unwrap()).state;
    kill(pid, Signal::SIGKILL).unwrap();
    world.wait_until("the supervisor is dead", || matches!(state(), store::State::Crashed(_)));
}

/// Nobody knows of a control group any more. Returns where it is, to be removed in the end.
fn forget_cgroup(world: &World) -> Option<PathBuf> {
    let group = task(world).cgroup;
    let mut task: Value = serde_json::from_slice(&fs::read(world.task("01")).unwrap()).unwrap();
    task.as_object_mut().unwrap().remove("cgroup");
    fs::write(world.task("01"), task.to_string()).unwrap();
    group
}

/// Of those that have not said goodbye.
fn family(world: &World) -> usize {
    world.processes().iter().filter(|(_, line)| line.contains("sleep 1000")).count()
}

#[test]
fn two_agents_never_work_in_one_home_though_supervisors_are_killed() {
    for (sandbox, cgroup) in [("", false), ("mode = 'none'", true), ("mode = 'none'", false)] {
        let config = Config { sandbox, more: "[retry]\nlost = 20".into(), ..Config::default() };
        let config = Config { more: format!("{}\nwait = '0s'", config.more), ..config };
        let script = format!("{FAMILY}; mark up; sleep 1000");
        let world = World::at_work(&script, &config);
        for round in 2..=4 {
            bereave(&world);
            if !cgroup {
                forget_cgroup(&world);
            }
            // Only a jail takes all with it by itself.
            assert!(sandbox.is_empty() || family(&world) > 3, "{:?}", world.processes());
            world.cron(&["assign"]).ok();
            if round > 2 {
                // Each but the first taking up has its pause, here of no length.
                world.cron(&["assign"]).ok();
            }
            let ups = || world.marks().iter().filter(|mark| *mark == "up").count();
            world.wait_until("the next agent is at work", || ups() == round);
        }
        assert!(!world.marks().contains(&"overlap".to_owned()), "{sandbox} {cgroup}");
        let run = task(&world);
        assert_eq!((run.attempt, run.losses, run.tried.len()), (4, 3, 3));
        world.cron(&["reset", "01", "--force"]).ok();
        world.quiet();
        assert!(run.cgroup.is_none_or(|group| !group.exists()), "the group is removed");
    }
}

#[test]
fn a_process_that_hides_from_all_but_its_control_group_is_ended() {
    let script =
        "(env -i setsid sh -c 'exec sleep 1000.5' >/dev/null 2>&1 &) ; mark up; sleep 1000";
    let world = World::at_work(script, &none());
    let Some(group) = task(&world).cgroup else {
        println!("this user may not make a control group here: not tested");
        return;
    };
    bereave(&world);
    let members = || fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    assert!(members().lines().count() >= 2, "{}", members());
    world.cron(&["stop", "01"]).ok();
    assert!(!group.exists(), "{}", members());
}

#[test]
fn a_person_ends_what_a_dead_supervisor_left_too() {
    for command in ["stop", "restart", "reset"] {
        let world = World::at_work(&format!("{FAMILY}; mark up; sleep 1000"), &none());
        bereave(&world);
        let group = forget_cgroup(&world);
        world.agent("flock -n $HOME/family true || mark overlap; commit a b");
        world.cron(&[command, "01"]).ok();
        if command != "restart" {
            assert_eq!(family(&world), 0, "{command}: {:?}", world.processes());
        }
        world.quiet();
        assert_eq!(world.marks(), ["up"], "{command}");
        if let Some(group) = group {
            // `restart` has found it by its name.
            assert_eq!(fs::remove_dir(group).is_ok(), command != "restart");
        }
    }
}

#[test]
fn reconcile_says_what_is_to_be_done_and_does_it_once() {
    let world = World::at_work(&format!("{FAMILY}; mark up; sleep 1000"), &none());
    world.init(&["02"]);
    fs::write(world.task("02"), "{").unwrap();
    world.cron(&["reconcile"]).exits(1).says("worker 02 (broken): /");
    bereave(&world);
    let before = fs::read(world.task("01")).unwrap();
    world.hub.clear_exchanges();
    let said = world.cron(&["reconcile", "--dry-run"]).exits(1);
    let said = said.says("worker 01 (crashed with octo/app#1, running): end what its dead");
    said.says("; then take it up again: its supervisor was lost").says("for 1 of 2 workers");
    let plan = json(&world, &["assign", "--dry-run"]);
    assert_eq!(actions(&plan["reconciled"][0]), ["end", "take_up"]);
    let plan = json(&world, &["reconcile", "--dry-run"]);
    assert_eq!(actions(&plan["workers"][0]), ["end", "take_up"]);
    assert!(plan["workers"][0]["alive"].as_array().unwrap().len() > 3);
    assert_eq!(actions(&plan["workers"][1]), ["report"]);
    assert_eq!(fs::read(world.task("01")).unwrap(), before, "nothing was done");
    assert!(family(&world) > 3);
    assert_eq!(world.asked_lines(), [""; 0], "GitHub is asked nothing");

    let lock = store::AssignLock::try_take(&world.root).unwrap();
    world.cron(&["reconcile"]).ok().says("an assign is under way");
    drop(lock);
    world.agent("commit a b");
    let done = json(&world, &["reconcile"]);
    assert_eq!(
        (actions(&done["workers"][0]), &done["workers"][0]["done"]),
        (vec!["end", "take_up"], &true.into())
    );
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    world.cron(&["reconcile"]).exits(1).says("nothing to do for 2 workers");
    assert_eq!(fs::read_to_string(world.task("02")).unwrap(), "{");
}

#[test]
fn a_run_whose_record_is_in_the_archive_is_not_run_again() {
    let world = World::at_work("mark up; sleep 1000", &Config::default());
    world.kill_supervisor("01");
    // So far a `reset` came that was killed.
    let mut over = task(&world);
    over.ended =
        Some(claude_workers::domain::Ended { outcome: Outcome::Lost, why: "it was reset".into() });
    over.ended_at = Some(jiff::Timestamp::now());
    let completed = world.root.record(&over.worker).completed();
    store::make_private_dir(&completed).unwrap();
    let record = completed.join(format!("{}.json", over.archive_stem()));
    fs::write(&record, serde_json::to_vec(&over).unwrap()).unwrap();
    world.hub.clear_exchanges();
    world.cron(&["reconcile"]).ok().says("free it: its run is over and recorded");
    assert_eq!((world.outcomes(), world.task("01").exists()), (vec![Outcome::Lost], false));
    assert_eq!((world.asked_lines(), world.marks().len()), (vec![], 0));
}

#[test]
fn a_reset_that_was_killed_half_way_is_finished_by_the_next_tick() {
    let world = World::at_work("mark up; sleep 1000", &Config::default());
    world.kill_supervisor("01");
    let run = task(&world);
    let chores = world.root.github().join("chores");
    store::make_private_dir(&chores).unwrap();
    let note = serde_json::json!({
        "version": 1, "repo": APP, "issue": 1, "labels": ["worker:01"], "run": run.run,
    });
    fs::write(chores.join(format!("{}.json", run.run)), note.to_string()).unwrap();
    world.agent("commit a b");
    world.tick().says("finish its reset").says("worker 01 works on octo/app#1");
    assert_eq!(world.outcomes(), [Outcome::Lost, Outcome::Succeeded]);
    assert!(world.labels(1).is_empty() && world.pulls().len() == 1);
}

#[test]
fn an_agent_whose_interpreter_is_missing_has_not_started() {
    let world = World::new();
    let script = world.dir.join("agents/script");
    fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = fs::read_to_string(world.config_file()).unwrap();
    let text = text.replace("'/bin/sh', '", &format!("'{}', '", script.display()));
    fs::write(world.config_file(), text).unwrap();
    world.issue("One");
    world.tick();
    let ended = world.last_run().ended.unwrap();
    assert_eq!(ended.outcome, Outcome::NotStarted, "{ended:?}");
    assert!(ended.why.contains("cannot start") && ended.why.contains("script"), "{ended:?}");
    assert!(world.labels(1).is_empty() && world.comments(1).is_empty());
}

#[test]
fn an_agent_that_says_it_has_not_started_is_believed_only_in_the_way_that_none_could() {
    for (script, wanted) in [
        (r#"echo '{"jail_fault":"no"}'; echo more; exit 71"#, Outcome::Failed),
        (r#"echo first; echo '{"jail_fault":"no"}'; exit 71"#, Outcome::Failed),
        (r#"echo '{"jail_fault":"no"}'; exit 1"#, Outcome::Failed),
        ("exit 71", Outcome::Failed),
    ] {
        let world = World::new();
        world.agent(script);
        world.issue("One");
        world.tick();
        assert_eq!(world.outcomes(), [wanted], "{script}");
    }
}

/// The control groups of a run, where the machine has them, go with it: also when it is a person, or
/// the next tick, that ends what its supervisor could not.
#[test]
fn nothing_is_left_of_the_groups_of_a_run_whose_supervisor_was_killed() {
    use std::hash::{DefaultHasher, Hash, Hasher};
    for config in [none(), Config::default()] {
        let world = World::at_work("mark up; sleep 1000", &config);
        let mut root = DefaultHasher::new();
        world.root.path().hash(&mut root);
        let fence = format!("claude-workers-{:016x}-01", root.finish());
        let places = ["", "pids", "memory"].map(|of| format!("/sys/fs/cgroup/{of}/{fence}").into());
        let all: Vec<PathBuf> = places.into_iter().chain(task(&world).cgroup).collect();
        let there = || all.iter().filter(|dir| dir.exists()).count();
        println!("{} groups of {all:?}", there());
        bereave(&world);
        world.cron(&["reset", "01"]).ok();
        world.quiet();
        assert_eq!(there(), 0, "{all:?}");
    }
}
