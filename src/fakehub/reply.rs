//! Answers as GitHub words them.

use serde_json::{Value, json};

const DOCS: &str = "https://docs.github.com/rest";

/// What one REST request is answered with, before the headers that every answer has.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
}

/// Refusals travel as the error, so that handlers can use `?`; both sides are sent alike.
pub(super) type Answer = Result<Reply, Reply>;

impl Reply {
    fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub(super) fn created(body: Value) -> Self {
        let location = body["url"].as_str().map(str::to_owned);
        let reply = Self::new(201, body);
        match location {
            Some(url) => reply.with("location", url),
            None => reply,
        }
    }

    pub(super) fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: None }
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        let status_text = status.to_string();
        Self::new(
            status,
            json!({"message": message, "documentation_url": DOCS, "status": status_text}),
        )
    }

    pub(super) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    /// A repository or an issue that lives elsewhere now.
    pub(super) fn moved(location: String) -> Self {
        let body =
            json!({"message": "Moved Permanently", "url": location, "documentation_url": DOCS});
        Self::new(301, body).with("location", location)
    }

    /// `Validation Failed` with one entry in `errors`.
    pub(super) fn invalid(error: Value) -> Self {
        let mut reply = Self::error(422, "Validation Failed");
        if let Some(Value::Object(body)) = &mut reply.body {
            body.insert("errors".to_owned(), Value::Array(vec![error]));
        }
        reply
    }

    /// `Validation Failed` because of one field; `code` is one of GitHub's (`missing_field`,
    /// `already_exists`, `invalid`).
    pub(super) fn invalid_field(resource: &str, field: &str, code: &str) -> Self {
        Self::invalid(json!({"resource": resource, "field": field, "code": code}))
    }

    /// `Validation Failed` with GitHub's own sentence.
    pub(super) fn invalid_because(resource: &str, field: &str, message: &str) -> Self {
        Self::invalid(
            json!({"resource": resource, "field": field, "code": "custom", "message": message}),
        )
    }

    /// What GitHub has and this does not. Never silently left out, so that a test cannot pass
    /// because the fake ignored what it was asked.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::error(501, &format!("the embedded GitHub does not know {what}"))
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}
