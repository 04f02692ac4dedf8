//! What there is, for [`crate::plan::gc`]. Nothing is changed.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Left;
use crate::domain::{RepoSlug, RunId, WorkerId};
use crate::git::clone::{Request, before_aside};
use crate::git::sweep::{Inside, Survey, size};
use crate::git::{REMOVING, fetched_at, packs_and_loose};
use crate::home::{OUTBOX, STAGING};
use crate::ops::jailing::ask_inside;
use crate::ops::{Context, Failure};
use crate::plan::gc::{
    Holds, Piece, Retention, Seen, SeenClone, SeenMirror, SeenRun, SeenWorker, Thing,
    clones_in_question,
};
use crate::store::{
    self, Archived, Line, Skipped, State, TEMPORARY, Worker, WorkerLock, patch_name, read_bounded,
    run_id_at_end, unpublished_name,
};

/// Looks at everything; what cannot be looked into is added to `left`.
pub(super) fn look(
    ctx: &Context,
    rules: &Retention,
    now: Timestamp,
    left: &mut Vec<Left>,
) -> Result<(Seen, Vec<Skipped>), Failure> {
    // The workers first: what ends meanwhile is in the archive then, and its worker still "busy".
    let workers = store::list(&ctx.root)?;
    let (lines, broken) = store::archived_lines(&ctx.root)?;
    let mut runs: HashMap<WorkerId, Vec<(Archived, Line)>> = HashMap::new();
    let mut retired: HashMap<WorkerId, Vec<SeenRun>> = HashMap::new();
    for (one, line) in lines {
        let id = one.worker.clone();
        if one.dir == ctx.root.record(&id).completed() {
            runs.entry(id).or_default().push((one, line));
        } else {
            retired.entry(id).or_default().push(see_run(&one, line, &HashMap::new()));
        }
    }
    let mut of = |worker: Worker| {
        let runs = runs.remove(&worker.id).unwrap_or_default();
        see_worker(ctx, worker, runs, broken.iter().filter_map(Skipped::run_id))
    };
    let mut seen = Seen {
        workers: workers.into_iter().map(&mut of).collect(),
        mirrors: mirrors(ctx),
        memory: memory(ctx),
        loose: loose_in_pool(ctx),
    };
    for worker in seen.workers.iter().filter(|w| w.away.is_some()) {
        let why = worker.away.clone().unwrap_or_default();
        left.push(Left { worker: Some(worker.id.clone()), why });
    }
    // Retired workers are not touched, but what they have tried counts.
    seen.workers.extend(retired.into_iter().map(|(id, runs)| SeenWorker {
        id,
        away: Some("it is retired".into()),
        holds: Holds::Nothing,
        runs,
        clones: Vec::new(),
        borrows: BTreeSet::new(),
        loose: Vec::new(),
    }));
    look_into_clones(ctx, rules, now, &mut seen, left);
    Ok((seen, broken))
}

fn see_worker(
    ctx: &Context,
    worker: Worker,
    runs: Vec<(Archived, Line)>,
    broken: impl Iterator<Item = RunId>,
) -> SeenWorker {
    let (away, holds) = match worker.state {
        State::Idle => (None, Holds::Nothing),
        State::Starting => (Some("it is just being taken".to_owned()), Holds::Unknown),
        State::Busy(run) => {
            (Some(format!("it is busy with {}", run.subject())), Holds::Run(run.repo, run.issue))
        }
        State::Crashed(run) => {
            let why = format!("{} waits to be carried on", run.subject());
            (Some(why), Holds::Run(run.repo, run.issue))
        }
        State::Broken(why) => (Some(format!("it is broken: {why}")), Holds::Unknown),
    };
    let id = worker.id;
    let paths = ctx.root.record(&id);
    let files = if away.is_none() { files(&paths.completed()) } else { HashMap::new() };
    let known: BTreeSet<RunId> =
        runs.iter().map(|(_, line)| line.run.clone()).chain(broken).collect();
    let mut seen = SeenWorker {
        runs: runs.into_iter().map(|(one, line)| see_run(&one, line, &files)).collect(),
        away,
        holds,
        clones: Vec::new(),
        borrows: BTreeSet::new(),
        loose: Vec::new(),
        id,
    };
    for (name, meta) in &files {
        let path = paths.completed().join(name);
        if is_orphan(name, &known) {
            seen.loose.push(piece(Thing::Orphan, path, meta));
        }
    }
    if seen.away.is_none() {
        seen.loose.extend(temporary(paths.dir()));
        seen.loose.extend(temporary(&paths.completed()));
        if let Ok(meta) = fs::symlink_metadata(paths.scratch()) {
            let bytes = size(&paths.scratch());
            seen.loose.push(Piece { bytes, ..piece(Thing::Scratch, paths.scratch(), &meta) });
        }
    }
    see_clones(ctx, &mut seen);
    seen
}

