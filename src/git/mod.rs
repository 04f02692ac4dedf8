//! Git, in two places that never mix.
//!
//! - **On the host** ([`Host`]): bare repositories that only we write. The mirror of a repository is
//!   fetched here, and a run's commits are checked and pushed from a bare repository of their own.
//!   The host never runs git in a clone that an agent could write: its configuration and hooks are
//!   the agent's.
//! - **In the jail** ([`clone`]): our binary, as a jail's first process, makes and resets the clone
//!   and packs what the agent committed; [`sweep`] removes clones. What it reports is a claim; the host checks the objects.

mod changes;
mod claims;
pub mod clone;
mod host;
mod mirror;
mod outbox;
mod publish;
pub mod sweep;

pub use claims::{Fence, FoundClaim, Swap};
pub use host::{Host, HostEnv, credential};
pub use mirror::{
    Mirror, REMOVING, doubt_mirror, fetched_at, is_mirror, packs_and_loose, remove_mirror,
};
pub use publish::Imported;

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::domain::text;

/// What can go wrong with git.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Git could not be started.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Git ran and failed.
    #[error("cannot {what}: {}", text::one_line(said, 400))]
    Failed {
        /// What was tried.
        what: String,
        /// What git said.
        said: String,
    },
    /// What came out of git is not what we expect.
    #[error("cannot {what}: {why}")]
    Unexpected {
        /// What was tried.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A file operation beside git failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether git could not be run to its end for a fault of this machine (no process to be had, no
    /// memory): it says nothing of what git was to read.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        let told = [ErrorKind::FileTooLarge, ErrorKind::TimedOut];
        matches!(self, Self::Start { source, .. } if !told.contains(&source.kind()))
    }

    /// Whether the remote does not accept the token, or the token may not do this.
    #[must_use]
    pub fn is_access(&self) -> bool {
        let signs = ["error: 401", "error: 403", "Authentication failed"];
        matches!(self, Self::Failed { said, .. } if signs.iter().any(|sign| said.contains(sign)))
    }

    /// Whether git cannot make sense of a repository of ours, which is to be made anew then. Better once
    /// too often than never.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Failed { said, .. } if tells_of_damage(said))
    }

    /// Whether a push was refused for good: a second one would be, too. Whatever else is wrong may
    /// pass, such as a server that answers nothing that makes sense.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            // Limits of the rate come with a 403, too.
            Self::Failed { said, .. } if said.contains("rate limit") => false,
            Self::Failed { said, .. } => said.lines().any(refuses),
            Self::Unexpected { .. } => true,
            Self::Start { .. } | Self::Io { .. } => false,
        }
    }
}

/// Whether what git said tells of a damaged repository on this side.
#[must_use]
pub fn tells_of_damage(said: &str) -> bool {
    const SIGNS: &[&str] = &[
        "not a git repository",
        "bad config ",
        "bad object ",
        "bad tree object",
        "corrupt",
        "object file",
        "unable to read ",
        "too small",
        "too short",
        "cannot mkdir",
    ];
    let ours = said.lines().filter(|line| !line.starts_with("remote:"));
    ours.flat_map(|line| SIGNS.iter().map(move |sign| line.contains(sign))).any(|is| is)
}

/// Whether a line of what git says refuses a push for good.
fn refuses(line: &str) -> bool {
    const SIGNS: &[&str] = &[
        // Rules of the repository, and hooks.
        "declined",
        "refusing to ",
        "error: gh0",
        "deletion prohibited",
        "protected branch",
        // Somebody was quicker, or the name is not free.
        "non-fast-forward",
        "but expected ",
        "reference already exists",
        "; cannot create",
        "funny refname",
        "hidden ref",
        // What was pushed is not as it should be.
        "shallow update not allowed",
        "missing necessary objects",
        "fsck error",
        "exceeds maximum allowed size",
        "error: 413",
        // The token may not, or there is nothing.
        "error: 403",
        "error: 404",
        "permission to ",
        "write access to repository not granted",
        "repository not found",
        "' not found",
        "does not appear to be a git repository",
        "archived so it is read-only",
    ];
    let line = line.to_ascii_lowercase();
    // What git itself does not even send: the lease is stale, say. Of the rest of an atomic push it
    // says no more than that.
    if let Some(rejected) = line.trim_start().strip_prefix("! [rejected]") {
        return !rejected.contains("(atomic push failed)");
    }
    SIGNS.iter().any(|sign| line.contains(sign))
}

