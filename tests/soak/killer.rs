//! Ends and pauses processes at random.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use claude_workers::fakehub::Chance;
use nix::sys::signal::Signal;

use crate::processes::{self, Process, Role};
use crate::world::World;

pub struct Killer<'a> {
    world: &'a World,
    seed: u64,
    kills: Mutex<BTreeMap<String, u64>>,
}

impl<'a> Killer<'a> {
    pub fn new(world: &'a World, seed: u64) -> Self {
        Self { world, seed, kills: Mutex::default() }
    }

    /// How often, by victim.
    pub fn kills(&self) -> BTreeMap<String, u64> {
        self.kills.lock().unwrap().clone()
    }

    pub fn strike_until(&self, stop: &AtomicBool) {
        let mut chance = Chance::new(self.seed ^ 0xdead);
        let mut paused: Vec<(Instant, i32)> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let longest = self.world.options.kill_every;
            thread::sleep(Duration::from_millis(longest / 4 + chance.up_to(longest * 3 / 4)));
            let now = Instant::now();
            paused.retain(|(until, pid)| {
                let over = *until <= now;
                if over {
                    processes::send(*pid, Signal::SIGCONT);
                }
                !over
            });
            match chance.up_to(99) {
                0..=2 => self.reboot(&mut chance),
                3..=14 => {
                    if let Some(victim) = self.victim(&mut chance) {
                        processes::send(victim.pid, Signal::SIGSTOP);
                        let pause = Duration::from_millis(chance.up_to(2500));
                        paused.push((now + pause, victim.pid));
                        self.note(format!("{:?} paused", victim.role));
                    }
                }
                15..=24 => self.everyone(&mut chance),
                _ => {
                    if let Some(victim) = self.victim(&mut chance) {
                        processes::send(victim.pid, Signal::SIGKILL);
                        self.note(format!("{:?}", victim.role));
                    }
                }
            }
        }
        for (_, pid) in paused {
            processes::send(pid, Signal::SIGCONT);
        }
    }

    fn note(&self, what: String) {
        *self.kills.lock().unwrap().entry(what).or_default() += 1;
    }

    /// One of a role, each role being as likely as any other.
    fn victim(&self, chance: &mut Chance) -> Option<Process> {
        let all = processes::below(&self.world.hosts_dir());
        let mut roles: Vec<Role> = all.iter().map(|p| p.role).collect();
        roles.sort();
        roles.dedup();
        let role = *roles.get(chance.below(roles.len()))?;
        let all: Vec<Process> = all.into_iter().filter(|p| p.role == role).collect();
        all.get(chance.below(all.len())).cloned()
    }

    /// A supervisor, its agent and all at once.
    fn everyone(&self, chance: &mut Chance) {
        let all = processes::below(&self.world.hosts_dir());
        let all: Vec<_> = all.iter().filter(|p| p.role == Role::Supervisor).collect();
        if let Some(supervisor) = all.get(chance.below(all.len())) {
            processes::kill_tree(supervisor.pid);
            self.note("Supervisor with all below it".into());
        }
    }

    fn reboot(&self, chance: &mut Chance) {
        let host = &self.world.hosts[chance.below(self.world.hosts.len())];
        host.down.store(true, Ordering::Relaxed);
        processes::kill_all_below(&host.home);
        thread::sleep(Duration::from_millis(chance.up_to(500)));
        host.down.store(false, Ordering::Relaxed);
        self.note("whole host".into());
    }
}
