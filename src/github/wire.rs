//! GitHub's JSON, as far as we read it. Everything that GitHub may leave out or send as `null` is
//! allowed to be missing.

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::domain::{self, BranchName, IssueNumber, RepoSlug};

/// Something that can say where it is, to name the new place of what has moved.
pub(super) trait Named {
    fn place(&self) -> String;
}

/// The body of an answer of 400 and more.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl Refusal {
    /// The message with those of the single errors.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![self.message.clone()];
        for error in &self.errors {
            let field = |name: &str| error.get(name).and_then(|v| v.as_str());
            let text = match (error.as_str(), field("message"), field("code")) {
                (Some(text), _, _) | (None, Some(text), _) => text.to_owned(),
                (None, None, Some(code)) => {
                    let of = [field("resource"), field("field")];
                    let of: Vec<&str> = of.into_iter().flatten().collect();
                    format!("{} {code}", of.join(" ")).trim_start().to_owned()
                }
                _ => continue,
            };
            parts.push(text);
        }
        parts.retain(|p| !p.is_empty());
        parts.join("; ")
    }

    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().filter_map(|e| e.get("code")?.as_str())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl User {
    pub(super) fn is_bot(&self) -> bool {
        self.kind == "Bot"
    }
}

/// The login of somebody whose account may be deleted: GitHub shows those as `ghost`.
pub(super) fn login(user: Option<User>) -> String {
    user.map_or_else(|| "ghost".to_owned(), |u| u.login)
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Permissions {
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    maintain: bool,
    #[serde(default)]
    push: bool,
    #[serde(default)]
    triage: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Repo {
    id: u64,
    full_name: String,
    default_branch: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    private: bool,
    #[serde(default = "yes")]
    has_issues: bool,
    #[serde(default)]
    open_issues_count: u64,
    /// In KiB.
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    permissions: Option<Permissions>,
}

impl Named for Repo {
    fn place(&self) -> String {
        self.full_name.clone()
    }
}

impl TryFrom<Repo> for super::RepoInfo {
    type Error = domain::IdError;
    fn try_from(repo: Repo) -> Result<Self, domain::IdError> {
        let may = repo.permissions.unwrap_or_default();
        let may_push = may.push || may.maintain || may.admin;
        Ok(Self {
            slug: repo.full_name.parse()?,
            id: repo.id,
            default_branch: repo.default_branch.parse()?,
            archived: repo.archived,
            disabled: repo.disabled,
            private: repo.private,
            has_issues: repo.has_issues,
            open_issues: repo.open_issues_count,
            may_push,
            may_label: may_push || may.triage,
            size: repo.size.map(|kib| kib.saturating_mul(1 << 10)),
        })
    }
}

/// A label: an object in new answers, a plain name in old ones and in our cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Label {
    Name(String),
    Object { name: String },
}

impl Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Self::Name(name) | Self::Object { name }) = self;
        serializer.serialize_str(name)
    }
}

impl From<Label> for domain::Label {
    fn from(label: Label) -> Self {
        let (Label::Name(name) | Label::Object { name }) = label;
        Self(name)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct InRepo {
    full_name: String,
}

/// An issue. `B` is what becomes of its body: kept when one issue is read, ignored in lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Issue<B> {
    number: u64,
    title: String,
    #[serde(default, skip_serializing)]
    body: B,
    user: Option<User>,
    #[serde(default)]
    labels: Vec<Label>,
    created_at: Timestamp,
    updated_at: Timestamp,
    state: String,
    #[serde(default)]
    locked: bool,
    #[serde(default, skip_serializing)]
    pull_request: Option<IgnoredAny>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<InRepo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository_url: Option<String>,
}

/// An issue in a list.
pub(super) type ListedIssue = Issue<IgnoredAny>;
/// An issue read on its own.
pub(super) type WholeIssue = Issue<Option<String>>;

impl<B> Issue<B> {
    pub(super) fn is_pull(&self) -> bool {
        self.pull_request.is_some()
    }

    /// The repository it says it is in.
    pub(super) fn repo(&self) -> Option<RepoSlug> {
        if let Some(repo) = &self.repository {
            return repo.full_name.parse().ok();
        }
        let mut parts = self.repository_url.as_deref()?.rsplit('/');
        let (name, owner) = (parts.next()?, parts.next()?);
        format!("{owner}/{name}").parse().ok()
    }

    pub(super) fn into_domain(
        self,
        repo: RepoSlug,
        body: fn(B) -> String,
    ) -> Result<domain::Issue, domain::IdError> {
        Ok(domain::Issue {
            repo,
            number: IssueNumber::try_from(self.number)?,
            is_pull: self.is_pull(),
            title: self.title,
            body: body(self.body),
            author: login(self.user),
            labels: self.labels.into_iter().map(Into::into).collect(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            open: self.state == "open",
            locked: self.locked,
        })
    }
}

impl<B> Named for Issue<B> {
    fn place(&self) -> String {
        match self.repo() {
            Some(repo) => format!("{repo}#{}", self.number),
            None => format!("#{} of another repository", self.number),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    id: u64,
    user: Option<User>,
    body: Option<String>,
    created_at: Timestamp,
    #[serde(default)]
    html_url: String,
}

impl From<Comment> for super::Comment {
    fn from(comment: Comment) -> Self {
        Self {
            id: comment.id,
            is_bot: comment.user.as_ref().is_some_and(User::is_bot),
            author: login(comment.user),
            body: comment.body.unwrap_or_default(),
            created_at: comment.created_at,
            url: comment.html_url,
        }
    }
}

/// Something that happened to an issue.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "event")]
    pub(super) kind: String,
    pub(super) actor: Option<User>,
    pub(super) label: Option<Label>,
    pub(super) created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct End {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    repo: Option<InRepo>,
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pull {
    number: u64,
    html_url: String,
    state: String,
    head: End,
    base: End,
}

impl Pull {
    /// Whether it wants `branch` of `repo` itself merged, not one of that name in a fork.
    pub(super) fn is_from(&self, repo: &RepoSlug, branch: &BranchName) -> bool {
        let owned = |u: &User| u.login.eq_ignore_ascii_case(repo.owner());
        let here = |r: &InRepo| r.full_name.eq_ignore_ascii_case(repo.as_str());
        self.head.name == branch.as_str()
            && self.head.repo.as_ref().is_none_or(here)
            && self.head.user.as_ref().is_none_or(owned)
    }

    pub(super) fn is_into(&self, base: &BranchName) -> bool {
        self.base.name == base.as_str()
    }

    /// Whether `commit` is the last that it brings.
    pub(super) fn is_at(&self, commit: &str) -> bool {
        self.head.sha == commit
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }

    pub(super) fn into_domain(self, head: &BranchName) -> domain::PullRef {
        domain::PullRef {
            number: self.number,
            open: self.is_open(),
            url: self.html_url,
            head: head.clone(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct UserRights {
    pub(super) permission: String,
}
