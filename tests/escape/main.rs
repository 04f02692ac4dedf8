//! The escape suite: an agent that really tries to get out, through the real jail of real runs.
//!
//! Every attempt is made twice: in the jail, where it must not reach anything, and without the wall
//! that is meant to stop it, where it must. An attempt that would fail anyway proves nothing.
//! "Without the wall" is the same agent with `[sandbox] mode = "none"`; for what an agent leaves
//! behind it is somebody on the host who trusts it; for what it publishes, a home with the token.
//!
//! What is tried past and through the proxy is in `tests/product/egress.rs` and `egress_tls.rs`, with
//! the host's network as the other side; protected paths are in `policy.rs`, credentials in
//! `broker.rs` and `homes.rs`, limits in `rlimits.rs`, descriptors of the dispatcher and a gigabyte of output in
//! `tests/hostile.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod filling;
mod kernel;
mod lifetime;
#[path = "../support/mounts.rs"]
#[expect(dead_code, reason = "the other suites use the rest of it")]
mod mounts;
mod objects;
mod outbox;
mod publishing;
mod stage;
mod traps;
#[path = "../product/words.rs"]
mod words;
#[expect(dead_code, reason = "the other suites use the rest of it")]
#[path = "../product/world.rs"]
mod world;

use stage::NEEDS_ROOT;

/// How many attempts there are, and which of them have no other side here.
#[test]
fn there_are_enough_attempts_and_nearly_all_are_shown_to_work_without_the_wall() {
    let tables = [("files", files::TRIES), ("kernel", kernel::TRIES)];
    let mut all = Vec::new();
    let (mut unproven, mut roots) = (Vec::new(), 0);
    for (group, tries) in tables {
        all.extend(tries.iter().map(|one| format!("{group}: {}", one.name)));
        let without = tries.iter().filter_map(|one| Some((one.name, one.unproven_because()?)));
        let (root, more): (Vec<_>, Vec<_>) = without.partition(|(_, why)| *why == NEEDS_ROOT);
        roots += root.len();
        unproven.extend(more);
    }
    all.extend(traps::TRAPS.iter().map(|(name, ..)| format!("traps: {name}")));
    all.extend(outbox::LEFT.iter().map(|(name, ..)| format!("outbox: {name}")));
    all.extend(publishing::TRIES.iter().map(|(name, ..)| format!("publishing: {name}")));
    all.extend(publishing::ASKED.iter().map(|(name, ..)| format!("asked: {name}")));
    all.extend(filling::FILLS.iter().map(|(name, ..)| format!("filling: {name}")));
    all.extend(objects::TRIES.iter().map(|one| format!("objects: {}", one.name)));
    all.extend(lifetime::SURVIVORS.iter().map(|(name, ..)| format!("lifetime: {name}")));
    println!("{} attempts\n{}", all.len(), all.join("\n"));
    println!("without another side here: {unproven:?}");
    let mut names = all.clone();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all.len(), "two attempts have one name");
    // Whoever is not root has enough that can be shown, too.
    let shown = all.len() - unproven.len() - roots;
    assert!(shown >= 80 && unproven.len() <= 6, "{shown} are shown to work; not {unproven:?}");
}
