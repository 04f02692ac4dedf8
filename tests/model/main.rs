#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
//! Two workers, one issue, and everything that can come between their steps: every state that can be
//! reached is visited, and in none of them may the issue be done twice; from each of them some way
//! must lead to an end in which it is done, or waits for a person, and every worker is free.
//!
//! What decides is the program's own: `plan::assign`, `history_refuses`, `standing`, `is_late`,
//! `reconcile`, `claim_is_due`, `drift`, `first_free_branch`, `conclude`, `not_started_in_a_row`. What is
//! modelled is what they are asked about, and in which order the program has its effects
//! (`ops::{dispatch, hold, supervise, publish}`):
//! - the remote: the claim with its compare-and-swap, labels, branches, pull requests, comments;
//! - the disks: record, archive, since when another host's claim has been seen;
//! - the processes: ticks, supervisors and the step that publishes, each at one of its steps, any of
//!   which may be the next; the worker's lock is held by those who would hold it;
//! - `gc`, where a test wants it: it finds that the claim is to go, and removes it; and a person who
//!   closes the pull request of a run that is over;
//! - the clocks: a claim's whole time (with `gc`, the time for which claims are kept) passes at a moment.
//!   Whatever is under way then was stopped for so long (once in each history); a host that has nothing
//!   to do may wait as often as it likes;
//! - faults, as many as a test allows: a process is killed; a supervisor is, and its step goes on; a
//!   host reboots, or never comes back; a request is done and not answered, or not done, or (a push,
//!   where a test wants it) done later; a disk is full. A list may be as old as the issue at no charge;
//!   where a test wants it, so may a supervisor not start and a label not be answered.
//!
//! Not modelled: more than one issue, people, `stop`, `reset` and chores, runs without an issue, the
//! agent's files, a claim's time that passes between a look at a clock and the request right after.
//!
//! The variants leave one thing out each. Every one of them must be found out.

mod collect;
mod explore;
mod looks;
mod mishaps;
mod recover;
mod steps;
mod supervisor;
mod world;

use explore::explore;

/// The program as it is, or with one thing left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    AsItIs,
    ClaimWithoutCompare,
    SameObject,
    PushWithoutFence,
    LabelIsPermission,
    TakeUpWithoutLock,
    StepWithoutLock,
    ArchiveFirst,
    WallClock,
    NoTakeover,
    CommentWithoutLook,
    RelievedForgotten,
    PullBeforeClaim,
    LookedAtOnly,
    SureForEver,
    CheckedOnce,
    OthersUnseen,
    LabelLeftByLoser,
    LateAtFirst,
    LateWhenKept,
    RemovedWithoutLease,
    TriedForEver,
    YouthTrusted,
}

#[derive(Clone, Copy, Debug)]
struct Config {
    /// Both workers are of one host, and are dispatched by hand at the same time.
    same_host: bool,
    /// Both hosts call their worker the same.
    same_names: bool,
    /// The first host has died, with its claim and its label on the issue.
    gone: bool,
    /// Claims that are done are collected after a time.
    gc: bool,
    /// On the first host supervisors do not start and labels are not answered, as often as you like.
    fickle: bool,
    /// A push may arrive long after its sender is dead or has given up.
    late: bool,
    /// Faults that may happen.
    faults: u8,
    /// No agent can do it.
    hopeless: bool,
    variant: Variant,
}

impl Config {
    fn host(self, worker: u8) -> usize {
        if self.same_host { 0 } else { worker.into() }
    }

    fn hosts(self) -> usize {
        if self.same_host { 1 } else { 2 }
    }

    fn name(self, worker: u8) -> u8 {
        if self.same_names { 0 } else { worker }
    }

    /// A worker that has more behind it begins no other: each fault may cost one.
    fn most_runs(self) -> usize {
        usize::from(self.faults).max(2)
    }

    fn is(self, variant: Variant) -> bool {
        self.variant == variant
    }

    fn claims(self) -> bool {
        !self.is(Variant::LabelIsPermission)
    }
}

