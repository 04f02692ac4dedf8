//! Every kind of state file × every kind of damage: nothing hangs, nothing panics, what is wrong is
//! named, what cannot be read stays as it is, and whoever is not concerned works on.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use claude_workers::domain::Outcome;
use nix::sys::stat::Mode;

use crate::world::{APP, Config, NOBODY, Said, TOKEN, World};

/// What a file is to the program.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Its worker is broken, and the other is not.
    Record,
    /// It is named by `assign`, and the worker that is not concerned works on.
    Named,
    /// `assign` names it, does nothing and exits with this code.
    Needed(i32),
    /// It may be rebuilt, and nobody is told.
    Cache,
    /// It is named by `history`.
    Archive,
    /// It is written to, and locks are held on it: what is in it means nothing.
    Blank,
}

impl Role {
    /// Whether this damage can show something here that another one would not.
    fn asks_for(self, how: Damage) -> bool {
        use Damage::{Directory, Huge, LinkToCopy, LinkToZero, Newer, Pipe, Rubbish};
        match self {
            Self::Cache => matches!(how, Newer | Rubbish | Huge | LinkToZero | Pipe),
            Self::Blank => matches!(how, LinkToCopy | LinkToZero | Directory | Pipe),
            _ => true,
        }
    }
}

const KINDS: &[(&str, Role)] = &[
    ("workers/.pool/01/task.json", Role::Record),
    ("workers/.pool/01/lock", Role::Blank),
    ("workers/.pool/01/values.json", Role::Named),
    ("workers/.pool/01/completed/RECORD", Role::Archive),
    ("workers/.pool/github/chores/20261121T071500-7f3a.json", Role::Named),
    ("workers/.pool/host.json", Role::Named),
    ("workers/.pool/assign.lock", Role::Blank),
    ("workers/.pool/github/claims/objects.lock", Role::Blank),
    ("workers/.pool/01/supervisor.log", Role::Blank),
    ("workers/.pool/01/worker.log", Role::Blank),
    ("workers/.pool/01/prompt.txt", Role::Blank),
    ("workers/.pool/tools.json", Role::Cache),
    ("workers/.pool/clock.json", Role::Cache),
    ("workers/.pool/github/cooldown.json", Role::Cache),
    ("workers/.pool/github/pace.json", Role::Cache),
    ("workers/.pool/github/refused.json", Role::Cache),
    ("workers/.pool/github/cache/KEY/FILE", Role::Cache),
    (".config/claude-workers/config.toml", Role::Needed(2)),
    ("token", Role::Needed(2)),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Damage {
    Newer,
    Cut(usize),
    Empty,
    Rubbish,
    Huge,
    Dangling,
    LinkToCopy,
    LinkToZero,
    Directory,
    Pipe,
}

const DAMAGES: [Damage; 11] = [
    Damage::Newer,
    Damage::Cut(4),
    Damage::Cut(2),
    Damage::Empty,
    Damage::Rubbish,
    Damage::Huge,
    Damage::Dangling,
    Damage::LinkToCopy,
    Damage::LinkToZero,
    Damage::Directory,
    Damage::Pipe,
];

/// What is in a place, so that it can be compared.
#[derive(Debug, PartialEq)]
enum There {
    Nothing,
    File(u64, Vec<u8>),
    Link(PathBuf),
    Directory,
    Pipe,
}

fn there(path: &Path) -> There {
    let Ok(meta) = fs::symlink_metadata(path) else { return There::Nothing };
    let kind = meta.file_type();
    if kind.is_symlink() {
        There::Link(fs::read_link(path).unwrap())
    } else if kind.is_dir() {
        There::Directory
    } else if kind.is_fifo() {
        There::Pipe
    } else {
        // Of a huge one the size is enough.
        There::File(meta.len(), if meta.len() > 1 << 20 { vec![] } else { fs::read(path).unwrap() })
    }
}

/// Does the damage. `false`: there is none of this kind here.
fn damage(path: &Path, how: Damage, whole: &[u8]) -> bool {
    let write = |bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let copy = path.with_extension("elsewhere");
    match how {
        Damage::Newer => {
            let text = String::from_utf8_lossy(whole);
            let newer = text.replace("\"version\": 1", "\"version\":1");
            if !newer.contains("\"version\":1") {
                return false;
            }
            write(newer.replacen("\"version\":1", "\"version\":7", 1).as_bytes());
        }
        Damage::Cut(part) => write(&whole[..whole.len() / part]),
        Damage::Empty => write(b""),
        Damage::Rubbish => write(b"\x00\xff\xfe{\x00[["),
        Damage::Huge => {
            write(b"");
            fs::File::options().write(true).open(path).unwrap().set_len(1 << 30).unwrap();
        }
        Damage::Dangling => symlink("/no/such/file", path).unwrap(),
        Damage::LinkToCopy => {
            fs::write(&copy, whole).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
            symlink(&copy, path).unwrap();
        }
        Damage::LinkToZero => symlink("/dev/zero", path).unwrap(),
        Damage::Directory => fs::create_dir(path).unwrap(),
        Damage::Pipe => nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap(),
    }
    true
}

/// What such a file holds when all is well, where none is there.
fn content(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = match name {
        "20261121T071500-7f3a.json" => {
            r#"{"version":1,"repo":"octo/app","issue":1,"labels":["x"],"run":"20261121T071500-7f3a"}"#
        }
        "cooldown.json" => r#"{"version":1,"tokens":{}}"#,
        "pace.json" => r#"{"version":1,"boot":"","tokens":{}}"#,
        "refused.json" => r#"{"version":1,"rules":"","refused":{}}"#,
        "task.json" => RECORD,
        _ => "words of an earlier run\n",
    };
    text.into()
}

const RECORD: &str = r#"{"version":1,"run":"20261121T071500-7f3a","worker":"01","kind":"implement",
    "repo":"octo/app","issue":1,"prompt":null,"model":null,"executor":"agent","branch":null,
    "base":null,"attempt":1,"phase":"running","phaseAt":"2026-11-21T07:15:00Z",
    "startedAt":"2026-11-21T07:15:00Z","pid":null,"pidStart":null,"bootId":null,"sessionId":null}"#;

