//! The phase after the agent: what is really there.

use super::jailing::{NoAnswer, ask_inside};
use super::patience::{self, is_full};
use super::{Context, filing, policy};
use crate::domain::redact::Redactor;
use crate::domain::{AgentReport, BranchName, Draft, Ended, Kind, Outcome, Run, Work, text};
use crate::git::clone::{Collect, MAX_ANSWER, Request, Want};
use crate::git::{Host, Imported, Mirror};
use crate::home::OUTBOX;
use crate::plan::conclude;

/// Looks at the clone and the outbox, takes over the commits if they are to be published, and
/// decides how the run ended.
///
/// # Errors
/// When something of this machine is in the way (no room, no process, a git that was killed): in
/// words. It can be done again.
pub(super) fn verify(
    ctx: &Context,
    run: &Run,
    agent: &AgentReport,
    redactor: &Redactor,
) -> Result<(Work, Ended), String> {
    if agent.not_started.is_some() {
        let work = Work::default();
        let ended = conclude(run.kind, agent, &work);
        return Ok((work, ended));
    }
    // What is wrong with this machine must not cost an agent's work, nor what lies about in its clone.
    let collected = collect(ctx, run, redactor, false).or_else(|first| {
        let refused = matches!(first, NoAnswer::Refused(_));
        collect(ctx, run, redactor, refused)
    });
    let is_fault = matches!(collected, Err(NoAnswer::Fault(_))) && run.looks < MAX_LOOKS;
    match collected.map_err(|failure| patience::why(ctx, failure.to_string())) {
        Err(why) if is_fault || is_full(&why) => Err(why),
        Err(why) => {
            let work = Work::default();
            let mut ended = conclude(run.kind, agent, &work);
            if matches!(ended.outcome, Outcome::Succeeded | Outcome::Deferred) {
                ended = Ended {
                    outcome: Outcome::Failed,
                    why: format!("the agent's work could not be taken over: {why}"),
                };
            }
            Ok((work, ended))
        }
        Ok((mut work, imported)) => {
            let mut ended = conclude(run.kind, agent, &work);
            if ended.outcome == Outcome::Succeeded
                && let Some((git, imported)) = &imported
            {
                let look = || policy::check(ctx, run, git, imported, redactor);
                // A fault of this machine passes; work that is done is worth a second look.
                let refused = match look().or_else(|_| look()) {
                    Ok(refused) => refused,
                    Err(NoAnswer::Fault(why)) if run.looks < MAX_LOOKS => return Err(why),
                    Err(why) => {
                        Some(format!("not published: what is changed cannot be looked at: {why}"))
                    }
                };
                if let Some(why) = refused {
                    // Another attempt would bring the same: a person has to look.
                    ended = Ended { outcome: Outcome::Deferred, why };
                }
            }
            if !run.kind.publishes_commits() && work.report.is_none() {
                work.report.clone_from(&agent.last_words);
                bound(&mut work);
            }
            Ok((work, ended))
        }
    }
}

/// So many supervisors may look in vain, because of what may have been a fault of this machine. What an
/// agent left can kill who looks at it, too.
const MAX_LOOKS: u32 = 100;

/// Whether the commits that a run is about to publish are lost, but for the worker's clone.
pub(super) fn has_lost_its_commits(ctx: &Context, run: &Run) -> bool {
    let head = run.work.as_ref().and_then(|work| work.head.as_ref().zip(Some(work.commits)));
    let (Some((head, commits)), Some(base)) = (head, &run.base_sha) else { return false };
    let imported = Imported::kept(&ctx.root.record(&run.worker).scratch(), head, commits);
    run.outcome() == Some(Outcome::Succeeded)
        && ctx.git().is_ok_and(|git| git.has_lost(&imported, base))
}

