//! How the program was installed: its own place tells.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::NAME;
use crate::ops::{Exit, Failure};
use crate::store::read_bounded;

/// Where the program comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A directory with the sources: it is below their `target`, or was installed from there.
    Checkout { dir: PathBuf, how: How },
    /// `cargo install --git`. `reference` is `branch=…`, `tag=…`, `rev=…`, or nothing.
    Git { url: String, reference: Option<String>, commit: String, how: How },
    /// `cargo install`. `index` is not crates.io's.
    Registry { index: Option<String>, version: String, how: How },
}

/// What is said to cargo beside the place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct How {
    pub profile: String,
    pub features: Vec<String>,
    pub all_features: bool,
    pub no_default_features: bool,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkout { dir, .. } => write!(f, "{}", dir.display()),
            Self::Git { url, reference: None, .. } => f.write_str(url),
            Self::Git { url, reference: Some(reference), .. } => write!(f, "{url} ({reference})"),
            Self::Registry { index: None, .. } => f.write_str("crates.io"),
            Self::Registry { index: Some(index), .. } => f.write_str(index),
        }
    }
}

impl Origin {
    /// The origin of the program at this canonical path.
    pub fn of(program: &Path) -> Result<Self, Failure> {
        if let Some(origin) = installed_by_cargo(program)? {
            return Ok(origin);
        }
        if let Some(origin) = built_in_place(program) {
            return Ok(origin);
        }
        let what = format!(
            "{} was put there by something else than cargo, and has to be replaced by it",
            program.display()
        );
        Err(Failure::new(Exit::Failed, what).hint(
            "on a server: `install/setup-vps --binary FILE` with a newer program; from a package: \
             update the package",
        ))
    }
}

/// `bin/claude-workers`, with cargo's list of what it installed beside `bin`.
fn installed_by_cargo(program: &Path) -> Result<Option<Origin>, Failure> {
    let Some(root) = program.parent().filter(|dir| dir.ends_with("bin")).and_then(Path::parent)
    else {
        return Ok(None);
    };
    let list = root.join(".crates2.json");
    let Some(bytes) = read_bounded(&list, 16 << 20)? else { return Ok(None) };
    let broken = |why: String| {
        Failure::new(Exit::Failed, format!("{} cannot be understood: {why}", list.display()))
            .hint("install it again with `cargo install`")
    };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
    let installs = value.get("installs").and_then(serde_json::Value::as_object);
    let ours = installs.into_iter().flatten().find(|(key, _)| key.starts_with(&format!("{NAME} ")));
    let Some((key, entry)) = ours else { return Ok(None) };
    let how: How = serde_json::from_value(entry.clone()).map_err(|e| broken(e.to_string()))?;
    of_key(key, how).map(Some).ok_or_else(|| broken(format!("{key:?}")))
}

/// `claude-workers 0.1.0 (git+https://host/owner/repo?branch=main#COMMIT)`
fn of_key(key: &str, how: How) -> Option<Origin> {
    let (version, source) = key.strip_prefix(NAME)?.trim().split_once(" (")?;
    let (kind, place) = source.strip_suffix(')')?.split_once('+')?;
    match kind {
        "path" => {
            let dir = PathBuf::from(decoded(place.strip_prefix("file://")?)?);
            Some(Origin::Checkout { dir, how })
        }
        "git" => {
            let (url, commit) = place.rsplit_once('#')?;
            let (url, reference) = match url.split_once('?') {
                Some((url, reference)) => (url, Some(decoded(reference)?)),
                None => (url, None),
            };
            Some(Origin::Git { url: url.to_owned(), reference, commit: commit.to_owned(), how })
        }
        "registry" | "sparse" => {
            let crates_io = place.contains("github.com/rust-lang/crates.io-index")
                || place.contains("index.crates.io");
            let index = if kind == "sparse" { format!("sparse+{place}") } else { place.to_owned() };
            let index = (!crates_io).then_some(index);
            Some(Origin::Registry { index, version: version.to_owned(), how })
        }
        _ => None,
    }
}

/// Percent-encoding undone; `None` if that is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [a, b, after @ ..]) = (first, tail) {
            let hex = [*a, *b];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// `target/<profile>/claude-workers` or `target/<triple>/<profile>/claude-workers` of this package.
fn built_in_place(program: &Path) -> Option<Origin> {
    let profile = match program.parent()?.file_name()?.to_str()? {
        "debug" => "dev",
        other => other,
    };
    let target = program.ancestors().skip(2).take(2).find(|dir| dir.ends_with("target"))?;
    let dir = target.parent()?;
    let manifest = read_bounded(&dir.join("Cargo.toml"), 1 << 20).ok()??;
    let manifest: toml::Table = toml::from_str(std::str::from_utf8(&manifest).ok()?).ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    let how = How { profile: profile.to_owned(), ..How::default() };
    (name == NAME).then(|| Origin::Checkout { dir: dir.to_owned(), how })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_own_words_tell_where_a_program_comes_from() {
        let of = |source: &str| of_key(&format!("claude-workers 0.1.0 ({source})"), How::default());
        let how = How::default;
        assert_eq!(
            of("path+file:///home/me/my%20code"),
            Some(Origin::Checkout { dir: "/home/me/my code".into(), how: how() })
        );
        assert_eq!(
            of("git+https://h/o/r?branch=a%2Fb#c0ffee"),
            Some(Origin::Git {
                url: "https://h/o/r".into(),
                reference: Some("branch=a/b".into()),
                commit: "c0ffee".into(),
                how: how(),
            })
        );
        for index in [
            "registry+https://github.com/rust-lang/crates.io-index",
            "sparse+https://index.crates.io/",
        ] {
            let version = "0.1.0".to_owned();
            assert_eq!(of(index), Some(Origin::Registry { index: None, version, how: how() }));
        }
        for odd in ["", "x", "svn+https://h", "git+https://h/without-commit", "path+file://%zz"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }
}
