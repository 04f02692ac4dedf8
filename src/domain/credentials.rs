//! What of its user's access to GitHub a worker holds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a worker's home holds what opens GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialMode {
    /// Token, SSH keys and configurations are copied: the agent is trusted with them.
    #[default]
    Copy,
    /// Nothing of it: the host alone has the token, and does what needs one.
    Broker,
}

impl fmt::Display for CredentialMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Copy => "copy",
            Self::Broker => "broker",
        })
    }
}
