//! What people did on this GitHub before, or do beside, the program that is watched.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::git::Git;
use super::state::{Event, Gone, Merge, Rate, Repo, Role, State, Token, User, now};
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

    /// A file of its first commit; executable if the text starts with `#!`.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }
}

/// An issue to be opened.
#[derive(Debug, Clone)]
pub struct NewIssue {
    author: String,
    title: String,
    body: Option<String>,
    labels: Vec<String>,
    created: Option<Timestamp>,
}

impl NewIssue {
    /// An issue of this author, without a body.
    #[must_use]
    pub fn new(author: &str, title: &str) -> Self {
        Self {
            author: author.to_owned(),
            title: title.to_owned(),
            body: None,
            labels: Vec::new(),
            created: None,
        }
    }

    /// Its text.
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        self.body = Some(text.to_owned());
        self
    }

    /// A label, made if the repository has none of that name; its author put it on.
    #[must_use]
    pub fn label(mut self, name: &str) -> Self {
        self.labels.push(name.to_owned());
        self
    }

    /// When it was opened, instead of now.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.created = Some(at);
        self
    }
}

pub(super) fn unknown(what: &'static str, name: impl ToString) -> FakeHubError {
    FakeHubError::Unknown { what, name: name.to_string() }
}

/// Where the repository stands in the state.
pub(super) fn repo_at(state: &State, slug: &str) -> Result<usize, FakeHubError> {
    let (owner, name) = slug.split_once('/').ok_or_else(|| unknown("repository", slug))?;
    state.find(owner, name).ok_or_else(|| unknown("repository", slug))
}

fn known_issue(state: &State, slug: &str, number: u64) -> Result<usize, FakeHubError> {
    let repo = repo_at(state, slug)?;
    match state.repos[repo].issues.contains_key(&number) {
        true => Ok(repo),
        false => Err(unknown("issue", format!("{slug}#{number}"))),
    }
}

