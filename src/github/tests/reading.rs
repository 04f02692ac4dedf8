use super::*;
use crate::github::{ErrorKind, Permission};

#[tokio::test]
async fn requests_carry_what_github_wants() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let headers = [
            ("x-oauth-scopes", "repo, workflow"),
            ("github-authentication-token-expiration", "2027-01-01 00:00:00 UTC"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "4990"),
            ("x-ratelimit-reset", "1795245300"),
        ];
        reply(200, &headers, &json!({ "login": "ann" }))
    })
    .await;
    let github = github(&server.url, dir.path());
    let viewer = github.viewer().await.unwrap();
    assert_eq!(viewer.login, "ann");
    assert_eq!(viewer.scopes.unwrap(), ["repo", "workflow"]);
    assert_eq!(viewer.expires.unwrap(), "2027-01-01 00:00:00 UTC");
    let seen = &server.take()[0];
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    assert_eq!(seen.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(seen.header("x-github-api-version"), Some("2022-11-28"));
    assert!(seen.header("user-agent").is_some());
    let usage = github.usage();
    assert_eq!((usage.limit, usage.remaining), (Some(5000), Some(4990)));
    assert_eq!(usage.reset, Some("2026-11-21T07:15:00Z".parse().unwrap()));
}

#[tokio::test]
async fn a_single_issue_is_never_taken_from_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| reply(200, &[("etag", "\"1\"")], &issue_json(22))).await;
    let github = github(&server.url, dir.path());
    for _ in 0..2 {
        let issue = github.issue(&app(), number(22)).await.unwrap();
        assert_eq!((issue.body.as_str(), issue.title.as_str()), ("Please", "Issue 22"));
    }
    let seen = server.take();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|s| s.header("if-none-match").is_none()));
}

#[tokio::test]
async fn what_github_leaves_out_is_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let mut issue = issue_json(22);
        for field in ["body", "user", "pull_request"] {
            issue[field] = Value::Null;
        }
        issue["state"] = json!("closed");
        ok(&issue)
    })
    .await;
    let issue = github(&server.url, dir.path()).issue(&app(), number(22)).await.unwrap();
    assert_eq!((issue.body.as_str(), issue.author.as_str()), ("", "ghost"));
    assert!(!issue.open && !issue.is_pull);
}

#[tokio::test]
async fn what_moved_is_not_followed_but_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| match seen.line.as_str() {
        "GET /repos/octo/app" => reply(301, &[("location", "/repositories/7")], &json!({})),
        "GET /repositories/7" => ok(&repo_json("new/home")),
        "GET /repos/octo/app/issues/22" => {
            let to = format!("http://{}/repositories/9/issues/5", seen.header("host").unwrap());
            reply(301, &[("location", &to)], &json!({ "message": "Moved Permanently" }))
        }
        "GET /repositories/9/issues/5" => {
            let mut issue = issue_json(5);
            issue["repository_url"] = json!("https://h/repos/new/home");
            ok(&issue)
        }
        "GET /repos/octo/app/issues/23" => {
            reply(307, &[("location", "http://elsewhere.example/x")], &json!({}))
        }
        "GET /repos/octo/app/issues/24" => ok(&issue_json(25)),
        "GET /repos/a/b" => ok(&repo_json("c/d")),
        _ => reply(308, &[("location", "/somewhere")], &json!({})),
    })
    .await;
    let github = github(&server.url, dir.path());
    let moved = |error: Error| match error {
        Error::Moved { what, to } => format!("{what} → {to}"),
        other => panic!("{other}"),
    };
    let error = github.repo(&app()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert_eq!(moved(error), "octo/app → new/home");
    let issue = async |n| moved(github.issue(&app(), number(n)).await.unwrap_err());
    assert_eq!(issue(22).await, "octo/app#22 → new/home#5");
    assert_eq!(issue(23).await, "octo/app#23 → http://elsewhere.example/x");
    // Followed by something between us and GitHub.
    assert_eq!(issue(24).await, "octo/app#24 → octo/app#25");
    let error = github.repo(&"a/b".parse().unwrap()).await.unwrap_err();
    assert_eq!(moved(error), "a/b → c/d");
    let error = github.open_issues(&app()).await.unwrap_err();
    assert_eq!(moved(error), "the open issues of octo/app → /somewhere");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| match seen.line.as_str() {
        "GET /repos/octo/app/issues/1" => status(410, "This issue was deleted"),
        _ => status(404, "Not Found"),
    })
    .await;
    let github = github(&server.url, dir.path());
    let gone = github.issue(&app(), number(1)).await.unwrap_err();
    assert!(matches!(&gone, Error::Gone { what } if what == "octo/app#1"), "{gone}");
    let missing = github.issue(&app(), number(2)).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        "GitHub says 404 for octo/app#2: it is not there, or this token may not see it"
    );
    assert!(missing.hint().unwrap().contains("token"));
}

