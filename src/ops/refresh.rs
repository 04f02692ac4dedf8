//! Templates and credentials again, for workers that are idle.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::init::{credentials, load_values, remember_tools, values, with_blueprint, write_values};
use super::stop::worker;
use super::unknown::broken;
use super::{Context, Exit, Failure};
use crate::domain::{CredentialMode, WorkerId};
use crate::home::{self, Changes, Credential, Report};
use crate::store::{self, State, WorkerLock};

/// What a worker is to be given anew, looked up once for all of them.
#[derive(Debug)]
pub struct Means {
    credentials: Vec<Credential>,
    values: BTreeMap<String, SecretString>,
}

/// What differed in one worker.
#[derive(Debug)]
pub struct Refreshed {
    /// The files of its home.
    pub files: Changes,
    /// Names of the values that are new or others now.
    pub values_set: Vec<String>,
    /// Names of the values that it may not have any more.
    pub values_removed: Vec<String>,
    /// What was not copied, and what a person should know.
    pub report: Report,
}

impl Refreshed {
    /// Whether nothing differed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.files == Changes::default()
            && self.values_set.is_empty()
            && self.values_removed.is_empty()
    }
}

/// Looks up what workers are to be given. Unless it is for show, also finds the programs again.
///
/// # Errors
/// When the configuration is wrong, or the programs cannot be remembered.
pub fn means(ctx: &Context, dry_run: bool) -> Result<Means, Failure> {
    let credentials = credentials(ctx)?;
    if !dry_run {
        remember_tools(ctx)?;
    }
    Ok(Means { values: values(ctx, &credentials), credentials })
}

/// Whether waiting for a worker to become idle has a point.
#[derive(Debug)]
pub enum Left {
    /// It is at work, and will be done.
    Busy(Failure),
    /// It needs a person, or the next tick, or cannot be done at all.
    For(Failure),
}

impl From<Left> for Failure {
    fn from(left: Left) -> Self {
        match left {
            Left::Busy(failure) | Left::For(failure) => failure,
        }
    }
}

impl From<Failure> for Left {
    fn from(failure: Failure) -> Self {
        Self::For(failure)
    }
}

/// Takes an idle worker, by its name, for something that must not happen under a run.
///
/// # Errors
/// What it does instead, and the way out.
pub(super) fn take_idle(ctx: &Context, id: &WorkerId) -> Result<WorkerLock, Left> {
    let not_now = |what: String| Failure::new(Exit::NoWorker, format!("worker {id} {what}"));
    let taken = || Left::Busy(not_now("is just being taken".into()).hint("try again in a moment"));
    match worker(ctx, id)? {
        State::Idle => {}
        State::Starting => return Err(taken()),
        State::Busy(run) => {
            return Err(Left::Busy(
                not_now(format!("is busy with {}", run.subject()))
                    .hint(format!("wait for it, or stop it: `claude-workers stop {id}`")),
            ));
        }
        State::Crashed(run) => {
            let how = match run.lies() {
                "stopped" => "was stopped",
                "waiting" => "waits for another attempt",
                _ => "crashed",
            };
            return Err(Left::For(not_now(format!("{how} with {}", run.subject())).hint(format!(
                "carry it on with `claude-workers restart {id}`, or end it with `claude-workers \
                 reset {id}`"
            ))));
        }
        State::Broken(why) => return Err(Left::For(broken(ctx, id, &why))),
    }
    let lock = WorkerLock::try_take(&ctx.root, id).map_err(Failure::from)?.ok_or_else(taken)?;
    // Somebody may have been quicker and have left a record.
    match store::read_task(&ctx.root, id).map_err(Failure::from)? {
        None => Ok(lock),
        Some(_) => Err(taken()),
    }
}

/// How often a busy worker is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the worker is not at work any more.
pub fn wait(ctx: &Context, id: &WorkerId) {
    let at_work = |state| matches!(state, State::Busy(_) | State::Starting);
    while at_work(store::worker(&ctx.root, id.clone()).state) {
        std::thread::sleep(LOOK);
    }
}

/// Furnishes the home of an idle worker anew, or says what would change.
///
/// # Errors
/// [`Left`], if it is not idle; else what a template or the file system does not allow. Nothing is
/// changed then, or some files are new already and doing it again finishes.
pub fn refresh(
    ctx: &Context,
    id: &WorkerId,
    means: &Means,
    dry_run: bool,
) -> Result<Refreshed, Left> {
    let _lock = take_idle(ctx, id)?;
    let old = load_values(&ctx.root, id)?;
    // A variable that is not set here takes nothing away; a kind that is not configured does.
    let mut values: BTreeMap<String, SecretString> =
        old.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone()))).collect();
    let values_removed: Vec<String> = Credential::ALL
        .iter()
        .filter(|kind| !means.credentials.contains(kind))
        .filter_map(|kind| kind.env_name())
        .filter(|name| values.remove(*name).is_some())
        .map(str::to_owned)
        .collect();
    let news = |(name, value): &(&String, &SecretString)| {
        old.get(*name).map(String::as_str) != Some(value.expose_secret())
    };
    let values_set: Vec<String> =
        means.values.iter().filter(news).map(|(name, _)| name.clone()).collect();
    values.extend(means.values.iter().map(|(name, value)| (name.clone(), value.clone())));
    let write = || -> Result<(), Failure> {
        if dry_run || (values_set.is_empty() && values_removed.is_empty()) {
            return Ok(());
        }
        write_values(&ctx.root, id, &values)
    };
    let mut unwritten = Ok(());
    let (files, mut report) = with_blueprint(ctx, id, &means.credentials, &values, |blueprint| {
        let ready = home::prepare(blueprint)?;
        // Before the home, which is made from them, and after all that can be wrong with it.
        unwritten = write();
        if dry_run || unwritten.is_err() { ready.only_look() } else { ready.apply() }
    })?;
    unwritten?;
    if ctx.settings.credential_mode == CredentialMode::Broker {
        let home = ctx.root.home(id);
        let found = home::credentials_in(&home).map_err(Failure::from)?;
        // What a dry run only would remove is no news.
        let left = found.iter().filter(|path| !files.removed.contains(path));
        report.notes.extend(left.map(|path| {
            format!(
                "{} looks like a credential and does not come from here: the next run moves it out \
                 of the home",
                home.join(path).display()
            )
        }));
    }
    Ok(Refreshed { files, values_set, values_removed, report })
}
