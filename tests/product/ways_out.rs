//! What cannot be used as it is: nothing of it stays that need not, and everybody is told the way out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use claude_workers::domain::{Phase, WorkerId};
use claude_workers::store::{self, AssignLock, WorkerLock};
use nix::sys::stat::Mode;

use crate::world::{Config, Said, World};

fn first() -> WorkerId {
    "01".parse().unwrap()
}

#[test]
fn an_init_that_fails_leaves_no_worker_and_takes_none_away() {
    let world = World::bare(&Config::default());
    let templates = world.config_file().with_file_name("templates");
    let damages: [&dyn Fn(); 3] = [
        &|| {
            fs::create_dir_all(templates.join("worker")).unwrap();
            fs::write(templates.join("worker/NOTES.md"), "{{ oops").unwrap();
        },
        &|| nix::unistd::mkfifo(&templates, Mode::S_IRWXU).unwrap(),
        &|| fs::write(&templates, "").unwrap(),
    ];
    let record = world.root.record(&first());
    let mend = || fs::remove_dir_all(&templates).or_else(|_| fs::remove_file(&templates)).unwrap();
    for damage in damages {
        damage();
        world.cron(&["init", "01"]).exits(1);
        assert!(!record.dir().exists() && !world.home("01").exists());
        world.cron(&["status"]).ok().says("no workers in ");
        mend();
    }
    // What stands in the way of the home is nobody's worker either.
    fs::write(world.home("01"), "").unwrap();
    world.cron(&["init", "01"]).exits(1);
    assert!(!record.dir().exists());
    fs::remove_file(world.home("01")).unwrap();

    // What an interrupted one left is carried on, and kept if that fails.
    world.init(&["01"]);
    fs::rename(world.home("01"), world.dir.join("away")).unwrap();
    damages[0]();
    world.cron(&["init", "01"]).exits(1);
    assert!(record.completed().is_dir() && record.values().is_file());
    mend();
    for (words, code) in [
        (&["status"][..], 0),
        (&["doctor"], 1),
        (&["assign"], 1),
        (&["rm", "01", "-y"], 1),
        (&["reset", "01", "--force"], 1),
        (&["stop", "01"], 1),
    ] {
        let said = world.cron(words).exits(code).says("is missing; `claude-workers init 01` makes");
        assert!(!said.err.contains("by hand") && !said.out.contains("file named"), "{said:?}");
    }
    world.init(&["01"]);
    world.cron(&["status"]).ok().says("01  idle");
}

#[test]
fn what_is_wrong_with_a_workers_record_is_told_with_the_way_out_and_in_plain_letters() {
    let world = World::at_work("mark up; sleep 1000", &Config::default());
    world.kill_supervisor("01");
    let whole = fs::read_to_string(world.task("01")).unwrap();
    let run: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let mut odd = run.clone();
    odd["model"] = "x\u{202e}y\nz".into();
    odd["sessionId"] = "s\u{202e}\nt".into();
    fs::write(world.task("01"), odd.to_string()).unwrap();
    let said = world.cron(&["status", "01"]).ok();
    assert!(said.out.contains("agent/xy z") && said.out.contains("  s t\n"), "{}", said.out);

    fs::write(world.task("01"), "{").unwrap();
    for command in ["stop", "restart", "show", "logs", "inspect", "egress", "watch", "todos"] {
        world.cron(&[command, "01"]).exits(1).says("`claude-workers reset 01 --force` sets it");
    }
    let said = world.cron(&["todos"]).ok().says("warning: worker 01 is broken: /");
    assert_eq!(said.out, "");
    let said = world.cron(&["reconcile"]).exits(1);
    assert_eq!(said.out.matches("is broken").count(), 1, "{}", said.out);

    let record = world.root.record(&first());
    fs::write(record.egress_log(), "{}\n").unwrap();
    assert!(record.config().exists());
    world.cron(&["reset", "01", "--force"]).exits(1);
    for path in [record.config(), record.egress_log()] {
        assert!(!path.exists(), "{}", path.display());
    }
    let aside = fs::read_dir(record.dir()).unwrap().flatten();
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().contains(".broken-"));
    assert!(aside.count() >= 5);
}

