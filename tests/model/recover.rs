//! What becomes of a record whose supervisor is gone: what the program's own decision says.

use std::time::Duration;

use claude_workers::plan::reconcile::{Action, Clock, Record, Retry, Seen, decide};

use crate::Config;
use crate::world::{BEGAN, Disk, REAL, Task};

const RETRY: Retry = Retry { lost: 1, failed: 0, wait: Duration::ZERO };

/// The record as it is carried on. `None`: it is only to be removed.
pub(crate) fn take_up(cfg: Config, disk: &Disk, task: &Task) -> Option<Task> {
    let mut run = REAL.run(cfg, task);
    let seen = Seen {
        record: Record::Of(&run),
        held: false,
        alive: &[],
        archived: disk.archive.iter().any(|old| old.task.run == task.run),
        claims: cfg.claims(),
        resetting: false,
    };
    match decide(&seen, &RETRY, &Clock { now: BEGAN, up: None }) {
        Action::Finish => None,
        Action::TakeUp(way) => {
            run.carry_on(way, BEGAN);
            Some(Task {
                phase: run.phase,
                attempt: run.attempt,
                losses: run.losses,
                ended: run.outcome(),
                ..*task
            })
        }
        other => panic!("{other}"),
    }
}
