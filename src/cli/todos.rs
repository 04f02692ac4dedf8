//! `todos`

use std::process::ExitCode;

use super::print::{self, BOLD, CYAN, DIM, GREEN, styled};
use crate::domain::{WorkerId, text};
use crate::executor::{Todo, TodoStatus};
use crate::ops::todos::{WorkerTodos, todos};
use crate::ops::{Context, Failure};

/// Show what agents have set themselves to do: ✓ done, → under way, ○ to be done
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers todos                 of every worker that has a run
  claude-workers todos 01              of its current run, or of its last one
  claude-workers todos 01 --json | jq '.workers[].todos[] | select(.status != \"completed\").what'")]
pub(super) struct Args {
    /// Only this worker
    #[arg(value_name = "ID")]
    id: Option<WorkerId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<ExitCode, Failure> {
    let seen = todos(ctx, args.id.as_ref())?;
    for broken in &seen.unread {
        print::note(&format!("warning: {broken}"));
    }
    if args.json {
        return print::json(&seen);
    }
    if seen.workers.is_empty() && seen.unread.is_empty() {
        print::out("no worker has a run\n");
    }
    print::out(&seen.workers.iter().map(shown).collect::<String>());
    Ok(ExitCode::SUCCESS)
}

fn shown(worker: &WorkerTodos) -> String {
    let title = text::one_line(worker.title.as_deref().unwrap_or_default(), 60);
    let heading = format!("{}  {}  {title}", worker.subject, worker.state);
    let mut out = format!("{}  {}\n", styled(BOLD, worker.worker.as_str()), heading.trim_end());
    match &worker.todos {
        None => {
            let executor = text::one_line(&worker.executor, 60);
            let what = format!("agents of the executor {executor} do not tell");
            out.push_str(&format!("  {}\n", styled(DIM, &what)));
        }
        Some(todos) if todos.is_empty() => {
            out.push_str(&format!("  {}\n", styled(DIM, "no list")));
        }
        Some(todos) => out.extend(todos.iter().map(line)),
    }
    out
}

fn line(todo: &Todo) -> String {
    let style = match todo.status {
        TodoStatus::Completed => GREEN,
        TodoStatus::InProgress => CYAN,
        TodoStatus::Pending => DIM,
    };
    format!("  {} {}\n", styled(style, todo.status.mark()), text::one_line(&todo.what, 200))
}
