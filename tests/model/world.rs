//! What is modelled: the remote, the disks, the processes, the clocks.

use std::sync::LazyLock;

use claude_workers::domain::{
    Claim, ClaimState, Ended, HostId, Issue, IssueNumber, Label, Outcome, Phase, PullRef, RepoSlug,
    Run, RunId, WorkerId,
};
use jiff::{SignedDuration, Timestamp};

use crate::Config;

/// For how long a claim is good: time passes in such steps.
pub(crate) const TTL: u8 = 1;

/// A claim on the remote. Records with the same id are the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub id: u8,
    pub run: u8,
    pub epoch: u8,
    pub done: bool,
    /// Whether it has been done for longer than claims are kept, where that matters.
    pub age: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Remote {
    pub claim: Option<Record>,
    /// A bit for each name of a worker.
    pub labels: u8,
    pub blocked: bool,
    /// By whose run `issue-N`, `issue-N-2`, … were pushed.
    pub branches: Vec<u8>,
    /// The branches that have a pull request.
    pub pulls: Vec<u8>,
    /// Whether a person has closed the first.
    pub closed: bool,
    /// Whose runs have commented.
    pub comments: Vec<u8>,
}

/// A push whose sender is dead, or has given up, and which may still arrive: a compare-and-swap of
/// the claim, and the branch that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Late {
    pub from: Option<u8>,
    pub to: Record,
    pub branch: bool,
}

/// A claim as its holder remembers it, and ticks since it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub id: u8,
    pub epoch: u8,
    pub age: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Agent {
    Committed,
    Failed,
    NotStarted,
}

/// `task.json`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub run: u8,
    pub phase: Phase,
    pub attempt: u32,
    pub losses: u32,
    pub claim: Option<Held>,
    pub branch: Option<u8>,
    pub agent: Option<Agent>,
    pub ended: Option<Outcome>,
    pub pull: bool,
    pub labels_left: bool,
    /// The worker whose label goes because its host is gone.
    pub relieves: Option<u8>,
    /// Whether it has been waiting for its claim for longer than claims are kept, where that matters.
    pub age: u8,
}

impl Task {
    pub(crate) fn new(run: u8) -> Self {
        Self {
            run,
            phase: Phase::Claimed,
            attempt: 1,
            losses: 0,
            claim: None,
            branch: None,
            agent: None,
            ended: None,
            pull: false,
            labels_left: false,
            relieves: None,
            age: 0,
        }
    }
}

/// A finished run, and whether the issue has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Archived {
    pub task: Task,
    pub changed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub task: Option<Task>,
    pub archive: Vec<Archived>,
    /// The claim of another host, and for how many ticks it has been seen unchanged.
    pub seen: Option<(u8, u8)>,
}

/// The issue as a list showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listed {
    pub labels: u8,
    pub blocked: bool,
    /// Whether it is younger than the end of this host's last run.
    pub changed: bool,
}

/// What a process does next. Each is one effect, or one look, that others can come between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    List,
    Check,
    Write,
    Others,
    TakeNew,
    TakeRead,
    TakeSwap,
    SaveClaim,
    CheckAgain,
    CheckLate,
    ReleaseLate,
    Label,
    Release,
    ReleaseSwap,
    Unlabel,
    Forget,
    Start,
    Relieve,
    TakeUp,
    Keep,
    KeepSwap,
    SaveKept,
    Prepare,
    BriefLabel,
    EnterRunning,
    NotStarted,
    Agent,
    Verify,
    Publish,
    PushDoubt,
    Pulls,
    Create,
    Own,
    OwnSwap,
    Comments,
    Comment,
    Block,
    Off,
    OffRelieved,
    OffLost,
    OffNever,
    Finish,
    Archive,
    Remove,
    End,
}

impl At {
    /// Whether it touches the own disk alone.
    pub(crate) fn is_local(self) -> bool {
        use At::{
            Archive, EnterRunning, Forget, NotStarted, Remove, SaveClaim, SaveKept, Start, TakeUp,
            Verify, Write,
        };
        matches!(self, Write | SaveClaim | Forget | Start | TakeUp | EnterRunning | NotStarted)
            || matches!(self, Verify | Archive | Remove | SaveKept)
    }

