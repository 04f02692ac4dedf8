//! How a run ended: decided from what was seen, not from what the agent says of itself.

use crate::domain::{AgentReport, Ended, Filed, Kind, Outcome, Run, Work, text};

/// Decides the outcome.
#[must_use]
pub fn conclude(kind: Kind, agent: &AgentReport, work: &Work) -> Ended {
    let ended = |outcome, why: String| Ended { outcome, why };
    if let Some(why) = &agent.not_started {
        return ended(Outcome::NotStarted, why.clone());
    }
    if agent.stopped {
        return ended(Outcome::Stopped, "it was stopped".into());
    }
    if let Some(limit) = &agent.limit {
        return ended(Outcome::TimedOut, limit.clone());
    }
    if !agent.claimed_success {
        return ended(Outcome::Failed, failure(agent));
    }
    if let Some(why) = &work.blocked {
        return ended(Outcome::Deferred, why.clone());
    }
    if !kind.publishes_commits() {
        let (outcome, why) = in_words(kind, agent, work);
        return ended(outcome, why);
    }
    match (work.commits, kind) {
        // With commits, it found another way. Without, being denied is what was in its way.
        (0, _) if !agent.denied.is_empty() => {
            let tools = agent.denied.join(", ");
            let why =
                format!("the agent ended without a commit; it was not allowed to use {tools}");
            ended(Outcome::Deferred, why)
        }
        (0, Kind::Implement | Kind::Update) => {
            let left = if work.uncommitted { ", though it left uncommitted changes" } else { "" };
            ended(Outcome::Deferred, format!("the agent ended without a commit{left}"))
        }
        (0, _) => ended(Outcome::Succeeded, "done without commits".into()),
        (1, _) => ended(Outcome::Succeeded, "1 commit".into()),
        (n, _) => ended(Outcome::Succeeded, format!("{n} commits")),
    }
}

/// Of a run that hands in words. An agent that leaves none has handed it back.
fn in_words(kind: Kind, agent: &AgentReport, work: &Work) -> (Outcome, String) {
    let what = if kind == Kind::Issues { "issues" } else { "a report" };
    if work.drafts > 0 {
        return (Outcome::Succeeded, format!("{} to be filed", issues(work.drafts)));
    }
    if work.left_out > 0 {
        return (Outcome::Deferred, "no issue that the agent left can be filed".into());
    }
    // With a report, it found another way. Last words alone may say that it could not look.
    if work.report.is_none() && !agent.denied.is_empty() {
        let tools = agent.denied.join(", ");
        let why = format!("the agent ended without {what}; it was not allowed to use {tools}");
        return (Outcome::Deferred, why);
    }
    match (kind, work.report.is_some() || agent.last_words.is_some()) {
        (_, false) => (Outcome::Deferred, format!("the agent ended without {what} or a word")),
        (Kind::Issues, true) => (Outcome::Succeeded, "nothing to file".into()),
        (_, true) => (Outcome::Succeeded, "reported".into()),
    }
}

/// `1 issue`, `2 issues`.
#[must_use]
pub fn issues(n: u32) -> String {
    format!("{n} issue{}", if n == 1 { "" } else { "s" })
}

fn failure(agent: &AgentReport) -> String {
    match (agent.exit_code, agent.signal) {
        (Some(0), _) => "the agent ended without reporting success".into(),
        (Some(code), _) => format!("the agent ended with exit code {code}"),
        (None, Some(signal)) => format!("the agent was killed by signal {signal}"),
        (None, None) => "the agent ended in an unknown way".into(),
    }
}

/// Why and what was said, in one line for lists.
#[must_use]
pub fn in_a_line(run: &Run) -> String {
    let Some(ended) = &run.ended else { return String::new() };
    let report = || run.work.as_ref().and_then(|w| w.report.clone());
    line_about(ended, &run.filed, report, || run.agent.as_ref().and_then(|a| a.last_words.clone()))
}

