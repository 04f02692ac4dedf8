//! How an agent is invoked and how its output is read.
//!
//! An executor describes: program, arguments, environment, what goes to standard input. It starts
//! nothing. Its [`Reader`] is fed the agent's output line by line and gives the [`Summary`].

mod claude;
mod custom;
mod lines;
mod said;
mod todos;

use std::path::PathBuf;

pub use lines::LogLines;
pub use said::Said;
pub use todos::{Todo, TodoReader, TodoStatus};

use crate::config::ExecutorSection;
use crate::domain::{AgentReport, IssueNumber, JailMode, RepoSlug, text};

/// An executor, resolved.
#[derive(Debug, Clone)]
pub enum Executor {
    /// Claude Code.
    Claude(ExecutorSection),
    /// A configured command.
    Custom(ExecutorSection),
}

/// What an executor is told about a run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The agent's program, absolute.
    pub program: PathBuf,
    /// The model.
    pub model: Option<String>,
    /// The id of the conversation, a UUID.
    pub session_id: String,
    /// Whether that conversation is to be carried on.
    pub resume: bool,
    /// Where the agent finds its prompt as a file.
    pub prompt_file: PathBuf,
    /// The repository.
    pub repo: RepoSlug,
    /// The issue.
    pub issue: Option<IssueNumber>,
    /// The branch to commit on.
    pub branch: String,
    /// The wall around the agent.
    pub sandbox: JailMode,
}

/// How the agent is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables of its own, beside those that every agent gets.
    pub env: Vec<(String, String)>,
    /// Whether the prompt is its standard input (else that is empty).
    pub prompt_on_stdin: bool,
}

/// There is no executor of that name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no executor {name:?}; there are: {}", known.join(", "))]
pub struct Unknown {
    name: String,
    known: Vec<String>,
}

impl Unknown {
    /// The executor that was probably meant.
    #[must_use]
    pub fn meant(&self) -> Option<&str> {
        text::nearest(&self.name, self.known.iter().map(String::as_str))
    }
}

impl Executor {
    /// The names of all executors: the built-in one, then those of the configuration.
    #[must_use]
    pub fn names(configured: &std::collections::BTreeMap<String, ExecutorSection>) -> Vec<String> {
        let mut names = vec!["claude".to_owned()];
        names.extend(configured.keys().filter(|k| *k != "claude").cloned());
        names
    }

    /// The executor called `name`: `claude`, or one of the configuration.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(
        name: &str,
        configured: &std::collections::BTreeMap<String, ExecutorSection>,
    ) -> Result<Self, Unknown> {
        match (name, configured.get(name)) {
            ("claude", section) => Ok(Self::Claude(section.cloned().unwrap_or_default())),
            (_, Some(section)) => Ok(Self::Custom(section.clone())),
            (_, None) => Err(Unknown { name: name.to_owned(), known: Self::names(configured) }),
        }
    }

    /// The program to look for, or its absolute path.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        match self {
            Self::Claude(section) => section.path.clone().unwrap_or_else(|| "claude".into()),
            Self::Custom(section) => section.command.first().map(PathBuf::from).unwrap_or_default(),
        }
    }

    /// The model that is used if nobody names one.
    #[must_use]
    pub fn default_model(&self) -> Option<String> {
        match self {
            Self::Claude(_) => Some("sonnet".to_owned()),
            Self::Custom(_) => None,
        }
    }

    /// The configuration that applies.
    #[must_use]
    pub fn section(&self) -> &ExecutorSection {
        match self {
            Self::Claude(section) | Self::Custom(section) => section,
        }
    }

    /// Names of variables that this agent needs from the dispatcher's environment or from what was
    /// copied when the home was made.
    #[must_use]
    pub fn wants(&self) -> Vec<String> {
        let own: &[&str] = match self {
            Self::Claude(_) => claude::WANTS,
            Self::Custom(_) => &[],
        };
        own.iter().map(|n| (*n).to_owned()).chain(self.section().pass_env.iter().cloned()).collect()
    }

    /// The hosts that this agent cannot work without.
    #[must_use]
    pub fn hosts(&self) -> &'static [&'static str] {
        match self {
            Self::Claude(_) => &["api.anthropic.com"],
            Self::Custom(_) => &[],
        }
    }

    /// The variable that names another place where the model is.
    #[must_use]
    pub fn gateway(&self) -> Option<&'static str> {
        match self {
            Self::Claude(_) => Some("ANTHROPIC_BASE_URL"),
            Self::Custom(_) => None,
        }
    }

    /// Where in the agent's home the conversation `session_id` is kept, if this executor can carry
    /// one on: a directory, and the name of a file in one of the directories below it.
    #[must_use]
    pub fn conversation(&self, session_id: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Claude(_) => Some((".claude/projects", format!("{session_id}.jsonl"))),
            Self::Custom(_) => None,
        }
    }

    /// How to start the agent.
    #[must_use]
    pub fn invocation(&self, launch: &Launch) -> Invocation {
        match self {
            Self::Claude(section) => claude::invocation(section, launch),
            Self::Custom(section) => custom::invocation(section, launch),
        }
    }

    /// What a line of the agent's raw output says, for people who watch.
    #[must_use]
    pub fn said(&self, line: &[u8]) -> Vec<Said> {
        match self {
            Self::Claude(_) => said::of_claude(line),
            Self::Custom(_) => said::of_text(line),
        }
    }

    /// A reader for its list of things to do, if its output tells of one.
    #[must_use]
    pub fn todos(&self) -> Option<TodoReader> {
        match self {
            Self::Claude(_) => Some(TodoReader::default()),
            Self::Custom(_) => None,
        }
    }

    /// A reader for the agent's output.
    #[must_use]
    pub fn reader(&self) -> Reader {
        match self {
            Self::Claude(_) => Reader::Claude(claude::Reader::default()),
            Self::Custom(_) => Reader::Custom(custom::Reader::default()),
        }
    }
}

