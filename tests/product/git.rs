//! What stands between the agent's commits and the pull request.

use claude_workers::domain::Outcome;
use claude_workers::fakehub::Fault;

use crate::world::{APP, Config, TRUNK, World};

/// Runs git in GitHub's own bare repository.
fn at_github(world: &World, args: &[&str]) -> String {
    let dir = world.hub.repo_dir(APP).unwrap();
    let output = assert_cmd::Command::new("git").arg("--git-dir").arg(dir).args(args).unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Somebody's branch, at the tip of the default one.
fn branch(world: &World, name: &str) -> String {
    let tip = at_github(world, &["rev-parse", TRUNK]);
    at_github(world, &["update-ref", &format!("refs/heads/{name}"), &tip]);
    tip
}

#[test]
fn a_push_that_the_remote_refuses_fails_and_says_why() {
    let world = World::new();
    world.issue("One");
    world.hub.refuse_pushes(APP, "*").unwrap();
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.contains("cannot push issue-1") && comment.contains("declined"), "{comment}");
    assert!(world.pulls().is_empty());
    // Mended, and named by a person: it goes through.
    world.hub.accept_pushes(APP).unwrap();
    world.cron(&["dispatch", "-r", APP, "-i", "1"]).ok();
    world.quiet();
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn a_push_that_a_server_or_what_is_before_it_does_not_take_just_now_is_tried_again() {
    let codes = [408, 520];
    let world = World::with(&Config::default(), &["01", "02"]);
    world.agent("mark start; until [ -e $HOME/go ]; do sleep 0.05; done; commit a b");
    for _ in codes {
        world.issue("One");
    }
    world.cron(&["assign"]).ok();
    world.wait_until("the agents are at work", || world.marks().len() == codes.len());
    for code in codes {
        world.hub.inject(Fault::answer("POST", "/git-receive-pack", code));
    }
    for id in ["01", "02"] {
        std::fs::write(world.home(id).join("go"), "").unwrap();
    }
    world.quiet();
    let seen = world
        .hub
        .exchanges()
        .into_iter()
        .filter(|e| e.status.is_some_and(|s| codes.contains(&s)))
        .count();
    assert_eq!(seen, codes.len());
    assert_eq!(world.outcomes(), [Outcome::Succeeded; 2], "{:?}", world.last_run().ended);
    assert_eq!(world.pulls().len(), 2);
}

#[test]
fn a_branch_that_somebody_has_is_left_alone_and_another_name_is_taken() {
    let world = World::new();
    world.issue("One");
    let theirs = branch(&world, "issue-1");
    world.tick();
    assert_eq!(world.pulls()[0].head, "issue-1-2");
    assert_eq!(at_github(&world, &["rev-parse", "issue-1"]), theirs);
}

#[test]
fn a_branch_that_somebody_makes_meanwhile_is_not_written_to() {
    let world = World::new();
    world.issue("One");
    world.agent("mark start; while ! test -e ~/go; do sleep 0.05; done; commit a b");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    let theirs = branch(&world, "issue-1");
    std::fs::write(world.home("01").join("go"), "").unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    assert_eq!(at_github(&world, &["rev-parse", "issue-1"]), theirs);
    assert!(world.pulls().is_empty());
}

#[test]
fn the_default_branch_is_never_written_to() {
    let world = World::new();
    let tip = at_github(&world, &["rev-parse", TRUNK]);
    world.issue("One");
    world.agent("git checkout -q -B trunk && commit a b");
    world.tick();
    assert_eq!(at_github(&world, &["rev-parse", TRUNK]), tip);
    // What was committed elsewhere is found and published as the issue's branch.
    assert_eq!(world.pulls()[0].head, "issue-1");
}

#[test]
fn a_run_starts_from_what_was_merged_since() {
    let world = World::new();
    world.issue("One");
    world.tick();
    world.hub.merge_pull(APP, 2).unwrap();
    let number = world.issue("Two");
    world.tick();
    let pull = world.pulls().pop().unwrap();
    assert_eq!(pull.head, format!("issue-{number}"));
    let diff = world.hub.pull_diff(APP, pull.number).unwrap();
    assert_eq!(diff.matches("diff --git").count(), 1, "{diff}");
    assert!(world.home("01").join("github/octo/app/work-1.txt").exists());
}

#[test]
fn a_default_branch_with_a_new_name_is_followed() {
    let world = World::new();
    world.issue("One");
    world.tick();
    branch(&world, "next");
    at_github(&world, &["symbolic-ref", "HEAD", "refs/heads/next"]);
    world.issue("Two");
    world.tick();
    let run = world.last_run();
    assert_eq!(run.base.unwrap().as_str(), "next");
}

#[test]
fn a_pull_request_that_github_refuses_fails_and_says_so() {
    let world = World::new();
    world.issue("One");
    world.hub.inject(Fault::answer("POST", "/pulls", 422).times(9));
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.contains("the branch issue-1 is pushed, but"), "{comment}");
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
}

#[test]
fn what_cannot_be_said_is_in_the_record_and_the_rest_is_done() {
    let world = World::new();
    world.issue("One");
    world.hub.inject(Fault::answer("POST", "/comments", 403).times(9));
    world.tick();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Succeeded));
    assert!(run.unsaid[0].starts_with("the comment: GitHub says 403"), "{:?}", run.unsaid);
    assert_eq!(world.pulls().len(), 1);
    assert!(world.labels(1).is_empty());
}

#[test]
fn an_issue_without_its_labels_put_on_is_not_taken_again_all_the_same() {
    let world = World::new();
    world.issue("One");
    world.agent("exit 1");
    world.hub.inject(Fault::answer("POST", "/issues/1/labels", 403).after(1).times(9));
    world.tick();
    world.hub.clear_faults();
    assert!(!world.last_run().labels_left);
    world.hub.unlabel(APP, 1, "worker:01", "octo").unwrap();
    world.tick().says("1 waiting for a person");
    assert_eq!(world.runs().len(), 1);
}
