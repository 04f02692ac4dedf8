//! Claims of hosts on issues, on the remote itself: a ref for each issue, which only an atomic
//! compare-and-swap makes or moves. What the records mean is `domain`'s and `plan`'s business.
//!
//! The swap is a push with a lease. Git servers lock the ref, compare it and move it, so of any
//! number of hosts that push at the same moment exactly one succeeds. A push whose answer was lost
//! is looked up: the ref is at our object, or the push has not won.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::{Error, Host};
use crate::domain::{Claim, IssueNumber};

/// A claim that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundClaim {
    /// The commit that holds it.
    pub id: String,
    /// What it says.
    pub claim: Claim,
}

/// How a swap went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The ref is at our object.
    Won,
    /// It is at something else.
    Lost,
}

/// A swap that a push of work has to make in the same step.
#[derive(Debug, Clone, Copy)]
pub struct Fence<'a> {
    /// The issue.
    pub issue: IssueNumber,
    /// The record that this host believes to be there.
    pub from: &'a str,
    /// Its next one.
    pub next: &'a Claim,
}

/// So many refs are named in one command.
const AT_ONCE: usize = 100;

impl Host {
    /// Where the ref of each claim of the repository is.
    ///
    /// # Errors
    /// When the remote does not answer.
    pub fn claims(&self, url: &str) -> Result<BTreeMap<IssueNumber, String>, Error> {
        self.list_claims(url, "*")
    }

    /// Where the ref of one claim is. `None`: there is none.
    ///
    /// # Errors
    /// When the remote does not answer.
    pub fn claim_at(&self, url: &str, issue: IssueNumber) -> Result<Option<String>, Error> {
        Ok(self.list_claims(url, &format!("issue-{issue}"))?.remove(&issue))
    }

