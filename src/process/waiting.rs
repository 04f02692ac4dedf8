//! Waiting for something to happen to workers, at no cost while nothing does.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::watch::timeout;

/// How often one must look where the kernel does not tell.
const LOOK: Duration = Duration::from_millis(100);

/// Wakes up when something changes in some directories or is written to some files, when a process
/// ends, and when whoever reads our standard output goes away.
///
/// Made before the first look at what it watches, it misses nothing. Where the kernel has no watch
/// left to give, it wakes up every 100 ms instead.
#[derive(Debug)]
pub struct Waiting(Option<Inotify>);

/// Why the waiting is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Something may have happened, or the time is over.
    Look,
    /// Nobody reads our standard output any more.
    Unread,
}

impl Waiting {
    /// Waits for entries of these directories to come, go, or be replaced.
    #[must_use]
    pub fn on<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        let entries = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let watch = || -> nix::Result<Inotify> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            for dir in dirs {
                inotify.add_watch(dir, entries)?;
            }
            Ok(inotify)
        };
        Self(watch().ok())
    }

    /// Waits also for this very file, whatever it is called, to be written to.
    pub fn also_on(&mut self, file: &File) {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.0 = self
            .0
            .take()
            .filter(|inotify| inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY).is_ok());
    }

    /// Waits, at most as long as given, also for one of these processes to end. `None` stands for
    /// one that cannot be watched: then it wakes up every 100 ms.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait(
        &self,
        processes: &[Option<OwnedFd>],
        at_most: Option<Duration>,
    ) -> std::io::Result<Woken> {
        let blind = self.0.is_none() || processes.iter().any(Option::is_none);
        let wait = at_most.into_iter().chain(blind.then_some(LOOK)).min();
        let stdout = std::io::stdout();
        // Nothing is asked for: what is told unasked is that the other end is closed.
        let mut fds = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
        fds.extend(self.0.iter().map(|i| PollFd::new(i.as_fd(), PollFlags::POLLIN)));
        let processes = processes.iter().flatten();
        fds.extend(processes.map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, wait.map_or(nix::poll::PollTimeout::NONE, timeout)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        if fds[0].any().unwrap_or(false) {
            return Ok(Woken::Unread);
        }
        // What happened is seen by looking; here it is only taken off the queue.
        if let Some(inotify) = &self.0 {
            while inotify.read_events().is_ok() {}
        }
        Ok(Woken::Look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    // What would not wake it up would hang here.
    fn wakes(waiting: &Waiting, processes: &[Option<OwnedFd>]) {
        assert_eq!(waiting.wait(processes, None).unwrap(), Woken::Look);
    }

    #[test]
    fn it_wakes_up_when_an_entry_changes_a_file_is_written_or_a_process_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut waiting = Waiting::on([dir.path()]);
        assert!(waiting.0.is_some());
        let mut file = File::create(dir.path().join("a")).unwrap();
        wakes(&waiting, &[]);
        waiting.also_on(&file);
        std::fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        wakes(&waiting, &[]);
        file.write_all(b"x").unwrap();
        wakes(&waiting, &[]);

        let mut child = crate::process::command("/bin/cat");
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let boot_id = crate::process::identity_of_self().unwrap().boot_id;
        let start = crate::process::start_time(child.id()).unwrap();
        let identity = crate::process::Identity { pid: child.id(), start, boot_id };
        let open = identity.open();
        assert!(open.is_some());
        drop(child.stdin.take());
        wakes(&waiting, &[open]);
        assert!(identity.open().is_none(), "it has ended, though nobody has asked how");
        child.wait().unwrap();
    }

    #[test]
    fn where_nothing_tells_it_wakes_up_by_itself() {
        wakes(&Waiting::on([Path::new("/no/such/directory")]), &[]);
        let dir = tempfile::tempdir().unwrap();
        wakes(&Waiting::on([dir.path()]), &[None]);
    }
}
