//! One question and its answer: sent through octocrab, repeated if that is safe, and every status
//! that is not a success turned into an [`Error`].
//!
//! octocrab is built without its retry layer (it repeats writes) and without its redirect layer
//! (it would follow a moved repository unasked). It gets whole addresses and no base path, because
//! it would put the base path in front of a next-page link that has none.

use std::error::Error as StdError;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    LOCATION,
};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use octocrab::{OctoBody, Octocrab};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

use super::pace::Weight;
use super::{Error, GitHub, limits, wire};
use crate::domain::text::one_line;
use crate::failpoint::{Effect, Trouble, endpoint};

const CONNECT: Duration = Duration::from_secs(10);
/// For each read and write on the connection.
const SILENCE: Duration = Duration::from_secs(30);
/// For one request from beginning to end: a server that drips must not hold us for ever.
const WHOLE: Duration = Duration::from_mins(2);
/// A hundred issues with bodies of the largest size are a tenth of this.
const LARGEST_BODY: usize = 64 * 1024 * 1024;
/// How often a read is sent at most.
const TRIES: u32 = 3;
const API_VERSION: &str = "2022-11-28";

/// A question.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    url: String,
    /// What it is about, for messages.
    pub(super) what: String,
    body: Option<serde_json::Value>,
    etag: Option<HeaderValue>,
    /// Nothing: it is a read, and waits for no turn.
    weight: Option<Weight>,
}

impl Ask {
    /// A read of the whole address `url`.
    pub(super) fn get(url: impl Into<String>, what: impl AsRef<str>) -> Self {
        Self {
            method: Method::GET,
            url: url.into(),
            what: one_line(what.as_ref(), 200),
            body: None,
            etag: None,
            weight: None,
        }
    }

    /// A read that is answered 304 if `etag` is still current.
    pub(super) fn unless(mut self, etag: Option<&str>) -> Self {
        self.etag = etag.and_then(|e| HeaderValue::from_str(e).ok());
        self
    }

    /// A change of the whole address `url`.
    pub(super) fn write(
        method: Method,
        url: String,
        what: impl AsRef<str>,
        body: Option<serde_json::Value>,
    ) -> Self {
        Self { method, body, weight: Some(Weight::Change), ..Self::get(url, what) }
    }

    /// Something new at the whole address `url` that people are told of.
    pub(super) fn create(url: String, what: impl AsRef<str>, body: serde_json::Value) -> Self {
        Self { weight: Some(Weight::Content), ..Self::write(Method::POST, url, what, Some(body)) }
    }

    /// A read whose question is too long for an address.
    pub(super) fn question(url: String, what: impl AsRef<str>, body: serde_json::Value) -> Self {
        Self { weight: None, ..Self::write(Method::POST, url, what, Some(body)) }
    }
}

/// A success, or 304.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_redirect(&self) -> bool {
        self.status.is_redirection() && self.status != StatusCode::NOT_MODIFIED
    }
}

impl GitHub {
    /// The whole address of a path of the API.
    pub(super) fn url(&self, path: &str) -> String {
        self.address.join(path)
    }

