//! What may be copied into a worker's home.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::CredentialMode;

/// One thing that may be copied into a worker's home (`[credentials] copy` in the configuration).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Credential {
    /// `~/.gitconfig`.
    Gitconfig,
    /// The tree `~/.ssh`.
    Ssh,
    /// gh's configuration directory.
    Gh,
    /// The value `GH_TOKEN`.
    GhToken,
    /// The value `ANTHROPIC_API_KEY`.
    AnthropicApiKey,
    /// The value `CLAUDE_CODE_OAUTH_TOKEN`.
    ClaudeCodeOauthToken,
}

/// A word that names no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a credential that can be copied; these are: {}", Credential::words())]
pub struct UnknownCredential {
    word: String,
}

impl Credential {
    /// All of them, in the order in which they are copied.
    pub const ALL: [Self; 6] = [
        Self::Gitconfig,
        Self::Ssh,
        Self::Gh,
        Self::GhToken,
        Self::AnthropicApiKey,
        Self::ClaudeCodeOauthToken,
    ];

    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gitconfig => "gitconfig",
            Self::Ssh => "ssh",
            Self::Gh => "gh",
            Self::GhToken => "gh_token",
            Self::AnthropicApiKey => "anthropic_api_key",
            Self::ClaudeCodeOauthToken => "claude_code_oauth_token",
        }
    }

    /// The environment variable that carries it, if it is a value and not files.
    #[must_use]
    pub const fn env_name(self) -> Option<&'static str> {
        match self {
            Self::Gitconfig | Self::Ssh | Self::Gh => None,
            Self::GhToken => Some("GH_TOKEN"),
            Self::AnthropicApiKey => Some("ANTHROPIC_API_KEY"),
            Self::ClaudeCodeOauthToken => Some("CLAUDE_CODE_OAUTH_TOKEN"),
        }
    }

    /// Whether it may be in a home of this mode. A git configuration can name helpers and hold
    /// tokens, so that it counts as a credential; the key of the model is none for GitHub.
    #[must_use]
    pub const fn fits(self, mode: CredentialMode) -> bool {
        match mode {
            CredentialMode::Copy => true,
            CredentialMode::Broker => {
                matches!(self, Self::AnthropicApiKey | Self::ClaudeCodeOauthToken)
            }
        }
    }

    fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Credential {
    type Err = UnknownCredential;
    /// Takes `-` for `_`, so that both spellings of a name are right.
    fn from_str(s: &str) -> Result<Self, UnknownCredential> {
        let word = s.replace('-', "_");
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == word)
            .ok_or_else(|| UnknownCredential { word: s.to_owned() })
    }
}

impl TryFrom<String> for Credential {
    type Error = UnknownCredential;
    fn try_from(s: String) -> Result<Self, UnknownCredential> {
        s.parse()
    }
}

impl From<Credential> for String {
    fn from(credential: Credential) -> String {
        credential.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_the_configuration_and_on_the_terminal() {
        for credential in Credential::ALL {
            let json = serde_json::to_string(&credential).unwrap();
            assert_eq!(json, format!("\"{credential}\""));
            assert_eq!(serde_json::from_str::<Credential>(&json).unwrap(), credential);
        }
        assert_eq!("gh-token".parse::<Credential>().unwrap(), Credential::GhToken);
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = "netrc".parse::<Credential>().unwrap_err().to_string();
        assert!(error.contains("\"netrc\"") && error.contains("gitconfig, ssh, gh"), "{error}");
    }
}
