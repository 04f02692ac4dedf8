//! The phase before the agent: mirror, branch, issue text, clone, prompt.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::anteroom::Anteroom;
use super::dispatch::fresh_uuid;
use super::hold::Hold;
use super::jailing::ask_inside;
use super::patience::patiently;
use super::prompt::{Brief, compose};
use super::room::Room;
use super::step::{self, BriefAnswer};
use super::supervise::open_log;
use super::{Context, Failure, custody};
use crate::domain::redact::Redactor;
use crate::domain::{BranchName, JailMode, Run, text};
use crate::failpoint::{Trouble, around, place};
use crate::git::clone::{ASIDE, MAX_PATCH, Prepare, Prepared, Request};
use crate::git::sweep::Sweep;
use crate::git::{self, Mirror};
use crate::home::{self, OUTBOX};
use crate::plan::first_free_branch;
use crate::store::{self, WorkerLock, make_private_dir, write_private};

/// Makes sure that the run has its issue; the caller writes the record. Returns whether it has it only
/// now, because its dispatcher died. `claimed`: that is alive, and has just claimed it.
///
/// # Errors
/// Why the run cannot start, in words.
pub(super) fn keep_claim(ctx: &Context, run: &mut Run, claimed: bool) -> Result<bool, String> {
    let Some(hold) = Hold::of(ctx, run).map_err(|e| e.to_string())? else { return Ok(false) };
    let before = run.claim.replace(hold.keep(run, claimed).map_err(|e| e.to_string())?);
    Ok(before.is_none())
}

/// Makes everything ready. Fills `run`'s branch, base and title; the caller writes the record. What
/// comes back is the agent's jail, if it gets one. `late`: as [`keep_claim`] says. The patch of what an
/// earlier run left is kept without what `redactor` knows.
///
/// # Errors
/// Why the run cannot start, in words.
pub(super) fn prepare(
    ctx: &Context,
    (lock, run): (&WorkerLock, &mut Run),
    late: bool,
    redactor: &Redactor,
) -> Result<Option<Anteroom>, String> {
    let paths = ctx.root.record(&run.worker);
    let url = ctx.settings.clone_url(&run.repo);
    let git = ctx.git().map_err(|e| e.to_string())?;
    let mirror = git
        .mirror(&url, &ctx.mirror_path(&run.repo), ctx.settings.fetch_max_age, Timestamp::now())
        .map_err(|e| e.to_string())?;
    if run.attempt == 1 {
        // Who dispatched may not have known how large the repository is; the mirror tells.
        let room = Room::default().admit(ctx, &run.worker, &run.repo, || None);
        room.map_err(|e| e.to_string())?;
    }
    let again = run.attempt > 1 && run.branch.is_some() && run.base_sha.is_some();
    if !again {
        run.branch = Some(branch(run, &mirror));
        run.base = Some(mirror.default.clone());
        run.base_sha = Some(mirror.tip.clone());
    }
    if run.attempt > 1 {
        carry_on_conversation(ctx, run);
    }
    let brief = match run.issue {
        Some(_) => Some(brief(ctx, lock, run, late)?),
        None => None,
    };
    let unsaid: Vec<String> = brief.iter().flat_map(Brief::left_unsaid).collect();
    tell(&paths.log(), &unsaid, redactor)?;
    write_prompt(&paths.prompt(), b"")?;
    let mut room = Ok(None);
    let prepared = make_clone(ctx, run, url, (again, redactor), || {
        if run.sandbox == JailMode::Bwrap {
            // The first, if this is the second, has another clone.
            room = Ok(None);
            room = Anteroom::open(ctx, run).map(Some);
        }
    })?;
    // Git has run in there, and with it whatever the clone's own configuration names. Now nobody does.
    tell(&paths.log(), &custody::mend(ctx, &run.worker)?, redactor)?;
    // A dispatch that died before its claim may have left a request that is not this run's.
    let request = match run.prompt {
        Some(_) => Some(request(&paths.request())?),
        None => None,
    };
    let max_issues = ctx.settings.max_issues;
    let prompt =
        compose(run, brief.as_ref(), request.as_deref(), &prepared.instructions, max_issues);
    write_prompt(&paths.prompt(), &prompt)?;
    room
}

