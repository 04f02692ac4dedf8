//! Recorded event streams of the real agent, in `tests/data/claude`: what the parser is tested on.
//!
//! Each test that runs the agent also compares what it said with its recording, in outline. With
//! `CLAUDE_WORKERS_RECORD=1` in the environment the recordings are written anew; do that when the
//! agent's pinned version changes.

use std::path::PathBuf;

use serde_json::{Value, json};

/// Compares `events` with the recording `name`, or writes it.
pub fn check(name: &str, events: &[Value]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/claude")
        .join(format!("{name}.jsonl"));
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the program")]
    let record = std::env::var_os("CLAUDE_WORKERS_RECORD").is_some();
    if record {
        let lines = events.iter().map(|event| format!("{}\n", scrubbed(event.clone())));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, lines.collect::<String>()).unwrap();
    }
    let recorded = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; CLAUDE_WORKERS_RECORD=1 makes it", path.display()));
    let recorded: Vec<Value> =
        recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(outline(events), outline(&recorded), "the agent says something else than recorded");
}

/// What the program reads of a stream, without what differs from run to run. (What a broken answer
/// costs, and how it is worded, depends on how much of it arrived.)
fn outline(events: &[Value]) -> Vec<Value> {
    let kinds = |content: &Value| -> Vec<Value> {
        let blocks = content.as_array().into_iter().flatten();
        blocks.map(|b| json!([b["type"], b["name"], b["is_error"]])).collect()
    };
    let one = |e: &Value| {
        json!({
            "type": e["type"], "subtype": e["subtype"], "session": e["session_id"],
            "content": kinds(&e["message"]["content"]), "result": e["result"].is_string(),
            "is_error": e["is_error"], "turns": e["num_turns"], "cost": e["total_cost_usd"].is_number(),
            "reason": e["terminal_reason"], "denied": e["permission_denials"],
            "attempt": e["attempt"], "status": e["error_status"],
        })
    };
    events.iter().map(one).collect()
}

/// Ids, times and durations of one run, replaced by constants.
fn scrubbed(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                *field = match (key.as_str(), field.take()) {
                    ("session_id", id) => id,
                    ("timestamp", _) => json!("2026-01-01T00:00:00.000Z"),
                    (key, Value::Number(_)) if key.ends_with("_ms") => json!(100),
                    (_, field) => scrubbed(field),
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = scrubbed(item.take());
            }
        }
        Value::String(text) if is_uuid(text) => {
            "00000000-0000-4000-8000-00000000cafe".clone_into(text);
        }
        _ => {}
    }
    value
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
