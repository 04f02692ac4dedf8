//! Configuration: raw file, environment and flags in, resolved [`Settings`] out.
//!
//! Precedence, highest first: flag, environment variable, configuration file, default. A file that
//! cannot be read or holds an unknown key is an error that names the place; nothing is guessed.

pub mod env;
mod file;
mod settings;

pub use env::Env;
pub use file::{ApprovedIn, ExecutorSection, Trust};
pub use settings::{API_URL_DEFAULT, Flags, Network, SERVER_URL_DEFAULT, Settings};

use std::path::PathBuf;

/// What can be wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's content is wrong.
    #[error("{}:{line}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
        /// The key that was probably meant.
        meant: Option<String>,
    },
    /// A value that parses and makes no sense.
    #[error("{place}: {message}")]
    Value {
        /// The key, flag or variable.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no home directory to hang the defaults on.
    #[error("there is no home directory: HOME is not set and the user has none")]
    NoHome,
    /// The token file cannot be used.
    #[error("the token file {} cannot be used: {why}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Content { meant: Some(meant), .. } => Some(format!("did you mean `{meant}`?")),
            Self::NoHome => Some("set HOME, or --root and CLAUDE_WORKERS_CONFIG".into()),
            Self::TokenFile { path, .. } => Some(format!(
                "write the token alone into it and run `chmod 600 {}`",
                path.display()
            )),
            _ => None,
        }
    }
}
