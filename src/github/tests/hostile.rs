use super::*;
use crate::github::ErrorKind;

#[tokio::test]
async fn a_next_page_on_another_server_is_never_asked() {
    let dir = tempfile::tempdir().unwrap();
    let evil = Server::start(|_| ok(&json!([]))).await;
    let link = format!("<{}/issues?page=2>; rel=\"next\"", evil.url);
    let server =
        Server::start(move |_| reply(200, &[("link", &link), ("etag", "\"1\"")], &json!([]))).await;
    let github = github(&server.url, dir.path());
    for error in [
        github.open_issues(&app()).await.unwrap_err(),
        github.comments(&app(), number(22), None).await.unwrap_err(),
        github.my_repos(false).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
        assert!(error.to_string().contains("another server"), "{error}");
    }
    assert!(evil.take().is_empty());
}

#[tokio::test]
async fn pages_without_an_end_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start(|_| reply(200, &[("link", "</c?page=2>; rel=\"next\"")], &json!([]))).await;
    let github = github(&server.url, dir.path());
    let error = github.comments(&app(), number(22), None).await.unwrap_err();
    assert!(error.to_string().contains("more than 500 pages"), "{error}");
    assert!(github.open_issues(&app()).await.is_err());
}

#[tokio::test]
async fn a_truncated_answer_is_an_error_and_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let url =
        raw_server(b"HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 1000\r\n\r\n[{\"number\":")
            .await;
    let error = github(&url, dir.path()).open_issues(&app()).await.unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    // Without a length, only the JSON tells.
    let url = raw_server(b"HTTP/1.1 200 OK\r\netag: \"1\"\r\n\r\n[{\"number\":").await;
    let error = github(&url, dir.path()).open_issues(&app()).await.unwrap_err();
    assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
    assert!(!dir.path().join("cache").exists());
}

#[tokio::test]
async fn a_304_that_was_not_asked_for_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| reply(304, &[], &Value::Null)).await;
    let error = github(&server.url, dir.path()).open_issues(&app()).await.unwrap_err();
    assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_connection_names_server_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let url = raw_server(b"").await;
    let github = github(&url, dir.path());
    let error = github.issue(&app(), number(22)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let text = error.to_string();
    assert!(text.starts_with(&format!("no answer from GitHub at {url} for octo/app#22: ")));
    assert!(text.contains("closed") || text.contains("reset"), "{text}");
    assert!(!text.contains("Service Error"), "{text}");
    assert_eq!(github.usage().items.len(), 3);
    assert_eq!(github.usage().items[0].status, None);
    // A write is not repeated.
    github.create_comment(&app(), number(22), "hi").await.unwrap_err();
    assert_eq!(github.usage().requests, 4);
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = github(&format!("http://{port}"), dir.path()).viewer().await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(error.hint().unwrap().contains("network"));
}

#[tokio::test]
async fn hostile_words_are_one_harmless_line() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start(|_| status(403, "no\u{1b}[2J\r\nerror: \u{202e}all is lost\u{0} now")).await;
    let error = github(&server.url, dir.path()).viewer().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GitHub says 403 for the token's user: no[2J error: all is lost now"
    );
}

#[tokio::test]
async fn answers_that_are_no_json_are_told_by_their_status() {
    let dir = tempfile::tempdir().unwrap();
    for (code, kind) in
        [(200, ErrorKind::Broken), (403, ErrorKind::Access), (503, ErrorKind::Unreachable)]
    {
        let server = Server::start(move |_| {
            Response::builder().status(code).body(Body::from("<html>")).unwrap()
        })
        .await;
        let error = github(&server.url, dir.path()).viewer().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn the_token_is_in_no_message_debug_output_or_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|seen| {
        let echo = seen.header("authorization").unwrap_or_default();
        let split: String = echo.chars().flat_map(|c| [c, '\u{200b}']).collect();
        let error = json!({ "code": echo, "message": split });
        reply(422, &[], &json!({ "message": echo, "errors": [error] }))
    })
    .await;
    let settings = Settings {
        api_url: server.url.clone(),
        token: Some(TOKEN.to_owned().into()),
        state_dir: dir.path().to_owned(),
    };
    let mut shown = vec![format!("{settings:?} {settings:#?}")];
    let github = GitHub::new(settings).unwrap();
    for error in [
        github.viewer().await.unwrap_err(),
        github.create_comment(&app(), number(1), "x").await.unwrap_err(),
    ] {
        shown.push(format!("{error} {error:?} {:?}", error.hint()));
    }
    shown.push(format!("{github:?} {:?}", github.usage()));
    let shown = shown.join(" ");
    assert!(shown.contains("[token]"), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");

    let limited =
        Server::start(|seen| reply(429, &[], &json!({ "message": seen.header("authorization") })))
            .await;
    super::github(&limited.url, dir.path()).viewer().await.unwrap_err();
    let kept = std::fs::read_to_string(dir.path().join("cooldown.json")).unwrap();
    assert!(kept.contains("[token]") && !kept.contains(TOKEN), "{kept}");
}

#[tokio::test]
async fn without_a_usable_token_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| ok(&json!({ "login": "x" }))).await;
    for token in ["", "two\nlines", "sp ace", "ü"] {
        let github = github_with(&server.url, dir.path(), token);
        let error = github.viewer().await.unwrap_err();
        assert!(matches!(error, Error::NoToken { .. }), "{error}");
        assert!(error.hint().unwrap().contains("GH_TOKEN"));
    }
    assert!(server.take().is_empty());
}
