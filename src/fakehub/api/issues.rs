//! Issues; pull requests are issues too.

use serde_json::Value;

use super::super::reply::{Answer, Reply};
use super::super::state::{Issue, Role, now};
use super::call::{Call, issues_are_off, required, text};

/// The longest body that GitHub takes, in characters.
pub(super) const MAX_BODY: usize = 65_536;
pub(super) const MAX_TITLE: usize = 256;

const FILTERS: &[&str] = &["state", "labels", "sort", "direction", "since"];

/// Keeps what the caller asked for and sorts it.
fn selected<'s>(
    call: &Call,
    mut issues: Vec<(usize, &'s Issue)>,
) -> Result<Vec<(usize, &'s Issue)>, Reply> {
    let state = call.choice("state", &["open", "closed", "all"])?;
    let since = call.time_param("since")?;
    let labels: Vec<&str> =
        call.param("labels").map(|l| l.split(',').collect()).unwrap_or_default();
    issues.retain(|(_, issue)| {
        (state == "all" || (state == "open") == issue.open)
            && since.is_none_or(|since| issue.updated >= since)
            && labels.iter().all(|l| issue.has_label(l))
    });
    issues.sort_by_key(|(_, issue)| issue.id);
    match call.choice("sort", &["created", "updated", "comments"])? {
        "created" => issues.sort_by_key(|(_, issue)| issue.created),
        "updated" => issues.sort_by_key(|(_, issue)| issue.updated),
        _ => issues.sort_by_key(|(_, issue)| issue.comments.len()),
    }
    if call.choice("direction", &["desc", "asc"])? == "desc" {
        issues.reverse();
    }
    Ok(issues)
}

/// `GET /issues`: in all repositories that the caller has something to do with.
pub(super) fn everywhere(call: &mut Call) -> Answer {
    let login = call.login()?;
    call.allow(&[FILTERS, &["filter"]].concat())?;
    if !matches!(call.param("filter"), Some("all" | "repos")) {
        return Err(Reply::unsupported("assignments and mentions: use `filter=all`"));
    }
    let mut issues = Vec::new();
    for (at, repo) in call.state.repos.iter().enumerate() {
        let invited = repo.roles.get(&login.to_ascii_lowercase()).is_some_and(|r| *r > Role::None);
        if invited || repo.owner.eq_ignore_ascii_case(&login) {
            let shown = repo.issues.values().filter(|i| repo.has_issues || i.pull.is_some());
            issues.extend(shown.map(|issue| (at, issue)));
        }
    }
    let issues = selected(call, issues)?;
    Ok(call.page(&issues, |(at, issue)| call.view().issue(call.repo(*at), issue, true)))
}

pub(super) fn list(call: &mut Call, repo: usize) -> Answer {
    call.allow(&[FILTERS, &["creator"]].concat())?;
    if !call.repo(repo).has_issues {
        return Err(issues_are_off());
    }
    let creator = call.param("creator");
    let wanted = |i: &&Issue| creator.is_none_or(|c| i.author.eq_ignore_ascii_case(c));
    let issues = call.repo(repo).issues.values().filter(wanted).map(|i| (repo, i)).collect();
    let issues = selected(call, issues)?;
    Ok(call.page(&issues, |(at, issue)| call.view().issue(call.repo(*at), issue, false)))
}

pub(super) fn one(call: &mut Call, repo: usize, number: u64) -> Answer {
    Ok(Reply::ok(call.view().issue(call.repo(repo), call.the(repo, number)?, false)))
}

pub(super) fn create(call: &mut Call, repo: usize) -> Answer {
    let login = call.may(repo, Role::Read)?;
    if !call.repo(repo).has_issues {
        return Err(issues_are_off());
    }
    let fields = call.body(&["title", "body", "labels"])?;
    let title = required(&fields, "Issue", "title", MAX_TITLE)?;
    let body = text(&fields, "Issue", "body", MAX_BODY)?;
    let labels = super::labels::names(&fields)?;
    let number = call.state.open_issue(repo, &login, &title, body, now());
    // GitHub drops labels in silence when the author may not push.
    if call.role(repo) >= Role::Write {
        super::labels::put(call, repo, number, &labels, &login)?;
    }
    Ok(Reply::created(call.view().issue(call.repo(repo), call.the(repo, number)?, false)))
}

pub(super) fn edit(call: &mut Call, repo: usize, number: u64) -> Answer {
    let fields = call.body(&["title", "body", "state", "state_reason"])?;
    let login = may_edit(call, repo, number)?;
    let title = text(&fields, "Issue", "title", MAX_TITLE)?;
    let body = text(&fields, "Issue", "body", MAX_BODY)?;
    let open = state(&fields, "Issue")?;
    let reason = text(&fields, "Issue", "state_reason", 20)?;
    call.state.reword(repo, number, (title, body), &login);
    if let Some(open) = open {
        let reason = reason.or_else(|| (!open).then(|| "completed".to_owned()));
        call.state.set_open(repo, number, open, reason, &login);
    }
    one(call, repo, number)
}

/// The caller's login, if that person may change the text and the state: triage, or the author.
pub(super) fn may_edit(call: &Call, repo: usize, number: u64) -> Result<String, Reply> {
    let login = call.may(repo, Role::Read)?;
    let own = call.the(repo, number)?.author.eq_ignore_ascii_case(&login);
    if own { Ok(login) } else { call.may(repo, Role::Triage) }
}

/// The field `state`: whether to open or to close.
pub(super) fn state(
    fields: &serde_json::Map<String, Value>,
    resource: &str,
) -> Result<Option<bool>, Reply> {
    match fields.get("state").map(Value::as_str) {
        None => Ok(None),
        Some(Some("open")) => Ok(Some(true)),
        Some(Some("closed")) => Ok(Some(false)),
        Some(_) => Err(Reply::invalid_field(resource, "state", "invalid")),
    }
}

pub(super) fn events(call: &mut Call, repo: usize, number: u64) -> Answer {
    call.allow(&[])?;
    let issue = call.the(repo, number)?;
    Ok(call.page(&issue.events, |event| call.view().event(call.repo(repo), event)))
}
