//! Who may start work.

use claude_workers::fakehub::{NewIssue, Role};

use crate::world::{APP, Config, World};

/// A world with people of all roles.
fn people(assign: &'static str) -> World {
    let credentials = "mode = 'broker'";
    let world = World::with(&Config { assign, credentials, ..Config::default() }, &["01"]);
    let roles = [
        ("reader", Role::Read),
        ("triager", Role::Triage),
        ("writer", Role::Write),
        ("maintainer", Role::Maintain),
        ("admin", Role::Admin),
    ];
    for (login, role) in roles {
        world.hub.add_user(login).unwrap();
        world.hub.set_role(APP, login, role).unwrap();
    }
    world
}

fn issue_of(world: &World, author: &str) -> u64 {
    world.hub.add_issue(APP, &NewIssue::new(author, "Something")).unwrap()
}

#[test]
fn authors_who_may_write_start_work_and_others_do_not() {
    for (author, may) in [
        ("octo", true),
        ("writer", true),
        ("maintainer", true),
        ("admin", true),
        ("triager", false),
        ("reader", false),
        ("stranger", false),
    ] {
        let world = people("");
        issue_of(&world, author);
        let said = world.cron(&["assign", "--dry-run"]).ok();
        let said = if may {
            said.says("would start worker 01 on octo/app#1")
        } else {
            said.says(&format!(
                "octo/app#1: {author} has no write permission, and nobody approved it with the \
                 label approved"
            ))
        };
        assert_eq!(said.out.contains("would start"), may);
    }
}

#[test]
fn the_approval_of_somebody_who_may_write_lets_an_issue_in() {
    let world = people("");
    let issue = issue_of(&world, "stranger");
    world.tick().says("1 not approved");
    world.hub.label(APP, issue, "approved", "writer").unwrap();
    world.tick().says("works on octo/app#1");
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn the_approval_of_a_triage_person_does_not() {
    let world = people("");
    let issue = issue_of(&world, "stranger");
    world.hub.label(APP, issue, "approved", "triager").unwrap();
    let said = world.cron(&["assign", "--dry-run"]).ok();
    said.says("triager, who put the label approved on, has none either");
    world.tick().says("1 not approved");
}

#[test]
fn a_label_that_a_writer_took_off_and_a_stranger_put_back_is_no_approval() {
    let world = people("");
    let issue = issue_of(&world, "stranger");
    world.hub.label(APP, issue, "approved", "writer").unwrap();
    world.hub.unlabel(APP, issue, "approved", "writer").unwrap();
    world.hub.label(APP, issue, "approved", "triager").unwrap();
    world.tick().says("1 not approved");
}

#[test]
fn the_approval_label_has_a_configured_name() {
    let world = people("approval_label = 'go ahead'");
    let issue = issue_of(&world, "stranger");
    world.hub.label(APP, issue, "approved", "writer").unwrap();
    world.tick().says("1 not approved");
    world.hub.label(APP, issue, "Go Ahead", "writer").unwrap();
    world.tick().says("works on octo/app#1");
}

#[test]
fn anyone_may_start_work_where_the_user_said_so() {
    let world = people("trust = 'anyone'");
    issue_of(&world, "stranger");
    world.tick().says("works on octo/app#1");
    let asked = world.asked_lines();
    assert!(!asked.iter().take(4).any(|l| l.contains("/collaborators/")), "{asked:?}");
}

#[test]
fn rights_that_cannot_be_found_out_are_no_rights() {
    let world = people("");
    issue_of(&world, "writer");
    let fault = claude_workers::fakehub::Fault::answer("GET", "/collaborators/", 500).times(3);
    world.hub.inject(fault);
    world.cron(&["assign"]).exits(1).says("its server failed");
    world.quiet();
    assert!(world.runs().is_empty() && world.labels(1).is_empty());
    world.tick().says("works on octo/app#1");
}
