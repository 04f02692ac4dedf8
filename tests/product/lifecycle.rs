//! `refresh`: templates and credentials again, in a home that an agent has lived in.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use claude_workers::process::command;
use nix::sys::stat::Mode;

use crate::world::{APP, Config, Said, World, app, files};

const ALL: &str = "['gitconfig', 'ssh', 'gh', 'gh_token', 'claude_code_oauth_token']";
const KEY: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// A world whose user has something to copy, and worker `01` with it.
pub fn furnished() -> World {
    let world = World::bare(&Config::default());
    world.hub.add_repo(&app()).unwrap();
    copy(&world, ALL);
    put(&world, ".gitconfig", "[user]\n\tname = Ada\n");
    put(&world, ".ssh/id_old", "an old key\n");
    put(&world, ".ssh/config", "Host *\n");
    put(&world, ".config/gh/hosts.yml", "github.com: {}\n");
    world.init(&["01"]);
    world
}

/// What the configuration lets be copied from now on.
fn copy(world: &World, kinds: &str) {
    let text = fs::read_to_string(world.config_file()).unwrap();
    let with = |line: &str| {
        let line =
            if line.starts_with("copy = ") { format!("copy = {kinds}") } else { line.into() };
        line + "\n"
    };
    fs::write(world.config_file(), text.lines().map(with).collect::<String>()).unwrap();
}

