//! The jail of a run: what of this machine it may see, and the canary that proves the rest hidden.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::anteroom::Ways;
use super::context::own_program;
use super::egress::{self, Egress};
use super::{Context, Exit, Failure};
use crate::config::env;
use crate::domain::{NetworkMode, RepoSlug, Run, RunId, WorkerId};
use crate::failpoint::patience;
use crate::git::{self, clone::FAULT};
use crate::home::{self, OUTBOX};
use crate::plan::egress::Policy;
use crate::process::command;
use crate::sandbox::inside::{Canary, Orders};
use crate::sandbox::{Bind, Jail, bounds_memory, covers, needed_to_run};
use crate::store;

/// Where our own program is inside.
const OWN_INSIDE: &str = "/run/claude-workers/claude-workers";

/// Where the prompt is inside.
pub(super) const PROMPT_INSIDE: &str = "/run/claude-workers/prompt.txt";

/// A jail for `worker` with its home, without network and bare: for our own program and git. With a
/// repository, its mirror is there, and of the home's clones its own alone.
pub(super) fn bare_jail(
    ctx: &Context,
    bwrap: PathBuf,
    worker: &WorkerId,
    repo: Option<&RepoSlug>,
) -> Result<Jail, Failure> {
    let home = ctx.root.home(worker);
    // Its mode is the agent's to set, and one that shuts itself out must not shut out the next.
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&home, mode).map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot use the home {}: {e}", home.display()))
    })?;
    let mut binds = vec![Bind::write(&home), Bind::read_at(own_program()?, OWN_INSIDE)];
    if let Some(repo) = repo {
        // Nobody is in there who could put a link in the place of what was found to be none: the
        // jails that a run has at once have these very mounts, and what is mounted is not renamed.
        let clones = ctx.root.clones(worker);
        let clone = ctx.root.clone_of(worker, repo);
        let is_dir =
            |dir: &Path| dir.strip_prefix(&home).is_ok_and(|below| home::is_dir(&home, below));
        binds.extend(Some(&clones).filter(|dir| is_dir(dir)).map(Bind::nothing));
        binds.extend(Some(&clone).filter(|dir| is_dir(dir)).map(Bind::write));
        let mirror = Some(ctx.mirror_path(repo)).filter(|mirror| mirror.is_dir());
        binds.extend(mirror.map(Bind::read));
    }
    let as_root = nix::unistd::geteuid().is_root();
    let tmp_size = bounds_memory(&bwrap).then_some(ctx.settings.rlimits.tmp_size);
    Ok(Jail { bwrap, binds, network: false, furnished: false, cwd: home, as_root, tmp_size })
}

/// The agent's jail: the bare one furnished, with the host's network if that is the run's, the
/// prompt, what the agent's program needs, and what the configuration adds.
pub(super) fn agent_jail(
    ctx: &Context,
    bwrap: PathBuf,
    run: &Run,
    program: &Path,
) -> Result<Jail, Failure> {
    let mut jail = bare_jail(ctx, bwrap, &run.worker, Some(&run.repo))?;
    furnish(&mut jail, run.network);
    let record = ctx.root.record(&run.worker);
    jail.binds.push(Bind::read_at(record.prompt(), PROMPT_INSIDE));
    let needed = needed_to_run(program, &mut |name| ctx.find_tool(name));
    let certificates = ctx.env().only(&["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"]);
    let certificates = certificates.map(|(_, path)| PathBuf::from(path));
    let read = needed.into_iter().chain(ctx.settings.read_only.iter().cloned()).chain(certificates);
    let write = ctx.settings.read_write.iter().map(Bind::write);
    let home = ctx.root.home(&run.worker);
    // What is in the home is there already, and writable by right.
    let mut extra: Vec<Bind> = write.chain(read.map(Bind::read)).collect();
    extra.retain(|b| b.to.is_absolute() && b.to.exists() && !b.to.starts_with(&home));
    // What is named in more detail counts; of the same, that it may only be read.
    extra.sort_by_key(|bind| bind.to.components().count());
    jail.binds.extend(extra);
    Ok(jail)
}