#[tokio::test]
async fn only_admin_and_write_may_ask_for_work() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| {
        let word = seen.line.split('/').nth(5).unwrap();
        match word {
            "nobody" | "dependabot%5Bbot%5D" => status(404, "is not a user"),
            "unseen" => status(403, "Must have push access to view collaborator permission."),
            word => ok(&json!({ "permission": word, "role_name": "custom", "user": null })),
        }
    })
    .await;
    let github = github(&server.url, dir.path());
    let of = async |login| github.permission(&app(), login).await.unwrap();
    assert_eq!(of("admin").await, Permission::Admin);
    assert_eq!(of("write").await, Permission::Write);
    assert_eq!(of("read").await, Permission::Read);
    for nothing in ["none", "nobody", "dependabot[bot]", "new-word", ""] {
        assert_eq!(of(nothing).await, Permission::None, "{nothing}");
    }
    assert!(of("write").await.may_write() && of("admin").await.may_write());
    assert!(!of("read").await.may_write() && !of("none").await.may_write());
    let error = github.permission(&app(), "unseen").await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn the_last_one_to_label_is_found_over_all_pages() {
    let dir = tempfile::tempdir().unwrap();
    let event = |what: &str, who: Option<&str>, label: &str, minute: u32| {
        json!({
            "event": what, "actor": who.map(|w| json!({ "login": w })),
            "label": { "name": label, "color": "fff" },
            "created_at": format!("2026-11-21T10:{minute:02}:00Z"),
        })
    };
    let first = json!([
        event("labeled", Some("writer"), "approved", 1),
        { "event": "closed", "actor": { "login": "x" }, "created_at": "2026-11-21T10:02:00Z" },
        event("unlabeled", Some("triager"), "approved", 3),
        event("labeled", Some("writer"), "once", 4),
    ]);
    let second = json!([
        event("labeled", Some("triager"), "Approved", 5),
        event("labeled", None, "by-ghost", 6),
        event("unlabeled", Some("x"), "once", 7),
        event("labeled", Some("late"), "same-second", 8),
        event("unlabeled", Some("late"), "same-second", 8),
    ]);
    let server = Server::start(move |seen| match seen.line.as_str() {
        "GET /repos/octo/app/issues/22/events?per_page=100" => {
            reply(200, &[("link", "</more?page=2>; rel=\"next\"")], &first)
        }
        _ => ok(&second),
    })
    .await;
    let github = github(&server.url, dir.path());
    let who = async |label| github.who_labelled(&app(), number(22), label).await.unwrap();
    let labelled = who("approved").await.unwrap();
    assert_eq!(
        (labelled.by.as_str(), labelled.at),
        ("triager", "2026-11-21T10:05:00Z".parse().unwrap())
    );
    for off in ["once", "never", "by-ghost", "same-second"] {
        assert_eq!(who(off).await, None, "{off}");
    }
}

#[tokio::test]
async fn comments_come_from_all_pages() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| {
        let page2 = seen.line.ends_with("page=2");
        let comment = json!({
            "id": if page2 { 2 } else { 1 }, "body": if page2 { Value::Null } else { json!("hi") },
            "user": if page2 { Value::Null } else { json!({ "login": "b[bot]", "type": "Bot" }) },
            "created_at": "2026-11-21T10:00:00Z", "html_url": "https://h/c",
        });
        let link = if page2 { "" } else { "</c?page=2>; rel=\"next\"" };
        reply(200, &[("link", link)], &json!([comment]))
    })
    .await;
    let comments =
        github(&server.url, dir.path()).comments(&app(), number(22), None).await.unwrap();
    assert_eq!(comments.len(), 2);
    assert!(comments[0].is_bot && comments[0].body == "hi" && comments[0].author == "b[bot]");
    assert!(!comments[1].is_bot && comments[1].body.is_empty() && comments[1].author == "ghost");
}

#[tokio::test]
async fn the_issues_of_somebody_are_theirs_and_no_pull_requests() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let (mut pull, mut other) = (issue_json(2), issue_json(3));
        pull["pull_request"] = json!({});
        other["user"]["login"] = json!("mallory");
        ok(&json!([issue_json(1), pull, other]))
    })
    .await;
    let since = "2026-11-21T07:15:00.25Z".parse().unwrap();
    let found = github(&server.url, dir.path()).issues_by(&app(), "Ann", since).await.unwrap();
    assert_eq!(found.iter().map(|i| i.number.get()).collect::<Vec<_>>(), [1]);
    assert_eq!(found[0].body, "Please");
    assert_eq!(
        server.lines(),
        [
            "GET /repos/octo/app/issues?state=all&creator=Ann&since=2026-11-21T07:15:00Z&per_page=100"
        ]
    );
}
