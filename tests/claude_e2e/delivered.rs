//! Runs that end in a pull request.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::model::{Script, Turn};
use crate::processes::{Watch, wait_until};
use crate::world::{KEY, TOKEN, Way, World, bash};

/// Files below a directory that hold `secret`; links are not followed.
fn holding(dir: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holding(&path, secret));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(secret.len()).any(|w| w == secret.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The token as it is, and as it travels in a header of Basic authentication.
fn forms_of_the_token() -> [String; 2] {
    let basic = format!("x-access-token:{TOKEN}");
    [TOKEN.to_owned(), base64::engine::general_purpose::STANDARD.encode(basic)]
}

#[test]
fn assign_turns_an_open_issue_into_a_reviewable_pull_request() {
    let world = World::new(Way::Configured, "");
    let look = "exec > \"$HOME/seen.txt\"; env; git remote --verbose; \
                cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'; \
                (cd \"$HOME/..\"; find . -maxdepth 2 -path './01/*' -prune -o -printf 'place %p\n'); \
                until [ -e \"$HOME/go-on\" ]; do sleep 0.05; done";
    let outbox = world.home().join("outbox/pr.md");
    let pr = "Say two in the notes\n\nThe notes said one. `check.sh` passes.\n";
    let mut turns = vec![bash(look)];
    turns.extend(world.mending());
    turns.push(Turn::call("Write", json!({"file_path": outbox, "content": pr})));
    turns.push(Turn::say("The notes say two now."));
    world.script(Script::new(turns));

    let watch = Watch::start();
    let said = world.must(&["assign"]);
    assert_eq!(said, "worker 01 works on octo/app#1 Mend the notes\n");

    // While it works, GitHub shows who has the issue, and nobody takes it again.
    let first = world.model.wait_for("run", 0);
    assert_eq!(world.labels(), ["P1", "worker:01"]);
    let label = world.api("GET", "/repos/octo/app/labels/worker:01", &json!({})).1;
    assert_eq!(label["color"].as_str().unwrap().to_uppercase(), "0E8A16");
    let worker = world.worker();
    assert_eq!((&worker["state"], &worker["task"]["phase"]), (&json!("busy"), &json!("running")));
    let session = worker["task"]["sessionId"].clone();
    assert_eq!(world.must(&["assign"]), "nothing to do: no worker is idle\n");
    fs::write(world.home().join("go-on"), "").unwrap();
    world.wait_for_state("idle");
    world.wait_for_quiet();
    let seen = watch.seen();

    // The work is on the server, on a branch of its own, pushed once with the token.
    assert_eq!(world.branches(), ["issue-1", "main"]);
    assert_eq!(world.server_git(&["log", "--format=%s", "main..issue-1"]), "Mend the notes\n");
    let [parent, main] = ["issue-1^", "main"].map(|name| world.server_git(&["rev-parse", name]));
    assert_eq!(parent, main);
    let change = world.server_git(&["diff", "main", "issue-1"]);
    assert!(change.contains("-one\n+two\n"), "{change}");
    assert_eq!(world.server_git(&["diff", "--name-only", "main", "issue-1"]), "notes.txt\n");
    assert_eq!(world.pushes(), 1);
    let exchanges = world.git.exchanges();
    assert!(exchanges.iter().all(|e| !e.api), "everything else was asked of the emulator");
    let served = exchanges.iter().filter(|e| e.status == Some(200));
    assert!(
        served.clone().count() > 3 && served.clone().all(|e| e.login.as_deref() == Some("octo"))
    );

    // The pull request and the comment are for people.
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1);
    assert_eq!(pulls[0]["title"], "Say two in the notes");
    assert_eq!(
        (&pulls[0]["head"]["ref"], &pulls[0]["base"]["ref"]),
        (&json!("issue-1"), &json!("main"))
    );
    let body = pulls[0]["body"].as_str().unwrap();
    assert!(body.starts_with("Closes #1\n\nThe notes said one. `check.sh` passes."), "{body}");
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    let number = &pulls[0]["number"];
    assert!(comments[0].starts_with(&format!("Done: #{number} (1 commit).")), "{}", comments[0]);
    assert!(comments[0].contains(" · 1 min · $0."), "{}", comments[0]);
    assert_eq!(world.labels(), ["P1"]);

    // What is remembered of it is what happened.
    let history = world.history();
    assert_eq!(history.len(), 1);
    let run = &history[0];
    assert_eq!(run["ended"]["outcome"], "succeeded");
    assert_eq!(run["pr"]["number"], *number);
    assert_eq!((&run["sessionId"], &run["agent"]["turns"]), (&session, &json!(7)));
    let cost = run["agent"]["costUsd"].as_f64().unwrap();
    assert!(cost > 0.0);
    assert_eq!(run["work"]["commits"], 1);

    the_model_was_asked_what_it_should_be(&world, first.prompt());

    // The agent saw no token, no other home and no record; the token is nowhere but in its file.
    let inside = fs::read_to_string(world.home().join("seen.txt")).unwrap();
    assert!(inside.contains("CLAUDE_WORKERS_OUTBOX=") && inside.contains("--session-id"));
    assert!(inside.contains("https://github.com/octo/app.git"), "{inside}");
    let places = inside.lines().filter_map(|line| line.strip_prefix("place "));
    assert_eq!(places.collect::<BTreeSet<_>>(), [".", "./.pool", "./.pool/mirrors", "./01"].into());
    assert!(!world.home().join("hooked").exists() && !world.home().join("served").exists());
    let traces = world.git_traces();
    assert!(traces.contains("\"push\"") && traces.contains("git-credential"));
    assert!(seen.iter().any(|line| line.contains("--session-id")), "the watch saw the agent");
    assert!(seen.iter().all(|line| !line.contains(KEY)), "the key was an argument");
    for secret in forms_of_the_token() {
        assert!(!inside.contains(&secret), "the agent could read the token");
        assert!(!traces.contains(&secret), "the token was an argument of git");
        assert!(seen.iter().all(|line| !line.contains(&secret)), "the token was an argument");
        assert_eq!(holding(&world.user_home().join("workers"), &secret), [""; 0]);
    }

    // And it is done: the next tick leaves the issue alone.
    assert!(world.must(&["assign"]).contains("1 with a pull request"));
}

