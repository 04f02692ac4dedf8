//! Whether a run's commits may be published, and keeping those that may not for a person.

use super::Context;
use super::jailing::NoAnswer;
use crate::domain::redact::Redactor;
use crate::domain::{Run, text};
use crate::git::{Host, Imported};
use crate::plan::{PublishRules, Refusal, refusals};
use crate::store::{self, make_private_dir, write_private};

/// Looks at what the commits change. `Some`: why they are not published, and what can be done.
///
/// # Errors
/// When that cannot be looked at.
pub(super) fn check(
    ctx: &Context,
    run: &Run,
    git: &Host,
    imported: &Imported,
    redactor: &Redactor,
) -> Result<Option<String>, NoAnswer> {
    let none = || NoAnswer::Refused("the run has no base".into());
    let base = run.base_sha.as_deref().ok_or_else(none)?;
    let settings = &ctx.settings;
    let rules = PublishRules {
        max_files: settings.max_files,
        max_bytes: settings.max_bytes,
        allow_protected: settings.allow_protected.iter().any(|p| p.matches(&run.repo)),
    };
    let mut changes = git.changes(imported, base)?;
    if changes.bytes <= rules.max_bytes {
        let holds = |bytes: &[u8]| redactor.first_in(bytes).map(str::to_owned);
        changes.secrets = git.search(imported, base, holds)?;
    }
    let refused = refusals(run, &changes, rules);
    if refused.is_empty() {
        return Ok(None);
    }
    let reasons: Vec<String> = refused.iter().map(Refusal::why).collect();
    let mut why = format!("not published: {}", reasons.join("\n"));
    if refused.iter().any(Refusal::is_of_protection) {
        why.push_str(&format!(
            "\nIf this is wanted: allow_protected = [\"{}\"] in [publish] of the configuration, and \
             have it worked on again.",
            run.repo
        ));
    }
    why.push_str(&match keep(ctx, run, git, imported, redactor) {
        Ok(Some(name)) => format!("\nWhat was committed is kept on the worker's machine: {name}"),
        Ok(None) => {
            "\nWhat was committed is too much to be kept; it is in the worker's clone until \
                     its next run."
                .into()
        }
        Err(e) => format!("\nWhat was committed could not be kept: {}", text::one_line(&e, 200)),
    });
    Ok(Some(why))
}

/// Keeps the commits as a patch in the archive, and returns its name.
fn keep(
    ctx: &Context,
    run: &Run,
    git: &Host,
    imported: &Imported,
    redactor: &Redactor,
) -> Result<Option<String>, String> {
    let base = run.base_sha.as_deref().unwrap_or_default();
    let Some(patch) = git.patch(imported, base) else { return Ok(None) };
    let completed = ctx.root.record(&run.worker).completed();
    make_private_dir(&completed).map_err(|e| e.to_string())?;
    let name = store::unpublished_name(&run.repo, &run.run);
    write_private(&completed.join(&name), &redactor.bytes(&patch)).map_err(|e| e.to_string())?;
    Ok(Some(name))
}
