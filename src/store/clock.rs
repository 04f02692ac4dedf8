//! What the clock said earlier: a memory, made again if it cannot be read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Root, make_private_dir, read_bounded, write_private};
use crate::plan::{ClockSeen, believed};
use crate::process::uptime;

/// `.pool/clock.json`
#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(flatten)]
    seen: ClockSeen,
}

const VERSION: u32 = 1;

/// The time by which the age of things is to be reckoned before they are removed: `now`, unless the
/// clock has just jumped ahead. It is remembered for the next time, if that is possible.
#[must_use]
pub fn believed_time(root: &Root, now: Timestamp) -> Timestamp {
    let Some(uptime) = uptime() else { return now };
    let path = root.pool().join("clock.json");
    let read = read_bounded(&path, 4 << 10).ok().flatten();
    let file = read.and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
    let seen = file.filter(|file| file.version == VERSION).map(|file| file.seen);
    let (time, new) = believed(seen.as_ref(), now, (&uptime.boot, uptime.secs));
    if let Some(seen) = new
        && let Ok(json) = serde_json::to_vec(&File { version: VERSION, seen })
        && make_private_dir(&root.pool()).is_ok()
    {
        // Who may not write here looks again the next time.
        let _ = write_private(&path, &json);
    }
    time
}
