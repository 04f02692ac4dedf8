//! The configuration file, as written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Error;
use crate::domain::{CredentialMode, JailMode, NetworkMode, RepoPattern, text};
use crate::plan::egress::{Registry, Rule};
use crate::store::read_text;

/// Nobody writes more by hand.
const MAX: u64 = 4 << 20;

/// Who may start work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// The author has write permission, or somebody with write permission put the approval label on.
    #[default]
    Write,
    /// Anybody who can open an issue: their text drives an agent on this machine.
    Anyone,
}

/// Which homes may work on an issue that needed an approval: strangers wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovedIn {
    /// Those that hold no GitHub credentials.
    #[default]
    Broker,
    /// All.
    Any,
}

/// A length of time as people write it: `90s`, `20m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        parse_span(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is not a length of time; write it like \"90s\", \"20m\", \"2h\" or \"7d\""
            ))
        })
    }
}

/// Days have 24 hours; months and years have no length.
fn parse_span(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    span.to_duration(days).ok().and_then(|span| Duration::try_from(span).ok())
}

/// How long something is kept: a length of time, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keep(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "forever" {
            return Ok(Self(None));
        }
        parse_span(&text).map(|span| Self(Some(span))).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is not how long to keep something; write \"forever\", or like \"30d\" or \"8w\""
            ))
        })
    }
}

