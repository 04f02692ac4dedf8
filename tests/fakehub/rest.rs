//! What REST callers rely on beyond the shapes: who may do what, pages, conditions, time.

use claude_workers::fakehub::{FakeHub, NewIssue, NewRepo, Options, Role};
use serde_json::{Value, json};

use crate::commit_on_top;
use crate::http::Client;

struct World {
    hub: FakeHub,
    octo: Client,
    _dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(&Options::new(dir.path())).unwrap();
    hub.add_user("octo").unwrap();
    hub.add_token("octo", "octo-token", Some("repo")).unwrap();
    hub.add_repo(&NewRepo::new("octo/app").file("README.md", "hello\n")).unwrap();
    let octo = Client::new(&hub.api_url(), Some("octo-token"));
    World { hub, octo, _dir: dir }
}

impl World {
    /// Somebody new with this role in `octo/app`.
    fn person(&self, login: &str, role: Role) -> Client {
        self.hub.add_user(login).unwrap();
        self.hub.add_token(login, &format!("{login}-token"), None).unwrap();
        self.hub.set_role("octo/app", login, role).unwrap();
        Client::new(&self.hub.api_url(), Some(&format!("{login}-token")))
    }

    fn issue(&self, title: &str) -> u64 {
        self.hub.add_issue("octo/app", &NewIssue::new("octo", title)).unwrap()
    }
}

#[test]
fn the_api_answers_with_and_without_its_prefix() {
    let world = world();
    let bare = Client::new(world.hub.server_url(), Some("octo-token"));
    assert_eq!(bare.get("/user").json["url"], format!("{}/users/octo", world.hub.server_url()));
    assert_eq!(world.octo.get("/user").json["url"], format!("{}/users/octo", world.hub.api_url()));
}

#[test]
fn a_private_repository_is_not_there_for_strangers() {
    let world = world();
    let stranger = world.person("stranger", Role::None);
    world.hub.add_repo(&NewRepo::new("octo/secret").private()).unwrap();
    let nobody = Client::new(&world.hub.api_url(), None);
    for path in ["/repos/octo/secret", "/repos/octo/secret/issues", "/repos/octo/nothing"] {
        assert_eq!(stranger.get(path).status, 404, "{path}");
        assert_eq!(nobody.get(path).status, 404, "{path}");
    }
    assert_eq!(world.octo.get("/repos/octo/secret").status, 200);
}

#[test]
fn each_role_may_do_its_part() {
    let world = world();
    let issue = world.issue("One");
    world.hub.label("octo/app", issue, "known", "octo").unwrap();
    let labels = format!("/repos/octo/app/issues/{issue}/labels");
    let status =
        |who: &Client, name| who.send("POST", &labels, Some(&json!({"labels": [name]}))).status;
    let (reader, triager) = (world.person("r", Role::Read), world.person("t", Role::Triage));
    let writer = world.person("w", Role::Write);
    assert_eq!([status(&reader, "known"), status(&triager, "known")], [403, 200]);
    assert_eq!([status(&triager, "fresh"), status(&writer, "fresh")], [403, 200]);

    // Whoever may not push may open an issue all the same; its labels are dropped in silence.
    let new = json!({"title": "New", "labels": ["known"]});
    let labels_of = |who: &Client| {
        let made = who.send("POST", "/repos/octo/app/issues", Some(&new));
        (made.status, made.json["labels"].as_array().map(Vec::len))
    };
    assert_eq!(labels_of(&triager), (201, Some(0)));
    assert_eq!(labels_of(&writer), (201, Some(1)));

    let permission =
        |who: &Client, of| who.get(&format!("/repos/octo/app/collaborators/{of}/permission"));
    assert_eq!(permission(&triager, "r").status, 403);
    let seen = permission(&writer, "t").json;
    assert_eq!((&seen["permission"], &seen["role_name"]), (&json!("read"), &json!("triage")));
}

#[test]
fn an_archived_repository_takes_no_writes() {
    let world = world();
    let issue = world.issue("One");
    world.hub.set_archived("octo/app", true).unwrap();
    let path = format!("/repos/octo/app/issues/{issue}");
    let refused = world.octo.send("POST", &format!("{path}/comments"), Some(&json!({"body": "x"})));
    assert_eq!(refused.status, 403);
    assert_eq!(world.octo.get(&path).status, 200);
}