    /// Whether it is done by the step `publish`, a process of its own.
    pub(crate) fn is_publish(self) -> bool {
        use At::{
            Block, Comment, Comments, Create, Finish, Off, OffLost, OffNever, OffRelieved, Own,
            OwnSwap, Pulls, PushDoubt,
        };
        matches!(
            self,
            PushDoubt | Pulls | Create | Own | OwnSwap | Comments | Comment | Block | Off
        ) || matches!(self, OffRelieved | OffLost | OffNever | Finish)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub worker: u8,
    pub at: At,
    pub supervises: bool,
    /// Whether its dispatcher has just claimed the issue for it.
    pub claimed: bool,
    pub locked: bool,
    /// A step whose supervisor is dead: nobody hears its answer.
    pub orphan: bool,
    pub task: Option<Task>,
    pub abandoned: Option<u8>,
    /// A swap that was tried: from, to, epoch; and whether its answer was lost.
    pub from: Option<u8>,
    pub to: u8,
    pub epoch: u8,
    pub doubt: bool,
    /// How long ago that was.
    pub waited: u8,
    /// Our claim as this step wrote or saw it last.
    pub sure: Option<Held>,
    /// Where the look at the claim leads back to.
    pub back: At,
    /// Whether the issue was looked at longer ago than claims are kept, where that matters.
    pub looked: u8,
}

impl Process {
    pub(crate) fn new(worker: u8, at: At) -> Self {
        Self {
            worker,
            at,
            supervises: false,
            claimed: false,
            locked: false,
            orphan: false,
            task: None,
            abandoned: None,
            from: None,
            to: 0,
            epoch: 0,
            doubt: false,
            waited: 0,
            sure: None,
            back: At::End,
            looked: 0,
        }
    }
}

impl Process {
    /// Forgets what its next steps do not need.
    pub(crate) fn forget(&mut self) {
        use At::{Keep, Own, OwnSwap, TakeUp};
        self.claimed &= matches!(self.at, TakeUp | Keep);
        if !matches!(self.at, Own | OwnSwap) {
            self.back = At::End;
        }
        if self.supervises {
            self.abandoned = None;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub remote: Remote,
    pub disks: [Disk; 2],
    pub processes: Vec<Process>,
    /// Hosts that never come back.
    pub dead: [bool; 2],
    /// Faults that may still happen.
    pub faults: u8,
    /// The last run of each worker that has marked its claim as done.
    pub over: [u8; 2],
    /// How often time may pass while something is under way, as if that was stopped.
    pub stalls: u8,
    /// Whether claims are collected; the one that the first host's `gc` is about to remove.
    pub gc: bool,
    pub collects: Option<u8>,
    /// A push that may arrive yet.
    pub late: Option<Late>,
    /// What must never be, and was.
    pub wrong: Option<&'static str>,
}

/// The worker of a run.
pub(crate) fn worker_of(run: u8) -> u8 {
    run >> 4
}

impl State {
    pub(crate) fn new(cfg: Config) -> Self {
        let mut first = Self::empty(cfg.faults);
        first.gc = cfg.gc;
        if cfg.gone {
            // The first host has died with the issue, long ago.
            let run = first.fresh_run(0);
            first.remote.claim = Some(Record { id: 1, run, epoch: 1, done: false, age: 0 });
            first.remote.labels = 1;
            first.disks[1].seen = Some((1, TTL));
            first.dead[0] = true;
        }
        first
    }

    fn empty(faults: u8) -> Self {
        Self {
            remote: Remote::default(),
            disks: [Disk::default(), Disk::default()],
            processes: Vec::new(),
            dead: [false; 2],
            faults,
            over: [0; 2],
            stalls: 1,
            gc: false,
            collects: None,
            late: None,
            wrong: None,
        }
    }

    /// The smallest run of the worker that nothing remembers.
    pub(crate) fn fresh_run(&self, worker: u8) -> u8 {
        let remote = &self.remote;
        let tasks = self.tasks().map(|task| task.run);
        let old = self.disks.iter().flat_map(|d| d.archive.iter().map(|old| old.task.run));
        let there = remote.branches.iter().chain(&remote.comments).copied();
        let used: Vec<u8> =
            tasks.chain(old).chain(there).chain(remote.claim.map(|c| c.run)).collect();
        (1..16).map(|n| worker << 4 | n).find(|run| !used.contains(run)).unwrap()
    }

    /// The smallest id of a claim that nothing remembers.
    pub(crate) fn fresh_id(&self) -> u8 {
        let held = self.tasks().filter_map(|task| task.claim).map(|held| held.id);
        let seen = self.disks.iter().filter_map(|d| d.seen).map(|(id, _)| id);
        let going = self.processes.iter().flat_map(|p| [p.from, Some(p.to), p.sure.map(|s| s.id)]);
        let used: Vec<u8> = held
            .chain(seen)
            .chain(going.flatten())
            .chain(self.collects)
            .chain(self.late.iter().flat_map(|late| late.from.into_iter().chain([late.to.id])))
            .chain(self.remote.claim.map(|claim| claim.id))
            .collect();
        (1..u8::MAX).find(|id| !used.contains(id)).unwrap()
    }

    fn tasks(&self) -> impl Iterator<Item = &Task> {
        let disks = self.disks.iter().filter_map(|disk| disk.task.as_ref());
        disks.chain(self.processes.iter().filter_map(|p| p.task.as_ref()))
    }

    pub(crate) fn is_locked(&self, worker: u8) -> bool {
        self.processes.iter().any(|p| p.worker == worker && p.locked)
    }

    /// Something on the issue changed: lists from now on are younger than what ended before.
    pub(crate) fn touch(&mut self) {
        self.disks.iter_mut().flat_map(|d| &mut d.archive).for_each(|old| old.changed = true);
    }

    /// Forgets what nothing depends on, and names what is left in one way, so that states which only
    /// look different are one.
    pub(crate) fn settle(&mut self) {
        let there = self.remote.claim.map(|claim| claim.id);
        for (w, disk) in self.disks.iter_mut().enumerate() {
            // A record that is gone does not come back: a look at the next one begins at zero.
            disk.seen = disk.seen.filter(|(id, _)| Some(*id) == there);
            if disk.task.is_none_or(|task| task.run != self.over[w]) {
                self.over[w] = 0;
            }
            for old in &mut disk.archive {
                let Task { run, ended, pull, labels_left, .. } = old.task;
                old.task = Task { ended, pull, labels_left, ..Task::new(run) };
            }
        }
        // Nor does a push arrive any more that expects it; where claims are collected, none may come again.
        self.late = self.late.filter(|l| l.from == there || self.gc && l.from.is_none());
        let mut ids: Vec<u8> = Vec::new();
        let mut name = |id: &mut u8| {
            if *id == 0 || *id >= 100 {
                return;
            }
            let at = ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ids.push(*id);
                ids.len() - 1
            });
            *id = u8::try_from(at + 1).unwrap();
        };
        let held = |held: &mut Held, name: &mut dyn FnMut(&mut u8)| {
            name(&mut held.id);
            held.epoch = held.epoch.min(2);
        };
        if let Some(claim) = &mut self.remote.claim {
            name(&mut claim.id);
            claim.epoch = claim.epoch.min(2);
        }
        for disk in &mut self.disks {
            disk.task.iter_mut().filter_map(|t| t.claim.as_mut()).for_each(|h| held(h, &mut name));
            disk.seen.iter_mut().for_each(|(id, _)| name(id));
        }
        if let Some(id) = &mut self.collects {
            // One that was moved on is not removed, or all the same.
            *id = if Some(*id) == there { self.remote.claim.map_or(0, |c| c.id) } else { 0 };
        }
        if let Some(late) = &mut self.late {
            late.from.iter_mut().for_each(&mut name);
            name(&mut late.to.id);
            late.to.epoch = late.to.epoch.min(2);
        }
        for p in &mut self.processes {
            p.from.iter_mut().for_each(&mut name);
            name(&mut p.to);
            let claims = p.task.iter_mut().filter_map(|t| t.claim.as_mut()).chain(&mut p.sure);
            claims.for_each(|h| held(h, &mut name));
        }
    }

