//! The outbox, read inside the jail. Everything in it is the agent's: no link is followed, and what
//! is no regular file of a bounded size is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::clone::Want;
use crate::domain::Work;
use crate::store::read_bounded;

/// The largest text.
const MAX_TEXT: u64 = 64 << 10;

/// Whether this is a directory, and no link to one.
fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// The text of a file; `name` is for the error, which says why it is left out. `None`: there is none.
fn text(path: &Path, name: &str) -> Result<Option<String>, String> {
    match read_bounded(path, MAX_TEXT) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| format!("outbox/{name} is not UTF-8 and was left out")),
        Err(_) => {
            Err(format!("outbox/{name} was left out: it must be a regular file of at most 64 KB"))
        }
    }
}

/// Reads the single files into `work`.
pub(super) fn read(outbox: &Path, want: Want, work: &mut Work) {
    if !is_dir(outbox) {
        return;
    }
    let mut read = |name: &str| -> Option<String> {
        match text(&outbox.join(name), name) {
            Ok(text) => text.filter(|t| !t.trim().is_empty()),
            Err(note) => {
                work.notes.push(note);
                None
            }
        }
    };
    let (comment, blocked) = (read("comment.md"), read("blocked.md"));
    let (pr, report) = match want {
        Want::Commits => (read("pr.md"), None),
        Want::Words | Want::Issues { .. } => (None, read("report.md")),
    };
    let trimmed = |text: Option<String>| text.map(|t| t.trim().to_owned());
    work.pr_text = pr.map(|text| {
        let (title, body) = text.trim_start().split_once('\n').unwrap_or((text.trim(), ""));
        (title.trim().trim_start_matches("# ").to_owned(), body.trim().to_owned())
    });
    (work.comment, work.blocked, work.report) =
        (trimmed(comment), trimmed(blocked), trimmed(report));
}

/// The names and texts of `issues/*.md`, the first `max` by name.
pub(super) fn issues(outbox: &Path, max: usize, work: &mut Work) -> Vec<(String, String)> {
    let dir = outbox.join("issues");
    if !is_dir(outbox) || !is_dir(&dir) {
        return Vec::new();
    }
    let (mut names, mut more) = (BTreeSet::new(), 0_u32);
    for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().ends_with(b".md") {
            continue;
        }
        names.insert(name);
        if names.len() > max {
            names.pop_last();
            more = more.saturating_add(1);
        }
    }
    let mut files = Vec::new();
    for name in names {
        let shown = name.to_string_lossy().into_owned();
        match text(&dir.join(&name), &format!("issues/{shown}")) {
            Ok(text) => files.extend(text.map(|text| (shown, text))),
            Err(note) => {
                work.left_out = work.left_out.saturating_add(1);
                work.notes.push(note);
            }
        }
    }
    if more > 0 {
        work.left_out = work.left_out.saturating_add(more);
        work.notes.push(format!(
            "outbox/issues holds more than {max} files; the last {more} by name were left out"
        ));
    }
    files
}
