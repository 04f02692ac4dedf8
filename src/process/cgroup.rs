//! A control group (v2) for a run, where the machine lets us make one below our own: whatever a
//! process does, it cannot leave it unnoticed, and all that is in it dies at one word.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Moves this process into a group called `name` below its own, so that all that it starts will be
/// there. `None`: that cannot be had here.
#[must_use]
pub fn enter(name: &str) -> Option<PathBuf> {
    let dir = own()?.join(name);
    let made = fs::create_dir(&dir);
    // It may be there from a supervisor that died.
    if made.is_err() && !dir.is_dir() {
        return None;
    }
    if move_to(&dir) {
        return Some(dir);
    }
    remove(&dir);
    None
}

/// Moves this process back, and removes the group if nobody else is in it.
pub fn leave(dir: &Path) {
    if dir.parent().is_some_and(move_to) {
        remove(dir);
    }
}

/// Kills everything in it. What dies needs a moment; [`members`] tells.
pub fn kill(dir: &Path) {
    let _ = fs::write(dir.join("cgroup.kill"), "1");
}

/// The processes in it; none if it is gone.
#[must_use]
pub fn members(dir: &Path) -> Vec<u32> {
    let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    listed.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Removes it if it is empty.
pub fn remove(dir: &Path) {
    // Who is dead and buried may count for a moment still.
    for _ in 0..50 {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == ErrorKind::ResourceBusy && members(dir).is_empty() => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return,
        }
    }
}

fn move_to(dir: &Path) -> bool {
    fs::write(dir.join("cgroup.procs"), std::process::id().to_string()).is_ok()
}

/// The directory of the group that this process is in.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    find(&groups, &mounts)
}

fn find(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, place) = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        kind.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    })?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    // Outside of what is mounted here, or a name that is written in another way there.
    let odd = path.contains("..") || [path, root, place].iter().any(|part| part.contains('\\'));
    (!odd).then(|| Path::new(place).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_wherever_it_is_mounted() {
        let mounts = |place| {
            format!(
                "31 1 0:28 / /sys rw - sysfs sysfs rw\n\
                 40 31 0:37 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                 41 31 0:38 {place} rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
            )
        };
        let found = |groups, place| find(groups, &mounts(place));
        let groups = "9:pids:/x\n0::/user.slice/a.scope\n";
        let whole = found(groups, "/ /sys/fs/cgroup").unwrap();
        assert_eq!(whole, Path::new("/sys/fs/cgroup/user.slice/a.scope"));
        let part = found(groups, "/user.slice /sys/fs/cgroup/unified").unwrap();
        assert_eq!(part, Path::new("/sys/fs/cgroup/unified/a.scope"));
        assert_eq!(found(groups, "/other /sys/fs/cgroup"), None);
        assert_eq!(found("0::/../a\n", "/ /sys/fs/cgroup"), None);
        assert_eq!(found("9:pids:/x\n", "/ /sys/fs/cgroup"), None);
        assert_eq!(find(groups, "31 1 0:28 / /sys rw - sysfs sysfs rw\n"), None);
    }
}
