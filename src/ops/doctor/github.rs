//! What GitHub lets the token do.

use super::{Check, Grade, check};
use crate::domain::RepoPattern;
use crate::github::{ErrorKind, GitHub};
use crate::ops::{Context, Failure};

pub(super) async fn token(ctx: &Context, github: Result<&GitHub, &Failure>) -> Vec<Check> {
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
