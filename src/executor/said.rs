//! What an agent says and does, line by line of its raw output, for people who watch.

use serde_json::Value;

use crate::domain::text;

/// One thing that an agent said or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It spoke.
    Words(String),
    /// It used a tool: the name, and what for.
    Tool(String, String),
    /// What a tool answered; whether that was an error.
    Answer(String, bool),
    /// Its list of things to do, as it is now.
    Todos(Vec<Todo>),
    /// Its final word.
    End(String),
}

/// An entry of an agent's list of things to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Todo {
    /// What is to be done.
    pub what: String,
    /// `pending`, `in_progress` or `completed`.
    pub status: String,
}

impl Said {
    /// In one line, for a list; nothing for what is only noise there.
    #[must_use]
    pub fn line(&self, max: usize) -> Option<String> {
        Some(match self {
            Self::Words(words) | Self::End(words) => text::one_line(words, max),
            Self::Tool(name, what) => text::one_line(&format!("{name} {what}"), max),
            Self::Answer(answer, true) => text::one_line(&format!("error: {answer}"), max),
            Self::Answer(_, false) => return None,
            Self::Todos(todos) => {
                let done = todos.iter().filter(|t| t.status == "completed").count();
                format!("{done} of {} things done", todos.len())
            }
        })
        .filter(|line| !line.is_empty())
    }
}

/// A line of Claude Code's `stream-json`. A line that is no event is words of the runtime.
pub(super) fn of_claude(line: &[u8]) -> Vec<Said> {
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return of_text(line) };
    match event["type"].as_str() {
        Some("assistant" | "user") => match &event["message"]["content"] {
            Value::String(words) => vec![Said::Words(words.clone())],
            parts => parts.as_array().into_iter().flatten().flat_map(part).collect(),
        },
        Some("result") => vec![Said::End(event["result"].as_str().unwrap_or("").to_owned())],
        _ => Vec::new(),
    }
}

fn part(part: &Value) -> Vec<Said> {
    let words = |key: &str| part[key].as_str().unwrap_or("").to_owned();
    match part["type"].as_str() {
        Some("text") => vec![Said::Words(words("text"))],
        Some("tool_use") => {
            let (name, input) = (words("name"), &part["input"]);
            let mut said = vec![Said::Tool(name.clone(), what_for(input))];
            if name == "TodoWrite" {
                said.push(Said::Todos(todos(input)));
            }
            said
        }
        Some("tool_result") => {
            let answer = match &part["content"] {
                Value::String(answer) => answer.clone(),
                parts => {
                    let texts = parts.as_array().into_iter().flatten();
                    texts.filter_map(|p| p["text"].as_str()).collect::<Vec<_>>().join("\n")
                }
            };
            vec![Said::Answer(answer, part["is_error"].as_bool().unwrap_or(false))]
        }
        _ => Vec::new(),
    }
}

/// The one argument of a tool that says most, or all of them.
fn what_for(input: &Value) -> String {
    let telling =
        ["command", "file_path", "path", "pattern", "query", "url", "description", "prompt"];
    telling
        .iter()
        .find_map(|key| input[*key].as_str().map(str::to_owned))
        .unwrap_or_else(|| input.to_string())
}

fn todos(input: &Value) -> Vec<Todo> {
    let entries = input["todos"].as_array().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let what = entry["content"].as_str()?.to_owned();
            Some(Todo { what, status: entry["status"].as_str().unwrap_or("pending").to_owned() })
        })
        .collect()
}

/// A line of plain text.
pub(super) fn of_text(line: &[u8]) -> Vec<Said> {
    let words = String::from_utf8_lossy(line).trim_end().to_owned();
    if words.is_empty() { Vec::new() } else { vec![Said::Words(words)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_conversation_reads_line_by_line() {
        let recorded = include_str!("../../tests/data/claude/success.jsonl");
        let lines: Vec<String> = recorded
            .lines()
            .flat_map(|line| of_claude(line.as_bytes()))
            .filter_map(|said| said.line(80))
            .collect();
        assert!(lines.iter().any(|l| l.starts_with("Bash ")), "{lines:?}");
        assert!(lines.iter().all(|l| !l.contains('{')), "{lines:?}");
    }

    #[test]
    fn the_list_of_things_to_do_is_read_off_the_tool() {
        let line = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"TodoWrite",
            "input":{"todos":[{"content":"a","status":"completed"},{"content":"b"}]}}]}}"#;
        let said = of_claude(line.as_bytes());
        assert_eq!(said[1].line(80).as_deref(), Some("1 of 2 things done"));
    }

    #[test]
    fn what_is_no_event_is_words() {
        assert_eq!(of_claude(b"oops\x1b[31m\n")[0].line(80).as_deref(), Some("oops[31m"));
        assert!(of_claude(b"{}\n").is_empty());
        assert!(of_text(b"\n").is_empty());
    }
}