/// Bytes, as a number or as people write them: `512MB`, `8GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let wrong = |text: &str| {
            serde::de::Error::custom(format!(
                "{text:?} is not a number of bytes; write it like \"50MB\" or \"8GiB\""
            ))
        };
        match Written::deserialize(d)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => parse_size(&text).map(Self).ok_or_else(|| wrong(&text)),
        }
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit.trim() {
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) root: Option<PathBuf>,
    pub(super) repos: Option<Vec<RepoPattern>>,
    pub(super) model: Option<String>,
    pub(super) executor: Option<String>,
    pub(super) github: GithubSection,
    pub(super) assign: AssignSection,
    pub(super) limits: LimitsSection,
    pub(super) credentials: CredentialsSection,
    pub(super) sandbox: SandboxSection,
    pub(super) network: NetworkSection,
    pub(super) git: GitSection,
    pub(super) publish: PublishSection,
    pub(super) redact: RedactSection,
    pub(super) retention: RetentionSection,
    pub(super) retry: RetrySection,
    pub(super) executors: BTreeMap<String, ExecutorSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GithubSection {
    pub(super) api_url: Option<String>,
    pub(super) server_url: Option<String>,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AssignSection {
    pub(super) label: Option<String>,
    pub(super) trust: Trust,
    pub(super) approval_label: String,
    pub(super) bots: Vec<String>,
    pub(super) approved_in: ApprovedIn,
    pub(super) max_per_repo: u32,
    pub(super) reserve: usize,
}

impl Default for AssignSection {
    fn default() -> Self {
        Self {
            label: None,
            trust: Trust::Write,
            approval_label: "approved".into(),
            bots: Vec::new(),
            approved_in: ApprovedIn::Broker,
            max_per_repo: 2,
            reserve: 0,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    pub(super) wall_clock: Option<Span>,
    pub(super) silence: Option<Span>,
    pub(super) grace: Option<Span>,
    pub(super) issues: Option<usize>,
    pub(super) free_space: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CredentialsSection {
    pub(super) mode: CredentialMode,
    pub(super) copy: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SandboxSection {
    pub(super) mode: JailMode,
    pub(super) read_only: Vec<PathBuf>,
    pub(super) read_write: Vec<PathBuf>,
    pub(super) memory: Option<Size>,
    pub(super) processes: Option<u64>,
    pub(super) file_size: Option<Size>,
    pub(super) tmp_size: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkSection {
    pub(super) mode: Option<NetworkMode>,
    pub(super) allow: Vec<Rule>,
    pub(super) allow_local: Vec<Rule>,
    pub(super) registries: Registries,
}

/// `true`, `false`, or some of them by name.
#[derive(Debug, Default)]
pub(super) struct Registries(pub(super) Vec<Registry>);

impl<'de> Deserialize<'de> for Registries {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            All(bool),
            Some(Vec<Registry>),
        }
        match Written::deserialize(d) {
            Ok(Written::All(true)) => Ok(Self(Registry::ALL.to_vec())),
            Ok(Written::All(false)) => Ok(Self(Vec::new())),
            Ok(Written::Some(some)) => Ok(Self(some)),
            Err(_) => Err(serde::de::Error::custom(
                "`registries` is true, false, or a list of \"crates\", \"npm\", \"pypi\" and \"go\"",
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GitSection {
    pub(super) fetch_max_age: Option<Span>,
    pub(super) claims: bool,
}

impl Default for GitSection {
    fn default() -> Self {
        Self { fetch_max_age: None, claims: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PublishSection {
    pub(super) max_files: u64,
    pub(super) max_bytes: Size,
    pub(super) allow_protected: Vec<RepoPattern>,
}

impl Default for PublishSection {
    fn default() -> Self {
        Self { max_files: 1_000, max_bytes: Size(50_000_000), allow_protected: Vec::new() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RedactSection {
    pub(super) env: Vec<String>,
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionSection {
    pub(super) logs: Option<Keep>,
    pub(super) records: Option<Keep>,
    pub(super) mirrors: Option<Keep>,
    pub(super) clones: Option<Keep>,
    pub(super) claims: Option<Keep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetrySection {
    pub(super) lost: Option<u32>,
    pub(super) failed: Option<u32>,
    pub(super) wait: Option<Span>,
}

/// `[executors.NAME]`: how an agent is invoked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutorSection {
    /// Program and arguments, with `{prompt_file}` and the other placeholders. Not for `claude`.
    pub command: Vec<String>,
    /// Where the agent's program is. Only for `claude`.
    pub path: Option<PathBuf>,
    /// More arguments. Only for `claude`.
    pub args: Vec<String>,
    /// Repositories whose own settings, hooks and MCP servers the agent may use. Only for `claude`.
    pub repository_settings: Vec<RepoPattern>,
    /// More environment for the agent.
    pub env: BTreeMap<String, String>,
    /// Variables that are passed on from the environment of whoever dispatches.
    pub pass_env: Vec<String>,
    /// Hosts that this agent may reach, beside those that all may.
    pub allow: Vec<Rule>,
}

/// Reads the file, and returns its text as well. `Ok(None)`: there is none, and none was asked for
/// by name.
pub(super) fn read(path: &Path, named: bool) -> Result<Option<(File, String)>, Error> {
    let text = match read_text(path, MAX) {
        Ok(text) => text,
        // A link that leads nowhere means that one is wanted.
        Err(e)
            if e.kind() == std::io::ErrorKind::NotFound
                && !named
                && std::fs::symlink_metadata(path).is_err() =>
        {
            return Ok(None);
        }
        Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
    };
    Ok(Some((parse(&text, path)?, text)))
}

fn parse(text: &str, path: &Path) -> Result<File, Error> {
    toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start.min(text.len()));
        let message = e.message().lines().collect::<Vec<_>>().join(" ");
        Error::Content {
            path: path.to_owned(),
            line: text[..at].matches('\n').count() + 1,
            meant: nearest(&message),
            message,
        }
    })
}

/// The known key that is nearest to the unknown one, read off serde's message: "unknown field `x`,
/// expected one of `a`, `b`".
fn nearest(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    text::nearest(wrong, quoted).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str) -> Error {
        parse(text, Path::new("c.toml")).unwrap_err()
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_right_one() {
        let e = fails("root = '/x'\n[assign]\nmax_per_rep = 3\n");
        assert!(e.to_string().starts_with("c.toml:3: unknown field `max_per_rep`"), "{e}");
        assert_eq!(e.hint().as_deref(), Some("did you mean `max_per_repo`?"));
        assert_eq!(fails("zzzzzzzz = 1").hint(), None);
    }

    #[test]
    fn wrong_values_are_named() {
        assert!(fails("repos = ['a']").to_string().contains("\"a\" is not a repository"));
        assert!(fails("[limits]\nsilence = 'soon'").to_string().contains("\"soon\""));
        assert!(fails("[sandbox]\nmode = 'off'").to_string().contains("unknown variant"));
        assert!(fails("root = ").to_string().starts_with("c.toml:1:"));
        let network = |key: &str| fails(&format!("[network]\n{key}")).to_string();
        assert!(network("mode = 'off'").contains("unknown variant"));
        assert!(network("allow = ['https://a.com']").contains("\"https://a.com\""));
        assert!(network("allow = ['*.com']").contains("two names or more"));
        assert!(network("registries = ['cargo']").contains("a list of \"crates\""));
    }

    #[test]
    fn the_configuration_of_the_readme_is_accepted_and_names_every_key() {
        let readme = include_str!("../../README.md");
        let blocks: Vec<&str> =
            readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(blocks.len(), 2);
        for block in &blocks {
            parse(block, Path::new("README.md")).unwrap();
        }
        let whole: toml::Table = blocks[1].parse().unwrap();
        for section in [
            "",
            "github",
            "assign",
            "limits",
            "credentials",
            "sandbox",
            "network",
            "git",
            "publish",
            "redact",
            "retention",
            "retry",
        ] {
            let asked = if section.is_empty() {
                "nope = 1".into()
            } else {
                format!("[{section}]\nnope = 1")
            };
            let table =
                if section.is_empty() { &whole } else { whole[section].as_table().unwrap() };
            // serde names all that it knows.
            let known = fails(&asked).to_string();
            for key in known.split('`').skip(3).step_by(2) {
                assert!(table.contains_key(key), "the README does not show {section}.{key}");
            }
        }
    }

    #[test]
    fn sizes_are_as_people_write_them() {
        let size = |text: &str| {
            let text = format!("[sandbox]\nmemory = {text}");
            parse(&text, Path::new("c")).map(|file| file.sandbox.memory.unwrap().0)
        };
        assert_eq!(size("8_000").unwrap(), 8000);
        assert_eq!(size("'50MB'").unwrap(), 50_000_000);
        assert_eq!(size("'8 GiB'").unwrap(), 8 << 30);
        for bad in ["'8'", "'GiB'", "'8G'", "'-1MB'", "'99999999999GiB'", "''"] {
            assert!(size(bad).unwrap_err().to_string().contains("number of bytes"), "{bad}");
        }
    }

    #[test]
    fn lengths_of_time_are_as_people_write_them() {
        let file = parse("[limits]\nwall_clock = '1h 30m'\ngrace = '5s'", Path::new("c")).unwrap();
        assert_eq!(file.limits.wall_clock, Some(Span(Duration::from_mins(90))));
        assert_eq!(file.limits.grace, Some(Span(Duration::from_secs(5))));
        let kept = |text: &str| {
            let text = format!("[retention]\nlogs = '{text}'");
            parse(&text, Path::new("c")).map(|file| file.retention.logs.unwrap().0)
        };
        let days = |n: u64| Some(Duration::from_secs(n * 86_400));
        assert_eq!(kept("2w 1d").unwrap(), days(15));
        assert_eq!(kept("30 days").unwrap(), days(30));
        assert_eq!(kept("forever").unwrap(), None);
        for bad in ["-1d", "1mo", "1y", "soon", "", "5"] {
            assert!(kept(bad).unwrap_err().to_string().contains("how long to keep"), "{bad}");
        }
    }
}
