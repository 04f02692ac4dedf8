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
        Self::new(Exit::Usage, e.to_string())
            .hint("add it as `[executors.NAME] command = [...]` to the configuration")
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
