//! What agents say and do while they do it: `inspect`, `logs`, `todos`, `watch`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use claude_workers::domain::{Ended, Outcome, Run};
use claude_workers::process::command;
use claude_workers::store::{self, WorkerLock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::world::{APP, Config, Said, World};

const TASKS: &str = include_str!("../data/claude/tasks.jsonl");
const TODOS: &str = include_str!("../data/claude/todos.jsonl");

/// A command that goes on, and what it has said so far.
struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Follower {
    fn start(world: &World, args: &[&str]) -> Self {
        let mut program = command(env!("CARGO_BIN_EXE_claude-workers"));
        program.env("HOME", world.user_home()).args(args).stdin(Stdio::null());
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line of its standard output, awaited.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// Waits until it has read all of a file that it has open.
    fn has_read(&self, world: &World, file: &std::path::Path) {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let position = || {
            let fds = fs::read_dir(proc.join("fd")).ok()?.flatten();
            let fd =
                fds.into_iter().find(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == *file))?;
            let info = fs::read_to_string(proc.join("fdinfo").join(fd.file_name())).ok()?;
            info.lines().find_map(|l| l.strip_prefix("pos:")?.trim().parse::<u64>().ok())
        };
        let len = fs::metadata(file).unwrap().len();
        world.wait_until("it has read the file", || position() == Some(len));
    }

    /// Its end, and what else it said.
    fn end(mut self) -> Said {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let mut said = Said::of(&self.child.wait_with_output().unwrap());
        said.out = out;
        said
    }
}

/// A run under way whose supervisor is this test.
struct Held {
    run: Run,
    lock: WorkerLock,
    log: PathBuf,
}

impl Held {
    fn run(world: &World, executor: &str) -> Self {
        let id = "01".parse().unwrap();
        let lock = WorkerLock::try_take(&world.root, &id).unwrap().unwrap();
        let run: Run = serde_json::from_value(json!({
            "version": 1, "run": "20261121T071500-7f3a", "worker": "01", "kind": "implement",
            "repo": APP, "issue": 22, "title": "Slow\u{1b}[2J search", "prompt": null,
            "model": null, "executor": executor, "branch": "issue-22", "base": "trunk",
            "attempt": 1, "phase": "running", "phaseAt": "2026-11-21T07:15:00Z",
            "startedAt": "2026-11-21T07:15:00Z", "pid": null, "pidStart": null, "bootId": null,
            "sessionId": null,
        }))
        .unwrap();
        store::write_task(&world.root, &lock, &run).unwrap();
        Self { run, lock, log: world.root.record(&id).log() }
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        let mut log = File::options().create(true).append(true).open(&self.log).unwrap();
        log.write_all(text.as_ref()).unwrap();
    }
}

fn log_of(world: &World, worker: &str) -> PathBuf {
    world.root.record(&worker.parse().unwrap()).log()
}

/// An agent that says something, waits for the word (a file in its home), says more and commits.
const TALKS: &str = "echo begun; until [ -e \"$HOME/go\" ]; do sleep 0.02; done; echo ended; \
                     commit a b";

/// A world in which that agent is at work on issue 1.
fn talking() -> World {
    let world = World::new();
    world.agent(TALKS);
    world.issue("One");
    world.cron(&["assign"]).ok();
    world
}

fn let_go(world: &World) {
    fs::write(world.home("01").join("go"), "").unwrap();
}

#[test]
fn followers_see_half_written_lines_completed_and_the_log_replaced() {
    let world = World::new();
    let held = Held::run(&world, "agent");
    let mut followers: Vec<_> = [&["inspect", "01", "-f"][..], &["logs", "01", "-f"]]
        .map(|args| Follower::start(&world, args))
        .into();
    held.write("one\nha");
    for follower in &mut followers {
        assert_eq!(follower.line(), "one\n");
        follower.has_read(&world, &held.log);
    }
    held.write("lf\n");
    assert!(followers.iter_mut().all(|f| f.line() == "half\n"));
    let old = held.log.with_extension("log.1");
    fs::rename(&held.log, &old).unwrap();
    File::options().append(true).open(&old).unwrap().write_all(b"to the old one\n").unwrap();
    assert!(followers.iter_mut().all(|f| f.line() == "to the old one\n"));
    held.write("to the new one\n");
    assert!(followers.iter_mut().all(|f| f.line() == "to the new one\n"));
    File::create(&held.log).unwrap();
    held.write("anew\n");
    assert!(followers.iter_mut().all(|f| f.line() == "anew\n"));
    held.write("not finished");
    drop(held.lock);
    for follower in followers {
        let said = follower.end().ok();
        assert_eq!(said.out, "not finished\n");
        said.says("lost").says("its supervisor is gone; the next `assign` carries on");
    }
    world.cron(&["inspect", "01", "1"]).ok().says("not finished");
}

#[test]
fn followers_see_a_run_to_its_end_and_say_how_it_ended() {
    let world = talking();
    let readable = ["inspect", "01", "-f"];
    let raw = ["logs", "01", "--raw", "-f"];
    let mut followers: Vec<_> =
        [readable.as_slice(), &raw].map(|args| Follower::start(&world, args)).into();
    assert!(followers.iter_mut().all(|f| f.line() == "begun\n"));
    let_go(&world);
    for follower in followers {
        let said = follower.end().ok();
        assert_eq!(said.out, "ended\n");
        assert!(said.err.starts_with("worker 01  octo/app#1  succeeded  http"), "{}", said.err);
    }
    for args in [readable.as_slice(), &raw, &["logs", "01", "-f"]] {
        let said = world.cron(args).ok();
        assert_eq!(said.out, "begun\nended\n");
        said.says("succeeded");
    }
    world.quiet();
}

#[test]
fn a_follower_ends_with_its_supervisor_and_a_restart_keeps_the_log() {
    let world = talking();
    let mut follower = Follower::start(&world, &["inspect", "01", "-f"]);
    let watch = Follower::start(&world, &["watch", "01"]);
    assert_eq!(follower.line(), "begun\n");
    world.kill_supervisor("01");
    follower.end().ok().says("lost").says("its supervisor is gone");
    watch.end().exits(15).says("lost");
    let log = log_of(&world, "01");
    File::options().append(true).open(&log).unwrap().write_all(b"cut in the mid").unwrap();

    world.cron(&["restart", "01"]).ok();
    let mut follower = Follower::start(&world, &["logs", "01", "-f"]);
    let lines = [follower.line(), follower.line(), follower.line()];
    assert_eq!(lines, ["begun\n", "cut in the mid\n", "begun\n"]);
    let watch = Follower::start(&world, &["watch", "01"]);
    world.cron(&["stop", "01"]).ok();
    follower.end().ok().says("stopped");
    watch.end().exits(14).says("stopped");

    world.cron(&["restart", "01"]).ok();
    let mut follower = Follower::start(&world, &["inspect", "01", "2", "-f"]);
    while follower.line() != "begun\n" {}
    let_go(&world);
    let said = follower.end().ok();
    assert!(said.out.ends_with("ended\n"), "{said:?}");
    world.quiet();
    let all = "begun\ncut in the mid\nbegun\nbegun\nended\n";
    assert_eq!(world.cron(&["logs", "01", "--raw"]).ok().out, all);
}

#[test]
fn a_follower_goes_when_its_reader_goes() {
    let world = talking();
    for (args, code) in [(&["inspect", "01", "-f"][..], 0), (&["watch", "01"], 1)] {
        let mut follower = Follower::start(&world, args);
        if args.len() == 3 {
            assert_eq!(follower.line(), "begun\n");
        }
        let Follower { mut child, out } = follower;
        drop(out);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
    }
    world.cron(&["status", "01"]).ok().says("busy");
    let_go(&world);
    world.quiet();
}

#[test]
fn of_several_workers_the_first_or_all_are_waited_for() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.agent(TALKS);
    world.issue("One");
    world.issue("Two");
    world.cron(&["assign"]).ok();
    let any = Follower::start(&world, &["watch", "02", "01", "--any"]);
    let all = Follower::start(&world, &["watch", "02", "01"]);
    let_go(&world);
    let said = any.end().ok();
    assert_eq!((said.out.lines().count(), said.err.as_str()), (1, ""));
    assert!(said.out.starts_with("worker 01  octo/app#1  succeeded  http"), "{said:?}");
    world.kill_supervisor("02");
    let said = all.end().exits(15);
    let workers: Vec<_> = said.out.lines().map(|l| &l[..9]).collect();
    assert_eq!((workers, said.err.as_str()), (vec!["worker 02", "worker 01"], ""));
    world.cron(&["watch", "01"]).exits(3).says("worker 01 is idle");
}

