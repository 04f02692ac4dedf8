//! Who and what there is on this GitHub, and what goes wrong.

use std::collections::BTreeMap;

use super::state::{Rate, Repo, Role, State, Token, User, now};
use super::weather::{Trouble, Weather};
use super::{FakeHub, FakeHubError, Fault};

/// The primary limit of a token, in requests an hour.
const HOURLY: u64 = 5000;

/// A repository to be made: public, active, with issues, unless said otherwise.
#[derive(Debug, Clone)]
pub struct NewRepo {
    slug: String,
    private: bool,
    archived: bool,
    has_issues: bool,
    default_branch: String,
    kib: u64,
    files: Vec<(String, String)>,
}

impl NewRepo {
    /// A repository `owner/name` whose default branch is `main`, with no commit.
    #[must_use]
    pub fn new(slug: &str) -> Self {
        Self {
            slug: slug.to_owned(),
            private: false,
            archived: false,
            has_issues: true,
            default_branch: "main".to_owned(),
            kib: 1,
            files: Vec::new(),
        }
    }

    /// Only its owner and those with a role see it.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Nobody may write.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// It has no issues.
    #[must_use]
    pub fn without_issues(mut self) -> Self {
        self.has_issues = false;
        self
    }

    /// The name of its default branch.
    #[must_use]
    pub fn default_branch(mut self, name: &str) -> Self {
        name.clone_into(&mut self.default_branch);
        self
    }

    /// What it says of its size, in KiB.
    #[must_use]
    pub fn kib(mut self, kib: u64) -> Self {
        self.kib = kib;
        self
    }

    /// A file of its first commit; executable if the text starts with `#!`.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }
}

pub(super) fn unknown(what: &'static str, name: impl Into<String>) -> FakeHubError {
    FakeHubError::Unknown { what, name: name.into() }
}

/// Where the repository stands in the state.
pub(super) fn repo_at(state: &State, slug: &str) -> Result<usize, FakeHubError> {
    let (owner, name) = slug.split_once('/').ok_or_else(|| unknown("repository", slug))?;
    state.find(owner, name).ok_or_else(|| unknown("repository", slug))
}

pub(super) fn git_error(slug: &str) -> impl Fn(std::io::Error) -> FakeHubError {
    move |source| FakeHubError::Git { repo: slug.to_owned(), source }
}

impl FakeHub {
    /// A person.
    pub fn add_user(&self, login: &str) -> Result<(), FakeHubError> {
        self.register(login, false)
    }

    /// An organization.
    pub fn add_org(&self, login: &str) -> Result<(), FakeHubError> {
        self.register(login, true)
    }

    fn register(&self, login: &str, org: bool) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        if state.user(login).is_some() {
            return Err(FakeHubError::Taken { what: "user", name: login.to_owned() });
        }
        let user = User { id: state.new_id(), login: login.to_owned(), org, created: now() };
        state.users.insert(login.to_ascii_lowercase(), user);
        Ok(())
    }

    /// A token of a user: a classic one shows its scopes in `x-oauth-scopes`, a fine-grained one
    /// has none.
    pub fn add_token(
        &self,
        login: &str,
        token: &str,
        scopes: Option<&str>,
    ) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let login = state.user(login).ok_or_else(|| unknown("user", login))?.login.clone();
        let scopes = scopes.map(str::to_owned);
        let rate = Rate::new(HOURLY, now());
        state.tokens.insert(token.to_owned(), Token { login, scopes, rate });
        Ok(())
    }

    /// How many requests of the hour a user's tokens have left.
    pub fn set_rate_remaining(&self, login: &str, remaining: u64) {
        let mut state = self.lock();
        let theirs = |t: &&mut Token| t.login.eq_ignore_ascii_case(login);
        for token in state.tokens.values_mut().filter(theirs) {
            token.rate.used = token.rate.limit.saturating_sub(remaining);
        }
    }

    /// A repository, on disk too. Its owner must be known.
    pub fn add_repo(&self, new: &NewRepo) -> Result<(), FakeHubError> {
        let (owner, name) =
            new.slug.split_once('/').ok_or_else(|| unknown("repository", &new.slug))?;
        let mut state = self.lock();
        let owner = state.user(owner).ok_or_else(|| unknown("user", owner))?.login.clone();
        if state.find(&owner, name).is_some() {
            return Err(FakeHubError::Taken { what: "repository", name: new.slug.clone() });
        }
        let git = format!("{}.git", new.slug.to_ascii_lowercase());
        state.git.create(&git, &new.default_branch, &new.files).map_err(git_error(&new.slug))?;
        let id = state.new_id();
        state.repos.push(Repo {
            id,
            owner,
            name: name.to_owned(),
            private: new.private,
            archived: new.archived,
            has_issues: new.has_issues,
            default_branch: new.default_branch.clone(),
            roles: BTreeMap::new(),
            labels: Vec::new(),
            issues: BTreeMap::new(),
            gone: BTreeMap::new(),
            created: now(),
            pushed: now(),
            kib: new.kib,
            git,
        });
        Ok(())
    }

    /// Gives a person a role in a repository, or takes it ([`Role::None`]).
    pub fn set_role(&self, slug: &str, login: &str, role: Role) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = repo_at(&state, slug)?;
        state.user(login).ok_or_else(|| unknown("user", login))?;
        state.repos[repo].roles.insert(login.to_ascii_lowercase(), role);
        Ok(())
    }

    /// Archives a repository, or takes it up again.
    pub fn set_archived(&self, slug: &str, archived: bool) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = repo_at(&state, slug)?;
        state.repos[repo].archived = archived;
        Ok(())
    }

    /// Renames a repository; its former name redirects. The new owner must be known.
    pub fn rename_repo(&self, slug: &str, new_slug: &str) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = repo_at(&state, slug)?;
        let (owner, name) =
            new_slug.split_once('/').ok_or_else(|| unknown("repository", new_slug))?;
        let owner = state.user(owner).ok_or_else(|| unknown("user", owner))?.login.clone();
        if state.find(&owner, name).is_some() {
            return Err(FakeHubError::Taken { what: "repository", name: new_slug.to_owned() });
        }
        let id = state.repos[repo].id;
        state.renamed.insert(slug.to_ascii_lowercase(), id);
        state.repos[repo].owner = owner;
        name.clone_into(&mut state.repos[repo].name);
        Ok(())
    }

    /// Refuses pushes to a branch of a repository, as branch protection does; `*` is every ref.
    pub fn refuse_pushes(&self, slug: &str, branch: &str) -> Result<(), FakeHubError> {
        let state = self.lock();
        let repo = repo_at(&state, slug)?;
        state.git.refuse_pushes(&state.repos[repo].git, branch).map_err(git_error(slug))
    }

    /// Takes pushes to all branches again.
    pub fn accept_pushes(&self, slug: &str) -> Result<(), FakeHubError> {
        let state = self.lock();
        let repo = repo_at(&state, slug)?;
        state.git.accept_pushes(&state.repos[repo].git).map_err(git_error(slug))
    }

    /// Adds a rule for trouble, behind those that are there.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Forgets all rules for trouble.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Trouble by chance from now on, or no more of it. Rules go first.
    pub fn set_weather(&self, weather: Option<Weather>) {
        self.lock().weather = weather;
    }

    /// How often each kind of trouble has come by chance.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<Trouble, u64> {
        self.lock().struck.clone()
    }

    /// Forgets the log.
    pub fn clear_exchanges(&self) {
        self.lock().exchanges.clear();
    }
}
