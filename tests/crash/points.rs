//! The points that a run reaches.

use std::collections::BTreeMap;
use std::fmt;

use crate::drive::Scenario;

/// One moment of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Which process: the command that it was started with.
    pub role: String,
    /// `before` or `after` what.
    pub name: String,
    /// The how manieth of this name in its process.
    pub nth: u32,
    /// Whether the effect can be made to fail here.
    pub may_fail: bool,
    /// Nothing happens between this one and the next of its process.
    pub same_as_next: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.role, self.name, self.nth)
    }
}

/// All that a run of the scenario reaches when nothing goes wrong, process by process.
pub fn reached_by(scenario: &Scenario) -> Vec<Point> {
    let world = scenario.world();
    let record = world.dir.join("points");
    let vars = [("CLAUDE_WORKERS_FAILPOINT_RECORD", record.display().to_string())];
    scenario.start(&world, &vars).wait();
    world.quiet();
    let text = std::fs::read_to_string(&record).unwrap();
    let mut processes: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    let mut order = Vec::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').collect();
        let [pid, role, name, nth, kind] = parts[..] else { panic!("{line}") };
        if !processes.contains_key(pid) {
            order.push(pid);
        }
        processes.entry(pid).or_default().push(Point {
            role: role.to_owned(),
            name: name.to_owned(),
            nth: nth.parse().unwrap(),
            may_fail: kind != "-",
            same_as_next: false,
        });
    }
    let mut all = Vec::new();
    for pid in order {
        let mut points = processes.remove(pid).unwrap();
        for at in 1..points.len() {
            let begins = points[at].name.starts_with("before ");
            points[at - 1].same_as_next = begins && points[at - 1].name.starts_with("after ");
        }
        all.extend(points);
    }
    all
}
