//! A scripted model on loopback: enough of Anthropic's API for the real Claude Code to work against
//! it.
//!
//! A [`Script`] is a list of [`Turn`]s. A request gets the turn whose number is the count of
//! assistant messages since the last plain user message, so the server keeps no conversation of its
//! own: an agent that repeats a request gets the same turn again, and one that resumes starts over
//! at its new prompt. Several scripts live side by side, each under a path prefix that goes into
//! `ANTHROPIC_BASE_URL`. Requests that offer no tools are the agent's own errands (a title, a
//! summary): they get a short text and use up no turn.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Longest wait for an agent that is expected to call.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the model says in one answer.
#[derive(Debug, Clone)]
pub struct Turn {
    text: Option<String>,
    tools: Vec<(String, Value)>,
}

impl Turn {
    /// Text alone: the agent takes it as its last word and ends.
    pub fn say(text: &str) -> Self {
        Self { text: Some(text.to_owned()), tools: Vec::new() }
    }

    /// A call of one tool, for example `Bash` with `{"command": "…"}`.
    pub fn call(tool: &str, input: Value) -> Self {
        Self { text: None, tools: vec![(tool.to_owned(), input)] }
    }

    /// The same with one more call, side by side with the others.
    #[must_use]
    pub fn and(mut self, tool: &str, input: Value) -> Self {
        self.tools.push((tool.to_owned(), input));
        self
    }

    fn blocks(&self, id: usize) -> Vec<Value> {
        let text = self.text.iter().map(|text| json!({"type": "text", "text": text}));
        let tools = self.tools.iter().enumerate().map(|(i, (name, input))| {
            let id = format!("toolu_{id:04}_{i}");
            json!({"type": "tool_use", "id": id, "name": name, "input": input})
        });
        text.chain(tools).collect()
    }

    fn stop_reason(&self) -> &'static str {
        if self.tools.is_empty() { "end_turn" } else { "tool_use" }
    }
}

/// What goes wrong instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error of this HTTP status, in the API's form.
    Status(u16),
    /// Nothing is ever answered.
    Silence,
    /// The answer starts and its connection breaks.
    Cut,
}

/// What the model does in one scenario.
#[derive(Debug, Clone, Default)]
pub struct Script {
    turns: Vec<Turn>,
    faults: HashMap<usize, (Fault, usize)>,
}

impl Script {
    /// A script that says these turns, in this order.
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { turns: turns.into_iter().collect(), faults: HashMap::new() }
    }

    /// Lets the first `times` requests for turn `turn` (counted from 0) fail.
    #[must_use]
    pub fn failing(mut self, turn: usize, fault: Fault, times: usize) -> Self {
        self.faults.insert(turn, (fault, times));
        self
    }
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method and path, without the scenario's prefix: `POST /v1/messages`.
    pub what: String,
    /// The turn asked for; `None` for anything that is not a request for one.
    pub turn: Option<usize>,
    /// The value of `x-api-key`, or of `authorization`.
    pub key: Option<String>,
    /// The JSON body; null if there was none.
    pub body: Value,
}

impl Call {
    /// What the agent was asked: the last text of the last plain user message. (The texts before it
    /// are the agent's own reminders.)
    pub fn prompt(&self) -> &str {
        let asked = messages(&self.body).iter().rev().find(|m| is_plain_user(m));
        let Some(content) = asked.map(|message| &message["content"]) else { return "" };
        let last = content.as_array().and_then(|blocks| blocks.last()).map(|block| &block["text"]);
        last.unwrap_or(content).as_str().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Scenario {
    script: Script,
    calls: Vec<Call>,
}

#[derive(Debug, Default)]
struct Shared {
    scenarios: Mutex<HashMap<String, Scenario>>,
    arrived: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scenario>> {
        self.scenarios.lock().unwrap()
    }
}

/// The server, on a thread of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Starts on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = oneshot::channel();
        let app = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, app) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Adds a scenario and returns the base URL for an agent that is to play it.
    pub fn play(&self, name: &str, script: Script) -> String {
        self.shared.lock().insert(name.to_owned(), Scenario { script, calls: Vec::new() });
        format!("http://{}/{name}", self.address)
    }

    /// The requests of a scenario so far, in the order of their arrival.
    pub fn calls(&self, name: &str) -> Vec<Call> {
        self.shared.lock().get(name).map(|s| s.calls.clone()).unwrap_or_default()
    }

    /// Waits until turn `turn` of a scenario has been asked for, and returns that request.
    pub fn wait_for(&self, name: &str, turn: usize) -> Call {
        let arrived = |scenarios: &HashMap<String, Scenario>| {
            scenarios[name].calls.iter().find(|call| call.turn == Some(turn)).cloned()
        };
        let (scenarios, _) = self
            .shared
            .arrived
            .wait_timeout_while(self.shared.lock(), PATIENCE, |s| arrived(s).is_none())
            .unwrap();
        arrived(&scenarios).unwrap_or_else(|| panic!("turn {turn} of {name} was never asked for"))
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = head.uri.path().trim_start_matches('/');
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let header = |name| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);

