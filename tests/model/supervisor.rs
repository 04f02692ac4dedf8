//! The supervisor's effects, and those of the step `publish`.

use claude_workers::domain::{AgentReport, Kind, Outcome, Phase, Work};
use claude_workers::plan::{NOT_STARTED_MAX, conclude, first_free_branch, not_started_in_a_row};

use crate::steps::{
    Told, Turn, claim_first, is_ours, lost, put_label, refused, relieve, take_label, task_is_late,
};
use crate::world::{Agent, Archived, At, Held, Process, REAL, Record, State, TTL, worker_of};
use crate::{Config, Variant, recover};

/// Something is brought to GitHub that only the holder of the issue may bring there.
fn publishes(s: &mut State, p: &Process) {
    if s.remote.claim.is_some_and(|c| p.task.is_none_or(|t| t.run != c.run)) {
        s.wrong = Some("a run that has lost its claim published");
    }
}

/// Whether the claim is where the record says.
fn is_held(s: &State, p: &Process) -> bool {
    s.remote.claim.map(|c| c.id) == p.task.and_then(|t| t.claim).map(|held| held.id)
}

/// Whether the remote takes the push of the work.
pub(crate) fn push_goes(s: &State, p: &Process, cfg: Config) -> bool {
    let nth = p.task.and_then(|t| t.branch).unwrap_or(0);
    let absent = usize::from(nth) == s.remote.branches.len();
    absent && (is_held(s, p) || !cfg.claims() || cfg.is(Variant::PushWithoutFence))
}

