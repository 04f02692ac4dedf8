//! Prompts through standard input: any bytes, up to the agent, and no waiting for what is not wanted.

use std::io::Write as _;
use std::process::Stdio;

use claude_workers::domain::Outcome;

use crate::world::{APP, Config, Said, World};

/// Every byte there is, and what text tools like to mend.
fn any_bytes() -> Vec<u8> {
    let mut bytes = b"\n CRLF\r\n\0NUL\xff\xfe {{ x }} $HOME `id` {prompt_file}\r\n".to_vec();
    bytes.extend(0..=255);
    bytes.extend_from_slice(b"\n\n\n  ");
    bytes
}

/// An agent that copies its prompt, from its standard input or from its file.
fn copying(stdin: bool) -> World {
    let world = World::new();
    if stdin {
        let text = std::fs::read_to_string(world.config_file()).unwrap();
        let changed = text.replace(", '{prompt_file}', '{issue}', '{model}'", "");
        assert_ne!(text, changed);
        std::fs::write(world.config_file(), changed).unwrap();
    }
    world.agent(if stdin {
        "cat >$HOME/copy; echo done"
    } else {
        "cat $prompt >$HOME/copy; echo done"
    });
    world
}

fn copy(world: &World) -> Vec<u8> {
    std::fs::read(world.home("01").join("copy")).unwrap()
}

fn dispatch(world: &World, args: &[&str], prompt: &[u8]) -> Said {
    let mut program = world.program();
    program.args(["dispatch", "-r", APP]).args(args).write_stdin(prompt);
    Said::of(&program.output().unwrap())
}

#[test]
fn a_prompt_reaches_the_agent_byte_for_byte() {
    for stdin in [false, true] {
        let world = copying(stdin);
        dispatch(&world, &["--kind", "report"], &any_bytes()).ok();
        world.quiet();
        assert!(copy(&world).ends_with(&any_bytes()), "stdin: {stdin}");
        let run = world.last_run();
        assert_eq!(run.outcome(), Some(Outcome::Succeeded));
        let head = run.prompt.unwrap();
        assert!(head.contains("CRLF NUL") && !head.contains(char::is_control), "{head:?}");
        assert!(head.chars().count() <= 201);
    }
}

#[test]
fn a_prompt_for_an_issue_comes_from_standard_input_only_when_asked_for() {
    let world = copying(false);
    world.issue("One");
    dispatch(&world, &["-i", "1", "-p", "-"], &any_bytes()).ok();
    world.quiet();
    let got = copy(&world);
    let at = got.windows(any_bytes().len()).position(|w| w == any_bytes()).expect("it is whole");
    assert!(got[at + any_bytes().len()..].starts_with(b"\n\nThe issue follows, as data."));
    for args in [&["-i", "1"][..], &["-p", "text"]] {
        dispatch(&world, args, b"UNWANTED").ok();
        world.quiet();
        assert!(!copy(&world).windows(8).any(|w| w == b"UNWANTED"), "{args:?}");
    }
}

#[test]
fn a_megabyte_comes_over_a_pipe_in_small_pieces() {
    let world = copying(true);
    let mut prompt = any_bytes().repeat((1 << 20) / any_bytes().len());
    prompt.extend_from_slice(b"no newline at the end");
    let mut child = claude_workers::process::command(env!("CARGO_BIN_EXE_claude-workers"))
        .env("HOME", world.user_home())
        .args(["dispatch", "-r", APP])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for piece in prompt.chunks(4000) {
        pipe.write_all(piece).unwrap();
    }
    drop(pipe);
    Said::of(&child.wait_with_output().unwrap()).ok();
    world.quiet();
    assert!(copy(&world).ends_with(&prompt));
}

#[test]
fn a_prompt_survives_a_crash_as_it_is() {
    let world = copying(false);
    world.agent("mark up; sleep 1000");
    dispatch(&world, &[], &any_bytes()).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world.kill_supervisor("01");
    world.agent("cat $prompt >$HOME/copy; echo done");
    world.tick();
    assert!(copy(&world).ends_with(&any_bytes()));
}

#[test]
fn a_prompt_that_cannot_be_shown_still_ends_in_a_pull_request() {
    let world = World::new();
    dispatch(&world, &["--kind", "update"], b"\0\x01").ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert_eq!(world.pulls()[0].title, "Work");
}

#[test]
fn a_prompt_of_8_mib_is_taken_and_a_larger_one_is_not() {
    let world = copying(true);
    let mut prompt = vec![b'x'; 8 << 20];
    dispatch(&world, &[], &prompt).ok();
    world.quiet();
    assert!(copy(&world).ends_with(&prompt));
    prompt.push(b'x');
    dispatch(&world, &[], &prompt).exits(2).says("the prompt is larger than 8 MiB");
}

/// Runs a shell line in which `$cw` is the program.
fn shell(world: &World, line: &str) -> Said {
    let mut shell = assert_cmd::Command::new("/bin/sh");
    shell.env_clear().env("HOME", world.user_home()).timeout(std::time::Duration::from_secs(90));
    shell.env("cw", env!("CARGO_BIN_EXE_claude-workers")).args(["-c", line]);
    Said::of(&shell.output().unwrap())
}

#[test]
fn a_closed_or_empty_standard_input_is_an_empty_prompt() {
    let world = World::with(&Config::default(), &["01"]);
    for from in ["<&-", "</dev/null", ": |"] {
        let line = match from {
            ": |" => ": | $cw dispatch -r octo/app".to_owned(),
            from => format!("$cw dispatch -r octo/app {from}"),
        };
        shell(&world, &line).exits(2).says("the prompt is empty");
    }
    let said = shell(&world, "$cw dispatch -r octo/app </");
    said.exits(1).says("cannot read the prompt from standard input");
    shell(&world, "$cw dispatch -r octo/app -p 'Do it' <&-").ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}

#[test]
fn an_open_and_silent_standard_input_holds_nothing_up() {
    let world = World::new();
    world.issue("One");
    // The reader of the pipe is the program, its writer says nothing until the program has ended.
    let silent = |args: &str| {
        let line = format!("mkfifo $HOME/p; exec 3<>$HOME/p; rm $HOME/p; $cw {args} <&3");
        shell(&world, &line)
    };
    silent("status").ok();
    silent("dispatch -r octo/app -i 1 --kind report").exits(2).says("--kind needs a prompt");
    silent("dispatch -r octo/app -i 1 --kind report -p Why").ok();
    world.quiet();
    silent("history").ok().says("succeeded");
    silent("assign").ok();
    world.quiet();
}
