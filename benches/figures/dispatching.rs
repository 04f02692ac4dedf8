//! `dispatch`: until it returns, and until the agent's first instruction, everything included:
//! claim, supervisor, durable records, clone, prompt, two jails, canary.

use std::io::Write;
use std::process::Stdio;

use claude_workers::fakehub::{NewIssue, NewRepo};

use super::Res;
use super::stage::{REPO, Stage, Workshop};
use super::table::{Table, Times};

const ROUNDS: usize = 25;

/// The repository whose history is long.
pub const LARGE: &str = "octo/large";

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    prompt(workshop, table)?;
    let short = issue(workshop, table, 2_000)?;
    let long = issue(workshop, table, 20_000)?;
    let ratio = long.median() / short.median();
    table.row("ten times the history", &format!("{ratio:.2} × the time"), "≤ 1.3 ×", ratio <= 1.3);
    Ok(())
}

fn prompt(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::with_workers(workshop, 1)?;
    stage.configure("git.fetch_max_age = '1h'")?;
    let words = ["-r", REPO, "-p", "Look around."];
    stage.dispatch("01", &words)?;
    let (mut returned, mut first) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        let started = stage.dispatch("01", &words)?;
        returned.add(started.returned);
        first.add(started.first_instruction);
    }
    table.at_most("`dispatch -p` returns, clone there", &returned, 10.0);
    table.at_most("… the agent's first instruction", &first, 20.0);
    Ok(())
}

/// With an issue: the mirror is asked for each time, and has nothing to fetch.
fn issue(workshop: &Workshop, table: &mut Table, commits: usize) -> Res<Times> {
    let stage = Stage::with_workers(workshop, 1)?;
    stage.configure("git.fetch_max_age = '0s'")?;
    large_repository(&stage, commits)?;
    let mut first = Times::default();
    for round in 0..=ROUNDS {
        let number = stage.hub.add_issue(LARGE, &NewIssue::new("octo", "Something to do"))?;
        let started = stage.dispatch("01", &["-r", LARGE, "-i", &number.to_string()])?;
        // The first one makes the mirror and the clone.
        if round > 0 {
            first.add(started.first_instruction);
        }
    }
    let figure = format!("`dispatch -i`, {commits} commits, {FILES} files: first instruction");
    table.at_most(&figure, &first, 300.0);
    Ok(first)
}

const FILES: usize = 5_000;

/// A repository of [`FILES`] files whose commits change one file each.
pub fn large_repository(stage: &Stage<'_>, commits: usize) -> Res {
    stage.hub.add_repo(&NewRepo::new(LARGE))?;
    let dir = stage.hub.repo_dir(LARGE)?;
    let mut import = stage.workshop.git(&dir, &["fast-import", "--quiet"]);
    let mut import = import.stdin(Stdio::piped()).spawn()?;
    let mut stream = std::io::BufWriter::new(import.stdin.take().ok_or("no pipe")?);
    let path = |file: usize| format!("d{:02}/f{file:04}.txt", file % 50);
    let text = |file: usize, nth: usize| {
        format!("file {file}\n").repeat(40) + &format!("changed {nth} times\n")
    };
    for commit in 0..commits {
        let says = format!("commit {commit}");
        writeln!(stream, "commit refs/heads/main")?;
        writeln!(stream, "committer octo <octo@example.org> {} +0000", 1_700_000_000 + commit)?;
        writeln!(stream, "data {}\n{says}", says.len())?;
        let files = if commit == 0 { 0..FILES } else { commit % FILES..commit % FILES + 1 };
        for file in files {
            let text = text(file, commit);
            writeln!(stream, "M 100644 inline {}\ndata {}\n{text}", path(file), text.len())?;
        }
    }
    drop(stream.into_inner()?);
    if !import.wait()?.success() {
        return Err("git fast-import failed".into());
    }
    Ok(())
}
