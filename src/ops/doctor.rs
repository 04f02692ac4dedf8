//! Whether everything that is needed is there, and how to mend what is not.

use std::path::Path;

use serde::Serialize;

use super::context::BWRAP;
use super::jailing::{self, NoJail};
use super::{Context, Failure, custody, egress, room};
use crate::config::env;
use crate::domain::{CredentialMode, JailMode, NetworkMode, RepoPattern};
use crate::github::{ErrorKind, GitHub};
use crate::plan::room::FILES;
use crate::process::{command, run_bounded};
use crate::sandbox::bounds_memory;
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
    checks.extend(workers(ctx));
    checks.extend(credentials(ctx));
    checks.extend(disks(ctx));
    checks.push(memory());
    checks.extend(token(ctx, github).await);
    checks.push(cron(ctx));
    checks
}

fn configuration(ctx: &Context) -> Check {
    let found = match &ctx.settings.config_file {
        Some(path) => format!("{}; root {}", path.display(), ctx.root.path().display()),
        None => format!("defaults (no file); root {}", ctx.root.path().display()),
    };
    check("configuration", Grade::Ok, found, None)
}

/// The first line that a program prints for `--version`.
fn version_of(program: &Path) -> Option<String> {
    let mut cmd = command(program);
    cmd.arg("--version").env("HOME", "/nonexistent").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let out = run_bounded(&mut cmd, b"", 1 << 16).ok()?;
    let line = String::from_utf8_lossy(&out.stdout).lines().next()?.trim().to_owned();
    (out.status.success() && !line.is_empty()).then_some(line)
}

fn git(ctx: &Context) -> Check {
    match ctx.find_tool("git") {
        None => check("git", Grade::Failure, "not found", Some("apt-get install git")),
        Some(path) => match version_of(&path) {
            Some(version) => {
                check("git", Grade::Ok, format!("{} ({version})", path.display()), None)
            }
            None => check(
                "git",
                Grade::Failure,
                format!("{} does not run", path.display()),
                Some("apt-get install --reinstall git"),
            ),
        },
    }
}

fn agent(ctx: &Context) -> Check {
    let name = &ctx.settings.executor;
    match ctx.executor(name) {
        Err(failure) => Check {
            what: format!("executor {name}"),
            grade: Grade::Failure,
            found: failure.message,
            mend: failure.hint,
        },
        Ok((executor, path)) => {
            let shown = path.display().to_string();
            let found = match (name.as_str(), version_of(&path)) {
                ("claude", None) => {
                    return check(
                        "executor claude",
                        Grade::Failure,
                        format!("{shown} does not run"),
                        Some(
                            "install Claude Code again: `npm install -g @anthropic-ai/claude-code`",
                        ),
                    );
                }
                ("claude", Some(version)) => format!("{shown} ({version})"),
                _ => shown,
            };
            let keys = ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"];
            let wants_key = executor.wants().iter().any(|w| keys.contains(&w.as_str()));
            let ids = store::list(&ctx.root).unwrap_or_default();
            let has_key = keys.iter().any(|k| ctx.env().get(k).is_some())
                || executor.section().env.keys().any(|k| keys.contains(&k.as_str()))
                || ids.iter().any(|w| {
                    super::init::read_values(&ctx.root, &w.id)
                        .keys()
                        .any(|k| keys.contains(&k.as_str()))
                });
            if wants_key && !has_key {
                let mend = "set CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) or ANTHROPIC_API_KEY before `init`";
                return check(
                    &format!("executor {name}"),
                    Grade::Warning,
                    format!("{found}; no key for the model"),
                    Some(mend),
                );
            }
            check(&format!("executor {name}"), Grade::Ok, found, None)
        }
    }
}

fn sandbox(ctx: &Context) -> Check {
    if ctx.settings.sandbox == JailMode::None {
        return check(
            "sandbox",
            Grade::Warning,
            "off: agents can read and write everything that you can",
            Some("take `mode = \"none\"` out of [sandbox]"),
        );
    }
    if ctx.find_tool(BWRAP).is_none() {
        return check(
            "sandbox",
            Grade::Failure,
            "bubblewrap was not found",
            Some("apt-get install bubblewrap"),
        );
    }
    let Some(worker) = store::list(&ctx.root)
        .ok()
        .and_then(|all| all.into_iter().find(|w| !matches!(w.state, State::Broken(_))))
    else {
        return check(
            "sandbox",
            Grade::Warning,
            "bubblewrap is there; it can be tried once there is a worker",
            Some("claude-workers init 01"),
        );
    };
    match jailing::probe(ctx, &worker.id) {
        Ok(()) if !ctx.tool(BWRAP).is_ok_and(|bwrap| bounds_memory(&bwrap)) => check(
            "sandbox",
            Grade::Warning,
            "the canary found every wall in place; but this bubblewrap cannot bound what agents keep \
             in memory as files",
            Some("bubblewrap 0.7 or later can"),
        ),
        Ok(()) => {
            check("sandbox", Grade::Ok, "bubblewrap; the canary found every wall in place", None)
        }
        Err(no) => check("sandbox", Grade::Failure, no.to_string(), Some(mend_of(&no))),
    }
}

