//! Pull requests, between branches of one repository.

use std::io;

use serde_json::{Value, json};

use super::super::reply::{Answer, Reply};
use super::super::state::{Issue, Pull, Role, State, now};
use super::call::{Call, required, text};
use super::issues::{MAX_BODY, MAX_TITLE, may_edit, state};
use super::refs::{branch_sha, git_failed};

/// Brings the open pull requests up to date with the branches: new commits show, and one whose
/// branch is gone is closed.
pub(in crate::fakehub) fn follow_branches(state: &mut State, repo: usize) -> io::Result<()> {
    let open = |i: &&Issue| i.open && i.pull.is_some();
    if !state.repos[repo].issues.values().any(|i| open(&i)) {
        return Ok(());
    }
    let refs = state.git.refs(&state.repos[repo].git, "refs/heads/")?;
    let sha = |branch: &str| {
        refs.iter().find(|r| r.name["refs/heads/".len()..] == *branch).map(|r| r.sha.clone())
    };
    let owner = state.repos[repo].owner.clone();
    let mut orphans = Vec::new();
    for issue in state.repos[repo].issues.values_mut().filter(|i| i.open) {
        let Some(pull) = &mut issue.pull else { continue };
        let (Some(head), Some(base)) = (sha(&pull.head), sha(&pull.base)) else {
            orphans.push(issue.number);
            continue;
        };
        if (&pull.head_sha, &pull.base_sha) != (&head, &base) {
            let pushed = pull.head_sha != head;
            pull.head_sha = head;
            pull.base_sha = base;
            pull.stats = None;
            if pushed {
                issue.touch();
            }
        }
    }
    for number in orphans {
        state.set_open(repo, number, false, None, &owner);
    }
    Ok(())
}

/// The number, if there is such a pull request.
fn number(call: &Call, repo: usize, number: &str) -> Result<u64, Reply> {
    let number: u64 = number.parse().map_err(|_| Reply::not_found())?;
    match call.the(repo, number)?.pull {
        Some(_) => Ok(number),
        None => Err(Reply::not_found()),
    }
}

pub(super) fn list(call: &mut Call, repo: usize) -> Answer {
    call.allow(&["state", "head", "base", "sort", "direction"])?;
    follow_branches(call.state, repo).map_err(|e| git_failed(&e))?;
    let wanted = call.choice("state", &["open", "closed", "all"])?;
    // As on GitHub, a head without its owner is no filter at all.
    let head = call.param("head").and_then(|h| h.split_once(':'));
    let base = call.param("base");
    let owner = &call.repo(repo).owner;
    let mut pulls: Vec<&Issue> = call.repo(repo).issues.values().collect();
    pulls.retain(|issue| {
        issue.pull.as_ref().is_some_and(|pull| {
            (wanted == "all" || (wanted == "open") == issue.open)
                && head.is_none_or(|(o, b)| o.eq_ignore_ascii_case(owner) && b == pull.head)
                && base.is_none_or(|b| b == pull.base)
        })
    });
    let sort = call.choice("sort", &["created", "updated"])?;
    pulls.sort_by_key(|issue| {
        (if sort == "updated" { issue.updated } else { issue.created }, issue.number)
    });
    if call.choice("direction", &["desc", "asc"])? == "desc" {
        pulls.reverse();
    }
    Ok(call.page(&pulls, |issue| call.view().pull(call.repo(repo), issue, false)))
}

fn show(call: &Call, repo: usize, number: u64) -> Result<Value, Reply> {
    Ok(call.view().pull(call.repo(repo), call.the(repo, number)?, true))
}

pub(super) fn one(call: &mut Call, repo: usize, text: &str) -> Answer {
    let number = number(call, repo, text)?;
    follow_branches(call.state, repo).map_err(|e| git_failed(&e))?;
    let (git, dir) = (call.state.git.clone(), call.repo(repo).git.clone());
    if let Some(pull) = &mut call.the_mut(repo, number)?.pull
        && pull.stats.is_none()
    {
        let stats = git.stats(&dir, &pull.base_sha, &pull.head_sha);
        pull.stats = Some(stats.map_err(|e| git_failed(&e))?);
    }
    Ok(Reply::ok(show(call, repo, number)?))
}

pub(super) fn create(call: &mut Call, repo: usize) -> Answer {
    let login = call.may(repo, Role::Write)?;
    let fields = call.body(&["title", "head", "base", "body", "draft", "maintainer_can_modify"])?;
    let title = required(&fields, "PullRequest", "title", MAX_TITLE)?;
    let head = required(&fields, "PullRequest", "head", 255)?;
    let base = required(&fields, "PullRequest", "base", 255)?;
    let body = text(&fields, "PullRequest", "body", MAX_BODY)?;
    let draft = fields.get("draft").and_then(Value::as_bool).unwrap_or(false);
    let invalid = |field| Reply::invalid_field("PullRequest", field, "invalid");
    let owner = call.repo(repo).owner.clone();
    let head = match head.split_once(':') {
        Some((o, branch)) if o.eq_ignore_ascii_case(&owner) => branch.to_owned(),
        Some(_) => return Err(invalid("head")),
        None => head,
    };
    let (git, dir) = (call.state.git.clone(), call.repo(repo).git.clone());
    let sha = |branch: &str| branch_sha(&git, &dir, branch).map_err(|e| git_failed(&e));
    let base_sha = sha(&base)?.ok_or_else(|| invalid("base"))?;
    let head_sha = sha(&head)?.ok_or_else(|| invalid("head"))?;
    let twin = |issue: &Issue| {
        issue.open && issue.pull.as_ref().is_some_and(|p| p.head == head && p.base == base)
    };
    let custom = |message: String| {
        Reply::invalid(json!({"resource": "PullRequest", "code": "custom", "message": message}))
    };
    if call.repo(repo).issues.values().any(twin) {
        return Err(custom(format!("A pull request already exists for {owner}:{head}.")));
    }
    if git.ahead(&dir, &base_sha, &head_sha).map_err(|e| git_failed(&e))? == 0 {
        return Err(custom(format!("No commits between {base} and {head}")));
    }
    let number = call.state.open_issue(repo, &login, &title, body, now());
    let id = call.state.new_id();
    call.the_mut(repo, number)?.pull =
        Some(Pull { id, head, base, head_sha, base_sha, draft, merged: None, stats: None });
    Ok(Reply::created(show(call, repo, number)?))
}

pub(super) fn edit(call: &mut Call, repo: usize, text_number: &str) -> Answer {
    let number = number(call, repo, text_number)?;
    let fields = call.body(&["title", "body", "state"])?;
    let login = may_edit(call, repo, number)?;
    let title = text(&fields, "PullRequest", "title", MAX_TITLE)?;
    let body = text(&fields, "PullRequest", "body", MAX_BODY)?;
    let open = state(&fields, "PullRequest")?;
    let issue = call.the_mut(repo, number)?;
    let merged = issue.pull.as_ref().is_some_and(|p| p.merged.is_some());
    if open == Some(true) && merged {
        let message = "state cannot be changed. The pull request cannot be reopened.";
        return Err(Reply::invalid_because("PullRequest", "state", message));
    }
    if title.is_some() || body.is_some() {
        issue.touch();
        issue.title = title.unwrap_or_else(|| issue.title.clone());
        issue.body = body.or_else(|| issue.body.clone());
    }
    if let Some(open) = open {
        call.state.set_open(repo, number, open, None, &login);
    }
    one(call, repo, text_number)
}
