//! A claim: the record on the remote that says which host has an issue.
//!
//! It is the message of a commit without parents and files, at a ref of its own for each issue
//! ([`Claim::ref_name`]). Whoever makes or replaces that ref has the issue; the label on the issue
//! only shows it. The text of the message is a line for people, an empty line, and one JSON object.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{IdError, IssueNumber, RunId, WorkerId};

/// The version of the format that is written and understood.
const VERSION: u32 = 1;

/// No honest claim is longer, in bytes.
const MAX: usize = 4 << 10;

/// Which host (more exactly, which root) a claim is of: `[a-z0-9-]{1,80}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

impl HostId {
    /// From the machine's name, whatever that holds, and something random.
    #[must_use]
    pub fn new(machine: &str, random: u32) -> Self {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = machine.trim().chars().take(60).map(safe).collect();
        Self(format!("{}-{random:08x}", if name.is_empty() { "host" } else { &name }))
    }
}

impl FromStr for HostId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 80 || !text.bytes().all(fine) {
            let why = "it is made of lower-case letters, digits and dashes, at most 80";
            return Err(IdError::new(text, "a host's id", why));
        }
        Ok(Self(text.to_owned()))
    }
}

super::ids::string_id!(HostId);

/// What the host says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// It works on the issue.
    Held,
    /// It has ended: the issue is free as far as claims go.
    Done,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    version: u32,
    /// Whose it is.
    pub host: HostId,
    /// The worker there.
    pub worker: WorkerId,
    /// Its run.
    pub run: RunId,
    /// One more with each change of hands; 1 for the first.
    pub epoch: u64,
    /// Makes each record another object: pushing the very same one would succeed for everybody.
    pub nonce: String,
    /// After so many seconds without a change it may be taken over.
    pub ttl_secs: u64,
    /// Whether it still holds.
    pub state: ClaimState,
}

impl Claim {
    /// A claim that holds.
    #[must_use]
    pub fn new(
        host: HostId,
        worker: WorkerId,
        run: RunId,
        epoch: u64,
        nonce: String,
        ttl_secs: u64,
    ) -> Self {
        let state = ClaimState::Held;
        Self { version: VERSION, host, worker, run, epoch, nonce, ttl_secs, state }
    }

    /// The ref of the claim on an issue.
    #[must_use]
    pub fn ref_name(issue: IssueNumber) -> String {
        format!("{}issue-{issue}", Self::REFS)
    }

    /// Where the claims of a repository are.
    pub const REFS: &str = "refs/claude-workers/claims/";

    /// The commit's message.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn message(&self) -> Result<String, serde_json::Error> {
        let word = match self.state {
            ClaimState::Held => "held",
            ClaimState::Done => "done",
        };
        let json = serde_json::to_string(self)?;
        Ok(format!("{word} by worker {} of {}\n\n{json}\n", self.worker, self.host))
    }

    /// Reads a commit's message. Anybody who may push can have written it.
    ///
    /// # Errors
    /// Why it is no claim that this program understands.
    pub fn of_message(message: &str) -> Result<Self, String> {
        if message.len() > MAX {
            return Err("it is too long".into());
        }
        let json = message.split_once("\n\n").map_or(message, |(_, json)| json);
        let claim: Self = serde_json::from_str(json).map_err(|e| e.to_string())?;
        if claim.version != VERSION {
            return Err(format!("its version is {}; {VERSION} is known", claim.version));
        }
        Ok(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        let run = "20261121T071500-7f3a".parse().unwrap();
        let host = HostId::new("My Höst.example", 0xff);
        Claim::new(host, "01".parse().unwrap(), run, 3, "abc".into(), 7200)
    }

    #[test]
    fn a_claim_survives_its_message() {
        let message = claim().message().unwrap();
        assert!(message.starts_with("held by worker 01 of my-h-st-example-000000ff\n\n{"));
        assert_eq!(Claim::of_message(&message).unwrap(), claim());
    }

    #[test]
    fn what_is_no_claim_is_refused() {
        let other = claim().message().unwrap().replace("\"version\":1", "\"version\":2");
        let host = claim().message().unwrap().replace("000000ff\",", "\\u001b[31m\",");
        for bad in ["", "held", "x\n\n{}", &other, &host, &" ".repeat(MAX + 1)] {
            assert!(Claim::of_message(bad).is_err(), "{bad}");
        }
    }
}
