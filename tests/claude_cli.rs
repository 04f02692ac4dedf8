//! The real Claude Code, headless and in a jail, against a scripted model: it does what the program
//! relies on, and it says so in the events that are recorded in `tests/data/claude`.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

#[expect(dead_code, reason = "this program has no use for silence")]
#[path = "support/model.rs"]
mod model;
#[expect(dead_code, reason = "this program has no use for the emulator")]
#[path = "support/npm.rs"]
mod npm;
#[path = "support/recording.rs"]
mod recording;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use assert_cmd::Command;
use model::{Fault, ModelServer, Script, Turn};
use serde_json::{Value, json};
use tempfile::TempDir;

const SESSION: &str = "11111111-2222-4333-8444-555555555555";
/// Where the worker's home is seen inside the jail.
const HOME: &str = "/home/worker";
const BYPASS: &[&str] = &["--permission-mode", "bypassPermissions"];
/// Settings, hooks and servers of the home alone, never the repository's.
const OWN_SETTINGS: &[&str] = &["--setting-sources", "user", "--strict-mcp-config"];

/// A home with a repository in it, and a model for its agent.
struct Worker {
    home: TempDir,
    model: ModelServer,
    base: String,
    /// More of the agent's environment.
    env: &'static [(&'static str, &'static str)],
}

/// How a run of the agent ended.
struct Ran {
    code: Option<i32>,
    events: Vec<Value>,
    stderr: String,
}

impl Ran {
    fn result(&self) -> &Value {
        let last = self.events.last().unwrap_or(&Value::Null);
        assert_eq!(last["type"], "result", "no result event; stderr: {}", self.stderr);
        last
    }
}

impl Worker {
    fn new(script: Script) -> Self {
        let worker = {
            let model = ModelServer::start();
            let base = model.play("run", script);
            Self { home: TempDir::new().unwrap(), model, base, env: &[] }
        };
        fs::create_dir_all(worker.repo()).unwrap();
        worker.write(".gitconfig", "[user]\nname = Worker 01\nemail = worker@example.invalid\n");
        worker.git(&["init", "--quiet", "--initial-branch=main"]);
        worker.write("repo/notes.txt", "one\n");
        worker.git(&["add", "notes.txt"]);
        worker.git(&["commit", "--quiet", "--message=start"]);
        worker
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.repo())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the agent to its end, as the program would: in a jail, its prompt on stdin.
    fn run(&self, flags: &[&str]) -> Ran {
        let agent = npm::claude();
        let output = Command::new("bwrap")
            .args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"])
            .args(["--unshare-cgroup-try", "--die-with-parent", "--new-session"])
            .args(["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"])
            .args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"])
            .args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"])
            .args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"])
            .args(["--ro-bind", "/etc/passwd", "/etc/passwd"])
            .arg("--ro-bind")
            .arg(agent)
            .args(["/opt/agent/claude", "--bind"])
            .arg(self.home.path())
            .args([HOME, "--clearenv", "--setenv", "HOME", HOME])
            .args(["--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"])
            .args(["--setenv", "SHELL", "/bin/bash"])
            .args(["--setenv", "ANTHROPIC_BASE_URL", &self.base])
            .args(["--setenv", "ANTHROPIC_API_KEY", "sk-test"])
            .args(["--setenv", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"])
            .args(["--setenv", "DISABLE_AUTOUPDATER", "1"])
            .args(["--setenv", "CLAUDE_CODE_MAX_RETRIES", "2"])
            .args(["--setenv", "CLAUDE_CODE_ENABLE_TODO_TOOLS", "1"])
            .args(self.env.iter().flat_map(|(name, value)| ["--setenv", name, value]))
            .args(["--chdir", &format!("{HOME}/repo"), "--", "/opt/agent/claude"])
            .args(["-p", "--output-format", "stream-json", "--verbose"])
            .args(["--model", "sonnet", "--session-id", SESSION])
            .args(flags)
            .write_stdin("Mend the notes, please.")
            .timeout(Duration::from_mins(2))
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Ran {
            code: output.status.code(),
            events: stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A script that edits the notes and commits them.
fn mending() -> Script {
    let notes = format!("{HOME}/repo/notes.txt");
    let edit = json!({"file_path": notes, "old_string": "one", "new_string": "two"});
    let commit = "git add notes.txt && git commit --quiet --message='Mend the notes'";
    Script::new([
        Turn::call("Read", json!({"file_path": notes})),
        Turn::call("Edit", edit),
        Turn::call("Bash", json!({"command": commit, "description": "Commit the notes"})),
        Turn::say("The notes are mended."),
    ])
}

fn flags(sets: &[&[&'static str]]) -> Vec<&'static str> {
    sets.concat()
}

#[test]
fn it_edits_commits_and_ends_well() {
    let worker = Worker::new(mending());
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS]));

    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.events[0]["subtype"], "init");
    assert_eq!(ran.events[0]["session_id"], SESSION);
    let result = ran.result();
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(false)));
    assert_eq!(result["result"], "The notes are mended.");
    assert!(result["total_cost_usd"].as_f64().unwrap() > 0.0);

    assert_eq!(worker.git(&["log", "-1", "--format=%an %s"]), "Worker 01 Mend the notes\n");
    assert!(worker.git(&["show"]).contains("-one\n+two\n"));
    assert_eq!(worker.git(&["status", "--porcelain"]), "");

    let calls = worker.model.calls("run");
    assert_eq!(calls[0].prompt(), "Mend the notes, please.");
    assert!(calls.iter().all(|call| call.key.as_deref() == Some("sk-test")));
    let asked: Vec<_> = calls.iter().map(|call| (call.what.as_str(), call.turn)).collect();
    assert_eq!(asked, [0, 1, 2, 3].map(|turn| ("POST /v1/messages", Some(turn))));
    recording::check("success", &ran.events);
}

#[test]
fn a_refused_key_is_an_error_with_a_result_that_says_success() {
    let worker = Worker::new(mending().failing(0, Fault::Status(401), usize::MAX));
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS]));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let result = ran.result();
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(true)));
    assert_eq!(result["terminal_reason"], "api_error");
    recording::check("unauthorized", &ran.events);
}

