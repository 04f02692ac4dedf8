use super::*;

/// The events of the real agent, recorded by the test program `claude_cli`.
macro_rules! recorded {
    ($name:literal, $exit:expr) => {
        read(
            &include_str!(concat!("../../../tests/data/claude/", $name, ".jsonl"))
                .lines()
                .collect::<Vec<_>>(),
            $exit,
        )
    };
}

fn read(lines: &[&str], exit: Option<i32>) -> Summary {
    let mut reader = Reader::default();
    for line in lines {
        reader.line(line.as_bytes());
    }
    reader.summary(exit)
}

#[test]
fn success_needs_exit_code_and_final_event() {
    let done = r#"{"subtype":"success","is_error":false,"num_turns":3,"total_cost_usd":0.25,"result":"Done.","type":"result"}"#;
    let ok = read(&[done], Some(0));
    assert!(ok.success);
    assert_eq!(
        (ok.cost_usd, ok.turns, ok.last_words.as_deref()),
        (Some(0.25), Some(3), Some("Done."))
    );
    assert!(!read(&[done], Some(1)).success);
    assert!(!read(&[done], None).success);
    assert!(!read(&[], Some(0)).success);
}

#[test]
fn an_api_error_that_calls_itself_success_is_none() {
    let event = r#"{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","result":"API Error: 401"}"#;
    let summary = read(&[event], Some(1));
    assert!(!summary.success);
    assert_eq!(summary.last_words.as_deref(), Some("API Error: 401"));
    let interrupted = r#"{"type":"result","subtype":"error_during_execution","is_error":false}"#;
    let summary = read(&[interrupted], Some(0));
    assert!(!summary.success);
    assert_eq!(summary.last_words.as_deref(), Some("error_during_execution"));
}

#[test]
fn without_a_final_event_the_last_words_are_what_was_said_last() {
    let text = r#"{"type":"assistant","message":{"content":[{"type":"tool_use"},{"type":"text","text":"I try."}]}}"#;
    assert_eq!(read(&[text], None).last_words.as_deref(), Some("I try."));
    assert_eq!(read(&[text, "Killed"], None).last_words.as_deref(), Some("Killed"));
    assert!(!read(&["\u{0}\u{1}"], None).success);
}

#[test]
fn the_recorded_success_is_one() {
    let done = recorded!("success", Some(0));
    assert!(done.success);
    assert_eq!(done.last_words.as_deref(), Some("The notes are mended."));
    assert_eq!((done.cost_usd, done.turns), (Some(0.0016), Some(4)));
    assert!(done.denied.is_empty());
    // Killed just after its final word, it has not ended well.
    assert!(!recorded!("success", None).success);
}

#[test]
fn a_recorded_overload_that_passed_is_a_success() {
    let done = recorded!("overloaded", Some(0));
    assert!(done.success);
    assert_eq!((done.cost_usd, done.turns), (Some(0.0016), Some(4)));
}

#[test]
fn a_recorded_refusal_of_the_key_says_so() {
    let failed = recorded!("unauthorized", Some(1));
    assert!(!failed.success);
    let words = "Failed to authenticate. API Error: 401 scripted failure";
    assert_eq!(failed.last_words.as_deref(), Some(words));
    assert_eq!((failed.cost_usd, failed.turns), (Some(0.0), Some(1)));
    // Whatever the exit code says: the event is an error.
    assert!(!recorded!("unauthorized", Some(0)).success);
}

#[test]
fn a_recorded_broken_connection_says_so() {
    let failed = recorded!("cut", Some(1));
    assert!(!failed.success);
    assert!(failed.last_words.unwrap().contains("Connection to the API was lost"));
    assert_eq!(failed.turns, Some(4));
}

#[test]
fn a_recorded_end_of_turns_says_so() {
    let failed = recorded!("max_turns", Some(1));
    assert!(!failed.success);
    let words = "max_turns: Reached maximum number of turns (2)";
    assert_eq!(failed.last_words.as_deref(), Some(words));
    assert_eq!(failed.turns, Some(3));
}

#[test]
fn recorded_denials_are_named_though_the_agent_says_success() {
    let done = recorded!("denied", Some(0));
    assert!(done.success);
    assert_eq!(done.denied, ["Edit", "Bash"]);
    assert_eq!(done.last_words.as_deref(), Some("The notes are mended."));
}

#[test]
fn settings_of_a_repository_are_used_only_where_the_user_said_so() {
    let launch = |repo: &str| Launch {
        program: "/bin/claude".into(),
        model: None,
        session_id: "s".into(),
        resume: false,
        prompt_file: "/p".into(),
        repo: repo.parse().unwrap(),
        issue: None,
        branch: String::new(),
        sandbox: JailMode::Bwrap,
    };
    let section = ExecutorSection {
        repository_settings: vec!["me/*".parse().unwrap()],
        ..ExecutorSection::default()
    };
    for (repo, used) in [("me/app", true), ("other/app", false)] {
        let argv = invocation(&section, &launch(repo)).argv;
        let at = argv.iter().position(|word| word == "--setting-sources").unwrap();
        assert_eq!(argv[at + 1], if used { "user,project" } else { "user" });
        assert_eq!(argv.iter().any(|word| word == "--strict-mcp-config"), !used);
    }
}
