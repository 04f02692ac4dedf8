//! The embedded GitHub against GitHub's own description of its API.

use std::collections::BTreeSet;

use claude_workers::fakehub::{Exchange, FakeHub, Fault, NewIssue, NewRepo, Options, Role};
use serde_json::{Value, json};

use crate::commit_on_top;
use crate::http::Client;
use crate::openapi::{operation_of, validate_exchanges};

const APP: &str = "/repos/octo/App";

/// A GitHub with people of all kinds, and the clients of three of them: the owner, somebody who
/// may read, nobody.
struct World {
    hub: FakeHub,
    octo: Client,
    reader: Client,
    nobody: Client,
    _dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(&Options::new(dir.path())).unwrap();
    for login in ["octo", "reader", "triager", "maintainer"] {
        hub.add_user(login).unwrap();
    }
    hub.add_org("acme").unwrap();
    hub.add_token("octo", "octo-token", Some("repo, read:org")).unwrap();
    hub.add_token("reader", "reader-token", None).unwrap();
    hub.add_repo(&NewRepo::new("octo/App").file("README.md", "hello\n")).unwrap();
    hub.add_repo(&NewRepo::new("octo/empty").default_branch("trunk")).unwrap();
    hub.add_repo(&NewRepo::new("octo/quiet").without_issues().file("a", "a")).unwrap();
    hub.add_repo(&NewRepo::new("octo/old").archived().file("a", "a")).unwrap();
    hub.add_repo(&NewRepo::new("acme/secret").private().file("a", "a")).unwrap();
    hub.set_role("octo/App", "triager", Role::Triage).unwrap();
    hub.set_role("octo/App", "maintainer", Role::Maintain).unwrap();
    hub.set_role("acme/secret", "octo", Role::Write).unwrap();
    hub.add_issue("octo/App", &NewIssue::new("reader", "First").body("text").label("bug")).unwrap();
    hub.add_issue("octo/App", &NewIssue::new("octo", "Second")).unwrap();
    hub.add_issue("acme/secret", &NewIssue::new("octo", "Hidden")).unwrap();
    let client = |token| Client::new(&hub.api_url(), token);
    let (octo, reader, nobody) =
        (client(Some("octo-token")), client(Some("reader-token")), client(None));
    World { hub, octo, reader, nobody, _dir: dir }
}

/// Sends, expects a status, and gives the answer's body.
fn ask(client: &Client, status: u16, method: &str, path: &str, body: Value) -> Value {
    let body = Some(body).filter(|b| !b.is_null());
    let response = client.send(method, path, body.as_ref());
    assert_eq!(response.status, status, "{method} {path}: {}", response.json);
    response.json
}

fn people_and_repositories(world: &World) {
    let World { hub, octo, reader, nobody, .. } = world;
    let get = |client, status, path: &str| ask(client, status, "GET", path, Value::Null);
    get(nobody, 200, "/");
    get(octo, 200, "/meta");
    assert_eq!(get(octo, 200, "/rate_limit")["rate"]["limit"], 5000);
    assert_eq!(get(octo, 200, "/user")["login"], "octo");
    get(nobody, 401, "/user");
    let stranger = Client::new(&hub.api_url(), Some("wrong"));
    get(&stranger, 401, "/user");
    let query = "affiliation=owner&visibility=all&sort=updated&direction=asc&per_page=2";
    assert_eq!(get(octo, 200, &format!("/user/repos?{query}")).as_array().unwrap().len(), 2);
    assert_eq!(get(reader, 200, "/users/octo")["type"], "User");
    assert_eq!(get(reader, 404, "/users/ghosts")["message"], "Not Found");
    get(octo, 200, "/users/octo/repos?sort=full_name");
    assert_eq!(get(octo, 200, "/orgs/acme/repos").as_array().unwrap().len(), 1);
    assert_eq!(get(reader, 200, "/orgs/acme/repos"), json!([]));
    assert_eq!(get(octo, 200, APP)["permissions"]["push"], true);
    get(nobody, 200, APP);
    get(reader, 404, "/repos/acme/secret");
    hub.rename_repo("octo/old", "octo/older").unwrap();
    let moved = get(octo, 301, "/repos/octo/old");
    get(octo, 200, moved["url"].as_str().unwrap());
    let permission = format!("{APP}/collaborators/maintainer/permission");
    let answer = get(octo, 200, &permission);
    assert_eq!(
        (&answer["permission"], &answer["role_name"]),
        (&json!("write"), &json!("maintain"))
    );
    get(reader, 403, &permission);
    get(octo, 404, &format!("{APP}/collaborators/nobody/permission"));
}