/// The same from its parts: of what was said only what the line shows is asked for.
#[must_use]
pub fn line_about(
    ended: &Ended,
    filed: &[Filed],
    report: impl FnOnce() -> Option<String>,
    last_words: impl FnOnce() -> Option<String>,
) -> String {
    let words = match ended.outcome {
        _ if !filed.is_empty() => {
            let numbers: Vec<String> = filed.iter().map(|f| format!("#{}", f.number)).collect();
            Some(numbers.join(" "))
        }
        Outcome::Succeeded => report(),
        _ => last_words(),
    };
    let line = words.map_or_else(|| ended.why.clone(), |words| format!("{}: {words}", ended.why));
    text::one_line(&line, 160)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok() -> AgentReport {
        AgentReport { exit_code: Some(0), claimed_success: true, ..AgentReport::default() }
    }

    fn outcome(kind: Kind, agent: &AgentReport, work: &Work) -> Outcome {
        conclude(kind, agent, work).outcome
    }

    #[test]
    fn each_way_to_end_has_its_outcome() {
        let (none, some) = (Work::default(), Work { commits: 2, ..Work::default() });
        assert_eq!(outcome(Kind::Implement, &ok(), &some), Outcome::Succeeded);
        assert_eq!(outcome(Kind::Implement, &ok(), &none), Outcome::Deferred);
        assert_eq!(outcome(Kind::Prompt, &ok(), &none), Outcome::Succeeded);
        let blocked = Work { blocked: Some("which colour?".into()), commits: 1, ..Work::default() };
        assert_eq!(outcome(Kind::Implement, &ok(), &blocked), Outcome::Deferred);
        let failed = AgentReport { exit_code: Some(1), ..AgentReport::default() };
        assert_eq!(outcome(Kind::Implement, &failed, &some), Outcome::Failed);
        let silent = AgentReport { limit: Some("silent".into()), ..ok() };
        assert_eq!(outcome(Kind::Implement, &silent, &some), Outcome::TimedOut);
        let stopped = AgentReport { stopped: true, ..ok() };
        assert_eq!(outcome(Kind::Implement, &stopped, &some), Outcome::Stopped);
        let never = AgentReport { not_started: Some("no disk".into()), ..AgentReport::default() };
        assert_eq!(outcome(Kind::Implement, &never, &none), Outcome::NotStarted);
    }

    #[test]
    fn being_denied_a_tool_matters_where_nothing_was_done() {
        let denied = AgentReport { denied: vec!["Edit".into(), "Bash".into()], ..ok() };
        let (none, some) = (Work::default(), Work { commits: 1, ..Work::default() });
        for kind in [Kind::Implement, Kind::Prompt, Kind::Update] {
            let ended = conclude(kind, &denied, &none);
            assert_eq!(ended.outcome, Outcome::Deferred);
            assert!(ended.why.ends_with("not allowed to use Edit, Bash"), "{}", ended.why);
            assert_eq!(outcome(kind, &denied, &some), Outcome::Succeeded);
        }
    }

    #[test]
    fn exit_code_zero_without_a_final_success_is_a_failure() {
        let mute = AgentReport { exit_code: Some(0), ..AgentReport::default() };
        let ended = conclude(Kind::Prompt, &mute, &Work::default());
        assert_eq!(ended.outcome, Outcome::Failed);
    }

    #[test]
    fn an_update_needs_commits() {
        let ended = conclude(Kind::Update, &ok(), &Work::default());
        assert_eq!(ended.outcome, Outcome::Deferred);
        assert!(ended.why.contains("without a commit"), "{}", ended.why);
        let work = Work { commits: 1, ..Work::default() };
        assert_eq!(outcome(Kind::Update, &ok(), &work), Outcome::Succeeded);
    }

    #[test]
    fn words_are_what_a_report_and_an_issues_run_hand_in() {
        let spoke = AgentReport { last_words: Some("All fine.".into()), ..ok() };
        let denied = AgentReport { denied: vec!["Bash".into()], ..spoke.clone() };
        let report = Work { report: Some("All fine.".into()), ..Work::default() };
        let none = Work { commits: 3, ..Work::default() };
        for kind in [Kind::Report, Kind::Issues] {
            assert_eq!(outcome(kind, &ok(), &none), Outcome::Deferred);
            assert_eq!(outcome(kind, &ok(), &report), Outcome::Succeeded);
            assert_eq!(outcome(kind, &spoke, &none), Outcome::Succeeded);
            assert_eq!(outcome(kind, &denied, &none), Outcome::Deferred);
            assert_eq!(outcome(kind, &denied, &report), Outcome::Succeeded);
            let blocked = Work { blocked: Some("?".into()), drafts: 1, ..report.clone() };
            assert_eq!(outcome(kind, &spoke, &blocked), Outcome::Deferred);
        }
        let found = |drafts, left_out| Work { drafts, left_out, ..Work::default() };
        let ended = conclude(Kind::Issues, &denied, &found(2, 1));
        assert_eq!(
            (ended.outcome, ended.why.as_str()),
            (Outcome::Succeeded, "2 issues to be filed")
        );
        assert_eq!(outcome(Kind::Issues, &spoke, &found(0, 1)), Outcome::Deferred);
    }
}
