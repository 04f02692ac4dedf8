//! Claude Code, headless: `claude -p --output-format stream-json --verbose`, prompt on standard
//! input.
//!
//! Success is exit code 0 *and* a final `result` event of subtype `success` *and* not `is_error`:
//! an API error ends with subtype `success` and `is_error: true`, an interrupt with exit code 0 and
//! another subtype, a killed one with no final event at all.

use serde::Deserialize;

use super::{Invocation, LastLines, Launch, Summary};
use crate::config::ExecutorSection;
use crate::domain::JailMode;

/// The model's key (one of the three), and where the model is.
pub(super) const WANTS: &[&str] = &[
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_MAX_RETRIES",
];

/// The agent's own sandbox must be on and fail closed where our jail is not around it, whatever the
/// home's settings say: they are the agent's to write. Inside our jail it stays off: nested, it
/// breaks `git add -A`.
const OWN_SANDBOX: &str = r#"{"sandbox":{"enabled":true,"failIfUnavailable":true,"allowUnsandboxedCommands":false,"network":{"strictAllowlist":true},"filesystem":{"denyRead":["~/.ssh","~/.config/gh"]}}}"#;

pub(super) fn invocation(section: &ExecutorSection, launch: &Launch) -> Invocation {
    let mut argv = vec![launch.program.display().to_string()];
    for word in [
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        // An id that it has seen before is refused, one that it has not seen cannot be resumed.
        if launch.resume { "--resume" } else { "--session-id" },
    ] {
        argv.push(word.to_owned());
    }
    argv.push(launch.session_id.clone());
    // Hooks and MCP servers that the repository brings along run without a question: they stay off.
    let trusted = section.repository_settings.iter().any(|known| known.matches(&launch.repo));
    let sources: &[&str] =
        if trusted { &["user,project"] } else { &["user", "--strict-mcp-config"] };
    argv.push("--setting-sources".to_owned());
    argv.extend(sources.iter().map(|word| (*word).to_owned()));
    // Every tool is allowed where the jail is the wall; without it only what the agent's own sandbox
    // holds.
    let permissions = match launch.sandbox {
        JailMode::Bwrap => "bypassPermissions",
        JailMode::None => "acceptEdits",
    };
    argv.extend(["--permission-mode".to_owned(), permissions.to_owned()]);
    if let Some(model) = &launch.model {
        argv.extend(["--model".to_owned(), model.clone()]);
    }
    if launch.sandbox == JailMode::None {
        argv.extend(["--settings".to_owned(), OWN_SANDBOX.to_owned()]);
    }
    argv.extend(section.args.iter().cloned());
    let mut env: Vec<(String, String)> = vec![
        ("DISABLE_AUTOUPDATER".into(), "1".into()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC".into(), "1".into()),
        ("CLAUDE_CODE_ENABLE_TODO_TOOLS".into(), "1".into()),
    ];
    env.extend(section.env.clone());
    Invocation { argv, env, prompt_on_stdin: true }
}

/// Reads the `stream-json` output.
#[derive(Debug, Default)]
pub struct Reader {
    result: Option<ResultEvent>,
    last_text: Option<String>,
    errors: LastLines,
}

#[derive(Debug, Deserialize)]
struct Event {
    r#type: String,
    #[serde(default)]
    message: Option<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct ResultEvent {
    #[serde(default)]
    subtype: String,
    #[serde(default)]
    is_error: bool,
    result: Option<String>,
    num_turns: Option<u64>,
    total_cost_usd: Option<f64>,
    terminal_reason: Option<String>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    permission_denials: Vec<Denial>,
}

#[derive(Debug, Deserialize)]
struct Denial {
    tool_name: String,
}

impl Reader {
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            // Not an event: a word of the runtime under it, perhaps of its end.
            self.errors.push(line);
            return false;
        };
        match event.r#type.as_str() {
            "result" => {
                if let Ok(result) = serde_json::from_slice(line) {
                    self.result = Some(result);
                    return true;
                }
            }
            "assistant" => {
                let content = event.message.map(|m| m.content).unwrap_or_default();
                let texts = content.as_array().into_iter().flatten();
                if let Some(text) = texts.filter_map(|part| part["text"].as_str()).next_back() {
                    self.last_text = Some(text.to_owned());
                }
            }
            _ => {}
        }
        false
    }

    pub(super) fn error_line(&mut self, line: &[u8]) {
        self.errors.push(line);
    }

    pub(super) fn summary(self, exit_code: Option<i32>) -> Summary {
        let errors = self.errors.text();
        let Some(result) = self.result else {
            return Summary { last_words: errors.or(self.last_text), ..Summary::default() };
        };
        let success = exit_code == Some(0) && result.subtype == "success" && !result.is_error;
        let last_words = match (&result.result, success) {
            (Some(text), _) if !text.trim().is_empty() => Some(text.clone()),
            (_, true) => self.last_text,
            (_, false) => {
                let mut why = vec![result.terminal_reason.unwrap_or(result.subtype)];
                why.extend(result.errors);
                why.extend(errors);
                Some(why.join(": "))
            }
        };
        let mut denied: Vec<String> = Vec::new();
        for denial in result.permission_denials {
            if !denied.contains(&denial.tool_name) {
                denied.push(denial.tool_name);
            }
        }
        let (cost_usd, turns) = (result.total_cost_usd, result.num_turns);
        Summary { success, last_words, denied, cost_usd, turns }
    }
}

#[cfg(test)]
mod tests;
