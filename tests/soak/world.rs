//! The world of a soak: an embedded GitHub, hosts, agents, and a person who looks at what is blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use claude_workers::fakehub::{
    Chance, FakeHub, IssueView, NewIssue, NewRepo, Options as HubOptions,
};

use crate::check;
use crate::host::Host;
use crate::options::Options;
use crate::processes;

pub const TOKEN: &str = "ghp_soak0000000000000000000000000000octo";

/// A repository and an issue's number.
pub type Name = (String, u64);

/// What an issue's agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Succeed,
    Fail,
    HandBack,
    Ignore,
    Crash,
}

impl Fate {
    fn drawn(chance: &mut Chance) -> Self {
        match chance.up_to(99) {
            0..=69 => Self::Succeed,
            70..=77 => Self::Fail,
            78..=85 => Self::HandBack,
            86..=92 => Self::Ignore,
            _ => Self::Crash,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::HandBack => "hand-back",
            Self::Ignore => "ignore",
            Self::Crash => "crash",
        }
    }
}

pub struct World {
    pub options: Options,
    pub hub: FakeHub,
    pub hosts: Vec<Host>,
    pub issues: BTreeMap<Name, Fate>,
    dir: PathBuf,
    tmp: tempfile::TempDir,
}

/// Holds a lock on its issue while it works: a second agent of the same issue leaves a note, and so
/// does each start, with its time.
const AGENT: &str = r#"
issues=$1 name=$(echo "$2" | tr / _)-$3
exec 9<"$issues/$name" || exit 3
flock -n 9 || { echo "$name" >>"$HOME/double"; exit 9; }
echo "$name $(date +%s.%N)" >>"$HOME/starts"
read -r fate pause <&9
sleep "$pause"
case $fate in
succeed) echo "$name" >"work-$3.txt" && git add --all && git commit -q -m "Work on $3"; echo Done. ;;
fail) echo 'It does not work.'; exit 1 ;;
hand-back) echo 'Which colour?' >"$CLAUDE_WORKERS_OUTBOX/blocked.md"; echo 'A question.' ;;
ignore) echo 'Nothing to do.' ;;
crash) kill -KILL $$ ;;
esac
"#;

impl World {
    pub fn new(options: &Options) -> Self {
        let tmp = tempfile::Builder::new().prefix("soak-").tempdir().unwrap();
        let dir = tmp.path().canonicalize().unwrap();
        let hub = FakeHub::start(&HubOptions::new(dir.join("github"))).unwrap();
        hub.add_user("octo").unwrap();
        hub.add_token("octo", TOKEN, Some("repo")).unwrap();
        let agents = dir.join("agents");
        fs::create_dir_all(agents.join("issues")).unwrap();
        fs::write(agents.join("agent.sh"), AGENT).unwrap();

        let mut chance = Chance::new(options.seed);
        let repos: Vec<String> =
            (0..(options.issues / 25).clamp(2, 8)).map(|n| format!("octo/r{n}")).collect();
        for slug in &repos {
            let new = NewRepo::new(slug).default_branch("trunk").file("README.md", "# soak\n");
            hub.add_repo(&new).unwrap();
        }
        let mut issues = BTreeMap::new();
        for nth in 0..options.issues {
            let slug = &repos[chance.below(repos.len())];
            let number =
                hub.add_issue(slug, &NewIssue::new("octo", &format!("Issue {nth}"))).unwrap();
            let fate = Fate::drawn(&mut chance);
            let words = format!("{} 0.{}\n", fate.word(), chance.up_to(9));
            let name = (slug.clone(), number);
            fs::write(agents.join("issues").join(file_of(&name)), words).unwrap();
            issues.insert(name, fate);
        }
        let config = |jailed: bool| {
            format!(
                "executor = 'agent'\nrepos = [{repos}]\n\
                 [github]\napi_url = '{api}'\nserver_url = '{server}'\ntoken_file = '~/token'\n\
                 [credentials]\ncopy = []\n\
                 [assign]\nmax_per_repo = 100\n\
                 [limits]\ngrace = '1s'\n\
                 [sandbox]\nmode = '{mode}'\nread_only = ['{agents}']\n\
                 [executors.agent]\n\
                 command = ['/bin/sh', '{agents}/agent.sh', '{agents}/issues', '{{repo}}', '{{issue}}']\n",
                repos = repos.iter().map(|r| format!("'{r}'")).collect::<Vec<_>>().join(", "),
                api = hub.api_url(),
                server = hub.server_url(),
                mode = if jailed { "bwrap" } else { "none" },
                agents = agents.display(),
            )
        };
        let hosts = (0..options.hosts).map(|nth| {
            let home = dir.join(format!("hosts/h{nth}"));
            Host::new(home, &config(nth < options.jailed), options.workers)
        });
        let hosts = hosts.collect();
        Self { options: options.clone(), hub, hosts, issues, dir, tmp }
    }