#[test]
fn names_compare_without_case() {
    let world = world();
    let issue = world.issue("One");
    let on_issue = format!("/repos/OCTO/App/issues/{issue}/labels");
    let make = json!({"name": "Worker:A", "color": "0e8a16"});
    assert_eq!(world.octo.send("POST", "/repos/octo/APP/labels", Some(&make)).status, 201);
    let again = json!({"name": "worker:a", "color": "0e8a16"});
    assert_eq!(world.octo.send("POST", "/repos/octo/app/labels", Some(&again)).status, 422);
    let labelled = world.octo.send("POST", &on_issue, Some(&json!({"labels": ["WORKER:a"]})));
    assert_eq!(labelled.json[0]["name"], "Worker:A");
    let removed = world.octo.send("DELETE", &format!("{on_issue}/wOrKeR%3Aa"), None);
    assert_eq!((removed.status, removed.json), (200, json!([])));
}

#[test]
fn limits_of_labels_hold() {
    let world = world();
    let issue = world.issue("One");
    let path = format!("/repos/octo/app/issues/{issue}/labels");
    let add =
        |names: Vec<String>| world.octo.send("POST", &path, Some(&json!({"labels": names}))).status;
    assert_eq!(add(vec!["x".repeat(51)]), 422);
    assert_eq!(add((0..100).map(|n| n.to_string()).collect()), 200);
    assert_eq!(add(vec!["7".to_owned()]), 200);
    assert_eq!(add(vec!["one more".to_owned()]), 422);
}

#[test]
fn pages_link_to_each_other_by_repository_id() {
    let world = world();
    for n in 0..35 {
        world.issue(&format!("Issue {n}"));
    }
    let first = world.octo.get("/repos/octo/app/issues?state=open");
    assert_eq!(first.json.as_array().unwrap().len(), 30);
    assert_eq!(first.json[0]["number"], 35);
    let next = first.link("next").unwrap();
    assert!(next.starts_with(&format!("{}/repositories/", world.hub.api_url())), "{next}");
    assert_eq!(first.link("last").as_ref(), Some(&next));
    let second = world.octo.get(&next);
    assert_eq!(second.json.as_array().unwrap().len(), 5);
    assert_eq!((second.link("next"), second.json[4]["number"].clone()), (None, json!(1)));
    let back = world.octo.get(&second.link("prev").unwrap());
    assert_eq!(back.json, first.json);
    let all = world.octo.get("/issues?filter=all&per_page=1000");
    assert_eq!((all.json.as_array().unwrap().len(), all.header("link")), (35, ""));
}

#[test]
fn what_has_not_changed_is_304_and_costs_nothing() {
    let world = world();
    let issue = world.issue("One");
    let path = "/repos/octo/app/issues";
    let first = world.octo.get(path);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let remaining =
        |r: &crate::http::Response| r.header("x-ratelimit-remaining").parse::<u64>().unwrap();
    let conditional = world.octo.with("if-none-match", &tag);
    let second = conditional.get(path);
    assert_eq!((second.status, &second.json), (304, &Value::Null));
    assert_eq!(remaining(&second), remaining(&first));
    world.hub.label("octo/app", issue, "bug", "octo").unwrap();
    let third = conditional.get(path);
    assert_eq!((third.status, remaining(&third)), (200, remaining(&first) - 1));
    assert_ne!(third.header("etag"), tag);
}

#[test]
fn a_spent_limit_refuses_until_its_reset() {
    let world = world();
    world.hub.set_rate_remaining("octo", 1);
    assert_eq!(world.octo.get("/user").status, 200);
    let refused = world.octo.get("/user");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    let reset: i64 = refused.header("x-ratelimit-reset").parse().unwrap();
    assert!(reset > 1_700_000_000);
    assert_eq!(world.octo.get("/rate_limit").json["rate"]["remaining"], 0);
}

#[test]
fn only_classic_tokens_show_scopes() {
    let world = world();
    let fine_grained = world.person("fine", Role::Read);
    assert_eq!(world.octo.get("/user").header("x-oauth-scopes"), "repo");
    assert!(fine_grained.get("/user").headers.iter().all(|(name, _)| name != "x-oauth-scopes"));
}

