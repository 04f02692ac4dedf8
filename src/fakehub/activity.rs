//! What people do on this GitHub beside the program that is watched.

use jiff::Timestamp;

use super::git::Git;
use super::setup::{git_error, repo_at, unknown};
use super::state::{Event, Gone, Issue, Merge, State, now};
use super::{FakeHub, FakeHubError, api};

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

fn known_issue(state: &State, slug: &str, number: u64) -> Result<usize, FakeHubError> {
    let repo = repo_at(state, slug)?;
    let known = state.repos[repo].issues.contains_key(&number);
    if known { Ok(repo) } else { Err(unknown("issue", format!("{slug}#{number}"))) }
}

impl FakeHub {
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

    /// Changes an issue's body, as its author.
    pub fn edit_body(&self, slug: &str, number: u64, body: &str) -> Result<(), FakeHubError> {
        self.reword(slug, number, (None, Some(body.to_owned())))
    }

    /// Changes an issue's title, as its author.
    pub fn rename_issue(&self, slug: &str, number: u64, title: &str) -> Result<(), FakeHubError> {
        self.reword(slug, number, (Some(title.to_owned()), None))
    }

    fn reword(
        &self,
        slug: &str,
        number: u64,
        words: (Option<String>, Option<String>),
    ) -> Result<(), FakeHubError> {
        let mut state = self.lock();
        let repo = known_issue(&state, slug, number)?;
        let author = state.repos[repo].issues[&number].author.clone();
        state.reword(repo, number, words, &author);
        Ok(())
    }

    /// Locks the conversation: only people with write access may comment.
    pub fn lock_issue(&self, slug: &str, number: u64) -> Result<(), FakeHubError> {
        self.change(slug, number, |issue| issue.locked = true)
    }

    fn change(
        &self,
        slug: &str,
        number: u64,
        change: impl FnOnce(&mut Issue),
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
        api::follow_branches(&mut state, repo).map_err(&error)?;
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
        pull.stats = Some(git.stats(&dir, &pull.base_sha, &pull.head_sha).map_err(&error)?);
        let at = issue.touch();
        let by = owner.clone();
        if let Some(pull) = &mut issue.pull {
            pull.merged = Some(Merge { at, by, sha });
        }
        issue.events.push(Event {
            id,
            actor: owner.clone(),
            what: "merged",
            label: None,
            rename: None,
            at,
        });
        state.set_open(repo, number, false, None, &owner);
        for closed in closing_references(&body) {
            let reason = Some("completed".to_owned());
            state.set_open(repo, closed, false, reason, &owner);
        }
        Ok(())
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
    const KEYWORDS: [&str; 9] =
        ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];
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