/// The issue fenced, its author's people heard, strangers and hidden text left out.
fn the_model_was_asked_what_it_should_be(world: &World, prompt: &str) {
    for part in [
        "You are worker 01 in a clone of octo/app, on the branch issue-1, which starts from main.",
        "instructions for agents: AGENTS.md, CLAUDE.md.",
        "Your task: implement issue #1.",
        "Title:\n````text\nMend the notes\n````\n",
        "Description:\n````text\nThey say one.\n\nThey should say two.\n````\n",
        "Comment by octo:\n````text\nExactly the word two, please.\n````\n",
    ] {
        assert!(prompt.contains(part), "{part:?} is not in {prompt}");
    }
    let calls = world.model.calls("run");
    for call in &calls {
        assert_eq!(call.key.as_deref(), Some(KEY), "{}", call.what);
        let all = call.body.to_string();
        for never in ["HIDDEN-ORDER", "STRANGERS-ORDER", "Co-Authored-By", TOKEN] {
            assert!(!all.contains(never), "{never} reached the model");
        }
    }
}

#[test]
fn dispatch_works_on_the_issue_that_is_named() {
    let world = World::new(Way::Found, "");
    let mut turns = world.mending();
    turns.push(Turn::say("I mended the notes, and the checks pass."));
    world.script(Script::new(turns));

    let said = world.must(&["dispatch", "-r", "octo/app", "-i", "1", "-m", "opus"]);
    assert!(said.contains("octo/app#1"), "{said}");
    world.wait_for_state("idle");
    world.wait_for_quiet();

    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1);
    assert_eq!(pulls[0]["title"], "Mend the notes (#1)");
    let body = pulls[0]["body"].as_str().unwrap();
    assert!(body.contains("I mended the notes, and the checks pass."), "{body}");
    assert!(body.contains("(claude, opus)"), "{body}");
    assert_eq!(world.branches(), ["issue-1", "main"]);
    assert_eq!((world.pushes(), world.comments().len()), (1, 1));
    let calls = world.model.calls("run");
    assert!(calls.iter().all(|call| call.key.as_deref() == Some(KEY)));
    assert!(calls[0].body["model"].as_str().unwrap().contains("opus"));
    assert!(!world.home().join("hooked").exists() && !world.home().join("served").exists());
    let run = &world.history()[0];
    assert_eq!(run["ended"]["outcome"], "succeeded");

    // Once more, it is refused: there is an open pull request.
    let again = world.run(&["dispatch", "-r", "octo/app", "-i", "1"]);
    assert_eq!(again.code, Some(4), "{again:?}");
    assert!(again.err.contains("has an open pull request"), "{}", again.err);
    assert_eq!(world.labels(), ["P1"]);
}

