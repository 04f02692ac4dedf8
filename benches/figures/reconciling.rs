//! `reconcile` of 1,000 workers, with nothing to be done: idle, busy, and runs that a person stopped.

use std::process::Stdio;
use std::time::Instant;

use super::Res;
use super::stage::{Stage, Workshop};
use super::status::{populate, run};
use super::table::{Table, Times};
use claude_workers::domain::{Ended, Outcome};

const ROUNDS: usize = 20;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::empty(workshop)?;
    let _held = populate(&stage.root, 1000, |n| {
        let mut run = run(n)?;
        let why = "it was stopped".into();
        run.ended = (n % 3 == 2).then_some(Ended { outcome: Outcome::Stopped, why });
        Ok(run)
    })?;
    for (words, what) in [(&["reconcile", "--dry-run"][..], "a dry run"), (&["reconcile"], "real")]
    {
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            let mut reconcile = stage.ours(words);
            reconcile.stdout(Stdio::piped());
            let before = Instant::now();
            let out = reconcile.output()?;
            times.add(before.elapsed());
            let said = String::from_utf8(out.stdout)?;
            if !out.status.success() || said != "nothing to do for 1000 workers\n" {
                return Err(format!("{words:?} said: {said}").into());
            }
        }
        table.at_most(&format!("`reconcile` of 1000 workers, {what}"), &times, 100.0);
    }
    Ok(())
}