/// Makes a bare jail one for programs that are not ours.
fn furnish(jail: &mut Jail, network: NetworkMode) {
    (jail.network, jail.furnished) = (network == NetworkMode::Host, true);
    jail.binds.extend(covers(jail.as_root));
}

/// What must be true inside. Only what exists on the host proves anything by not being there.
pub(super) fn canary(
    ctx: &Context,
    worker: &WorkerId,
    repo: Option<&RepoSlug>,
    binds: &[Bind],
    ways: &Ways,
) -> Canary {
    let record = ctx.root.record(worker);
    let user = &ctx.settings.user_home;
    let mut hidden = vec![record.dir().to_owned(), ctx.root.assign_lock(), ctx.root.github()];
    let secrets = [
        ".ssh",
        ".gitconfig",
        ".profile",
        ".bashrc",
        ".netrc",
        ".config",
        ".config/gh",
        ".claude",
        ".claude/.credentials.json",
    ];
    hidden.extend(secrets.iter().map(|name| user.join(name)));
    hidden.extend(ctx.settings.token_file.clone());
    hidden.extend(ctx.settings.config_file.clone());
    let sibling = store::ids(&ctx.root).unwrap_or_default().into_iter().find(|id| id != worker);
    hidden.extend(sibling.map(|id| ctx.root.home(&id)));
    let home = ctx.root.home(worker);
    // What leads to something that is to be seen must be there, if only as an empty directory.
    let allowed = |path: &PathBuf| {
        home.starts_with(path)
            || binds.iter().any(|b| b.to.starts_with(path) || path.starts_with(&b.to))
    };
    hidden.retain(|path| std::fs::symlink_metadata(path).is_ok() && !allowed(path));
    let mut read_only = vec![PathBuf::from("/usr")];
    let shown = |path: &PathBuf| path.is_dir() && !path.starts_with(&home);
    read_only.extend(ctx.settings.read_only.iter().filter(|path| shown(path)).cloned());
    if let Some(repo) = repo {
        hidden.extend(other_clone(ctx, worker, repo));
        read_only.push(ctx.mirror_path(repo));
    }
    Canary {
        hidden,
        read_only,
        writable: vec![home, "/tmp".into()],
        bait: ways.bait.as_ref().and_then(|bait| bait.local_addr().ok()),
        proxy: ways.egress.as_ref().map(|egress| egress.routes.socket.clone()),
    }
}

/// A clone of another repository in the home.
fn other_clone(ctx: &Context, worker: &WorkerId, repo: &RepoSlug) -> Option<PathBuf> {
    let dirs = |dir: PathBuf| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path())
    };
    let own = ctx.root.clone_of(worker, repo);
    dirs(ctx.root.clones(worker)).flat_map(dirs).find(|dir| *dir != own)
}

/// A port of the host's loopback that answers, for the canary not to reach.
///
/// # Errors
/// When there is none to be had: in words.
pub(super) fn listening() -> Result<TcpListener, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("the host's loopback: {e}"))
}

/// Our own program as the jail's first process.
pub(super) fn own_words(words: &[&str]) -> Vec<OsString> {
    std::iter::once(OWN_INSIDE).chain(words.iter().copied()).map(OsString::from).collect()
}

/// A command that runs `argv` inside, with no environment yet.
pub(super) fn jailed(jail: &Jail, argv: &[OsString]) -> Command {
    let words = jail.command(argv);
    let mut outer = command(&words[0]);
    outer.args(&words[1..]).current_dir("/");
    outer
}

