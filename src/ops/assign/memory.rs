//! Refusals that were found out by asking GitHub, kept between ticks: an issue that is refused
//! today would otherwise cost requests every five minutes.
//!
//! A refusal holds for the issue as it was (its time of last change). Lack of trust is asked about
//! again after an hour, because a person's rights can change without the issue changing; a pull
//! request stays. The file is a memory: lost or broken, it is made again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::Issue;
use crate::ops::Context;
use crate::plan::Skip;
use crate::store::{make_private_dir, read_bounded, write_private};

const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: u32,
    /// Trust as it was configured when these were written; another setting voids them.
    rules: String,
    refused: BTreeMap<String, Refusal>,
    /// Labels `worker:NN` (`octo/app#22 worker:01`) that looked like ours and turned out to be
    /// somebody else's, and how old the issue was then.
    #[serde(default)]
    not_ours: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    updated_at: Timestamp,
    at: Timestamp,
    pull: Option<String>,
    why: Option<String>,
}

/// The memory, loaded.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    changed: bool,
}

fn key(issue: &Issue) -> String {
    format!("{}#{}", issue.repo, issue.number)
}

fn rules(ctx: &Context) -> String {
    let settings = &ctx.settings;
    let (trust, label, bots) = (settings.trust, &settings.approval_label, &settings.bots);
    format!("{trust:?} {label} {bots:?} {}", settings.api_url)
}

impl Memory {
    /// Loads what concerns `issues`; the rest is forgotten.
    pub(super) fn load<'a>(ctx: &Context, issues: impl Iterator<Item = &'a Issue>) -> Self {
        let bytes = read_bounded(&path(ctx), 16 << 20).ok().flatten();
        let mut file: File =
            bytes.and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        let rules = rules(ctx);
        if file.rules != rules {
            file = File { version: 1, rules, ..File::default() };
        }
        let open: std::collections::BTreeSet<String> = issues.map(key).collect();
        let size = |file: &File| file.refused.len() + file.not_ours.len();
        let before = size(&file);
        file.refused.retain(|at, _| open.contains(at));
        file.not_ours.retain(|at, _| at.split_once(' ').is_some_and(|(at, _)| open.contains(at)));
        let changed = size(&file) != before;
        Self { file, changed }
    }

    pub(super) fn refuses(&self, issue: &Issue, now: Timestamp) -> Option<Skip> {
        let known = self.file.refused.get(&key(issue))?;
        if let Some(url) = &known.pull {
            return Some(Skip::HasPull(url.clone()));
        }
        let fresh = known.updated_at == issue.updated_at
            && known.at <= now
            && now.duration_since(known.at) < FORGET_AFTER;
        known.why.clone().filter(|_| fresh).map(Skip::NotTrusted)
    }

    pub(super) fn not_trusted(&mut self, issue: &Issue, why: &str, now: Timestamp) {
        self.insert(issue, None, Some(why.to_owned()), now);
    }

    pub(super) fn has_pull(&mut self, issue: &Issue, url: &str, now: Timestamp) {
        self.insert(issue, Some(url.to_owned()), None, now);
    }

    /// Whether the label turned out not to be ours, and nothing has changed since.
    pub(super) fn is_not_ours(&self, issue: &Issue, label: &str) -> bool {
        self.file.not_ours.get(&format!("{} {label}", key(issue))) == Some(&issue.updated_at)
    }

    pub(super) fn not_ours(&mut self, issue: &Issue, label: &str) {
        self.file.not_ours.insert(format!("{} {label}", key(issue)), issue.updated_at);
        self.changed = true;
    }

    fn insert(&mut self, issue: &Issue, pull: Option<String>, why: Option<String>, at: Timestamp) {
        let refusal = Refusal { updated_at: issue.updated_at, at, pull, why };
        self.file.refused.insert(key(issue), refusal);
        self.changed = true;
    }

    /// Writes it if it changed. A memory that cannot be written costs requests, nothing else.
    pub(super) fn save(&self, ctx: &Context) {
        if !self.changed {
            return;
        }
        if let Ok(json) = serde_json::to_vec(&self.file)
            && make_private_dir(&ctx.root.github()).is_ok()
        {
            let _ = write_private(&path(ctx), &json);
        }
    }
}

fn path(ctx: &Context) -> std::path::PathBuf {
    ctx.root.github().join("refused.json")
}
