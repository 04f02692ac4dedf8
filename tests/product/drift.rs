//! Labels on GitHub and the records on this machine: what `status --remote` shows, and what
//! `assign` mends.

use claude_workers::domain::Outcome;
use claude_workers::fakehub::{Fault, NewIssue, NewRepo};
use serde_json::Value;

use crate::world::{APP, Config, World};

/// `issue label wrong` of each finding.
#[track_caller]
fn drift(world: &World, args: &[&str]) -> Vec<String> {
    let said = world.cron(&[&["status", "--remote", "--json"], args].concat()).ok();
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["version"], 1);
    let of = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        assert!(!text("what").is_empty() && !text("hint").is_empty());
        format!("{}#{} {} {}", text("repo"), entry["issue"], text("label"), text("wrong"))
    };
    json["drift"].as_array().unwrap().iter().map(of).collect()
}

/// An issue of long ago: this GitHub lets a second pass between two changes of an issue.
fn old_issue(world: &World, title: &str) -> u64 {
    let long_ago = "2026-01-01T00:00:00Z".parse().unwrap();
    world.hub.add_issue(APP, &NewIssue::new("octo", title).created_at(long_ago)).unwrap()
}

/// An issue whose run has succeeded and could not take its label off.
fn left_behind(world: &World) -> u64 {
    let issue = old_issue(world, "Left behind");
    let label = format!("/issues/{issue}/labels/");
    world.hub.inject(Fault::answer("DELETE", &label, 403));
    world.tick();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(world.labels(issue), ["worker:01"]);
    world.hub.clear_exchanges();
    issue
}

fn lists(world: &World) -> Vec<(String, Option<u16>)> {
    world.asked().iter().map(|e| (e.path.clone(), e.status)).collect()
}

#[test]
fn status_asks_nothing_and_with_remote_one_list_that_is_free_when_unchanged() {
    let world = World::new();
    world.hub.add_issue(APP, &NewIssue::new("stranger", "One")).unwrap();
    world.cron(&["status"]).ok();
    assert!(!world.cron(&["status", "--json"]).ok().out.contains("drift"));
    assert!(world.hub.exchanges().is_empty());
    let agrees = "GitHub's labels agree with the records here";
    world.cron(&["status", "--remote"]).ok().says("01  idle").says(agrees);
    world.cron(&["status", "--remote"]).ok().says(agrees);
    let list = "/repos/octo/app/issues".to_owned();
    assert_eq!(lists(&world), [(list.clone(), Some(200)), (list.clone(), Some(304))]);
    // `assign` reads the very same list.
    world.hub.clear_exchanges();
    world.cron(&["assign"]).ok();
    assert_eq!(lists(&world)[0], (list, Some(304)));
}

#[test]
fn each_repository_is_listed_once_whatever_the_number_of_workers() {
    let config = Config { top: "repos = ['octo/app', 'octo/b']", ..Config::default() };
    let world = World::with(&config, &["01", "02", "03", "04", "05"]);
    world.hub.add_repo(&NewRepo::new("octo/b")).unwrap();
    for n in 1..=5 {
        let label = format!("worker:0{n}");
        let new = NewIssue::new("octo", "One").label(&label);
        world.hub.add_issue("octo/b", &new).unwrap();
    }
    assert_eq!(drift(&world, &[]).len(), 5);
    let paths: Vec<String> = lists(&world).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/repos/octo/app/issues", "/repos/octo/b/issues"]);
}

