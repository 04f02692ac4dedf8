//! Makes workers.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{Context, Exit, Failure};
use crate::config::env;
use crate::domain::WorkerId;
use crate::home::{self, Blueprint, Credential};
use crate::store::{self, Root, Tools, WorkerLock, make_private_dir, write_private};

/// One worker that was made.
#[derive(Debug)]
pub struct Made {
    /// Its id.
    pub worker: WorkerId,
    /// What its home is made of.
    pub report: home::Report,
}

/// Makes the home and the record of one worker.
///
/// # Errors
/// When the id is taken (also by one that differs only by case), or something cannot be made; then
/// nothing is left of it.
pub fn init(ctx: &Context, worker: &WorkerId) -> Result<Made, Failure> {
    refuse_taken(&ctx.root, worker)?;
    let credentials = credentials(ctx)?;
    let values = values(ctx, &credentials);
    let record = ctx.root.record(worker);
    make_private_dir(&ctx.root.pool())?;
    let is_new = !record.dir().exists();
    make_private_dir(record.dir())?;
    let Some(_lock) = WorkerLock::try_take(&ctx.root, worker)? else {
        return Err(Failure::new(Exit::Failed, format!("worker {worker} is just being made"))
            .hint("another `init` is at it: try again in a moment"));
    };
    let make = || -> Result<home::Report, Failure> {
        make_private_dir(&record.completed())?;
        write_values(&ctx.root, worker, &values)?;
        remember_tools(ctx)?;
        // Last, because a home that is there is a worker.
        with_blueprint(ctx, worker, &credentials, &values, home::create)
    };
    let report = make();
    // A record without a home would be a broken worker. Another `init` may have been quicker.
    let has_home = std::fs::symlink_metadata(ctx.root.home(worker)).is_ok_and(|m| m.is_dir());
    if report.is_err() && is_new && !has_home {
        // Why it failed matters more than what is left of it.
        let _ = store::remove_dir_all(record.dir());
    }
    Ok(Made { worker: worker.clone(), report: report? })
}

/// What a worker's home is made of, now.
pub(super) fn with_blueprint<T>(
    ctx: &Context,
    worker: &WorkerId,
    credentials: &[Credential],
    values: &BTreeMap<String, SecretString>,
    make: impl FnOnce(&Blueprint<'_>) -> Result<T, home::Error>,
) -> Result<T, Failure> {
    let record = ctx.root.record(worker);
    let links = [
        ("task.json", record.task()),
        ("worker.log", record.log()),
        ("completed", record.completed()),
    ];
    Ok(make(&Blueprint {
        worker,
        home: &ctx.root.home(worker),
        staging_parent: &ctx.root.pool(),
        templates: Some(&ctx.settings.config_dir.join("templates")),
        source_home: &ctx.settings.user_home,
        gh_config_dir: &ctx.settings.gh_config_dir(ctx.env()),
        credentials,
        values,
        jail: ctx.settings.sandbox,
        mode: ctx.settings.credential_mode,
        links: &links,
        furniture: &record.furniture(),
    })?)
}

fn refuse_taken(root: &Root, worker: &WorkerId) -> Result<(), Failure> {
    let same = store::list(root)?.into_iter().find(|w| w.id.collides_with(worker));
    let Some(same) = same else { return Ok(()) };
    let record = root.record(worker);
    if same.id == *worker && record.old_home().exists() {
        let what = format!("worker {worker} exists already, and its removal was interrupted");
        return Err(Failure::new(Exit::Failed, what)
            .hint(format!("finish it first: `claude-workers rm {worker}`")));
    }
    // A record without a home is what an interrupted `init` leaves: it is carried on.
    if same.id == *worker && !root.home(worker).exists() && !record.task().exists() {
        return Ok(());
    }
    let failure = if same.id == *worker {
        Failure::new(
            Exit::Failed,
            format!("worker {worker} exists already: {}", root.home(worker).display()),
        )
    } else {
        Failure::new(
            Exit::Failed,
            format!("worker {} exists already, and labels on GitHub ignore case", same.id),
        )
    };
    Err(failure.hint("choose another id"))
}

pub(super) fn credentials(ctx: &Context) -> Result<Vec<Credential>, Failure> {
    let mut all = match &ctx.settings.credentials {
        None => Credential::ALL.to_vec(),
        Some(words) => words
            .iter()
            .map(|word| word.parse::<Credential>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Failure::new(Exit::Usage, format!("[credentials] copy: {e}")))?,
    };
    all.retain(|credential| credential.fits(ctx.settings.credential_mode));
    Ok(all)
}

/// The values that the home gets. `GH_TOKEN` may also come from `GITHUB_TOKEN` or the token file.
pub(super) fn values(ctx: &Context, credentials: &[Credential]) -> BTreeMap<String, SecretString> {
    let value = |name: &str| match name {
        env::GH_TOKEN => ctx.settings.token(ctx.env()).ok().flatten(),
        _ => ctx.env().get(name).map(|v| SecretString::from(v.to_owned())),
    };
    credentials
        .iter()
        .filter_map(|c| c.env_name())
        .filter_map(|name| Some((name.to_owned(), value(name)?)))
        .collect()
}

/// The values once more, in the record, from where the agent's environment is made: what is in the
/// home the agent could have changed.
pub(super) fn write_values(
    root: &Root,
    worker: &WorkerId,
    values: &BTreeMap<String, SecretString>,
) -> Result<(), Failure> {
    let plain: BTreeMap<&str, &str> =
        values.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
    let json = serde_json::to_vec(&plain)
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot write values: {e}")))?;
    Ok(write_private(&root.record(worker).values(), &json)?)
}

/// The values of a worker; none if they cannot be read.
pub(super) fn read_values(root: &Root, worker: &WorkerId) -> BTreeMap<String, String> {
    load_values(root, worker).unwrap_or_default()
}

/// The values of a worker, for a caller who is going to write them.
///
/// # Errors
/// When they cannot be read.
pub(super) fn load_values(
    root: &Root,
    worker: &WorkerId,
) -> Result<BTreeMap<String, String>, Failure> {
    let path = root.record(worker).values();
    let Some(bytes) = store::read_bounded(&path, 1 << 20)? else { return Ok(BTreeMap::new()) };
    let broken = |_| store::Error::Broken { path, why: "it holds no values".into() };
    Ok(serde_json::from_slice(&bytes).map_err(broken)?)
}

/// Finds every program while there is a PATH: cron has none.
pub(super) fn remember_tools(ctx: &Context) -> Result<(), Failure> {
    let mut tools = Tools::load(&ctx.root);
    let mut names = vec!["git".to_owned(), super::context::BWRAP.to_owned(), "claude".to_owned()];
    let commands = ctx.settings.executors.values().filter_map(|e| e.command.first());
    names.extend(commands.filter(|c| !c.contains('/')).cloned());
    // Interpreters of agents that are scripts.
    names.extend(["node", "bun", "python3"].map(str::to_owned));
    for name in names {
        tools.find(&name, ctx.env().get("PATH"), &ctx.settings.user_home);
    }
    Ok(tools.save(&ctx.root)?)
}
