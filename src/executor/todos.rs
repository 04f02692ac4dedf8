//! Claude Code's list of things to do, read off its `stream-json`.
//!
//! The older tool, `TodoWrite`, is given the whole list each time. Of the newer ones, `TaskCreate`
//! adds an entry, whose id is told by the tool's answer only, and `TaskUpdate` changes or deletes
//! the entry of an id. Which of them there are depends on the agent's version and model.

use std::collections::VecDeque;

use memchr::memmem::find;
use serde::Serialize;
use serde_json::Value;

use crate::domain::text;

/// An entry of an agent's list of things to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Todo {
    /// What is to be done: the agent's words, at most 1,000 bytes.
    pub what: String,
    /// How far it is.
    pub status: TodoStatus,
}

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TodoStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

impl TodoStatus {
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("in_progress") => Self::InProgress,
            Some("completed") => Self::Completed,
            _ => Self::Pending,
        }
    }

    /// `○`, `→` or `✓`.
    #[must_use]
    pub fn mark(self) -> &'static str {
        match self {
            Self::Pending => "○",
            Self::InProgress => "→",
            Self::Completed => "✓",
        }
    }
}

/// No honest list is longer; more entries are left out.
const MAX_TODOS: usize = 500;

fn todo(what: &str, status: TodoStatus) -> Todo {
    Todo { what: text::head(what, 1000).to_owned(), status }
}

/// What `TodoWrite` was given.
pub(super) fn whole_list(input: &Value) -> Vec<Todo> {
    let entries = input["todos"].as_array().into_iter().flatten().take(MAX_TODOS);
    let entry =
        |e: &Value| Some(todo(e["content"].as_str()?, TodoStatus::of(e["status"].as_str())));
    entries.filter_map(entry).collect()
}

/// Keeps the list while the agent's output is read.
#[derive(Debug, Default)]
pub struct TodoReader {
    session: Option<String>,
    /// Entries, those of the newer tools with their ids.
    list: Vec<(Option<String>, Todo)>,
    /// Calls that have no answer yet: the call's id, and what it asks for.
    asked: VecDeque<(String, Asked)>,
}

#[derive(Debug)]
enum Asked {
    Whole(Vec<Todo>),
    Create(String),
    Update { id: String, subject: Option<String>, status: Option<String> },
}

/// More calls at once than an honest agent makes; older ones are forgotten.
const MAX_ASKED: usize = 100;

impl TodoReader {
    /// Takes a line of standard output. Most lines are seen not to matter without being parsed.
    pub fn line(&mut self, line: &[u8]) {
        let calls: [&[u8]; 4] = [b"TodoWrite", b"TaskCreate", b"TaskUpdate", b"\"init\""];
        let is_answer = |(id, _): &(String, Asked)| find(line, id.as_bytes()).is_some();
        if !calls.iter().any(|name| find(line, name).is_some()) && !self.asked.iter().any(is_answer)
        {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(line) else { return };
        if event["type"] == "system" && event["subtype"] == "init" {
            let session = event["session_id"].as_str().map(str::to_owned);
            // Another conversation begins with an empty list.
            if self.session.is_some() && self.session != session {
                self.list.clear();
                self.asked.clear();
            }
            self.session = session;
        }
        for part in event["message"]["content"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("tool_use") => self.call(&event, part),
                Some("tool_result") => self.answer(&event, part),
                _ => {}
            }
        }
    }

    fn call(&mut self, event: &Value, part: &Value) {
        let input = &part["input"];
        let words = |key: &str| input[key].as_str().map(|w| text::head(w, 1000).to_owned());
        let asked = match part["name"].as_str() {
            // Those whom the agent sets to work have lists of their own of this kind.
            Some("TodoWrite") if event["parent_tool_use_id"].is_null() => {
                Some(Asked::Whole(whole_list(input)))
            }
            Some("TaskCreate") => words("subject").map(Asked::Create),
            Some("TaskUpdate") => words("taskId").map(|id| {
                let (subject, status) = (words("subject"), words("status"));
                Asked::Update { id, subject, status }
            }),
            _ => None,
        };
        if let (Some(id), Some(asked)) = (part["id"].as_str().filter(|id| id.len() < 200), asked) {
            if self.asked.len() == MAX_ASKED {
                self.asked.pop_front();
            }
            self.asked.push_back((id.to_owned(), asked));
        }
    }

