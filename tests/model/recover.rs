//! What becomes of a record whose supervisor is gone.

use claude_workers::domain::{Outcome, Phase};

use crate::Config;
use crate::world::Task;

pub(crate) fn take_up(_cfg: &Config, task: &mut Task) {
    match task.phase {
        Phase::Claimed => task.phase = Phase::Preparing,
        Phase::Preparing | Phase::Running if task.losses >= 1 => {
            task.ended = Some(Outcome::Failed);
            task.phase = Phase::Publishing;
        }
        Phase::Preparing | Phase::Running => {
            task.losses += 1;
            task.attempt += 1;
            task.phase = Phase::Preparing;
        }
        Phase::Verifying => {}
        Phase::Publishing if task.ended.is_none() => task.phase = Phase::Verifying,
        Phase::Publishing => {}
    }
}
