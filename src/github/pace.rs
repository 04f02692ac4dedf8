//! Writes keep a pace that GitHub's secondary limits allow: about 80 a minute, and 500 an hour that
//! people are told of. Few at once go without any wait; what is more has to take its turn.
//!
//! The turns of a token are kept in `pace.json`, so that all processes of a root share them. It is a
//! courtesy, not a promise: where the file cannot be used, nothing waits, and GitHub's own limit is
//! what stops us (see [`limits`](super::limits)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk::locked;
use crate::failpoint::{Trouble, around, place};
use crate::process::{Uptime, uptime};

const VERSION: u32 = 1;
const MAX: u64 = 1 << 20;
/// The longest time that a write waits for its turn, in seconds.
const LONGEST: i64 = 300;

/// What a write is to GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Changes something: a label, say.
    Change,
    /// Makes something that people are told of: an issue, a comment, a pull request.
    Content,
}

/// Holds so many writes, and gets room for one more every so many seconds.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    size: i64,
    every: i64,
}

/// 80 in a minute at most; content that waits for its own turn comes in addition, five in a minute.
const CHANGES: Bucket = Bucket { size: 20, every: 1 };
/// 500 in an hour at most.
const CONTENT: Bucket = Bucket { size: 200, every: 12 };

impl Bucket {
    /// Takes one from a bucket that is full at the second `full_at` if nothing else is taken: when
    /// it is full then, and the seconds to wait before that one may be used. A time that no bucket
    /// can come to is that of a full one.
    fn take(self, full_at: i64, now: i64) -> (i64, i64) {
        let whole = self.size * self.every;
        let ahead = full_at.saturating_sub(now);
        let ahead = if (0..=whole + LONGEST).contains(&ahead) { ahead } else { 0 };
        let ahead = (ahead + self.every).min(whole + LONGEST);
        (now.saturating_add(ahead), (ahead - whole).max(0))
    }
}

/// The buckets of one token, each by the second since the machine's start at which it is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Turns {
    changes: i64,
    content: i64,
}

impl Turns {
    /// Gives a turn: the turns after that, and the seconds to wait for it.
    fn take(self, weight: Weight, now: i64) -> (Self, i64) {
        let (changes, wait) = CHANGES.take(self.changes, now);
        if weight == Weight::Change {
            return (Self { changes, ..self }, wait);
        }
        let (content, longer) = CONTENT.take(self.content, now);
        (Self { changes, content }, wait.max(longer))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// The boot that the seconds count from.
    boot: String,
    /// By the short hash of API address and token.
    tokens: BTreeMap<String, Turns>,
}

/// The pace of one token.
#[derive(Debug)]
pub(super) struct Pace {
    path: PathBuf,
    key: String,
}

impl Pace {
    pub(super) fn new(path: PathBuf, key: String) -> Self {
        Self { path, key }
    }

    /// Waits until it is this write's turn, and says for how long that was.
    pub(super) async fn turn(&self, weight: Weight) -> Duration {
        let Some(now) = uptime() else { return Duration::ZERO };
        let wait = self.reserve(weight, &now).await;
        tokio::time::sleep(wait).await;
        wait
    }

    /// Takes a turn, and says how long it is until then. Where none can be had, there is no wait.
    async fn reserve(&self, weight: Weight, now: &Uptime) -> Duration {
        let Some(mut file) = locked(&self.path).await else { return Duration::ZERO };
        let mut kept = read(&mut file).unwrap_or_default();
        if kept.version != VERSION || kept.boot != now.boot {
            kept = Kept { version: VERSION, boot: now.boot.clone(), ..Kept::default() };
        }
        let before = kept.tokens.get(&self.key).copied().unwrap_or_default();
        let (after, wait) = before.take(weight, now.secs);
        // Those that are full again are as good as none.
        kept.tokens.retain(|_, turns| turns.changes.max(turns.content) > now.secs);
        kept.tokens.insert(self.key.clone(), after);
        // In place: a file system may take a hundred times as long to replace a file, and half of this
        // one is as good as none.
        let write = || {
            let json = serde_json::to_vec(&kept)?;
            file.write_all_at(&json, 0)?;
            file.set_len(json.len() as u64)
        };
        match around(Trouble::Disk, || format!("write {}", place(&self.path)), write) {
            Ok(()) => Duration::from_secs(wait.unsigned_abs()),
            Err(_) => Duration::ZERO,
        }
    }
}

/// Nothing, if it cannot be understood.
fn read(file: &mut File) -> Option<Kept> {
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn pace(dir: &Path) -> Pace {
        Pace::new(dir.join("pace.json"), "k".into())
    }

    fn at(secs: i64) -> Uptime {
        Uptime { boot: "b".into(), secs }
    }

    fn reserve(pace: &Pace, weight: Weight, now: &Uptime) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(pace.reserve(weight, now)).as_secs()
    }