fn put(world: &World, name: &str, text: &str) {
    let path = world.user_home().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(world: &World, name: &str) -> String {
    fs::read_to_string(world.home("01").join(name)).unwrap()
}

fn template(world: &World, name: &str, text: &str) {
    put(world, &format!(".config/claude-workers/templates/worker/{name}"), text);
}

fn values(world: &World) -> BTreeMap<String, String> {
    let path = world.root.record(&"01".parse().unwrap()).values();
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Everything that the user has but the workers.
fn of_the_user(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let root = world.root.path();
    files(&world.user_home()).into_iter().filter(|(path, _)| !path.starts_with(root)).collect()
}

fn with_key(world: &World, key: &str, args: &[&str]) -> Said {
    Said::of(&world.program().env(KEY, key).args(args).output().unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_new_comes_what_was_revoked_goes_and_what_the_agent_made_stays() {
    let world = furnished();
    world.cron(&["refresh", "01"]).ok().says("worker 01: nothing to change");
    fs::write(world.home("01").join(".ssh/known_hosts"), "the agent's\n").unwrap();
    fs::write(world.home("01").join(".bashrc"), "alias ls=ls\n").unwrap();
    fs::remove_file(world.user_home().join(".ssh/id_old")).unwrap();
    put(&world, ".ssh/id_new", "a new key\n");
    put(&world, ".ssh/config", "Host github.com\n");
    template(&world, "bin/tool", "#!/bin/sh\n");
    let tool = world.user_home().join(".config/claude-workers/templates/worker/bin/tool");
    fs::set_permissions(tool, Permissions::from_mode(0o755)).unwrap();

    let before = files(world.root.path());
    let said = world.cron(&["refresh", "--all", "--dry-run"]).ok();
    assert_eq!(files(world.root.path()), before);
    let lines: Vec<_> = said.out.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "worker 01 (dry run): 2 files changed, 2 added, 1 removed",
            "changed: .bashrc",
            "changed: .ssh/config",
            "added: .ssh/id_new",
            "added: bin/tool",
            "removed: .ssh/id_old",
        ]
    );
    let said = world.cron(&["refresh", "--all"]).ok();
    assert!(said.out.starts_with("worker 01: 2 files changed, 2 added, 1 removed\n"), "{said:?}");
    let home = world.home("01");
    assert_eq!(read(&world, ".ssh/id_new"), "a new key\n");
    assert_eq!(read(&world, ".ssh/known_hosts"), "the agent's\n");
    assert!(read(&world, ".bashrc").contains("env.sh"));
    assert!(!home.join(".ssh/id_old").exists());
    assert_eq!((mode(&home.join("bin/tool")), mode(&home.join(".ssh/id_new"))), (0o700, 0o600));
    assert_eq!(mode(&home.join("bin")), 0o700);

    // A template that is no more takes its directory along, if nobody else used it.
    fs::remove_dir_all(world.user_home().join(".config/claude-workers/templates")).unwrap();
    let said = world.cron(&["refresh", "01", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["workers"][0]["removed"], serde_json::json!(["bin/tool"]));
    assert!(!home.join("bin").exists());
    world.cron(&["refresh", "01"]).ok().says("nothing to change");
}

#[test]
fn a_variable_that_is_not_set_takes_no_token_away() {
    let world = furnished();
    with_key(&world, "sk-one", &["refresh", "01"]).ok().says("CLAUDE_CODE_OAUTH_TOKEN set");
    fs::remove_file(world.token_file()).unwrap();
    for key in [None, Some("")] {
        let mut refresh = world.program();
        refresh.args(["refresh", "01"]).envs(key.map(|key| (KEY, key)));
        Said::of(&refresh.output().unwrap()).ok().says("nothing to change");
        assert!(read(&world, ".config/claude-workers/env.sh").contains("='sk-one'"));
        assert_eq!(values(&world)[KEY], "sk-one");
        assert_eq!(values(&world)["GH_TOKEN"], crate::world::TOKEN);
    }
    let said = with_key(&world, "sk-two", &["refresh", "01"]).ok();
    assert!(!format!("{said:?}").contains("sk-two"));
    assert!(read(&world, ".config/claude-workers/env.sh").contains("='sk-two'"));
    assert_eq!(values(&world)[KEY], "sk-two");
}

#[test]
fn a_kind_that_is_configured_no_more_is_taken_away() {
    let world = furnished();
    with_key(&world, "sk-one", &["refresh", "01"]).ok();
    copy(&world, "['gitconfig', 'claude_code_oauth_token']");
    let said = world.cron(&["refresh", "01"]).ok().says("GH_TOKEN removed");
    assert!(said.out.contains("removed: .ssh/id_old"), "{said:?}");
    assert!(!world.home("01").join(".ssh").exists());
    assert!(!world.home("01").join(".config/gh").exists());
    assert!(!read(&world, ".config/claude-workers/env.sh").contains("GH_TOKEN"));
    assert_eq!(values(&world).into_keys().collect::<Vec<_>>(), [KEY]);
    assert_eq!(read(&world, ".gitconfig"), "[user]\n\tname = Ada\n");
}

#[test]
fn a_place_that_a_variable_named_is_not_gone_when_the_variable_is() {
    let world = furnished();
    let elsewhere = world.user_home().join(".config/gh-work");
    fs::rename(world.user_home().join(".config/gh"), &elsewhere).unwrap();
    world.cron(&["refresh", "01"]).ok().says("nothing to change");
    assert_eq!(read(&world, ".config/gh/hosts.yml"), "github.com: {}\n");
    put(&world, ".config/gh-work/hosts.yml", "new: {}\n");
    let mut refresh = world.program();
    refresh.env("GH_CONFIG_DIR", elsewhere).args(["refresh", "01"]);
    Said::of(&refresh.output().unwrap()).ok().says("1 file changed");
    assert_eq!(read(&world, ".config/gh/hosts.yml"), "new: {}\n");
}

#[test]
fn nothing_is_written_through_what_an_agent_has_planted() {
    let world = furnished();
    let home = world.home("01");
    let outside = world.dir.join("outside");
    for name in ["ssh/id_old", "ssh/config", "claude/settings.json", "zshenv"] {
        fs::create_dir_all(outside.join(name).parent().unwrap()).unwrap();
        fs::write(outside.join(name), "not the worker's").unwrap();
    }
    let before = (files(&outside), of_the_user(&world));
    for dir in [".ssh", ".claude", ".config"] {
        fs::rename(home.join(dir), home.join(format!("was{dir}"))).unwrap();
    }
    for file in [".zshenv", ".profile", ".bashrc", ".gitconfig"] {
        fs::remove_file(home.join(file)).unwrap();
    }
    symlink(outside.join("ssh"), home.join(".ssh")).unwrap();
    symlink(world.user_home().join(".claude"), home.join(".claude")).unwrap();
    fs::write(home.join(".config"), "a file where a directory goes").unwrap();
    symlink(outside.join("zshenv"), home.join(".zshenv")).unwrap();
    symlink("/dev/zero", home.join(".gitconfig")).unwrap();
    nix::unistd::mkfifo(&home.join(".profile"), Mode::S_IRWXU).unwrap();
    fs::create_dir_all(home.join(".bashrc/full")).unwrap();
    // What was revoked is not looked for behind a link either.
    fs::remove_file(world.user_home().join(".ssh/id_old")).unwrap();
    let before = (before.0, of_the_user(&world));

    let said = world.cron(&["refresh", "01"]).ok();
    assert_eq!((files(&outside), of_the_user(&world)), before);
    for moved in [".ssh", ".claude", ".config", ".bashrc"] {
        let line = format!("{moved} was in the way; it is {moved}.aside-1 now");
        assert!(said.out.contains(&line), "{line} in {said:?}");
        assert!(fs::symlink_metadata(home.join(format!("{moved}.aside-1"))).is_ok());
    }
    for name in [".zshenv", ".profile", ".bashrc", ".gitconfig", ".ssh/config"] {
        let meta = fs::symlink_metadata(home.join(name)).unwrap();
        assert!(meta.is_file() && mode(&home.join(name)) == 0o600, "{name}");
    }
    assert!(home.join(".bashrc.aside-1/full").is_dir());
    world.cron(&["refresh", "01"]).ok().says("nothing to change");
}

#[test]
fn a_home_that_shuts_everybody_out_is_opened() {
    let world = furnished();
    put(&world, ".ssh/config", "Host new\n");
    for dir in [".ssh", ".claude", ""] {
        let shut = Permissions::from_mode(0o000);
        fs::set_permissions(world.home("01").join(dir), shut).unwrap();
    }
    world.cron(&["refresh", "01"]).ok();
    assert_eq!(read(&world, ".ssh/config"), "Host new\n");
    for dir in [".ssh", ".claude", ""] {
        assert_eq!(mode(&world.home("01").join(dir)), 0o700, "{dir:?}");
    }
    world.cron(&["refresh", "01"]).ok().says("nothing to change");
}

#[test]
fn a_template_that_cannot_be_rendered_changes_nothing() {
    let world = furnished();
    world.cron(&["refresh", "01"]).ok();
    put(&world, ".ssh/config", "Host new\n");
    template(&world, ".claude/CLAUDE.md", "{{ no_such_thing }}");
    let before = files(world.root.path());
    with_key(&world, "sk-one", &["refresh", "--all"]).exits(1).says("CLAUDE.md, line 1");
    assert!(files(world.root.path()) == before);
}

#[test]
fn a_home_that_has_no_list_of_what_was_placed_is_refreshed_and_gets_one() {
    let world = furnished();
    let list = world.root.record(&"01".parse().unwrap()).furniture();
    fs::remove_file(&list).unwrap();
    fs::remove_file(world.user_home().join(".ssh/id_old")).unwrap();
    world.cron(&["refresh", "01"]).ok().says("before it was written down");
    assert!(world.home("01").join(".ssh/id_old").exists());
    fs::remove_file(world.user_home().join(".ssh/config")).unwrap();
    world.cron(&["refresh", "01"]).ok().says("1 file removed");
    // One that cannot be read is no list, and is not overwritten.
    for bad in ["{", r#"{"version":1,"files":["../../x"]}"#, r#"{"version":2,"files":[]}"#] {
        fs::write(&list, bad).unwrap();
        world.cron(&["refresh", "01"]).exits(1).says("furniture.json");
        assert_eq!(fs::read_to_string(&list).unwrap(), bad);
    }
}

#[test]
fn a_worker_that_is_not_idle_is_left_or_waited_for() {
    let world = furnished();
    world.init(&["02"]);
    world.issue("One");
    world.agent("mark start; while ! test -e ~/go; do sleep 0.05; done; commit a b");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.wait_until("the agent works", || world.marks() == ["start"]);
    put(&world, ".ssh/config", "Host new\n");
    let before = files(&world.home("01").join(".ssh"));
    world.cron(&["refresh", "01"]).exits(3).says("worker 01 is busy with octo/app#1");
    let said = world.cron(&["refresh", "--all"]).exits(3).says("01 is busy");
    assert!(said.out.contains("worker 02: 1 file changed"), "{said:?}");
    world.cron(&["refresh", "--all", "--json"]).exits(3).says(r#""left": "worker 01 is busy"#);
    assert_eq!(files(&world.home("01").join(".ssh")), before);

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.cron(&["refresh", "--all", "--wait"]));
        fs::write(world.home("01").join("go"), "").unwrap();
        let said = waiting.join().unwrap().ok();
        assert!(said.out.contains("worker 01: 1 file changed"), "{said:?}");
    });
    assert_eq!(read(&world, ".ssh/config"), "Host new\n");
    assert!(world.runs().len() == 1 && world.pulls().len() == 1);
}

#[test]
fn a_run_that_waits_for_a_person_is_not_waited_for() {
    let world = furnished();
    world.issue("One");
    world.agent("mark start; sleep 1000");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent works", || world.marks() == ["start"]);
    world.kill_supervisor("01");
    world.cron(&["refresh", "01", "--wait"]).exits(3).says("crashed with octo/app#1");
    world.cron(&["stop", "01"]).ok();
    world.cron(&["refresh", "--all", "--wait"]).exits(3).says("claude-workers reset 01");
    fs::write(world.task("01"), "{").unwrap();
    world.cron(&["refresh", "--all"]).exits(1).says("worker 01 is broken");
    world.cron(&["refresh", "09"]).exits(3).says("there is no worker 09");
}

#[test]
fn a_refresh_that_is_killed_leaves_each_file_old_or_new_and_is_finished_by_the_next() {
    let world = furnished();
    let many = 0..60;
    let text = |n: u32, round: u32| format!("file {n} of round {round}\n").repeat(200);
    let write = |round| {
        for n in many.clone() {
            put(&world, &format!(".ssh/keys/{n}"), &text(n, round));
        }
    };
    write(0);
    world.cron(&["refresh", "01"]).ok();
    for round in 1..=12 {
        write(round);
        put(&world, &format!(".ssh/only-{round}"), "for a round\n");
        let _ = fs::remove_file(world.user_home().join(format!(".ssh/only-{}", round - 1)));
        let mut refresh = command(env!("CARGO_BIN_EXE_claude-workers"))
            .env("HOME", world.user_home())
            .args(["refresh", "01"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Somewhere on its way; where, is no matter.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 7));
        refresh.kill().unwrap();
        refresh.wait().unwrap();
        for n in many.clone() {
            let is = read(&world, &format!(".ssh/keys/{n}"));
            assert!((0..=round).any(|r| is == text(n, r)), "file {n} in round {round}: {is}");
        }
        world.cron(&["status"]).ok().says("idle");
    }
    world.cron(&["refresh", "01"]).ok();
    assert!(many.clone().all(|n| read(&world, &format!(".ssh/keys/{n}")) == text(n, 12)));
    let only = |name: &String| name.starts_with("only-");
    let left: Vec<String> = fs::read_dir(world.home("01").join(".ssh"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(only)
        .collect();
    assert_eq!(left, ["only-12"]);
    let pool = fs::read_dir(world.root.pool()).unwrap().flatten();
    let staged = pool.filter(|e| e.file_name().to_string_lossy().starts_with(".new-"));
    assert_eq!(staged.count(), 0);
    world.cron(&["refresh", "01"]).ok().says("nothing to change");
}

#[test]
fn a_worker_changes_no_worker_and_no_program() {
    let world = furnished();
    for args in
        [&["refresh", "--all"][..], &["rm", "01", "-y"], &["update"], &["update", "--check"]]
    {
        let mut inside = world.program();
        inside.env("CLAUDE_WORKERS_WORKER", "01").args(args);
        Said::of(&inside.output().unwrap()).exits(4).says("a worker may not");
    }
    assert!(world.home("01").exists());
}
