//! Identifiers, parsed once.
//!
//! Every parser here refuses what could be taken for an option, a path or a control sequence
//! further down: a leading dash, `..`, control characters, empty or over-long input.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A value that is not what it should be. The value is shown escaped, so that it is safe to print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {what}: {why}")]
pub struct IdError {
    value: String,
    what: &'static str,
    why: &'static str,
}

impl IdError {
    pub(super) fn new(value: &str, what: &'static str, why: &'static str) -> Self {
        let mut shown: String = value.chars().take(60).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self { value: shown, what, why }
    }
}

/// Implements the text forms (`Display`, serde) of a type that is a checked string.
macro_rules! string_id {
    ($name:ident) => {
        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                value.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}

pub(super) use string_id;

/// A worker's name: `01`, `02`, … or a word, `[A-Za-z0-9][A-Za-z0-9_-]{0,31}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(String);
string_id!(WorkerId);

impl FromStr for WorkerId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let err = |why| Err(IdError::new(s, "a worker id", why));
        if s.is_empty() {
            return err("it is empty");
        }
        if s.len() > 32 {
            return err("it is longer than 32 characters");
        }
        if !s.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return err("it must start with a letter or a digit");
        }
        if !s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return err("only letters, digits, `-` and `_` are allowed");
        }
        if RESERVED.iter().any(|r| s.eq_ignore_ascii_case(r)) {
            return err("it is reserved");
        }
        Ok(Self(s.to_owned()))
    }
}

/// Names that stand beside the workers' in the directory of records.
const RESERVED: [&str; 2] = ["mirrors", "github"];

impl WorkerId {
    /// The label that shows on GitHub that this worker holds an issue.
    #[must_use]
    pub fn label(&self) -> String {
        format!("worker:{}", self.0)
    }

    /// GitHub's labels ignore case, so two workers whose ids differ only by case would share one.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

fn owner_ok(s: &str) -> Result<(), &'static str> {
    if s.is_empty() {
        return Err("the owner is empty");
    }
    if s.len() > 39 {
        return Err("the owner is longer than 39 characters");
    }
    if !s.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("the owner must start with a letter or a digit");
    }
    if !s.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err("the owner holds a character that GitHub does not allow");
    }
    Ok(())
}

fn name_ok(s: &str) -> Result<(), &'static str> {
    if s.is_empty() {
        return Err("the name is empty");
    }
    if s.len() > 100 {
        return Err("the name is longer than 100 characters");
    }
    if s == "." || s == ".." || s.starts_with('-') {
        return Err("the name could be taken for a path or an option");
    }
    if s.to_ascii_lowercase().ends_with(".git") {
        return Err("leave out the `.git` at its end");
    }
    if !s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err("the name holds a character that GitHub does not allow");
    }
    Ok(())
}

/// A repository, `owner/name`, kept in lower case because GitHub compares without case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoSlug(String);
string_id!(RepoSlug);

impl FromStr for RepoSlug {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let err = |why| IdError::new(s, "a repository (owner/name)", why);
        let (owner, name) = s.split_once('/').ok_or_else(|| err("there is no `/` in it"))?;
        if name.contains('/') {
            return Err(err("there is more than one `/` in it"));
        }
        owner_ok(owner).and_then(|()| name_ok(name)).map_err(err)?;
        Ok(Self(s.to_ascii_lowercase()))
    }
}

impl RepoSlug {
    /// The part before the slash.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The part after the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

/// What the configuration's `repos` may say: one repository, or `owner/*` for all of an owner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RepoPattern {
    /// Exactly this repository.
    One(RepoSlug),
    /// Every repository of this owner (lower case) that the token can see.
    AllOf(String),
}

impl FromStr for RepoPattern {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        match s.strip_suffix("/*") {
            Some(owner) => {
                owner_ok(owner)
                    .map_err(|why| IdError::new(s, "a repository pattern (owner/*)", why))?;
                Ok(Self::AllOf(owner.to_ascii_lowercase()))
            }
            None => s.parse().map(Self::One),
        }
    }
}

impl RepoPattern {
    /// The repository, if exactly one is meant.
    #[must_use]
    pub fn one(&self) -> Option<&RepoSlug> {
        match self {
            Self::One(repo) => Some(repo),
            Self::AllOf(_) => None,
        }
    }

    /// Whether `repo` is meant by this pattern.
    #[must_use]
    pub fn matches(&self, repo: &RepoSlug) -> bool {
        match self {
            Self::One(one) => one == repo,
            Self::AllOf(owner) => owner == repo.owner(),
        }
    }
}

impl fmt::Display for RepoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(repo) => repo.fmt(f),
            Self::AllOf(owner) => write!(f, "{owner}/*"),
        }
    }
}

impl TryFrom<String> for RepoPattern {
    type Error = IdError;
    fn try_from(value: String) -> Result<Self, IdError> {
        value.parse()
    }
}

impl From<RepoPattern> for String {
    fn from(value: RepoPattern) -> String {
        value.to_string()
    }
}

/// The number of an issue: 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct IssueNumber(u64);

impl IssueNumber {
    /// The plain number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for IssueNumber {
    type Error = IdError;
    fn try_from(n: u64) -> Result<Self, IdError> {
        if n == 0 || n > i64::MAX as u64 {
            return Err(IdError::new(&n.to_string(), "an issue number", "it must be 1 or more"));
        }
        Ok(Self(n))
    }
}

impl From<IssueNumber> for u64 {
    fn from(n: IssueNumber) -> u64 {
        n.0
    }
}

impl FromStr for IssueNumber {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let digits = s.strip_prefix('#').unwrap_or(s);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse::<u64>() {
            Ok(n) if plain => Self::try_from(n),
            _ => Err(IdError::new(s, "an issue number", "it must be a whole number, 1 or more")),
        }
    }
}

