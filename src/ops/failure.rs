//! What a person is told when something cannot be done.

use std::fmt;

use crate::{config, executor, git, github, home, store};

/// Exit codes, as documented in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It could not be done.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// No idle worker.
    NoWorker = 3,
    /// The task is refused: closed, held by another, has a pull request, is not an issue.
    Refused = 4,
    /// GitHub does not accept the token, or it may not do what is needed.
    Access = 5,
    /// A rate limit of GitHub; it says until when.
    RateLimited = 6,
    /// The sandbox cannot be had.
    Sandbox = 7,
}

impl Exit {
    /// Every code and what it means, in the words of the README, which are those of the help and
    /// the manual pages too.
    pub const MEANINGS: [(u8, &str); 9] = [
        (0, "done (also: nothing to do, another `assign` is under way)"),
        (
            Self::Failed as u8,
            "it could not be done; `doctor`: a check failed; `assign`: another one is stuck",
        ),
        (Self::Usage as u8, "wrong usage or configuration"),
        (
            Self::NoWorker as u8,
            "no idle worker, or no such worker or run; `refresh`, `rm`: the worker is not idle",
        ),
        (
            Self::Refused as u8,
            "the task is refused: not an open issue, held, or it has a pull request",
        ),
        (Self::Access as u8, "GitHub does not accept the token, or the token may not do this"),
        (Self::RateLimited as u8, "a rate limit of GitHub; nothing is sent until it is over"),
        (Self::Sandbox as u8, "the sandbox cannot be had"),
        (8, "`update --check`: there is something newer"),
    ];
}

/// Cause, hint and exit code.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong and where, beginning in lower case.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<config::Error> for Failure {
    fn from(e: config::Error) -> Self {
        Self { message: e.to_string(), hint: e.hint(), exit: Exit::Usage }
    }
}

impl From<store::Error> for Failure {
    fn from(e: store::Error) -> Self {
        Self { message: e.to_string(), hint: e.hint(), exit: Exit::Failed }
    }
}

impl From<home::Error> for Failure {
    fn from(e: home::Error) -> Self {
        let mut message = e.to_string();
        let mut source = std::error::Error::source(&e);
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self { message, hint: e.hint(), exit: Exit::Failed }
    }
}

impl From<git::Error> for Failure {
    fn from(e: git::Error) -> Self {
        if e.is_access() {
            return Self::new(Exit::Access, e.to_string())
                .hint("the token needs read and write access to the repository's contents");
        }
        Self::new(Exit::Failed, e.to_string())
    }
}

impl From<executor::Unknown> for Failure {
    fn from(e: executor::Unknown) -> Self {
        let hint = match e.meant() {
            Some(meant) => format!("did you mean {meant}?"),
            None => "add it as `[executors.NAME] command = [...]` to the configuration".to_owned(),
        };
        Self::new(Exit::Usage, e.to_string()).hint(hint)
    }
}

impl From<github::Error> for Failure {
    fn from(e: github::Error) -> Self {
        use github::ErrorKind;
        let exit = match e.kind() {
            ErrorKind::Access => Exit::Access,
            ErrorKind::Missing | ErrorKind::Refused => Exit::Refused,
            ErrorKind::RateLimited => Exit::RateLimited,
            ErrorKind::Unreachable | ErrorKind::Broken => Exit::Failed,
        };
        Self { message: e.to_string(), hint: e.hint(), exit }
    }
}