#[test]
fn each_kind_of_drift_is_shown_with_what_to_do() {
    let world = World::with(&Config::default(), &["01", "02", "03"]);
    world.agent("mark start; sleep 1000");
    for title in ["Worked on", "Nobody's", "Else\u{1b}[31mwhere", "Elsewhere's", "Hostile"] {
        world.issue(title);
    }
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-w", "01"]).ok();
    world.cron(&["dispatch", "-r", APP, "-i", "2", "-w", "03"]).ok();
    world.wait_until("both agents are at work", || world.marks().len() == 2);
    assert_eq!(drift(&world, &[]), [""; 0]);
    world.hub.unlabel(APP, 1, "worker:01", "octo").unwrap();
    world.hub.set_open(APP, 2, false).unwrap();
    world.hub.label(APP, 3, "Worker:02", "octo").unwrap();
    world.hub.label(APP, 3, "worker:01", "octo").unwrap();
    world.hub.label(APP, 4, "worker:vps", "octo").unwrap();
    world.hub.label(APP, 5, "worker:$(reboot)", "octo").unwrap();
    assert_eq!(
        drift(&world, &[]),
        [
            "octo/app#1 worker:01 missing",
            "octo/app#2 worker:03 not_open",
            "octo/app#3 Worker:02 idle",
            "octo/app#3 worker:01 elsewhere",
            "octo/app#4 worker:vps unknown",
            "octo/app#5 worker:$(reboot) unknown",
        ]
    );
    assert_eq!(drift(&world, &["02"]), ["octo/app#3 Worker:02 idle"]);
    let text = world.cron(&["status", "--remote"]).ok().out;
    let text = text.split("on GitHub:\n").nth(1).unwrap();
    insta::assert_snapshot!(text, @r"
    octo/app#1  worker:01  01 works on it, but the label is gone  Worked on
        put it back: `gh issue edit 1 -R octo/app --add-label worker:01`; or give the task up: `claude-workers reset 01 --force`
    octo/app#2  worker:03  03 works on it, but it is not open any more  Nobody's
        give it up: `claude-workers reset 03 --force`
    octo/app#3  Worker:02  02 is idle, and no record here explains the label  Else[31mwhere
        if no other host works on it, take it off: `gh issue edit 3 -R octo/app --remove-label worker:02`
    octo/app#3  worker:01  01 works on octo/app#1, and no record here explains the label  Else[31mwhere
        if no other host works on it, take it off: `gh issue edit 3 -R octo/app --remove-label worker:01`
    octo/app#4  worker:vps  no worker here has this name: another host's, or gone  Elsewhere's
        if no other host works on it, take it off: `gh issue edit 4 -R octo/app --remove-label worker:vps`
    octo/app#5  worker:$(reboot)  no worker here has this name: another host's, or gone  Hostile
        if nobody works on it, take the label off
    ");
}

#[test]
fn what_a_failed_run_left_waits_for_a_person_and_is_not_mended() {
    let world = World::new();
    world.issue("Fails");
    world.agent("exit 1");
    world.tick();
    assert_eq!(drift(&world, &[]), ["octo/app#1 worker:01 waits_for_you"]);
    let said = world.cron(&["status", "--remote"]).ok();
    said.says("waits for you: the run here ended failed")
        .says("`claude-workers dispatch -r octo/app -i 1`");
    world.hub.clear_exchanges();
    world.tick().says("1 held");
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn the_label_of_a_worker_whose_record_is_broken_is_no_left_over() {
    let world = World::new();
    world.issue("One");
    world.hub.label(APP, 1, "worker:01", "octo").unwrap();
    std::fs::write(world.task("01"), "{").unwrap();
    assert_eq!(drift(&world, &[]), ["octo/app#1 worker:01 broken"]);
}

#[test]
fn runs_in_repositories_that_are_not_configured_are_looked_at_too() {
    let world = World::new();
    world.hub.add_repo(&NewRepo::new("octo/other").file("README.md", "x\n")).unwrap();
    world.hub.add_issue("octo/other", &NewIssue::new("octo", "One")).unwrap();
    world.agent("mark start; sleep 1000");
    world.cron(&["dispatch", "-r", "octo/other", "-i", "1"]).ok();
    world.wait_until("the agent is at work", || world.marks().len() == 1);
    world.hub.unlabel("octo/other", 1, "worker:01", "octo").unwrap();
    world.hub.clear_exchanges();
    assert_eq!(drift(&world, &[]), ["octo/other#1 worker:01 missing"]);
    assert_eq!(world.asked().len(), 2);
}

#[test]
fn what_github_does_not_answer_is_said_and_the_rest_is_shown() {
    let config = Config { top: "repos = ['octo/app', 'octo/b']", ..Config::default() };
    let world = World::with(&config, &["01"]);
    world.hub.add_repo(&NewRepo::new("octo/b")).unwrap();
    let labelled = NewIssue::new("octo", "One").label("worker:01");
    world.hub.add_issue("octo/b", &labelled).unwrap();
    world.hub.inject(Fault::answer("GET", "/repos/octo/app/issues", 404));
    let said = world.cron(&["status", "--remote"]).exits(4);
    said.says("octo/b#1  worker:01  01 is idle").says("404 for the open issues of octo/app");
    // Nothing at all: the local part is there, and no list that would look like "no drift".
    world.hub.inject(Fault::answer("GET", "/issues", 500).times(20));
    let said = world.cron(&["status", "--remote", "--json"]).exits(1).says("its server failed");
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["workers"][0]["id"], "01");
    assert!(json.get("drift").is_none());
    world.hub.clear_faults();
    world.hub.set_rate_remaining("octo", 0);
    world.cron(&["status", "--remote"]).exits(6).says("01  idle").says("is used up");
}

#[test]
fn without_a_token_that_is_accepted_the_exit_code_says_so() {
    let config = Config { top: "repos = ['octo/app', 'octo/b']", ..Config::default() };
    let world = World::with(&config, &["01"]);
    world.write_token("ghp_wrong");
    let said = world.cron(&["status", "--remote"]).exits(5).says("01  idle");
    assert_eq!(said.err.matches("error:").count(), 1, "{}", said.err);
    let text = std::fs::read_to_string(world.config_file()).unwrap();
    std::fs::write(world.config_file(), text.replace("token_file = '~/token'\n", "")).unwrap();
    world.cron(&["status", "--remote"]).exits(5).says("01  idle").says("set GH_TOKEN");
}

#[test]
fn assign_takes_off_what_its_own_run_left_behind() {
    let world = World::new();
    let issue = left_behind(&world);
    assert_eq!(drift(&world, &[]), [format!("octo/app#{issue} worker:01 left_over")]);
    world.cron(&["status", "--remote"]).ok().says("the next `assign` takes it off");
    let off = format!("take worker:01 off octo/app#{issue}, where it was left behind");
    world.cron(&["assign", "--dry-run"]).ok().says(&format!("would {off}"));
    assert_eq!(world.labels(issue), ["worker:01"]);
    assert!(world.asked().iter().all(|e| e.method == "GET"));
    world.cron(&["assign", "-q"]).ok().says(&off.replace("take", "took"));
    assert_eq!(world.labels(issue), [""; 0]);
    assert_eq!(drift(&world, &[]), [""; 0]);
    world.hub.clear_exchanges();
    world.cron(&["assign"]).ok().says("1 with a pull request");
    assert!(world.asked().len() <= 2, "{:?}", world.asked_lines());
}

#[test]
fn what_a_reset_could_not_take_off_is_taken_off_later() {
    let world = World::new();
    old_issue(&world, "Reset");
    world.agent("exit 1");
    world.tick();
    // What `reset` noted is lost, as when its access was taken away for a while.
    world.hub.inject(Fault::answer("DELETE", "/issues/1/labels/", 404).times(2));
    world.hub.inject(Fault::answer("GET", "/issues/1", 404).times(2));
    world.cron(&["reset", "01"]).ok();
    world.hub.clear_faults();
    assert!(world.labels(1).contains(&"worker:01".to_owned()));
    assert_eq!(drift(&world, &[]), ["octo/app#1 worker:01 left_over"]);
    world.cron(&["assign"]).ok().says("took worker:01 off octo/app#1").says("was cleared");
    assert!(!world.labels(1).contains(&"worker:01".to_owned()));
}

#[test]
fn the_label_of_a_person_or_of_another_host_stays_and_is_asked_about_once() {
    let world = World::new();
    let issue = left_behind(&world);
    world.hub.add_user("writer").unwrap();
    // The same login, but after the run; and somebody else.
    for login in ["octo", "writer"] {
        world.hub.unlabel(APP, issue, "worker:01", "octo").unwrap();
        world.hub.label(APP, issue, "worker:01", login).unwrap();
        world.cron(&["assign"]).ok().says("1 held");
        world.hub.clear_exchanges();
        world.cron(&["assign"]).ok().says("1 held");
        assert_eq!(world.asked().len(), 1, "{:?}", world.asked_lines());
        assert_eq!(world.labels(issue), ["worker:01"]);
    }
    // No record of ours at all.
    let other = world.issue("Another host's");
    world.hub.label(APP, other, "worker:01", "octo").unwrap();
    world.hub.clear_exchanges();
    world.cron(&["assign"]).ok().says("2 held");
    assert_eq!(world.asked().len(), 1, "{:?}", world.asked_lines());
    assert_eq!(world.labels(other), ["worker:01"]);
}

#[test]
fn a_label_whose_worker_has_the_issue_again_stays() {
    let world = World::with(&Config::default(), &["01", "02"]);
    let issue = left_behind(&world);
    world.hub.set_open(APP, issue + 1, false).unwrap();
    world.agent("mark start; sleep 1000");
    world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string(), "-w", "01"]).ok();
    world.wait_until("the agent is at work", || world.marks().len() == 1);
    world.cron(&["assign"]).ok();
    assert_eq!(world.labels(issue), ["worker:01"]);
    assert_eq!(drift(&world, &[]), [""; 0]);
}

#[test]
fn a_label_that_cannot_be_taken_off_is_reported_and_the_tick_goes_on() {
    let world = World::new();
    let issue = left_behind(&world);
    let next = world.issue("Next");
    world.hub.inject(Fault::answer("DELETE", "/labels/", 403));
    let said = world.cron(&["assign"]).exits(5).says("403");
    said.says(&format!("works on octo/app#{next}"));
    world.quiet();
    assert_eq!(world.labels(issue), ["worker:01"]);
    // Not again at every tick.
    world.cron(&["assign"]).ok();
}
