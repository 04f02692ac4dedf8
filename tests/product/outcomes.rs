//! How runs end, and what is on GitHub then.

use claude_workers::domain::{Outcome, Run};
use claude_workers::fakehub::{NewIssue, NewRepo};

use crate::world::{APP, Config, World};

/// One issue, one tick with this agent.
fn after(agent: &str, limits: &'static str) -> World {
    let world = World::with(&Config { limits, ..Config::default() }, &["01"]);
    world.agent(agent);
    world.issue("Something");
    world.tick();
    world
}

/// What a person finds when a run needs one: both labels, one comment with these words, an idle
/// worker, no pull request, and an issue that is left alone.
#[track_caller]
fn needs_a_person(world: &World, outcome: Outcome, words: &[&str]) -> Run {
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(outcome), "{:?}", run.ended);
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.contains(&format!("**{outcome}**")), "{comment}");
    for word in words {
        assert!(comment.contains(word), "no {word:?} in {comment}");
    }
    assert!(world.pulls().is_empty());
    assert!(run.labels_left && run.unsaid.is_empty(), "{run:?}");
    world.tick().says("nothing to do: 1 idle, 1 open issues (1 held)");
    assert_eq!(world.runs().len(), 1);
    run
}

#[test]
fn an_agent_that_commits_nothing_is_deferred_with_its_words() {
    let world = after("echo 'Which of the two files is meant?'", "");
    let words = ["without a commit", "Which of the two files is meant?"];
    needs_a_person(&world, Outcome::Deferred, &words);
}

#[test]
fn uncommitted_work_is_no_work_and_said_so() {
    let world = after("echo x >new.txt", "");
    needs_a_person(&world, Outcome::Deferred, &["though it left uncommitted changes"]);
}

#[test]
fn an_agent_that_asks_for_a_person_is_deferred_even_with_commits() {
    let world = after("commit a b; echo 'Red or blue?' >$outbox/blocked.md", "");
    needs_a_person(&world, Outcome::Deferred, &["Red or blue?"]);
}

#[test]
fn an_agent_that_exits_with_an_error_has_failed() {
    let world = after("commit a b; echo 'no more tokens' >&2; exit 3", "");
    let run = needs_a_person(&world, Outcome::Failed, &["exit code 3", "no more tokens"]);
    assert_eq!(run.agent.unwrap().exit_code, Some(3));
}

#[test]
fn an_agent_that_is_killed_by_a_signal_has_failed() {
    let world = after("kill -SEGV $$", "");
    needs_a_person(&world, Outcome::Failed, &["killed by signal 11"]);
}

#[test]
fn a_talkative_agent_that_ignores_term_is_killed_after_its_time() {
    let agent = "trap '' TERM; while :; do echo tick; sleep 0.1; done";
    let world = after(agent, "wall_clock = '1s'\ngrace = '1s'");
    let run = needs_a_person(&world, Outcome::TimedOut, &["longer than 1 seconds", "tick"]);
    assert!(run.agent.unwrap().duration_ms >= 1000);
}

#[test]
fn a_silent_agent_is_ended_and_may_say_a_last_word() {
    let agent = "trap 'echo I was asked to end; exit 0' TERM; while :; do sleep 0.1; done";
    let world = after(agent, "silence = '1s'\ngrace = '30s'");
    needs_a_person(&world, Outcome::TimedOut, &["said nothing", "I was asked to end"]);
}

#[test]
fn nothing_that_an_agent_started_outlives_it() {
    let agent = "commit a b
        setsid sh -c 'trap \"\" TERM HUP; exec sleep 1000' &
        (setsid nohup sleep 1000 >/dev/null 2>&1 &)
        echo started";
    // `after` waits until no process of this world is left.
    let world = after(agent, "");
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}

#[test]
fn a_prompt_without_commits_succeeds_and_leaves_no_trace_on_github() {
    let world = World::new();
    world.agent("grep 'How many' $prompt; echo 'Seven.'");
    world.cron(&["dispatch", "-r", APP, "-p", "How many files?"]).ok();
    world.quiet();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Succeeded));
    assert_eq!(run.agent.unwrap().last_words.as_deref(), Some("How many files?\nSeven."));
    assert!(world.pulls().is_empty());
    assert_eq!(world.asked_lines(), [""; 0]);
}