    /// Where all hosts are, and nothing else is.
    pub fn hosts_dir(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// Leaves everything on the disk, and says where.
    pub fn keep(mut self) -> PathBuf {
        self.tmp.disable_cleanup(true);
        self.dir.clone()
    }

    pub fn repos(&self) -> BTreeSet<&String> {
        self.issues.keys().map(|(repo, _)| repo).collect()
    }

    /// All issues and pull requests.
    pub fn seen(&self) -> BTreeMap<Name, IssueView> {
        let of = |repo: &String| {
            let all = self.hub.issues(repo).unwrap().into_iter();
            all.map(|issue| ((repo.clone(), issue.number), issue)).collect::<Vec<_>>()
        };
        self.repos().into_iter().flat_map(of).collect()
    }

    /// How many pull requests each issue has.
    pub fn pulls(seen: &BTreeMap<Name, IssueView>) -> BTreeMap<Name, Vec<u64>> {
        let mut pulls: BTreeMap<Name, Vec<u64>> = BTreeMap::new();
        for ((repo, number), view) in seen.iter().filter(|(_, view)| view.is_pull) {
            let closes = view
                .body
                .strip_prefix("Closes #")
                .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            pulls.entry((repo.clone(), closes.unwrap_or(0))).or_default().push(*number);
        }
        pulls
    }

    /// How many issues are where their agents leave them.
    pub fn settled(&self) -> usize {
        let seen = self.seen();
        let pulls = Self::pulls(&seen);
        let settled = |(name, fate): &(&Name, &Fate)| {
            is_settled(**fate, &seen[*name], pulls.get(*name).map_or(0, Vec::len))
        };
        self.issues.iter().filter(settled).count()
    }

    /// An issue that nobody has begun with, for a person to dispatch: its agent will succeed, so that
    /// a second dispatch has nothing to do whenever it comes.
    pub fn untouched(&self, chance: &mut Chance) -> Option<Name> {
        let seen = self.seen();
        let pulls = Self::pulls(&seen);
        let free = |(name, fate): &(&Name, &Fate)| {
            **fate == Fate::Succeed && seen[*name].labels.is_empty() && !pulls.contains_key(*name)
        };
        let free: Vec<&Name> = self.issues.iter().filter(free).map(|(name, _)| name).collect();
        free.get(chance.below(free.len())).copied().cloned()
    }

    /// Looks at what is blocked though its agent has not left it so (its run was lost too often, or
    /// its agent was killed), and lets it be tried again.
    pub fn person_looks(&self) {
        for (name, view) in self.seen() {
            if self.issues.get(&name) != Some(&Fate::Succeed) || !is_blocked(&view) {
                continue;
            }
            for label in view.labels {
                self.hub.unlabel(&name.0, name.1, &label, "octo").unwrap();
            }
        }
    }

    /// What GitHub asks to wait for is soon over, and its hour never ends.
    pub fn time_passes(&self) {
        self.hub.set_rate_remaining("octo", 5000);
        self.hub.clear_exchanges();
        for host in &self.hosts {
            let pause = host.root.github().join("cooldown.json");
            let age = fs::metadata(&pause).and_then(|m| m.modified()).map(|at| at.elapsed());
            if age.is_ok_and(|age| age.is_ok_and(|age| age > Duration::from_secs(2))) {
                let _ = fs::remove_file(pause);
            }
        }
    }

    /// Ticks in turn in good weather until nothing is left to do. What waits for its time after
    /// failed starts is dispatched by hand.
    pub fn calm_down(&self) {
        let end = Instant::now() + Duration::from_mins(5);
        let mut quiet = 0;
        let mut turn = 0;
        while quiet < 2 && Instant::now() < end && check::at_any_time(self).is_empty() {
            self.time_passes();
            self.person_looks();
            for host in &self.hosts {
                host.run(&["assign"]);
            }
            while Instant::now() < end && !processes::below(&self.hosts_dir()).is_empty() {
                self.time_passes();
                thread::sleep(Duration::from_millis(50));
            }
            let busy = self.hosts.iter().any(Host::is_busy);
            if busy || self.settled() < self.issues.len() {
                turn += 1;
                self.dispatch_what_waits(&self.hosts[turn % self.hosts.len()]);
                quiet = 0;
            } else {
                quiet += 1;
            }
        }
    }

    fn dispatch_what_waits(&self, host: &Host) {
        let seen = self.seen();
        let pulls = Self::pulls(&seen);
        for name in self.issues.keys() {
            if seen[name].labels.is_empty() && !pulls.contains_key(name) {
                host.run(&["dispatch", "-r", &name.0, "-i", &name.1.to_string()]);
            }
        }
    }
}

/// What an issue's agents know it by.
pub fn file_of((repo, number): &Name) -> String {
    format!("{}-{number}", repo.replace('/', "_"))
}

fn is_blocked(view: &IssueView) -> bool {
    view.labels.iter().any(|label| label == "blocked")
}

/// Whether an issue is where its agent leaves it.
pub fn is_settled(fate: Fate, view: &IssueView, pulls: usize) -> bool {
    match fate {
        Fate::Succeed => pulls == 1 && view.labels.is_empty(),
        _ => pulls == 0 && is_blocked(view) && view.labels.len() == 2,
    }
}
