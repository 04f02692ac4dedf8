//! How long the program takes to start, beside the least that a program can take.

use std::process::Stdio;
use std::time::Instant;

use claude_workers::process::command;

use super::Res;
use super::stage::Workshop;
use super::table::{Table, Times};

const ROUNDS: usize = 300;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let (mut least, mut ours) = (Times::default(), Times::default());
    // In turns, so that what else the machine does falls on both.
    for _ in 0..ROUNDS {
        for (program, args, times) in [
            (&workshop.nothing, &[][..], &mut least),
            (&workshop.program, &["--version"][..], &mut ours),
        ] {
            let mut child = command(program);
            child.args(args).stdin(Stdio::null()).stdout(Stdio::null());
            let before = Instant::now();
            let status = child.status()?;
            times.add(before.elapsed());
            if !status.success() {
                return Err(format!("{} failed", program.display()).into());
            }
        }
    }
    Table::note("start of a C program", &least.shown());
    let ratio = ours.median() / least.median();
    table.row(
        "start (`--version`)",
        &format!("{}; {ratio:.2} ×", ours.shown()),
        "≤ 2.5 × the C program",
        ratio <= 2.5,
    );
    Ok(())
}