/// How a sandbox is to be had.
fn mend_of(no: &NoJail) -> &'static str {
    let set = |name: &str| {
        let value = std::fs::read_to_string(Path::new("/proc/sys").join(name));
        value.ok().map(|value| value.trim().to_owned())
    };
    let is = |name: &str, value: &str| set(name).as_deref() == Some(value);
    match no {
        NoJail::Open(_) => {
            "a path of [sandbox] may show it: take that out; or bwrap is not what it should be: \
             `apt-get install --reinstall bubblewrap`"
        }
        NoJail::Unmade(_) if is("user/max_user_namespaces", "0") => {
            "user namespaces are switched off: `sudo sysctl -w user.max_user_namespaces=15000`"
        }
        NoJail::Unmade(_) if is("kernel/unprivileged_userns_clone", "0") => {
            "user namespaces are for root alone here: \
             `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
        }
        NoJail::Unmade(_) if is("kernel/apparmor_restrict_unprivileged_userns", "1") => {
            "AppArmor keeps user namespaces from programs without a profile: `install/setup-vps` \
             gives bwrap one; or `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        NoJail::Unmade(_) => {
            "the kernel allows user namespaces, so something around us does not: in a container, \
             run it with them (Docker: `--security-opt seccomp=unconfined`)"
        }
    }
}

/// Agents are no more than their user, if the sandbox has a hole; root is everything.
fn user() -> Option<Check> {
    nix::unistd::geteuid().is_root().then(|| {
        check(
            "user",
            Grade::Warning,
            "root: a hole in the sandbox would be one in the whole machine",
            Some("run it as a user of its own; `install/setup-vps` makes one"),
        )
    })
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
                        Some("look at the file named, and move it away if it is of no use"),
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

/// Less than this and a clone or two fills the disk.
const LOW_DISK: u64 = 2 << 30;

/// The disks of state and homes, each once.
fn disks(ctx: &Context) -> Vec<Check> {
    let ids = store::ids(&ctx.root).unwrap_or_default();
    let homes = ids.iter().map(|id| ctx.root.home(id));
    let places = [ctx.root.path().to_owned(), ctx.root.pool()].into_iter().chain(homes);
    let mut seen = Vec::new();
    let mut checks = Vec::new();
    for place in places {
        let there = place.ancestors().find(|path| path.exists()).unwrap_or(&place);
        let Some(disk) = room::disk(there).filter(|disk| !seen.contains(&disk.device)) else {
            continue;
        };
        seen.push(disk.device);
        let floor = ctx.settings.free_space;
        let found = format!("{} free at {}", gib(disk.bytes), there.display());
        let few = disk.files.filter(|files| *files < FILES);
        checks.push(if let Some(few) = few {
            let found = format!("{found}, for {few} more files: no run starts there");
            check("disk", Grade::Failure, found, Some(room::MEND))
        } else if disk.bytes < floor {
            let found = format!("{found}: no run starts with less than {}", gib(floor));
            check("disk", Grade::Failure, found, Some(room::MEND))
        } else if disk.bytes < LOW_DISK {
            let mend =
                "`claude-workers gc` removes what is old; or put the root elsewhere with `root`";
            check("disk", Grade::Warning, found, Some(mend))
        } else {
            check("disk", Grade::Ok, found, None)
        });
    }
    if checks.is_empty() {
        checks.push(check("disk", Grade::Warning, "it does not tell how much is free", None));
    }
    checks
}

/// What one agent takes at least.
const LOW_MEMORY: u64 = 1 << 30;

fn memory() -> Check {
    let Ok(mut system) = sysinfo::System::new() else {
        return check("memory", Grade::Warning, "what is free cannot be found out", None);
    };
    system.refresh_memory();
    let free = system.available_memory();
    let found = format!("{} available", gib(free));
    if free < LOW_MEMORY {
        let mend = "an agent and the tests that it runs need more: fewer workers at once, or swap";
        check("memory", Grade::Warning, found, Some(mend))
    } else {
        check("memory", Grade::Ok, found, None)
    }
}

fn gib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let gib = bytes as f64 / f64::from(1 << 30);
    format!("{gib:.1} GiB")
}

