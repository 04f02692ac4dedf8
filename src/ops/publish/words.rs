//! What is said on GitHub of a run that has ended.

use super::{MARKER, Publishing};
use crate::domain::{Filed, Kind, Outcome, Work, text};

impl Publishing<'_> {
    /// The agent's words if it left some, with `Closes #N` made sure of.
    pub(super) fn pull_text(&self, work: &Work) -> (String, String) {
        let run = self.run;
        let from_agent = work.pr_text.clone().filter(|(title, _)| !title.is_empty());
        let (title, body) = from_agent.unwrap_or_else(|| {
            let title = match (run.issue, &run.title) {
                (Some(n), Some(title)) if !title.is_empty() => format!("{title} (#{n})"),
                (Some(n), _) => format!("Work on issue #{n}"),
                // A prompt may have nothing in it that can be shown.
                (None, _) => match text::one_line(run.prompt.as_deref().unwrap_or(""), 80) {
                    title if title.is_empty() => "Work".into(),
                    title => title,
                },
            };
            (title, run.agent.as_ref().and_then(|a| a.last_words.clone()).unwrap_or_default())
        });
        let mut body = text::head(&body, BODY_MAX).to_owned();
        if run.kind == Kind::Implement
            && let Some(n) = run.issue
        {
            body = format!("Closes #{n}\n\n{body}");
        }
        body.push_str(&format!("\n\n---\n*By worker `{}` ({}).*", run.worker, run.agent_name()));
        (text::one_line(&title, 240), body)
    }

    /// What is said on the issue; `None`: nothing.
    pub(super) fn comment_text(&self, work: &Work) -> Option<String> {
        let run = self.run;
        let agent = run.agent.clone().unwrap_or_default();
        let words = agent.last_words.as_deref().unwrap_or("").trim();
        let mut parts: Vec<String> = Vec::new();
        match self.ended.outcome {
            Outcome::Succeeded => match &self.done.pr {
                Some(pr) => parts.push(format!("Done: #{} ({}).", pr.number, self.ended.why)),
                None if run.kind == Kind::Issues => {
                    parts.push(format!("Done: {}.", self.ended.why));
                }
                None if run.kind == Kind::Report => {}
                None => parts.push("Done; no change to the repository was needed.".into()),
            },
            Outcome::NotStarted if !self.gives_up() => return None,
            Outcome::Stopped => return None,
            outcome => parts.push(format!("This needs a person: **{outcome}**.")),
        }
        if self.ended.outcome != Outcome::Succeeded {
            parts.push(quoted("Why", text::head(&self.ended.why, WHY_MAX)));
        }
        if !self.done.filed.is_empty() {
            parts.push(self.done.filed.iter().map(filed_line).collect::<Vec<_>>().join("\n"));
        }
        let own = work.report.as_ref().filter(|report| {
            // Last words that are no report are quoted as such.
            self.ended.outcome == Outcome::Succeeded || report.trim() != words
        });
        if let Some(own) = own.or(work.comment.as_ref()) {
            let shown = text::head(own, BODY_MAX - WHY_MAX);
            parts.push(shown.to_owned());
            if shown.len() < own.len() {
                parts.push("Note: this is cut; the run's record has the whole of it.".into());
            }
        } else if !words.is_empty() && self.done.pr.is_none() {
            parts.push(quoted("The agent's last words", text::tail(words, 4000)));
        }
        let notes = work.notes.iter().take(MAX_NOTES);
        parts.extend(notes.map(|note| format!("Note: {}.", text::one_line(note, 300))));
        let mut facts = vec![format!("worker `{}`", run.worker), run.agent_name()];
        let minutes = agent.duration_ms.div_ceil(60_000);
        if minutes > 0 {
            facts.push(format!("{minutes} min"));
        }
        facts.extend(agent.cost_usd.map(|usd| format!("${usd:.2}")));
        facts.push(format!("run `{}`", run.run));
        parts.push(format!("<sub>{}</sub>", facts.join(" · ")));
        if self.ended.outcome != Outcome::Succeeded {
            parts.push(
                "<sub>To have it tried again: take the labels off, or run `claude-workers dispatch`. \
                 The log is on the worker's machine: `claude-workers logs`.</sub>"
                    .into(),
            );
        }
        parts.push(format!("{MARKER}{} -->", run.run));
        Some(parts.join("\n\n"))
    }
}

/// GitHub takes bodies of 65,536 characters; what we add needs some of them.
const BODY_MAX: usize = 60_000;

/// Of which the reason for an ending has this much.
const WHY_MAX: usize = 16 << 10;

/// More notes would not fit into a comment; the record has them all.
const MAX_NOTES: usize = 20;

/// GitHub shows the title by itself.
fn filed_line(filed: &Filed) -> String {
    let known = if filed.there_already { " (there already)" } else { "" };
    format!("- #{}{known}", filed.number)
}

fn quoted(what: &str, said: &str) -> String {
    let fence = text::fence_for(said);
    format!("{what}:\n{fence}text\n{}\n{fence}", said.trim())
}
