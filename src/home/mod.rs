//! Worker homes: made from templates and copied credentials.
//!
//! A worker is a whole `$HOME`. [`create`] makes one, [`prepare`] furnishes it anew. The promises:
//!
//! - **All or nothing.** The home is built in a private directory beside the records, brought to
//!   the disk, and moved to its place in one step that replaces nothing. What is interrupted leaves
//!   nothing at the place, and the next attempt for the same worker removes its leftovers.
//! - **File by file, later.** What differs is moved to its place by renaming, never through a link
//!   that an agent has planted; files that it made itself are left alone.
//! - **As it was made.** Before each run in a home without credentials, [`mend()`] takes out what looks
//!   like one and puts back what came from templates.
//! - **Private.** Directories are 0700, files 0600 (0700 if executable), whatever the umask.
//! - **Copies, never links out.** Only regular files are copied; a link counts if it ends inside
//!   the tree that is copied. Everything else is left out and reported. Claude's
//!   `.credentials.json` is never copied: its refresh tokens can be used once.
//! - **Nothing read back.** `task.json`, `worker.log` and `completed` in a home are links into the
//!   record, for people.
//!
//! Templates come from the binary; files of the same name below `worker/` in the user's directory
//! of templates replace them, other files there are added. A template also wins over a copied
//! credential of the same name. [`template::VARIABLES`] is what templates can use.

mod credential;
mod error;
mod found;
mod furniture;
mod lived;
mod mend;
mod refresh;
mod source;
mod staging;
pub mod template;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tera::Context;

pub use credential::{Credential, UnknownCredential};
pub use error::Error;
pub use found::{credentials_in, password_in, secrets_in};
pub use furniture::mode_of;
pub use lived::{is_dir, make_dir, open_up, remove_tree, set_aside};
pub use mend::{Mended, kept_beside, mend};
pub use refresh::{Changes, Ready, prepare, size};
pub use source::Why;
pub use staging::STAGING;

use crate::domain::{CredentialMode, JailMode, WorkerId};
use source::Found;
use staging::Staging;
use template::Templates;
use tree::Tree;

/// Directories that every home has.
const DIRS: [&str; 2] = ["github", OUTBOX];

/// Where the agent leaves what it wants said, in its home.
pub const OUTBOX: &str = "outbox";

/// Claude's own login, in a user's home.
const CLAUDE_LOGIN: &str = ".claude/.credentials.json";

/// What a home is to be made of.
#[derive(Debug)]
pub struct Blueprint<'a> {
    /// Whose home it is. That no other worker's id differs by case only is the caller's check.
    pub worker: &'a WorkerId,
    /// Its place, `<root>/<id>`, an absolute path.
    pub home: &'a Path,
    /// Where it is built: `<root>/.pool`, or beside the home if that is on another file system. Made
    /// if it is not there.
    pub staging_parent: &'a Path,
    /// The user's directory of templates. It need not be there.
    pub templates: Option<&'a Path>,
    /// The home of the user whose credentials are copied.
    pub source_home: &'a Path,
    /// gh's configuration directory.
    pub gh_config_dir: &'a Path,
    /// Whether credentials for GitHub may be in it at all. If not, they are not copied, whatever
    /// `credentials` says.
    pub mode: CredentialMode,
    /// What may be copied.
    pub credentials: &'a [Credential],
    /// Values by the name of their variable (see [`Credential::env_name`]). Those that are empty,
    /// or that `credentials` does not name, are not used.
    pub values: &'a BTreeMap<String, SecretString>,
    /// Whether a jail will be around the agent; if not, its own sandbox is switched on.
    pub jail: JailMode,
    /// Links to the record: a name in the home, and where it leads. A relative target counts from
    /// the home; an absolute one is made relative, so that the root can be moved.
    pub links: &'a [(&'a str, PathBuf)],
    /// Where in the record it is written down which files were placed in the home.
    pub furniture: &'a Path,
}

impl Blueprint<'_> {
    /// Whether this may be copied, and into a home of this mode.
    fn wants(&self, credential: Credential) -> bool {
        credential.fits(self.mode) && self.credentials.contains(&credential)
    }
}

