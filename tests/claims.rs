//! Claims against a real bare repository. Who contends are processes: each client has objects of its
//! own and starts its own `git push` (and that its `git receive-pack`), all at the same moment; what
//! waits for them here is a thread for each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use claude_workers::domain::{Claim, HostId, IssueNumber};
use claude_workers::git::{Host, HostEnv, Swap};
use jiff::Timestamp;

const HOSTS: u32 = 6;
/// Of three contests each.
const ROUNDS: u64 = 100;

struct Client {
    git: Host,
    objects: PathBuf,
    me: HostId,
}

impl Client {
    fn new(dir: &Path, n: u32) -> Self {
        let git = assert_cmd::Command::new("sh").args(["-c", "command -v git"]).unwrap();
        let git = PathBuf::from(String::from_utf8(git.stdout).unwrap().trim());
        let vars = vec![
            ("HOME".to_owned(), dir.display().to_string()),
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ];
        let env = HostEnv { git, own_program: "/nonexistent".into(), token: None, vars };
        let objects = dir.join(format!("objects-{n}.git"));
        Self { git: Host::new(env), objects, me: HostId::new("same", n) }
    }

    fn claim(&self, issue: IssueNumber, epoch: u64) -> String {
        let run = format!("20261121T071500-{:04x}", issue.get()).parse().unwrap();
        // The run, the worker and the nonce are the same for all: the host alone tells them apart.
        let worker = "01".parse().unwrap();
        let claim = Claim::new(self.me.clone(), worker, run, epoch, "nonce".into(), 60);
        self.git.write_claim(&self.objects, &claim, Timestamp::UNIX_EPOCH).unwrap()
    }
}

#[test]
fn of_clients_that_claim_replace_or_renew_at_the_same_moment_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let remote = dir.path().join("remote.git");
    let init = ["init", "--quiet", "--bare"];
    assert_cmd::Command::new("git").args(init).arg(&remote).assert().success();
    let url = format!("file://{}", remote.display());
    let clients: Vec<Client> = (0..HOSTS).map(|n| Client::new(dir.path(), n)).collect();
    let start = Barrier::new(clients.len());
    let mut contested = 0;
    for round in 1..=ROUNDS {
        let issue: IssueNumber = round.try_into().unwrap();
        let mut from = None;
        // First the making of the claim, then a takeover, then one more.
        for epoch in 1..=3 {
            let try_it = |client: &Client| {
                let mine = client.claim(issue, epoch);
                start.wait();
                let swapped =
                    client.git.swap_claim(&client.objects, &url, issue, from.as_deref(), &mine);
                (mine, swapped.unwrap())
            };
            let try_it = &try_it;
            let tries: Vec<_> = thread::scope(|scope| {
                let all: Vec<_> =
                    clients.iter().map(|client| scope.spawn(move || try_it(client))).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let won: Vec<_> = tries.iter().filter(|(_, swap)| *swap == Swap::Won).collect();
            assert_eq!(won.len(), 1, "round {round}, epoch {epoch}: {tries:?}");
            let (id, _) = won[0];
            // They take turns to look: it is the remote that says the same to all.
            let client = &clients[contested % clients.len()];
            let found = client.git.read_claim(&client.objects, &url, issue).unwrap().unwrap();
            assert_eq!((&found.id, found.claim.epoch), (id, epoch));
            contested += 1;
            from = Some(id.clone());
        }
        // Whoever comes with an old record gets nothing.
        let late = clients[0].claim(issue, 9);
        let swap = clients[0].git.swap_claim(&clients[0].objects, &url, issue, None, &late);
        assert_eq!(swap.unwrap(), Swap::Lost);
    }
    assert_eq!(u64::try_from(contested).unwrap(), 3 * ROUNDS);
    let all = clients[0].git.claims(&url).unwrap();
    assert_eq!(all.len(), usize::try_from(ROUNDS).unwrap());
}

#[test]
fn of_claims_that_are_removed_one_that_was_moved_stays_and_keeps_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let remote = dir.path().join("remote.git");
    let init = ["init", "--quiet", "--bare"];
    assert_cmd::Command::new("git").args(init).arg(&remote).assert().success();
    let url = format!("file://{}", remote.display());
    let (one, other) = (Client::new(dir.path(), 1), Client::new(dir.path(), 2));
    let swap = |client: &Client, issue, epoch, from: Option<&str>| {
        let id = client.claim(issue, epoch);
        let swapped = client.git.swap_claim(&client.objects, &url, issue, from, &id).unwrap();
        assert_eq!(swapped, Swap::Won);
        id
    };
    let issues = [1, 2, 3, 4].map(|n: u64| IssueNumber::try_from(n).unwrap());
    let mut seen: BTreeMap<_, _> = issues.map(|issue| (issue, swap(&one, issue, 1, None))).into();
    let kept = seen.remove(&issues[3]).unwrap();
    let moved = swap(&other, issues[1], 2, seen.get(&issues[1]).map(String::as_str));
    let collect = |seen: &BTreeMap<_, _>| one.git.remove_claims(&one.objects, &url, seen);
    assert_eq!(collect(&seen).unwrap(), BTreeSet::from([issues[0], issues[2]]));
    let left = BTreeMap::from([(issues[1], moved), (issues[3], kept)]);
    assert_eq!(one.git.claims(&url).unwrap(), left);
    assert_eq!(collect(&seen).unwrap(), BTreeSet::from([issues[0], issues[2]]), "they are gone");
    // One is known here, and the other is not yet.
    let read = one.git.read_claims(&one.objects, &url, &left).unwrap();
    let hosts: Vec<_> = read.values().map(|(claim, at)| (claim.host.clone(), *at)).collect();
    let epoch = Timestamp::UNIX_EPOCH;
    assert_eq!(hosts, [(other.me.clone(), epoch), (one.me.clone(), epoch)]);
    let read = one.git.read_claims(&one.objects, &url, &seen);
    assert!(read.is_ok_and(|read| read.len() == 3), "they are remembered");
    // What the remote does not do is no success.
    let deny = ["config", "receive.hideRefs", "refs/claude-workers/"];
    assert_cmd::Command::new("git").arg("--git-dir").arg(&remote).args(deny).assert().success();
    assert!(collect(&left).is_err());
}
