use super::*;
use crate::github::NewPull;

fn pull_json(n: u64, state: &str, base: &str) -> Value {
    json!({
        "number": n, "html_url": format!("https://h/pull/{n}"), "state": state,
        "head": {
            "ref": "issue-22", "label": "octo:issue-22", "sha": format!("c0ffee{n}"),
            "user": { "login": "Octo" }, "repo": { "full_name": "Octo/App" }
        },
        "base": { "ref": base, "sha": "ba5e", "repo": { "full_name": "octo/app" } },
    })
}

async fn open_pull(github: &GitHub) -> Result<crate::domain::PullRef, Error> {
    let (head, base) = (branch("issue-22"), branch("main"));
    let new = NewPull { head: &head, base: &base, title: "Fix", body: "Closes #22" };
    github.create_pull(&app(), new).await
}

#[tokio::test]
async fn a_write_is_sent_once_and_a_read_three_times_when_the_server_fails() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| status(502, "Bad Gateway")).await;
    let github = github(&server.url, dir.path());
    let error = github.create_comment(&app(), number(22), "hi").await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 502, .. }), "{error}");
    assert!(open_pull(&github).await.is_err());
    assert!(github.update_comment(&app(), 1, "hi").await.is_err());
    assert!(github.remove_label(&app(), number(22), "x").await.is_err());
    assert_eq!(server.take().len(), 4);
    assert!(github.issue(&app(), number(22)).await.is_err());
    assert_eq!(server.take().len(), 3);
    assert_eq!(github.usage().requests, 7);
}

#[tokio::test]
async fn a_read_that_works_the_second_time_is_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let failed = Mutex::new(false);
    let server = Server::start(move |_| {
        let mut failed = failed.lock().unwrap();
        if *failed {
            return ok(&issue_json(22));
        }
        *failed = true;
        status(500, "oops")
    })
    .await;
    assert!(github(&server.url, dir.path()).issue(&app(), number(22)).await.is_ok());
}

#[tokio::test]
async fn a_write_never_follows_a_redirect() {
    let dir = tempfile::tempdir().unwrap();
    for code in [301, 302, 307, 308] {
        let server = Server::start(move |seen| match seen.line.as_str() {
            line if line.contains("/elsewhere") => ok(&json!([])),
            _ => reply(code, &[("location", "/elsewhere")], &json!({})),
        })
        .await;
        let github = github(&server.url, dir.path());
        let moved = |error| assert!(matches!(error, Error::Moved { .. }), "{error}");
        moved(github.remove_label(&app(), number(22), "x").await.unwrap_err());
        moved(github.add_label(&app(), number(22), "x").await.unwrap_err());
        moved(open_pull(&github).await.unwrap_err());
        assert!(server.lines().iter().all(|l| !l.contains("elsewhere")));
    }
}

#[tokio::test]
async fn comments_are_written_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| {
        let comment = json!({
            "id": 5, "body": seen.body["body"], "user": { "login": "me", "type": "User" },
            "created_at": "2026-11-21T10:00:00Z", "html_url": "https://h/c5",
        });
        reply(if seen.line.starts_with("POST") { 201 } else { 200 }, &[], &comment)
    })
    .await;
    let github = github(&server.url, dir.path());
    let made = github.create_comment(&app(), number(22), "one \"two\"\n").await.unwrap();
    assert_eq!((made.id, made.body.as_str()), (5, "one \"two\"\n"));
    let changed = github.update_comment(&app(), 5, "three").await.unwrap();
    assert_eq!(changed.body, "three");
    let seen = server.take();
    assert_eq!(seen[0].line, "POST /repos/octo/app/issues/22/comments");
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[1].line, "PATCH /repos/octo/app/issues/comments/5");
}

#[tokio::test]
async fn a_label_is_made_once_and_an_existing_one_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| match seen.body["name"].as_str() {
        None if seen.line == "GET /repos/octo/app/labels/worker%3A03" => ok(&json!({})),
        None => status(404, "Not Found"),
        Some("worker:03") => status(422, "Validation failed"),
        Some("worker:01") => reply(201, &[], &json!({ "name": "worker:01" })),
        Some("worker:02") => {
            let error = json!({ "resource": "Label", "code": "already_exists", "field": "name" });
            reply(422, &[], &json!({ "message": "Validation Failed", "errors": [error] }))
        }
        _ => {
            let error = json!({ "resource": "Label", "code": "invalid", "field": "color" });
            reply(422, &[], &json!({ "message": "Validation Failed", "errors": [error] }))
        }
    })
    .await;
    let ensure = async |token: &str, name: &str| {
        let github = github_with(&server.url, dir.path(), token);
        github.ensure_label(&app(), name, "0E8A16", "Taken").await
    };
    for _ in 0..2 {
        ensure(TOKEN, "worker:01").await.unwrap();
        ensure(TOKEN, "worker:02").await.unwrap();
        ensure(TOKEN, "WORKER:02").await.unwrap();
    }
    let seen = server.take();
    assert_eq!(
        seen.iter().map(|s| s.body["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["worker:01", "worker:02"]
    );
    assert_eq!(
        seen[0].body,
        json!({ "name": "worker:01", "color": "0E8A16", "description": "Taken" })
    );
    let error = ensure(TOKEN, "bad").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GitHub says 422 for the label bad of octo/app: Validation Failed; Label color invalid"
    );
    ensure(TOKEN, "worker:03").await.unwrap();
    server.take();
    ensure("another", "worker:01").await.unwrap();
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn forgetting_lists_keeps_known_labels() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| reply(201, &[], &json!({}))).await;
    let github = github(&server.url, dir.path());
    github.ensure_label(&app(), "worker:01", "0E8A16", "").await.unwrap();
    github.forget_lists(None).unwrap();
    github.ensure_label(&app(), "worker:01", "0E8A16", "").await.unwrap();
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn labels_go_on_and_off_with_their_names_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| ok(&json!([{ "name": "worker:01" }, { "name": "bug" }]))).await;
    let github = github(&server.url, dir.path());
    let labels = github.add_label(&app(), number(22), "worker:01").await.unwrap();
    assert!(labels.iter().any(|l| l.is("bug")) && labels.len() == 2);
    github.remove_label(&app(), number(22), "worker:01").await.unwrap();
    github.remove_label(&app(), number(22), "a/b ü?").await.unwrap();
    let seen = server.take();
    assert_eq!(seen[0].line, "POST /repos/octo/app/issues/22/labels");
    assert_eq!(seen[0].body, json!({ "labels": ["worker:01"] }));
    assert_eq!(seen[1].line, "DELETE /repos/octo/app/issues/22/labels/worker%3A01");
    assert_eq!(seen[2].line, "DELETE /repos/octo/app/issues/22/labels/a%2Fb%20%C3%BC%3F");
}