fn issues_and_comments(world: &World) {
    let World { hub, octo, reader, nobody, .. } = world;
    let issues = format!("{APP}/issues");
    let one = format!("{issues}/1");
    let all = ask(octo, 200, "GET", "/issues?filter=all&state=open&per_page=100", Value::Null);
    assert_eq!(all.as_array().unwrap().len(), 3);
    let query =
        "state=all&labels=bug&sort=updated&direction=asc&since=2020-01-01T00:00:00Z&creator=reader";
    let found = ask(nobody, 200, "GET", &format!("{issues}?{query}"), Value::Null);
    assert_eq!(found[0]["number"], 1);
    let new = json!({"title": "Third", "body": "b", "labels": ["bug"]});
    assert_eq!(ask(octo, 201, "POST", &issues, new)["number"], 3);
    ask(octo, 422, "POST", &issues, json!({"title": ""}));
    ask(nobody, 401, "POST", &issues, json!({"title": "x"}));
    ask(octo, 410, "GET", "/repos/octo/quiet/issues", Value::Null);
    ask(octo, 200, "GET", &one, Value::Null);
    ask(octo, 404, "GET", &format!("{issues}/99"), Value::Null);
    let close = json!({"state": "closed", "state_reason": "not_planned"});
    assert_eq!(ask(octo, 200, "PATCH", &one, close)["state"], "closed");
    ask(octo, 200, "PATCH", &one, json!({"state": "open", "title": "New", "body": "new"}));
    ask(reader, 403, "PATCH", &format!("{issues}/2"), json!({"title": "mine"}));
    let comments = format!("{one}/comments");
    let comment = ask(reader, 201, "POST", &comments, json!({"body": "hello"}));
    ask(octo, 422, "POST", &comments, json!({"body": " "}));
    ask(octo, 200, "GET", &format!("{comments}?since=2020-01-01T00:00:00Z"), Value::Null);
    let this = format!("{issues}/comments/{}", comment["id"]);
    ask(reader, 200, "PATCH", &this, json!({"body": "edited"}));
    assert_eq!(ask(octo, 200, "GET", &this, Value::Null)["body"], "edited");
    ask(octo, 204, "DELETE", &this, Value::Null);
    ask(octo, 404, "GET", &this, Value::Null);
    hub.lock_issue("octo/App", 1).unwrap();
    ask(reader, 403, "POST", &comments, json!({"body": "still here"}));
    hub.delete_issue("octo/App", 3).unwrap();
    ask(octo, 410, "GET", &format!("{issues}/3"), Value::Null);
    let there = hub.move_issue("octo/App", 2, "acme/secret").unwrap();
    let moved = ask(octo, 301, "GET", &format!("{issues}/2"), Value::Null);
    let url = moved["url"].as_str().unwrap();
    assert_eq!(ask(octo, 200, "GET", url, Value::Null)["number"], there);
    ask(reader, 404, "GET", &format!("{issues}/2"), Value::Null);
}

