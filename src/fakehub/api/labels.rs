//! Labels: their definitions, and on issues.

use serde_json::{Map, Value};

use super::super::reply::{Answer, Reply};
use super::super::state::{LabelDef, Role};
use super::call::{Call, required, text};

/// The colour of a label that came to be by being used.
const PLAIN: &str = "ededed";
const MAX_NAME: usize = 50;
const MAX_PER_ISSUE: usize = 100;

pub(super) fn list(call: &mut Call, repo: usize) -> Answer {
    call.allow(&[])?;
    Ok(call.page(&call.repo(repo).labels, |label| call.view().label(call.repo(repo), label)))
}

fn known<'c>(call: &'c Call, repo: usize, name: &str) -> Result<&'c LabelDef, Reply> {
    call.repo(repo).label(name).ok_or_else(Reply::not_found)
}

pub(super) fn one(call: &mut Call, repo: usize, name: &str) -> Answer {
    Ok(Reply::ok(call.view().label(call.repo(repo), known(call, repo, name)?)))
}

/// Six hexadecimal digits, without the `#`.
fn color(fields: &Map<String, Value>) -> Result<Option<String>, Reply> {
    let given = text(fields, "Label", "color", 6)?;
    match given {
        Some(c) if c.len() != 6 || !c.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Err(Reply::invalid_field("Label", "color", "invalid"))
        }
        other => Ok(other.map(|c| c.to_ascii_lowercase())),
    }
}

pub(super) fn create(call: &mut Call, repo: usize) -> Answer {
    call.may(repo, Role::Write)?;
    let fields = call.body(&["name", "color", "description"])?;
    let name = required(&fields, "Label", "name", MAX_NAME)?;
    let color = color(&fields)?.unwrap_or_else(|| PLAIN.to_owned());
    let description = text(&fields, "Label", "description", 100)?;
    if call.repo(repo).label(&name).is_some() {
        return Err(Reply::invalid_field("Label", "name", "already_exists"));
    }
    let id = call.state.new_id();
    call.state.repos[repo].labels.push(LabelDef { id, name: name.clone(), color, description });
    let label = known(call, repo, &name)?;
    Ok(Reply::created(call.view().label(call.repo(repo), label)))
}

pub(super) fn edit(call: &mut Call, repo: usize, name: &str) -> Answer {
    call.may(repo, Role::Write)?;
    let fields = call.body(&["new_name", "color", "description"])?;
    let new_name = text(&fields, "Label", "new_name", MAX_NAME)?;
    let color = color(&fields)?;
    let description = text(&fields, "Label", "description", 100)?;
    let old = known(call, repo, name)?.name.clone();
    let taken = new_name.as_ref().and_then(|new| call.repo(repo).label(new));
    if taken.is_some_and(|label| label.name != old) {
        return Err(Reply::invalid_field("Label", "name", "already_exists"));
    }
    let new_name = new_name.unwrap_or_else(|| old.clone());
    let repository = &mut call.state.repos[repo];
    for label in repository.labels.iter_mut().filter(|l| l.name == old) {
        label.name.clone_from(&new_name);
        label.color = color.clone().unwrap_or_else(|| label.color.clone());
        label.description = description.clone().or_else(|| label.description.clone());
    }
    let on_issues = repository.issues.values_mut().flat_map(|i| i.labels.iter_mut());
    on_issues.filter(|l| **l == old).for_each(|l| l.clone_from(&new_name));
    one(call, repo, &new_name)
}

pub(super) fn delete(call: &mut Call, repo: usize, name: &str) -> Answer {
    call.may(repo, Role::Write)?;
    let name = known(call, repo, name)?.name.clone();
    let repository = &mut call.state.repos[repo];
    repository.labels.retain(|l| l.name != name);
    repository.issues.values_mut().for_each(|i| i.labels.retain(|l| *l != name));
    Ok(Reply::no_content())
}

pub(super) fn of_issue(call: &mut Call, repo: usize, number: u64) -> Answer {
    call.allow(&[])?;
    let repository = call.repo(repo);
    let names = &call.the(repo, number)?.labels;
    let labels: Vec<_> = names.iter().filter_map(|name| repository.label(name)).collect();
    Ok(call.page(&labels, |label| call.view().label(repository, label)))
}

/// The names in the field `labels`.
pub(super) fn names(fields: &Map<String, Value>) -> Result<Vec<String>, Reply> {
    let name = |label: &Value| {
        let name = label.as_str().or_else(|| label["name"].as_str()).unwrap_or_default();
        let fits = !name.trim().is_empty() && name.chars().count() <= MAX_NAME;
        fits.then(|| name.to_owned())
            .ok_or_else(|| Reply::invalid_field("Label", "name", "invalid"))
    };
    match fields.get("labels") {
        None => Ok(Vec::new()),
        Some(Value::Array(labels)) => labels.iter().map(name).collect(),
        Some(_) => Err(Reply::invalid_field("Issue", "labels", "invalid")),
    }
}

/// Labels an issue. A name that is new becomes a label, if the caller may make labels.
pub(super) fn put(
    call: &mut Call,
    repo: usize,
    number: u64,
    names: &[String],
    login: &str,
) -> Result<(), Reply> {
    let issue = call.the(repo, number)?;
    let added = names.iter().filter(|name| !issue.has_label(name)).count();
    if issue.labels.len() + added > MAX_PER_ISSUE {
        let message = "labels is too long (maximum is 100 items)";
        return Err(Reply::invalid_because("Issue", "labels", message));
    }
    if names.iter().any(|name| call.repo(repo).label(name).is_none()) {
        call.may(repo, Role::Write)?;
    }
    for name in names {
        call.state.define_label(repo, name, PLAIN);
        call.state.mark(repo, number, name, true, login);
    }
    Ok(())
}

fn labels_of(call: &Call, repo: usize, number: u64) -> Answer {
    Ok(Reply::ok(call.view().labels(call.repo(repo), call.the(repo, number)?)))
}

pub(super) fn add(call: &mut Call, repo: usize, number: u64) -> Answer {
    let login = call.may(repo, Role::Triage)?;
    let fields = call.body(&["labels"])?;
    let names = names(&fields)?;
    put(call, repo, number, &names, &login)?;
    labels_of(call, repo, number)
}

pub(super) fn remove(call: &mut Call, repo: usize, number: u64, name: &str) -> Answer {
    let login = call.may(repo, Role::Triage)?;
    if !call.state.mark(repo, number, name, false, &login) {
        return Err(Reply::error(404, "Label does not exist"));
    }
    labels_of(call, repo, number)
}