fn git_error(slug: &str) -> impl Fn(std::io::Error) -> FakeHubError {
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

    /// Opens an issue; its author needs no role. Returns its number.
    pub fn add_issue(&self, slug: &str, new: &NewIssue) -> Result<u64, FakeHubError> {
        let mut state = self.lock();
        let repo = repo_at(&state, slug)?;
        let created = new.created.unwrap_or_else(now);
        let number = state.open_issue(repo, &new.author, &new.title, new.body.clone(), created);
        for label in &new.labels {
            state.define_label(repo, label, "ededed");
            state.mark(repo, number, label, true, &new.author);
        }
        Ok(number)
    }

    /// Comments as somebody. Returns the comment's id.
    pub fn add_comment(
        &self,
        slug: &str,
        number: u64,
        author: &str,
        body: &str,
    ) -> Result<u64, FakeHubError> {
        let mut state = self.lock();
        let repo = repo_at(&state, slug)?;
        let id = state.add_comment(repo, number, author, body);
        id.ok_or_else(|| unknown("issue", format!("{slug}#{number}")))
    }

    /// Labels an issue as somebody; the label is made if it is new.
    pub fn label(
        &self,
        slug: &str,
        number: u64,
        name: &str,
        actor: &str,
    ) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        state.define_label(repo, name, "ededed");
        state.mark(repo, number, name, true, actor);
        Ok(())
    }

    /// Takes a label off an issue as somebody.
    pub fn unlabel(
        &self,
        slug: &str,
        number: u64,
        name: &str,
        actor: &str,
    ) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        state.mark(repo, number, name, false, actor);
        Ok(())
    }

    /// Changes an issue's body.
    pub fn edit_body(&self, slug: &str, number: u64, body: &str) -> Result<(), FakeHubError> {
        self.change(slug, number, |issue| issue.body = Some(body.to_owned()))
    }

    /// Locks the conversation: only people with write access may comment.
    pub fn lock_issue(&self, slug: &str, number: u64) -> Result<(), FakeHubError> {
        self.change(slug, number, |issue| issue.locked = true)
    }

    fn change(
        &self,
        slug: &str,
        number: u64,
        change: impl FnOnce(&mut super::state::Issue),
    ) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        if let Some(issue) = state.repos[repo].issues.get_mut(&number) {
            issue.touch();
            change(issue);
        }
        Ok(())
    }

    /// Closes or reopens an issue or a pull request, as the repository's owner.
    pub fn set_open(&self, slug: &str, number: u64, open: bool) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        let owner = state.repos[repo].owner.clone();
        state.set_open(repo, number, open, None, &owner);
        Ok(())
    }

    /// Deletes an issue: 410 from now on.
    pub fn delete_issue(&self, slug: &str, number: u64) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        state.repos[repo].issues.remove(&number);
        state.repos[repo].gone.insert(number, Gone::Deleted);
        Ok(())
    }

    /// Transfers an issue to another repository: 301 from now on. Returns its number there.
    pub fn move_issue(&self, slug: &str, number: u64, to: &str) -> Result<u64, FakeHubError> {
        let mut state = self.lock();
        let from = known_issue(&state, slug, number)?;
        let to = repo_at(&state, to)?;
        let new_number = state.repos[to].next_number();
        if let Some(mut issue) = state.repos[from].issues.remove(&number) {
            issue.number = new_number;
            issue.touch();
            for label in issue.labels.clone() {
                state.define_label(to, &label, "ededed");
            }
            state.repos[to].issues.insert(new_number, issue);
        }
        let gone = Gone::Moved { repo: state.repos[to].id, number: new_number };
        state.repos[from].gone.insert(number, gone);
        Ok(new_number)
    }

    /// Merges a pull request with a merge commit, as the repository's owner, and closes the
    /// issues that its body says it closes.
    pub fn merge_pull(&self, slug: &str, number: u64) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        let error = git_error(slug);
        super::api::follow_branches(&mut state, repo).map_err(&error)?;
        let (git, dir) = (state.git.clone(), state.repos[repo].git.clone());
        let owner = state.repos[repo].owner.clone();
        let id = state.new_id();
        let not_open = || unknown("open pull request", format!("{slug}#{number}"));
        let issue = state.repos[repo].issues.get_mut(&number).ok_or_else(not_open)?;
        let body = issue.body.clone().unwrap_or_default();
        let (pull, open) = (issue.pull.as_mut().ok_or_else(not_open)?, issue.open);
        if !open {
            return Err(not_open());
        }
        let sha = merge_commit(&git, &dir, &pull.base, &pull.head_sha, number).map_err(&error)?;
        let stats = git.stats(&dir, &pull.base_sha, &pull.head_sha).map_err(&error)?;
        pull.stats = Some(stats);
        let at = issue.touch();
        let by = owner.clone();
        if let Some(pull) = &mut issue.pull {
            pull.merged = Some(Merge { at, by, sha });
        }
        issue.events.push(Event { id, actor: owner.clone(), what: "merged", label: None, at });
        state.set_open(repo, number, false, None, &owner);
        for closed in closing_references(&body) {
            let reason = Some("completed".to_owned());
            state.set_open(repo, closed, false, reason, &owner);
        }
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

    /// Forgets the log.
    pub fn clear_exchanges(&self) {
        self.lock().exchanges.clear();
    }
}

fn merge_commit(
    git: &Git,
    dir: &str,
    base: &str,
    head: &str,
    number: u64,
) -> std::io::Result<String> {
    let message = format!("Merge pull request #{number}");
    let merged = git.merge(dir, base, head, &message)?;
    merged.ok_or_else(|| std::io::Error::other(format!("{base} and {head} conflict")))
}

/// The issues that a pull request's text closes when it is merged.
fn closing_references(body: &str) -> Vec<u64> {
    const KEYWORDS: [&str; 9] = [
        "close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved",
    ];
    let words: Vec<&str> = body.split_whitespace().collect();
    let number = |pair: &[&str]| {
        let keyword = pair[0].trim_end_matches(':').to_ascii_lowercase();
        let digits = pair[1].strip_prefix('#')?.trim_end_matches(|c: char| !c.is_ascii_digit());
        KEYWORDS.contains(&keyword.as_str()).then(|| digits.parse().ok())?
    };
    words.windows(2).filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::closing_references;

    #[test]
    fn only_keywords_close_issues() {
        let body = "See #1.\n\nCloses #22, fixes: #3. Resolved by #4; close #x";
        assert_eq!(closing_references(body), [22, 3]);
    }
}
