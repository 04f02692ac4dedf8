//! GitHub's objects, with every property that its description requires.

mod pulls;
mod repos;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::{Comment, Event, Issue, LabelDef, Repo, Role, State, User};

/// Whose eyes, and under which address the API was asked.
pub(in crate::fakehub) struct View<'a> {
    pub(in crate::fakehub) state: &'a State,
    pub(in crate::fakehub) api: &'a str,
    pub(in crate::fakehub) login: Option<&'a str>,
}

fn node_id(kind: &str, id: u64) -> String {
    let number = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.to_be_bytes());
    format!("{kind}_{number}")
}

pub(in crate::fakehub) fn time(at: Timestamp) -> Value {
    Value::String(at.to_string())
}

/// Joins two JSON objects.
fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

impl View<'_> {
    fn server(&self) -> &str {
        &self.state.server
    }

    pub(in crate::fakehub) fn repo_url(&self, repo: &Repo) -> String {
        format!("{}/repos/{}", self.api, repo.full_name())
    }

    /// A `simple-user`. Somebody who is not known any more is the ghost, as on GitHub.
    pub(in crate::fakehub) fn user(&self, login: &str) -> Value {
        let ghost = User {
            id: 10_137,
            login: "ghost".to_owned(),
            org: false,
            created: Timestamp::UNIX_EPOCH,
        };
        let user = self.state.user(login).unwrap_or(&ghost);
        let url = format!("{}/users/{}", self.api, user.login);
        json!({
            "login": user.login, "id": user.id, "node_id": node_id("U", user.id),
            "avatar_url": format!("{}/avatars/{}", self.server(), user.id), "gravatar_id": "",
            "url": url, "html_url": format!("{}/{}", self.server(), user.login),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": if user.org { "Organization" } else { "User" },
            "site_admin": false,
        })
    }

    /// A `public-user`; the caller's own has more.
    pub(in crate::fakehub) fn profile(&self, user: &User) -> Value {
        let owned = |private: bool| {
            let is = |r: &&Repo| r.owner.eq_ignore_ascii_case(&user.login) && r.private == private;
            self.state.repos.iter().filter(is).count()
        };
        let public = json!({
            "name": null, "company": null, "blog": "", "location": null, "email": null,
            "hireable": null, "bio": null, "public_repos": owned(false), "public_gists": 0,
            "followers": 0, "following": 0,
            "created_at": time(user.created), "updated_at": time(user.created),
        });
        let profile = merged(self.user(&user.login), public);
        if !self.login.is_some_and(|l| l.eq_ignore_ascii_case(&user.login)) {
            return profile;
        }
        let private = json!({
            "private_gists": 0, "total_private_repos": owned(true),
            "owned_private_repos": owned(true), "disk_usage": 0, "collaborators": 0,
            "two_factor_authentication": true,
        });
        merged(profile, private)
    }

    pub(in crate::fakehub) fn label(&self, repo: &Repo, label: &LabelDef) -> Value {
        json!({
            "id": label.id, "node_id": node_id("LA", label.id),
            "url": format!("{}/labels/{}", self.repo_url(repo), percent_encoded(&label.name)),
            "name": label.name, "color": label.color, "default": false,
            "description": label.description,
        })
    }

    pub(in crate::fakehub) fn labels(&self, repo: &Repo, issue: &Issue) -> Value {
        let known = |name: &String| Some(self.label(repo, repo.label(name)?));
        Value::Array(issue.labels.iter().filter_map(known).collect())
    }

    fn association(repo: &Repo, login: &str) -> &'static str {
        if login.eq_ignore_ascii_case(&repo.owner) {
            "OWNER"
        } else if repo.roles.get(&login.to_ascii_lowercase()).is_some_and(|r| *r > Role::None) {
            "COLLABORATOR"
        } else {
            "NONE"
        }
    }

    /// An `issue`, which a pull request is too; with its repository where a list spans several.
    pub(in crate::fakehub) fn issue(&self, repo: &Repo, issue: &Issue, with_repo: bool) -> Value {
        let repo_url = self.repo_url(repo);
        let url = format!("{repo_url}/issues/{}", issue.number);
        let html = format!("{}/{}", self.server(), repo.full_name());
        let kind = if issue.pull.is_some() { "pull" } else { "issues" };
        let html_url = format!("{html}/{kind}/{}", issue.number);
        let mut object = json!({
            "url": url, "repository_url": repo_url,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"), "events_url": format!("{url}/events"),
            "timeline_url": format!("{url}/timeline"), "html_url": html_url,
            "id": issue.id, "node_id": node_id("I", issue.id), "number": issue.number,
            "title": issue.title, "body": issue.body, "user": self.user(&issue.author),
            "labels": self.labels(repo, issue),
            "state": if issue.open { "open" } else { "closed" },
            "state_reason": issue.state_reason, "locked": issue.locked,
            "active_lock_reason": null, "assignee": null, "assignees": [], "milestone": null,
            "comments": issue.comments.len(), "author_association":
            Self::association(repo, &issue.author), "performed_via_github_app": null,
            "created_at": time(issue.created), "updated_at": time(issue.updated),
            "closed_at": issue.closed.map(time),
        });
        if let (Some(pull), Value::Object(map)) = (&issue.pull, &mut object) {
            map.insert("draft".to_owned(), Value::Bool(pull.draft));
            let links = json!({
                "url": format!("{repo_url}/pulls/{}", issue.number), "html_url": html_url,
                "diff_url": format!("{html_url}.diff"), "patch_url": format!("{html_url}.patch"),
                "merged_at": pull.merged.as_ref().map(|m| time(m.at)),
            });
            map.insert("pull_request".to_owned(), links);
        }
        if with_repo {
            object = merged(object, json!({"repository": self.repo(repo, false)}));
        }
        object
    }

    pub(in crate::fakehub) fn comment(
        &self,
        repo: &Repo,
        issue: &Issue,
        comment: &Comment,
    ) -> Value {
        let kind = if issue.pull.is_some() { "pull" } else { "issues" };
        let page = format!("{}/{}/{kind}/{}", self.server(), repo.full_name(), issue.number);
        let repo_url = self.repo_url(repo);
        json!({
            "id": comment.id, "node_id": node_id("IC", comment.id),
            "url": format!("{repo_url}/issues/comments/{}", comment.id),
            "issue_url": format!("{repo_url}/issues/{}", issue.number),
            "html_url": format!("{page}#issuecomment-{}", comment.id),
            "user": self.user(&comment.author), "body": comment.body,
            "author_association": Self::association(repo, &comment.author),
            "performed_via_github_app": null,
            "created_at": time(comment.created), "updated_at": time(comment.updated),
        })
    }

    pub(in crate::fakehub) fn event(&self, repo: &Repo, event: &Event) -> Value {
        let mut object = json!({
            "id": event.id, "node_id": node_id("EV", event.id),
            "url": format!("{}/issues/events/{}", self.repo_url(repo), event.id),
            "actor": self.user(&event.actor), "event": event.what,
            "commit_id": null, "commit_url": null, "created_at": time(event.at),
            "performed_via_github_app": null,
        });
        if let Some((name, color)) = &event.label {
            object = merged(object, json!({"label": {"name": name, "color": color}}));
        }
        if let Some((from, to)) = &event.rename {
            object = merged(object, json!({"rename": {"from": from, "to": to}}));
        }
        object
    }
}

/// For a path segment of a URL.
pub(in crate::fakehub) fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(half), 16);
                out.extend(digit.map(|d| d.to_ascii_uppercase()));
            }
        }
    }
    out
}
