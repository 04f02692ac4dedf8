//! GitHub's objects, with every property that its description requires.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::state::{Comment, Event, Issue, LabelDef, Repo, Role, State, User};

/// The parts of a repository's URLs behind its own.
const REPO_URLS: &[(&str, &str)] = &[
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

/// Whose eyes, and under which address the API was asked.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) api: &'a str,
    pub(super) login: Option<&'a str>,
}

fn node_id(kind: &str, id: u64) -> String {
    let number = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.to_be_bytes());
    format!("{kind}_{number}")
}

fn time(at: Timestamp) -> Value {
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

    pub(super) fn repo_url(&self, repo: &Repo) -> String {
        format!("{}/repos/{}", self.api, repo.full_name())
    }

    /// A `simple-user`. Somebody who is not known any more is the ghost, as on GitHub.
    pub(super) fn user(&self, login: &str) -> Value {
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
    pub(super) fn profile(&self, user: &User) -> Value {
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

    /// A `repository`; `full-repository` if asked for alone.
    pub(super) fn repo(&self, repo: &Repo, full: bool) -> Value {
        let url = self.repo_url(repo);
        let html = format!("{}/{}", self.server(), repo.full_name());
        let urls: Map<String, Value> = REPO_URLS
            .iter()
            .map(|(name, rest)| ((*name).to_owned(), Value::String(format!("{url}{rest}"))))
            .collect();
        let open = repo.issues.values().filter(|i| i.open).count();
        let updated =
            repo.issues.values().map(|i| i.updated).max().unwrap_or(repo.created).max(repo.pushed);
        let object = json!({
            "id": repo.id, "node_id": node_id("R", repo.id), "name": repo.name,
            "full_name": repo.full_name(), "owner": self.user(&repo.owner),
            "private": repo.private, "visibility": if repo.private { "private" } else { "public" },
            "html_url": html, "description": null, "fork": false, "url": url,
            "clone_url": format!("{html}.git"), "git_url": format!("git:{html}.git"),
            "ssh_url": format!("git@{html}.git"), "svn_url": html, "mirror_url": null,
            "homepage": null, "language": null, "license": null, "topics": [],
            "default_branch": repo.default_branch, "archived": repo.archived, "disabled": false,
        });
        let counts = json!({
            "has_issues": repo.has_issues, "has_projects": false, "has_wiki": false,
            "has_pages": false, "has_downloads": false, "has_discussions": false,
            "forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0,
            "watchers_count": 0, "size": 1, "open_issues": open, "open_issues_count": open,
            "is_template": false, "allow_forking": true, "web_commit_signoff_required": false,
            "created_at": time(repo.created), "updated_at": time(updated),
            "pushed_at": time(repo.pushed),
        });
        let object = merged(object, counts);
        let mut object = merged(object, Value::Object(urls));
        // GitHub tells callers without a token nothing about permissions.
        if let (Some(login), Value::Object(map)) = (self.login, &mut object) {
            let role = repo.role(Some(login));
            let permissions = json!({
                "admin": role >= Role::Admin, "maintain": role >= Role::Maintain,
                "push": role >= Role::Write, "triage": role >= Role::Triage,
                "pull": role >= Role::Read,
            });
            map.insert("permissions".to_owned(), permissions);
        }
        if full {
            object = merged(object, json!({"network_count": 0, "subscribers_count": 0}));
        }
        object
    }

    pub(super) fn label(&self, repo: &Repo, label: &LabelDef) -> Value {
        json!({
            "id": label.id, "node_id": node_id("LA", label.id),
            "url": format!("{}/labels/{}", self.repo_url(repo), percent_encoded(&label.name)),
            "name": label.name, "color": label.color, "default": false,
            "description": label.description,
        })
    }

    pub(super) fn labels(&self, repo: &Repo, issue: &Issue) -> Value {
        let known = |name: &String| Some(self.label(repo, repo.label(name)?));
        Value::Array(issue.labels.iter().filter_map(known).collect())
    }

    pub(super) fn association(&self, repo: &Repo, login: &str) -> &'static str {
        if login.eq_ignore_ascii_case(&repo.owner) {
            "OWNER"
        } else if repo.roles.get(&login.to_ascii_lowercase()).is_some_and(|r| *r > Role::None) {
            "COLLABORATOR"
        } else {
            "NONE"
        }
    }

    /// An `issue`, which a pull request is too; with its repository where a list spans several.
    pub(super) fn issue(&self, repo: &Repo, issue: &Issue, with_repo: bool) -> Value {
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
            self.association(repo, &issue.author), "performed_via_github_app": null,
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

    pub(super) fn comment(&self, repo: &Repo, issue: &Issue, comment: &Comment) -> Value {
        let kind = if issue.pull.is_some() { "pull" } else { "issues" };
        let page =
            format!("{}/{}/{kind}/{}", self.server(), repo.full_name(), issue.number);
        let repo_url = self.repo_url(repo);
        json!({
            "id": comment.id, "node_id": node_id("IC", comment.id),
            "url": format!("{repo_url}/issues/comments/{}", comment.id),
            "issue_url": format!("{repo_url}/issues/{}", issue.number),
            "html_url": format!("{page}#issuecomment-{}", comment.id),
            "user": self.user(&comment.author), "body": comment.body,
            "author_association": self.association(repo, &comment.author),
            "performed_via_github_app": null,
            "created_at": time(comment.created), "updated_at": time(comment.updated),
        })
    }

    pub(super) fn event(&self, repo: &Repo, event: &Event) -> Value {
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
        object
    }

    /// A `pull-request-simple`, or with `full` a `pull-request`, whose sums GitHub computes when
    /// it has time: until then `mergeable` is null.
    pub(super) fn pull(&self, repo: &Repo, issue: &Issue, full: bool) -> Value {
        let Some(pull) = &issue.pull else { return Value::Null };
        let repo_url = self.repo_url(repo);
        let url = format!("{repo_url}/pulls/{}", issue.number);
        let issue_url = format!("{repo_url}/issues/{}", issue.number);
        let side = |branch: &str, sha: &str| {
            json!({
                "label": format!("{}:{branch}", repo.owner), "ref": branch, "sha": sha,
                "user": self.user(&repo.owner), "repo": self.repo(repo, false),
            })
        };
        let statuses = format!("{repo_url}/statuses/{}", pull.head_sha);
        let as_issue = self.issue(repo, issue, false);
        let mut object = json!({
            "url": url, "id": pull.id, "node_id": node_id("PR", pull.id), "issue_url": issue_url,
            "diff_url": as_issue["pull_request"]["diff_url"],
            "patch_url": as_issue["pull_request"]["patch_url"],
            "merged_at": as_issue["pull_request"]["merged_at"],
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{repo_url}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue_url}/comments"), "statuses_url": statuses,
            "merge_commit_sha": pull.merged.as_ref().map(|m| &m.sha),
            "requested_reviewers": [], "requested_teams": [], "draft": pull.draft,
            "auto_merge": null, "head": side(&pull.head, &pull.head_sha),
            "base": side(&pull.base, &pull.base_sha),
            "_links": {
                "self": {"href": url}, "html": {"href": as_issue["html_url"]},
                "issue": {"href": issue_url}, "comments": {"href": format!("{issue_url}/comments")},
                "review_comments": {"href": format!("{url}/comments")},
                "review_comment": {"href": format!("{repo_url}/pulls/comments{{/number}}")},
                "commits": {"href": format!("{url}/commits")}, "statuses": {"href": statuses},
            },
        });
        for same in [
            "html_url", "number", "state", "locked", "active_lock_reason", "title", "user", "body",
            "labels", "milestone", "assignee", "assignees", "author_association", "created_at",
            "updated_at", "closed_at",
        ] {
            object[same] = as_issue[same].clone();
        }
        if full {
            let stats = pull.stats;
            let mergeable = stats.filter(|_| issue.open).map(|s| s.mergeable);
            let state = match mergeable {
                Some(true) => "clean",
                Some(false) => "dirty",
                None => "unknown",
            };
            let more = json!({
                "merged": pull.merged.is_some(), "mergeable": mergeable, "rebaseable": mergeable,
                "mergeable_state": state,
                "merged_by": pull.merged.as_ref().map(|m| self.user(&m.by)),
                "comments": issue.comments.len(), "review_comments": 0,
                "maintainer_can_modify": false, "commits": stats.map_or(0, |s| s.commits),
                "additions": stats.map_or(0, |s| s.additions),
                "deletions": stats.map_or(0, |s| s.deletions),
                "changed_files": stats.map_or(0, |s| s.files),
            });
            object = merged(object, more);
        }
        object
    }
}

/// For a path segment of a URL.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