/// The path of a kind in a world, where a name stands for one that only that world knows.
fn place(world: &World, kind: &str) -> PathBuf {
    let first = |dir: PathBuf, end: &str| {
        let mut names: Vec<_> =
            fs::read_dir(&dir).unwrap().flatten().map(|e| e.path()).collect::<Vec<_>>();
        names.sort();
        names.into_iter().find(|p| p.to_str().unwrap().ends_with(end)).unwrap()
    };
    let home = world.user_home();
    if let Some(dir) = kind.strip_suffix("RECORD") {
        return first(home.join(dir), ".json");
    }
    if let Some(dir) = kind.strip_suffix("KEY/FILE") {
        return first(first(home.join(dir), ""), ".json");
    }
    home.join(kind)
}

/// Commands that only look, or are refused.
const LOOKS: [&[&str]; 6] = [
    &["status"],
    &["history"],
    &["reset", "01"],
    &["gc", "--dry-run"],
    &["doctor"],
    &["dispatch", "-r", APP, "-p", "x", "-w", "01"],
];

fn sane(said: &Said, about: &str) {
    let Said { code, err, .. } = said;
    assert!((0..=7).contains(code) && !err.contains("panicked"), "{about}: {said:?}");
}

/// Damages one kind in every way, one after the other.
fn try_kind(kind: &str, role: Role) {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("First");
    world.issue("Second");
    world.tick();
    assert_eq!(world.pulls().len(), 2);
    let path = place(&world, kind);
    let original = fs::read(&path).ok();
    let whole = original.clone().unwrap_or_else(|| content(&path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for how in DAMAGES.into_iter().filter(|how| role.asks_for(*how)) {
        let about = format!("{kind} {how:?}");
        let _ = fs::remove_file(&path);
        if !damage(&path, how, &whole) {
            fs::write(&path, &whole).unwrap();
            continue;
        }
        let before = there(&path);
        let name = path.display().to_string();
        let named = |said: &Said| said.err.contains(&name) || said.out.contains(&name);
        let is_text = matches!(role, Role::Needed(_));
        // A link to the file is a file to the person who wrote it, and half of a text is one, too.
        let readable = is_text && (how == Damage::LinkToCopy || matches!(how, Damage::Cut(_)))
            || is_text && kind.contains("config") && how == Damage::Empty;
        match role {
            Role::Record => {
                let said = world.cron(&["status"]).ok();
                assert!(said.out.contains("01  broken") && named(&said), "{about}: {said:?}");
                assert!(said.out.contains("02  idle"), "{about}: {said:?}");
                let version = how != Damage::Newer || said.out.contains("format version 7");
                assert!(version, "{about}: {said:?}");
            }
            Role::Archive => {
                let said = world.cron(&["history"]).ok();
                assert!(named(&said), "{about}: {said:?}");
            }
            _ => {}
        }
        for words in LOOKS {
            // Those that look at everything need not see every shape of nonsense.
            let slow = matches!(words[0], "gc" | "doctor");
            let enough = matches!(how, Damage::Rubbish | Damage::LinkToZero | Damage::Pipe);
            let starts = matches!(role, Role::Blank | Role::Cache) && words[0] == "dispatch";
            let same = matches!(role, Role::Needed(_)) && words[0] != "status";
            if readable || starts || same || slow && !enough {
                continue;
            }
            sane(&world.cron(words), &format!("{about} {words:?}"));
        }
        if readable {
            world.cron(&["status"]);
        } else {
            let issue = world.issue("Another");
            let said = world.cron(&["assign"]);
            sane(&said, &about);
            world.quiet();
            let done = || {
                let runs = world.runs_of(issue);
                runs == [Outcome::Succeeded]
            };
            match role {
                Role::Record | Role::Named => {
                    assert!(said.code == 1 && named(&said), "{about}: {said:?}");
                    // No claim is begun that cannot be finished.
                    let clean = role == Role::Record || !world.task("01").exists();
                    assert!(clean, "{about}: {said:?}");
                    let alone = kind.contains("host.json") || done();
                    assert!(alone, "{about}: nobody works: {said:?}");
                }
                Role::Needed(code) => {
                    assert!(said.code == code && named(&said), "{about}: {said:?}");
                    assert!(said.out.is_empty() && world.labels(issue).is_empty(), "{about}");
                }
                Role::Cache => assert!(said.code == 0 && done(), "{about}: {said:?}"),
                Role::Archive => assert!(done(), "{about}: {said:?}"),
                Role::Blank => {}
            }
            // Nobody is left with it for the next round.
            world.hub.set_open(APP, issue, false).unwrap();
        }
        let kept = there(&path);
        match role {
            // They are written to, or go into the archive with the run.
            Role::Cache | Role::Blank => {}
            _ => assert_eq!(kept, before, "{about}"),
        }
        if how == Damage::LinkToCopy {
            assert_eq!(fs::read(path.with_extension("elsewhere")).unwrap(), whole, "{about}");
        }
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        let _ = fs::remove_file(path.with_extension("elsewhere"));
        match &original {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => drop(fs::remove_file(&path)),
        }
        if kind == "token" {
            world.write_token(TOKEN);
        }
        // Nothing is left but what a person clears.
        for worker in ["01", "02"] {
            if world.task(worker).exists() {
                world.cron(&["reset", worker, "--force"]).ok();
            }
        }
    }
}

#[test]
fn whatever_is_in_the_place_of_a_state_file_nothing_is_lost_and_nobody_hangs() {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let all: Vec<_> = KINDS
            .iter()
            .map(|(kind, role)| (*kind, scope.spawn(|| try_kind(kind, *role))))
            .collect();
        all.into_iter().filter_map(|(kind, one)| one.join().err().map(|_| kind)).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}

/// Files that another user owns or that nobody may read or write, for a user who is not root.
#[test]
fn what_may_not_be_read_or_written_is_named_and_left() {
    let world = World::with(&Config::default(), &["01", "02"]);
    world.issue("One");
    if !world.is_given_to_nobody() {
        return;
    }
    let as_nobody = |args: &[&str]| world.as_nobody(args);
    let uid = NOBODY;
    let chown = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), None).unwrap();
    let home = world.user_home();
    // What is said by which command, and how that ends.
    let record = home.join("workers/.pool/01");
    for (path, words, code) in [
        (record.join("task.json"), "assign", 1),
        (record.join("lock"), "assign", 1),
        (record.join("values.json"), "assign", 1),
        (home.join("workers/.pool/host.json"), "assign", 1),
        (home.join("workers/.pool/assign.lock"), "assign", 1),
        (home.join(".config/claude-workers/config.toml"), "assign", 2),
        (home.join("token"), "assign", 2),
        (record.join("completed"), "history", 1),
        (home.join("workers/.pool"), "assign", 1),
    ] {
        let missing = !path.exists();
        if missing {
            fs::write(&path, RECORD).unwrap();
        }
        let mode = fs::metadata(&path).unwrap().permissions();
        for foreign in [true, false] {
            chown(&path, if foreign { 0 } else { uid });
            let shut = if foreign { 0o600 } else { 0 };
            fs::set_permissions(&path, fs::Permissions::from_mode(shut)).unwrap();
            let said = as_nobody(&[words]);
            let named = said.err.contains(path.to_str().unwrap()) && said.err.contains("ermission");
            assert!(said.code == code && named, "{} {foreign}: {said:?}", path.display());
            sane(&as_nobody(&["status"]), path.to_str().unwrap());
            assert!(!said.out.contains("worker 01 works"), "{said:?}");
        }
        fs::set_permissions(&path, mode).unwrap();
        chown(&path, uid);
        if missing {
            fs::remove_file(&path).unwrap();
        }
    }
}
