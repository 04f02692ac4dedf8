//! The port: takes requests in, lets faults strike, logs, answers.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request as HttpRequest, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Limited;
use serde_json::Value;
use tokio::sync::oneshot;

use super::api::{self, Request};
use super::exchange::Exchange;
use super::fault::{self, Ending, Strike};
use super::reply::Reply;
use super::state::{State, now};
use super::{git_http, lock};

/// GitHub refuses pushes of more than this at once, in bytes.
const MAX_REQUEST: usize = 100 << 20;
const PREFIX: &str = "/api/v3";

/// Serves on a thread with its own runtime, until told to stop.
pub(super) fn spawn(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = async move {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        // An answer that waits for the caller's acknowledgement would be 40 ms late.
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let app = Router::new().fallback(handle).with_state(state);
        tokio::select! {
            _ = axum::serve(listener, app) => {}
            _ = stopped => {}
        }
    };
    // When the thread ends the runtime goes, and with it all connections and children.
    std::thread::Builder::new().name("fakehub".to_owned()).spawn(move || runtime.block_on(serve))
}

/// What is about to be sent.
pub(super) struct Outgoing {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl From<Reply> for Outgoing {
    fn from(reply: Reply) -> Self {
        let mut headers: Vec<(String, String)> =
            reply.headers.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        let body = reply.body.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
        if reply.status != 304 && reply.status != 204 {
            headers.push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
        }
        Self { status: reply.status, headers, body }
    }
}

/// Goes on to the end when the caller has hung up: a server that was told something does it.
async fn handle(Shared(state): Shared<Arc<Mutex<State>>>, request: HttpRequest) -> Response<Body> {
    let handled = tokio::spawn(handled(state, request)).await;
    handled.unwrap_or_else(|e| send(Reply::error(500, &e.to_string()).into()))
}

async fn handled(state: Arc<Mutex<State>>, request: HttpRequest) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
        return send(Reply::error(413, "Payload too large").into());
    };
    let path = parts.uri.path();
    let rest = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    // Beside the rest of the API, not below it.
    let behind = if path == "/api/graphql" { Some("/graphql") } else { rest };
    let request = Request {
        method: parts.method.as_str().to_owned(),
        prefix: if behind.is_some() { PREFIX } else { "" },
        path: behind.unwrap_or(path).to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    let service = if behind.is_some() { None } else { git_http::Service::of(&request) };
    let mut exchange = begun(&request, service.is_none());
    let strike = struck(&state, &mut exchange);
    let mut done = None;
    for _ in 0..strike.applied {
        let (outgoing, login) = if let Some(service) = &service {
            git_http::serve(&state, &request, service).await
        } else {
            let (reply, login) = answered(&mut lock(&state), &request, &strike);
            (Outgoing::from(reply), login)
        };
        exchange.login = login;
        done = Some(outgoing);
    }
    let outgoing = match strike.ending {
        Ending::Answer { status, headers, body } => {
            let reply = Reply { status, headers: Vec::new(), body: Some(body) };
            let mut outgoing = Outgoing::from(reply);
            outgoing.headers.extend(headers);
            Some(outgoing)
        }
        Ending::Dropped => None,
        Ending::Truncated => {
            let outgoing = done.unwrap_or_else(|| Reply::no_content().into());
            return truncated(&state, exchange, outgoing);
        }
        Ending::True => done,
    };
    exchange.status = outgoing.as_ref().map(|o| o.status);
    exchange.response = outgoing.as_ref().and_then(|o| serde_json::from_slice(&o.body).ok());
    lock(&state).exchanges.push(exchange);
    if !strike.wait.is_zero() {
        tokio::time::sleep(strike.wait).await;
    }
    match outgoing {
        Some(outgoing) => send(outgoing),
        None => Response::new(Body::new(Broken { first: None, claimed: 1 })),
    }
}

/// What happens to this exchange: by a rule, or else by chance.
fn struck(state: &Mutex<State>, exchange: &mut Exchange) -> Strike {
    let mut state = lock(state);
    let (method, target) = (&exchange.method, exchange.target());
    let mut strike = fault::strike(&mut state.faults, method, &target);
    if strike.is_none()
        && let Some(weather) = &mut state.weather
        && let Some((kind, by_chance)) = weather.strike(method, exchange.api, now().as_second())
    {
        *state.struck.entry(kind).or_default() += 1;
        exchange.weather = Some(kind);
        strike = Some(by_chance);
    }
    exchange.injected = strike.is_some();
    strike.unwrap_or_default()
}

fn answered(state: &mut State, request: &Request, strike: &Strike) -> (Reply, Option<String>) {
    if strike.lag > 0 && request.method == "GET" {
        api::answer_of_late(state, request, strike.lag)
    } else if strike.repeats && request.method == "GET" {
        api::repeating(state, request)
    } else {
        api::answer(state, request)
    }
}

/// The log's entry for a request that has no answer yet.
fn begun(request: &Request, api: bool) -> Exchange {
    let headers = &request.headers;
    let shown = headers.iter().filter(|(name, _)| *name != "authorization");
    Exchange {
        api,
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: shown
            .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect(),
        login: None,
        request: serde_json::from_slice::<Value>(&request.body).ok(),
        status: None,
        response: None,
        injected: false,
        weather: None,
    }
}

fn truncated(state: &Mutex<State>, mut exchange: Exchange, outgoing: Outgoing) -> Response<Body> {
    exchange.status = Some(outgoing.status);
    lock(state).exchanges.push(exchange);
    let whole = outgoing.body.len() as u64;
    let half = outgoing.body.slice(..outgoing.body.len() / 2);
    let (mut parts, _) = send(outgoing).into_parts();
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::new(Broken { first: Some(half), claimed: whole }))
}

fn send(outgoing: Outgoing) -> Response<Body> {
    let mut headers = HeaderMap::new();
    for (name, value) in outgoing.headers {
        if let (Ok(name), Ok(value)) =
            (name.parse::<axum::http::HeaderName>(), HeaderValue::try_from(value))
        {
            headers.append(name, value);
        }
    }
    let mut response = Response::new(Body::from(outgoing.body));
    *response.status_mut() =
        StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

/// A body that fails. Without a first part it fails before hyper has sent the head, so that the
/// caller gets no byte; with one, the caller gets that and no more.
struct Broken {
    first: Option<Bytes>,
    /// The length that the head promises.
    claimed: u64,
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        let broken = || Poll::Ready(Some(Err(io::Error::other("broken on request"))));
        match self.first.take() {
            Some(first) if first.is_empty() => {
                // Being asked again means that the part before has been sent.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(first) => {
                self.first = Some(Bytes::new());
                Poll::Ready(Some(Ok(http_body::Frame::data(first))))
            }
            None => broken(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.claimed)
    }
}