    /// Asks, and returns the answer if it is a success or 304.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Answer, Error> {
        let answer = self.exchange(ask).await?;
        self.success(ask, answer).await
    }

    /// Asks, and parses the answer.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Error> {
        let answer = self.send(ask).await?;
        self.parse(ask, &answer)
    }

    /// Asks for something that may have moved; if so, the error names the new place.
    pub(super) async fn fetch_named<T: DeserializeOwned + wire::Named>(
        &self,
        ask: &Ask,
    ) -> Result<T, Error> {
        let answer = self.exchange(ask).await?;
        if answer.is_redirect()
            && let Some(location) = answer.header(LOCATION.as_str())
            && let Some(url) = self.address.same_origin(location)
            && let Ok(found) = self.fetch::<T>(&Ask::get(url, &ask.what)).await
        {
            return Err(Error::Moved {
                what: ask.what.clone(),
                to: self.safe(&found.place(), 200),
            });
        }
        let answer = self.success(ask, answer).await?;
        self.parse(ask, &answer)
    }

    pub(super) fn parse<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        answer: &Answer,
    ) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|e| self.bad_answer(&ask.what, &e.to_string()))
    }

    pub(super) fn bad_answer(&self, what: &str, why: &str) -> Error {
        Error::BadAnswer { what: what.to_owned(), why: self.safe(why, 300) }
    }

    /// Text from outside as one harmless line. The token is taken out, should a server echo it.
    pub(super) fn safe(&self, text: &str, max: usize) -> String {
        match self.token.as_ref().map(ExposeSecret::expose_secret) {
            Some(token) if !token.is_empty() => {
                one_line(&one_line(text, usize::MAX - 1).replace(token, "[token]"), max)
            }
            _ => one_line(text, max),
        }
    }

    /// Sends, and sends again where that is harmless and may help.
    async fn exchange(&self, ask: &Ask) -> Result<Answer, Error> {
        let mut left = if ask.method == Method::GET { TRIES } else { 1 };
        if let Some(weight) = ask.weight {
            // What is not sent takes no turn.
            self.not_paused()?;
            self.usage.waited(self.pace.turn(weight).await);
        }
        loop {
            self.not_paused()?;
            left -= 1;
            let outcome = self.once(ask).await;
            let failed = match &outcome {
                Ok(answer) => answer.status.is_server_error(),
                Err(error) => matches!(error, Error::Network { .. }),
            };
            if !failed || left == 0 {
                return outcome;
            }
            tokio::time::sleep((self.pause)()).await;
        }
    }

    fn not_paused(&self) -> Result<(), Error> {
        match self.cooldown() {
            None => Ok(()),
            Some(limits::Cooldown { until, kind, why, .. }) => {
                Err(Error::RateLimited { until, kind, why })
            }
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Answer, Error> {
        let request = self.request(ask)?;
        let client = self.client()?;
        let effect = Effect::new(Trouble::Network, || {
            format!("{} {}", ask.method, endpoint(&self.address.shorten(&ask.url)))
        });
        let exchange = async {
            effect.before().map_err(|e| e.to_string())?;
            let response = client.execute(request).await.map_err(|e| chain(&e))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_BODY).collect().await;
            let body = body.map_err(|e| chain(e.as_ref()))?.to_bytes();
            effect.after().map_err(|e| e.to_string())?;
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        let late = |_| Err(format!("it took longer than {} seconds", WHOLE.as_secs()));
        match tokio::time::timeout(WHOLE, exchange).await.unwrap_or_else(late) {
            Ok(answer) => {
                self.usage.answered(self.label(ask), answer.status, &answer.headers);
                Ok(answer)
            }
            Err(why) => {
                self.usage.unanswered(self.label(ask));
                Err(Error::Network {
                    what: ask.what.clone(),
                    server: self.address.origin.clone(),
                    why: self.safe(&why, 400),
                })
            }
        }
    }

    /// Method, path and page, for the list of what was sent.
    fn label(&self, ask: &Ask) -> String {
        let path = self.address.shorten(&ask.url);
        let page = ask.url.split(['?', '&']).find_map(|p| p.strip_prefix("page="));
        let page = page.map_or_else(String::new, |n| format!(" (page {n})"));
        self.safe(&format!("{} {path}{page}", ask.method), 200)
    }

    fn request(&self, ask: &Ask) -> Result<http::Request<OctoBody>, Error> {
        let broken = |e: http::Error| self.bad_answer(&ask.what, &e.to_string());
        let mut builder = http::Request::builder()
            .method(&ask.method)
            .uri(&ask.url)
            .header(AUTHORIZATION, self.authorization()?)
            .header(ACCEPT, "application/vnd.github+json")
            .header(HeaderName::from_static("x-github-api-version"), API_VERSION);
        if let Some(etag) = &ask.etag {
            builder = builder.header(IF_NONE_MATCH, etag);
        }
        match &ask.body {
            Some(body) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(OctoBody::from(body.to_string()))
                .map_err(broken),
            None => builder.body(OctoBody::empty()).map_err(broken),
        }
    }

    fn authorization(&self) -> Result<HeaderValue, Error> {
        let token = self.token.as_ref().map_or("", |t| t.expose_secret());
        if token.is_empty() {
            return Err(Error::NoToken { why: "none is set" });
        }
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::NoToken { why: "it holds characters that no token has" });
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Error::NoToken { why: "it holds characters that no token has" })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn client(&self) -> Result<Octocrab, Error> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_ref() {
            return Ok(client.clone());
        }
        let origin = &self.address.origin;
        let failed = |e: octocrab::Error| Error::Client {
            url: origin.clone(),
            why: self.safe(&chain(&e), 400),
        };
        let builder = Octocrab::builder()
            .set_connect_timeout(Some(CONNECT))
            .set_read_timeout(Some(SILENCE))
            .set_write_timeout(Some(SILENCE))
            .base_uri(origin.as_str())
            .map_err(failed)?;
        let client = builder.build().map_err(failed)?;
        Ok(slot.insert(client).clone())
    }

    async fn success(&self, ask: &Ask, answer: Answer) -> Result<Answer, Error> {
        let asked_whether_changed = ask.etag.is_some();
        match answer.status {
            StatusCode::NOT_MODIFIED if asked_whether_changed => Ok(answer),
            s if s.is_success() => Ok(answer),
            _ => Err(self.refusal(ask, &answer).await),
        }
    }

    async fn refusal(&self, ask: &Ask, answer: &Answer) -> Error {
        let what = ask.what.clone();
        let said = serde_json::from_slice::<wire::Refusal>(&answer.body).unwrap_or_default();
        let message = match self.safe(&said.text(), 500) {
            text if text.is_empty() => "it gives no reason".to_owned(),
            text => text,
        };
        if let Some(kind) = limits::recognise(answer.status, &answer.headers, &message) {
            let met = self.limits.meet(Timestamp::now(), kind, &answer.headers, message);
            let met = met.await;
            return Error::RateLimited { until: met.until, kind: met.kind, why: met.why };
        }
        if answer.is_redirect() {
            let to = answer.header(LOCATION.as_str()).unwrap_or("a place it does not name");
            return Error::Moved { what, to: self.safe(to, 200) };
        }
        match answer.status.as_u16() {
            401 => Error::Unauthorized { what, message },
            403 => Error::Forbidden { what, message },
            404 => Error::NotFound { what },
            410 => Error::Gone { what },
            422 => {
                let codes = said.codes().map(|c| self.safe(c, 60)).collect();
                Error::Unprocessable { what, message, codes }
            }
            status @ 400..=499 => Error::Refused { what, status, message },
            status @ 500..=599 => Error::Server { what, status },
            status => self.bad_answer(&what, &format!("its status is {status}")),
        }
    }
}

/// An error with its causes, each said once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Some errors repeat their cause at the end of their own text: keep the last mention.
        if let Some(last) = texts.last_mut()
            && last.ends_with(&text)
        {
            let kept = last.len() - text.len();
            last.truncate(kept);
            let trimmed = last.trim_end_matches([' ', ':']).len();
            last.truncate(trimmed);
        }
        texts.push(text);
        next = error.source();
    }
    // octocrab's names for the places in it where an error came up.
    texts.retain(|t| !matches!(t.as_str(), "" | "Service Error" | "Hyper Error" | "Other"));
    texts.join(": ")
}
