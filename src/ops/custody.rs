//! Which homes hold access to GitHub, and that those which must not do not.

use std::path::PathBuf;

use super::{Context, Failure};
use crate::config::env;
use crate::domain::{CredentialMode, JailMode, WorkerId};
use crate::home;
use secrecy::ExposeSecret;

/// Whether a worker's home may hold credentials for GitHub, by its record.
///
/// # Errors
/// When the record is there and cannot be read.
pub fn mode_of(ctx: &Context, worker: &WorkerId) -> Result<CredentialMode, Failure> {
    Ok(home::mode_of(&ctx.root.record(worker).furniture())?)
}

/// Whether a stranger's words may drive an agent in this home: it holds no credentials, and there is
/// a wall around it. What cannot be found out means no.
pub(super) fn takes_strangers(ctx: &Context, worker: &WorkerId) -> bool {
    ctx.settings.sandbox == JailMode::Bwrap
        && mode_of(ctx, worker).is_ok_and(|mode| mode == CredentialMode::Broker)
}

/// What looks like a credential in a home that must hold none.
///
/// # Errors
/// When that cannot be found out: in words.
pub(super) fn found(ctx: &Context, worker: &WorkerId) -> Result<Vec<PathBuf>, String> {
    if mode_of(ctx, worker).map_err(|e| e.to_string())? == CredentialMode::Copy {
        return Ok(Vec::new());
    }
    home::credentials_in(&ctx.root.home(worker)).map_err(|e| Failure::from(e).to_string())
}

/// Puts a home that must hold no credentials in order, just before a run, and returns what was done,
/// in sentences.
///
/// # Errors
/// When it cannot be done, or something is left that looks like a credential: in words.
pub(super) fn mend(ctx: &Context, worker: &WorkerId) -> Result<Vec<String>, String> {
    if mode_of(ctx, worker).map_err(|e| e.to_string())? == CredentialMode::Copy {
        return Ok(Vec::new());
    }
    let (home, record) = (ctx.root.home(worker), ctx.root.record(worker));
    let mended = home::mend(&home, &record.furniture(), &record.quarantine())
        .map_err(|e| Failure::from(e).to_string())?;
    if let Some(first) = found(ctx, worker)?.first() {
        return Err(format!(
            "the home is in broker mode and its templates bring what looks like a credential: {}",
            home.join(first).display()
        ));
    }
    let taken = |path: &PathBuf| {
        format!("{} looked like a credential and was moved out of the home", path.display())
    };
    let restored =
        |path: &PathBuf| format!("{} had been changed and is as it was made again", path.display());
    let said = mended.taken_out.iter().map(taken).chain(mended.restored.iter().map(restored));
    Ok(said.collect())
}

/// Variables that carry access to git servers.
const NAMES: &[&str] = &[
    env::GH_TOKEN,
    env::GITHUB_TOKEN,
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GITHUB_PAT",
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "SSH_ASKPASS",
    "GIT_ASKPASS",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
];

/// Takes out of an agent's environment what its home must not hold either, whoever put it there: by
/// its name, and the host's own token under any name.
pub(super) fn without_credentials(
    ctx: &Context,
    worker: &WorkerId,
    vars: &mut Vec<(String, String)>,
) -> Result<(), String> {
    if mode_of(ctx, worker).map_err(|e| e.to_string())? == CredentialMode::Copy {
        return Ok(());
    }
    let token = ctx.settings.token(ctx.env()).map_err(|e| e.to_string())?;
    let token = token.as_ref().map_or("", |token| token.expose_secret());
    vars.retain(|(name, value)| {
        let named = NAMES.iter().any(|known| name.eq_ignore_ascii_case(known));
        !named && (token.is_empty() || !value.contains(token))
    });
    Ok(())
}
