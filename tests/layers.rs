#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
//! The rooms of the source tree: imports go down only, and files stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// The layer of each room; see the overview in `src/lib.rs`.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["domain"]),
    (1, &["plan"]),
    (
        2,
        &[
            "config",
            "store",
            "home",
            "process",
            "executor",
            "sandbox",
            "egress",
            "github",
            "git",
            "fakehub",
            "failpoint",
        ],
    ),
    (3, &["ops"]),
    (4, &["cli", "demo"]),
];

fn layer(room: &str) -> u8 {
    LAYERS
        .iter()
        .find(|(_, rooms)| rooms.contains(&room))
        .unwrap_or_else(|| panic!("the room {room:?} has no layer"))
        .0
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The rooms that a source text names after `crate::`, in imports and in paths.
fn named_rooms(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, found) in text.match_indices("crate::") {
        let rest = &text[at + found.len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            // `use crate::{a, b::C}`: the first word of each part, at the outer level.
            Some(group) => {
                let mut depth = 0;
                let mut parts = vec![String::new()];
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => parts.push(String::new()),
                        c if depth == 0 => parts.last_mut().unwrap().push(c),
                        _ => {}
                    }
                }
                let first = |p: String| p.trim().split(':').next().unwrap().to_owned();
                rooms.extend(parts.into_iter().map(first).filter(|p| !p.is_empty()));
                continue;
            }
            None => vec![rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()],
        };
        rooms.extend(names.into_iter().map(str::to_owned));
    }
    rooms
}

#[test]
fn imports_go_down_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in sources(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        if matches!(room, "lib.rs" | "main.rs") {
            // They stand above all rooms.
            continue;
        }
        let room = room.trim_end_matches(".rs");
        let text = fs::read_to_string(&file).unwrap();
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            },
        );
        for named in named_rooms(&code) {
            if layer(&named) > layer(room) {
                wrong.push(format!("{} imports {named}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text = "use crate::{config, ops::{a, b}};\nlet x = crate::plan::assign();";
    assert_eq!(named_rooms(text), ["config", "ops", "plan"]);
}

#[test]
fn no_source_file_is_longer_than_eight_hundred_lines() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&src) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines", file.display());
    }
}

/// Where files are changed and processes started without a failpoint of `src/failpoint.rs` around
/// it, or beside one; and why that is right.
const RAW_EFFECTS: &[(&str, &str)] = &[
    ("cli/man.rs", "pages for a person, where the person said"),
    ("egress/forward.rs", "in the jail"),
    ("egress/log.rs", "a log, opened by a process of its own that tells when it is ready"),
    ("failpoint.rs", "what strikes cannot be struck"),
    ("git/clone.rs", "in the jail, where there is no such environment"),
    (
        "git/host.rs",
        "a directory for a repository half made; its making and its renaming are points",
    ),
    ("git/mirror.rs", "the lock is a point; removal is gc's"),
    ("git/publish.rs", "is a point"),
    ("git/sweep.rs", "in the jail"),
    ("github/disk.rs", "are points; of no consequence if lost"),
    ("home/lived.rs", "before an agent begins, points; else refreshed while no run is there"),
    ("home/source.rs", "read only"),
    ("home/staging.rs", "a home half made is moved to its place whole"),
    ("home/tree.rs", "a home half made"),
    ("ops/dispatch.rs", "is a point"),
    ("ops/egress.rs", "a socket and a file of names, made anew for each run"),
    ("ops/gc/mod.rs", "what is removed is needed by nobody"),
    ("ops/jailing.rs", "a directory for a trial"),
    ("ops/prepare.rs", "is a point"),
    ("ops/remove.rs", "a person's command, with steps of its own"),
    ("ops/supervise.rs", "is a point"),
    ("ops/update/build.rs", "no part of a run"),
    ("ops/update/place.rs", "no part of a run"),
    ("process/cgroup.rs", "no file but a group of processes, which goes when they do"),
    ("process/command.rs", "is the place"),
    ("process/fence.rs", "no file but the limits of a group of processes"),
    ("sandbox/inside.rs", "in the jail"),
    ("store/atomic.rs", "is the place"),
    ("store/lock.rs", "is the place"),
    ("store/record.rs", "what a person sets aside, with steps of its own"),
    ("store/retire.rs", "a person's command, with steps of its own"),
];

#[test]
fn files_are_changed_and_processes_started_where_a_test_can_strike() {
    let signs = [
        "fs::write(",
        "fs::rename(",
        "fs::remove_file(",
        "fs::remove_dir_all(",
        "fs::copy(",
        "File::create",
        "File::options",
        "OpenOptions::new",
        "tempfile",
        "rename_new(",
        ".spawn()",
    ];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut raw = Vec::new();
    for file in sources(&src) {
        let inside = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        // Neither is part of a run, and tests may do what they want.
        if ["demo/", "fakehub/"].iter().any(|room| inside.starts_with(room))
            || inside.contains("tests")
        {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\n").next().unwrap();
        let mut lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        if lines.any(|line| signs.iter().any(|sign| line.contains(sign))) {
            raw.push(inside);
        }
    }
    raw.sort();
    let known: Vec<&str> = RAW_EFFECTS.iter().map(|(file, _)| *file).collect();
    assert_eq!(raw, known, "use store::write_private, store::remove_file, process::begin, …");
}