fn see_run(one: &Archived, line: Line, files: &HashMap<String, Metadata>) -> SeenRun {
    let name = |ending: &str| format!("{}.{ending}", one.stem);
    let pieces = [
        (Thing::Log, name("log")),
        (Thing::EgressLog, name("egress.log")),
        (Thing::SupervisorLog, name("supervisor.log")),
        (Thing::Patch, patch_name(&line.repo, &line.run)),
        (Thing::Patch, unpublished_name(&line.repo, &line.run)),
        (Thing::Record, name("json")),
    ];
    let piece = |(thing, name): (Thing, String)| {
        let meta = files.get(&name).filter(|meta| meta.len() > 0)?;
        Some(piece(thing, one.dir.join(name), meta))
    };
    SeenRun {
        pieces: pieces.into_iter().filter_map(piece).collect(),
        run: line.run,
        repo: line.repo,
        issue: line.issue,
        started_at: line.started_at,
        ended_at: line.ended_at,
        outcome: line.outcome,
        cleared: one.cleared,
        pull: line.pr.is_some(),
    }
}

/// Whether it is named as a file of a run and no such run has a record here.
fn is_orphan(name: &str, known: &BTreeSet<RunId>) -> bool {
    let stem = [".supervisor.log", ".egress.log", ".log", ".patch", ".cleared"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending));
    stem.and_then(run_id_at_end).is_some_and(|run| !known.contains(&run))
}

/// Regular files of a directory of ours.
fn files(dir: &Path) -> HashMap<String, Metadata> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let meta = entry.metadata().ok().filter(Metadata::is_file)?;
        Some((entry.file_name().into_string().ok()?, meta))
    };
    entries.filter_map(file).collect()
}

fn temporary(dir: &Path) -> Vec<Piece> {
    let files = files(dir).into_iter().filter(|(name, _)| name.starts_with(TEMPORARY));
    let files = files.map(|(name, meta)| piece(Thing::Temporary, dir.join(name), &meta));
    let dirs = dirs(dir).into_iter().filter(|(name, _)| name.starts_with(TEMPORARY));
    files.chain(dirs.filter_map(|(_, path)| whole(path))).collect()
}

/// A directory with everything in it.
fn whole(path: PathBuf) -> Option<Piece> {
    let meta = fs::symlink_metadata(&path).ok()?;
    Some(Piece { bytes: size(&path), ..piece(Thing::Temporary, path, &meta) })
}

fn piece(thing: Thing, path: PathBuf, meta: &Metadata) -> Piece {
    let since = meta.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
    Piece { thing, path, bytes: meta.len(), since }
}

/// Directories in a directory, by name; a link is none.
fn dirs(dir: &Path) -> Vec<(String, PathBuf)> {
    if !fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir()) {
        return Vec::new();
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let real = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    let mut dirs: Vec<_> =
        real.filter_map(|e| Some((e.file_name().into_string().ok()?, e.path()))).collect();
    dirs.sort();
    dirs
}

