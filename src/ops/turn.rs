//! One `assign` at a time: whose turn it is, and since when.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::{Context, Exit, Failure};
use crate::failpoint::patience;
use crate::store::AssignLock;

/// No `assign` that works takes so long: it starts runs, and does not wait for them.
const TOO_LONG: Duration = Duration::from_mins(30);

/// The process whose turn it is.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay {
    /// Its PID.
    pub pid: u32,
    age: Duration,
}

/// The `assign` (or `reconcile`) that is under way, if it says who it is.
#[must_use]
pub fn under_way(ctx: &Context) -> Option<UnderWay> {
    let holder = AssignLock::holder(&ctx.root)?;
    Some(UnderWay { pid: holder.pid, age: holder.age()? })
}

impl UnderWay {
    /// What is wrong if it has been under way for so long that it must have got stuck.
    #[must_use]
    pub fn stuck(&self) -> Option<Failure> {
        let Self { pid, age } = self;
        if *age < patience("assign", TOO_LONG) {
            return None;
        }
        let minutes = age.as_secs() / 60;
        let what = format!("an assign has been under way for {minutes} minutes ({self})");
        Some(Failure::new(Exit::Failed, what).hint(format!(
            "no other one does anything meanwhile: `kill -CONT {pid}` if it was stopped; else \
             `kill -KILL {pid}`, and the next one carries on"
        )))
    }
}

impl fmt::Display for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let since = now.checked_sub(self.age).unwrap_or(now);
        write!(f, "pid {}, since {}", self.pid, since.strftime("%Y-%m-%d %H:%M UTC"))
    }
}