    #[test]
    fn few_writes_never_wait_and_many_take_turns() {
        let waits = |weight, count: usize, mut turns: Turns, now| -> Vec<i64> {
            let mut take = || {
                let (after, wait) = turns.take(weight, now);
                turns = after;
                wait
            };
            (0..count).map(|_| take()).collect()
        };
        let full = Turns::default();
        assert_eq!(waits(Weight::Change, 20, full, 5000), [0; 20]);
        assert_eq!(waits(Weight::Change, 23, full, 5000)[20..], [1, 2, 3]);
        assert_eq!(waits(Weight::Content, 23, full, 5000)[20..], [1, 2, 3]);
        // As many as the hour allows at once: content waits, labels do not.
        let hour = Turns { content: 5000 + 200 * 12, changes: 0 };
        assert_eq!(waits(Weight::Content, 3, hour, 5000), [12, 24, 36]);
        assert_eq!(waits(Weight::Change, 3, hour, 5000), [0; 3]);
        // Ten seconds later there is room for ten.
        let minute = Turns { changes: 5020, content: 0 };
        assert_eq!(waits(Weight::Change, 12, minute, 5010)[9..], [0, 1, 2]);
        // However many, nobody waits for longer than that.
        assert_eq!(waits(Weight::Change, 1000, full, 5000)[999], LONGEST);
        // A clock behind the state, ahead of it, or nonsense.
        for nonsense in [i64::MIN, -1, 4999, 5000 + 20 + LONGEST + 1, i64::MAX] {
            let turns = Turns { changes: nonsense, content: nonsense };
            assert_eq!(waits(Weight::Change, 21, turns, 5000)[19..], [0, 1], "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_minute_and_no_hour_sees_more_than_github_allows(
            steps in prop::collection::vec((0i64..40, any::<bool>(), 1usize..30), 1..60)
        ) {
            let (mut now, mut turns) = (1_000_000, Turns::default());
            let (mut sent, mut content) = (Vec::new(), Vec::new());
            for (pause, makes, count) in steps {
                now += pause;
                for _ in 0..count {
                    let weight = if makes { Weight::Content } else { Weight::Change };
                    let (after, wait) = turns.take(weight, now);
                    turns = after;
                    // Beyond that the turns are no longer kept apart.
                    if wait < LONGEST {
                        sent.push(now + wait);
                        if makes {
                            content.push(now + wait);
                        }
                    }
                }
            }
            for (of, within, most) in [(&sent, 60, 85), (&content, 60, 80), (&content, 3600, 500)] {
                for from in of {
                    let seen = of.iter().filter(|at| (*from..from + within).contains(at)).count();
                    prop_assert!(seen <= most, "{seen} from {from}");
                }
            }
        }
    }

    #[test]
    fn everybody_with_the_token_takes_from_one_bucket() {
        let dir = tempfile::tempdir().unwrap();
        let mut waits: Vec<u64> = std::thread::scope(|scope| {
            let take = || (0..5).map(|_| reserve(&pace(dir.path()), Weight::Change, &at(100)));
            let takers: Vec<_> =
                (0..5).map(|_| scope.spawn(move || take().collect::<Vec<_>>())).collect();
            takers.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        waits.sort_unstable();
        assert_eq!(waits[..20], [0; 20]);
        assert_eq!(waits[20..], [1, 2, 3, 4, 5]);
        // Another token is not concerned, nor is another boot.
        let other = Pace { key: "other".into(), ..pace(dir.path()) };
        assert_eq!(reserve(&other, Weight::Change, &at(100)), 0);
        assert_eq!(reserve(&pace(dir.path()), Weight::Change, &at(100)), 6);
        let again = Uptime { boot: "another".into(), secs: 100 };
        assert_eq!(reserve(&pace(dir.path()), Weight::Change, &again), 0);
        // Buckets that are full again are not kept.
        reserve(&other, Weight::Change, &Uptime { secs: 1000, ..again });
        let kept = read(&mut File::open(dir.path().join("pace.json")).unwrap()).unwrap();
        assert_eq!(kept.tokens.into_keys().collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn what_cannot_be_kept_stops_nothing_and_what_cannot_be_read_is_made_anew() {
        let nowhere = pace(Path::new("/proc/nowhere"));
        for _ in 0..30 {
            assert_eq!(reserve(&nowhere, Weight::Content, &at(100)), 0);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pace.json");
        let long = format!("{{{}", " ".repeat(1 << 21));
        let newer = r#"{"version":7,"boot":"b","tokens":{"k":{"changes":120,"content":0}}}"#;
        for rubbish in ["", "{", &long, newer, r#"{"version":1,"boot":"b","tokens":[]}"#] {
            std::fs::write(&path, rubbish).unwrap();
            let waits = (0..21).map(|_| reserve(&pace(dir.path()), Weight::Change, &at(100)));
            assert_eq!(waits.sum::<u64>(), 1, "{rubbish:.80}");
        }
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "a person's").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(reserve(&pace(dir.path()), Weight::Change, &at(100)), 0);
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"a person's");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        // Nobody waits for ever for somebody who was stopped with the lock in hand.
        std::fs::write(&path, newer.replace('7', "1")).unwrap();
        let held = File::open(&path).unwrap();
        held.try_lock().unwrap();
        assert_eq!(reserve(&pace(dir.path()), Weight::Change, &at(100)), 0);
        drop(held);
        assert_eq!(reserve(&pace(dir.path()), Weight::Change, &at(100)), 1);
    }
}