    /// What was asked for is done when the tool says so.
    fn answer(&mut self, event: &Value, part: &Value) {
        let of = part["tool_use_id"].as_str();
        let Some(at) = self.asked.iter().position(|(id, _)| Some(&**id) == of) else { return };
        let Some((_, asked)) = self.asked.remove(at) else { return };
        if part["is_error"] == true {
            return;
        }
        match asked {
            Asked::Whole(todos) => self.list = todos.into_iter().map(|t| (None, t)).collect(),
            Asked::Create(subject) => {
                // Task #7 created successfully: …
                let words = || part["content"].as_str()?.strip_prefix("Task #")?.split(' ').next();
                let id = event["tool_use_result"]["task"]["id"].as_str().or_else(words);
                let Some(id) = id.map(|id| text::head(id, 100).to_owned()) else { return };
                let new = (Some(id), todo(&subject, TodoStatus::Pending));
                match self.list.iter().position(|(known, _)| *known == new.0) {
                    Some(at) => self.list[at] = new,
                    None if self.list.len() < MAX_TODOS => self.list.push(new),
                    None => {}
                }
            }
            Asked::Update { id, subject, status } => {
                let is_it = |(known, _): &(Option<String>, Todo)| known.as_deref() == Some(&*id);
                let Some(at) = self.list.iter().position(is_it) else { return };
                if status.as_deref() == Some("deleted") {
                    self.list.remove(at);
                    return;
                }
                let entry = &mut self.list[at].1;
                if let Some(subject) = subject {
                    entry.what = subject;
                }
                if status.is_some() {
                    entry.status = TodoStatus::of(status.as_deref());
                }
            }
        }
    }

    /// The list as it is now, in the agent's order.
    #[must_use]
    pub fn list(self) -> Vec<Todo> {
        self.list.into_iter().map(|(_, todo)| todo).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn after<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut reader = TodoReader::default();
        for line in lines {
            reader.line(line.as_bytes());
        }
        reader.list().iter().map(|t| format!("{} {}", t.status.mark(), t.what)).collect()
    }

    const TASKS: &str = include_str!("../../tests/data/claude/tasks.jsonl");
    const TODOS: &str = include_str!("../../tests/data/claude/todos.jsonl");

    #[test]
    fn tasks_are_created_changed_and_deleted_by_the_ids_that_the_answers_tell() {
        assert_eq!(after(TASKS.lines()), ["✓ Read the notes", "→ Mend all the notes", "○ Commit"]);
        let early: Vec<_> =
            TASKS.lines().take_while(|l| !l.contains(r#""name":"TaskUpdate""#)).collect();
        let all =
            ["○ Read the notes", "○ Mend the notes", "○ Ask whether two is right", "○ Commit"];
        assert_eq!(after(early), all);
    }

    #[test]
    fn the_older_list_is_replaced_whole() {
        assert_eq!(after(TODOS.lines()), ["✓ Read the notes", "→ Mend the notes"]);
        assert_eq!(after(TODOS.lines().take(3)), ["→ Read the notes", "○ Mend the notes"]);
    }

    #[test]
    fn a_conversation_that_is_carried_on_keeps_the_list_and_another_has_none() {
        let init = TASKS.lines().next().unwrap();
        assert_eq!(after(TASKS.lines().chain([init])).len(), 3);
        let another = init.replace("11111111", "99999999");
        assert_eq!(after(TASKS.lines().chain([&*another])).len(), 0);
    }

    #[test]
    fn neither_what_others_wrote_nor_what_was_refused_is_the_agents_list() {
        let call = |parent: Value| {
            json!({"type": "assistant", "parent_tool_use_id": parent, "message": {"content": [
                {"type": "tool_use", "id": "t", "name": "TodoWrite",
                 "input": {"todos": [{"content": "a", "status": "x"}]}}]}})
            .to_string()
        };
        let answer = |is_error: bool| {
            json!({"type": "user", "message": {"content": [
                {"type": "tool_result", "tool_use_id": "t", "is_error": is_error}]}})
            .to_string()
        };
        let (own, done) = (call(Value::Null), answer(false));
        assert_eq!(after([&*own, &done]), ["○ a"]);
        assert_eq!(after([&*own, &answer(true), &done]).len(), 0);
        assert_eq!(after([&*call(json!("toolu_1")), &done]).len(), 0);
    }

    #[test]
    fn a_list_without_end_is_held_in_part() {
        let mut reader = TodoReader::default();
        for n in 0..2000 {
            let call = json!({"message": {"content": [{"type": "tool_use", "id": format!("<{n}>"),
                "name": "TaskCreate", "input": {"subject": "é".repeat(5000)}}]}});
            let answer = json!({"tool_use_result": {"task": {"id": n.to_string()}}, "message":
                {"content": [{"type": "tool_result", "tool_use_id": format!("<{n}>")}]}});
            reader.line(call.to_string().as_bytes());
            if n % 3 == 0 {
                reader.line(answer.to_string().as_bytes());
            }
            assert!(reader.asked.len() <= MAX_ASKED);
        }
        let list = reader.list();
        assert!(list.len() == MAX_TODOS && list.iter().all(|t| t.what.len() <= 1000));
    }
}
