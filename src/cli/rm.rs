//! `rm`

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::print;
use crate::domain::WorkerId;
use crate::ops::remove::{Goes, look, remove};
use crate::ops::{Context, Exit, Failure};

/// Retire idle workers: their homes are deleted, their history stays
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers rm 01        shows what goes, and asks
  claude-workers rm 01 02 -y  does not ask

The archive of finished runs is kept below `.pool/.retired/`: `history` shows it, and no issue is
taken a second time. A worker that is not idle is refused. A new worker may have the same id.")]
pub(super) struct Args {
    /// The workers
    #[arg(value_name = "ID", required = true)]
    ids: Vec<WorkerId>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Say as JSON what went
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    version: u32,
    removed: Vec<Removed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    id: WorkerId,
    home: PathBuf,
    clones: usize,
    bytes: u64,
    /// Where its record is now.
    archive: PathBuf,
    undone: Option<String>,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let mut ids = args.ids.clone();
    ids.sort();
    ids.dedup();
    // All are looked at before the first goes.
    let all = ids.iter().map(|id| look(ctx, id)).collect::<Result<Vec<_>, _>>()?;
    for goes in &all {
        show(goes);
    }
    if !args.yes && !confirmed(all.len())? {
        print::note("nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    let mut answer = Answer { version: 1, removed: Vec::new() };
    for goes in all {
        let archive = remove(ctx, &goes.worker)?;
        if !args.json {
            let kept = archive.display();
            print::out(&format!(
                "worker {} is removed; its history is kept: {kept}\n",
                goes.worker
            ));
        }
        let Goes { worker: id, home, clones, bytes, undone } = goes;
        answer.removed.push(Removed { id, home, clones, bytes, archive, undone });
    }
    if args.json { print::json(&answer) } else { Ok(ExitCode::SUCCESS) }
}

fn show(goes: &Goes) {
    let clones = match goes.clones {
        1 => "1 clone".to_owned(),
        n => format!("{n} clones"),
    };
    let mib = goes.bytes.div_ceil(1 << 20);
    print::note(&format!(
        "worker {}: {} with {clones}, {mib} MiB",
        goes.worker,
        goes.home.display()
    ));
    if let Some(undone) = &goes.undone {
        print::note(&format!(
            "  {undone}; `claude-workers reset {}` first clears that",
            goes.worker
        ));
    }
}

/// Asks on a terminal; nobody else is asked, or waited for.
fn confirmed(count: usize) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "there is no terminal to ask on")
            .hint("say -y if all of this may be deleted"));
    }
    let what = if count == 1 { "it" } else { "all of them" };
    print::question(&format!("Delete {what}? [y/N] "));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"))
}