fn labels(world: &World) {
    let World { hub, octo, reader, .. } = world;
    let labels = format!("{APP}/labels");
    let new = json!({"name": "worker:01", "color": "0E8A16", "description": "held"});
    assert_eq!(ask(octo, 201, "POST", &labels, new.clone())["color"], "0e8a16");
    let refused = ask(octo, 422, "POST", &labels, new);
    assert_eq!(refused["errors"][0]["code"], "already_exists");
    ask(reader, 403, "POST", &labels, json!({"name": "mine"}));
    ask(octo, 200, "GET", &format!("{labels}?per_page=1"), Value::Null);
    ask(octo, 200, "GET", &format!("{labels}/WORKER%3A01"), Value::Null);
    ask(
        octo,
        200,
        "PATCH",
        &format!("{labels}/bug"),
        json!({"new_name": "Bug", "color": "ff0000"}),
    );
    let on_issue = format!("{APP}/issues/1/labels");
    let both = ask(octo, 200, "POST", &on_issue, json!({"labels": ["worker:01", "blocked"]}));
    assert_eq!(both.as_array().unwrap().len(), 3);
    assert_eq!(both[2]["color"], "ededed");
    ask(reader, 403, "POST", &on_issue, json!({"labels": ["Bug"]}));
    ask(octo, 200, "GET", &on_issue, Value::Null);
    ask(octo, 200, "DELETE", &format!("{on_issue}/worker%3A01"), Value::Null);
    ask(octo, 404, "DELETE", &format!("{on_issue}/worker%3A01"), Value::Null);
    let events = ask(octo, 200, "GET", &format!("{APP}/issues/1/events?per_page=100"), Value::Null);
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["event"], &last["label"]["name"], &last["actor"]["login"]),
        (&json!("unlabeled"), &json!("worker:01"), &json!("octo"))
    );
    ask(octo, 204, "DELETE", &format!("{labels}/blocked"), Value::Null);
    assert_eq!(hub.labels_of("octo/App", 1).unwrap(), ["Bug"]);
}

fn refs_and_pulls(world: &World) {
    let World { hub, octo, reader, .. } = world;
    let git = format!("{APP}/git");
    let main = ask(octo, 200, "GET", &format!("{git}/ref/heads/main"), Value::Null);
    let sha = main["object"]["sha"].as_str().unwrap().to_owned();
    let new = json!({"ref": "refs/heads/issue-1", "sha": sha});
    ask(octo, 201, "POST", &format!("{git}/refs"), new.clone());
    let twice = ask(octo, 422, "POST", &format!("{git}/refs"), new.clone());
    assert_eq!(twice["message"], "Reference already exists");
    ask(reader, 403, "POST", &format!("{git}/refs"), new);
    ask(octo, 404, "GET", &format!("{git}/ref/heads/none"), Value::Null);
    ask(octo, 409, "GET", "/repos/octo/empty/git/ref/heads/trunk", Value::Null);
    let found = ask(octo, 200, "GET", &format!("{git}/matching-refs/heads/issue-"), Value::Null);
    assert_eq!(found.as_array().unwrap().len(), 1);

    let pulls = format!("{APP}/pulls");
    let open = json!({"title": "Fix", "head": "issue-1", "base": "main", "body": "Closes #1"});
    let refused = ask(octo, 422, "POST", &pulls, open.clone());
    assert_eq!(refused["errors"][0]["message"], "No commits between main and issue-1");
    let commit = commit_on_top(hub, "octo/App", &sha, "new\n");
    let forward = json!({"sha": commit, "force": false});
    ask(octo, 200, "PATCH", &format!("{git}/refs/heads/issue-1"), forward);
    let back = json!({"sha": sha, "force": false});
    ask(octo, 422, "PATCH", &format!("{git}/refs/heads/issue-1"), back);
    let made = ask(octo, 201, "POST", &pulls, open.clone());
    assert_eq!((&made["head"]["sha"], &made["mergeable"]), (&json!(commit), &Value::Null));
    let one = format!("{pulls}/{}", made["number"]);
    let twice = ask(octo, 422, "POST", &pulls, open);
    assert_eq!(twice["errors"][0]["message"], "A pull request already exists for octo:issue-1.");
    ask(octo, 422, "POST", &pulls, json!({"title": "x", "head": "nowhere", "base": "main"}));
    let query = "state=all&head=octo:issue-1&base=main&sort=updated&direction=desc";
    let found = ask(octo, 200, "GET", &format!("{pulls}?{query}"), Value::Null);
    assert_eq!(found[0]["number"], made["number"]);
    let read = ask(octo, 200, "GET", &one, Value::Null);
    assert_eq!((&read["mergeable"], &read["commits"]), (&json!(true), &json!(1)));
    ask(octo, 404, "GET", &format!("{pulls}/1"), Value::Null);
    ask(octo, 200, "PATCH", &one, json!({"title": "Better", "body": "b", "state": "open"}));
    let listed = ask(octo, 200, "GET", &format!("{APP}/issues?state=open"), Value::Null);
    assert!(listed.as_array().unwrap().iter().any(|issue| issue["pull_request"].is_object()));
    hub.merge_pull("octo/App", made["number"].as_u64().unwrap()).unwrap();
    assert_eq!(ask(octo, 200, "GET", &one, Value::Null)["merged"], true);
    ask(octo, 204, "DELETE", &format!("{git}/refs/heads/issue-1"), Value::Null);
    ask(octo, 422, "DELETE", &format!("{git}/refs/heads/issue-1"), Value::Null);
}

