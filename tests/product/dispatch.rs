//! One task, named by a person.

use std::io::Write as _;
use std::process::Stdio;

use claude_workers::domain::Outcome;
use claude_workers::fakehub::{NewIssue, NewRepo};

use crate::world::{APP, Config, Said, World};

fn dispatch(world: &World, args: &[&str]) -> Said {
    let all: Vec<&str> = ["dispatch", "-r", APP].into_iter().chain(args.iter().copied()).collect();
    world.cron(&all)
}

/// A refusal before anything was done: this code, these words, nothing written on GitHub, no
/// record, an idle worker.
#[track_caller]
fn refused(world: &World, args: &[&str], code: i32, words: &str) {
    let before: Vec<_> = world.hub.issues(APP).unwrap();
    let said = dispatch(world, args).exits(code);
    assert!(said.err.starts_with("error: ") && said.err.contains(words), "{}", said.err);
    assert!(said.out.is_empty(), "{}", said.out);
    assert_eq!(world.hub.issues(APP).unwrap(), before);
    assert!(world.asked().iter().all(|e| e.method == "GET"), "{:?}", world.asked_lines());
    assert!(!world.task("01").exists() && world.runs().is_empty());
    world.cron(&["status"]).ok().says("01  idle");
}

#[test]
fn an_issue_that_is_named_is_worked_on_by_the_worker_that_is_named() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    world.issue("Two");
    let said = dispatch(&world, &["-i", "2", "-w", "02", "-m", "opus"]).ok();
    said.says("worker 02 works on octo/app#2 (run ");
    world.quiet();
    let run = world.last_run();
    assert_eq!((run.worker.as_str(), run.model.as_deref()), ("02", Some("opus")));
    assert_eq!(world.pulls()[0].head, "issue-2");
}

#[test]
fn json_names_the_run_and_its_supervisor() {
    let world = World::new();
    world.issue("One");
    world.agent("mark start; sleep 1000");
    let said = dispatch(&world, &["-i", "#1", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&json["worker"], &json["issue"]), (&"01".into(), &1.into()));
    let pid = json["pid"].as_u64().unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(line.contains("\u{0}supervise\u{0}01\u{0}"), "{line:?}");
}

#[test]
fn what_is_no_open_issue_is_refused() {
    let world = World::new();
    world.hub.add_repo(&NewRepo::new("octo/b")).unwrap();
    for title in ["closed", "deleted", "moved"] {
        world.issue(title);
    }
    world.hub.set_open(APP, 1, false).unwrap();
    world.hub.delete_issue(APP, 2).unwrap();
    world.hub.move_issue(APP, 3, "octo/b").unwrap();
    refused(&world, &["-i", "1"], 4, "octo/app#1 is closed");
    refused(&world, &["-i", "2"], 4, "410 for octo/app#2: it has been deleted");
    refused(&world, &["-i", "3"], 4, "octo/app#3 has moved to octo/b#1");
    refused(&world, &["-i", "9"], 4, "404 for octo/app#9");
}

#[test]
fn the_number_of_a_pull_request_is_refused() {
    let world = World::new();
    world.issue("One");
    world.tick();
    let said = dispatch(&world, &["-i", "2"]).exits(4);
    assert!(said.err.contains("octo/app#2 is a pull request, not an issue"), "{}", said.err);
}

#[test]
fn an_issue_that_somebody_holds_is_refused() {
    let world = World::new();
    world.hub.add_issue(APP, &NewIssue::new("octo", "Theirs").label("worker:77")).unwrap();
    refused(&world, &["-i", "1"], 4, "octo/app#1 has the label worker:77");
}

#[test]
fn an_issue_that_another_worker_has_is_refused() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    world.agent("mark start; sleep 1000");
    dispatch(&world, &["-i", "1"]).ok();
    // Even if somebody takes the label off.
    world.hub.unlabel(APP, 1, "worker:01", "octo").unwrap();
    dispatch(&world, &["-i", "1"]).exits(4).says("octo/app#1 is held by worker 01");
}