fn io_error(
    what: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_a_push_for_good_is_told_from_what_may_pass() {
        let to = "To https://github.com/o/a.git\n";
        let failed = "error: failed to push some refs to 'https://github.com/o/a.git'";
        let rejected = |line: &str| format!("{to} ! {line}\n{failed}");
        let url = "fatal: unable to access 'https://github.com/o/a.git/': ";
        let rpc = |code: u16, curl: u8| {
            format!(
                "error: RPC failed; HTTP {code} curl {curl} The requested URL returned error: {code}\n\
                 send-pack: unexpected disconnect while reading sideband packet\n\
                 fatal: the remote end hung up unexpectedly"
            )
        };
        let of_remote =
            |says: &str, why: &str| format!("remote: {says}\n{}", rejected(&remote_rejected(why)));
        for said in [
            rejected("[rejected]        9be1b3d -> issue-1 (stale info)"),
            rejected("[rejected]        9be1b3d -> issue-1 (fetch first)"),
            rejected("[rejected]        9be1b3d -> issue-1 (non-fast-forward)"),
            rejected("[rejected]        9be1b3d -> issue-1 (already exists)"),
            rejected(
                "[rejected]        9be1b3d -> issue-1 (atomic push failed)\n ! [rejected]        \
                 aaf0 -> refs/claude-workers/claims/issue-1 (stale info)",
            ),
            rejected(&remote_rejected("pre-receive hook declined")),
            rejected(&remote_rejected("hook declined")),
            rejected(&remote_rejected("non-fast-forward")),
            rejected(&remote_rejected("shallow update not allowed")),
            rejected(&remote_rejected("funny refname")),
            rejected(&remote_rejected("deny updating a hidden ref")),
            rejected(&remote_rejected("missing necessary objects")),
            of_remote(
                "error: cannot lock ref 'refs/heads/issue-1': is at aaf0 but expected bb01",
                "failed to update ref",
            ),
            of_remote(
                "error: cannot lock ref 'refs/heads/issue-1': 'refs/heads/issue-1/x' exists; cannot \
                 create 'refs/heads/issue-1'",
                "failed to update ref",
            ),
            of_remote(
                "error: GH001: Large files detected. You may want to try Git Large File Storage.",
                "pre-receive hook declined",
            ),
            of_remote(
                "error: GH006: Protected branch update failed for refs/heads/issue-1.",
                "protected branch hook declined",
            ),
            of_remote(
                "error: GH013: Repository rule violations found for refs/heads/issue-1.",
                "push declined due to repository rule violations",
            ),
            of_remote(
                "error: GH007: Your push would publish a private email address.",
                "push declined due to email privacy restrictions",
            ),
            rejected(&remote_rejected(
                "refusing to allow a Personal Access Token to create or update workflow \
                 `.github/workflows/ci.yml` without `workflow` scope",
            )),
            of_remote("fatal: fsck error in packed object", "unpacker error"),
            of_remote("fatal: pack exceeds maximum allowed size (2.00 GiB)", "unpacker error"),
            format!(
                "remote: Permission to o/a.git denied to octo.\n{url}The requested URL returned error: 403"
            ),
            format!(
                "remote: Write access to repository not granted.\n{url}The requested URL returned error: 403"
            ),
            "remote: Repository not found.\nfatal: repository 'https://github.com/o/a.git/' not found".to_owned(),
            rpc(413, 22),
        ] {
            assert!(is_refusal(&said), "{said}");
        }
        for said in [
            rpc(408, 22),
            rpc(500, 22),
            rpc(507, 22),
            rpc(520, 22),
            rpc(429, 22),
            rpc(0, 56),
            format!("{url}The requested URL returned error: 502"),
            format!("{url}The requested URL returned error: 401"),
            format!("{url}Could not resolve host: github.com"),
            format!(
                "{url}Failed to connect to github.com port 443 after 3 ms: Couldn't connect to server"
            ),
            format!("{url}SSL certificate problem: certificate is not yet valid"),
            format!("{url}Received HTTP code 403 from proxy after CONNECT"),
            format!(
                "remote: You have exceeded a secondary rate limit.\n{url}The requested URL returned error: 403"
            ),
            "fatal: Authentication failed for 'https://github.com/o/a.git/'".into(),
            rejected(&remote_rejected("Internal Server Error")),
            rejected(&remote_rejected("failure")),
            rejected(&remote_rejected("failed to update ref")),
            rejected(&remote_rejected("unpacker error")),
            of_remote(
                "error: cannot lock ref 'refs/heads/issue-1': Unable to create \
                 '/o/a.git/refs/heads/issue-1.lock': File exists.",
                "failed to update ref",
            ),
            rejected(&format!(
                "[rejected]        9be1b3d -> issue-1 (atomic push failed)\n ! {}",
                remote_rejected("Internal Server Error")
            )),
            "fatal: not a git repository: '/w/.pool/01/scratch/publish.git'".into(),
            "fatal: write error: No space left on device".into(),
            String::new(),
        ] {
            assert!(!is_refusal(&said), "{said}");
        }
    }

    fn remote_rejected(why: &str) -> String {
        format!("[remote rejected] 9be1b3d -> issue-1 ({why})")
    }

    fn is_refusal(said: &str) -> bool {
        Error::Failed { what: "push".into(), said: said.to_owned() }.is_refusal()
    }
}