const TWO_HOSTS: Config = Config {
    same_host: false,
    same_names: false,
    gone: false,
    gc: false,
    fickle: false,
    late: false,
    faults: 1,
    hopeless: false,
    variant: Variant::AsItIs,
};
const SAME_NAMES: Config = Config { same_names: true, faults: 0, ..TWO_HOSTS };
const ONE_LEFT: Config = Config { gone: true, faults: 3, ..TWO_HOSTS };
const COLLECTED: Config = Config { gc: true, ..TWO_HOSTS };
const HOPELESS: Config = Config { hopeless: true, ..TWO_HOSTS };
const FICKLE: Config = Config { fickle: true, ..TWO_HOSTS };
const LATE: Config = Config { late: true, ..TWO_HOSTS };
const ONE_HOST: Config = Config { same_host: true, ..TWO_HOSTS };

#[track_caller]
fn holds(cfg: Config) {
    let found = explore(cfg);
    println!("{cfg:?}: {found}");
    assert!(found.wrong.is_none(), "{cfg:?}: {found}");
}

#[test]
fn two_hosts_never_do_an_issue_twice_nor_lose_it() {
    holds(TWO_HOSTS);
}

#[test]
fn nor_do_hosts_that_call_their_workers_the_same() {
    holds(SAME_NAMES);
}

#[test]
fn nor_do_two_dispatches_on_one_host() {
    holds(ONE_HOST);
}

#[test]
fn the_issue_of_a_host_that_is_gone_is_done_by_another() {
    holds(ONE_LEFT);
}

#[test]
fn nor_when_claims_that_are_done_are_collected() {
    holds(COLLECTED);
    holds(Config { gc: true, ..ONE_HOST });
}

#[test]
fn an_issue_that_no_agent_can_do_comes_to_wait_for_a_person() {
    holds(HOPELESS);
}

#[test]
fn nor_when_dispatches_are_taken_back_by_half() {
    holds(Config { faults: 0, ..FICKLE });
}

#[test]
#[ignore = "minutes, and gigabytes of memory"]
fn nor_when_one_of_them_is_killed_too() {
    holds(Config { late: true, ..FICKLE });
}

#[test]
fn nor_when_the_push_of_a_dead_process_arrives_late() {
    holds(LATE);
}

#[test]
fn whatever_is_left_out_is_missed() {
    use Variant as V;
    let quiet = Config { faults: 0, ..TWO_HOSTS };
    let cases = [
        (quiet, V::ClaimWithoutCompare),
        (quiet, V::SameObject),
        (quiet, V::LabelIsPermission),
        (quiet, V::PushWithoutFence),
        (quiet, V::LookedAtOnly),
        (quiet, V::SureForEver),
        (quiet, V::CheckedOnce),
        (quiet, V::LabelLeftByLoser),
        (ONE_HOST, V::TakeUpWithoutLock),
        (ONE_HOST, V::StepWithoutLock),
        (ONE_HOST, V::ArchiveFirst),
        (ONE_HOST, V::CommentWithoutLook),
        (ONE_HOST, V::OthersUnseen),
        (TWO_HOSTS, V::WallClock),
        (ONE_LEFT, V::NoTakeover),
        (ONE_LEFT, V::RelievedForgotten),
        (TWO_HOSTS, V::PullBeforeClaim),
        (Config { faults: 0, ..COLLECTED }, V::LateAtFirst),
        (COLLECTED, V::LateWhenKept),
        (Config { faults: 0, ..COLLECTED }, V::RemovedWithoutLease),
        (Config { faults: 0, ..HOPELESS }, V::TriedForEver),
        (Config { faults: 0, ..FICKLE }, V::YouthTrusted),
    ];
    let mut caught = 0;
    for (cfg, variant) in cases {
        let found = explore(Config { variant, ..cfg });
        let what =
            found.wrong.as_ref().map(|(what, trace)| format!("{what}, in {} steps", trace.len()));
        println!("{variant:?}: {} states: {what:?}", found.states);
        caught += usize::from(what.is_some());
    }
    assert_eq!(caught, cases.len());
}