async fn token(ctx: &Context, github: Result<&GitHub, &Failure>) -> Vec<Check> {
    let github = match github {
        Ok(github) => github,
        Err(Failure { message, hint, .. }) => {
            return vec![Check {
                what: "token".into(),
                grade: Grade::Failure,
                found: message.clone(),
                mend: hint.clone(),
            }];
        }
    };
    let mut checks = Vec::new();
    if let Some(pause) = github.cooldown() {
        let found = format!("{} until {}: {}", pause.kind, pause.until, pause.why);
        checks.push(check(
            "rate limit",
            Grade::Warning,
            found,
            Some("wait; nothing is sent until then"),
        ));
        return checks;
    }
    match github.viewer().await {
        Err(e) => {
            checks.push(Check {
                what: "token".into(),
                grade: Grade::Failure,
                found: e.to_string(),
                mend: e.hint(),
            });
            return checks;
        }
        Ok(viewer) => {
            let scopes =
                viewer.scopes.map(|s| format!("; scopes: {}", s.join(", "))).unwrap_or_default();
            let expires = viewer.expires.map(|e| format!("; expires {e}")).unwrap_or_default();
            let from = if ctx.env().get("GH_TOKEN").or(ctx.env().get("GITHUB_TOKEN")).is_some() {
                "the environment"
            } else {
                "the token file"
            };
            let found = format!(
                "of {} at {}, from {from}{scopes}{expires}",
                viewer.login, ctx.settings.api_url
            );
            let grade = if from == "the environment" && ctx.settings.token_file.is_none() {
                Grade::Warning
            } else {
                Grade::Ok
            };
            let mend = (grade == Grade::Warning)
                .then_some("cron does not see your environment: put the token into a file of mode 600 and name it in `[github] token_file`");
            checks.push(check("token", grade, found, mend));
        }
    }
    checks.extend(repositories(ctx, github).await);
    let usage = github.usage();
    if let (Some(remaining), Some(limit)) = (usage.remaining, usage.limit) {
        let until = usage.reset.map(|at| format!(", until {}", at.strftime("%H:%M UTC")));
        let until = until.unwrap_or_default();
        let found = format!(
            "{} requests used this hour, {remaining} of {limit} left{until}; this took {} of them, \
             and {} more were free (304)",
            limit.saturating_sub(remaining),
            usage.requests - usage.not_modified,
            usage.not_modified
        );
        checks.push(check("rate limit", Grade::Ok, found, None));
    }
    checks
}

async fn repositories(ctx: &Context, github: &GitHub) -> Vec<Check> {
    let mut checks = Vec::new();
    for repo in ctx.settings.repos.iter().flatten().filter_map(RepoPattern::one) {
        let what = format!("repository {repo}");
        checks.push(match github.repo(repo).await {
            Ok(info) if info.archived => check(
                &what,
                Grade::Warning,
                "archived: no issue of it is taken",
                Some("take it out of `repos`"),
            ),
            Ok(info) if info.may_push && info.may_label => {
                check(&what, Grade::Ok, "the token may label and push", None)
            }
            Ok(_) => check(
                &what,
                Grade::Failure,
                "the token may not label and push",
                Some("give the token read and write access to contents, issues and pull requests"),
            ),
            Err(e) => {
                let grade = if e.kind() == ErrorKind::Unreachable {
                    Grade::Warning
                } else {
                    Grade::Failure
                };
                Check { what, grade, found: e.to_string(), mend: e.hint() }
            }
        });
    }
    checks
}

/// Where the set-up script of a server puts the tick, if not into a crontab.
const SYSTEM_CRONTAB: &str = "/etc/cron.d/claude-workers";
const TIMER: &str = "claude-workers.timer";

fn cron(ctx: &Context) -> Check {
    let mend = "run `crontab -e` and add: */5 * * * * /path/to/claude-workers assign -q";
    if Path::new("/etc/systemd/system/timers.target.wants").join(TIMER).exists() {
        return check("cron", Grade::Ok, format!("systemd's {TIMER}"), None);
    }
    let mut lines = std::fs::read_to_string(SYSTEM_CRONTAB).unwrap_or_default();
    let crontab = ctx.find_tool("crontab");
    if crontab.is_none() && lines.is_empty() {
        return check(
            "cron",
            Grade::Warning,
            "crontab was not found: nothing runs `assign`",
            Some(mend),
        );
    }
    if let Some(crontab) = crontab {
        let mut cmd = command(crontab);
        cmd.arg("-l").env("PATH", "/usr/bin:/bin").env("HOME", &ctx.settings.user_home);
        let own = run_bounded(&mut cmd, b"", 1 << 20).map(|o| o.stdout).unwrap_or_default();
        lines += &String::from_utf8_lossy(&own);
    }
    let line = lines.lines().find(|l| {
        !l.trim_start().starts_with('#')
            && l.contains("assign")
            && (l.contains("claude-workers") || l.contains("cw "))
    });
    match line {
        Some(line) => check("cron", Grade::Ok, crate::domain::text::one_line(line, 120), None),
        None => check("cron", Grade::Warning, "no line runs `assign`", Some(mend)),
    }
}
