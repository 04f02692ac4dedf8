//! GitHub's REST API, as far as this program needs it.
//!
//! The only room that knows HTTP statuses, headers, wire shapes and octocrab, which carries the
//! requests. What comes out are the types of [`domain`](crate::domain) and a few small ones.
//!
//! # Promises
//!
//! - A write is sent once. Only reads are tried again, twice, after a server error or a lost
//!   connection.
//! - Redirects are never followed silently: what moved is [`Error::Moved`].
//! - The token goes to the configured server only, and into no message, file or `Debug` output.
//! - Lists are asked for conditionally, with the `ETag`s of the last run: what did not change
//!   costs nothing of the rate limit. A single issue is always read afresh.
//! - Writes keep a pace that GitHub's secondary limits allow, over all processes with the same token
//!   and state directory.
//! - After a rate limit nothing is sent until it is over, in this process or another with the same
//!   token and state directory.
//!
//! A [`GitHub`] belongs to the tokio runtime in which it sends its first request.

mod address;
mod disk;
mod error;
mod issues;
mod labels;
mod limits;
mod lists;
mod pace;
mod pulls;
mod repos;
mod transport;
mod usage;
mod wire;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

pub use error::{Error, ErrorKind};
pub use issues::Comment;
pub use labels::Labelled;
pub use limits::{Cooldown, LimitKind};
pub use pulls::NewPull;
pub use repos::{Permission, RepoInfo, Viewer};
pub use usage::{Asked, Usage};
pub use words::Words;

/// What a [`GitHub`] needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The API's address, http or https; a path prefix and a slash at its end are allowed.
    pub api_url: String,
    /// The token; without one every request ends in [`Error::NoToken`].
    pub token: Option<SecretString>,
    /// Where lists, known labels, pauses and the pace are kept between runs. Made when first needed.
    /// It may be deleted at any time.
    pub state_dir: PathBuf,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("api_url", &self.api_url)
            .field("token", &self.token.as_ref().map(|_| "[redacted]"))
            .field("state_dir", &self.state_dir)
            .finish()
    }
}

/// A connection to GitHub with one token.
pub struct GitHub {
    address: address::Address,
    token: Option<SecretString>,
    disk: disk::Disk,
    limits: limits::Limits,
    pace: pace::Pace,
    usage: usage::Counter,
    /// Made for the first request: reading the system's certificates takes milliseconds.
    client: Mutex<Option<octocrab::Octocrab>>,
    /// How long to wait before a read is tried again.
    pause: fn() -> Duration,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("address", &self.address).finish_non_exhaustive()
    }
}

impl GitHub {
    /// Prepares a connection: cheap, and sends nothing.
    ///
    /// # Errors
    /// [`Error::Client`] if the address is not one.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let address = address::Address::parse(&settings.api_url)?;
        let disk =
            disk::Disk::new(settings.state_dir.clone(), &address.join(""), settings.token.as_ref());
        let cooldown = settings.state_dir.join("cooldown.json");
        Ok(Self {
            limits: limits::Limits::new(cooldown, disk.key().to_owned()),
            pace: pace::Pace::new(settings.state_dir.join("pace.json"), disk.key().to_owned()),
            address,
            token: settings.token,
            disk,
            usage: usage::Counter::default(),
            client: Mutex::new(None),
            pause: || Duration::from_millis(100 + 300 * u64::from(limits::jitter()) / 255),
        })
    }

    /// The pause that this token is in, if any, from this process or another. Sends nothing.
    #[must_use]
    pub fn cooldown(&self) -> Option<Cooldown> {
        self.limits.current(Timestamp::now())
    }

    /// What was sent so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.get()
    }
}