#[tokio::test]
async fn taking_off_an_absent_label_succeeds_only_if_the_issue_can_be_seen_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| match seen.line.as_str() {
        "GET /repos/octo/app/issues/22" => ok(&issue_json(22)),
        _ => status(404, "Not Found"),
    })
    .await;
    let github = github(&server.url, dir.path());
    github.remove_label(&app(), number(22), "worker:01").await.unwrap();
    for (issue, label) in [(22, "bug"), (23, "worker:01")] {
        let error = github.remove_label(&app(), number(issue), label).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_pull_request_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| reply(201, &[], &pull_json(30, "open", "main"))).await;
    let pull = open_pull(&github(&server.url, dir.path())).await.unwrap();
    assert_eq!((pull.number, pull.url.as_str(), pull.open), (30, "https://h/pull/30", true));
    let seen = server.take();
    assert_eq!(seen[0].line, "POST /repos/octo/app/pulls");
    assert_eq!(
        seen[0].body,
        json!({ "head": "issue-22", "base": "main", "title": "Fix", "body": "Closes #22" })
    );
}

#[tokio::test]
async fn an_open_pull_request_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| {
        if seen.line.starts_with("GET") {
            let all = [(1, "closed", "main"), (2, "open", "other"), (3, "open", "main")];
            return ok(&all.iter().map(|(n, s, b)| pull_json(*n, s, b)).collect());
        }
        let words = "A pull request already exists for octo:issue-22.";
        let error = json!({ "resource": "PullRequest", "code": "custom", "message": words });
        reply(422, &[], &json!({ "message": "Validation Failed", "errors": [error] }))
    })
    .await;
    let pull = open_pull(&github(&server.url, dir.path())).await.unwrap();
    assert_eq!(pull.number, 3);
    assert_eq!(
        server.lines()[1],
        "GET /repos/octo/app/pulls?state=all&head=octo%3Aissue-22&per_page=100"
    );
}

#[tokio::test]
async fn any_other_422_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let error = json!({ "resource": "PullRequest", "code": "custom",
                            "message": "No commits between main and issue-22" });
        reply(422, &[], &json!({ "message": "Validation Failed", "errors": [error, "and text"] }))
    })
    .await;
    let error = open_pull(&github(&server.url, dir.path())).await.unwrap_err();
    let Error::Unprocessable { message, codes, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "Validation Failed; No commits between main and issue-22; and text");
    assert_eq!(codes, &["custom"]);
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn pull_requests_of_forks_and_of_an_ignored_filter_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let mut fork = pull_json(1, "open", "main");
        fork["head"]["repo"]["full_name"] = json!("octo/app-fork");
        let mut deleted_fork = pull_json(2, "closed", "main");
        deleted_fork["head"]["repo"] = Value::Null;
        deleted_fork["head"]["user"]["login"] = json!("mallory");
        let mut other = pull_json(3, "open", "main");
        other["head"]["ref"] = json!("feature");
        ok(&json!([fork, deleted_fork, other, pull_json(4, "closed", "main")]))
    })
    .await;
    let github = github(&server.url, dir.path());
    let pulls = github.pulls_by_head(&app(), &branch("issue-22")).await.unwrap();
    assert_eq!(pulls.len(), 1);
    assert_eq!((pulls[0].number, pulls[0].open), (4, false));
    for (commit, found) in [("c0ffee4", Some(4)), ("c0ffee1", None), ("c0ffee2", None), ("", None)]
    {
        let pull = github.pull_of_commit(&app(), &branch("issue-22"), commit).await.unwrap();
        assert_eq!(pull.map(|pull| pull.number), found, "{commit}");
    }
}

#[tokio::test]
async fn an_issue_is_opened_and_its_labels_are_those_of_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| reply(201, &[], &issue_json(31))).await;
    let labels = ["blocked".to_owned(), "bug".to_owned()];
    let github = github(&server.url, dir.path());
    let made = github.create_issue(&app(), "One \"two\"", "Text", &labels).await.unwrap();
    assert!(made.number == number(31) && made.has_label("bug") && !made.has_label("blocked"));
    let seen = server.take();
    assert_eq!(seen[0].line, "POST /repos/octo/app/issues");
    assert_eq!(
        seen[0].body,
        json!({ "title": "One \"two\"", "body": "Text", "labels": ["blocked", "bug"] })
    );
}
