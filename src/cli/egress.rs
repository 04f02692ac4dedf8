//! `egress`

use std::process::ExitCode;

use anstyle::Style;

use super::print::{self, BOLD, DIM, GREEN, RED, YELLOW, bytes, table};
use crate::domain::{NetworkMode, text};
use crate::ops::asked::{Asked, HostCount, asked};
use crate::ops::{Context, Failure};

/// Show what a run's agent asked of the network, and what was refused
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers egress 01                   of worker 01's current run, or of its last one
  claude-workers egress 071500-7f3a          by the end of the run's id
  claude-workers egress 01 --refused         and the lines that would allow it
  claude-workers egress 01 --json | jq -r '.entries[] | [.at, .host, .verdict] | @tsv'")]
pub(super) struct Args {
    /// A run's id, a beginning or an end of it, or a worker's id
    #[arg(value_name = "RUN", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: String,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Print JSON: every single decision
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let seen = asked(ctx, &args.run, args.refused)?;
    if args.json {
        return print::json(&seen);
    }
    print::out(&shown(&seen, args.refused));
    Ok(ExitCode::SUCCESS)
}

fn shown(seen: &Asked, refused_only: bool) -> String {
    if seen.hosts.is_empty() {
        let what = match seen.network {
            NetworkMode::Host => "its network was the host's: what it asked is not known",
            NetworkMode::None => "it had no network",
            NetworkMode::Proxy if refused_only => "nothing was refused",
            NetworkMode::Proxy => "nothing was asked of the network, or that is kept no longer",
        };
        return format!("run {} of worker {}: {what}\n", seen.run, seen.worker);
    }
    let rows: Vec<_> = seen.hosts.iter().map(row).collect();
    let mut out = table(&rows);
    if !seen.cures.is_empty() {
        out.push_str("\nto allow what was refused, in [network] of the configuration:\n");
        out.extend(seen.cures.iter().map(|line| format!("  {line}\n")));
    }
    out
}

fn row(count: &HostCount) -> [(Style, String); 6] {
    let plain = Style::new();
    let port = count.port.map(|port| format!(":{port}")).unwrap_or_default();
    let times = |n: u64, what: &str| match n {
        0 => String::new(),
        n => format!("{n} {what}"),
    };
    let wire = match (count.sent, count.received) {
        (0, 0) => String::new(),
        (sent, received) => format!("{} out, {} in", bytes(sent), bytes(received)),
    };
    [
        (BOLD, text::one_line(&count.host, 300) + &port),
        (GREEN, times(count.allowed, "allowed")),
        (RED, times(count.refused, "refused")),
        (YELLOW, times(count.failed, "failed")),
        (plain, wire),
        (DIM, text::one_line(count.why.as_deref().unwrap_or_default(), 300)),
    ]
}