/// Everything that was exchanged while every endpoint was used.
fn recorded() -> Vec<Exchange> {
    let world = world();
    people_and_repositories(&world);
    issues_and_comments(&world);
    labels(&world);
    refs_and_pulls(&world);
    world.hub.exchanges()
}

#[test]
fn every_exchange_is_as_github_describes_it() {
    let exchanges = recorded();
    let problems = validate_exchanges(&exchanges);
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    let description: Value =
        serde_json::from_str(include_str!("../data/github-openapi.json")).unwrap();
    let described: BTreeSet<String> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    let succeeded = exchanges.iter().filter(|e| e.status.is_some_and(|s| s < 300));
    let used: BTreeSet<String> = succeeded.filter_map(|e| Some(operation_of(e).ok()?.0)).collect();
    assert_eq!(described, used, "operations that are described and those that were used");
}

#[test]
fn a_broken_exchange_is_found() {
    let world = world();
    ask(&world.octo, 200, "GET", &format!("{APP}/issues/1?"), Value::Null);
    ask(&world.octo, 201, "POST", &format!("{APP}/issues/1/comments"), json!({"body": "x"}));
    let good = world.hub.exchanges();
    assert_eq!(validate_exchanges(&good), [] as [&str; 0]);

    let found = |at: usize, spoil: &dyn Fn(&mut Exchange)| {
        let mut exchange = good[at].clone();
        spoil(&mut exchange);
        let problems = validate_exchanges(&[exchange]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    };
    let in_response = |spoil: &dyn Fn(&mut Value)| {
        found(0, &|exchange| spoil(exchange.response.as_mut().unwrap()))
    };
    let missing = in_response(&|issue| drop(issue.as_object_mut().unwrap().remove("number")));
    assert!(missing.contains("\"number\" is a required property"), "{missing}");
    let wrong = in_response(&|issue| issue["user"]["id"] = json!("seven"));
    assert!(wrong.contains("/user"), "{wrong}");
    let date = in_response(&|issue| issue["created_at"] = json!("yesterday"));
    assert!(date.contains("date-time"), "{date}");
    let null = in_response(&|issue| issue["title"] = Value::Null);
    assert!(null.contains("/title"), "{null}");

    let status = found(0, &|exchange| exchange.status = Some(218));
    assert!(status.contains("status 218 is not documented"), "{status}");
    let path = found(0, &|exchange| exchange.path = "/repos/octo/App/issue/1".to_owned());
    assert!(path.contains("no such path"), "{path}");
    let method = found(0, &|exchange| exchange.method = "PUT".to_owned());
    assert!(method.contains("no such method"), "{method}");
    let query = found(0, &|exchange| exchange.query = "verbose=1".to_owned());
    assert!(query.contains("no query parameter `verbose`"), "{query}");
    let request = found(1, &|exchange| exchange.request = Some(json!({"body": 7})));
    assert!(request.contains("request/body"), "{request}");
    let field = found(1, &|exchange| exchange.request = Some(json!({"body": "", "bodi": ""})));
    assert!(field.contains("no request field `bodi`"), "{field}");
    let nothing = found(1, &|exchange| exchange.request = None);
    assert!(nothing.contains("no request body"), "{nothing}");
}

#[test]
fn an_injected_answer_is_not_blamed_on_the_fake() {
    let world = world();
    world.hub.inject(Fault::answer("GET", "/user", 218).body(json!("odd")));
    ask(&world.octo, 218, "GET", "/user", Value::Null);
    assert_eq!(validate_exchanges(&world.hub.exchanges()), [] as [&str; 0]);
}
