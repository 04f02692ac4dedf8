//! `man`

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_mangen::roff::{Roff, bold, italic, roman};

use super::print;
use crate::config::env;
use crate::ops::{Exit, Failure};

/// Print the manual page, or write one for every command into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers man | man -l -
  claude-workers man --dir ~/.local/share/man/man1      then: man claude-workers-assign")]
pub(super) struct Args {
    /// Write claude-workers.1 and claude-workers-COMMAND.1 there
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, mut cli: clap::Command) -> Result<ExitCode, Failure> {
    cli = cli.subcommand_value_name("command");
    cli.build();
    let fail = |what: &str, e: io::Error| Failure::new(Exit::Failed, format!("{what}: {e}"));
    let whole = page(&cli, &cli).map_err(|e| fail("cannot make the page", e))?;
    let Some(dir) = &args.dir else {
        print::out(&whole);
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(dir).map_err(|e| fail(&dir.display().to_string(), e))?;
    let mut pages = vec![("claude-workers.1".to_owned(), whole)];
    for command in cli.get_subcommands() {
        let text = page(command, &cli).map_err(|e| fail("cannot make the page", e))?;
        pages.push((format!("claude-workers-{}.1", command.get_name()), text));
    }
    for (name, text) in pages {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|e| fail(&path.display().to_string(), e))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of `command`, which is `cli` itself or one of its commands.
fn page(command: &clap::Command, cli: &clap::Command) -> io::Result<String> {
    let is_whole = command.get_name() == cli.get_name();
    let source = format!("claude-workers {}", cli.get_version().unwrap_or_default());
    let man = clap_mangen::Man::new(command.clone()).source(source).manual("claude-workers");
    let help = Help::of(command);
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    let mut notes = Roff::new();
    for paragraph in &help.paragraphs {
        notes.control("PP", []).text([roman(paragraph.join(" "))]);
    }
    notes.to_writer(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    let mut rest = Roff::new();
    if is_whole {
        rest.control("SH", ["COMMANDS"]);
        for sub in cli.get_subcommands() {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            rest.control("TP", []);
            rest.text([bold(format!("claude-workers-{}", sub.get_name())), roman("(1)")]);
            rest.text([roman(about)]);
        }
    }
    rest.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in &help.examples {
        rest.text([roman(line.as_str())]);
    }
    rest.control("fi", []).control("SH", ["EXIT STATUS"]);
    for (code, meaning) in Exit::MEANINGS {
        rest.control("TP", []).text([bold(code.to_string())]).text([roman(plain(meaning))]);
    }
    for paragraph in &help.exits {
        rest.control("PP", []).text([roman(paragraph.join(" "))]);
    }
    rest.control("SH", ["ENVIRONMENT"]);
    for (names, meaning) in ENVIRONMENT {
        rest.control("TP", []).text([bold(names.join(", "))]).text([roman(*meaning)]);
    }
    rest.control("SH", ["FILES"]);
    for (path, what) in FILES {
        rest.control("TP", []).text([italic(*path)]).text([roman(*what)]);
    }
    rest.control("SH", ["SEE ALSO"]);
    let others = if is_whole { "claude-workers-doctor" } else { "claude-workers" };
    rest.text([
        bold(others),
        roman("(1), "),
        bold("bwrap"),
        roman("(1), "),
        bold("crontab"),
        roman("(5)"),
    ]);
    rest.to_writer(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Backticks are for the README.
pub(super) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// What `--help` says below the options, in the places that a manual page has for it.
#[derive(Debug, Default)]
struct Help {
    /// Lines as they are.
    examples: Vec<String>,
    /// What codes the command has beside those of all.
    exits: Vec<Vec<String>>,
    /// The rest.
    paragraphs: Vec<Vec<String>>,
}

impl Help {
    fn of(command: &clap::Command) -> Self {
        let mut help = Self::default();
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for block in text.split("\n\n") {
            let lines: Vec<String> = block.lines().map(str::to_owned).collect();
            let first = lines.first().map_or("", String::as_str);
            let is_list = lines.len() > 1 && lines[1..].iter().all(|line| line.starts_with("  "));
            if first == "Examples:" {
                help.examples.extend_from_slice(&lines[1..]);
            } else if first == super::EXIT_CODES {
                // Every page has them.
            } else if first.starts_with(super::EXIT_CODES) {
                help.exits.push(lines);
            } else if first.ends_with(':') && is_list {
                help.examples.push(String::new());
                help.examples.extend(lines);
            } else {
                help.paragraphs.push(lines);
            }
        }
        help
    }
}

const ENVIRONMENT: &[(&[&str], &str)] = &[
    (&[env::ROOT], "Where workers and their records live, as --root."),
    (&[env::CONFIG], "The configuration file, as --config."),
    (&[env::API_URL], "Base of GitHub's REST API, as --api-url."),
    (&[env::SERVER_URL], "Base of the URLs that repositories are cloned from."),
    (
        &[env::GH_TOKEN, env::GITHUB_TOKEN],
        "GitHub's token; the first of them goes before the second, and both before the token file.",
    ),
    (&[env::GH_CONFIG_DIR], "Where gh keeps its configuration, which init copies."),
    (
        &[env::CLAUDE_CODE_OAUTH_TOKEN, env::ANTHROPIC_API_KEY],
        "The model's key for Claude Code; init copies it into homes.",
    ),
    (
        &["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"],
        "Passed on to git, and to agents whose network is the host's. Requests to GitHub's API use no proxy.",
    ),
    (&["SSL_CERT_FILE", "SSL_CERT_DIR"], "Certificates, for everything that talks to the network."),
    (
        &["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR"],
        "Colours, in this order: none if the first is set; always, also into a pipe, if the second \
         is; none if the third is 0. Without them: on a terminal, unless TERM is dumb.",
    ),
    (
        &[env::WORKER, env::OUTBOX],
        "Set for agents: the worker's id, and the directory for what the agent wants said. Where the first is set, commands that start or change work are refused.",
    ),
];

const FILES: &[(&str, &str)] = &[
    ("~/.config/claude-workers/config.toml", "The configuration. The README shows every key."),
    (
        "~/.config/claude-workers/templates/worker/",
        "Templates of homes that go before the built-in ones, file by file.",
    ),
    ("~/workers/NN/", "The home of worker NN."),
    (
        "~/workers/.pool/NN/",
        "Its record: task.json while it has a run, the log of the agent, and completed/ with all finished runs.",
    ),
    ("~/workers/.pool/mirrors/", "Bare repositories that the clones borrow from."),
];
