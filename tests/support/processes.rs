//! What runs on this machine, as `/proc` shows it: how a test sees that nothing is left, and what
//! could be seen by others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `happened` says yes, looking often. Panics with `what` and the words of `explain`
/// when that takes too long.
pub fn wait_until(what: &str, explain: impl Fn() -> String, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < end, "it never came to this: {what}\n{}", explain());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that have something to do with a directory: it is in their arguments or in their
/// environment. Each as its PID and its arguments.
pub fn of(dir: &Path) -> Vec<String> {
    let place = dir.as_os_str().as_encoded_bytes();
    let mentions = |bytes: &[u8]| bytes.windows(place.len()).any(|w| w == place);
    let mut found = Vec::new();
    for (pid, arguments) in arguments_of_all() {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if pid != std::process::id() && (mentions(&arguments) || mentions(&environment)) {
            found.push(format!("{pid} {}", shown(&arguments)));
        }
    }
    found
}

fn arguments_of_all() -> Vec<(u32, Vec<u8>)> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, fs::read(entry.path().join("cmdline")).ok()?))
    })
    .collect()
}

fn shown(arguments: &[u8]) -> String {
    String::from_utf8_lossy(arguments).replace('\0', " ")
}

/// Looks at the arguments of all processes, over and over, on a thread of its own.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    pub fn start() -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                seen.extend(arguments_of_all().into_iter().map(|(_, a)| shown(&a)));
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        Self { stop, thread }
    }

    /// All the command lines that were seen.
    pub fn seen(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
