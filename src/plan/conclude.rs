//! How a run ended: decided from what was seen, not from what the agent says of itself.

use crate::domain::{AgentReport, Ended, Kind, Outcome, Work, text};

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
    match (work.commits, kind) {
        // With commits, it found another way. Without, being denied is what was in its way.
        (0, _) if !agent.denied.is_empty() => {
            let tools = agent.denied.join(", ");
            let why =
                format!("the agent ended without a commit; it was not allowed to use {tools}");
            ended(Outcome::Deferred, why)
        }
        (0, Kind::Implement) => {
            let left = if work.uncommitted { ", though it left uncommitted changes" } else { "" };
            ended(Outcome::Deferred, format!("the agent ended without a commit{left}"))
        }
        (0, Kind::Prompt) => ended(Outcome::Succeeded, "done without commits".into()),
        (1, _) => ended(Outcome::Succeeded, "1 commit".into()),
        (n, _) => ended(Outcome::Succeeded, format!("{n} commits")),
    }
}

fn failure(agent: &AgentReport) -> String {
    match (agent.exit_code, agent.signal) {
        (Some(0), _) => "the agent ended without reporting success".into(),
        (Some(code), _) => format!("the agent ended with exit code {code}"),
        (None, Some(signal)) => format!("the agent was killed by signal {signal}"),
        (None, None) => "the agent ended in an unknown way".into(),
    }
}

/// Why and the last words, in one line for lists.
#[must_use]
pub fn in_a_line(ended: &Ended, last_words: Option<&str>) -> String {
    match last_words {
        Some(words) if ended.outcome != Outcome::Succeeded => {
            text::one_line(&format!("{}: {words}", ended.why), 160)
        }
        _ => text::one_line(&ended.why, 160),
    }
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
        for kind in [Kind::Implement, Kind::Prompt] {
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
}