/// Collects inside the jail and imports outside. The count of commits is the host's own.
fn collect(
    ctx: &Context,
    run: &Run,
    redactor: &Redactor,
    blind: bool,
) -> Result<(Work, Option<(Host, Imported)>), NoAnswer> {
    let refused = |why: String| NoAnswer::Refused(why);
    let (Some(branch), Some(base), Some(base_sha)) = (&run.branch, &run.base, &run.base_sha) else {
        return Err(refused("the run has no branch".into()));
    };
    let max = ctx.settings.max_issues;
    let want = match run.kind {
        Kind::Issues => Want::Issues { max },
        kind if kind.publishes_commits() => Want::Commits,
        _ => Want::Words,
    };
    let request = Request::Collect(Collect {
        git: ctx.tool("git").map_err(|e| NoAnswer::Fault(e.to_string()))?,
        dir: ctx.root.clone_of(&run.worker, &run.repo),
        branch: branch.clone(),
        base_sha: base_sha.clone(),
        outbox: ctx.root.home(&run.worker).join(OUTBOX),
        want,
        blind,
    });
    let (repo, id) = (Some(&run.repo), Some(&run.run));
    let (answer, raw) = ask_inside(ctx, &run.worker, repo, &request, MAX_ANSWER, id, || ())?;
    let mut work: Work = serde_json::from_slice(&answer)
        .map_err(|e| refused(format!("its answer is wrong: {e}")))?;
    if want != Want::Commits {
        hand_in_words(&mut work, branch);
        if want != Want::Words {
            keep_drafts(ctx, run, redactor, (&raw, &mut work)).map_err(refused)?;
        }
    }
    bound(&mut work);
    let taken_over = match &work.head {
        None => {
            work.commits = 0;
            None
        }
        Some(head) => {
            let git = ctx.git().map_err(|e| NoAnswer::Fault(e.to_string()))?;
            let mirror = Mirror {
                path: ctx.mirror_path(&run.repo),
                default: base.clone(),
                tip: base_sha.clone(),
                branches: std::collections::BTreeMap::new(),
            };
            let scratch = ctx.root.record(&run.worker).scratch();
            let imported = git.import(&mirror, &scratch, &raw, head, base_sha)?;
            work.commits = imported.commits;
            Some((git, imported))
        }
    };
    Ok((work, taken_over))
}

/// What a run hands in that publishes no commits: its report, or else what it wanted to comment.
fn hand_in_words(work: &mut Work, branch: &BranchName) {
    if work.commits > 0 {
        work.notes.push(format!(
            "a run of this kind publishes no commits: {} on {branch} in the worker's clone were not \
             published",
            work.commits
        ));
    }
    work.head = None;
    let comment = work.comment.take();
    if work.report.is_none() {
        work.report = comment;
    } else if comment.is_some() {
        work.notes.push("outbox/comment.md was left out: the report is the comment".into());
    }
}

/// Reads the issues that came out of the jail, and keeps what can be filed beside the record until
/// it is: there may be more of it than a record holds.
fn keep_drafts(
    ctx: &Context,
    run: &Run,
    redactor: &Redactor,
    (raw, work): (&[u8], &mut Work),
) -> Result<(), String> {
    let files: Vec<(String, String)> =
        serde_json::from_slice(raw).map_err(|e| format!("its issues are wrong: {e}"))?;
    let mut drafts = Vec::new();
    for (name, text) in files.iter().take(ctx.settings.max_issues) {
        // What is invisible could stand in the middle of a secret.
        let text: String = text.chars().filter(|c| !text::is_invisible(*c)).collect();
        match Draft::parse(&redactor.text(name), &redactor.text(&text)) {
            Ok(draft) => drafts.push(draft),
            Err(why) => {
                work.left_out = work.left_out.saturating_add(1);
                let name = text::one_line(name, 100);
                work.notes.push(format!("outbox/issues/{name} was left out: {why}"));
            }
        }
    }
    work.drafts = u32::try_from(drafts.len()).unwrap_or(u32::MAX);
    filing::keep(ctx, &run.worker, &drafts).map_err(|e| e.to_string())
}

/// More notes than anybody reads.
const MAX_NOTES: usize = 40;

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
    let said = [work.comment.as_mut(), work.blocked.as_mut(), work.report.as_mut()];
    let texts = [title, body].into_iter().chain(said);
    texts.flatten().for_each(|text| tame(text, MAX_TEXT));
    let more = work.notes.len().saturating_sub(MAX_NOTES);
    work.notes.truncate(MAX_NOTES);
    work.notes.iter_mut().for_each(|note| tame(note, MAX_NOTE));
    if more > 0 {
        work.notes.push(format!("and {more} more of such notes"));
    }
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
            report: Some(hostile()),
            notes: vec![hostile(); 1000],
            ..Work::default()
        };
        bound(&mut work);
        assert!(serde_json::to_vec(&work).unwrap().len() < 600 << 10);
        assert!(work.blocked.unwrap().starts_with("a\"a\""));
    }
}
