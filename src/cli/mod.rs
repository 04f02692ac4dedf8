//! The command line: parse, call `ops`, print.
//!
//! Data goes to standard output, everything else to standard error. One file a command, with its
//! arguments and its function side by side.

mod assign;
mod complete;
mod completions;
mod demo;
mod dispatch;
mod doctor;
mod egress;
mod gc;
mod history;
mod init;
mod inner;
mod inspect;
mod live;
mod logs;
mod loud;
mod man;
mod print;
mod reconcile;
mod refresh;
mod reset;
mod restart;
mod rm;
mod show;
mod status;
mod stop;
mod todos;
mod update;
mod watch;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueHint};

use crate::config::{Env, Flags, env};
use crate::ops::{Context, Exit, Failure};

/// Works on your open GitHub issues while you sleep: pairs idle workers with open issues, runs a
/// coding agent for each in a sandbox, and opens the pull requests.
#[derive(Debug, Parser)]
#[command(name = "claude-workers", version, max_term_width = 100, after_help = after_help())]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

/// The options of every command.
#[derive(Debug, clap::Args)]
struct Everywhere {
    /// Where workers and their records live [default: ~/workers]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    root: Option<PathBuf>,
    /// Configuration file [default: ~/.config/claude-workers/config.toml]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Base of GitHub's REST API [default: <https://api.github.com>]
    #[arg(long, global = true, value_name = "URL")]
    api_url: Option<String>,
}

impl Everywhere {
    fn context(self) -> Result<Context, Failure> {
        let flags = Flags { root: self.root, config: self.config, api_url: self.api_url };
        Context::new(flags, Env::of_process())
    }

    /// The same for a command that a wrong configuration need not be in the way of.
    fn context_or_way_around(self) -> Result<Context, Failure> {
        let without_file = Self {
            config: Some("/dev/null".into()),
            root: self.root.clone(),
            api_url: self.api_url.clone(),
        };
        self.context().map_err(|failure| {
            if without_file.context().is_err() {
                return failure;
            }
            let around = "meanwhile, `--config /dev/null` leaves the file out, with `--root DIR` \
                          where that names one";
            let hint = failure.hint.iter().map(String::as_str).chain([around]);
            let hint = hint.collect::<Vec<_>>().join(" ");
            failure.hint(hint)
        })
    }
}

const EXAMPLES: &str = "\
Examples:
  claude-workers demo                        see it all happen, without an account
  claude-workers init 01 02                  make two workers
  claude-workers assign --dry-run            show what would be started
  claude-workers dispatch -r octo/app -i 22  work on one issue now
  claude-workers status                      who is doing what";

/// How the part of a help text begins that tells them.
const EXIT_CODES: &str = "Exit codes:";

