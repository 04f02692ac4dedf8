//! The soak: hosts that tick like an eager cron, agents that succeed, fail, hand back, do nothing and
//! crash, bad weather on GitHub, and a killer that spares no process. In the end every issue must be
//! where its agent left it: none lost, none worked on twice.
//!
//! All that is left to chance comes from one seed, which is printed first. The order in which
//! processes run is not ours, so a seed gives the same sort of trouble again, not the same second.
//!
//! | variable | what | default |
//! |---|---|---|
//! | `SOAK_SEED` | the seed | another one each time |
//! | `SOAK_ISSUES` | issues | 60 |
//! | `SOAK_HOSTS` | hosts | 3 |
//! | `SOAK_WORKERS` | workers of each host; their names are the same everywhere | 8 |
//! | `SOAK_WEATHER` | of a thousand exchanges so many go wrong | 30 |
//! | `SOAK_KILL_MS` | the longest time from one kill to the next | 400 |
//! | `SOAK_JAILED` | hosts whose agents are jailed | 1 |
//! | `SOAK_KEEP` | set: the world stays on the disk | |
//!
//! The long one: `SOAK_ISSUES=2000 cargo test --release --test soak -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod host;
mod killer;
mod options;
mod processes;
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use claude_workers::fakehub::{Trouble, Weather};

use killer::Killer;
use options::Options;
use world::World;

#[test]
fn no_issue_is_lost_and_none_is_worked_on_twice() {
    let options = Options::of_environment();
    eprintln!("soak: {options:?}");
    let begun = Instant::now();
    let world = World::new(&options);
    let killer = Killer::new(&world, options.seed);
    let weather = Weather::new(options.seed, options.weather, &Trouble::ALL);
    world.hub.set_weather(Some(weather));

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (nth, host) in world.hosts.iter().enumerate() {
            let seed = options.seed ^ (nth as u64 + 1);
            let (world, stop) = (&world, &stop);
            scope.spawn(move || host.tick_until(stop, world, seed));
        }
        scope.spawn(|| killer.strike_until(&stop));
        stormy(&world, &options, begun);
        stop.store(true, Ordering::Relaxed);
    });

    world.hub.set_weather(None);
    world.calm_down();
    let end = check::Account::of(&world);
    let wrong = end.wrong(&world);
    eprintln!("{}", end.summary(&world, &killer, begun.elapsed()));
    let left = processes::below(&world.hosts_dir()).into_iter().map(|p| p.line).collect::<Vec<_>>();
    if !wrong.is_empty() || !left.is_empty() || options.keep {
        let kept = world.keep();
        let seed = options.seed;
        assert!(
            wrong.is_empty() && left.is_empty(),
            "SOAK_SEED={seed}, the world is kept in {}\n{}\nprocesses left: {left:#?}",
            kept.display(),
            wrong.join("\n")
        );
        eprintln!("kept in {}", kept.display());
    }
}

/// Watches until every issue is settled in spite of it all, or nearly all are and the rest has to wait
/// for its time: that is left to better weather.
fn stormy(world: &World, options: &Options, begun: Instant) {
    let at_most = Duration::from_mins(1) + Duration::from_secs(2) * options.issues;
    let mut told = Instant::now();
    let mut last = (0, Instant::now());
    while begun.elapsed() < at_most {
        thread::sleep(Duration::from_millis(300));
        world.time_passes();
        world.person_looks();
        let wrong = check::at_any_time(world);
        if !wrong.is_empty() {
            eprintln!("too early to end well: {wrong:#?}");
            return;
        }
        let (settled, all) = (world.settled(), world.issues.len());
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            eprintln!("{:5.0} s: {settled} of {all} settled", begun.elapsed().as_secs_f64());
        }
        if settled != last.0 {
            last = (settled, Instant::now());
        }
        let hardly_more = settled * 4 > all * 3 && last.1.elapsed() > Duration::from_secs(12);
        if settled == all || hardly_more {
            return;
        }
    }
}
