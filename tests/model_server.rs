//! The scripted model keeps to what the tests of agents rely on.

#![expect(clippy::unwrap_used, reason = "a test program: a panic is how it fails")]

#[path = "support/model.rs"]
mod model;

use std::io::{Read, Write};
use std::net::TcpStream;

use model::{Fault, ModelServer, Script, Turn};
use serde_json::{Value, json};

/// Sends a request and returns the connection, unread.
fn send(base: &str, method: &str, path: &str, body: &Value) -> TcpStream {
    let (address, prefix) = base.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let body = body.to_string();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "{method} /{prefix}{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         x-api-key: sk-test\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    connection
}

/// Sends a request and returns everything that comes back until the connection closes.
fn ask(base: &str, method: &str, path: &str, body: &Value) -> String {
    let mut answer = String::new();
    send(base, method, path, body).read_to_string(&mut answer).unwrap();
    answer
}

fn request(messages: &Value) -> Value {
    json!({"model": "m", "stream": true, "tools": [{"name": "Bash"}], "messages": messages})
}

fn prompt(text: &str) -> Value {
    json!({"role": "user", "content": [{"type": "text", "text": "reminder"}, {"type": "text", "text": text}]})
}

fn called() -> Value {
    json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]})
}

fn result() -> Value {
    json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]})
}

fn turn(base: &str, messages: &Value) -> String {
    ask(base, "POST", "/v1/messages", &request(messages))
}

#[test]
fn the_conversation_chooses_the_turn() {
    let server = ModelServer::start();
    let base = server.play(
        "a",
        Script::new([
            Turn::call("Bash", json!({"command": "first"})).and("Read", json!({"file_path": "x"})),
            Turn::say("second"),
        ]),
    );
    let first = turn(&base, &json!([prompt("go")]));
    assert!(first.contains("first") && first.contains("Read"));
    assert!(turn(&base, &json!([prompt("go"), called(), result()])).contains("second"));
    let resumed = json!([prompt("go"), called(), result(), called(), prompt("again")]);
    assert!(turn(&base, &resumed).contains("first"), "a new prompt starts the script over");
    let turns: Vec<_> = server.calls("a").iter().map(|call| call.turn).collect();
    assert_eq!(turns, [Some(0), Some(1), Some(0)]);
}

#[test]
fn scenarios_do_not_mix() {
    let server = ModelServer::start();
    let a = server.play("a", Script::new([Turn::say("from a")]));
    let b = server.play("b", Script::new([Turn::say("from b")]));
    assert!(turn(&b, &json!([prompt("go")])).contains("from b"));
    assert!(turn(&a, &json!([prompt("go")])).contains("from a"));
    assert_eq!((server.calls("a").len(), server.calls("b").len()), (1, 1));
}

#[test]
fn an_errand_without_tools_uses_up_no_turn() {
    let server = ModelServer::start();
    let base = server.play("a", Script::new([Turn::say("the turn")]));
    let errand = json!({"model": "m", "messages": [prompt("write a title")]});
    assert!(ask(&base, "POST", "/v1/messages", &errand).contains("Scripted"));
    assert!(turn(&base, &json!([prompt("go")])).contains("the turn"));
    assert_eq!(server.calls("a")[0].turn, None);
}

#[test]
fn an_answer_without_a_stream_is_one_message() {
    let server = ModelServer::start();
    let base = server.play("a", Script::new([Turn::call("Write", json!({"file_path": "x"}))]));
    let mut whole = request(&json!([prompt("go")]));
    whole["stream"] = json!(false);
    let answer = ask(&base, "POST", "/v1/messages", &whole);
    let message: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(message["content"][0]["input"], json!({"file_path": "x"}));
    assert_eq!(message["stop_reason"], "tool_use");
}

#[test]
fn requests_are_kept_with_key_and_prompt() {
    let server = ModelServer::start();
    let base = server.play("a", Script::new([Turn::say("ok")]));
    turn(&base, &json!([prompt("please mend it")]));
    let call = server.wait_for("a", 0);
    assert_eq!(call.what, "POST /v1/messages");
    assert_eq!(call.key.as_deref(), Some("sk-test"));
    assert_eq!(call.prompt(), "please mend it");
}

#[test]
fn a_status_fault_fails_as_often_as_asked() {
    let server = ModelServer::start();
    let script = Script::new([Turn::say("at last")]).failing(0, Fault::Status(529), 2);
    let base = server.play("a", script);
    for _ in 0..2 {
        let answer = turn(&base, &json!([prompt("go")]));
        assert!(answer.starts_with("HTTP/1.1 529"), "{answer}");
        assert!(answer.contains("overloaded_error"), "{answer}");
    }
    assert!(turn(&base, &json!([prompt("go")])).contains("at last"));
}

#[test]
fn a_cut_answer_starts_and_has_no_end() {
    let server = ModelServer::start();
    let base = server.play("a", Script::new([Turn::say("word")]).failing(0, Fault::Cut, 1));
    let cut = turn(&base, &json!([prompt("go")]));
    assert!(cut.contains("message_start"), "{cut}");
    assert!(!cut.contains("message_stop") && !cut.ends_with("0\r\n\r\n"), "{cut}");
}

#[test]
fn silence_lasts_until_the_server_ends() {
    let server = ModelServer::start();
    let base = server.play("a", Script::new([]).failing(0, Fault::Silence, 1));
    let mut waiting = send(&base, "POST", "/v1/messages", &request(&json!([prompt("go")])));
    server.wait_for("a", 0);
    drop(server);
    let mut answer = Vec::new();
    let _ = waiting.read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "");
}

#[test]
fn what_is_not_scripted_is_refused_by_name() {
    let server = ModelServer::start();
    let base = server.play("a", Script::new([Turn::say("only one")]));
    let past = turn(&base, &json!([prompt("go"), called(), result()]));
    assert!(past.starts_with("HTTP/1.1 400"), "{past}");
    let nowhere = turn(&base.replace("/a", "/b"), &json!([prompt("go")]));
    assert!(nowhere.starts_with("HTTP/1.1 404") && nowhere.contains("scenario"), "{nowhere}");
    assert!(ask(&base, "POST", "/v1/files", &json!({})).starts_with("HTTP/1.1 404"));
}

#[test]
fn small_talk_of_the_agent_is_answered() {
    let server = ModelServer::start();
    let base = server.play("a", Script::default());
    assert!(ask(&base, "HEAD", "/api/hello", &Value::Null).starts_with("HTTP/1.1 200"));
    let count = ask(&base, "POST", "/v1/messages/count_tokens", &json!({"messages": []}));
    assert!(count.contains("input_tokens"), "{count}");
}