#[test]
fn a_prompt_with_commits_becomes_a_pull_request_from_a_branch_of_its_own() {
    let world = World::new();
    world.cron(&["dispatch", "-r", APP, "-p", "Tidy up"]).ok();
    world.quiet();
    let run = world.last_run();
    let [pull] = world.pulls().try_into().unwrap();
    assert_eq!(pull.head, format!("task-{}", run.run.as_str().to_lowercase()));
    assert_eq!(pull.title, "Tidy up");
    assert!(!pull.body.contains("Closes"), "{}", pull.body);
    assert_eq!(run.pr.unwrap().number, pull.number);
}

#[test]
fn a_question_about_an_issue_is_answered_in_a_comment() {
    let world = World::new();
    let issue = world.issue("Crash at start");
    world.agent("grep -q 'Crash at start' $prompt && echo 'The flag is read twice.'");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-p", "Explain, don't fix"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    let [comment] = world.comments(issue).try_into().unwrap();
    assert!(comment.contains("The flag is read twice."), "{comment}");
    assert!(world.pulls().is_empty() && world.labels(issue).is_empty());
}

#[test]
fn the_agents_own_comment_goes_before_its_last_words() {
    let world = World::new();
    let issue = world.issue("Crash at start");
    world.agent("echo '## Report' >$outbox/comment.md; echo chatter");
    world.cron(&["dispatch", "-r", APP, "-i", "1", "-p", "Report"]).ok();
    world.quiet();
    let [comment] = world.comments(issue).try_into().unwrap();
    assert!(comment.contains("## Report") && !comment.contains("chatter"), "{comment}");
}

#[test]
fn what_does_not_fit_into_the_outbox_is_said() {
    let agent = "commit a b; head -c 70000 /dev/zero | tr '\\0' x >$outbox/pr.md";
    let world = after(agent, "");
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.contains("pr.md"), "{comment}");
    assert_eq!(world.pulls()[0].title, "Something (#1)");
}

/// A repository without a commit: a run in it cannot start.
fn empty() -> World {
    let world = World::bare(&Config::default());
    world.hub.add_repo(&NewRepo::new(APP)).unwrap();
    world.hub.add_issue(APP, &NewIssue::new("octo", "Something")).unwrap();
    world.init(&["01"]);
    world
}

#[test]
fn what_could_not_start_is_released_and_tried_later() {
    let world = empty();
    world.tick();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::NotStarted));
    assert!(run.ended.unwrap().why.contains("no default branch"));
    assert!(world.labels(1).is_empty() && world.comments(1).is_empty());
    world.tick().says("1 to be tried later");
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn after_five_failed_starts_a_person_is_asked() {
    let world = empty();
    for n in 1..=5 {
        assert!(world.labels(1).is_empty(), "before start {n}");
        world.cron(&["dispatch", "-r", APP, "-i", "1"]).ok();
        world.quiet();
    }
    assert_eq!(world.outcomes(), [Outcome::NotStarted; 5]);
    assert_eq!(world.labels(1), ["blocked"]);
    let [comment] = world.comments(1).try_into().unwrap();
    assert!(comment.contains("no default branch"), "{comment}");
    world.tick().says("1 waiting for a person");
}

#[test]
fn an_agent_that_is_gone_when_its_turn_comes_has_not_started() {
    let world = World::new();
    world.agent("mark start; sleep 1000");
    world.issue("Something");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent has started", || !world.marks().is_empty());
    world.kill_supervisor("01");
    world.quiet();
    let text = std::fs::read_to_string(world.config_file()).unwrap();
    let text = text.replace("'/bin/sh'", "'/nonexistent/sh'");
    std::fs::write(world.config_file(), text).unwrap();
    // The crashed run is taken up, whatever the tick says of the rest.
    world.cron(&["assign"]);
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::NotStarted]);
    assert!(world.labels(1).is_empty(), "{:?}", world.labels(1));
}