impl fmt::Display for IssueNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a git branch, by the rules of `git check-ref-format`, and never starting with a
/// dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);
string_id!(BranchName);

impl FromStr for BranchName {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let err = |why| Err(IdError::new(s, "a branch name", why));
        if s.is_empty() || s.len() > 200 {
            return err("it must have 1 to 200 bytes");
        }
        if s.starts_with('-') || s == "@" {
            return err("it could be taken for an option or a revision");
        }
        let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
        if s.contains(bad) || s.contains("..") || s.contains("@{") {
            return err("it holds a character or sequence that git does not allow");
        }
        let part_ok = |p: &str| !p.is_empty() && !p.starts_with('.') && !p.ends_with(".lock");
        if s.ends_with('.') || !s.split('/').all(part_ok) {
            return err("a part of it is empty, starts with a dot, or ends in `.` or `.lock`");
        }
        Ok(Self(s.to_owned()))
    }
}

impl BranchName {
    /// `issue-N`, or `issue-N-K` for the K-th branch of the same issue (K of 2 and more).
    #[must_use]
    pub fn for_issue(issue: IssueNumber, nth: u32) -> Self {
        if nth < 2 { Self(format!("issue-{issue}")) } else { Self(format!("issue-{issue}-{nth}")) }
    }

    /// The branch of a run that has no issue.
    #[must_use]
    pub fn for_run(run: &RunId) -> Self {
        Self(format!("task-{}", run.as_str().to_ascii_lowercase()))
    }

    /// Whether this is a branch that a run may publish.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.starts_with("issue-") || self.0.starts_with("task-")
    }
}

/// The id of a run: UTC start time and four hexadecimal digits, `20261121T071500-7f3a`. Ids sort
/// by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);
string_id!(RunId);

impl RunId {
    /// Characters of every id.
    pub const LEN: usize = 20;

    /// The first of them say when it began, to the second.
    pub const SECOND: usize = 15;

    /// Makes the id of a run that starts at `now`; `salt` tells apart runs of the same second.
    #[must_use]
    pub fn new(now: jiff::Timestamp, salt: u16) -> Self {
        Self(format!("{}-{salt:04x}", now.strftime("%Y%m%dT%H%M%S")))
    }
}

impl FromStr for RunId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let shape = s.len() == Self::LEN
            && s.bytes().enumerate().all(|(i, b)| match i {
                8 => b == b'T',
                15 => b == b'-',
                16.. => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
                _ => b.is_ascii_digit(),
            });
        if shape {
            Ok(Self(s.to_owned()))
        } else {
            Err(IdError::new(s, "a run id", "it looks like 20261121T071500-7f3a"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worker_ids_that_could_be_a_path_or_an_option_are_refused() {
        for bad in [
            "",
            "../x",
            "-f",
            ".pool",
            "mirrors",
            "GitHub",
            "a/b",
            "a b",
            "é",
            "a\n",
            &"9".repeat(300),
        ] {
            assert!(bad.parse::<WorkerId>().is_err(), "{bad:?}");
        }
        for good in ["01", "a", "laptop-3", "A_b"] {
            assert_eq!(good.parse::<WorkerId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn worker_ids_collide_without_case() {
        let (a, b): (WorkerId, WorkerId) = ("Ab".parse().unwrap(), "aB".parse().unwrap());
        assert!(a.collides_with(&b));
    }

    #[test]
    fn repositories_are_lower_case_and_have_two_parts() {
        assert_eq!("Octo/App".parse::<RepoSlug>().unwrap().as_str(), "octo/app");
        for bad in [
            "a",
            "a/b/c",
            "/x",
            "x/",
            "--upload-pack=x/y",
            "a/..",
            "a/-x",
            "a/b.git",
            "a/b c",
            "../b",
        ] {
            assert!(bad.parse::<RepoSlug>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn issue_numbers_start_at_one() {
        for bad in ["0", "-1", "abc", "", "1.5", "+3", "99999999999999999999"] {
            assert!(bad.parse::<IssueNumber>().is_err(), "{bad:?}");
        }
        assert_eq!("#22".parse::<IssueNumber>().unwrap().get(), 22);
    }

    #[test]
    fn branch_names_follow_git() {
        for bad in [
            "", "-x", "a..b", "a b", "a:b", "x.lock", "/a", "a/", "a//b", ".a", "a@{1}", "@",
            "a\\b",
        ] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad:?}");
        }
        for good in ["main", "feature/x", "issue-1"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_anything_never_panics_and_accepted_values_are_safe(s in "\\PC{0,60}") {
            if let Ok(id) = s.parse::<WorkerId>() {
                prop_assert!(!id.as_str().contains(['/', '.']) && !id.as_str().starts_with('-'));
            }
            if let Ok(repo) = s.parse::<RepoSlug>() {
                prop_assert!(repo.as_str().matches('/').count() == 1);
                prop_assert!(!repo.owner().starts_with('-') && !repo.name().starts_with('-'));
            }
            if let Ok(branch) = s.parse::<BranchName>() {
                prop_assert!(!branch.as_str().starts_with('-') && !branch.as_str().contains(".."));
            }
            let _ = s.parse::<IssueNumber>();
            let _ = s.parse::<RunId>();
        }

        #[test]
        fn accepted_values_survive_a_round_trip(owner in "[a-z0-9][a-z0-9-]{0,20}", name in "[a-z0-9_][a-z0-9._-]{0,20}") {
            let text = format!("{owner}/{name}");
            if let Ok(repo) = text.parse::<RepoSlug>() {
                prop_assert_eq!(repo.to_string().parse::<RepoSlug>().unwrap(), repo);
            }
        }
    }
}