    /// Time passes for every clock that does not jump.
    pub(crate) fn tick(&mut self) {
        let older = |held: &mut Held| held.age = (held.age + 1).min(TTL);
        if self.gc {
            self.remote.claim.iter_mut().filter(|c| c.done).for_each(|c| c.age = 1);
            let tasks = self.disks.iter_mut().filter_map(|d| d.task.as_mut());
            let tasks = tasks.chain(self.processes.iter_mut().filter_map(|p| p.task.as_mut()));
            tasks.filter(|task| task.claim.is_none()).for_each(|task| task.age = 1);
            let look = |p: &&mut Process| p.at == At::Check;
            self.processes.iter_mut().filter(look).for_each(|p| p.looked = 1);
        }
        for disk in &mut self.disks {
            disk.task.iter_mut().filter_map(|t| t.claim.as_mut()).for_each(older);
            disk.seen.iter_mut().for_each(|(_, age)| *age = (*age + 1).min(TTL));
        }
        for p in &mut self.processes {
            p.waited = (p.waited + u8::from(p.to != 0)).min(TTL);
            p.task.iter_mut().filter_map(|t| t.claim.as_mut()).chain(&mut p.sure).for_each(older);
        }
    }
}

/// The real values that stand for the model's numbers.
pub(crate) struct Real {
    pub repo: RepoSlug,
    pub number: IssueNumber,
    hosts: [HostId; 2],
    workers: [WorkerId; 2],
    run: Run,
}

pub(crate) static REAL: LazyLock<Real> = LazyLock::new(|| {
    let json = r#"{"version":1,"run":"20261121T071500-0000","worker":"01","kind":"implement",
        "repo":"o/a","issue":1,"prompt":null,"model":null,"executor":"x","branch":null,"base":null,
        "attempt":1,"phase":"claimed","phaseAt":"2026-11-21T07:15:00Z","pid":null,"pidStart":null,
        "startedAt":"2026-11-21T07:15:00Z","bootId":null,"sessionId":null}"#;
    Real {
        repo: "o/a".parse().unwrap(),
        number: 1.try_into().unwrap(),
        hosts: [HostId::new("a", 0), HostId::new("b", 1)],
        workers: ["01".parse().unwrap(), "02".parse().unwrap()],
        run: serde_json::from_str(json).unwrap(),
    }
});