#[test]
fn a_blocked_issue_may_be_named_and_its_old_labels_do_not_matter() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    world.agent("commit a b");
    dispatch(&world, &["-i", "1", "-w", "02"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded]);
    assert!(!world.labels(1).iter().any(|l| l.starts_with("worker:")), "{:?}", world.labels(1));
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn an_open_pull_request_is_in_the_way_and_a_merged_one_is_not() {
    let world = World::new();
    world.issue("One");
    world.tick();
    dispatch(&world, &["-i", "1"]).exits(4).says("has an open pull request: http://");
    world.hub.merge_pull(APP, 2).unwrap();
    world.hub.set_open(APP, 1, true).unwrap();
    world.agent("commit more.txt more");
    dispatch(&world, &["-i", "1"]).ok();
    world.quiet();
    let heads: Vec<(String, bool)> = world.pulls().into_iter().map(|p| (p.head, p.open)).collect();
    assert_eq!(heads, [("issue-1".to_owned(), false), ("issue-1-2".to_owned(), true)]);
}

#[test]
fn an_open_pull_request_of_a_second_branch_is_in_the_way_too() {
    let world = World::new();
    world.issue("One");
    world.tick();
    world.hub.set_open(APP, 2, false).unwrap();
    world.agent("commit more.txt more");
    dispatch(&world, &["-i", "1"]).ok();
    world.quiet();
    assert_eq!(world.pulls().len(), 2);
    dispatch(&world, &["-i", "1"]).ok();
    world.quiet();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::NotStarted));
    assert!(run.ended.unwrap().why.contains("there is an open pull request"));
    assert_eq!(world.pulls().len(), 2);
    assert!(world.labels(1).is_empty());
}

#[test]
fn a_worker_that_is_not_there_or_busy_is_named() {
    let world = World::new();
    world.issue("One");
    world.issue("Two");
    refused(&world, &["-i", "1", "-w", "09"], 3, "there is no worker 09");
    world.agent("mark start; sleep 1000");
    dispatch(&world, &["-i", "1"]).ok();
    for args in [&["-i", "2"][..], &["-i", "2", "-w", "01"]] {
        let said = dispatch(&world, args).exits(3);
        assert!(said.err.contains("worker 01 is busy with octo/app#1 (pid "), "{}", said.err);
    }
    assert!(world.labels(2).is_empty());
}