impl Turn<'_> {
    pub(crate) fn supervise(mut self) {
        let cfg = self.cfg;
        match self.me().at {
            At::TakeUp => self.go("takes its record up", |s, p| {
                let disk = &mut s.disks[usize::from(p.worker)];
                let Some(task) = disk.task else {
                    p.at = At::End;
                    return;
                };
                let Some(task) = recover::take_up(cfg, disk, &task) else {
                    (p.task, p.at) = (Some(task), At::Remove);
                    return;
                };
                p.task = Some(task);
                p.at = match task.phase {
                    Phase::Verifying => At::Verify,
                    Phase::Publishing => At::Publish,
                    _ => At::Keep,
                };
                disk.task = p.task;
            }),
            At::Keep => self.go("looks at its claim", |s, p| {
                let Some(task) = &p.task else { return };
                let other = &s.disks[usize::from(1 - p.worker)];
                let looks = cfg.same_host && !cfg.is(Variant::OthersUnseen);
                let held = looks && other.task.is_some();
                let old = task.attempt > 1 || task.claim.is_some_and(|held| held.age > 0);
                let old = old || !p.claimed && !cfg.is(Variant::YouthTrusted);
                let earlier = s.remote.claim.filter(|c| worker_of(c.run) == p.worker);
                match (task.claim, is_ours(s, p)) {
                    (None, _) if held => refused(p),
                    (None, _) if cfg.claims() && task_is_late(task, p, cfg) => refused(p),
                    _ if !cfg.claims() => p.at = At::Prepare,
                    (None, Some(found)) => {
                        (p.from, p.epoch, p.at) = (Some(found.id), found.epoch, At::KeepSwap);
                    }
                    (None, _) if s.remote.claim.is_none() => p.at = claim_first(p, cfg),
                    (None, None) if earlier.is_some() => {
                        p.from = earlier.map(|c| c.id);
                        (p.epoch, p.at) = (earlier.map_or(0, |c| c.epoch + 1), At::KeepSwap);
                    }
                    // Others have been there since its dispatcher looked.
                    (None, _) if cfg.is(Variant::CheckedOnce) => p.at = At::TakeRead,
                    (Some(_), _) if !old => p.at = At::Prepare,
                    (Some(_), Some(found)) => {
                        (p.from, p.epoch, p.at) = (Some(found.id), found.epoch, At::KeepSwap);
                    }
                    _ => refused(p),
                }
            }),
            At::SaveKept => self.save("records its claim", |p| p.at = At::Prepare),
            At::Prepare => self.prepare(),
            At::BriefLabel => self.request("labels the issue", put_label(cfg), |_, p, told| {
                p.at = if told == Told::Done { At::EnterRunning } else { At::NotStarted };
            }),
            At::EnterRunning => self.go("starts the agent", |s, p| {
                phase(p, Phase::Running);
                p.at = At::Agent;
                s.disks[usize::from(p.worker)].task = p.task;
                if s.remote.blocked && p.task.is_some_and(|t| t.claim.is_some_and(|c| c.age < TTL))
                {
                    s.wrong = Some("an agent works on an issue that waits for a person");
                }
            }),
            At::NotStarted => self.save("could not start", |p| {
                phase(p, Phase::Verifying);
                p.task.iter_mut().for_each(|t| t.agent = Some(Agent::NotStarted));
                p.at = At::Verify;
            }),
            At::Agent => {
                for agent in [Agent::Committed, Agent::Failed] {
                    if cfg.hopeless && agent == Agent::Committed {
                        continue;
                    }
                    self.save("saw its agent end", |p| {
                        phase(p, Phase::Verifying);
                        p.task.iter_mut().for_each(|t| t.agent = Some(agent));
                        p.at = At::Verify;
                    });
                }
            }
            At::Verify => self.save("concludes", |p| {
                if let Some(task) = &mut p.task {
                    task.ended = Some(conclude_really(task.agent));
                    task.phase = Phase::Publishing;
                }
                p.at = if cfg.is(Variant::ArchiveFirst) { At::Archive } else { At::Publish };
                if cfg.is(Variant::StepWithoutLock) {
                    p.locked = false;
                }
            }),
            At::Publish => self.push(),
            At::Archive => self.archive(),
            At::Remove => self.go("removes its record", |s, p| {
                s.disks[usize::from(p.worker)].task = None;
                p.at = if cfg.is(Variant::ArchiveFirst) { At::Publish } else { At::End };
            }),
            _ => self.publish(),
        }
    }

    fn archive(&mut self) {
        self.go("archives its record", |s, p| {
            let Some(task) = p.task else { return };
            let disk = &mut s.disks[usize::from(p.worker)];
            disk.archive.retain(|old| old.task.run != task.run);
            disk.archive.push(Archived { task, changed: false });
            p.at = At::Remove;
        });
    }

    fn prepare(&mut self) {
        let cfg = self.cfg;
        self.go("prepares", |s, p| {
            let Some(task) = &mut p.task else { return };
            let taken = |n: u8| usize::from(n) < s.remote.branches.len();
            if task.attempt == 1 || task.branch.is_none() {
                let nth =
                    |name: &str| name.rsplit('-').next().map_or(0, |n| n.parse().unwrap_or(0));
                let name = first_free_branch(REAL.number, |name| {
                    let name = name.as_str();
                    taken(if name == "issue-1" { 0 } else { nth(name) - 1 })
                });
                let name = name.as_str();
                task.branch = Some(if name == "issue-1" { 0 } else { nth(name) - 1 });
            }
            let passed_over = u8::from(s.remote.closed)..task.branch.unwrap_or(0);
            let labelled = s.remote.labels & 1 << cfg.name(p.worker) != 0;
            p.at = match labelled {
                _ if passed_over.into_iter().any(|n| s.remote.pulls.contains(&n)) => At::NotStarted,
                true => At::EnterRunning,
                false => At::BriefLabel,
            };
        });
        if self.state.faults > 0 {
            self.go("has no room on its disk", |s, p| {
                s.faults -= 1;
                p.at = At::NotStarted;
            });
        }
    }

    fn push(&mut self) {
        let cfg = self.cfg;
        let held = is_held(self.state, self.me());
        let goes = push_goes(self.state, self.me(), cfg);
        let effect = move |s: &mut State, p: &mut Process| {
            let Some(run) = p.task.map(|t| t.run) else { return };
            if !goes {
                return;
            }
            publishes(s, p);
            s.remote.branches.push(run);
            if held && cfg.claims() {
                let id = s.fresh_id();
                s.remote.claim.iter_mut().for_each(|c| c.id = id);
                let epoch = 0;
                p.sure = Some(Held { id, epoch, age: 0 });
            }
        };
        self.request("pushes", effect, move |_, p, told| {
            p.at = if goes && told == Told::Done { At::Pulls } else { At::PushDoubt };
            if p.at == At::PushDoubt {
                p.sure = None;
            }
            p.doubt = told == Told::Nothing;
        });
    }

    /// The step `publish`, after the push.
    fn publish(mut self) {
        let cfg = self.cfg;
        let young = !cfg.claims()
            || self.me().sure.is_some_and(|s| s.age < TTL || cfg.is(Variant::SureForEver));
        let at = self.me().at;
        let bold = at == At::Create && cfg.is(Variant::PullBeforeClaim);
        if matches!(at, At::Create | At::Comment | At::Block) && !young && !bold {
            self.own(at);
            return;
        }
        match at {
            At::PushDoubt => self.go("looks for its branch", |s, p| {
                let Some(task) = &mut p.task else { return };
                let there = s.remote.branches.get(usize::from(task.branch.unwrap_or(0)));
                if there == Some(&task.run) {
                    p.at = At::Pulls;
                } else if p.doubt {
                    p.at = At::Publish;
                } else {
                    task.ended = Some(Outcome::Failed);
                    (p.at, p.back) = (At::Own, At::Comments);
                }
                p.doubt = false;
            }),
            At::Pulls => self.go("looks for its pull request", |s, p| {
                let Some(task) = &mut p.task else { return };
                task.pull = s.remote.pulls.contains(&task.branch.unwrap_or(0));
                p.at = if task.pull { At::Comments } else { At::Create };
            }),
            At::Create => self.create(),
            At::OffLost => {
                let own = cfg.name(self.me().worker);
                let run = self.me().task.map(|task| task.run);
                let theirs =
                    |c: Record| !c.done && Some(c.run) != run && cfg.name(worker_of(c.run)) == own;
                let same = self.state.remote.claim.is_some_and(theirs);
                let end = |p: &mut Process| {
                    p.at = if p.orphan { At::End } else { At::Archive };
                };
                if same || cfg.is(Variant::LabelLeftByLoser) {
                    self.go("leaves the issue to its holder", |_, p| end(p));
                } else {
                    let off = take_label(cfg);
                    self.request("takes its label off", off, |_, p, told| match told {
                        Told::Done => end(p),
                        Told::Nothing => p.at = At::Publish,
                    });
                }
            }
            At::OffNever => {
                let (name, run) = (cfg.name(self.me().worker), self.me().task.map(|task| task.run));
                let other = |c: Record| Some(c.run) != run && cfg.name(worker_of(c.run)) != name;
                if self.state.remote.claim.is_some_and(other) {
                    self.request("takes its label off", take_label(cfg), |_, p, told| {
                        p.at = if told == Told::Done { At::Finish } else { At::Publish };
                    });
                } else {
                    self.go("leaves the issue as it is", |_, p| p.at = At::Finish);
                }
            }
            At::Own => {
                let back = self.me().back;
                self.own(back);
            }
            At::Comments => self.go("reads the comments", |s, p| {
                let Some(task) = p.task else { return };
                let runs: Vec<_> = s.disks[usize::from(p.worker)].archive.iter().collect();
                let runs: Vec<_> = runs.iter().map(|old| REAL.run(cfg, &old.task)).collect();
                let silent = task.ended == Some(Outcome::NotStarted)
                    && not_started_in_a_row(&runs) + 1 < NOT_STARTED_MAX;
                let said =
                    s.remote.comments.contains(&task.run) && !cfg.is(Variant::CommentWithoutLook);
                p.at = if silent || said { after_comment(p, cfg) } else { At::Comment };
            }),
            At::Comment => {
                let effect = |s: &mut State, p: &mut Process| {
                    publishes(s, p);
                    s.remote.comments.extend(p.task.map(|t| t.run));
                    s.touch();
                };
                self.request("comments", effect, |_, p, told| {
                    p.at = if told == Told::Done { after_comment(p, cfg) } else { At::Publish };
                });
            }
            At::Block => {
                let effect = |s: &mut State, p: &mut Process| {
                    publishes(s, p);
                    s.remote.blocked = true;
                    s.touch();
                };
                self.request("puts `blocked` on", effect, |_, p, told| {
                    p.task.iter_mut().for_each(|t| t.labels_left = told == Told::Done);
                    p.at = if told == Told::Done { At::OffRelieved } else { At::Publish };
                });
            }
            At::Off => self.request("takes its label off", take_label(cfg), |_, p, told| {
                p.at = if told == Told::Done { At::OffRelieved } else { At::Publish };
            }),
            At::OffRelieved => {
                self.request("takes the gone host's label off", relieve(cfg), |_, p, told| {
                    p.at = if told == Told::Done { At::Finish } else { At::Publish };
                });
            }
            _ => {}
        }
    }

    /// Looks at the claim before it does what `back` is, and has its full time given to it again.
    fn own(&mut self, back: At) {
        let cfg = self.cfg;
        self.go("reads its claim", |s, p| {
            p.back = back;
            match is_ours(s, p) {
                None if s.remote.claim.is_none() && p.task.is_some_and(|t| t.claim.is_none()) => {
                    p.sure = Some(Held { id: 0, epoch: 0, age: 0 });
                    p.at = p.back;
                }
                None => {
                    let over = s.over[usize::from(p.worker)];
                    if s.remote.claim.is_none() && p.task.is_some_and(|t| t.run == over) {
                        s.wrong = Some("a run counts as taken over that was over");
                    }
                    lost(p);
                }
                Some(found) if cfg.is(Variant::LookedAtOnly) => {
                    p.sure = Some(Held { id: found.id, epoch: 0, age: 0 });
                    p.at = p.back;
                }
                Some(found) => {
                    (p.from, p.epoch, p.at) = (Some(found.id), found.epoch, At::OwnSwap);
                }
            }
        });
    }

    fn create(&mut self) {
        let effect = |s: &mut State, p: &mut Process| {
            publishes(s, p);
            s.remote.pulls.extend(p.task.and_then(|t| t.branch));
        };
        self.request("opens its pull request", effect, |_, p, told| {
            p.task.iter_mut().for_each(|t| t.pull = told == Told::Done);
            p.at = if told == Told::Done { At::Comments } else { At::Publish };
        });
    }
}

fn phase(p: &mut Process, phase: Phase) {
    p.task.iter_mut().for_each(|task| task.phase = phase);
}

fn after_comment(p: &Process, cfg: Config) -> At {
    match p.task.and_then(|t| t.ended) {
        Some(Outcome::Failed) if !cfg.is(Variant::TriedForEver) => At::Block,
        _ => At::Off,
    }
}

fn conclude_really(agent: Option<Agent>) -> Outcome {
    let mut report = AgentReport { exit_code: Some(0), ..AgentReport::default() };
    let mut work = Work::default();
    match agent {
        Some(Agent::Committed) => (report.claimed_success, work.commits) = (true, 1),
        Some(Agent::NotStarted) => report.not_started = Some(String::new()),
        Some(Agent::Failed) | None => {}
    }
    conclude(Kind::Implement, &report, &work).outcome
}
