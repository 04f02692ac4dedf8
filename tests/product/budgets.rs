//! What a tick may ask of GitHub, counted in GitHub's own log.

use claude_workers::fakehub::{Exchange, Fault, NewIssue, NewRepo};

use crate::world::{APP, Config, Said, World};

const SEVERAL: &str = "repos = ['octo/app', 'octo/b', 'octo/c']";

/// A world in which `repos` of octo, with files and an issue each, are configured by `top`.
fn several(top: &'static str, repos: &[&str], workers: &[&str]) -> World {
    let world = World::bare(&Config { top, ..Config::default() });
    for slug in repos {
        world.hub.add_repo(&NewRepo::new(slug).file("README.md", "hello\n")).unwrap();
        world.hub.add_issue(slug, &NewIssue::new("octo", "Something")).unwrap();
    }
    world.init(workers);
    world
}

/// Ticks until nothing is left to do, then one more: what that one asked.
fn unchanged(world: &World) -> Vec<Exchange> {
    world.wait_until("a tick finds nothing new", || {
        world.hub.clear_exchanges();
        let said = world.tick();
        let new = |e: &Exchange| e.method != "GET" || e.status == Some(200);
        said.out.contains("nothing to do") && !world.asked().iter().any(new)
    });
    world.hub.clear_exchanges();
    world.tick();
    world.asked()
}

#[track_caller]
fn only_304(asked: &[Exchange], count: usize) {
    let seen: Vec<_> = asked.iter().map(|e| (e.line(), e.status)).collect();
    assert_eq!(asked.len(), count, "{seen:#?}");
    assert!(asked.iter().all(|e| e.status == Some(304)), "{seen:#?}");
}

#[test]
fn without_an_idle_worker_nothing_is_asked() {
    let world = World::new();
    world.agent("mark start; sleep 1000");
    world.issue("One");
    world.issue("Two");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world.hub.clear_exchanges();
    world.cron(&["assign"]).ok().says("nothing to do: no worker is idle");
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn a_reserve_that_is_not_exceeded_asks_nothing() {
    let world = World::with(&Config { assign: "reserve = 1", ..Config::default() }, &["01"]);
    world.issue("One");
    world.cron(&["assign"]).ok();
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn an_unchanged_repository_costs_one_304() {
    let world = World::new();
    only_304(&unchanged(&world), 1);
    // One with a pull request of ours, one that is blocked, one of somebody without rights.
    world.issue("One");
    world.agent("test $issue = 1 && commit a b || exit 1");
    world.tick();
    world.issue("Two");
    world.tick();
    world.hub.add_issue(APP, &NewIssue::new("stranger", "Three")).unwrap();
    only_304(&unchanged(&world), 1);
    world.cron(&["assign"]).ok().says("1 held, 1 with a pull request, 1 not approved");
}

#[test]
fn unchanged_repositories_cost_one_304_and_one_for_each_hundred() {
    let repos = ["octo/app", "octo/b", "octo/c", "octo/d"];
    for top in [SEVERAL, "repos = ['octo/*']", ""] {
        let world = several(top, &repos, &["01", "02", "03", "04"]);
        world.hub.add_issue(APP, &NewIssue::new("stranger", "Untrusted")).unwrap();
        only_304(&unchanged(&world), 2);
        let worked_on = if top == SEVERAL { 3 } else { 4 };
        assert_eq!(world.runs().len(), worked_on, "{top}");
    }
}

#[test]
fn a_hundred_and_one_repositories_cost_three_304s() {
    let names: Vec<String> = (0..101).map(|n| format!("octo/r{n}")).collect();
    let world = World::bare(&Config { top: "", ..Config::default() });
    for name in &names {
        world.hub.add_repo(&NewRepo::new(name)).unwrap();
        world.hub.add_issue(name, &NewIssue::new("stranger", "Untrusted")).unwrap();
    }
    world.init(&["01"]);
    only_304(&unchanged(&world), 3);
}

#[test]
fn where_the_token_may_not_list_across_repositories_each_costs_a_304() {
    let repos = ["octo/app", "octo/b", "octo/c"];
    let world = several(SEVERAL, &repos, &["01", "02", "03"]);
    world.hub.inject(Fault::answer("GET", "/issues?filter=", 403).times(1000));
    only_304(&unchanged(&world), 3);
    assert_eq!(world.runs().len(), 3);
}

/// The requests of the dispatcher itself in a tick that `-v` itemised.
fn itemised(said: &Said) -> Vec<String> {
    let items = said.err.lines().filter_map(|line| line.strip_prefix("  "));
    items.filter_map(|item| Some(item.split_once(' ')?.1.to_owned())).collect()
}

#[test]
fn a_dispatched_issue_costs_at_most_five_requests_and_each_is_itemised() {
    let world = World::with(
        &Config { assign: "max_per_repo = 3", ..Config::default() },
        &["01", "02", "03"],
    );
    let lists = unchanged(&world).len();
    for title in ["One", "Two", "Three"] {
        world.issue(title);
    }
    world.hub.clear_exchanges();
    let said = world.cron(&["assign", "-v"]).ok();
    world.quiet();
    let items = itemised(&said);
    assert!(items.len() <= lists + 3 * 5, "{items:#?}");
    for n in 1..=3 {
        let again = format!("GET /repos/octo/app/issues/{n}");
        assert_eq!(items.iter().filter(|i| **i == again).count(), 1, "{items:#?}");
    }
    said.says(&format!("{} requests", items.len()));
    assert_eq!(world.pulls().len(), 3);
}

#[test]
fn the_first_issue_of_a_member_costs_no_more() {
    let world = several(SEVERAL, &["octo/app", "octo/b", "octo/c"], &["01"]);
    world.hub.add_user("member").unwrap();
    world.hub.set_role(APP, "member", claude_workers::fakehub::Role::Write).unwrap();
    let urgent = NewIssue::new("member", "Urgent").label("P0");
    world.hub.add_issue(APP, &urgent).unwrap();
    let said = world.cron(&["assign", "-v"]).ok().says("worker 01 works on octo/app#2");
    let items = itemised(&said);
    assert_eq!(items.len(), 2 + 5, "{items:#?}");
    world.quiet();
}

#[test]
fn what_is_itemised_is_what_was_asked() {
    let world = World::new();
    world.hub.add_issue(APP, &NewIssue::new("stranger", "Untrusted")).unwrap();
    let said = world.cron(&["assign", "-v"]).ok();
    let path = |line: String| line.split('?').next().unwrap().to_owned();
    let asked: Vec<String> = world.asked_lines().into_iter().map(path).collect();
    assert_eq!(itemised(&said), asked);
    assert!(asked.len() > 1);
}

#[test]
fn what_is_done_before_the_lists_are_read_is_itemised_too() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.tick();
    world.hub.inject(Fault::answer("DELETE", "", 502));
    world.cron(&["reset", "01"]);
    world.agent("commit a b");
    world.hub.clear_exchanges();
    let said = world.cron(&["assign", "-v"]).ok();
    let items = itemised(&said);
    assert!(items.iter().any(|item| item.starts_with("DELETE ")), "{items:#?}");
    said.says(&format!("{} requests", items.len())).says(" left until ");
    world.quiet();
}

#[test]
fn a_list_of_two_pages_that_did_not_change_costs_one_304() {
    let world = World::new();
    for n in 0..120 {
        world.hub.add_issue(APP, &NewIssue::new("stranger", &format!("Issue {n}"))).unwrap();
    }
    only_304(&unchanged(&world), 1);
}
