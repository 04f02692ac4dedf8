//! Templates: shipped in the binary, overridable file by file, rendered all or none.
//!
//! The engine is tera 2: `{{ variable }}`, `{% if jail %}`, `{# comment #}`, `{% raw %}`. An
//! undefined variable is an error. Nothing is escaped by itself; two filters are ours:
//! `sh_quote` makes any text one word of a POSIX shell, `json` makes it a JSON string.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tera::{Context, ErrorKind, Kwargs, State, Tera};

use super::error::Error;
use super::source::{self, Found};

/// Largest template, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The directory below the user's directory of templates (and ours) that a home is made from.
const KIND: &str = "worker";

/// What every template can use: the name, and what it holds.
pub const VARIABLES: [(&str, &str); 12] = [
    ("worker", "the worker's id: `01`"),
    ("label", "its label on GitHub: `worker:01`"),
    ("home", "its home, an absolute path"),
    ("outbox", "where the agent leaves what it wants said: `<home>/outbox`"),
    ("pool", "the directory of the records, which no agent may change"),
    ("source_home", "the home of the user whose credentials are copied"),
    ("branch_prefix", "what the branch for an issue begins with: `issue-`"),
    ("jail", "whether the agent runs in a jail: `true` or `false`"),
    ("git_name", "author of commits, unless `~/.gitconfig` says otherwise"),
    ("git_email", "the same author's address"),
    ("credentials", "what may be copied, the words of the configuration"),
    ("env", "secret values for the environment: a list of `name` and `value`, sorted by name"),
];

/// The templates that are shipped: path in the home, and text.
const SHIPPED: [(&str, &str); 7] = [
    (".bashrc", include_str!("../../templates/worker/.bashrc")),
    (".claude/CLAUDE.md", include_str!("../../templates/worker/.claude/CLAUDE.md")),
    (".claude/settings.json", include_str!("../../templates/worker/.claude/settings.json")),
    (
        ".config/claude-workers/env.sh",
        include_str!("../../templates/worker/.config/claude-workers/env.sh"),
    ),
    (".config/git/config", include_str!("../../templates/worker/.config/git/config")),
    (".profile", include_str!("../../templates/worker/.profile")),
    (".zshenv", include_str!("../../templates/worker/.zshenv")),
];

/// The templates that are shipped, by their path below the directory of templates
/// (`worker/.claude/CLAUDE.md`), with their text.
pub fn shipped() -> impl Iterator<Item = (String, &'static str)> {
    SHIPPED.iter().map(|(name, text)| (format!("{KIND}/{name}"), *text))
}

/// A file to be made, rendered.
pub(super) struct Rendered {
    pub path: PathBuf,
    pub text: String,
    pub executable: bool,
}

struct Template {
    origin: String,
    text: String,
    executable: bool,
}

/// Templates by their path in the home.
pub(super) struct Templates(BTreeMap<String, Template>);

impl Templates {
    /// Those that are shipped, with what the user's directory replaces and adds. A directory that
    /// is not there changes nothing; a file that cannot be used is an error, because a home made
    /// without it would not be the one that was asked for.
    pub fn load(overrides: Option<&Path>) -> Result<Self, Error> {
        let mut all: BTreeMap<_, _> = SHIPPED
            .iter()
            .map(|(name, text)| {
                let origin = format!("shipped template {name}");
                (
                    (*name).to_owned(),
                    Template { origin, text: (*text).to_owned(), executable: false },
                )
            })
            .collect();
        let Some(overrides) = overrides else { return Ok(Self(all)) };
        let unfit = |path: &Path, why: &dyn ToString| Error::Unfit {
            origin: origin(path),
            why: why.to_string(),
        };
        // The directory itself may be a link, as managers of dotfiles make it: it was named.
        let Some(tree) = source::top(overrides, Path::new("/")) else { return Ok(Self(all)) };
        let tree = tree.map_err(|why| unfit(overrides, &why))?;
        let Some(top) = source::top(&tree.join(KIND), &tree) else { return Ok(Self(all)) };
        let top = top.map_err(|why| unfit(&tree.join(KIND), &why))?;
        source::walk(&top, &tree, &mut |Found { path, relative, file }| {
            let file = file.map_err(|why| unfit(&path, &why))?;
            let name = relative.to_str().ok_or_else(|| unfit(&path, &"its name is not UTF-8"))?;
            let mut bytes = Vec::new();
            let meta = file.metadata().map_err(Error::io("read", &path))?;
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(unfit(&path, &"it is larger than 1 MiB"));
            }
            let text = String::from_utf8(bytes).map_err(|_| unfit(&path, &"it is not UTF-8"))?;
            let executable = meta.permissions().mode() & 0o100 != 0;
            let origin = origin(&path);
            all.insert(name.to_owned(), Template { origin, text, executable });
            Ok(())
        })?;
        Ok(Self(all))
    }

    /// Refuses templates that would stand where something else is going to be made.
    pub fn reserve<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let names: BTreeSet<_> = names.into_iter().collect();
        for (path, template) in &self.0 {
            let first = path.split('/').next().unwrap_or_default();
            if names.contains(first) {
                return Err(Error::Unfit {
                    origin: template.origin.clone(),
                    why: format!("{first:?} in a home is a link to its record"),
                });
            }
        }
        Ok(())
    }

    /// Renders all of them, or none.
    pub fn render(&self, context: &Context) -> Result<Vec<Rendered>, Error> {
        let mut tera = Tera::new();
        tera.autoescape_on(Vec::<&str>::new());
        tera.register_filter("sh_quote", |text: &str, _: Kwargs, _: &State| sh_quote(text));
        tera.register_filter("json", |text: &str, _: Kwargs, _: &State| {
            serde_json::Value::from(text).to_string()
        });
        tera.add_raw_templates(self.0.iter().map(|(name, t)| (name.as_str(), t.text.as_str())))
            .map_err(|e| self.error(None, &e))?;
        self.0
            .iter()
            .map(|(name, template)| {
                let text = tera.render(name, context).map_err(|e| self.error(Some(name), &e))?;
                if name.ends_with(".json") {
                    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|source| {
                        Error::Json { origin: template.origin.clone(), source }
                    })?;
                }
                Ok(Rendered { path: name.into(), text, executable: template.executable })
            })
            .collect()
    }

    /// The engine's error without its picture of the source: one line, and the file's real name.
    fn error(&self, rendering: Option<&str>, error: &tera::Error) -> Error {
        let origin = |name: &str| self.0.get(name).map(|template| template.origin.clone());
        match error.kind() {
            ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => Error::Template {
                origin: origin(report.filename()).unwrap_or_else(|| report.filename().to_owned()),
                line: Some(report.span().start_line),
                message: report.message().to_owned(),
            },
            other => Error::Template {
                origin: rendering.and_then(origin).unwrap_or_else(|| "templates".to_owned()),
                line: None,
                message: other.to_string(),
            },
        }
    }
}

fn origin(path: &Path) -> String {
    format!("template {}", path.display())
}

/// One word of a POSIX shell that means exactly `text`. Single quotes keep everything, newlines
/// and `$` too, but a single quote.
pub(super) fn sh_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