#[test]
fn an_overloaded_model_is_asked_again() {
    let worker = Worker::new(mending().failing(1, Fault::Status(529), 2));
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let retries = ran.events.iter().filter(|event| event["subtype"] == "api_retry");
    assert_eq!(retries.count(), 2);
    assert_eq!(ran.result()["is_error"], false);
    recording::check("overloaded", &ran.events);
}

#[test]
fn answers_that_are_always_cut_end_in_an_error() {
    let worker = Worker::new(mending().failing(3, Fault::Cut, usize::MAX));
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS]));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ran.result()["is_error"], true);
    assert_eq!(worker.git(&["log", "-1", "--format=%s"]), "Mend the notes\n", "work is kept");
    recording::check("cut", &ran.events);
}

#[test]
fn too_many_turns_end_in_an_error() {
    let worker = Worker::new(mending());
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS, &["--max-turns", "2"]]));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ran.result()["subtype"], "error_max_turns");
    recording::check("max_turns", &ran.events);
}

#[test]
fn a_denied_tool_is_told_by_the_denials_alone() {
    let worker = Worker::new(mending());
    let ran = worker.run(&flags(&[&["--permission-mode", "default"], OWN_SETTINGS]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let result = ran.result();
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(false)));
    let denials = result["permission_denials"].as_array().unwrap();
    let denied: Vec<_> = denials.iter().map(|denial| &denial["tool_name"]).collect();
    assert_eq!(denied, ["Edit", "Bash"]);
    assert_eq!(worker.git(&["log", "--format=%s"]), "start\n");
    recording::check("denied", &ran.events);
}

#[test]
fn hooks_and_servers_of_the_repository_run_unless_the_flags_forbid_it() {
    let hook = json!({"type": "command", "command": format!("touch {HOME}/hooked")});
    let hooks = json!({"hooks": {"SessionStart": [{"hooks": [hook]}]}});
    let server = json!({"command": "touch", "args": [format!("{HOME}/served")]});
    let servers = json!({"mcpServers": {"bait": server}});
    let bait = |flags: &[&str]| {
        let worker = Worker::new(Script::new([Turn::say("Nothing to do.")]));
        worker.write("repo/.claude/settings.json", &hooks.to_string());
        worker.write("repo/.mcp.json", &servers.to_string());
        assert_eq!(worker.run(flags).code, Some(0));
        ["hooked", "served"].map(|file| worker.home.path().join(file).exists())
    };
    assert_eq!(bait(BYPASS), [true, true], "the bait is real");
    assert_eq!(bait(&flags(&[BYPASS, OWN_SETTINGS])), [false, false]);
}

#[test]
fn instructions_of_the_home_reach_the_model_and_those_of_the_repository_do_not() {
    let worker = Worker::new(Script::new([Turn::say("Read.")]));
    worker.write(".claude/CLAUDE.md", "instructions-of-the-home");
    worker.write("repo/CLAUDE.md", "instructions-of-the-repository");
    assert_eq!(worker.run(&flags(&[BYPASS, OWN_SETTINGS])).code, Some(0));
    let asked = worker.model.calls("run")[0].body.to_string();
    assert!(asked.contains("instructions-of-the-home"));
    assert!(!asked.contains("instructions-of-the-repository"));
}

#[test]
fn its_list_of_tasks_is_told_by_calls_and_answers() {
    let create = |what: &str| json!({"subject": what, "description": what, "activeForm": what});
    let update = |id: &str, status: &str| json!({"taskId": id, "status": status});
    let worker = Worker::new(Script::new([
        Turn::call("TaskCreate", create("Read the notes")),
        Turn::call("TaskCreate", create("Mend the notes"))
            .and("TaskCreate", create("Ask whether two is right"))
            .and("TaskCreate", create("Commit")),
        Turn::call("TaskUpdate", update("1", "completed"))
            .and("TaskUpdate", update("2", "in_progress"))
            .and("TaskUpdate", update("9", "completed")),
        Turn::call("TaskUpdate", update("3", "deleted"))
            .and("TaskUpdate", json!({"taskId": "2", "subject": "Mend all the notes"})),
        Turn::call("TaskList", json!({})).and("TaskGet", json!({"taskId": "2"})),
        Turn::say("One of three is done."),
    ]));
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    recording::check("tasks", &ran.events);
}

#[test]
fn its_older_list_comes_whole_each_time() {
    let todo =
        |what: &str, status: &str| json!({"content": what, "status": status, "activeForm": what});
    let mut worker = Worker::new(Script::new([
        Turn::call(
            "TodoWrite",
            json!({"todos": [todo("Read the notes", "in_progress"), todo("Mend the notes", "pending")]}),
        ),
        Turn::call(
            "TodoWrite",
            json!({"todos": [todo("Read the notes", "completed"), todo("Mend the notes", "in_progress")]}),
        ),
        Turn::say("One of two is done."),
    ]));
    worker.env = &[("CLAUDE_CODE_ENABLE_TASKS", "0")];
    let ran = worker.run(&flags(&[BYPASS, OWN_SETTINGS]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    recording::check("todos", &ran.events);
}
