//! Repositories.

use serde_json::{Map, Value, json};

use super::super::state::{Repo, Role};
use super::{View, merged, node_id, time};

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

impl View<'_> {
    /// A `repository`; `full-repository` if asked for alone.
    pub(in crate::fakehub) fn repo(&self, repo: &Repo, full: bool) -> Value {
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
            "clone_url": format!("{html}.git"), "git_url": html.replacen("http", "git", 1) + ".git",
            "ssh_url": format!("git@127.0.0.1:{}.git", repo.full_name()), "svn_url": html, "mirror_url": null,
            "homepage": null, "language": null, "license": null, "topics": [],
            "default_branch": repo.default_branch, "archived": repo.archived, "disabled": false,
        });
        let counts = json!({
            "has_issues": repo.has_issues, "has_projects": false, "has_wiki": false,
            "has_pages": false, "has_downloads": false, "has_discussions": false,
            "forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0,
            "watchers_count": 0, "size": repo.kib, "open_issues": open, "open_issues_count": open,
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
}
