//! `doctor`, where the real agent is.

use serde_json::Value;

use crate::world::{Way, World};

#[test]
fn the_real_agent_and_a_github_of_others_pass() {
    for way in [Way::Configured, Way::Found] {
        let world = World::new(way, "");
        let answer: Value = serde_json::from_str(&world.must(&["doctor", "--json"])).unwrap();
        let found = |what: &str| {
            let mut checks = answer["checks"].as_array().unwrap().iter();
            let check = checks.find(|check| check["what"] == what);
            let check = check.unwrap_or_else(|| panic!("no {what} in {answer:#}"));
            [&check["grade"], &check["found"]].map(|v| v.as_str().unwrap()).join(" ")
        };
        let agent = found("executor claude");
        assert!(agent.starts_with("ok /") && agent.ends_with("(Claude Code))"), "{agent}");
        assert_eq!(found("sandbox"), "ok bubblewrap; the canary found every wall in place");
        assert!(found("token").starts_with("ok of octo at http://127.0.0.1:"));
        assert_eq!(found("repository octo/app"), "ok the token may label and push");
    }
}
