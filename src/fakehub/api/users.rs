//! People, organizations, and their repositories.

use super::super::reply::{Answer, Reply};
use super::super::state::{Repo, Role};
use super::call::Call;

pub(super) fn me(call: &mut Call) -> Answer {
    let login = call.login()?;
    one(call, &login)
}

pub(super) fn one(call: &mut Call, login: &str) -> Answer {
    let user = call.state.user(login).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.view().profile(user)))
}

/// Sorts as the caller asked; `sorts` and `directions` start with the list's defaults.
fn sorted(
    call: &Call,
    mut repos: Vec<usize>,
    sorts: &[&'static str],
    default_direction: &'static str,
) -> Result<Vec<usize>, Reply> {
    let sort = call.choice("sort", sorts)?;
    let repo = |at: &usize| &call.state.repos[*at];
    repos.sort_by_key(|at| repo(at).full_name().to_ascii_lowercase());
    match sort {
        "created" => repos.sort_by_key(|at| repo(at).created),
        "pushed" => repos.sort_by_key(|at| repo(at).pushed),
        "updated" => repos.sort_by_key(|at| {
            repo(at).issues.values().map(|i| i.updated).max().unwrap_or(repo(at).created)
        }),
        _ => {}
    }
    // Without a direction, names go up and times go down.
    let default = if sort == "full_name" { "asc" } else { default_direction };
    let other = if default == "asc" { "desc" } else { "asc" };
    if call.choice("direction", &[default, other])? == "desc" {
        repos.reverse();
    }
    Ok(repos)
}

fn those(call: &Call, keep: impl Fn(&Repo) -> bool) -> Vec<usize> {
    (0..call.state.repos.len()).filter(|at| keep(call.repo(*at))).collect()
}

pub(super) fn my_repos(call: &mut Call) -> Answer {
    let login = call.login()?;
    call.allow(&["affiliation", "visibility", "sort", "direction"])?;
    let affiliation = call.param("affiliation").unwrap_or("owner,collaborator,organization_member");
    let affiliated = |kind: &str| affiliation.split(',').any(|a| a.trim() == kind);
    let visibility = call.choice("visibility", &["all", "public", "private"])?;
    let mine = those(call, |repo| {
        let seen = match visibility {
            "public" => !repo.private,
            "private" => repo.private,
            _ => true,
        };
        let invited =
            repo.roles.get(&login.to_ascii_lowercase()).is_some_and(|role| *role > Role::None);
        let org = call.state.user(&repo.owner).is_some_and(|owner| owner.org);
        seen && ((affiliated("owner") && repo.owner.eq_ignore_ascii_case(&login))
            || (affiliated("collaborator") && invited && !org)
            || (affiliated("organization_member") && invited && org))
    });
    let repos = sorted(call, mine, &["full_name", "created", "updated", "pushed"], "desc")?;
    Ok(call.page(&repos, |at| call.view().repo(call.repo(*at), false)))
}

pub(super) fn repos_of_user(call: &mut Call, login: &str) -> Answer {
    call.allow(&["sort", "direction"])?;
    call.state.user(login).ok_or_else(Reply::not_found)?;
    let theirs = those(call, |repo| !repo.private && repo.owner.eq_ignore_ascii_case(login));
    let repos = sorted(call, theirs, &["full_name", "created", "updated", "pushed"], "desc")?;
    Ok(call.page(&repos, |at| call.view().repo(call.repo(*at), false)))
}

pub(super) fn repos_of_org(call: &mut Call, login: &str) -> Answer {
    call.allow(&["sort", "direction"])?;
    call.state.user(login).filter(|u| u.org).ok_or_else(Reply::not_found)?;
    let who = call.who.as_deref();
    let theirs =
        those(call, |repo| repo.owner.eq_ignore_ascii_case(login) && repo.role(who) > Role::None);
    let repos = sorted(call, theirs, &["created", "full_name", "updated", "pushed"], "desc")?;
    Ok(call.page(&repos, |at| call.view().repo(call.repo(*at), false)))
}
