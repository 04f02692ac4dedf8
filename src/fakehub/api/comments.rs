//! Comments on issues and pull requests.

use super::super::reply::{Answer, Reply};
use super::super::state::{Role, after};
use super::call::{Call, required};
use super::issues::MAX_BODY;

pub(super) fn list(call: &mut Call, repo: usize, number: u64) -> Answer {
    call.allow(&["since"])?;
    let since = call.time_param("since")?;
    let issue = call.the(repo, number)?;
    let fresh = |at| since.is_none_or(|since| at >= since);
    let comments: Vec<_> = issue.comments.iter().filter(|c| fresh(c.updated)).collect();
    Ok(call.page(&comments, |comment| call.view().comment(call.repo(repo), issue, comment)))
}

pub(super) fn create(call: &mut Call, repo: usize, number: u64) -> Answer {
    let login = call.may(repo, Role::Read)?;
    let fields = call.body(&["body"])?;
    let body = required(&fields, "IssueComment", "body", MAX_BODY)?;
    if call.the(repo, number)?.locked && call.role(repo) < Role::Write {
        return Err(Reply::error(403, "Unable to create comment because issue is locked."));
    }
    let id = call.state.add_comment(repo, number, &login, &body).ok_or_else(Reply::not_found)?;
    Ok(Reply { status: 201, ..show(call, repo, number, id)? })
}

fn show(call: &Call, repo: usize, number: u64, id: u64) -> Answer {
    let issue = call.the(repo, number)?;
    let comment = issue.comments.iter().find(|c| c.id == id).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.view().comment(call.repo(repo), issue, comment)))
}

/// The issue that has this comment, and the comment's id.
fn place(call: &Call, repo: usize, id: &str) -> Result<(u64, u64), Reply> {
    let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
    let mut issues = call.repo(repo).issues.values();
    let issue = issues.find(|i| i.comments.iter().any(|c| c.id == id));
    issue.map(|i| (i.number, id)).ok_or_else(Reply::not_found)
}

pub(super) fn one(call: &mut Call, repo: usize, id: &str) -> Answer {
    let (number, id) = place(call, repo, id)?;
    show(call, repo, number, id)
}

/// The caller may change their own comments; with write access, everybody's.
fn may_change(call: &Call, repo: usize, number: u64, id: u64) -> Result<(), Reply> {
    let login = call.may(repo, Role::Read)?;
    let issue = call.the(repo, number)?;
    let own = issue.comments.iter().any(|c| c.id == id && c.author.eq_ignore_ascii_case(&login));
    if own { Ok(()) } else { call.may(repo, Role::Write).map(drop) }
}

pub(super) fn edit(call: &mut Call, repo: usize, id: &str) -> Answer {
    let (number, id) = place(call, repo, id)?;
    may_change(call, repo, number, id)?;
    let fields = call.body(&["body"])?;
    let body = required(&fields, "IssueComment", "body", MAX_BODY)?;
    let issue = call.the_mut(repo, number)?;
    issue.touch();
    if let Some(comment) = issue.comments.iter_mut().find(|c| c.id == id) {
        comment.body = body;
        comment.updated = after(comment.updated);
    }
    show(call, repo, number, id)
}

pub(super) fn delete(call: &mut Call, repo: usize, id: &str) -> Answer {
    let (number, id) = place(call, repo, id)?;
    may_change(call, repo, number, id)?;
    let issue = call.the_mut(repo, number)?;
    issue.touch();
    issue.comments.retain(|c| c.id != id);
    Ok(Reply::no_content())
}