/// Writes the prompt in place: a jail that is there already sees the file that was there when it was
/// made. After a crash the prompt is written again, so it need not be durable.
fn write_prompt(path: &Path, prompt: &[u8]) -> Result<(), String> {
    let file = store::open_in_place(path, File::options().write(true).truncate(true));
    let mut file = file.map_err(|e| e.to_string())?;
    around(Trouble::Disk, || format!("write {}", place(path)), || file.write_all(prompt))
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// Tells in the run's log what was done before the agent began.
fn tell(log: &Path, said: &[String], redactor: &Redactor) -> Result<(), String> {
    if said.is_empty() {
        return Ok(());
    }
    let mut log = open_log(log)?;
    for line in said {
        let line = text::one_line(&redactor.text(line), 300);
        // As with the agent's own words: a disk that is full must not end the run.
        let _ = log.write_all(format!("claude-workers: {line}\n").as_bytes());
    }
    Ok(())
}

/// Carries the agent's conversation on where it was kept; else begins a new one, because an id is
/// not taken twice.
fn carry_on_conversation(ctx: &Context, run: &mut Run) {
    let kept = ctx.executor(&run.executor).ok().and_then(|(executor, _)| {
        let (dir, file) = executor.conversation(run.session_id.as_deref()?)?;
        let projects = std::fs::read_dir(ctx.root.home(&run.worker).join(dir)).ok()?;
        Some(projects.flatten().any(|project| project.path().join(&file).is_file()))
    });
    run.resume = kept == Some(true) && has_spoken(ctx, run);
    if !run.resume {
        run.session_id = Some(fresh_uuid());
    }
}

/// Whether the agent came as far as an answer of its model: a conversation that has none yet cannot
/// be carried on.
fn has_spoken(ctx: &Context, run: &Run) -> bool {
    let log = ctx.root.record(&run.worker).log();
    let start = store::read_start(&log, 1 << 20).unwrap_or_default();
    start.windows(ANSWER.len()).any(|bytes| bytes == ANSWER)
}

/// How an answer shows in a raw log of Claude Code.
const ANSWER: &[u8] = br#""type":"assistant""#;

/// A person's own words, as they came.
fn request(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = store::read_bounded(path, 16 << 20).map_err(|e| e.to_string())?;
    bytes.ok_or_else(|| format!("the prompt {} is gone", path.display()))
}

/// A name that the remote does not have.
fn branch(run: &Run, mirror: &Mirror) -> BranchName {
    match run.issue {
        Some(issue) => first_free_branch(issue, |name| mirror.branches.contains_key(name.as_str())),
        None => BranchName::for_run(&run.run),
    }
}

/// Reads the issue in a process of its own: what that needs (TLS, a runtime) is gone again while
/// the agent works.
fn brief(ctx: &Context, lock: &WorkerLock, run: &mut Run, late: bool) -> Result<Brief, String> {
    let branch = run.branch.as_ref().map_or("", |b| b.as_str());
    let words = ["brief", branch, "--late"];
    let words = if late { &words[..] } else { &words[..2] };
    let answer: BriefAnswer = step::run(ctx, lock, words)?;
    if let Some(why) = answer.refused {
        if answer.has_others {
            // What is on it is theirs, even a label that looks like ours.
            run.claim = None;
        }
        return Err(why);
    }
    if let Some(text) = &mut run.text {
        text.id = answer.text;
    }
    run.title = Some(text::one_line(&answer.brief.title, 200));
    Ok(answer.brief)
}

fn make_clone(
    ctx: &Context,
    run: &Run,
    url: String,
    (keep, redactor): (bool, &Redactor),
    mut meanwhile: impl FnMut(),
) -> Result<Prepared, String> {
    let (Some(branch), Some(base), Some(base_sha)) = (&run.branch, &run.base, &run.base_sha) else {
        return Err("the run has no branch".into());
    };
    let (home, remote) = (ctx.root.home(&run.worker), url.clone());
    let dir = ctx.root.clone_of(&run.worker, &run.repo);
    let below = dir.strip_prefix(&home).map_err(|e| e.to_string())?;
    let make_place = || home::make_dir(&home, below).map_err(|e| Failure::from(e).to_string());
    let request = Prepare {
        git: ctx.tool("git").map_err(|e| e.to_string())?,
        // As the jail shows it: there, links of the host on the way to it do not exist.
        mirror: ctx.mirror_path(&run.repo),
        dir: dir.clone(),
        url,
        base: base.clone(),
        base_sha: base_sha.clone(),
        branch: branch.clone(),
        outbox: home.join(OUTBOX),
        keep,
    };
    make_place()?;
    let request = Request::Prepare(request);
    let mut ask = || {
        let (id, max) = (Some(&run.run), MAX_PATCH + (1 << 16));
        ask_inside(ctx, &run.worker, Some(&run.repo), &request, max, id, &mut meanwhile)
            .map_err(|e| e.to_string())
    };
    let (answer, patch) = ask()
        .or_else(|said| {
            let mirror = ctx.mirror_path(&run.repo);
            if git::tells_of_damage(&said) && git::doubt_mirror(&mirror).is_ok() {
                let git = ctx.git().map_err(|e| e.to_string())?;
                git.mirror(&remote, &mirror, Duration::ZERO, Timestamp::now())
                    .map_err(|e| e.to_string())?;
            }
            // An earlier agent may have left it so that it can be neither used nor reset. But it is
            // not to blame where no jail can be had.
            let nothing = Request::Sweep(Sweep { home: home.clone(), paths: Vec::new() });
            ask_inside(ctx, &run.worker, None, &nothing, 1 << 16, Some(&run.run), || ())
                .map_err(|e| e.to_string())?;
            if std::fs::read_dir(&dir).is_ok_and(|mut dir| dir.next().is_some()) {
                home::set_aside(&home, below, ASIDE).map_err(|e| Failure::from(e).to_string())?;
                make_place()?;
            }
            ask()
        })
        .map_err(|e| format!("the clone could not be made ready: {e}"))?;
    if !patch.is_empty() {
        let completed = ctx.root.record(&run.worker).completed();
        make_private_dir(&completed).map_err(|e| e.to_string())?;
        let name = store::patch_name(&run.repo, &run.run);
        // It is nowhere else any more.
        let (kept, patch) = (completed.join(name), redactor.bytes(&patch));
        patiently(|| write_private(&kept, &patch)).map_err(|e| e.to_string())?;
    }
    serde_json::from_slice(&answer).map_err(|e| format!("the clone's answer is wrong: {e}"))
}