/// What was made.
#[derive(Debug, Default)]
pub struct Report {
    /// Files and links, by their path in the home, sorted.
    pub files: Vec<PathBuf>,
    /// What was to be copied and was not.
    pub skipped: Vec<Skipped>,
    /// What a person should know, in sentences.
    pub notes: Vec<String>,
    /// Files and trees of the home whose sources could not be looked at: not the same as gone.
    unsure: Vec<PathBuf>,
}

impl Report {
    /// `path` was not copied to `to`.
    fn skip(&mut self, path: PathBuf, to: &Path, why: Why) {
        if matches!(why, Why::Unreadable(_)) {
            self.unsure.push(to.to_owned());
        }
        self.skipped.push(Skipped { path, why });
    }
}

/// Something that was not copied.
#[derive(Debug)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not copied: {}", self.path.display(), self.why)
    }
}

/// Makes the home.
///
/// # Errors
///
/// [`Error::Exists`] if something is at its place; else what a template, a value or the file
/// system does not allow. On any error nothing is left at the place.
pub fn create(blueprint: &Blueprint<'_>) -> Result<Report, Error> {
    let Blueprint { worker, home, staging_parent, .. } = *blueprint;
    if fs::symlink_metadata(home).is_ok() {
        return Err(Error::Exists { worker: worker.clone(), path: home.to_owned() });
    }
    tree::ensure_dir(staging_parent)?;
    if let Some(root) = home.parent() {
        tree::ensure_dir(root)?;
    }
    let staging = Staging::begin_for(home, staging_parent, worker)?;
    let mut tree = Tree::new(staging.path().to_owned());
    let mut report = furnish(blueprint, &mut tree)?;
    for dir in DIRS {
        tree.dir(Path::new(dir))?;
    }
    for (name, target) in blueprint.links {
        tree.link(Path::new(name), &relative_to(home, target))?;
    }
    report.files = tree.finish()?;
    report.files.sort();
    refresh::remember(blueprint, staging.path(), &report.files)?;
    staging.publish(home, worker)?;
    Ok(report)
}

/// Puts into `tree` what can be made anew at any time: templates and credentials.
fn furnish(blueprint: &Blueprint<'_>, tree: &mut Tree) -> Result<Report, Error> {
    let templates = Templates::load(blueprint.templates)?;
    templates.reserve(blueprint.links.iter().map(|(name, _)| *name))?;
    let env = environment(blueprint)?;
    let mut report = Report::default();
    note_values(blueprint, &env, &mut report);
    for file in templates.render(&context(blueprint, &env)?)? {
        tree.write(&file.path, &file.text, file.executable)?;
    }
    copy_credentials(blueprint, tree, &mut report)?;
    Ok(report)
}

/// One line of the environment. It has no `Debug`: the value is secret.
#[derive(Serialize)]
struct Variable<'a> {
    name: &'a str,
    value: &'a str,
}

/// The values that may be used, sorted by name.
fn environment<'a>(blueprint: &'a Blueprint<'_>) -> Result<Vec<Variable<'a>>, Error> {
    let mut env = Vec::new();
    for (name, value) in blueprint.values {
        let value = value.expose_secret();
        let wanted =
            Credential::ALL.iter().any(|c| c.env_name() == Some(name) && blueprint.wants(*c));
        if !wanted || value.is_empty() {
            continue;
        }
        if value.contains('\0') {
            return Err(Error::Nul { name: name.clone() });
        }
        env.push(Variable { name, value });
    }
    Ok(env)
}

