//! Colours: one rule for output, errors and help.

use crate::words::Said;
use crate::world::{Config, World};

/// The command's output in a terminal, or in a pipe; in a terminal both streams are one.
fn said(world: &World, terminal: bool, vars: &[(&str, &str)], args: &[&str]) -> Said {
    let program = env!("CARGO_BIN_EXE_claude-workers");
    let mut command = if terminal {
        let mut script = assert_cmd::Command::new("script");
        let line = [&[program], args].concat().join(" ");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script
    } else {
        let mut command = assert_cmd::Command::new(program);
        command.args(args);
        command
    };
    command.env_clear().env("HOME", world.user_home()).env("PATH", "/usr/bin:/bin");
    command.env("SHELL", "/bin/sh").envs(vars.iter().copied());
    Said::of(&command.output().unwrap())
}

#[test]
fn one_rule_of_colours_holds_for_output_errors_and_help() {
    let world = World::with(&Config::default(), &["01"]);
    let xterm = ("TERM", "xterm-256color");
    let commands: [(&[&str], i32); 4] =
        [(&["status"], 0), (&["status", "7"], 3), (&["--help"], 0), (&["stat"], 2)];
    for (terminal, vars, coloured) in [
        (false, &[xterm][..], false),
        (false, &[xterm, ("CLICOLOR", "1")], false),
        (false, &[xterm, ("CLICOLOR_FORCE", "1")], true),
        (false, &[xterm, ("CLICOLOR_FORCE", "")], false),
        (false, &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], true),
        (false, &[xterm, ("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (true, &[xterm], true),
        (true, &[xterm, ("NO_COLOR", "1")], false),
        (true, &[xterm, ("NO_COLOR", "")], true),
        (true, &[xterm, ("CLICOLOR", "0")], false),
        (true, &[xterm, ("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], true),
        (true, &[("TERM", "dumb")], false),
        (true, &[], false),
    ] {
        for (args, code) in commands {
            let said = said(&world, terminal, vars, args).exits(code);
            let all = said.out + &said.err;
            assert!(!all.trim().is_empty());
            let styled = all.contains("\u{1b}[");
            assert_eq!(styled, coloured, "{args:?} {vars:?} on a terminal: {terminal}: {all:?}");
        }
    }
}

#[test]
fn waiting_writes_no_control_sequence_where_the_terminal_has_none() {
    let world = World::with(&Config::default(), &["01"]);
    world.agent("mark start; while ! test -e ~/go; do sleep 0.05; done");
    for (term, writes) in [("xterm", true), ("dumb", false)] {
        world.hub.clear_exchanges();
        world.cron(&["dispatch", "-r", crate::world::APP, "-p", "x"]).ok();
        world.wait_until("the agent is at work", || world.marks().len() == 1);
        let said = std::thread::scope(|scope| {
            let seen = scope.spawn(|| said(&world, true, &[("TERM", term)], &["watch", "01"]));
            let watching = || world.processes().iter().any(|(_, line)| line.contains("watch 01"));
            world.wait_until("it watches", watching);
            std::fs::write(world.home("01").join("go"), "").unwrap();
            seen.join().unwrap()
        });
        assert_eq!(said.out.contains("\u{1b}[K"), writes, "{term}: {said:?}");
        world.quiet();
        std::fs::remove_file(world.home("01").join("go")).unwrap();
    }
}
