//! The changes that the API and the set-up calls have in common. Each is noted in the issue's time.

use jiff::Timestamp;

use super::state::{Comment, Event, History, Issue, LabelDef, State};

impl State {
    /// Makes a label, unless there is one of that name.
    pub(super) fn define_label(&mut self, repo: usize, name: &str, color: &str) {
        if self.repos[repo].label(name).is_none() {
            let id = self.new_id();
            self.repos[repo].labels.push(LabelDef {
                id,
                name: name.to_owned(),
                color: color.to_owned(),
                description: None,
            });
        }
    }

    /// Puts a label of the repository on an issue (or takes it off) and notes who did it.
    /// Nothing happens when it is so already. Returns whether something changed.
    pub(super) fn mark(
        &mut self,
        repo: usize,
        number: u64,
        label: &str,
        add: bool,
        actor: &str,
    ) -> bool {
        let id = self.new_id();
        let repo = &mut self.repos[repo];
        let Some((name, color)) = repo.label(label).map(|l| (l.name.clone(), l.color.clone()))
        else {
            return false;
        };
        let Some(issue) = repo.issues.get_mut(&number) else { return false };
        if issue.has_label(&name) == add {
            return false;
        }
        let at = issue.touch();
        if add {
            issue.labels.push(name.clone());
        } else {
            issue.labels.retain(|l| !l.eq_ignore_ascii_case(&name));
        }
        let what = if add { "labeled" } else { "unlabeled" };
        let label = Some((name, color));
        issue.events.push(Event { id, actor: actor.to_owned(), what, label, rename: None, at });
        true
    }

    /// Opens or closes an issue, if it is not so already.
    pub(super) fn set_open(
        &mut self,
        repo: usize,
        number: u64,
        open: bool,
        reason: Option<String>,
        actor: &str,
    ) {
        let id = self.new_id();
        let Some(issue) = self.repos[repo].issues.get_mut(&number) else { return };
        if issue.open == open {
            return;
        }
        let at = issue.touch();
        issue.open = open;
        issue.closed = (!open).then_some(at);
        issue.state_reason = reason;
        let what = if open { "reopened" } else { "closed" };
        issue.events.push(Event {
            id,
            actor: actor.to_owned(),
            what,
            label: None,
            rename: None,
            at,
        });
    }

    /// Changes title and body, where given; each change is noted.
    pub(super) fn reword(
        &mut self,
        repo: usize,
        number: u64,
        (title, body): (Option<String>, Option<String>),
        actor: &str,
    ) {
        let id = self.new_id();
        let Some(issue) = self.repos[repo].issues.get_mut(&number) else { return };
        if let Some(title) = title.filter(|title| *title != issue.title) {
            let at = issue.touch();
            let rename = Some((std::mem::replace(&mut issue.title, title.clone()), title));
            let actor = actor.to_owned();
            issue.events.push(Event { id, actor, what: "renamed", label: None, rename, at });
        }
        if body.is_some() && body != issue.body {
            issue.edited = Some(issue.touch());
            issue.body = body;
        }
    }

    /// Adds an issue, or what becomes a pull request. Returns its number.
    pub(super) fn open_issue(
        &mut self,
        repo: usize,
        author: &str,
        title: &str,
        body: Option<String>,
        created: Timestamp,
    ) -> u64 {
        let id = self.new_id();
        let number = self.repos[repo].next_number();
        let history = History::new(&self.changes);
        self.repos[repo].issues.insert(
            number,
            Issue {
                id,
                number,
                title: title.to_owned(),
                body,
                author: author.to_owned(),
                open: true,
                state_reason: None,
                labels: Vec::new(),
                created,
                updated: created,
                closed: None,
                locked: false,
                edited: None,
                comments: Vec::new(),
                events: Vec::new(),
                pull: None,
                history,
            },
        );
        number
    }

    /// Adds a comment. Returns its id; `None` if there is no such issue.
    pub(super) fn add_comment(
        &mut self,
        repo: usize,
        number: u64,
        author: &str,
        body: &str,
    ) -> Option<u64> {
        let id = self.new_id();
        let issue = self.repos[repo].issues.get_mut(&number)?;
        let at = issue.touch();
        issue.comments.push(Comment {
            id,
            author: author.to_owned(),
            body: body.to_owned(),
            created: at,
            updated: at,
        });
        Some(id)
    }
}