/// When every run began; it ended an hour later.
pub(crate) const BEGAN: Timestamp = Timestamp::UNIX_EPOCH;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub(crate) fn hours(n: i32) -> Timestamp {
    BEGAN + HOUR * n
}

pub(crate) fn run_id(run: u8) -> RunId {
    RunId::new(BEGAN, run.into())
}

impl Real {
    pub(crate) fn host(&self, cfg: Config, worker: u8) -> &HostId {
        &self.hosts[cfg.host(worker)]
    }

    pub(crate) fn worker(&self, cfg: Config, worker: u8) -> &WorkerId {
        &self.workers[usize::from(cfg.name(worker))]
    }

    /// What the claim says.
    pub(crate) fn claim(&self, cfg: Config, record: Record) -> Claim {
        let worker = worker_of(record.run);
        let (host, name) = (self.host(cfg, worker).clone(), self.worker(cfg, worker).clone());
        let nonce = record.id.to_string();
        let run = run_id(record.run);
        let mut claim = Claim::new(host, name, run, record.epoch.into(), nonce, TTL.into());
        claim.state = if record.done { ClaimState::Done } else { ClaimState::Held };
        claim
    }

    pub(crate) fn run(&self, cfg: Config, task: &Task) -> Run {
        let pull = || PullRef {
            number: 9,
            url: String::new(),
            head: claude_workers::domain::BranchName::for_issue(self.number, 1),
            open: true,
        };
        Run {
            run: run_id(task.run),
            worker: self.worker(cfg, worker_of(task.run)).clone(),
            phase: task.phase,
            attempt: task.attempt,
            losses: task.losses,
            ended: task.ended.map(|outcome| Ended { outcome, why: String::new() }),
            ended_at: task.ended.map(|_| hours(1)),
            pr: task.pull.then(pull),
            labels_left: task.labels_left,
            labelled_at: task.labels_left.then(|| hours(1)),
            ..self.run.clone()
        }
    }

    pub(crate) fn issue(&self, listed: Listed) -> Issue {
        let worn = (0..2).filter(|n| listed.labels & 1 << n != 0);
        let blocked = listed.blocked.then(|| Label("blocked".into()));
        Issue {
            repo: self.repo.clone(),
            number: self.number,
            title: String::new(),
            body: String::new(),
            author: String::new(),
            labels: worn.map(|n| Label(self.workers[n].label())).chain(blocked).collect(),
            created_at: BEGAN,
            updated_at: if listed.changed { hours(2) } else { BEGAN },
            open: true,
            is_pull: false,
            locked: false,
        }
    }
}