/// The environment of an agent: an allow-list.
pub(super) fn agent_env(
    ctx: &Context,
    run: &Run,
    wants: &[String],
    program: &Path,
) -> Vec<(String, String)> {
    let home = ctx.root.home(&run.worker);
    let show = |path: PathBuf| path.display().to_string();
    let mut path = show(home.join(".local/bin"));
    // A script's interpreter may be installed anywhere, and is looked up by its name.
    let needed = needed_to_run(program, &mut |name| ctx.find_tool(name));
    for dir in needed.iter().filter(|p| p.is_file()).filter_map(|p| p.parent()) {
        path.push_str(&format!(":{}", dir.display()));
    }
    path.push_str(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut vars = vec![
        ("HOME".to_owned(), show(home.clone())),
        ("PATH".to_owned(), path),
        ("USER".to_owned(), "worker".to_owned()),
        ("SHELL".to_owned(), "/bin/bash".to_owned()),
        ("TERM".to_owned(), "dumb".to_owned()),
        ("TMPDIR".to_owned(), "/tmp".to_owned()),
        ("BASH_ENV".to_owned(), show(home.join(".bashrc"))),
        (env::OUTBOX.to_owned(), show(home.join(OUTBOX))),
        (env::WORKER.to_owned(), run.worker.to_string()),
        (env::RUN.to_owned(), run.run.to_string()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
    ];
    // A copied configuration that signs commits would make every commit fail: nobody is there to
    // enter a passphrase.
    let unsigned = [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "commit.gpgsign"),
        ("GIT_CONFIG_VALUE_0", "false"),
        ("GIT_CONFIG_KEY_1", "tag.gpgsign"),
        ("GIT_CONFIG_VALUE_1", "false"),
    ];
    vars.extend(unsigned.map(|(k, v)| (k.to_owned(), v.to_owned())));
    if run.network == NetworkMode::Host {
        vars.extend(ctx.env().only(env::PROXIES));
    }
    vars.extend(ctx.env().only(env::CERTIFICATES));
    vars.extend(ctx.env().only(env::LOCALE));
    vars.extend(ctx.env().only(&["NODE_EXTRA_CA_CERTS"]));
    let values = super::init::read_values(&ctx.root, &run.worker);
    for name in wants {
        // What the dispatcher has is newer than what was copied when the home was made; cron has
        // nothing.
        let value = ctx.env().get(name).map(str::to_owned).or_else(|| values.get(name).cloned());
        vars.extend(value.map(|v| (name.clone(), v)));
    }
    vars
}

/// No honest clone takes longer to be made, reset or read. What is in it is the agent's, and can make
/// git wait for ever.
const TOO_LONG: Duration = Duration::from_mins(10);

/// Why there is no answer from inside, in words.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Nobody could be asked, or somebody killed who was: it says nothing of what is inside, and may
    /// pass.
    #[error("{0}")]
    Fault(String),
    /// It was asked for in vain, or took too long.
    #[error("{0}")]
    Refused(String),
}

impl From<git::Error> for NoAnswer {
    fn from(e: git::Error) -> Self {
        if e.is_fault() { fault(&e) } else { Self::Refused(e.to_string()) }
    }
}

/// Runs one of our own requests in a bare jail (or, without one, as a child of ours) and returns
/// the answer line and the raw bytes after it. What is there of `repo`, and of no other repository,
/// can be seen in there; without one all clones can, and git is not to be run. What is started bears
/// the mark of `run`, and is ended with all that it started when it takes too long. `meanwhile` is
/// called while it runs.
pub(super) fn ask_inside(
    ctx: &Context,
    worker: &WorkerId,
    repo: Option<&RepoSlug>,
    request: &git::clone::Request,
    max: u64,
    run: Option<&RunId>,
    meanwhile: impl FnOnce(),
) -> Result<(Vec<u8>, Vec<u8>), NoAnswer> {
    let refused = |why: String| NoAnswer::Refused(why);
    let input = serde_json::to_vec(request).map_err(|e| refused(e.to_string()))?;
    let program = ctx.jail_program().map_err(|e| fault(&e))?;
    let is_jailed = program.is_some();
    let mut child = if let Some(bwrap) = program {
        let jail = bare_jail(ctx, bwrap, worker, repo).map_err(|e| fault(&e))?;
        jailed(&jail, &own_words(&["jail", "clone"]))
    } else {
        let mut own = command(own_program().map_err(|e| fault(&e))?);
        own.args(["jail", "clone"]);
        own
    };
    child.envs(run.map(|run| (env::RUN, run.as_str())));
    let begun = crate::process::begin(&mut child, &input).map_err(|e| fault(&e))?;
    meanwhile();
    let out = begun.within(patience("jail", TOO_LONG)).finish(max).map_err(|e| match e.kind() {
        ErrorKind::TimedOut | ErrorKind::FileTooLarge => refused(e.to_string()),
        _ => fault(&e),
    })?;
    if !out.status.success() {
        let said = crate::domain::text::one_line(&out.stderr, 400);
        let said = if said.is_empty() { out.status.to_string() } else { said };
        let is_fault = match out.status.code() {
            None => true,
            // The jail reports a signal in the shell's way, and its own trouble by its name.
            Some(code) if is_jailed && (code > 128 || said.starts_with("bwrap: ")) => true,
            Some(code) => code == i32::from(FAULT),
        };
        return Err(if is_fault { NoAnswer::Fault(said) } else { refused(said) });
    }
    let mut answer = out.stdout;
    let end = answer.iter().position(|b| *b == b'\n');
    let end = end.ok_or_else(|| refused("no answer came out of the jail".into()))?;
    let raw = answer.split_off(end + 1);
    Ok((answer, raw))
}

