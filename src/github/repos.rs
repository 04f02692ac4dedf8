//! Who we are, which repositories there are, and who may do what in them.

use super::address::encode;
use super::transport::Ask;
use super::{Error, GitHub, wire};
use crate::domain::{BranchName, RepoSlug};

/// The token's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The login.
    pub login: String,
    /// The scopes of a classic token; other kinds of token do not say theirs.
    pub scopes: Option<Vec<String>>,
    /// When the token expires, as GitHub writes it; nothing if it does not, or does not say.
    pub expires: Option<String>,
}

/// A repository, and what this token may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoInfo {
    /// Its name now.
    pub slug: RepoSlug,
    /// Its number, which survives a change of name.
    pub id: u64,
    /// The branch that pull requests go into.
    pub default_branch: BranchName,
    /// Nothing can be changed in it.
    pub archived: bool,
    /// GitHub has switched it off.
    pub disabled: bool,
    /// Not everybody can see it.
    pub private: bool,
    /// Whether issues are switched on.
    pub has_issues: bool,
    /// Open issues and pull requests together.
    pub open_issues: u64,
    /// Whether the token's user may push.
    pub may_push: bool,
    /// Whether the token's user may label issues.
    pub may_label: bool,
    /// Its size as GitHub stores it, in bytes, if it told.
    pub size: Option<u64>,
}

/// What somebody may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing, or unknown.
    None,
    /// Look; triage counts as this. On a public repository everybody has it.
    Read,
    /// Push; maintain counts as this.
    Write,
    /// Everything.
    Admin,
}

impl Permission {
    /// Whether this person may change the code, and so may ask for work.
    #[must_use]
    pub fn may_write(self) -> bool {
        self >= Self::Write
    }

    fn parse(text: &str) -> Self {
        match text {
            "admin" => Self::Admin,
            "write" | "maintain" => Self::Write,
            "read" | "triage" => Self::Read,
            _ => Self::None,
        }
    }
}

/// The path of a repository's things.
pub(super) fn repo_path(repo: &RepoSlug) -> String {
    format!("/repos/{}/{}", encode(repo.owner()), encode(repo.name()))
}

impl GitHub {
    /// Whose token it is.
    pub async fn viewer(&self) -> Result<Viewer, Error> {
        let ask = Ask::get(self.url("/user"), "the token's user");
        let answer = self.send(&ask).await?;
        let user: wire::User = self.parse(&ask, &answer)?;
        let scopes = answer.header("x-oauth-scopes").map(|list| {
            let names = list.split(',').map(|s| self.safe(s, 60));
            names.filter(|s| !s.is_empty()).collect()
        });
        let expires = answer.header("github-authentication-token-expiration");
        Ok(Viewer { login: user.login, scopes, expires: expires.map(|e| self.safe(e, 60)) })
    }

    /// One repository, read afresh.
    ///
    /// # Errors
    /// [`Error::Moved`] if it has another name now, and whatever a read can meet.
    pub async fn repo(&self, repo: &RepoSlug) -> Result<RepoInfo, Error> {
        let ask = Ask::get(self.url(&repo_path(repo)), repo.as_str());
        let found: wire::Repo = self.fetch_named(&ask).await?;
        let info =
            RepoInfo::try_from(found).map_err(|e| self.bad_answer(&ask.what, &e.to_string()))?;
        if info.slug != *repo {
            return Err(Error::Moved { what: ask.what, to: info.slug.to_string() });
        }
        Ok(info)
    }

    /// What `login` may do in `repo`. Somebody whom GitHub does not know there may do nothing.
    pub async fn permission(&self, repo: &RepoSlug, login: &str) -> Result<Permission, Error> {
        if login.is_empty() {
            return Ok(Permission::None);
        }
        let path = format!("{}/collaborators/{}/permission", repo_path(repo), encode(login));
        let ask = Ask::get(self.url(&path), format!("the rights of {login} on {repo}"));
        let answer = match self.send(&ask).await {
            Err(Error::NotFound { .. }) => return Ok(Permission::None),
            other => other?,
        };
        let rights: wire::UserRights = self.parse(&ask, &answer)?;
        Ok(Permission::parse(&rights.permission))
    }
}
