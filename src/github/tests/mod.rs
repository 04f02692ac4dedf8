//! The room against a scripted server on loopback.

mod hostile;
mod lists;
mod pauses;
mod reading;
mod writing;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Error, GitHub, Settings};
use crate::domain::{BranchName, IssueNumber, RepoSlug};

const TOKEN: &str = "ghp_aVerySecretToken0123456789";

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    /// Method, path and query.
    line: String,
    headers: http::HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

type Script = Arc<dyn Fn(&Seen) -> Response + Send + Sync>;

#[derive(Clone)]
struct Server {
    url: String,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers every request by `script`, until the test's runtime ends.
    async fn start(script: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, script: Arc::new(script), seen: Arc::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        server
    }

    /// Method, path and query of the requests since the last call.
    fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|s| s.line).collect()
    }

    /// The requests since the last call.
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let seen = Seen {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    server.seen.lock().unwrap().push(seen.clone());
    (server.script)(&seen)
}

/// A server below HTTP: sends `bytes` for every request and hangs up.
async fn raw_server(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(bytes).await;
        }
    });
    url
}

fn reply(status: u16, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_string())).unwrap()
}

fn ok(body: &Value) -> Response {
    reply(200, &[], body)
}

fn status(status: u16, message: &str) -> Response {
    reply(status, &[], &json!({ "message": message, "documentation_url": "https://docs" }))
}

fn github_with(url: &str, state_dir: &Path, token: &str) -> GitHub {
    let settings = Settings {
        api_url: url.to_owned(),
        token: Some(token.to_owned().into()),
        state_dir: state_dir.to_owned(),
    };
    let mut github = GitHub::new(settings).unwrap();
    github.pause = || Duration::ZERO;
    github
}

fn github(url: &str, state_dir: &Path) -> GitHub {
    github_with(url, state_dir, TOKEN)
}

fn app() -> RepoSlug {
    "octo/app".parse().unwrap()
}

fn number(n: u64) -> IssueNumber {
    n.try_into().unwrap()
}

fn branch(name: &str) -> BranchName {
    name.parse().unwrap()
}

fn issue_json(n: u64) -> Value {
    json!({
        "number": n, "title": format!("Issue {n}"), "body": "Please", "state": "open",
        "user": { "login": "ann", "type": "User", "id": 1 },
        "labels": [{ "id": 1, "name": "bug", "color": "fff" }, "old-style"],
        "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-21T10:00:00Z",
        "locked": false, "comments": 3,
        "repository_url": "https://api.github.com/repos/Octo/App",
    })
}

fn repo_json(name: &str) -> Value {
    json!({
        "id": 7, "full_name": name, "default_branch": "trunk", "private": true,
        "archived": false, "disabled": false, "has_issues": true, "open_issues_count": 4,
        "permissions": {
            "admin": false, "maintain": false, "push": true, "triage": true, "pull": true
        },
    })
}
