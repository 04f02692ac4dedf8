//! What makes the command line easy to live with: what was probably meant, silence on request,
//! and never a wait for somebody who is not there.

use std::io::pipe;
use std::process::Stdio;

use crate::world::{APP, Config, World};

#[test]
fn what_is_misspelt_is_met_with_what_was_meant() {
    let config = Config { top: "repos = ['octo/app', 'octo/library']", ..Config::default() };
    let world = World::with(&config, &["01", "laptop-3"]);
    let says = |args: &[&str], code: i32, tip: &str| {
        let said = world.cron(args).exits(code);
        assert!(said.err.lines().any(|line| line.trim() == tip), "{args:?}: {said:?}");
        assert!(!said.out.contains("mean"), "{args:?}: {said:?}");
    };
    for command in ["status", "stop", "restart", "reset", "watch", "inspect", "logs", "history"] {
        says(&[command, "1"], 3, "hint: did you mean 01?");
        says(&[command, "latpop-3"], 3, "hint: did you mean laptop-3?");
        says(&[command, "9"], 3, "hint: `claude-workers status` lists them");
    }
    says(&["dispatch", "-r", APP, "-p", "x", "-w", "1"], 3, "hint: did you mean 01?");
    says(&["dispatch", "-r", "octo/ap", "-i", "1"], 4, "hint: did you mean octo/app?");
    says(&["dispatch", "-r", "Octo/libary", "-i", "1"], 4, "hint: did you mean octo/library?");
    says(&["history", "--repo", "octo/ap"], 0, "hint: did you mean octo/app?");
    says(&["dispatch", "-r", APP, "-p", "x", "-e", "agnet"], 2, "hint: did you mean agent?");
    says(&["dispach"], 2, "tip: some similar subcommands exist: 'inspect', 'dispatch'");
    says(&["histroy"], 2, "tip: a similar subcommand exists: 'history'");
    says(&["status", "--jsno"], 2, "tip: a similar argument exists: '--json'");
    let kind = ["dispatch", "-r", APP, "-p", "x", "--kind", "reprot"];
    says(&kind, 2, "tip: a similar value exists: 'report'");
    says(&["history", "--outcome", "failde"], 2, "tip: a similar value exists: 'failed'");
    let said = world.cron(&["history", "--repo", "elsewhere/thing"]).ok();
    assert!(!said.err.contains("did you mean"), "{said:?}");
}

#[test]
fn quiet_leaves_out_what_went_well_and_nothing_else() {
    let world = World::bare(&Config::default());
    world.hub.add_repo(&crate::world::app()).unwrap();
    let silent = |args: &[&str]| {
        let said = world.cron(args).ok();
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""), "{args:?}");
    };
    silent(&["init", "01", "-q"]);
    world.agent("mark start; sleep 1000");
    silent(&["dispatch", "-r", APP, "-p", "x", "--quiet"]);
    world.wait_until("the agent is at work", || world.marks().len() == 1);
    silent(&["stop", "01", "-q"]);
    silent(&["restart", "01", "-q"]);
    world.wait_until("the agent is at work again", || world.marks().len() == 2);
    silent(&["reset", "01", "-f", "-q"]);
    world.cron(&["stop", "01", "-q"]).exits(1).says("error: worker 01 is idle");
    world.cron(&["status", "-q"]).exits(2).says("unexpected argument '-q'");
}

#[test]
fn verbose_tells_on_standard_error_what_github_was_asked() {
    let world = World::new();
    world.issue("One");
    let asked = |args: &[&str], code: i32| {
        world.hub.clear_exchanges();
        let said = world.cron(args).exits(code);
        let told: Vec<&str> = said.err.lines().filter_map(|l| l.strip_prefix("  ")).collect();
        let lines = world.asked_lines();
        // A supervisor asks for itself.
        assert!(!told.is_empty() && told.len() <= lines.len(), "{args:?}: {said:?} {lines:?}");
        for (told, line) in told.iter().zip(&lines) {
            let line = line.split('?').next().unwrap();
            assert!(told.contains(line), "{args:?}: {told:?} {line:?}");
        }
        let total = format!("{} requests, ", told.len());
        assert!(said.err.contains(&total), "{args:?}: {said:?}");
        assert!(!said.out.contains("requests,") || args[0] == "doctor", "{args:?}: {said:?}");
    };
    asked(&["assign", "--dry-run", "-v"], 0);
    asked(&["dispatch", "-r", APP, "-i", "99", "-v"], 4);
    world.agent("exit 1");
    asked(&["dispatch", "-r", APP, "-i", "1", "--verbose"], 0);
    world.quiet();
    asked(&["reset", "01", "-v"], 0);
    asked(&["doctor", "-v"], 0);
}

/// What each command is given here, where its name and a worker are not enough.
fn arguments(command: &str) -> &[&str] {
    match command {
        "assign" | "status" | "doctor" | "man" | "gc" => &[],
        "dispatch" => &["-r", APP, "-p", "x", "-w", "01"],
        "init" => &["77"],
        "completions" => &["bash"],
        // Tried by tests of their own: the one takes its time, the other changes its checkout.
        "demo" | "update" => &["--help"],
        _ => &["01"],
    }
}

#[test]
fn no_command_waits_for_an_input_that_says_nothing_or_for_a_terminal() {
    let world = World::new();
    let help = world.cron(&["--help"]).ok().out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    let (silence, _open) = pipe().unwrap();
    let mut tried = 0;
    for command in commands {
        #[expect(clippy::disallowed_methods, reason = "the program's own room is not for tests")]
        let mut program = std::process::Command::new("timeout");
        // `setsid --wait`: in a session without a terminal.
        program.args(["--kill-after=1", "60", "setsid", "--wait"]);
        program.arg(env!("CARGO_BIN_EXE_claude-workers")).arg(command).args(arguments(command));
        program.env_clear().env("HOME", world.user_home()).env("PATH", "/usr/bin:/bin");
        program.stdin(Stdio::from(silence.try_clone().unwrap()));
        let output = program.output().unwrap();
        let code = output.status.code();
        assert!(code.is_some_and(|code| code < 16), "{command}: {output:?}");
        tried += 1;
    }
    assert!(tried >= 15, "{help}");
    world.quiet();
}
