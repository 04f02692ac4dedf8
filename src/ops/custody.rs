//! Which homes hold access to GitHub, and that those which must not do not.

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

/// Makes sure, just before a run, that a home which must hold no credentials holds none.
///
/// # Errors
/// What was found, in words.
pub(super) fn check(ctx: &Context, worker: &WorkerId) -> Result<(), String> {
    if mode_of(ctx, worker).map_err(|e| e.to_string())? == CredentialMode::Copy {
        return Ok(());
    }
    let home = ctx.root.home(worker);
    let found = home::credentials_in(&home).map_err(|e| Failure::from(e).to_string())?;
    match found.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "the home is in broker mode and holds what looks like a credential: {}; remove it",
            home.join(first).display()
        )),
    }
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
