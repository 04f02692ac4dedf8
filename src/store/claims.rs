//! What this host remembers of claims: who it is itself, and since when it has seen another host's
//! claim unchanged.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::atomic::rename_file;
use super::{
    ClaimsLock, Error, Root, TEMPORARY, make_private_dir, read_bounded, remove_dir_all,
    write_private,
};
use crate::domain::{HostId, IssueNumber, RepoSlug};
use crate::process::Uptime;

/// `.pool/host.json`
#[derive(Debug, Serialize, Deserialize)]
struct Host {
    version: u32,
    id: HostId,
}

/// `.pool/github/claims/seen/<owner>-<repo>-<issue>.json`
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    version: u32,
    id: String,
    boot: String,
    secs: i64,
}

/// The format version of these.
const VERSION: u32 = 1;

/// The largest file of these.
const MAX: u64 = 4 << 10;

/// This host's id. It is made once for each root, from the machine's name and `random`.
///
/// # Errors
/// When it can be neither read nor made. One that cannot be understood is not replaced: claims bear
/// it.
pub fn host_id(root: &Root, random: impl FnOnce() -> u32) -> Result<HostId, Error> {
    let path = root.pool().join("host.json");
    if let Some(bytes) = read_bounded(&path, MAX)? {
        let host: Host = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Broken { path: path.clone(), why: e.to_string() })?;
        if host.version > VERSION {
            let found = u64::from(host.version);
            return Err(Error::Newer { path, found, known: VERSION });
        }
        return Ok(host.id);
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Host { version: VERSION, id: HostId::new(&machine, random()) };
    let json = serde_json::to_vec(&host)
        .map_err(|e| Error::Broken { path: path.clone(), why: e.to_string() })?;
    make_private_dir(&root.pool())?;
    write_private(&path, &json)?;
    Ok(host.id)
}

/// The bare repository in which claims are written and read.
#[must_use]
pub fn claims_repository(root: &Root) -> PathBuf {
    root.claims().join("objects.git")
}

/// Throws that repository away: what is needed of it is written or fetched again. `false`: somebody
/// is just using it.
///
/// # Errors
/// When it cannot be removed.
pub fn forget_claims_repository(root: &Root) -> Result<bool, Error> {
    let Some(lock) = ClaimsLock::try_take(root)? else { return Ok(false) };
    let aside = root.claims().join(format!("{TEMPORARY}objects"));
    remove_dir_all(&aside)?;
    rename_file(&claims_repository(root), &aside)?;
    drop(lock);
    remove_dir_all(&aside)?;
    Ok(true)
}

/// For how long the claim on an issue has been seen to be exactly `id`. The first look says zero,
/// and so does the first after a reboot: only this boot's clock counts, which nobody sets.
///
/// # Errors
/// When what was seen cannot be remembered: it would never be over then.
pub fn unchanged_for(
    root: &Root,
    repo: &RepoSlug,
    issue: IssueNumber,
    id: &str,
    now: &Uptime,
) -> Result<Duration, Error> {
    let dir = root.claims().join("seen");
    let path = dir.join(format!("{}-{}-{issue}.json", repo.owner(), repo.name()));
    let known = read_bounded(&path, MAX)?;
    let known = known.and_then(|bytes| serde_json::from_slice::<Seen>(&bytes).ok());
    if let Some(seen) = known
        && (seen.id.as_str(), seen.boot.as_str()) == (id, now.boot.as_str())
        && let Ok(secs) = u64::try_from(now.secs.saturating_sub(seen.secs))
    {
        return Ok(Duration::from_secs(secs));
    }
    let seen = Seen { version: VERSION, id: id.to_owned(), boot: now.boot.clone(), secs: now.secs };
    let json = serde_json::to_vec(&seen)
        .map_err(|e| Error::Broken { path: path.clone(), why: e.to_string() })?;
    make_private_dir(&dir)?;
    write_private(&path, &json)?;
    Ok(Duration::ZERO)
}

/// Whether the claims of a repository were last looked at `every` ago or longer; if so, this counts
/// as a look.
///
/// # Errors
/// When that cannot be remembered.
pub fn claims_are_due(root: &Root, repo: &RepoSlug, every: Duration) -> Result<bool, Error> {
    let dir = root.claims().join("looked");
    let path = dir.join(format!("{}-{}", repo.owner(), repo.name()));
    let looked = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
    if looked.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < every) {
        return Ok(false);
    }
    make_private_dir(&dir)?;
    write_private(&path, b"")?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_keeps_its_id_and_a_broken_one_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let id = host_id(&root, || 7).unwrap();
        assert!(id.as_str().ends_with("-00000007"));
        assert_eq!(host_id(&root, || 8).unwrap(), id);
        std::fs::write(root.pool().join("host.json"), "{").unwrap();
        assert!(host_id(&root, || 8).is_err());
        assert_eq!(std::fs::read(root.pool().join("host.json")).unwrap(), b"{");
    }

    #[test]
    fn only_the_same_claim_in_the_same_boot_ages() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let repo: RepoSlug = "o/a".parse().unwrap();
        let issue = 3.try_into().unwrap();
        let age = |id, boot: &str, secs| {
            let now = Uptime { boot: boot.into(), secs };
            unchanged_for(&root, &repo, issue, id, &now).unwrap().as_secs()
        };
        assert_eq!(age("x", "b", 100), 0);
        assert_eq!(age("x", "b", 160), 60);
        assert_eq!(age("y", "b", 170), 0, "another record");
        assert_eq!(age("y", "b", 175), 5);
        assert_eq!(age("y", "c", 3), 0, "another boot");
        assert_eq!(age("y", "c", 1), 0, "a clock that went back");
        assert_eq!(age("y", "c", 4), 3);
        // Who forgets what was seen waits longer.
        std::fs::remove_dir_all(root.claims().join("seen")).unwrap();
        assert_eq!(age("y", "c", 9), 0, "forgotten");
        assert_eq!(age("y", "c", 11), 2);
    }
}