/// Three at once: each in a jail without a network, each with a proxy of its own as the one way to
/// its model, and one with settings that an earlier agent has left for it.
#[test]
fn several_agents_work_at_once_each_behind_walls_of_its_own() {
    let world = World::new(Way::Configured, "[assign]\nmax_per_repo = 3");
    let workers = ["01", "02", "03"];
    let home = |worker: &str| world.user_home().join("workers").join(worker);
    for worker in &workers[1..] {
        world.must(&["init", worker]);
        let issue = json!({"title": format!("Mend them for {worker}"), "body": "One is two."});
        assert_eq!(world.api("POST", "/repos/octo/app/issues", &issue).0, 201);
    }
    // What is left there runs, and has no more than any agent has anyway.
    let outside = world.user_home().join("hooked-outside");
    let hook = format!("touch ~/hooked-inside {}", outside.display());
    let hooks = json!({"SessionStart": [{"hooks": [{"type": "command", "command": hook}]}]});
    let settings = json!({ "hooks": hooks }).to_string();
    fs::write(home("02").join(".claude/settings.json"), settings).unwrap();
    let port = world.git.server_url().rsplit_once(':').unwrap().1.to_owned();
    let meet = format!(
        "(: </dev/tcp/127.0.0.1/{port}) 2>/dev/null && touch ~/open; touch ~/here; \
         until [ -e ~/go-on ]; do sleep 0.05; done"
    );
    let script = Script::new([
        bash(&meet),
        bash("sed -i s/one/two/ notes.txt && ./check.sh"),
        bash("git add --all && git commit --quiet --message='Mend the notes'"),
        Turn::say("The notes say two now."),
    ]);
    let url = world.model.play("run", script);
    let model = url.split('/').nth(2).unwrap();
    let said = world.must(&["assign"]);
    assert_eq!(said.matches(" works on octo/app#").count(), 3, "{said}");
    let here = || workers.iter().filter(|worker| home(worker).join("here").exists()).count();
    wait_until("all are at work", || format!("{} are", here()), || here() == 3);
    for worker in workers {
        fs::write(home(worker).join("go-on"), "").unwrap();
    }
    world.wait_for_quiet();
    let history = world.history();
    assert!(history.iter().all(|run| run["ended"]["outcome"] == "succeeded"), "{history:?}");
    assert_eq!((history.len(), world.pulls().len()), (3, 3));
    assert_eq!(world.branches(), ["issue-1", "issue-2", "issue-3", "main"]);
    for worker in workers {
        assert!(!home(worker).join("open").exists(), "{worker} has reached the host's loopback");
        let asked: Value =
            serde_json::from_str(&world.must(&["egress", worker, "--json"])).unwrap();
        let entries = asked["entries"].as_array().unwrap();
        let to_model = |entry: &&Value| {
            entry["verdict"] == "allowed"
                && format!("{}:{}", entry["host"].as_str().unwrap(), entry["port"]) == model
                && entry["sent"].as_u64() > Some(0)
        };
        assert!(entries.iter().filter(to_model).count() >= 1, "{worker}: {asked}");
    }
    assert!(home("02").join("hooked-inside").exists() && !outside.exists());
}
