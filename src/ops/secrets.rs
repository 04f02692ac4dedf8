//! The secrets that are known here, so that they are written down and said nowhere.

use secrecy::{ExposeSecret, SecretString};

use super::{Context, Exit, Failure};
use crate::config::env;
use crate::domain::redact::Redactor;
use crate::domain::{Run, WorkerId, text};
use crate::home::{password_in, secrets_in};
use crate::store::read_bounded;

/// No honest list is larger.
const MAX_FILE: u64 = 1 << 20;

/// Each more would cost every start of an agent some time.
const MAX_LINES: usize = 250;

/// What the name of a variable holds if its value is a secret.
const SECRET_NAMES: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL"];

/// What looks for every secret that is [`known`].
///
/// # Errors
/// As there.
pub(super) fn redactor(ctx: &Context, worker: &WorkerId) -> Result<Redactor, Failure> {
    let all = known(ctx, worker)?;
    Ok(Redactor::new(all.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))))
}

/// Every secret that is known to a run of this worker, with a name for it: the host's token, what was
/// copied into the home or lies in it and in its user's, secret values of the environment and of
/// executors, and those that the configuration names.
///
/// # Errors
/// When a file of secrets is configured and cannot be read.
pub(super) fn known(
    ctx: &Context,
    worker: &WorkerId,
) -> Result<Vec<(String, SecretString)>, Failure> {
    let settings = &ctx.settings;
    let mut all: Vec<(String, SecretString)> = Vec::new();
    let mut add = |name: &str, value: &str| {
        all.push((name.to_owned(), SecretString::from(value.to_owned())));
    };
    if let Some(token) = settings.token(ctx.env())? {
        add("github-token", token.expose_secret());
    }
    for name in [env::GH_TOKEN, env::GITHUB_TOKEN] {
        add("github-token", ctx.env().get(name).unwrap_or_default());
    }
    for (name, value) in super::init::load_values(&ctx.root, worker)? {
        add(if name == env::GH_TOKEN { "github-token" } else { &name }, &value);
    }
    let is_secret = |name: &str| {
        let upper = name.to_ascii_uppercase();
        SECRET_NAMES.iter().any(|part| upper.contains(part))
            || settings.redact_env.iter().any(|named| named == name)
    };
    let own = ctx.env().all().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let sections = settings.executors.values().flat_map(|section| &section.env);
    let of_executors = sections.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.chain(of_executors) {
        if is_secret(name) {
            add(name, value);
        } else if env::PROXIES.contains(&name) {
            add("proxy-password", password_in(value).unwrap_or_default());
        }
    }
    if let Some(path) = &settings.redact_file {
        let bytes = read_bounded(path, MAX_FILE)?.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("[redact] file: there is no {}", path.display()))
        })?;
        let text = String::from_utf8_lossy(&bytes);
        if text.lines().count() > MAX_LINES {
            let what = format!(
                "[redact] file: {} has more than {MAX_LINES} lines, and no more are looked for",
                path.display()
            );
            return Err(
                Failure::new(Exit::Usage, what).hint("leave out what is of no use any more")
            );
        }
        for line in text.lines() {
            add("secret", line);
        }
    }
    let named = |(name, value): (&str, SecretString)| (name.to_owned(), value);
    all.extend(secrets_in(&settings.user_home).into_iter().map(named));
    // An agent may have put there what it likes, words that everybody uses for one.
    for (name, value) in secrets_in(&ctx.root.home(worker)) {
        let lines = value.expose_secret().lines().filter(|line| looks_random(line));
        all.extend(lines.map(|line| (name.to_owned(), SecretString::from(line.to_owned()))));
    }
    Ok(all)
}

/// Whether it may be a token or a line of a key, and is not a piece of honest text.
fn looks_random(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    value.len() >= 20
        && value.bytes().all(plain)
        && value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Takes the secrets out of everything in a record that somebody else has written, and invisible
/// characters first: without them a secret is whole again for who looks at it.
pub(super) fn clean(run: &mut Run, redactor: &Redactor) {
    let agent = run.agent.as_mut().map(|agent| {
        let words = [&mut agent.limit, &mut agent.not_started, &mut agent.last_words];
        words.into_iter().flatten().chain(&mut agent.denied)
    });
    let work = run.work.as_mut().map(|work| {
        let (title, body) = work.pr_text.as_mut().map_or((None, None), |(t, b)| (Some(t), Some(b)));
        let said =
            [work.comment.as_mut(), work.blocked.as_mut(), work.report.as_mut(), title, body];
        said.into_iter().flatten().chain(&mut work.notes)
    });
    let filed = run.filed.iter_mut().flat_map(|filed| [&mut filed.title, &mut filed.file]);
    let own = [run.title.as_mut(), run.prompt.as_mut(), run.ended.as_mut().map(|e| &mut e.why)];
    let texts = own.into_iter().flatten().chain(&mut run.unsaid).chain(filed);
    let texts = texts.chain(run.tried.iter_mut().map(|tried| &mut tried.why));
    let texts = texts.chain(agent.into_iter().flatten()).chain(work.into_iter().flatten());
    texts.for_each(|said| {
        said.retain(|c| !text::is_invisible(c));
        redactor.clean(said);
    });
}
