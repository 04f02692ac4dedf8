//! The program's place: the new one in one step, and what it was built from.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ops::context::previous_program;
use crate::ops::{Context, Exit, Failure};
use crate::store::{read_bounded, write_private};

/// What is remembered: cargo's own list does not tell the commit of a checkout, and knows nothing of
/// what we put in place. It holds for this very file only.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    version: u32,
    program: PathBuf,
    inode: u64,
    size: u64,
    modified_ns: i64,
    built_from: String,
}

fn memory(program: &Path, built_from: String) -> io::Result<Memory> {
    let meta = fs::metadata(program)?;
    Ok(Memory {
        version: 1,
        program: program.to_owned(),
        inode: meta.ino(),
        size: meta.len(),
        modified_ns: meta.mtime().wrapping_mul(1_000_000_000).wrapping_add(meta.mtime_nsec()),
        built_from,
    })
}

fn memory_path(ctx: &Context) -> PathBuf {
    ctx.root.update().join("built.json")
}

/// What the program was built from, if we put it there.
pub(super) fn built_from(ctx: &Context, program: &Path) -> Option<String> {
    let bytes = read_bounded(&memory_path(ctx), 1 << 16).ok()??;
    let remembered: Memory = serde_json::from_slice(&bytes).ok()?;
    let is = memory(program, remembered.built_from.clone()).ok()?;
    (is == remembered).then_some(remembered.built_from)
}

/// Remembers what the program in place was built from.
pub(super) fn remember(ctx: &Context, program: &Path, from: &str) -> Result<(), Failure> {
    let fail = |e: String| {
        Failure::new(Exit::Failed, format!("the new program is in place, and not remembered: {e}"))
    };
    let memory = memory(program, from.to_owned()).map_err(|e| fail(e.to_string()))?;
    let json = serde_json::to_vec_pretty(&memory).map_err(|e| fail(e.to_string()))?;
    Ok(write_private(&memory_path(ctx), &json)?)
}

/// Refuses early, before anything is built for nothing.
pub(super) fn check_writable(program: &Path) -> Result<(), Failure> {
    let dir = program.parent().unwrap_or(Path::new("/"));
    nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot replace {}: {}", program.display(), e.desc()))
            .hint("run it as the user who installed it")
    })
}

/// Whether two programs are the same, byte by byte.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    let len = |path: &Path| fs::metadata(path).map(|meta| meta.len()).ok();
    len(a).is_some() && len(a) == len(b) && fs::read(a).ok() == fs::read(b).ok()
}

/// Puts `new` where `program` is: beside it first, then in one step over it. The old one is kept
/// under another name: runs that it has started go on with it.
pub(super) fn replace(new: &Path, program: &Path) -> Result<(), Failure> {
    let dir = program.parent().unwrap_or(Path::new("/"));
    // A name of its own, so that what a killed update left is found and replaced.
    let beside = dir.join(".claude-workers.new");
    let replace = || -> io::Result<()> {
        let mode = fs::metadata(program).map_or(0o755, |meta| meta.permissions().mode() & 0o7777);
        match fs::remove_file(&beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        io::copy(&mut File::open(new)?, &mut to)?;
        to.set_permissions(Permissions::from_mode(mode))?;
        to.sync_all()?;
        drop(to);
        let previous = previous_program(program);
        let _ = fs::remove_file(&previous);
        // Not every file system has hard links; those runs go on with the new program then.
        let _ = fs::hard_link(program, &previous);
        fs::rename(&beside, program)?;
        File::open(dir)?.sync_all()
    };
    replace().map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot replace {}: {e}", program.display()))
            .hint("the old program is still in place")
    })
}