#[test]
fn wrong_words_on_the_command_line_are_named() {
    let world = World::new();
    for args in [
        &["-i", "0"][..],
        &["-i", "-1"],
        &["-i", "abc"],
        &["-i", "1", "-w", "../x"],
        &["-i", "1", "-w", ""],
        &["-i", "1", "-m", "--dangerous"],
        &["-i", "1", "-m", "a b"],
        &["-r", "a", "-i", "1"],
        &["-r", "a/b/c", "-i", "1"],
        &["-r", "--upload-pack=x/y", "-i", "1"],
    ] {
        let said = match args[0] {
            "-r" => world.cron(&[&["dispatch"], args].concat()),
            _ => dispatch(&world, args),
        };
        assert!(said.code == 2 && said.err.starts_with("error: "), "{args:?}: {said:?}");
    }
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn an_executor_that_is_not_there_is_refused_before_anything_is_claimed() {
    let gone = "[executors.gone]\ncommand = ['no-such-agent', '{prompt_file}']".to_owned();
    let world = World::with(&Config { more: gone, ..Config::default() }, &["01"]);
    world.issue("One");
    refused(&world, &["-i", "1", "-e", "typo"], 2, "typo");
    refused(&world, &["-i", "1", "-e", "gone"], 1, "no-such-agent");
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn without_a_jail_nothing_starts_and_nothing_is_claimed() {
    let world = World::new();
    world.issue("One");
    // One that is found and does not work, as where namespaces are forbidden.
    world.bubblewrap("echo 'bwrap: No permissions to create new namespace' >&2; exit 1");
    let said = world.cron(&["assign"]).exits(7);
    assert!(said.err.contains("No permissions to create new namespace"), "{}", said.err);
    assert!(said.err.contains("doctor"), "{}", said.err);
    assert!(world.labels(1).is_empty() && world.marks().is_empty());
    world.cron(&["doctor"]).exits(1).says("failure  sandbox");
}

/// Runs `dispatch` with a standard input that stays open, so that one that reads it hangs.
#[track_caller]
fn with_open_stdin(world: &World, args: &[&str]) -> Said {
    let mut child = claude_workers::process::command(env!("CARGO_BIN_EXE_claude-workers"))
        .env("HOME", world.user_home())
        .args(["dispatch", "-r", APP])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let said = Said::of(&child.wait_with_output().unwrap());
    drop(stdin);
    said
}

#[test]
fn standard_input_is_not_touched_when_there_is_an_issue_or_a_prompt() {
    let world = World::with(&Config::default(), &["01", "02", "03"]);
    world.issue("One");
    world.issue("Two");
    with_open_stdin(&world, &["-i", "1"]).ok();
    with_open_stdin(&world, &["-p", "Do it"]).ok();
    with_open_stdin(&world, &["-i", "2", "-p", "Do it"]).ok();
    world.quiet();
    assert_eq!(world.outcomes().len(), 3);
}

#[test]
fn a_prompt_comes_from_standard_input_when_there_is_nothing_else() {
    let world = World::new();
    world.agent("grep -e 'line [12]' $prompt");
    for args in [&[][..], &["-p", "-"]] {
        let mut program = world.program();
        program.args(["dispatch", "-r", APP]).args(args).write_stdin("--x line 1\nline 2\n");
        Said::of(&program.output().unwrap()).ok();
        world.quiet();
        let words = world.last_run().agent.unwrap().last_words.unwrap();
        assert_eq!(words, "--x line 1\nline 2");
    }
    for empty in ["", " \n"] {
        let mut program = world.program();
        program.args(["dispatch", "-r", APP]).write_stdin(empty);
        Said::of(&program.output().unwrap()).exits(2).says("the prompt is empty");
    }
}

#[test]
fn a_prompt_may_look_like_an_option_or_a_template() {
    let world = World::new();
    world.agent("grep -F -e '--help {{ x }} $HOME `id`' $prompt");
    dispatch(&world, &["-p", "--help {{ x }} $HOME `id`"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}

#[test]
fn a_prompt_of_a_megabyte_arrives_whole() {
    let world = World::new();
    world.agent("tr -cd x <$prompt | wc -c");
    let mut program = world.program();
    let mut text = Vec::new();
    text.write_all("x".repeat(1 << 20).as_bytes()).unwrap();
    program.args(["dispatch", "-r", APP]).write_stdin(text);
    Said::of(&program.output().unwrap()).ok();
    world.quiet();
    let words = world.last_run().agent.unwrap().last_words.unwrap();
    assert!(words.trim().parse::<u32>().unwrap() >= 1 << 20, "{words}");
}

#[test]
fn without_rights_dispatch_says_so_and_leaves_no_label() {
    let world = World::new();
    world.issue("One");
    world.write_token("ghp_wrong");
    refused(&world, &["-i", "1"], 5, "401");
    std::fs::remove_file(world.token_file()).unwrap();
    refused(&world, &["-i", "1"], 2, "the token file");
    let text = std::fs::read_to_string(world.config_file()).unwrap();
    std::fs::write(world.config_file(), text.replace("token_file", "#")).unwrap();
    refused(&world, &["-i", "1"], 5, "there is no GitHub token");
}

#[test]
fn a_token_that_may_only_read_leaves_no_label() {
    let world = World::new();
    world.issue("One");
    world.hub.add_token("stranger", "ghp_reader", None).unwrap();
    world.write_token("ghp_reader");
    let said = dispatch(&world, &["-i", "1"]).exits(5);
    assert!(said.err.contains("403") && said.err.contains("hint: "), "{}", said.err);
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
    assert!(world.marks().is_empty() && world.runs().is_empty());
}

#[test]
fn a_private_repository_that_the_token_cannot_see_is_refused() {
    let world = World::new();
    world.hub.add_repo(&NewRepo::new("octo/secret").private()).unwrap();
    world.hub.add_token("stranger", "ghp_reader", None).unwrap();
    world.write_token("ghp_reader");
    let said = world.cron(&["dispatch", "-r", "octo/secret", "-i", "1"]).exits(4);
    assert!(said.err.contains("404"), "{}", said.err);
}
