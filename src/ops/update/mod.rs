//! Brings the program up to date, the way it was installed.
//!
//! The newer one is built elsewhere and tried first; then it takes the old one's place in one step.
//! A supervisor that is running keeps the file that it was started from.

mod build;
mod origin;
mod place;
mod sources;

use std::path::PathBuf;
use std::process::Stdio;

use super::context::own_program;
use super::{Context, Exit, Failure};
use crate::store::UpdateLock;

use origin::Origin;
use sources::News;

/// What this program is called, as a package and as a file.
const NAME: &str = "claude-workers";

/// Where this program is, where it comes from, and whether there is something newer.
#[derive(Debug)]
pub struct Look {
    /// The program's file.
    pub program: PathBuf,
    /// Where its sources are, in words.
    pub from: String,
    /// What it was built from, if that is known: a commit or a version.
    pub now: Option<String>,
    /// What is newer, if anything is (or may be, because `now` is not known).
    pub newer: Option<String>,
    origin: Origin,
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// There was nothing to do.
    UpToDate(String),
    /// The new program is in place.
    Updated {
        /// What it was built from.
        to: String,
        /// Whether idle workers were refreshed too; else why not.
        refreshed: Result<(), String>,
    },
}

/// Finds out where the program comes from, and asks there whether something is newer.
///
/// # Errors
/// When it cannot be brought up to date from here: says how it can.
pub fn look(ctx: &Context) -> Result<Look, Failure> {
    let program = own_program()?;
    let program = program.canonicalize().unwrap_or(program);
    let origin = Origin::of(&program)?;
    let built_from = place::built_from(ctx, &program);
    let News { now, newest } = sources::news(ctx, &origin, built_from)?;
    let newer = (now.as_ref() != Some(&newest)).then_some(newest);
    Ok(Look { program, from: origin.to_string(), now, newer, origin })
}

/// Builds the newer program, tries it, puts it in place, and lets it refresh the idle workers.
///
/// # Errors
/// When another update is under way, or a step fails; the old program is in place then, unless the
/// failure says otherwise.
pub fn update(ctx: &Context) -> Result<Done, Failure> {
    let Some(_lock) = UpdateLock::try_take(&ctx.root)? else {
        return Err(Failure::new(Exit::Failed, "another update is under way"));
    };
    let look = look(ctx)?;
    if look.newer.is_none() {
        return Ok(Done::UpToDate(look.now.unwrap_or_default()));
    }
    place::check_writable(&look.program)?;
    sources::bring(ctx, &look.origin)?;
    let built = build::build(ctx, &look.origin)?;
    build::try_out(ctx, &built.program)?;
    if place::is_same(&built.program, &look.program) {
        place::remember(ctx, &look.program, &built.from)?;
        return Ok(Done::UpToDate(built.from));
    }
    place::replace(&built.program, &look.program)?;
    place::remember(ctx, &look.program, &built.from)?;
    Ok(Done::Updated { to: built.from, refreshed: refresh_all(ctx, &look.program) })
}

/// The new program knows best what its workers need.
fn refresh_all(ctx: &Context, program: &std::path::Path) -> Result<(), String> {
    let mut refresh = ctx.program_command(program, &["refresh", "--all"]);
    let status = refresh.stdin(Stdio::null()).status().map_err(|e| e.to_string())?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == Exit::NoWorker as i32 => Err("some are not idle".to_owned()),
        _ => Err(format!("`refresh --all` failed ({status})")),
    }
}