/// Reads an agent's output as it comes.
#[derive(Debug)]
pub enum Reader {
    /// Claude Code's `stream-json`.
    Claude(claude::Reader),
    /// Plain text.
    Custom(custom::Reader),
}

impl Reader {
    /// Takes a line of standard output, and says whether it was the agent's final word.
    pub fn line(&mut self, line: &[u8]) -> bool {
        match self {
            Self::Claude(reader) => reader.line(line),
            Self::Custom(reader) => reader.line(line),
        }
    }

    /// Takes a line of standard error.
    pub fn error_line(&mut self, line: &[u8]) {
        match self {
            Self::Claude(reader) => reader.error_line(line),
            Self::Custom(reader) => reader.error_line(line),
        }
    }

    /// What the output said, given how the process ended.
    #[must_use]
    pub fn summary(self, exit_code: Option<i32>) -> Summary {
        match self {
            Self::Claude(reader) => reader.summary(exit_code),
            Self::Custom(reader) => reader.summary(exit_code),
        }
    }
}

/// What an agent's output said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Whether it says that it succeeded, and its exit code agrees.
    pub success: bool,
    /// Its last words: the final text, or what went wrong.
    pub last_words: Option<String>,
    /// Tools that it was not allowed to use, each once.
    pub denied: Vec<String>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// Turns of the conversation.
    pub turns: Option<u64>,
}

impl Summary {
    /// Adds what was said to the report on the process.
    pub fn fill(self, report: &mut AgentReport) {
        report.claimed_success = self.success;
        report.last_words = self
            .last_words
            .map(|w| text::tail(w.trim(), 16 << 10).to_owned())
            .filter(|w| !w.is_empty());
        report.denied = self.denied;
        report.cost_usd = self.cost_usd;
        report.turns = self.turns;
    }
}

/// Keeps the last few lines of a stream, bounded.
#[derive(Debug, Default)]
struct LastLines(Vec<u8>);

impl LastLines {
    const KEEP: usize = 4 << 10;

    fn push(&mut self, line: &[u8]) {
        self.0.extend_from_slice(&line[line.len().saturating_sub(Self::KEEP)..]);
        if self.0.len() > 4 * Self::KEEP {
            self.0.drain(..self.0.len() - Self::KEEP);
        }
    }

    fn text(&self) -> Option<String> {
        let from = self.0.len().saturating_sub(Self::KEEP);
        let text = String::from_utf8_lossy(&self.0[from..]).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}
