//! The GitHub emulator from npm does what the end-to-end test leans on; what it does not do is
//! pinned too, so that a newer version which does is noticed.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

#[expect(dead_code, reason = "this program has no use for the agent")]
#[path = "support/npm.rs"]
mod npm;

use npm::Emulator;
use serde_json::{Value, json};

fn emulator() -> Emulator {
    Emulator::start(&json!({
        "tokens": {
            "token-of-octo": {"login": "octo", "scopes": ["repo"]},
            "token-of-guest": {"login": "guest", "scopes": ["repo"]},
        },
        "github": {
            "users": [{"login": "octo"}, {"login": "guest"}],
            "repos": [{"owner": "octo", "name": "app"}],
        },
    }))
}

/// Asks as `octo`.
fn ask(emulator: &Emulator, method: &str, path: &str, body: &Value) -> (u16, Value) {
    emulator.ask("token-of-octo", method, path, body)
}

#[test]
fn a_reference_is_created_once() {
    let emulator = emulator();
    let (_, main) = ask(&emulator, "GET", "/repos/octo/app/git/ref/heads/main", &json!({}));
    let claim = json!({"ref": "refs/claims/issue-1", "sha": main["object"]["sha"]});
    let create = || ask(&emulator, "POST", "/repos/octo/app/git/refs", &claim);
    assert_eq!(create().0, 201);
    let (status, answer) = create();
    assert_eq!((status, &answer["message"]), (422, &json!("Reference already exists")));
}

#[test]
fn labels_are_added_and_removed_one_by_one() {
    let emulator = emulator();
    let issue = json!({"title": "Mend the notes", "labels": ["P1"]});
    assert_eq!(ask(&emulator, "POST", "/repos/octo/app/issues", &issue).0, 201);
    let label = json!({"name": "worker:01", "color": "0E8A16"});
    assert_eq!(ask(&emulator, "POST", "/repos/octo/app/labels", &label).0, 201);
    let (again, answer) = ask(&emulator, "POST", "/repos/octo/app/labels", &label);
    assert_eq!((again, &answer["errors"]), (422, &Value::Null), "it names no `already_exists`");

    let add = json!({"labels": ["worker:01"]});
    let (_, labels) = ask(&emulator, "POST", "/repos/octo/app/issues/1/labels", &add);
    let names: Vec<_> = labels.as_array().unwrap().iter().map(|l| &l["name"]).collect();
    assert_eq!(names, ["P1", "worker:01"]);
    let remove =
        || ask(&emulator, "DELETE", "/repos/octo/app/issues/1/labels/worker%3A01", &json!({})).0;
    assert_eq!((remove(), remove()), (200, 404));
}

#[test]
fn a_pull_request_is_found_by_its_branch() {
    let emulator = emulator();
    let find =
        || ask(&emulator, "GET", "/repos/octo/app/pulls?head=octo:issue-1&state=all", &json!({})).1;
    assert_eq!(find(), json!([]));
    let pull = json!({"title": "Mend", "head": "issue-1", "base": "main", "body": "Closes #1"});
    assert_eq!(ask(&emulator, "POST", "/repos/octo/app/pulls", &pull).0, 201);
    assert_eq!(find()[0]["head"]["ref"], "issue-1");
}

#[test]
fn the_list_across_repositories_and_graphql_are_missing() {
    let emulator = emulator();
    assert_eq!(ask(&emulator, "GET", "/issues?filter=all", &json!({})).0, 404);
    assert_eq!(ask(&emulator, "POST", "/graphql", &json!({"query": "{viewer{login}}"})).0, 404);
}

#[test]
fn who_may_write_is_answered_for_the_owner_and_not_found_for_strangers() {
    let emulator = emulator();
    let permission = |who: &str| {
        let path = format!("/repos/octo/app/collaborators/{who}/permission");
        ask(&emulator, "GET", &path, &json!({}))
    };
    assert_eq!(permission("octo").1["permission"], "admin");
    assert_eq!(permission("guest").0, 404);
}
