//! What a tick asks of GitHub, counted on GitHub's side (and, where other processes ask at the same
//! time, by the tick's own itemised account).

use claude_workers::fakehub::{Fault, NewIssue, NewRepo, Role};
use claude_workers::store::WorkerLock;

use super::Res;
use super::stage::{REPO, Stage, Workshop};
use super::table::Table;

/// Repositories beside the usual one.
const MORE: usize = 4;
const ISSUES: u64 = 3;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::with_workers(workshop, 3)?;
    stage.hub.add_user("writer")?;
    let more: Vec<String> = (0..MORE).map(|n| format!("octo/more-{n}")).collect();
    for slug in &more {
        stage.hub.add_repo(&NewRepo::new(slug))?;
    }
    let all: Vec<&str> = std::iter::once(REPO).chain(more.iter().map(|s| &**s)).collect();
    for slug in &all {
        stage.hub.set_role(slug, "writer", Role::Write)?;
        // An issue that is never taken: a person has to look at it.
        stage.hub.label(slug, add_issue(&stage, slug)?, "blocked", "octo")?;
    }
    nobody_idle(&stage, table)?;
    nothing_changed(&stage, table, "the token lists across them", 2)?;
    dispatching(&stage, table)?;

    let stage = Stage::with_workers(workshop, 1)?;
    more.iter().try_for_each(|slug| stage.hub.add_repo(&NewRepo::new(slug)))?;
    stage.configure(&format!("repos = {all:?}"))?;
    stage.hub.inject(Fault::answer("GET", "/issues?filter", 403).times(u32::MAX));
    nothing_changed(&stage, table, "it may not", all.len())
}

/// By somebody whose rights have to be asked for.
fn add_issue(stage: &Stage<'_>, slug: &str) -> Res<u64> {
    Ok(stage.hub.add_issue(slug, &NewIssue::new("writer", "Something to do"))?)
}

fn nobody_idle(stage: &Stage<'_>, table: &mut Table) -> Res {
    let mut taken = Vec::new();
    for id in ["01", "02", "03"] {
        taken.push(WorkerLock::try_take(&stage.root, &id.parse()?)?);
    }
    stage.hub.clear_exchanges();
    stage.succeed(&["assign"])?;
    let asked = stage.hub.exchanges().len();
    drop(taken);
    table.row("a tick with no idle worker: requests", &asked.to_string(), "0", asked == 0);
    Ok(())
}

fn nothing_changed(stage: &Stage<'_>, table: &mut Table, how: &str, most: usize) -> Res {
    // The first learns what the token may do, the second what there is.
    stage.succeed(&["assign"])?;
    stage.succeed(&["assign"])?;
    stage.hub.clear_exchanges();
    stage.succeed(&["assign"])?;
    let asked = stage.hub.exchanges();
    let free = asked.iter().filter(|e| e.status == Some(304)).count();
    table.row(
        &format!("a tick where nothing changed in {} repositories, {how}", MORE + 1),
        &format!("{} requests, {free} of them 304", asked.len()),
        &format!("≤ {most}, all 304"),
        asked.len() <= most && free == asked.len(),
    );
    Ok(())
}

fn dispatching(stage: &Stage<'_>, table: &mut Table) -> Res {
    let (before, _) = tick(stage)?;
    for n in 0..ISSUES {
        add_issue(stage, &format!("octo/more-{n}"))?;
    }
    let (asked, started) = tick(stage)?;
    let more = asked - before;
    table.row(
        &format!("a tick that dispatches {started} issues: requests beside the lists"),
        &more.to_string(),
        &format!("≤ {}, all {ISSUES} in one tick", 5 * ISSUES),
        started == ISSUES && more <= 5 * ISSUES,
    );
    Ok(())
}

/// How many requests a tick made, and how many runs it started.
fn tick(stage: &Stage<'_>) -> Res<(u64, u64)> {
    let said: serde_json::Value = serde_json::from_str(&stage.succeed(&["assign", "--json"])?)?;
    let asked = said["github"]["requests"].as_u64().ok_or("no total")?;
    Ok((asked, said["started"].as_array().ok_or("no list of runs")?.len() as u64))
}
