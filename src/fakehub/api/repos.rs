//! A repository, and who may do what in it.

use serde_json::json;

use super::super::reply::{Answer, Reply};
use super::super::state::Role;
use super::call::Call;

pub(super) fn one(call: &Call, repo: usize) -> Reply {
    Reply::ok(call.view().repo(call.repo(repo), true))
}

pub(super) fn permission(call: &mut Call, repo: usize, login: &str) -> Answer {
    call.login()?;
    if call.role(repo) < Role::Write {
        let message = "Must have push access to view collaborator permission.";
        return Err(Reply::error(403, message));
    }
    if call.state.user(login).is_none() {
        return Err(Reply::error(404, &format!("{login} is not a user")));
    }
    let role = call.repo(repo).role(Some(login));
    let mut user = call.view().user(login);
    user["role_name"] = json!(role.name());
    user["permissions"] = json!({
        "admin": role >= Role::Admin, "maintain": role >= Role::Maintain,
        "push": role >= Role::Write, "triage": role >= Role::Triage, "pull": role >= Role::Read,
    });
    Ok(Reply::ok(json!({"permission": role.permission(), "role_name": role.name(), "user": user})))
}
