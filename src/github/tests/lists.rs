use super::*;

/// Three pages of issues, each with an `ETag` that changes with `version(page)`.
async fn three_pages(version: impl Fn(u32) -> u32 + Send + Sync + 'static) -> Server {
    Server::start(move |seen| {
        let page = match seen.line.split("page=").last() {
            Some("2") => 2,
            Some("3") => 3,
            _ => 1,
        };
        let etag = format!("W/\"{page}-{}\"", version(page));
        if seen.header("if-none-match") == Some(etag.as_str()) {
            return reply(304, &[("etag", &etag)], &Value::Null);
        }
        let host = seen.header("host").unwrap();
        let next =
            format!("<http://{host}/repositories/7/issues?a=1,2&page={}>; rel=\"next\"", page + 1);
        let last = format!("<http://{host}/repositories/7/issues?page=1>; rel=\"first\"");
        let mut pull = issue_json(u64::from(page) * 10 + 1);
        pull["pull_request"] = json!({ "url": "x" });
        let items = json!([issue_json(u64::from(page) * 10), pull]);
        let link = if page < 3 { next } else { last };
        reply(200, &[("etag", &etag), ("link", &link)], &items)
    })
    .await
}

const FIRST: &str =
    "GET /repos/octo/app/issues?state=open&sort=updated&direction=desc&per_page=100";

#[tokio::test]
async fn all_pages_are_read_without_pull_requests_and_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let server = three_pages(|_| 1).await;
    let github = github(&server.url, dir.path());
    let issues = github.open_issues(&app()).await.unwrap();
    assert_eq!(issues.iter().map(|i| i.number.get()).collect::<Vec<_>>(), [10, 20, 30]);
    let first = &issues[0];
    assert_eq!((first.repo.as_str(), first.author.as_str()), ("octo/app", "ann"));
    assert!(first.open && !first.is_pull && first.body.is_empty());
    assert!(first.has_label("BUG") && first.has_label("old-style"));
    assert_eq!(
        server.lines(),
        [
            FIRST,
            "GET /repositories/7/issues?a=1,2&page=2",
            "GET /repositories/7/issues?a=1,2&page=3"
        ]
    );
}

#[tokio::test]
async fn an_unchanged_list_costs_one_304_and_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = three_pages(|_| 1).await;
    let before = github(&server.url, dir.path()).open_issues(&app()).await.unwrap();
    server.take();
    // A new process.
    let github = github(&server.url, dir.path());
    assert_eq!(github.open_issues(&app()).await.unwrap(), before);
    assert_eq!(server.lines(), [FIRST]);
    let usage = github.usage();
    assert_eq!((usage.requests, usage.not_modified), (1, 1));
    assert_eq!(usage.items[0].what, "GET /repos/octo/app/issues");
    assert_eq!(usage.items[0].status, Some(304));
}

#[tokio::test]
async fn a_change_on_the_first_page_asks_for_each_page_conditionally() {
    let dir = tempfile::tempdir().unwrap();
    let version = Arc::new(Mutex::new(1));
    let shared = Arc::clone(&version);
    let server = three_pages(move |page| if page == 1 { *shared.lock().unwrap() } else { 1 }).await;
    let github = github(&server.url, dir.path());
    github.open_issues(&app()).await.unwrap();
    *version.lock().unwrap() = 2;
    let issues = github.open_issues(&app()).await.unwrap();
    assert_eq!(issues.len(), 3);
    let usage = github.usage();
    assert_eq!((usage.requests, usage.not_modified), (6, 2));
    assert_eq!(usage.items[4].what, "GET /repositories/7/issues (page 2)");
}

#[tokio::test]
async fn forgotten_lists_are_asked_for_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let version = Arc::new(Mutex::new(1));
    let shared = Arc::clone(&version);
    let server = three_pages(move |page| if page == 3 { *shared.lock().unwrap() } else { 1 }).await;
    let github = github(&server.url, dir.path());
    github.forget_lists(Some(&app())).unwrap();
    github.open_issues(&app()).await.unwrap();
    // What leaves the list from a later page does not touch the first.
    *version.lock().unwrap() = 2;
    github.open_issues(&app()).await.unwrap();
    assert_eq!(github.usage().requests, 4);
    github.forget_lists(Some(&app())).unwrap();
    github.open_issues(&app()).await.unwrap();
    let statuses: Vec<_> = github.usage().items[4..].iter().map(|i| i.status).collect();
    assert_eq!(statuses, [Some(200), Some(304), Some(200)]);
    github.forget_lists(None).unwrap();
    github.open_issues(&app()).await.unwrap();
    assert_eq!(github.usage().not_modified, 2);
}