#[test]
fn a_run_that_has_said_nothing_does_not_show_what_an_earlier_one_said() {
    let world = World::new();
    world.issue("One");
    world.tick();
    assert_eq!(world.cron(&["logs", "01"]).ok().out, "All done.\n");
    let held = Held::run(&world, "agent");
    world.cron(&["logs", "01"]).exits(1).says("has said nothing yet");
    assert_eq!(world.cron(&["inspect", "01"]).ok().out, "");
    let mut follower = Follower::start(&world, &["logs", "01", "-f"]);
    held.write("at last\n");
    assert_eq!(follower.line(), "at last\n");
    // It is archived and the next run speaks before the follower looks.
    let pid = Pid::from_raw(i32::try_from(follower.child.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    held.write("and last\n");
    let mut over = held.run.clone();
    over.ended = Some(Ended { outcome: Outcome::Deferred, why: "it is too hard".into() });
    over.ended_at = Some(over.started_at);
    store::archive(&world.root, &held.lock, &over).unwrap();
    held.write("the next run\n");
    kill(pid, Signal::SIGCONT).unwrap();
    let said = follower.end().ok();
    assert_eq!(said.out, "and last\n");
    said.says("worker 01  octo/app#22  deferred  it is too hard");
}

/// Makes the program `claude` print a recorded stream and wait for the word.
pub fn claude_says(world: &World, stream: &str) {
    let agents = world.dir.join("agents");
    fs::write(agents.join("stream.jsonl"), stream).unwrap();
    let script = "#!/bin/sh\ncat \"${0%/*}/stream.jsonl\"\n\
                  until [ -e \"$HOME/go\" ]; do sleep 0.02; done\n";
    fs::write(agents.join("claude"), script).unwrap();
    fs::set_permissions(agents.join("claude"), fs::Permissions::from_mode(0o755)).unwrap();
    let more = format!("[executors.claude]\npath = '{}/claude'\n", agents.display());
    world.configure(&Config { more, ..Config::default() });
}

#[test]
fn the_list_of_things_to_do_is_shown_as_the_agent_keeps_it() {
    let world = World::with(&Config::default(), &["01", "02", "03"]);
    world.cron(&["todos"]).ok().says("no worker has a run");
    world.cron(&["todos", "01"]).exits(1).says("worker 01 has no log yet");
    world.cron(&["todos", "99"]).exits(3);
    claude_says(&world, &TASKS.replace("Commit", "Com\\u001b[31mmit"));
    world.issue("One");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01", "-e", "claude"]).ok();
    world.agent("echo '✓ I say that all is done'; sleep 1000");
    world.cron(&["dispatch", "-r", APP, "-p", "Tidy up", "-w", "02"]).ok();
    let list = "  ✓ Read the notes\n  → Mend all the notes\n  ○ Com[31mmit\n";
    world.wait_until("the list is there", || world.cron(&["todos", "01"]).ok().out.contains(list));
    world.wait_until("the other agent speaks", || log_of(&world, "02").exists());
    assert_eq!(
        world.cron(&["todos"]).ok().out,
        format!(
            "01  octo/app#1  busy  One\n{list}02  octo/app  busy\n  \
             agents of the executor agent do not tell\n"
        )
    );
    let json: Value = serde_json::from_str(&world.cron(&["todos", "--json"]).ok().out).unwrap();
    assert_eq!((&json["version"], &json["workers"][1]["todos"]), (&json!(1), &Value::Null));
    let first = &json["workers"][0];
    assert_eq!(
        (&first["worker"], &first["state"], &first["issue"]),
        (&json!("01"), &json!("busy"), &json!(1))
    );
    assert_eq!(first["todos"][1], json!({"what": "Mend all the notes", "status": "in_progress"}));

    // The same in the other commands, a line for each thing done.
    let inspected = world.cron(&["inspect", "01", "4"]).ok().out;
    assert_eq!(inspected, "TaskList {}\nTaskGet 2\nOne of three is done.\nended: success\n");
    world.cron(&["stop", "01"]).ok();
    world.cron(&["todos", "01"]).ok().says("01  octo/app#1  stopped  One\n  ✓ Read");

    claude_says(&world, TODOS);
    fs::write(world.home("03").join("go"), "").unwrap();
    world.cron(&["dispatch", "-r", APP, "-p", "Again", "-w", "03", "-e", "claude"]).ok();
    world.cron(&["watch", "03"]).ok();
    let earlier = "03  octo/app  idle\n  ✓ Read the notes\n  → Mend the notes\n";
    assert_eq!(world.cron(&["todos", "03"]).ok().out, earlier);
    assert!(
        world.cron(&["logs", "03"]).ok().out.contains("  → Read the notes\n  ○ Mend the notes\n")
    );
    world.cron(&["stop", "02"]).ok();
}

#[test]
fn an_agent_without_a_list_has_none() {
    let world = World::new();
    claude_says(&world, "");
    let held = Held::run(&world, "claude");
    held.write("no json\n{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"x\"}\n{\"half");
    assert_eq!(
        world.cron(&["todos"]).ok().out,
        "01  octo/app#22  busy  Slow[2J search\n  no list\n"
    );
    let json: Value = serde_json::from_str(&world.cron(&["todos", "--json"]).ok().out).unwrap();
    assert_eq!(json["workers"][0]["todos"], json!([]));
}

/// Runs the program with no more than `mib` of memory for its data.
fn with_memory(world: &World, mib: u32, args: &[&str]) -> Said {
    let mut shell = command("/bin/sh");
    shell.env("HOME", world.user_home()).stdin(Stdio::null());
    shell.args(["-c", &format!("ulimit -d {}; exec \"$@\"", mib * 1024), "sh"]);
    shell.arg(env!("CARGO_BIN_EXE_claude-workers")).args(args);
    Said::of(&shell.output().unwrap())
}

#[test]
fn huge_lines_are_read_in_little_memory() {
    let world = World::new();
    claude_says(&world, "");
    let held = Held::run(&world, "claude");
    let words = |text: &str| {
        let content = json!([{"type": "text", "text": text}]);
        json!({"type": "assistant", "message": {"content": content}}).to_string() + "\n"
    };
    let picture = json!([{"type": "image", "source": {"data": "AAAA".repeat(1 << 20)}}]);
    let answer = json!([{"type": "tool_result", "tool_use_id": "t", "content": picture}]);
    held.write(words("before"));
    held.write(json!({"type": "user", "message": {"content": answer}}).to_string() + "\n");
    held.write(words(&("😀\"\\".repeat(2 << 20))));
    held.write("\u{1b}[2J\0\u{7f}".repeat(3 << 20) + "\n");
    held.write(TASKS);
    held.write(b"\xff\xfe\x00 \x1b]0;title\x07\n");
    held.write(words("after"));
    held.write(words(&"half".repeat(1 << 20)).trim_end());

    let shown = with_memory(&world, 12, &["inspect", "01", "100"]).ok().out;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], "before");
    assert!(lines[1].starts_with("😀\"\\😀\"\\") && lines[1].ends_with('…'), "{}", lines[1]);
    assert!(lines[2].starts_with("[2J[2J[2J") && lines[2].ends_with('…'), "{}", lines[2]);
    assert_eq!(lines[3], "TaskCreate Read the notes");
    assert_eq!(lines[lines.len() - 2..], ["\u{fffd}\u{fffd} ]0;title", "after"]);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
    let last = with_memory(&world, 12, &["inspect", "01", "1"]).ok().out;
    assert_eq!(last, "after\n");
    with_memory(&world, 12, &["todos", "01"]).ok().says("→ Mend all the notes");
    let read = with_memory(&world, 16, &["logs", "01"]).ok().out;
    assert!(!read.contains(|c: char| c.is_control() && !"\n\t".contains(c)));
    drop(held);
}