/// Finds clones by their names alone. The home is the agent's: what is read here decides at most
/// that something is kept, and what is removed is looked into from inside.
fn see_clones(ctx: &Context, seen: &mut SeenWorker) {
    let home = ctx.root.home(&seen.id);
    if !fs::symlink_metadata(&home).is_ok_and(|meta| meta.is_dir()) {
        return;
    }
    for (owner, dir) in dirs(&ctx.root.clones(&seen.id)) {
        for (name, path) in dirs(&dir) {
            seen.borrows.extend(borrowed(&path));
            let Ok(repo) = format!("{owner}/{name}").parse::<RepoSlug>() else { continue };
            let before =
                before_aside(&name).and_then(|name| format!("{owner}/{name}").parse().ok());
            // A repository may be called so, too.
            if let Some(before) = before.filter(|_| !seen.runs.iter().any(|run| run.repo == repo)) {
                seen.borrows.insert(before);
                seen.loose.extend(aside(path));
            } else {
                seen.borrows.insert(repo.clone());
                seen.clones.push(SeenClone { repo, path, inside: None });
            }
        }
    }
    for (name, path) in dirs(&home) {
        if before_aside(&name) == Some(OUTBOX) {
            seen.loose.extend(aside(path));
        }
    }
}

fn aside(path: PathBuf) -> Option<Piece> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(&path).ok()?;
    // When it was renamed; nobody can set that back.
    let since = Timestamp::from_second(meta.ctime()).ok();
    Some(Piece { since, ..piece(Thing::SetAside, path, &meta) })
}

/// The repositories whose mirrors a clone says that it borrows from.
fn borrowed(clone: &Path) -> Vec<RepoSlug> {
    let file = clone.join(".git/objects/info/alternates");
    let text = read_bounded(&file, 1 << 16).ok().flatten().unwrap_or_default();
    let mirror = |line: &str| {
        let mut parts = line.strip_suffix(".git/objects")?.rsplit('/');
        let (name, owner) = (parts.next()?, parts.next()?);
        format!("{owner}/{name}").parse().ok()
    };
    String::from_utf8_lossy(&text).lines().filter_map(mirror).collect()
}

fn mirrors(ctx: &Context) -> Vec<SeenMirror> {
    let mut mirrors = Vec::new();
    for (_, host) in dirs(&ctx.root.mirrors()) {
        for (owner, dir) in dirs(&host) {
            for (name, path) in dirs(&dir) {
                let Some(name) = name.strip_suffix(".git") else { continue };
                let Ok(repo) = format!("{owner}/{name}").parse() else { continue };
                let (thing, bytes, since) = (Thing::Mirror, size(&path), fetched_at(&path));
                let (packs, loose) = packs_and_loose(&path);
                let piece = Piece { thing, path, bytes, since };
                mirrors.push(SeenMirror { repo, piece, packs, loose });
            }
        }
    }
    mirrors
}

/// What is remembered of GitHub, by token, and of claims.
fn memory(ctx: &Context) -> Vec<Piece> {
    let github = ctx.root.github();
    let shelves = [github.join("cache"), github.join("memory"), ctx.root.claims()];
    let objects = store::claims_repository(&ctx.root);
    let mut memory = Vec::new();
    for (name, dir) in shelves.iter().flat_map(|shelf| dirs(shelf)) {
        if dir == objects {
            // Nothing in it is needed for longer than a moment.
            memory.push(Piece { thing: Thing::Memory, bytes: size(&dir), path: dir, since: None });
        } else if !name.starts_with(TEMPORARY) {
            let files = files(&dir).into_iter().filter(|(name, _)| !name.starts_with(TEMPORARY));
            memory.extend(files.map(|(name, meta)| piece(Thing::Memory, dir.join(name), &meta)));
        }
    }
    memory
}