    fn list_claims(&self, url: &str, which: &str) -> Result<BTreeMap<IssueNumber, String>, Error> {
        let what = format!("look at the claims of {url}");
        let pattern = format!("{}{which}", Claim::REFS);
        let out = self.remote(&what, None, url, &["ls-remote", "--", url, &pattern])?;
        let text = String::from_utf8_lossy(&out);
        let of_line = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            let issue = name.strip_prefix(Claim::REFS)?.strip_prefix("issue-")?.parse().ok()?;
            Some((issue, id.to_owned()))
        };
        Ok(text.lines().filter_map(of_line).collect())
    }

    /// Reads the claim on an issue. `repository`: a bare one of ours, for the objects.
    ///
    /// # Errors
    /// When the remote does not answer, or what is there is no claim that can be understood.
    pub fn read_claim(
        &self,
        repository: &Path,
        url: &str,
        issue: IssueNumber,
    ) -> Result<Option<FoundClaim>, Error> {
        let what = format!("read the claim on issue {issue} of {url}");
        let Some(id) = self.claim_at(url, issue)? else { return Ok(None) };
        let show = ["cat-file", "commit", &id];
        self.make_bare(&what, repository)?;
        let commit = self.local(&what, Some(repository), &show, b"").or_else(|_| {
            let name = Claim::ref_name(issue);
            let fetch =
                ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url, &name];
            self.remote(&what, Some(repository), url, &fetch)?;
            // It fails if the claim moved on since it was listed: somebody was quicker.
            self.local(&what, Some(repository), &show, b"")
        })?;
        match parse(&commit) {
            Ok((claim, _)) => Ok(Some(FoundClaim { id, claim })),
            Err(why) => Err(Error::Unexpected { what, why }),
        }
    }

    /// What claims say that were seen there, and when they were written; what is no claim, or was
    /// moved meanwhile, is left out. `repository`: a bare one of ours, for the objects.
    ///
    /// # Errors
    /// When the remote does not answer.
    pub fn read_claims(
        &self,
        repository: &Path,
        url: &str,
        claims: &BTreeMap<IssueNumber, String>,
    ) -> Result<BTreeMap<IssueNumber, (Claim, Timestamp)>, Error> {
        let what = format!("read claims of {url}");
        self.make_bare(&what, repository)?;
        let mut known = self.commits(&what, repository, claims.values())?;
        let missing = claims.iter().filter(|(_, id)| !known.contains_key(*id));
        let missing: Vec<String> = missing.map(|(issue, _)| Claim::ref_name(*issue)).collect();
        for some in missing.chunks(AT_ONCE) {
            let mut args =
                vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url];
            args.extend(some.iter().map(String::as_str));
            self.remote(&what, Some(repository), url, &args)?;
        }
        if !missing.is_empty() {
            known = self.commits(&what, repository, claims.values())?;
        }
        let of = |(issue, id): (&IssueNumber, &String)| {
            let (claim, at) = parse(known.get(id)?).ok()?;
            Some((*issue, (claim, at?)))
        };
        Ok(claims.iter().filter_map(of).collect())
    }

    /// Those of the commits that are in `repository`, by id.
    fn commits<'a>(
        &self,
        what: &str,
        repository: &Path,
        ids: impl Iterator<Item = &'a String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let input: String = ids.flat_map(|id| [id.as_str(), "\n"]).collect();
        let out = self.local(what, Some(repository), &["cat-file", "--batch"], input.as_bytes())?;
        let mut commits = BTreeMap::new();
        let mut rest = &out[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = &rest[end + 1..];
            // `<id> missing`, or `<id> <type> <bytes>` and then the object and a line's end.
            let mut words = head.split(' ');
            let (id, kind) = (words.next().unwrap_or_default(), words.next());
            let Some(bytes) = words.next().and_then(|n| n.parse::<usize>().ok()) else { continue };
            let Some((object, after)) = rest.split_at_checked(bytes) else { break };
            if kind == Some("commit") {
                commits.insert(id.to_owned(), object.to_vec());
            }
            rest = after.strip_prefix(b"\n").unwrap_or(after);
        }
        Ok(commits)
    }

    /// Removes claims that are where they were seen, and returns those that are there no more. One
    /// that was moved meanwhile stays, and is in no other's way.
    ///
    /// # Errors
    /// When it is not known which are gone.
    pub fn remove_claims(
        &self,
        repository: &Path,
        url: &str,
        claims: &BTreeMap<IssueNumber, String>,
    ) -> Result<BTreeSet<IssueNumber>, Error> {
        let what = format!("remove claims of {url}");
        self.make_bare(&what, repository)?;
        let all: Vec<(String, &String)> =
            claims.iter().map(|(issue, id)| (Claim::ref_name(*issue), id)).collect();
        let mut pushed = Ok(());
        for some in all.chunks(AT_ONCE) {
            let lease = |(name, id): &(String, &String)| format!("--force-with-lease={name}:{id}");
            let leases: Vec<String> = some.iter().map(lease).collect();
            let refspecs: Vec<String> = some.iter().map(|(name, _)| format!(":{name}")).collect();
            let mut args = vec!["push", "--quiet", "--no-verify"];
            args.extend(leases.iter().map(String::as_str));
            args.extend(["--", url]);
            args.extend(refspecs.iter().map(String::as_str));
            // It fails if one was moved, and an answer may be lost: what counts is what is there.
            pushed = self.remote(&what, Some(repository), url, &args).map(drop).and(pushed);
        }
        let there = self.claims(url)?;
        let gone: BTreeSet<_> = claims.keys().copied().filter(|n| !there.contains_key(n)).collect();
        let nothing_done = gone.is_empty() && claims.iter().all(|(n, id)| there.get(n) == Some(id));
        if nothing_done { pushed.map(|()| gone) } else { Ok(gone) }
    }

    /// Writes a claim as a commit into a bare repository of ours and returns its id. Nobody sees it
    /// before [`swap_claim`](Self::swap_claim).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_claim(
        &self,
        repository: &Path,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<String, Error> {
        let what = "write a claim";
        self.make_bare(what, repository)?;
        let write = |kind: &str, bytes: &[u8]| -> Result<String, Error> {
            let args = ["hash-object", "-t", kind, "-w", "--stdin"];
            let out = self.local(what, Some(repository), &args, bytes)?;
            Ok(String::from_utf8_lossy(&out).trim().to_owned())
        };
        let message = claim
            .message()
            .map_err(|e| Error::Unexpected { what: what.into(), why: e.to_string() })?;
        let tree = write("tree", b"")?;
        let who = format!("claude-workers <claude-workers@localhost> {} +0000", now.as_second());
        write(
            "commit",
            format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{message}").as_bytes(),
        )
    }

    /// Moves the claim on an issue from `from` (`None`: it must not be there) to `to`, which
    /// [`write_claim`](Self::write_claim) has written into `repository`.
    ///
    /// # Errors
    /// When it is not known whether it was moved, or the remote refuses for another reason than the
    /// lease.
    pub fn swap_claim(
        &self,
        repository: &Path,
        url: &str,
        issue: IssueNumber,
        from: Option<&str>,
        to: &str,
    ) -> Result<Swap, Error> {
        let what = format!("claim issue {issue} of {url}");
        let name = Claim::ref_name(issue);
        let lease = format!("--force-with-lease={name}:{}", from.unwrap_or_default());
        let refspec = format!("{to}:{name}");
        let args = ["push", "--quiet", "--no-verify", &lease, "--", url, &refspec];
        let Err(refused) = self.remote(&what, Some(repository), url, &args) else {
            return Ok(Swap::Won);
        };
        let now = self.claim_at(url, issue).map_err(|_| Error::Unexpected {
            what,
            why: format!("it is not known whether it was done: {refused}"),
        })?;
        match now.as_deref() {
            Some(id) if id == to => Ok(Swap::Won),
            // The lease was good, so it was something else that the remote did not like.
            id if id == from => Err(refused),
            _ => Ok(Swap::Lost),
        }
    }
}

/// What a commit claims, and when it says that it was made.
fn parse(commit: &[u8]) -> Result<(Claim, Option<Timestamp>), String> {
    let commit = String::from_utf8_lossy(commit);
    let (head, message) = commit.split_once("\n\n").unwrap_or((&commit, ""));
    let line = head.lines().find_map(|line| line.strip_prefix("committer "));
    let secs = line.and_then(|line| line.rsplit(' ').nth(1)?.parse().ok());
    let at = secs.and_then(|secs| Timestamp::from_second(secs).ok());
    Ok((Claim::of_message(message)?, at))
}
