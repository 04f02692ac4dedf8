//! A full disk, waited for: what a run knows and has done must not be lost because there is no room
//! to write it down just now.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

use super::Context;

/// When it is tried again: soon at first, twice as long after each time, in the end every five
/// seconds.
const FIRST: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_secs(5);

/// How long. By this clock the time that the machine sleeps does not count.
const AT_MOST: Duration = Duration::from_mins(10);

/// Whether a failure, by its words, means that there is no room. Git's words are all that git gives.
pub(super) fn is_full(why: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|sign| why.contains(sign))
}

/// With less than this, what fails fails for want of room: git does not always say so.
const NEARLY_FULL: u64 = 1 << 20;

/// The words of a failure; if it is for want of room, they say so.
pub(super) fn why(ctx: &Context, failure: String) -> String {
    let free = nix::sys::statvfs::statvfs(ctx.root.path())
        .map_or(u64::MAX, |stat| stat.blocks_available() * stat.fragment_size());
    if free >= NEARLY_FULL || is_full(&failure) {
        return failure;
    }
    format!("{}: {failure}", std::io::Error::from_raw_os_error(nix::libc::ENOSPC))
}

/// Does it, again and again as long as there is no room for it, up to ten minutes.
///
/// # Errors
/// The last one's.
pub(super) fn patiently<T, E: Display>(mut what: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let since = Instant::now();
    let mut wait = FIRST;
    loop {
        match what() {
            Err(e) if is_full(&e.to_string()) && since.elapsed() < AT_MOST => {
                if wait == FIRST {
                    // It may be that very disk on which this is written down.
                    let _ = writeln!(std::io::stderr(), "waiting for room: {e}");
                }
                std::thread::sleep(wait);
                wait = (2 * wait).min(LOOK);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_is_waited_for() {
        let full = std::io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let quota = std::io::Error::from_raw_os_error(nix::libc::EDQUOT);
        assert!(is_full(&full.to_string()) && is_full(&quota.to_string()));
        assert_eq!(
            patiently(|| Err::<(), _>("Read-only file system")),
            Err("Read-only file system")
        );
    }
}