/// What died half made, beside the workers' records.
fn loose_in_pool(ctx: &Context) -> Vec<Piece> {
    let mut loose = temporary(&ctx.root.pool());
    // Beside the homes, where the pool is on another disk.
    for (name, path) in dirs(&ctx.root.pool()).into_iter().chain(dirs(ctx.root.path())) {
        if name.starts_with(STAGING) {
            loose.extend(whole(path));
        }
    }
    let github = ctx.root.github();
    loose.extend(temporary(&github));
    for (_, dir) in dirs(&github) {
        loose.extend(temporary(&dir));
        loose.extend(dirs(&dir).iter().flat_map(|(_, dir)| temporary(dir)));
    }
    let owners = dirs(&ctx.root.mirrors()).into_iter().flat_map(|(_, host)| dirs(&host));
    for (_, owner) in owners {
        loose.extend(temporary(&owner));
        for (name, path) in dirs(&owner) {
            if Path::new(&name).extension().is_some_and(|e| e == REMOVING) {
                loose.extend(whole(path));
            } else {
                loose.extend(temporary(&path));
            }
        }
    }
    loose
}

/// Asks, inside the jails, how large the clones in question are and whether anything in them was
/// not committed.
fn look_into_clones(
    ctx: &Context,
    rules: &Retention,
    now: Timestamp,
    seen: &mut Seen,
    left: &mut Vec<Left>,
) {
    let in_question: Vec<(WorkerId, Vec<SeenClone>)> = clones_in_question(seen, rules, now)
        .into_iter()
        .map(|(id, clones)| (id.clone(), clones.into_iter().cloned().collect()))
        .collect();
    let mut clones: HashMap<WorkerId, Vec<SeenClone>> = in_question.into_iter().collect();
    for worker in seen.workers.iter_mut().filter(|w| w.away.is_none()) {
        let aside: Vec<PathBuf> = worker
            .loose
            .iter()
            .filter(|piece| piece.thing == Thing::SetAside)
            .map(|piece| piece.path.clone())
            .collect();
        let clones = clones.remove(&worker.id).unwrap_or_default();
        if clones.is_empty() && aside.is_empty() {
            continue;
        }
        // Nobody must begin to work there while git reads.
        let Ok(Some(_lock)) = WorkerLock::try_take(&ctx.root, &worker.id) else {
            let why = "it was taken just now".to_owned();
            left.push(Left { worker: Some(worker.id.clone()), why: why.clone() });
            worker.away = Some(why);
            continue;
        };
        let mut found = HashMap::new();
        let asked = clones.into_iter().map(|clone| (Some(clone.repo), vec![clone.path], true));
        for (repo, paths, is_clone) in asked.chain([(None, aside, false)]) {
            match survey(ctx, &worker.id, repo.as_ref(), &paths, is_clone) {
                Ok(inside) => found.extend(inside),
                Err(why) => {
                    let why = format!("its clones cannot be looked into: {why}");
                    left.push(Left { worker: Some(worker.id.clone()), why });
                }
            }
        }
        for clone in &mut worker.clones {
            clone.inside = found.get(&clone.path).map(|i| (i.bytes, i.uncommitted));
        }
        worker.loose.retain_mut(|piece| {
            let inside = found.get(&piece.path);
            piece.bytes = inside.map_or(piece.bytes, |inside| inside.bytes);
            piece.thing != Thing::SetAside || inside.is_some()
        });
    }
}

fn survey(
    ctx: &Context,
    worker: &WorkerId,
    repo: Option<&RepoSlug>,
    paths: &[PathBuf],
    is_clone: bool,
) -> Result<Vec<(PathBuf, Inside)>, String> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let home = ctx.root.home(worker);
    let below = |path: &PathBuf| Some((path.strip_prefix(&home).ok()?.to_owned(), is_clone));
    let request = Request::Survey(Survey {
        git: ctx.tool("git").map_err(|e| e.to_string())?,
        paths: paths.iter().filter_map(below).collect(),
        home: home.clone(),
    });
    let asked = ask_inside(ctx, worker, repo, &request, 1 << 20, None, || ());
    let (answer, _) = asked.map_err(|e| e.to_string())?;
    let inside: Vec<Inside> = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
    Ok(inside.into_iter().map(|inside| (home.join(&inside.path), inside)).collect())
}
