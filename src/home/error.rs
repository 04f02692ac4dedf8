//! Why a home could not be made.

use std::io;
use std::path::{Path, PathBuf};

use super::template;
use crate::domain::WorkerId;
use crate::store;

/// Why a home could not be made. Whichever it is, nothing was left at the home's place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is something at the home's place already; it was not touched.
    #[error("worker {worker} exists already: {}", path.display())]
    Exists {
        /// The worker.
        worker: WorkerId,
        /// What is there.
        path: PathBuf,
    },
    /// A template cannot be parsed or rendered.
    #[error("{origin}{}: {message}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Template {
        /// The file, or the words `shipped template` and its name.
        origin: String,
        /// The line in it, from 1, where the engine tells it.
        line: Option<usize>,
        /// What the engine says about it, without any value.
        message: String,
    },
    /// A template whose name ends in `.json` was rendered to something else.
    #[error("{origin} does not render to valid JSON")]
    Json {
        /// The file, or the words `shipped template` and its name.
        origin: String,
        /// Where the rendered text breaks off.
        source: serde_json::Error,
    },
    /// A file in the directory of templates that is not fit to be one.
    #[error("{origin} cannot be used: {why}")]
    Unfit {
        /// The word `template` and the file.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// A path that has to appear in a template is not UTF-8.
    #[error("{} is not UTF-8, so that no template can name it", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A value that no environment variable can hold.
    #[error("the value of {name} holds a NUL byte")]
    Nul {
        /// The variable.
        name: String,
    },
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file could not be copied into the home.
    #[error("cannot copy {}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: fs_extra::error::Error,
    },
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] store::Error),
}

impl Error {
    /// An [`Error::Io`], ready for `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// What a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => {
                Some("choose another id, or move that directory away first".to_owned())
            }
            Self::Template { .. } => {
                let names: Vec<_> = template::VARIABLES.iter().map(|(name, _)| *name).collect();
                Some(format!("a template can use: {}", names.join(", ")))
            }
            Self::Unfit { .. } => {
                Some("correct the file, or remove it from the directory of templates".to_owned())
            }
            Self::Nul { name } => Some(format!("set {name} anew")),
            Self::Record(e) => e.hint(),
            Self::Json { .. } | Self::NotUtf8 { .. } | Self::Io { .. } | Self::Copy { .. } => None,
        }
    }
}
