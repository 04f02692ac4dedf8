//! Git refs over REST. Creating one is atomic: git itself compares and sets.

use std::io;

use serde_json::{Value, json};

use super::super::git::{Git, Ref};
use super::super::reply::{Answer, Reply};
use super::super::state::{Role, now};
use super::call::{Call, required};
use super::pulls::follow_branches;

const NOTHING: &str = "0000000000000000000000000000000000000000";

/// Trouble of this server's own.
pub(super) fn git_failed(error: &io::Error) -> Reply {
    Reply::error(500, &error.to_string())
}

/// Where a branch stands.
pub(super) fn branch_sha(git: &Git, dir: &str, branch: &str) -> io::Result<Option<String>> {
    let name = format!("refs/heads/{branch}");
    Ok(git.refs(dir, &name)?.into_iter().find(|r| r.name == name).map(|r| r.sha))
}

fn refs(call: &Call, repo: usize, prefix: &str) -> Result<Vec<Ref>, Reply> {
    let all = call.state.git.refs(&call.repo(repo).git, "").map_err(|e| git_failed(&e))?;
    if all.is_empty() {
        return Err(Reply::error(409, "Git Repository is empty."));
    }
    Ok(all.into_iter().filter(|r| r.name.starts_with(prefix)).collect())
}

fn found(call: &Call, repo: usize, name: &str) -> Result<Option<Ref>, Reply> {
    Ok(refs(call, repo, name)?.into_iter().find(|r| r.name == name))
}

fn shown(call: &Call, repo: usize, git_ref: &Ref) -> Value {
    let url = call.view().repo_url(call.repo(repo));
    let kind = &git_ref.kind;
    json!({
        "ref": git_ref.name, "node_id": format!("REF_{}", git_ref.name),
        "url": format!("{url}/git/{}", git_ref.name),
        "object": {
            "sha": git_ref.sha, "type": kind,
            "url": format!("{url}/git/{kind}s/{}", git_ref.sha),
        },
    })
}

pub(super) fn one(call: &mut Call, repo: usize, name: &str) -> Answer {
    let git_ref = found(call, repo, &format!("refs/{name}"))?.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(shown(call, repo, &git_ref)))
}

pub(super) fn list(call: &mut Call, repo: usize, prefix: &str) -> Answer {
    let refs = refs(call, repo, &format!("refs/{prefix}"))?;
    Ok(Reply::ok(Value::Array(refs.iter().map(|r| shown(call, repo, r)).collect())))
}

fn no_such_object() -> Reply {
    Reply::error(422, "Object does not exist")
}

/// The object that the body names, if the repository has it.
fn object(call: &Call, repo: usize, sha: &str) -> Result<(), Reply> {
    let hex = sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex {
        let message = format!(
            "The sha parameter must be exactly 40 characters and contain only [0-9a-f]. Got {sha:?}"
        );
        return Err(Reply::error(422, &message));
    }
    match call.state.git.has(&call.repo(repo).git, sha) {
        Ok(true) => Ok(()),
        Ok(false) => Err(no_such_object()),
        Err(error) => Err(git_failed(&error)),
    }
}

fn changed(call: &mut Call, repo: usize) -> Result<(), Reply> {
    call.state.repos[repo].pushed = now();
    follow_branches(call.state, repo).map_err(|e| git_failed(&e))
}

pub(super) fn create(call: &mut Call, repo: usize) -> Answer {
    call.may(repo, Role::Write)?;
    let fields = call.body(&["ref", "sha"])?;
    let name = required(&fields, "Reference", "ref", 255)?;
    let sha = required(&fields, "Reference", "sha", 40)?;
    if !name.starts_with("refs/") || name.matches('/').count() < 2 {
        let message = "Reference name must start with 'refs/' and contain at least 2 slashes";
        return Err(Reply::error(422, message));
    }
    if found(call, repo, &name)?.is_some() {
        return Err(Reply::error(422, "Reference already exists"));
    }
    object(call, repo, &sha)?;
    let dir = call.repo(repo).git.clone();
    if !call.state.git.set_ref(&dir, &name, &sha, NOTHING).map_err(|e| git_failed(&e))? {
        // A push may have made it since, or git does not take the name.
        let taken = found(call, repo, &name)?.is_some();
        let why = if taken { "Reference already exists" } else { "Reference name is not valid" };
        return Err(Reply::error(422, why));
    }
    changed(call, repo)?;
    let git_ref = found(call, repo, &name)?.ok_or_else(Reply::not_found)?;
    Ok(Reply::created(shown(call, repo, &git_ref)))
}

pub(super) fn update(call: &mut Call, repo: usize, name: &str) -> Answer {
    call.may(repo, Role::Write)?;
    let fields = call.body(&["sha", "force"])?;
    let sha = required(&fields, "Reference", "sha", 40)?;
    let force = fields.get("force").and_then(Value::as_bool).unwrap_or(false);
    let missing = || Reply::error(422, "Reference does not exist");
    let old = found(call, repo, &format!("refs/{name}"))?.ok_or_else(missing)?;
    object(call, repo, &sha)?;
    let dir = call.repo(repo).git.clone();
    let git = call.state.git.clone();
    let forward = git.leads_to(&dir, &old.sha, &sha).map_err(|e| git_failed(&e))?;
    let set = |old_sha| git.set_ref(&dir, &old.name, &sha, old_sha).map_err(|e| git_failed(&e));
    if !(force || forward) || !set(&old.sha)? {
        return Err(Reply::error(422, "Update is not a fast forward"));
    }
    changed(call, repo)?;
    one(call, repo, name)
}

pub(super) fn delete(call: &mut Call, repo: usize, name: &str) -> Answer {
    call.may(repo, Role::Write)?;
    let name = format!("refs/{name}");
    if found(call, repo, &name)?.is_none() {
        return Err(Reply::error(422, "Reference does not exist"));
    }
    let dir = call.repo(repo).git.clone();
    call.state.git.delete_ref(&dir, &name).map_err(|e| git_failed(&e))?;
    changed(call, repo)?;
    Ok(Reply::no_content())
}
