//! Inside of a worker the program shows and does not act.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

use std::process::{Command, Output};

fn inside(words: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the program's own room is not for tests")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-workers"));
    command.args(words).env_clear().env("HOME", home.path()).env("CLAUDE_WORKERS_WORKER", "01");
    command.output().unwrap()
}

#[test]
fn a_worker_neither_starts_nor_changes_work() {
    for words in [
        &["init", "02"][..],
        &["assign"],
        &["dispatch", "-r", "octo/app", "-i", "1"],
        &["stop", "02"],
        &["restart", "02"],
        &["reset", "02"],
    ] {
        let output = inside(words);
        assert_eq!(output.status.code(), Some(4), "{words:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("this is worker 01"), "{words:?}: {said}");
    }
    assert!(inside(&["status"]).status.success());
}