#[tokio::test]
async fn a_list_that_broke_off_is_not_taken_for_unchanged_later() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(Mutex::new(true));
    let shared = Arc::clone(&broken);
    let server = Server::start(move |seen| {
        if seen.line.ends_with("page=2") {
            if *shared.lock().unwrap() {
                return status(404, "Not Found");
            }
            return ok(&json!([issue_json(2)]));
        }
        if seen.header("if-none-match").is_some() {
            return reply(304, &[], &Value::Null);
        }
        let headers = [("etag", "\"1\""), ("link", "</issues?page=2>; rel=\"next\"")];
        reply(200, &headers, &json!([issue_json(1)]))
    })
    .await;
    let github = github(&server.url, dir.path());
    assert!(github.visible_open_issues().await.is_err());
    *broken.lock().unwrap() = false;
    assert_eq!(github.visible_open_issues().await.unwrap().len(), 2);
    assert_eq!(github.usage().not_modified, 0);
}

#[tokio::test]
async fn each_token_has_its_own_lists() {
    let dir = tempfile::tempdir().unwrap();
    let server = three_pages(|_| 1).await;
    github(&server.url, dir.path()).open_issues(&app()).await.unwrap();
    server.take();
    github_with(&server.url, dir.path(), "another").open_issues(&app()).await.unwrap();
    let seen = server.take();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|s| s.header("if-none-match").is_none()));
}

#[tokio::test]
async fn damaged_cache_files_are_as_good_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = three_pages(|_| 1).await;
    let github = github(&server.url, dir.path());
    let before = github.open_issues(&app()).await.unwrap();
    let shelf = std::fs::read_dir(dir.path().join("cache")).unwrap().next().unwrap().unwrap();
    let files: Vec<_> = std::fs::read_dir(shelf.path()).unwrap().map(|f| f.unwrap()).collect();
    assert_eq!(files.len(), 3);
    for file in files {
        std::fs::write(file.path(), "{\"version\":1,").unwrap();
    }
    assert_eq!(github.open_issues(&app()).await.unwrap(), before);
    assert_eq!(github.usage().not_modified, 0);
}

#[tokio::test]
async fn issues_across_repositories_name_their_repository() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let mut one = issue_json(1);
        one["repository"] = json!({ "full_name": "Octo/Other", "id": 2 });
        let mut unnameable = issue_json(3);
        unnameable["repository"] = json!({ "full_name": "octo/-x" });
        reply(200, &[("etag", "\"1\"")], &json!([one, issue_json(1), issue_json(1), unnameable]))
    })
    .await;
    let github = github(&server.url, dir.path());
    let names = |issues: Vec<crate::domain::Issue>| {
        issues.iter().map(|i| format!("{}#{}", i.repo, i.number)).collect::<Vec<_>>()
    };
    let issues = github.visible_open_issues().await.unwrap();
    assert_eq!(names(issues), ["octo/other#1", "octo/app#1"]);
    assert_eq!(
        server.lines(),
        ["GET /issues?filter=all&state=open&sort=updated&direction=desc&per_page=100"]
    );
}

#[tokio::test]
async fn a_token_that_cannot_list_across_repositories_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (code, apart) in [(403, true), (404, true), (405, true), (401, false), (500, false)] {
        let server = Server::start(move |_| status(code, "Resource not accessible")).await;
        let error = github(&server.url, dir.path()).visible_open_issues().await.unwrap_err();
        assert_eq!(error.is_not_available(), apart, "{error}");
    }
}

#[tokio::test]
async fn every_page_of_the_repositories_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| {
        let second = seen.line.ends_with("page=2");
        let etag = if second { "\"b\"" } else { "\"a\"" };
        if seen.header("if-none-match") == Some(etag) {
            return reply(304, &[], &Value::Null);
        }
        let mut other = repo_json("octo/two");
        other["id"] = json!(8);
        other["permissions"]["push"] = json!(false);
        let items = if second { json!([other]) } else { json!([repo_json("Octo/App")]) };
        let link = if second { "" } else { "</api/v3/user/repos?page=2>; rel=\"next\"" };
        reply(200, &[("etag", etag), ("link", link)], &items)
    })
    .await;
    let github = github(&format!("{}/api/v3/", server.url), dir.path());
    let repos = github.my_repos(false).await.unwrap();
    assert_eq!(repos[0].slug, app());
    assert_eq!((repos[0].may_push, repos[0].may_label), (true, true));
    assert_eq!((repos[1].may_push, repos[1].may_label), (false, true));
    assert_eq!(github.my_repos(false).await.unwrap(), repos);
    assert_eq!(github.usage().not_modified, 2);
    assert_eq!(
        server.lines()[..2],
        [
            "GET /api/v3/user/repos?affiliation=owner,collaborator,organization_member&per_page=100",
            "GET /api/v3/user/repos?page=2"
        ]
    );
    assert_eq!(github.usage().items[1].what, "GET /user/repos (page 2)");
}
