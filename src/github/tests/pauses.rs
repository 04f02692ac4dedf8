use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::github::{ErrorKind, LimitKind};

/// Meets a limit with these headers; then asks from a second instance. Returns what was
/// remembered.
async fn meet(
    code: u16,
    headers: &'static [(&str, &str)],
    words: &'static str,
) -> (LimitKind, SignedDuration) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(move |_| reply(code, headers, &json!({ "message": words }))).await;
    let before = Timestamp::now();
    let first = github(&server.url, dir.path());
    let error = first.create_comment(&app(), number(22), "hi").await.unwrap_err();
    let Error::RateLimited { until, kind, .. } = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(server.take().len(), 1);
    // Another process.
    let second = github(&server.url, dir.path());
    let pause = second.cooldown().unwrap();
    assert_eq!((pause.until, pause.kind), (until, kind));
    for error in [
        second.issue(&app(), number(22)).await.unwrap_err(),
        first.open_issues(&app()).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::RateLimited { until: u, .. } if u == until), "{error}");
    }
    assert!(server.take().is_empty());
    assert_eq!(second.usage().requests, 0);
    // Another token is not concerned.
    let other = github_with(&server.url, dir.path(), "another");
    assert!(other.cooldown().is_none() && other.viewer().await.is_err());
    assert_eq!(server.take().len(), 1);
    (kind, until.duration_since(before))
}

#[tokio::test]
async fn the_hourly_limit_pauses_until_its_reset() {
    // The reset is long past, by the clock of this test: the least pause is kept.
    let headers = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000")];
    let (kind, wait) = meet(403, headers, "API rate limit exceeded for user").await;
    assert_eq!(kind, LimitKind::Primary);
    assert!(wait >= SignedDuration::from_secs(60));
    // A reset far away is believed for a day at most.
    let headers = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999")];
    let (kind, wait) = meet(429, headers, "").await;
    assert_eq!(kind, LimitKind::Primary);
    assert!(wait >= SignedDuration::from_hours(24));
}

#[tokio::test]
async fn the_secondary_limit_pauses_as_long_as_it_says_or_a_minute() {
    let words = "You have exceeded a secondary rate limit.";
    let (kind, wait) = meet(403, &[("retry-after", "1800")], words).await;
    assert_eq!(kind, LimitKind::Secondary);
    assert!(wait >= SignedDuration::from_secs(1800));
    let (kind, wait) = meet(429, &[], "").await;
    assert_eq!(kind, LimitKind::Secondary);
    assert!(wait >= SignedDuration::from_secs(60));
    let (kind, _) = meet(403, &[("x-ratelimit-remaining", "4000")], words).await;
    assert_eq!(kind, LimitKind::Secondary);
}

#[tokio::test]
async fn a_403_about_rights_is_no_pause() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        let body = json!({ "message": "Resource not accessible by personal access token" });
        reply(403, &[("x-ratelimit-remaining", "4000")], &body)
    })
    .await;
    let github = github(&server.url, dir.path());
    let error = github.add_label(&app(), number(22), "x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GitHub says 403 for the label x on octo/app#22: Resource not accessible by personal \
         access token"
    );
    assert!(github.cooldown().is_none());
}

#[tokio::test]
async fn a_pause_that_is_over_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| reply(429, &[("retry-after", "60")], &json!({}))).await;
    let github = github(&server.url, dir.path());
    assert!(github.viewer().await.is_err());
    let path = dir.path().join("cooldown.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let entry = file["tokens"].as_object_mut().unwrap().values_mut().next().unwrap();
    entry["until"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&path, file.to_string()).unwrap();
    let later = super::github(&server.url, dir.path());
    assert!(later.cooldown().is_none() && later.viewer().await.is_err());
    assert_eq!(server.take().len(), 2);
}
