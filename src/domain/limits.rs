//! What an agent may take and reach.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether the agent is walled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JailMode {
    /// In a bubblewrap jail. The default.
    #[default]
    Bwrap,
    /// Not at all: the user wrote so.
    None,
}

impl fmt::Display for JailMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bwrap => "bwrap",
            Self::None => "none",
        })
    }
}

/// What an agent reaches of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Allowed hosts, through a proxy that is the only way out.
    Proxy,
    /// Whatever this machine reaches: the user wrote so, or there is no jail.
    Host,
    /// Nothing.
    None,
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proxy => "proxy",
            Self::Host => "host",
            Self::None => "none",
        })
    }
}

/// How long an agent may take, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// From the agent's start to its end.
    pub wall_clock_secs: u64,
    /// Without a byte of output.
    pub silence_secs: u64,
    /// Between the polite signal (TERM) and the final one (KILL).
    pub grace_secs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { wall_clock_secs: 2 * 3600, silence_secs: 20 * 60, grace_secs: 10 }
    }
}

/// What an agent may take, by the kernel's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    /// Bytes of memory that a process may have for itself.
    pub memory: Option<u64>,
    /// Processes and threads of the whole jail.
    pub processes: u64,
    /// The largest file that it may write, in bytes.
    pub file_size: u64,
    /// Bytes that each of the jail's directories in memory may hold.
    pub tmp_size: u64,
}

impl Default for Rlimits {
    fn default() -> Self {
        Self { memory: None, processes: 4096, file_size: 16 << 30, tmp_size: 1 << 30 }
    }
}

/// No limit is longer (about 30 years): a moment so far ahead can always be reckoned with.
const LONGEST: u64 = 1 << 30;

impl Limits {
    /// The wall-clock limit.
    #[must_use]
    pub fn wall_clock(&self) -> Duration {
        Duration::from_secs(self.wall_clock_secs.min(LONGEST))
    }

    /// The silence limit.
    #[must_use]
    pub fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_secs.min(LONGEST))
    }

    /// The grace between TERM and KILL.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_secs.min(LONGEST))
    }
}