/// [`template::VARIABLES`], with their values.
fn context(blueprint: &Blueprint<'_>, env: &[Variable<'_>]) -> Result<Context, Error> {
    let worker = blueprint.worker;
    let outbox = blueprint.home.join(OUTBOX);
    let credentials: Vec<_> =
        blueprint.credentials.iter().filter(|c| blueprint.wants(**c)).map(|c| c.as_str()).collect();
    let mut context = Context::new();
    for (name, path) in [
        ("home", blueprint.home),
        ("outbox", &outbox),
        ("pool", blueprint.staging_parent),
        ("source_home", blueprint.source_home),
    ] {
        let text = path.to_str().ok_or_else(|| Error::NotUtf8 { path: path.to_owned() })?;
        context.insert(name, text);
    }
    context.insert("worker", worker.as_str());
    context.insert("label", &worker.label());
    context.insert("branch_prefix", "issue-");
    context.insert("jail", &(blueprint.jail != JailMode::None));
    context.insert("git_name", &format!("claude-workers {worker}"));
    context.insert("git_email", &format!("worker-{worker}@localhost"));
    context.insert("credentials", &credentials);
    context.insert("env", env);
    Ok(context)
}

/// Says which values are missing, and why a login of Claude's does not count.
fn note_values(blueprint: &Blueprint<'_>, env: &[Variable<'_>], report: &mut Report) {
    let wanted = |c: Credential| blueprint.wants(c);
    let missing = |c: Credential| !env.iter().any(|v| c.env_name() == Some(v.name));
    if wanted(Credential::GhToken) && missing(Credential::GhToken) {
        report.notes.push("GH_TOKEN is not set: it was left out".to_owned());
    }
    let keys = [Credential::AnthropicApiKey, Credential::ClaudeCodeOauthToken];
    if !keys.into_iter().all(missing) {
        return;
    }
    let login = blueprint.source_home.join(CLAUDE_LOGIN);
    if fs::symlink_metadata(&login).is_ok() {
        report.notes.push(format!(
            "{} was not copied: its refresh tokens can be used once, so that copies would log each \
             other out. Run `claude setup-token` and set CLAUDE_CODE_OAUTH_TOKEN instead",
            login.display()
        ));
    } else if keys.into_iter().any(wanted) {
        report.notes.push(
            "neither ANTHROPIC_API_KEY nor CLAUDE_CODE_OAUTH_TOKEN is set: Claude has no key here"
                .to_owned(),
        );
    }
}

fn copy_credentials(
    blueprint: &Blueprint<'_>,
    tree: &mut Tree,
    report: &mut Report,
) -> Result<(), Error> {
    let home = blueprint.source_home;
    for (credential, from, to) in [
        (Credential::Gitconfig, home.join(".gitconfig"), ".gitconfig"),
        (Credential::Ssh, home.join(".ssh"), ".ssh"),
        (Credential::Gh, blueprint.gh_config_dir.to_owned(), ".config/gh"),
    ] {
        if !blueprint.wants(credential) {
            continue;
        }
        let to = Path::new(to);
        match source::top(&from, home) {
            None => {
                report.notes.push(format!("there is no {}: it was left out", from.display()));
                // Its place depends on a variable, and an unset variable takes nothing away.
                if credential == Credential::Gh {
                    report.unsure.push(to.to_owned());
                }
            }
            Some(Err(why)) => report.skip(from, to, why),
            Some(Ok(real)) if credential == Credential::Gitconfig => {
                let file = source::open(&real, &real);
                copy(Found { path: from, relative: PathBuf::new(), file }, to, tree, report)?;
            }
            Some(Ok(real)) if !real.is_dir() => {
                report.skip(from, to, Why::WrongKind);
            }
            Some(Ok(real)) => {
                source::walk(&real, &real, &mut |found| {
                    let to = to.join(&found.relative);
                    copy(found, &to, tree, report)
                })?;
            }
        }
    }
    Ok(())
}

fn copy(found: Found, to: &Path, tree: &mut Tree, report: &mut Report) -> Result<(), Error> {
    match found.file {
        Ok(_) if tree.has(to) => {
            report.skip(found.path, to, Why::TemplateFirst);
        }
        Ok(file) => tree.copy(to, &file, &found.path)?,
        Err(why) => report.skip(found.path, to, why),
    }
    Ok(())
}

/// `target` as seen from the directory `from`, if it is absolute.
fn relative_to(from: &Path, target: &Path) -> PathBuf {
    if !target.is_absolute() {
        return target.to_owned();
    }
    let shared = from.components().zip(target.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(target.components().skip(shared)).collect()
}