#[test]
fn an_assign_that_is_stuck_is_told_of_and_so_is_who_holds_a_worker() {
    let world = World::at_work("mark up; sleep 1000", &Config::default());
    world.kill_supervisor("01");
    let hasty = |words: &[&str]| {
        let mut program = world.program();
        Said::of(&program.env("CLAUDE_WORKERS_PATIENCE", "assign=0").args(words).output().unwrap())
    };
    // One that was killed says nothing of whoever holds the lock now.
    fs::write(world.root.assign_lock(), r#"{"version":1,"pid":1,"pidStart":1,"bootId":"x"}"#)
        .unwrap();
    let turn = AssignLock::try_take(&world.root).unwrap().unwrap();
    let me = format!("(pid {}, since 20", std::process::id());
    world.cron(&["assign"]).ok().says(&format!("another assign is under way {me}"));
    world.cron(&["reconcile"]).ok().says(&format!("an assign is under way {me}"));
    let kill = format!("`kill -KILL {}`", std::process::id());
    for words in [&["assign", "-q"][..], &["assign"], &["reconcile"]] {
        let said = hasty(words).exits(1).says("an assign has been under way for ").says(&me);
        assert!(said.err.contains(&kill) && said.out.is_empty(), "{said:?}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&hasty(&["assign", "--json"]).exits(1).out).unwrap();
    assert_eq!(
        (&json["alreadyRunning"], &json["problems"][0]["exitCode"]),
        (&true.into(), &1.into())
    );
    hasty(&["doctor"]).says("warning  assign: an assign has been under way").says(&kill);
    assert!(!world.cron(&["doctor"]).out.contains("  assign: "));

    // A run that was claimed, and nothing more.
    let mut run = store::read_task(&world.root, &first()).unwrap().unwrap();
    (run.phase, run.pid, run.pid_start) = (Phase::Claimed, None, None);
    let lock = WorkerLock::try_take(&world.root, &first()).unwrap().unwrap();
    store::write_task(&world.root, &lock, &run).unwrap();
    for words in [&["stop", "01"][..], &["reset", "01", "--force"]] {
        world.cron(words).exits(1).says("a dispatcher holds it").says(&kill);
    }
    drop(turn);
    assert_eq!(fs::read(world.root.assign_lock()).unwrap(), b"", "nobody holds it");
    world.cron(&["stop", "01"]).exits(1).says("end the `dispatch` or `assign` that takes it");
    fs::remove_file(world.task("01")).unwrap();
    world.cron(&["stop", "01"]).exits(1).says("is just being taken").says("if it stays so");
}

#[test]
fn a_wrong_configuration_is_not_in_the_way_of_seeing_and_stopping_a_run() {
    let world = World::at_work("mark up; sleep 1000", &Config::default());
    let root = world.root.path().to_str().unwrap();
    let text = fs::read_to_string(world.config_file()).unwrap();
    let wrong = [text.replace("[assign]", "[asign]"), format!("{text}\n[retry]\nlost = 99\n")];
    let around = "meanwhile, `--config /dev/null` leaves the file out, with `--root DIR`";
    for wrong in wrong {
        fs::write(world.config_file(), wrong).unwrap();
        for words in [&["status"][..], &["stop", "01"], &["logs", "01"], &["watch", "01"]] {
            world.cron(words).exits(2).says(around);
        }
        for words in [&["assign"][..], &["status", "--root", "x\ny"]] {
            assert!(!world.cron(words).exits(2).err.contains("/dev/null"), "{words:?}");
        }
    }
    world.cron(&["status", "--config", "/dev/null", "--root", root]).ok().says("01  busy");
    world.cron(&["stop", "01", "--config", "/dev/null"]).ok();
    world.cron(&["status", "--config", "/dev/null"]).ok().says("01  stopped");
}

#[test]
fn doctor_tries_what_assign_reads_and_writes() {
    let world = World::new();
    world.issue("One");
    world.tick();
    world.cron(&["doctor"]).says("ok       state: ").says("/.pool can be read and written");
    let (pool, record) = (world.root.pool(), world.root.record(&first()));
    let aside = world.dir.join("aside");
    let look = |path: &PathBuf, look: &dyn Fn() -> Said| {
        let said = look();
        let line = said.out.lines().find(|line| line.starts_with("failure  state: "));
        let line = line.unwrap_or_else(|| panic!("{}: {said:?}", path.display()));
        assert!(said.code == 1 && line.contains(path.to_str().unwrap()), "{said:?}");
        assert!(said.out.contains("         → "), "no way out: {said:?}");
    };
    for path in [pool.join("host.json"), pool.join("github"), record.completed(), record.values()] {
        let was_dir = path.is_dir();
        fs::rename(&path, &aside).unwrap();
        fs::write(&path, "{").unwrap();
        look(&path, &|| world.cron(&["doctor"]));
        if !was_dir {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            look(&path, &|| world.cron(&["doctor"]));
        }
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    if !world.is_given_to_nobody() {
        return;
    }
    for path in [pool.clone(), pool.join("github"), record.dir().to_owned(), record.completed()] {
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        look(&path, &|| world.as_nobody(&["doctor"]));
        fs::set_permissions(&path, mode).unwrap();
    }
    world.as_nobody(&["doctor"]).says("ok       state: ");
}
