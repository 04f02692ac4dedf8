//! What the machine has: programs, the sandbox, disks, memory, cron.

use std::path::Path;

use super::{Check, Grade, check};
use crate::domain::JailMode;
use crate::ops::context::BWRAP;
use crate::ops::jailing::{self, NoJail};
use crate::ops::{Context, init, room};
use crate::plan::room::FILES;
use crate::process::{command, run_bounded};
use crate::sandbox::bounds_memory;
use crate::store::{self, State};

/// The first line that a program prints for `--version`.
fn version_of(program: &Path) -> Option<String> {
    let mut cmd = command(program);
    cmd.arg("--version").env("HOME", "/nonexistent").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let out = run_bounded(&mut cmd, b"", 1 << 16).ok()?;
    let line = String::from_utf8_lossy(&out.stdout).lines().next()?.trim().to_owned();
    (out.status.success() && !line.is_empty()).then_some(line)
}

pub(super) fn git(ctx: &Context) -> Check {
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

pub(super) fn agent(ctx: &Context) -> Check {
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
                    init::read_values(&ctx.root, &w.id).keys().any(|k| keys.contains(&k.as_str()))
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

pub(super) fn sandbox(ctx: &Context) -> Check {
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
pub(super) fn user() -> Option<Check> {
    nix::unistd::geteuid().is_root().then(|| {
        check(
            "user",
            Grade::Warning,
            "root: a hole in the sandbox would be one in the whole machine",
            Some("run it as a user of its own; `install/setup-vps` makes one"),
        )
    })
}

/// Less than this and a clone or two fills the disk.
const LOW_DISK: u64 = 2 << 30;

/// The disks of state and homes, each once.
pub(super) fn disks(ctx: &Context) -> Vec<Check> {
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
        let found = format!("{} free at {}", amount(disk.bytes), there.display());
        let few = disk.files.filter(|files| *files < FILES);
        checks.push(if let Some(few) = few {
            let found = format!("{found}, for {few} more files: no run starts there");
            check("disk", Grade::Failure, found, Some(room::MEND))
        } else if disk.bytes < floor {
            let found = format!("{found}: no run starts with less than {}", amount(floor));
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

pub(super) fn memory() -> Check {
    let Ok(mut system) = sysinfo::System::new() else {
        return check("memory", Grade::Warning, "what is free cannot be found out", None);
    };
    system.refresh_memory();
    let free = system.available_memory();
    let found = format!("{} available", amount(free));
    if free < LOW_MEMORY {
        let mend = "an agent and the tests that it runs need more: fewer workers at once, or swap";
        check("memory", Grade::Warning, found, Some(mend))
    } else {
        check("memory", Grade::Ok, found, None)
    }
}

fn amount(bytes: u64) -> String {
    let (unit, name) = if bytes < 1 << 30 { (1 << 20, "MiB") } else { (1 << 30, "GiB") };
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let amount = bytes as f64 / f64::from(unit);
    format!("{amount:.1} {name}")
}

/// Where the set-up script of a server puts the tick, if not into a crontab.
const SYSTEM_CRONTAB: &str = "/etc/cron.d/claude-workers";
const TIMER: &str = "claude-workers.timer";

pub(super) fn cron(ctx: &Context) -> Check {
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