    let what = format!("{} /{rest}", head.method);
    let asks = what == "POST /v1/messages";
    let turn = (asks && offers_tools(&body)).then(|| turn_of(&body));
    let key = header("x-api-key").or_else(|| header("authorization"));
    let (step, fault, id) = {
        let mut scenarios = shared.lock();
        let Some(scenario) = scenarios.get_mut(name) else {
            return error(StatusCode::NOT_FOUND, &format!("there is no scenario {name:?}"));
        };
        scenario.calls.push(Call { what: what.clone(), turn, key, body: body.clone() });
        shared.arrived.notify_all();
        let asked = scenario.calls.iter().filter(|c| turn.is_some() && c.turn == turn).count();
        let fault = turn.and_then(|turn| scenario.script.faults.get(&turn));
        let fault = fault.and_then(|(fault, times)| (asked <= *times).then_some(*fault));
        let step = match turn {
            Some(turn) => scenario.script.turns.get(turn).cloned(),
            None => Some(Turn::say("Scripted")),
        };
        (step, fault, scenario.calls.len())
    };

    match (what.as_str(), fault) {
        ("HEAD /" | "GET /" | "HEAD /api/hello" | "GET /api/hello", _) => reply(&json!({})),
        ("POST /v1/messages/count_tokens", _) => reply(&json!({"input_tokens": 100})),
        (_, _) if !asks => error(StatusCode::NOT_FOUND, &format!("{what} is not scripted")),
        (_, Some(Fault::Silence)) => std::future::pending().await,
        (_, Some(Fault::Status(code))) => error(
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            "scripted failure",
        ),
        (_, fault) => {
            let Some(step) = step else {
                return error(StatusCode::BAD_REQUEST, &format!("turn {turn:?} is not scripted"));
            };
            let message = message(&step, id, &body["model"]);
            let (kind, text) = if body["stream"] == true {
                ("text/event-stream", events(&message))
            } else {
                ("application/json", message.to_string())
            };
            match fault {
                Some(Fault::Cut) => broken(kind, &text[..text.len() / 2]),
                _ => respond(StatusCode::OK, kind, text.into()),
            }
        }
    }
}

/// Whether the agent means to work with the answer, rather than asks for a title and the like.
fn offers_tools(body: &Value) -> bool {
    body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
}

fn messages(body: &Value) -> &[Value] {
    body["messages"].as_array().map_or(&[], Vec::as_slice)
}

fn is_plain_user(message: &Value) -> bool {
    let result = |block: &Value| block["type"] == "tool_result";
    message["role"] == "user"
        && !message["content"].as_array().is_some_and(|blocks| blocks.iter().any(result))
}

fn turn_of(body: &Value) -> usize {
    let messages = messages(body);
    let since = messages.iter().rposition(is_plain_user).unwrap_or(0);
    messages[since..].iter().filter(|m| m["role"] == "assistant").count()
}

/// A whole answer, as the API gives it to those who do not stream.
fn message(step: &Turn, id: usize, model: &Value) -> Value {
    json!({
        "id": format!("msg_{id:04}"), "type": "message", "role": "assistant", "model": model,
        "content": step.blocks(id), "stop_reason": step.stop_reason(), "stop_sequence": null,
        "usage": {"input_tokens": 100, "output_tokens": 20},
    })
}

/// The same answer as a stream of events.
fn events(message: &Value) -> String {
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    let mut events = vec![json!({"type": "message_start", "message": start})];
    for (index, block) in message["content"].as_array().into_iter().flatten().enumerate() {
        let mut empty = block.clone();
        let delta = if block["type"] == "text" {
            empty["text"] = json!("");
            json!({"type": "text_delta", "text": block["text"]})
        } else {
            empty["input"] = json!({});
            json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})
        };
        events.extend([
            json!({"type": "content_block_start", "index": index, "content_block": empty}),
            json!({"type": "content_block_delta", "index": index, "delta": delta}),
            json!({"type": "content_block_stop", "index": index}),
        ]);
    }
    let delta = json!({"stop_reason": message["stop_reason"], "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": message["usage"]}));
    events.push(json!({"type": "message_stop"}));
    let named = |e: &Value| format!("event: {}\ndata: {e}\n\n", e["type"].as_str().unwrap());
    events.iter().map(named).collect()
}

fn respond(status: StatusCode, kind: &str, body: Body) -> Response {
    Response::builder().status(status).header("content-type", kind).body(body).unwrap()
}

/// An answer that breaks off after this text: its body has no end, the connection just closes.
fn broken(kind: &str, text: &str) -> Response {
    let cut = async {
        // One turn of the loop, so that what comes before the break reaches the wire.
        tokio::task::yield_now().await;
        Some(Err(std::io::Error::other("cut, as scripted")))
    };
    // `map_frame` forgets the length; with one, the server would end the body there, in order.
    let body = Full::<Bytes>::from(text.to_owned())
        .map_frame(|frame| frame)
        .map_err(|never: Infallible| match never {})
        .with_trailers(cut);
    respond(StatusCode::OK, kind, Body::new(body))
}

fn reply(value: &Value) -> Response {
    respond(StatusCode::OK, "application/json", value.to_string().into())
}

fn error(status: StatusCode, text: &str) -> Response {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    };
    let body = json!({"type": "error", "error": {"type": kind, "message": text}});
    respond(status, "application/json", body.to_string().into())
}
