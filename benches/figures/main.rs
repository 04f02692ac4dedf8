//! The figures that the program is built to reach, measured in one run: start, `status`,
//! `history`, `dispatch`, the way out of jails, clones, requests, supervisors, reading logs,
//! `reconcile`.
//!
//! `benches/run` builds the program and starts this. It prints a table and judges nobody: timings
//! depend on the machine and on what else it does, so medians are shown beside the best of all
//! runs, and what can be counted (requests, processes, bytes) is counted.
//!
//! Everything is local: the embedded GitHub on loopback, a scripted agent in C, state in Cargo's
//! directory for temporary files (on a real disk, so that `fsync` costs what it costs).

mod clones;
mod dispatching;
mod egress;
mod history;
mod reading;
mod reconciling;
mod requests;
mod stage;
mod starting;
mod status;
mod supervisors;
mod table;

use std::path::PathBuf;

use stage::Workshop;
use table::Table;

/// Whatever goes wrong ends the benchmark; there is nobody to handle it.
type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

type Measure = fn(&Workshop, &mut Table) -> Res;

const SECTIONS: [(&str, Measure); 10] = [
    ("start", starting::measure),
    ("status", status::measure),
    ("history", history::measure),
    ("dispatch", dispatching::measure),
    ("egress", egress::measure),
    ("clone", clones::measure),
    ("requests", requests::measure),
    ("supervisor", supervisors::measure),
    ("reading", reading::measure),
    ("reconcile", reconciling::measure),
];

fn main() -> Res {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_claude-workers"));
    let mut wanted = Vec::new();
    for word in std::env::args().skip(1).filter(|w| w != "--bench") {
        if word.contains('/') {
            program = std::fs::canonicalize(word)?;
        } else if SECTIONS.iter().any(|(name, _)| *name == word) {
            wanted.push(word);
        } else {
            let names = SECTIONS.map(|(name, _)| name).join(", ");
            return Err(format!("there is no section {word:?}; there are: {names}").into());
        }
    }
    let workshop = Workshop::set_up(program)?;
    let mut table = Table::begin();
    for (name, measure) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            measure(&workshop, &mut table).map_err(|e| format!("{name}: {e}"))?;
        }
    }
    table.end();
    Ok(())
}
