//! The manual pages: what clap knows, as `man` shows it.

use std::fs;

use crate::words::Said;
use crate::world::{Config, World};

/// `man` and `groff` as a person runs them, with every warning.
fn shown(page: &std::path::Path) -> String {
    let mut man = assert_cmd::Command::new("man");
    man.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100");
    let said = Said::of(&man.args(["--warnings", "-l"]).arg(page).output().unwrap()).ok();
    assert_eq!(said.err, "", "{}", page.display());
    said.out
}

fn words(text: &str) -> String {
    text.replace('\u{2010}', "-").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn there_is_a_page_for_every_command_and_it_renders_without_a_warning() {
    let world = World::bare(&Config::default());
    let dir = world.dir.join("man/man1");
    world.cron(&["man", "--dir", dir.to_str().unwrap()]).ok();
    let help = world.cron(&["--help"]).ok().out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"assign") && commands.contains(&"man"), "{commands:?}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), commands.len() + 1);

    let sections =
        ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"];
    let whole = shown(&dir.join("claude-workers.1"));
    for section in sections {
        assert!(whole.contains(&format!("\n{section}\n")), "{section}");
    }
    for command in commands {
        assert!(whole.contains(&format!("claude-workers-{command}(1)")), "{command}");
        let page = shown(&dir.join(format!("claude-workers-{command}.1")));
        for section in sections {
            assert!(page.contains(&format!("\n{section}\n")), "{section} of {command}");
        }
        // What `--help` says is there, to the word.
        let help = world.cron(&[command, "--help"]).ok().out;
        let page = words(&page);
        for line in help.lines().filter(|line| line.starts_with("  claude-workers ")) {
            assert!(page.contains(&words(line)), "{line:?} of {command}");
        }
        assert!(page.contains(&words(help.lines().next().unwrap())), "{command}");
    }
}

#[test]
fn without_a_directory_the_page_goes_to_standard_output() {
    let world = World::bare(&Config::default());
    let said = world.cron(&["man"]).ok();
    assert!(said.out.contains(".TH claude-workers 1"), "{said:?}");
    let blocked = world.dir.join("file");
    fs::write(&blocked, "").unwrap();
    let said = world.cron(&["man", "--dir", blocked.join("x").to_str().unwrap()]).exits(1);
    assert!(said.err.starts_with("error: ") && said.err.contains("file/x"), "{said:?}");
}
