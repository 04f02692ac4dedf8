//! What the agent of a run asked of the network, and what became of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::archive::show;
use super::{Context, Failure};
use crate::domain::{HostPort, NetworkMode, RunId, WorkerId};
use crate::egress::log::{self, Entry, Verdict};
use crate::plan::egress::{Cure, Rule, cure};

/// The answer to `egress`. As JSON it is versioned; fields may be added to a version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Version of the shape.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Its worker.
    pub worker: WorkerId,
    /// What it reaches of the network.
    pub network: NetworkMode,
    /// By host, those first that were asked for first.
    pub hosts: Vec<HostCount>,
    /// Every decision, oldest first.
    pub entries: Vec<Entry>,
    /// Lines of `[network]` that would allow what was refused and can be, with what is there now.
    pub cures: Vec<String>,
}

/// A port of a host, and how often it was asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostCount {
    /// The host, as it was understood, or as it was written.
    pub host: String,
    /// The port, if it was understood.
    pub port: Option<u16>,
    /// How often it was reached.
    pub allowed: u64,
    /// How often it was refused.
    pub refused: u64,
    /// How often it was allowed and could not be reached.
    pub failed: u64,
    /// Bytes that went out, of what is over.
    pub sent: u64,
    /// Bytes that came in, of what is over.
    pub received: u64,
    /// Why it was not reached, the last time.
    pub why: Option<String>,
}

/// Reads what a run asked; `what` is a worker or a run, as for `show`.
///
/// # Errors
/// When there is no such run, or its log cannot be read.
pub fn asked(ctx: &Context, what: &str, refused_only: bool) -> Result<Asked, Failure> {
    let shown = show(ctx, what)?;
    let mut entries = match shown.egress_log() {
        Some(path) => log::read(path)?.unwrap_or_default(),
        None => Vec::new(),
    };
    entries.retain(|entry| !refused_only || entry.verdict == Verdict::Refused);
    Ok(Asked {
        version: 1,
        run: shown.run.run.clone(),
        worker: shown.run.worker.clone(),
        network: shown.run.network,
        hosts: by_host(&entries),
        cures: cures(ctx, &entries),
        entries,
    })
}

fn by_host(entries: &[Entry]) -> Vec<HostCount> {
    let mut hosts: Vec<HostCount> = Vec::new();
    let mut places = BTreeMap::new();
    for entry in entries {
        let at = *places.entry((&entry.host, entry.port)).or_insert_with(|| {
            let (host, port) = (entry.host.clone(), entry.port);
            hosts.push(HostCount { host, port, ..HostCount::default() });
            hosts.len() - 1
        });
        let count = &mut hosts[at];
        match entry.verdict {
            Verdict::Allowed => count.allowed += 1,
            Verdict::Refused => count.refused += 1,
            Verdict::Failed => count.failed += 1,
        }
        count.sent += entry.sent.unwrap_or(0);
        count.received += entry.received.unwrap_or(0);
        if entry.why.is_some() {
            count.why.clone_from(&entry.why);
        }
    }
    hosts
}

fn cures(ctx: &Context, entries: &[Entry]) -> Vec<String> {
    let network = &ctx.settings.network;
    let mut lines = Vec::new();
    for (key, kind, there) in [
        ("allow", Cure::Allow, &network.allow),
        ("allow_local", Cure::AllowLocal, &network.allow_local),
    ] {
        let mut rules: Vec<String> = there.iter().map(ToString::to_string).collect();
        for entry in entries.iter().filter(|entry| entry.verdict == Verdict::Refused) {
            let at = entry.port.and_then(|port| HostPort::parse(&entry.host, Some(port)).ok());
            let (Some(at), Some(why)) = (at, &entry.why) else { continue };
            let rule = Rule::from(at.clone()).to_string();
            if cure(&at, why) == Some(kind) && !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        if rules.len() > there.len() {
            let quoted: Vec<String> = rules.iter().map(|rule| format!("\"{rule}\"")).collect();
            lines.push(format!("{key} = [{}]", quoted.join(", ")));
        }
    }
    lines
}
