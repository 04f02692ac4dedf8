//! GraphQL, as far as it is asked here: the words of an issue and when they were changed.

use serde_json::json;

use super::super::render::time;
use super::super::reply::{Answer, Reply};
use super::super::state::Role;
use super::call::{Call, required};

/// The one question that is understood, without white space.
const WORDS: &str = "query($owner:String!,$name:String!,$number:Int!)\
    {repository(owner:$owner,name:$name,followRenames:false){issue(number:$number)\
    {titlebodylastEditedAttimelineItems(itemTypes:[RENAMED_TITLE_EVENT],last:1)\
    {nodes{...onRenamedTitleEvent{createdAt}}}}}}";

pub(super) fn answer(call: &mut Call) -> Answer {
    call.login()?;
    let fields = call.body(&["query", "variables"])?;
    let query = required(&fields, "Query", "query", 10_000)?;
    if query.split_whitespace().collect::<String>() != WORDS {
        return Err(Reply::unsupported("this GraphQL query"));
    }
    let variables = &fields["variables"];
    let text = |name: &str| variables[name].as_str().unwrap_or_default();
    let repo = call
        .state
        .find(text("owner"), text("name"))
        .filter(|repo| call.repo(*repo).role(call.who.as_deref()) > Role::None);
    let number = variables["number"].as_u64().unwrap_or_default();
    let issue = repo.and_then(|repo| call.repo(repo).issues.get(&number));
    let Some(issue) = issue.filter(|issue| issue.pull.is_none()) else {
        let path = if repo.is_some() { vec!["repository", "issue"] } else { vec!["repository"] };
        return Ok(Reply::ok(json!({
            "data": {"repository": repo.map(|_| json!({"issue": null}))},
            "errors": [{"type": "NOT_FOUND", "path": path, "message": "Could not resolve it."}],
        })));
    };
    let renamed = issue.events.iter().rev().find(|event| event.what == "renamed");
    let renamed: Vec<_> = renamed.map(|e| json!({"createdAt": time(e.at)})).into_iter().collect();
    Ok(Reply::ok(json!({"data": {"repository": {"issue": {
        "title": issue.title,
        "body": issue.body.clone().unwrap_or_default(),
        "lastEditedAt": issue.edited.map(time),
        "timelineItems": {"nodes": renamed},
    }}}})))
}
