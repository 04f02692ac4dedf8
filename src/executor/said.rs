//! What an agent says and does, line by line of its raw output, for people who watch.

use serde_json::Value;

use super::todos::{self, Todo, TodoStatus};
use crate::domain::text;

/// One thing that an agent said or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A message of it.
    Words(String),
    /// A line of plain output.
    Line(String),
    /// It used a tool: the name, and what for.
    Tool(String, String),
    /// What a tool answered; whether that was an error.
    Answer(String, bool),
    /// It wrote its list of things to do anew.
    Todos(Vec<Todo>),
    /// It has ended, and how.
    End(String),
}

impl Said {
    /// In one line, for a list; nothing for what is only noise there.
    #[must_use]
    pub fn line(&self, max: usize) -> Option<String> {
        Some(match self {
            Self::Words(words) | Self::Line(words) => text::one_line(words, max),
            Self::End(how) => text::one_line(&format!("ended: {how}"), max),
            Self::Tool(name, what) => text::one_line(&format!("{name} {what}"), max),
            Self::Answer(answer, true) => text::one_line(&format!("error: {answer}"), max),
            Self::Answer(_, false) => return None,
            Self::Todos(todos) => {
                let done = todos.iter().filter(|t| t.status == TodoStatus::Completed).count();
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
        // Its `result` repeats what has just been said.
        Some("result") => {
            let key = if event["is_error"] == true { "terminal_reason" } else { "subtype" };
            let how = event[key].as_str().or(event["subtype"].as_str()).unwrap_or_default();
            vec![Said::End(how.to_owned())]
        }
        _ => Vec::new(),
    }
}

fn part(part: &Value) -> Vec<Said> {
    let words = |key: &str| part[key].as_str().unwrap_or("").to_owned();
    match part["type"].as_str() {
        Some("text") => vec![Said::Words(words("text"))],
        Some("tool_use") => {
            let (name, input) = (words("name"), &part["input"]);
            match &*name {
                "TodoWrite" => vec![Said::Todos(todos::whole_list(input))],
                _ => vec![Said::Tool(name, what_for(input))],
            }
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
    let telling = [
        "command",
        "file_path",
        "path",
        "pattern",
        "query",
        "url",
        "subject",
        "description",
        "prompt",
    ];
    let words = |key: &str| input[key].as_str();
    if let Some(task) = words("taskId") {
        return [Some(task), words("status"), words("subject")]
            .map(Option::unwrap_or_default)
            .join(" ");
    }
    telling
        .iter()
        .find_map(|key| words(key).map(str::to_owned))
        .unwrap_or_else(|| input.to_string())
}

/// A line of plain text.
pub(super) fn of_text(line: &[u8]) -> Vec<Said> {
    vec![Said::Line(String::from_utf8_lossy(line).trim_end().to_owned())]
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
        assert_eq!(lines[lines.len() - 2..], ["The notes are mended.", "ended: success"]);
    }

    #[test]
    fn the_list_of_things_to_do_is_read_off_the_tool() {
        let line = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"TodoWrite",
            "input":{"todos":[{"content":"a","status":"completed"},{"content":"b"}]}}]}}"#;
        let said = of_claude(line.as_bytes());
        assert_eq!(said[0].line(80).as_deref(), Some("1 of 2 things done"));
    }

    #[test]
    fn what_is_no_event_is_words() {
        assert_eq!(of_claude(b"oops\x1b[31m\n")[0].line(80).as_deref(), Some("oops[31m"));
        assert!(of_claude(b"{}\n").is_empty());
        assert_eq!(of_text(b"\n")[0].line(80), None);
    }
}
