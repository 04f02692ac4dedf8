//! Everything that runs say to GitHub, and everything that they are told, is as GitHub's own
//! description of its API has it.

use claude_workers::fakehub::NewIssue;

use crate::openapi::validate_exchanges;
use crate::world::{APP, Config, World};

#[track_caller]
fn is_described(world: &World) {
    assert!(!world.asked().is_empty());
    assert_eq!(validate_exchanges(&world.hub.exchanges()), [""; 0]);
}

#[test]
fn a_run_that_succeeds_speaks_github_s_language() {
    let world = World::new();
    world.issue("One");
    world.hub.add_comment(APP, 1, "octo", "Please.").unwrap();
    world.hub.add_issue(APP, &NewIssue::new("stranger", "Two")).unwrap();
    world.hub.label(APP, 2, "approved", "octo").unwrap();
    world.tick();
    world.hub.rename_issue(APP, 2, "Two and a half").unwrap();
    world.tick();
    assert_eq!(world.pulls().len(), 1);
    is_described(&world);
}

#[test]
fn a_run_that_fails_speaks_github_s_language() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    world.cron(&["dispatch", "-r", APP, "-i", "99"]).exits(4);
    is_described(&world);
}

#[test]
fn a_look_at_all_repositories_speaks_github_s_language() {
    let world = World::with(&Config { top: "", ..Config::default() }, &["01"]);
    world.issue("One");
    world.tick();
    world.cron(&["doctor"]);
    is_described(&world);
}