#[test]
fn every_change_is_a_later_second() {
    let world = world();
    let issue = world.issue("One");
    let path = format!("/repos/octo/app/issues/{issue}");
    let updated = || world.octo.get(&path).json["updated_at"].as_str().unwrap().to_owned();
    let mut times = vec![updated()];
    world.hub.label("octo/app", issue, "bug", "octo").unwrap();
    times.push(updated());
    world.octo.send("POST", &format!("{path}/comments"), Some(&json!({"body": "x"})));
    times.push(updated());
    world.octo.send("PATCH", &path, Some(&json!({"state": "closed"})));
    times.push(updated());
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn of_many_who_create_one_ref_one_succeeds() {
    let world = world();
    let refs = "/repos/octo/app/git/refs";
    let main = world.octo.get("/repos/octo/app/git/ref/heads/main").json;
    let sha = main["object"]["sha"].as_str().unwrap();
    let claim = json!({"ref": "refs/claude-workers/claims/issue-1", "sha": sha});
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let one = || world.octo.send("POST", refs, Some(&claim)).status;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 422).count(), 7, "{statuses:?}");
}

#[test]
fn a_pull_request_follows_its_branch_and_merging_closes_the_issue() {
    let World { hub, octo, .. } = &world();
    let issue = hub.add_issue("octo/app", &NewIssue::new("octo", "One")).unwrap();
    let main = octo.get("/repos/octo/app/git/ref/heads/main").json;
    let main = main["object"]["sha"].as_str().unwrap();
    let commit = commit_on_top(hub, "octo/app", main, "one\n");
    let new_ref = json!({"ref": "refs/heads/issue-1", "sha": commit});
    octo.send("POST", "/repos/octo/app/git/refs", Some(&new_ref));
    let body = format!("Closes #{issue}");
    let open = json!({"title": "Fix", "head": "octo:issue-1", "base": "main", "body": body});
    assert_eq!(octo.send("POST", "/repos/octo/app/pulls", Some(&open)).status, 201);

    let more = commit_on_top(hub, "octo/app", &commit, "one\ntwo\n");
    let forward = json!({"sha": more});
    octo.send("PATCH", "/repos/octo/app/git/refs/heads/issue-1", Some(&forward));
    let pull = hub.pulls("octo/app").unwrap().remove(0);
    assert_eq!((pull.head_sha, pull.head.as_str(), pull.open), (more, "issue-1", true));
    let diff = hub.pull_diff("octo/app", pull.number).unwrap();
    assert!(diff.contains("+one\n+two"), "{diff}");

    hub.merge_pull("octo/app", pull.number).unwrap();
    let pull = hub.pulls("octo/app").unwrap().remove(0);
    assert!(pull.merged && !pull.open);
    assert!(!hub.issue("octo/app", issue).unwrap().open);
    assert_eq!(hub.pull_diff("octo/app", pull.number).unwrap(), diff);
}

#[test]
fn a_pull_request_without_its_branch_is_closed() {
    let World { hub, octo, .. } = &world();
    let main = octo.get("/repos/octo/app/git/ref/heads/main").json;
    let commit = commit_on_top(hub, "octo/app", main["object"]["sha"].as_str().unwrap(), "x\n");
    let new_ref = json!({"ref": "refs/heads/topic", "sha": commit});
    octo.send("POST", "/repos/octo/app/git/refs", Some(&new_ref));
    let open = json!({"title": "Fix", "head": "topic", "base": "main"});
    let number = &octo.send("POST", "/repos/octo/app/pulls", Some(&open)).json["number"];
    assert_eq!(octo.send("DELETE", "/repos/octo/app/git/refs/heads/topic", None).status, 204);
    let pull = octo.get(&format!("/repos/octo/app/pulls/{number}")).json;
    assert_eq!((&pull["state"], &pull["merged"]), (&json!("closed"), &json!(false)));
}

#[test]
fn what_it_does_not_know_is_refused_and_not_ignored() {
    let world = world();
    assert_eq!(world.octo.get("/search/issues?q=x").status, 501);
    assert_eq!(world.octo.get("/repos/octo/app/issues?assignee=octo").status, 501);
    let issue = json!({"title": "x", "milestone": 1});
    assert_eq!(world.octo.send("POST", "/repos/octo/app/issues", Some(&issue)).status, 501);
}