fn after_help() -> String {
    let mut help = format!("{EXAMPLES}\n\n{EXIT_CODES}");
    for (code, meaning) in Exit::MEANINGS {
        help.push_str(&format!("\n  {code}  {}", man::plain(meaning)));
    }
    help
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Assign(assign::Args),
    Dispatch(dispatch::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Reset(reset::Args),
    Refresh(refresh::Args),
    Rm(rm::Args),
    Update(update::Args),
    Reconcile(reconcile::Args),
    Status(status::Args),
    Watch(watch::Args),
    Inspect(inspect::Args),
    Logs(logs::Args),
    Todos(todos::Args),
    History(history::Args),
    Show(show::Args),
    Egress(egress::Args),
    Gc(gc::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the program and says how it went.
pub fn main() -> ExitCode {
    let done = if std::env::args_os().nth(1).is_some_and(|word| inner::is_ours(&word)) {
        inner::run(inner::Cli::parse())
    } else {
        run(Cli::parse())
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            print::failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

impl Command {
    /// Whether it starts or changes work.
    fn changes_work(&self) -> bool {
        matches!(
            self,
            Self::Init(_)
                | Self::Assign(_)
                | Self::Dispatch(_)
                | Self::Stop(_)
                | Self::Restart(_)
                | Self::Reset(_)
                | Self::Reconcile(_)
                | Self::Gc(_)
                | Self::Refresh(_)
                | Self::Rm(_)
                | Self::Update(_)
        )
    }

    /// Whether it only looks at runs, or ends one: that must be possible whatever is configured.
    fn needs_no_configuration(&self) -> bool {
        matches!(
            self,
            Self::Stop(_)
                | Self::Status(_)
                | Self::Watch(_)
                | Self::Inspect(_)
                | Self::Logs(_)
                | Self::Todos(_)
                | Self::History(_)
                | Self::Show(_)
                | Self::Egress(_)
        )
    }
}

/// An agent does its task; it does not hand out more of them.
fn refuse_inside_a_worker() -> Result<(), Failure> {
    match Env::of_process().get(env::WORKER) {
        None => Ok(()),
        Some(worker) => {
            let what = format!("this is worker {worker}: a worker may not start or change work");
            Err(Failure::new(Exit::Refused, what)
                .hint("say in comment.md of the outbox what should be done"))
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if cli.command.changes_work() {
        refuse_inside_a_worker()?;
    }
    let around = cli.command.needs_no_configuration();
    let context = || {
        let everywhere = cli.everywhere;
        if around { everywhere.context_or_way_around() } else { everywhere.context() }
    };
    match cli.command {
        Command::Init(args) => init::run(&context()?, &args),
        Command::Assign(args) => assign::run(&context()?, &args),
        Command::Dispatch(args) => dispatch::run(&context()?, &args),
        Command::Stop(args) => stop::run(&context()?, &args),
        Command::Restart(args) => restart::run(&context()?, &args),
        Command::Reset(args) => reset::run(&context()?, &args),
        Command::Refresh(args) => refresh::run(&context()?, &args),
        Command::Rm(args) => rm::run(&context()?, &args),
        Command::Update(args) => update::run(&context()?, &args),
        Command::Reconcile(args) => reconcile::run(&context()?, &args),
        Command::Status(args) => status::run(&context()?, &args),
        Command::Watch(args) => watch::run(&context()?, &args),
        Command::Inspect(args) => inspect::run(&context()?, &args),
        Command::Logs(args) => logs::run(&context()?, &args),
        Command::Todos(args) => todos::run(&context()?, &args),
        Command::History(args) => history::run(&context()?, &args),
        Command::Show(args) => show::run(&context()?, &args),
        Command::Egress(args) => egress::run(&context()?, &args),
        Command::Gc(args) => gc::run(&context()?, &args),
        Command::Doctor(args) => doctor::run(&context()?, &args),
        // It makes a configuration of its own; a broken one must not be in its way.
        Command::Demo(args) => demo::run(&args),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

/// Runs asynchronous work on this thread. Made only by the commands that talk to GitHub.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot start the runtime: {e}")))?;
    let done = runtime.block_on(work);
    // A name that is still being looked up, for work that was given up, is not waited for.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_the_readme_names_every_command() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        let readme = include_str!("../../README.md");
        for command in cli.get_subcommands().filter(|c| c.get_name() != "help") {
            let row = readme.lines().find(|l| l.starts_with(&format!("| `{}", command.get_name())));
            let row = row.unwrap_or_else(|| panic!("{} is not in the README", command.get_name()));
            let own = command.get_arguments().filter(|a| !a.is_global_set());
            for flag in own.filter_map(clap::Arg::get_long).filter(|l| *l != "help") {
                let arg = command.get_arguments().find(|a| a.get_long() == Some(flag));
                let short = arg.and_then(clap::Arg::get_short).map(|s| format!("-{s}"));
                let named = row.contains(&format!("--{flag}"))
                    || short.is_some_and(|short| row.contains(&short));
                assert!(named, "--{flag} of {} is not in the README", command.get_name());
            }
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
        }
    }

    #[test]
    fn exit_codes_are_told_in_the_same_words_everywhere() {
        let readme = include_str!("../../README.md");
        for (code, meaning) in Exit::MEANINGS {
            assert!(readme.contains(&format!("| {code} | {meaning} |\n")), "{code} in the README");
        }
        for outcome in crate::domain::Outcome::ALL {
            let (code, name) = (watch::code(outcome), outcome.as_str());
            let told = [format!("{code} `{name}`"), format!("{code} for `{name}`")];
            assert!(told.iter().any(|t| readme.contains(t)), "{name} in the README");
        }
    }

    #[test]
    fn every_shape_of_json_is_documented() {
        let documented = include_str!("../../docs/json.md");
        for command in Cli::command().get_subcommands() {
            let prints_json = command.get_arguments().any(|a| a.get_long() == Some("json"));
            let heading = format!("\n## `{}`\n", command.get_name());
            let has_section = documented.contains(&heading);
            assert_eq!(prints_json, has_section, "{} in docs/json.md", command.get_name());
        }
    }
}
