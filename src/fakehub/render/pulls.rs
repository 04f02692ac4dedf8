//! Pull requests.

use serde_json::{Value, json};

use super::super::state::{Issue, Repo};
use super::{View, merged, node_id};

impl View<'_> {
    /// A `pull-request-simple`, or with `full` a `pull-request`, whose sums GitHub computes when
    /// it has time: until then `mergeable` is null.
    pub(in crate::fakehub) fn pull(&self, repo: &Repo, issue: &Issue, full: bool) -> Value {
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
            "html_url",
            "number",
            "state",
            "locked",
            "active_lock_reason",
            "title",
            "user",
            "body",
            "labels",
            "milestone",
            "assignee",
            "assignees",
            "author_association",
            "created_at",
            "updated_at",
            "closed_at",
        ] {
            object[same] = as_issue[same].clone();
        }
        if full {
            let sums = pull.stats;
            let mergeable = sums.filter(|_| issue.open).map(|s| s.mergeable);
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
                "maintainer_can_modify": false, "commits": sums.map_or(0, |s| s.commits),
                "additions": sums.map_or(0, |s| s.additions),
                "deletions": sums.map_or(0, |s| s.deletions),
                "changed_files": sums.map_or(0, |s| s.files),
            });
            object = merged(object, more);
        }
        object
    }
}