fn fault(e: &impl fmt::Display) -> NoAnswer {
    NoAnswer::Fault(e.to_string())
}

/// Why there is no jail, in words.
#[derive(Debug)]
pub(super) enum NoJail {
    /// It cannot be made.
    Unmade(String),
    /// It can, and a wall does not hold.
    Open(String),
}

impl fmt::Display for NoJail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unmade(why) | Self::Open(why)) = self;
        f.write_str(why)
    }
}

impl From<String> for NoJail {
    fn from(why: String) -> Self {
        Self::Unmade(why)
    }
}

/// Tries a jail with its canary and nothing else in it.
///
/// # Errors
/// Why it cannot be had.
pub(super) fn probe(ctx: &Context, worker: &WorkerId) -> Result<(), NoJail> {
    let Some(bwrap) = ctx.jail_program().map_err(|e| e.to_string())? else { return Ok(()) };
    let mut jail = bare_jail(ctx, bwrap, worker, None).map_err(|e| e.to_string())?;
    let mode = ctx.settings.network.mode;
    furnish(&mut jail, mode);
    // A run of the worker may be under way, and its way out is its own.
    let place = tempfile::tempdir().map_err(|e| format!("a directory for the proxy: {e}"))?;
    let mut ways = Ways::default();
    if mode == NetworkMode::Proxy {
        let log = place.path().join("egress.log");
        let opened = Egress::open(ctx, place.path(), log, Policy::default(), &[])?;
        opened.show_in(&mut jail);
        ways.egress = Some(opened);
    }
    if mode != NetworkMode::Host {
        egress::name_loopback(&mut jail, place.path())?;
        ways.bait = Some(listening()?);
    }
    let orders = Orders {
        canary: canary(ctx, worker, None, &jail.binds, &ways),
        cwd: jail.cwd.clone(),
        stdin: "/dev/null".into(),
        rlimits: ctx.settings.rlimits,
        routes: ways.egress.as_ref().map(|egress| egress.routes.clone()),
    };
    let orders = serde_json::to_string(&orders).map_err(|e| e.to_string())?;
    let mut child = jailed(&jail, &own_words(&["jail", "enter", &orders, "--", "/usr/bin/true"]));
    let out = crate::process::begin(&mut child, b"+")
        .and_then(|begun| begun.within(patience("jail", TOO_LONG)).finish(1 << 16))
        .map_err(|e| e.to_string())?;
    let verdict = serde_json::from_slice::<crate::sandbox::inside::Verdict>(
        out.stdout.split(|b| *b == b'\n').next().unwrap_or_default(),
    );
    match verdict {
        Ok(verdict) => verdict.jail_fault.map_or(Ok(()), |why| Err(NoJail::Open(why))),
        Err(_) => Err(NoJail::Unmade(crate::domain::text::one_line(&out.stderr, 300))),
    }
}
