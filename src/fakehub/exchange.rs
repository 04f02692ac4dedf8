//! The log of everything that was asked and answered.

use serde_json::Value;

use super::weather::Trouble;

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Whether this was REST; else it was git.
    pub api: bool,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as sent, percent-encoded, without the API's prefix.
    pub path: String,
    /// The query as sent, percent-encoded; empty if none.
    pub query: String,
    /// The request's headers in lower case, without `authorization`.
    pub headers: Vec<(String, String)>,
    /// Whose token it was.
    pub login: Option<String>,
    /// The request's body, if it was JSON.
    pub request: Option<Value>,
    /// What was answered, whether or not anybody waited for it; `None` if the connection was dropped
    /// instead.
    pub status: Option<u16>,
    /// The answer's body, if it was JSON.
    pub response: Option<Value>,
    /// Whether the answer (or the lack of one) was injected.
    pub injected: bool,
    /// What the weather did to it.
    pub weather: Option<Trouble>,
}

impl Exchange {
    /// `/repos/octo/app/issues?page=2`.
    #[must_use]
    pub fn target(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", self.path, self.query)
    }

    /// `GET /repos/octo/app/issues?page=2`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target())
    }

    /// A header of the request, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}
