//! `gc`

use std::process::ExitCode;

use jiff::Timestamp;

use super::print::{self, BOLD, CYAN, DIM, RED, bytes, styled};
use crate::domain::text;
use crate::ops::gc::{Item, Report, gc};
use crate::ops::{Context, Failure};
use crate::plan::gc::Thing;

/// Remove what is older than `[retention]` allows: logs, records, clones, mirrors, leftovers, claims
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers gc --dry-run          what would be removed, and why
  claude-workers gc
  claude-workers gc --json | jq .bytes

Weekly, by cron:
  0 4 * * 0 $HOME/.cargo/bin/claude-workers gc >/dev/null

Nothing of a worker that is not idle is touched. Records that say whether an issue may be taken
again stay, however old they are. A mirror that has more than 50 packs, or 5,000 loose objects, is
packed anew; nothing in it is lost. Lists and claims that are remembered of GitHub go after 30 days,
the oldest before if they are more than 64 MiB.")]
pub(super) struct Args {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let report = gc(ctx, Timestamp::now(), args.dry_run, |item| {
        let line = line(item, args.dry_run);
        match item.problem {
            // For cron, which mails what comes out here.
            Some(_) => print::note(line.trim_end()),
            None if args.json => {}
            None => print::out(&line),
        }
    })?;
    if args.json {
        print::json(&report)?;
    } else {
        tell(&report);
    }
    let failed = report.things.iter().any(|item| item.problem.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(item: &Item, dry_run: bool) -> String {
    let thing = &item.removal;
    let done = match (&item.problem, thing.what, dry_run) {
        (Some(_), ..) => styled(RED, "kept"),
        (None, Thing::Objects, true) => styled(CYAN, "would pack"),
        (None, Thing::Objects, false) => styled(CYAN, "packed"),
        (None, _, true) => styled(CYAN, "would remove"),
        (None, _, false) => styled(CYAN, "removed"),
    };
    let mut of: Vec<String> = Vec::new();
    of.extend(thing.worker.as_ref().map(|id| format!("worker {id}")));
    of.extend(thing.run.as_ref().map(|run| format!("run {run}")));
    of.extend(thing.repo.as_ref().map(ToString::to_string));
    if thing.run.is_none() || thing.what == Thing::Claim {
        of.push(text::one_line(&thing.path.display().to_string(), 400));
    }
    let why = text::one_line(item.problem.as_ref().unwrap_or(&thing.why), 300);
    let what = styled(BOLD, thing.what.as_str());
    let tail = styled(DIM, &format!("({why})"));
    format!("{done} {what} of {}, {} {tail}\n", of.join(", "), bytes(thing.bytes))
}

fn tell(report: &Report) {
    let things = |n: usize| if n == 1 { "1 thing".to_owned() } else { format!("{n} things") };
    let removed = report.things.iter().filter(|item| item.removed || report.dry_run).count();
    let sum = bytes(report.bytes);
    print::out(&match (removed, report.dry_run) {
        (0, _) => "nothing is old enough to be removed\n".to_owned(),
        (n, true) => format!("{} would be removed, {sum}\n", things(n)),
        (n, false) => format!("{} removed, {sum}\n", things(n)),
    });
    if report.records_kept > 0 {
        print::out(&format!(
            "{} of old runs stay: they say whether an issue may be taken again, or what a worker \
             did last\n",
            if report.records_kept == 1 {
                "1 record".into()
            } else {
                format!("{} records", report.records_kept)
            }
        ));
    }
    for left in &report.left {
        let who = left.worker.as_ref().map(|id| format!("worker {id} was left alone: "));
        print::out(&(who.unwrap_or_default() + &text::one_line(&left.why, 300) + "\n"));
    }
    for path in &report.unreadable {
        let path = text::one_line(&path.display().to_string(), 400);
        print::note(&format!("warning: {path} cannot be read and was left alone"));
    }
}
