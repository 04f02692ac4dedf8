//! From a pack that came out of a jail to a branch on the remote.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Error, Fence, FoundClaim, Host, Mirror, io_error};
use crate::domain::{BranchName, Claim};
use crate::failpoint::{Trouble, around};
use crate::store::{make_private_dir, remove_dir_all, sync_tree};

/// Commits of a run, checked, in a bare repository of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The bare repository; it borrows the mirror's objects.
    pub repository: PathBuf,
    /// The commit to publish.
    pub head: String,
    /// Commits over the base, counted by us.
    pub commits: u64,
}

/// The name of their repository.
const REPOSITORY: &str = "publish.git";

impl Imported {
    /// Those that an earlier [`Host::import`] into `scratch` has left.
    #[must_use]
    pub fn kept(scratch: &Path, head: &str, commits: u64) -> Self {
        Self { repository: scratch.join(REPOSITORY), head: head.to_owned(), commits }
    }
}

/// A pack of a run that is larger is not published.
pub(super) const MAX_PACK: u64 = 256 << 20;

impl Host {
    /// Checks the pack and imports it into a new bare repository under `scratch`: every object by
    /// git's own rules (`index-pack --strict`, as a server does with what is pushed to it), and that
    /// everything reachable from `head` is there, and descends from `base`.
    ///
    /// # Errors
    /// When an object is malformed or missing, or the pack is too large.
    pub fn import(
        &self,
        mirror: &Mirror,
        scratch: &Path,
        pack: &[u8],
        head: &str,
        base: &str,
    ) -> Result<Imported, Error> {
        let what = "take over the agent's commits";
        let unexpected = |why: &str| Error::Unexpected { what: what.into(), why: why.into() };
        if !is_object_id(head) || !is_object_id(base) {
            return Err(unexpected("a commit id is malformed"));
        }
        let repository = scratch.join(REPOSITORY);
        remove_dir_all(&repository).map_err(|e| unexpected(&e.to_string()))?;
        make_private_dir(scratch).map_err(|e| unexpected(&e.to_string()))?;
        let dir = repository.display().to_string();
        self.local(what, None, &["init", "--quiet", "--bare", "--template=", "--", &dir], &[])?;
        let alternates = repository.join("objects/info/alternates");
        let borrowed = format!("{}\n", mirror.path.join("objects").display());
        let write = || fs::write(&alternates, borrowed);
        around(Trouble::Disk, || "write alternates".into(), write)
            .map_err(io_error("write", &alternates))?;
        let max = format!("--max-input-size={MAX_PACK}");
        let args = ["index-pack", "--stdin", "--fix-thin", "--strict", &max];
        self.local(what, Some(&repository), &args, pack)?;
        let ancestry = ["merge-base", "--is-ancestor", base, head];
        self.local(what, Some(&repository), &ancestry, &[])
            .map_err(|_| unexpected("they do not descend from the commit that the run began at"))?;
        self.connected(what, &repository, head, base)?;
        let over_base = ["rev-list", "--count", head, &format!("^{base}"), "--"];
        let count = self.local(what, Some(&repository), &over_base, &[])?;
        let commits = String::from_utf8_lossy(&count)
            .trim()
            .parse()
            .map_err(|_| unexpected("git counted something that is not a number"))?;
        // What comes next is that the record says so.
        let sync = || sync_tree(scratch);
        around(Trouble::Disk, || "sync publish.git".into(), sync)
            .map_err(io_error("sync", scratch))?;
        Ok(Imported { repository, head: head.to_owned(), commits })
    }

    /// Whether everything is there between `base` and `head`.
    fn connected(&self, what: &str, dir: &Path, head: &str, base: &str) -> Result<(), Error> {
        let args = ["rev-list", "--objects", "--quiet", head, &format!("^{base}"), "--"];
        self.local(what, Some(dir), &args, &[]).map(drop)
    }

    /// Whether what was imported is there no more, or damaged.
    #[must_use]
    pub fn has_lost(&self, imported: &Imported, base: &str) -> bool {
        let Imported { repository, head, .. } = imported;
        let connected = self.connected("look at the imported commits", repository, head, base);
        // That git could not be run says nothing of them.
        matches!(connected, Err(Error::Failed { .. }))
    }

    /// Pushes the imported commits as `branch`, a branch that must not be there yet: never to a name
    /// that is not ours to write or is the default branch. With a `fence` the claim is moved on in
    /// the same atomic step, so that a host which has lost the issue pushes nothing; where it is then
    /// is returned, unless the push had arrived earlier already. Doing it again is harmless.
    ///
    /// # Errors
    /// When the name is not allowed, the remote refuses, or the claim is not where the fence says.
    pub fn push(
        &self,
        imported: &Imported,
        url: &str,
        branch: &BranchName,
        default: &BranchName,
        fence: Option<Fence<'_>>,
    ) -> Result<Option<FoundClaim>, Error> {
        let what = format!("push {branch} to {url}");
        if !branch.is_ours() || branch == default {
            return Err(Error::Unexpected { what, why: "this branch is not ours to write".into() });
        }
        let refspec = format!("{}:refs/heads/{branch}", imported.head);
        // The lease says that the remote has no such branch: one that somebody made since the run
        // began is never written to, not even forward.
        let lease = format!("--force-with-lease=refs/heads/{branch}:");
        let mut args = vec!["push", "--quiet", "--no-verify", "--atomic", &lease];
        let mut claim = None;
        let mut of_claim = None;
        if let Some(Fence { issue, from, next }) = fence {
            let id = self.write_claim(&imported.repository, next, Timestamp::now())?;
            let name = Claim::ref_name(issue);
            let lease = format!("--force-with-lease={name}:{from}");
            of_claim = Some((lease, format!("{id}:{name}")));
            claim = Some(FoundClaim { id, claim: next.clone() });
        }
        args.extend(of_claim.iter().map(|(lease, _)| lease.as_str()));
        args.extend(["--", url, &refspec]);
        args.extend(of_claim.iter().map(|(_, refspec)| refspec.as_str()));
        let pushed = self.remote(&what, Some(&imported.repository), url, &args);
        pushed.map(|_| claim).or_else(|e| {
            // The push whose answer was lost may have arrived: then a second one is refused.
            if self.has_branch(url, branch, &imported.head) { Ok(None) } else { Err(e) }
        })
    }

    /// Whether the remote's `branch` is at `head`.
    fn has_branch(&self, url: &str, branch: &BranchName, head: &str) -> bool {
        let name = format!("refs/heads/{branch}");
        let args = ["ls-remote", "--", url, &name];
        let seen = self.remote(&format!("look for {branch}"), None, url, &args);
        seen.is_ok_and(|out| String::from_utf8_lossy(&out).trim() == format!("{head}\t{name}"))
    }
}

/// Whether this is a full object id, SHA-1 or SHA-256.
fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}
