//! The phase after the agent: what is really there.

use super::Context;
use super::jailing::ask_inside;
use crate::domain::{AgentReport, Ended, Outcome, Run, Work, text};
use crate::git::Mirror;
use crate::git::clone::{Collect, MAX_ANSWER, Request};
use crate::home::OUTBOX;
use crate::plan::conclude;

/// Looks at the clone and the outbox, takes over the commits if they are to be published, and
/// decides how the run ended.
pub(super) fn verify(ctx: &Context, run: &Run, agent: &AgentReport) -> (Work, Ended) {
    if agent.not_started.is_some() {
        let work = Work::default();
        let ended = conclude(run.kind, agent, &work);
        return (work, ended);
    }
    match collect(ctx, run) {
        Err(why) => {
            let work = Work::default();
            let mut ended = conclude(run.kind, agent, &work);
            if matches!(ended.outcome, Outcome::Succeeded | Outcome::Deferred) {
                ended = Ended {
                    outcome: Outcome::Failed,
                    why: format!("the agent's work could not be taken over: {why}"),
                };
            }
            (work, ended)
        }
        Ok(work) => {
            let ended = conclude(run.kind, agent, &work);
            (work, ended)
        }
    }
}

/// Collects inside the jail and imports outside. The count of commits is the host's own.
fn collect(ctx: &Context, run: &Run) -> Result<Work, String> {
    let (Some(branch), Some(base), Some(base_sha)) = (&run.branch, &run.base, &run.base_sha) else {
        return Err("the run has no branch".into());
    };
    let request = Request::Collect(Collect {
        git: ctx.tool("git").map_err(|e| e.to_string())?,
        dir: ctx.root.clone_of(&run.worker, &run.repo),
        branch: branch.clone(),
        base_sha: base_sha.clone(),
        outbox: ctx.root.home(&run.worker).join(OUTBOX),
    });
    let (answer, pack) =
        ask_inside(ctx, &run.worker, Some(&run.repo), &request, MAX_ANSWER, || ())?;
    let mut work: Work =
        serde_json::from_slice(&answer).map_err(|e| format!("its answer is wrong: {e}"))?;
    bound(&mut work);
    match &work.head {
        None => work.commits = 0,
        Some(head) => {
            let git = ctx.git().map_err(|e| e.to_string())?;
            let mirror = Mirror {
                path: ctx.mirror_path(&run.repo),
                default: base.clone(),
                tip: base_sha.clone(),
                branches: std::collections::BTreeMap::new(),
            };
            let scratch = ctx.root.record(&run.worker).scratch();
            let imported =
                git.import(&mirror, &scratch, &pack, head, base_sha).map_err(|e| e.to_string())?;
            work.commits = imported.commits;
        }
    }
    Ok(work)
}

/// The largest text of the outbox, and the longest note on one.
const MAX_TEXT: usize = 64 << 10;
const MAX_NOTE: usize = 300;

/// Makes the agent's texts fit into a record and onto a terminal, whatever came out of the jail.
/// Control characters would grow sixfold in JSON, and a record that is too large cannot be read.
fn bound(work: &mut Work) {
    let tame = |text: &mut String, max| {
        text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        text.truncate(text::head(text, max).len());
    };
    let (title, body) = work.pr_text.as_mut().map_or((None, None), |(t, b)| (Some(t), Some(b)));
    let texts = [title, body, work.comment.as_mut(), work.blocked.as_mut()];
    texts.into_iter().flatten().for_each(|text| tame(text, MAX_TEXT));
    work.notes.truncate(9);
    work.notes.iter_mut().for_each(|note| tame(note, MAX_NOTE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_controls_and_of_any_length_fit_into_a_record() {
        let hostile = || "\u{1}\u{1b}\u{9b}a\"".repeat(100_000);
        let mut work = Work {
            pr_text: Some((hostile(), hostile())),
            comment: Some(hostile()),
            blocked: Some(hostile()),
            notes: vec![hostile(); 1000],
            ..Work::default()
        };
        bound(&mut work);
        assert!(serde_json::to_vec(&work).unwrap().len() < 600 << 10);
        assert!(work.blocked.unwrap().starts_with("a\"a\""));
    }
}
