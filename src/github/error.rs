//! What can go wrong between us and GitHub.

use std::path::PathBuf;

use jiff::Timestamp;

use super::LimitKind;

/// Why GitHub did not do, or did not say, what was asked.
///
/// `what` names the thing that was asked about (`octo/app#22`). Words of GitHub's own are one line
/// without control characters, and never hold the token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no token, or none that could be sent.
    #[error("there is no GitHub token that could be used: {why}")]
    NoToken {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The client could not be made: a wrong address, or no certificates to trust.
    #[error("GitHub's API at {url:?} cannot be used: {why}")]
    Client {
        /// The configured address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// 401.
    #[error("GitHub says 401 for {what}: it does not accept the token ({message})")]
    Unauthorized {
        /// What was asked about.
        what: String,
        /// GitHub's words.
        message: String,
    },
    /// 403 that is not a rate limit.
    #[error("GitHub says 403 for {what}: {message}")]
    Forbidden {
        /// What was asked about.
        what: String,
        /// GitHub's words.
        message: String,
    },
    /// 404.
    #[error("GitHub says 404 for {what}: it is not there, or this token may not see it")]
    NotFound {
        /// What was asked about.
        what: String,
    },
    /// 410.
    #[error("GitHub says 410 for {what}: it has been deleted or switched off")]
    Gone {
        /// What was asked about.
        what: String,
    },
    /// A redirect, or an answer about something else than was asked.
    #[error("{what} has moved to {to}")]
    Moved {
        /// What was asked about.
        what: String,
        /// Where it is now: `owner/name`, `owner/name#N`, or an address.
        to: String,
    },
    /// 403 or 429, or a pause from an earlier one that is not over: nothing is sent until then.
    #[error("GitHub's {kind} is used up: no request before {until} ({why})")]
    RateLimited {
        /// When to ask again.
        until: Timestamp,
        /// Which limit.
        kind: LimitKind,
        /// GitHub's words.
        why: String,
    },
    /// 422.
    #[error("GitHub says 422 for {what}: {message}")]
    Unprocessable {
        /// What was asked about.
        what: String,
        /// GitHub's words, those of the single errors included.
        message: String,
        /// `code` of the single errors, such as `already_exists`.
        codes: Vec<String>,
    },
    /// Any other status of 400 to 499.
    #[error("GitHub says {status} for {what}: {message}")]
    Refused {
        /// What was asked about.
        what: String,
        /// The HTTP status.
        status: u16,
        /// GitHub's words.
        message: String,
    },
    /// 5xx; after two more tries if it was a read.
    #[error("GitHub says {status} for {what}: its server failed")]
    Server {
        /// What was asked about.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// No answer: no connection, a dropped one, or a limit of time.
    #[error("no answer from GitHub at {server} for {what}: {why}")]
    Network {
        /// What was asked about.
        what: String,
        /// Scheme and host.
        server: String,
        /// The error and its causes.
        why: String,
    },
    /// An answer that is not what GitHub documents.
    #[error("GitHub's answer for {what} cannot be understood: {why}")]
    BadAnswer {
        /// What was asked about.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of ours.
    #[error("cannot change {path:?}: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
}

/// What kind of trouble an [`Error`] is, for exit codes and for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The token is missing, not accepted, or may not do this.
    Access,
    /// The thing is not there: never was, deleted, moved.
    Missing,
    /// A rate limit: nothing will work for a while.
    RateLimited,
    /// GitHub understood and will not do it.
    Refused,
    /// No answer, or a failing server: it may work later.
    Unreachable,
    /// The address, an answer, or a file of ours is not what it should be.
    Broken,
}

impl Error {
    /// The kind of trouble.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoToken { .. } | Self::Unauthorized { .. } | Self::Forbidden { .. } => {
                ErrorKind::Access
            }
            Self::NotFound { .. } | Self::Gone { .. } | Self::Moved { .. } => ErrorKind::Missing,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Unprocessable { .. } | Self::Refused { .. } => ErrorKind::Refused,
            Self::Server { .. } | Self::Network { .. } => ErrorKind::Unreachable,
            Self::Client { .. } | Self::BadAnswer { .. } | Self::State { .. } => ErrorKind::Broken,
        }
    }

    /// Whether GitHub refused this one question and others may still be answered. After
    /// [`GitHub::visible_open_issues`](super::GitHub::visible_open_issues) it means: this token
    /// cannot list across repositories, ask repository by repository.
    #[must_use]
    pub fn is_not_available(&self) -> bool {
        matches!(
            self,
            Self::Forbidden { .. }
                | Self::NotFound { .. }
                | Self::Gone { .. }
                | Self::Moved { .. }
                | Self::Unprocessable { .. }
                | Self::Refused { .. }
        )
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoToken { .. } => {
                "set GH_TOKEN, or name a file that holds the token in `[github] token_file`"
            }
            Self::Unauthorized { .. } => "the token is wrong, expired or revoked: make a new one",
            Self::Forbidden { .. } | Self::NotFound { .. } => {
                "check the name, and that the token may read and write issues, contents and pull \
                 requests of this repository"
            }
            Self::Moved { .. } => {
                "if the new place is meant, write its name into `repos` or the command"
            }
            Self::Client { .. } => {
                "check the API address; for https, certificates are taken from the system \
                 (package ca-certificates) or from SSL_CERT_FILE"
            }
            Self::Network { .. } => "check the network, the API address and SSL_CERT_FILE",
            Self::Gone { .. }
            | Self::RateLimited { .. }
            | Self::Unprocessable { .. }
            | Self::Refused { .. }
            | Self::Server { .. }
            | Self::BadAnswer { .. }
            | Self::State { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
