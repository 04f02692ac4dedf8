//! Whether everything that is needed is there, and how to mend what is not.

mod github;
mod machine;
mod state;

use serde::Serialize;

use self::github::token;
use self::machine::{agent, cron, disks, git, memory, sandbox, user};
use self::state::state;
use super::turn::under_way;
use super::unknown::way_out;
use super::{Context, Failure, custody, egress};
use crate::config::env;
use crate::domain::{CredentialMode, JailMode, NetworkMode};
use crate::github::GitHub;
use crate::store::{self, State};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warning,
    /// It does not work.
    Failure,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// How it came out.
    pub grade: Grade,
    /// What was seen.
    pub found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

fn check(what: &str, grade: Grade, found: impl Into<String>, mend: Option<&str>) -> Check {
    Check { what: what.to_owned(), grade, found: found.into(), mend: mend.map(str::to_owned) }
}

/// Looks at everything. GitHub, if it can be asked, is asked who the token's user is, and about named
/// repositories.
pub async fn doctor(ctx: &Context, github: Result<&GitHub, &Failure>) -> Vec<Check> {
    let mut checks = vec![configuration(ctx), git(ctx), agent(ctx), sandbox(ctx)];
    checks.extend(user());
    checks.extend(network(ctx));
    checks.extend(state(ctx));
    checks.extend(workers(ctx));
    checks.extend(credentials(ctx));
    checks.extend(disks(ctx));
    checks.push(memory());
    checks.extend(token(ctx, github).await);
    checks.push(cron(ctx));
    checks.extend(assign(ctx));
    checks
}

fn configuration(ctx: &Context) -> Check {
    let found = match &ctx.settings.config_file {
        Some(path) => format!("{}; root {}", path.display(), ctx.root.path().display()),
        None => format!("defaults (no file); root {}", ctx.root.path().display()),
    };
    check("configuration", Grade::Ok, found, None)
}

/// Told only if there is something to tell.
fn assign(ctx: &Context) -> Option<Check> {
    let stuck = under_way(ctx)?.stuck()?;
    Some(check("assign", Grade::Warning, stuck.message, stuck.hint.as_deref()))
}

fn network(ctx: &Context) -> Option<Check> {
    let found = match ctx.settings.network.mode {
        // Said of the sandbox already.
        NetworkMode::Host if ctx.settings.sandbox == JailMode::None => return None,
        NetworkMode::Host => {
            return Some(check(
                "network",
                Grade::Warning,
                "the host's: agents can send anything anywhere, and reach services on this machine",
                Some("take `mode = \"host\"` out of [network]"),
            ));
        }
        NetworkMode::None => "none for agents".to_owned(),
        NetworkMode::Proxy => {
            let policy = egress::outline(ctx);
            let local = policy.allow_local.iter().map(|rule| format!("{rule} (local)"));
            let hosts = policy.allow.iter().map(ToString::to_string).chain(local);
            let hosts: Vec<String> = hosts.collect();
            if hosts.is_empty() {
                "agents reach no host; `[network] allow` names those that they may".to_owned()
            } else {
                format!("agents reach {}", hosts.join(", "))
            }
        }
    };
    let mut outer = ctx.env().only(env::PROXIES);
    let outer = outer.find(|(name, _)| !name.eq_ignore_ascii_case("no_proxy"));
    if let Some((name, _)) = outer.filter(|_| ctx.settings.network.mode == NetworkMode::Proxy) {
        let found = format!("{found}; {name} is set, and does not count for agents");
        let mend = "agents connect straight to the allowed hosts; where only a proxy leads out, \
                    `mode = \"host\"` in [network] is needed";
        return Some(check("network", Grade::Warning, found, Some(mend)));
    }
    Some(check("network", Grade::Ok, found, None))
}

fn workers(ctx: &Context) -> Vec<Check> {
    match store::list(&ctx.root) {
        Err(e) => vec![check("workers", Grade::Failure, e.to_string(), None)],
        Ok(all) if all.is_empty() => {
            vec![check("workers", Grade::Warning, "none yet", Some("claude-workers init 01 02"))]
        }
        Ok(all) => {
            let mut checks = vec![check("workers", Grade::Ok, format!("{} made", all.len()), None)];
            for worker in all {
                match worker.state {
                    State::Broken(why) => checks.push(check(
                        &format!("worker {}", worker.id),
                        Grade::Failure,
                        why,
                        way_out(ctx, &worker.id).as_deref(),
                    )),
                    State::Crashed(run) => checks.push(check(
                        &format!("worker {}", worker.id),
                        Grade::Warning,
                        format!("{} with {}", run.lies(), run.subject()),
                        Some(match run.lies() {
                            "stopped" => "`restart` carries on, `reset` clears it",
                            "waiting" => "a later `assign` carries on; `restart` does now",
                            _ => "the next `assign` carries on",
                        }),
                    )),
                    State::Idle | State::Busy(_) | State::Starting => {}
                }
            }
            checks
        }
    }
}

/// Which homes hold access to GitHub, and those that must not and do.
fn credentials(ctx: &Context) -> Vec<Check> {
    let ids = store::ids(&ctx.root).unwrap_or_default();
    let (mut checks, mut copied, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for id in &ids {
        match custody::mode_of(ctx, id) {
            Ok(CredentialMode::Copy) => copied.push(id.as_str()),
            Ok(CredentialMode::Broker) => {
                none.push(id.as_str());
                let found = custody::found(ctx, id);
                let worker = format!("worker {id}");
                checks.extend(match found.as_ref().map(|found| found.first()) {
                    Ok(None) => None,
                    Ok(Some(path)) => {
                        let what = format!(
                            "its home is in broker mode and holds what looks like a credential: {}",
                            path.display()
                        );
                        let then = Some("remove it; else the next run moves it out of the home");
                        Some(check(&worker, Grade::Warning, what, then))
                    }
                    Err(why) => Some(check(&worker, Grade::Failure, why.clone(), None)),
                });
            }
            Err(e) => checks.push(check(&format!("worker {id}"), Grade::Failure, e.message, None)),
        }
    }
    let named = |mode: CredentialMode, ids: &[&str]| match ids {
        [] => None,
        ids => Some(format!("{mode}: {}", ids.join(", "))),
    };
    let found = [named(CredentialMode::Broker, &none), named(CredentialMode::Copy, &copied)];
    let found: Vec<String> = found.into_iter().flatten().collect();
    if found.is_empty() {
        return checks;
    }
    let late = ctx.settings.credential_mode == CredentialMode::Broker && !copied.is_empty();
    let (grade, mend) = if late {
        (Grade::Warning, Some("claude-workers refresh --all"))
    } else {
        (Grade::Ok, None)
    };
    checks.insert(0, check("credentials", grade, found.join("; "), mend));
    checks
}
