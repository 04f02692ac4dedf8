//! What a shell is offered when a person presses Tab: clap knows commands, flags and their values,
//! the disk knows the rest. GitHub is not asked, and nothing that is wrong is said: there is no
//! place for an error on a half-written line.

mod known;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::config::{Env, Flags};
use crate::domain::text;
use crate::ops::Context;
use known::Known;

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Style {
    /// Values as bash wants them typed.
    Bash,
    /// For a list that is only shown.
    BashList,
    /// `value:help`, colons in the value escaped.
    Zsh,
    /// `value`, tab, `help`.
    Fish,
}

/// The possible ways to go on at `words[index]`, a line each; nothing where there are none.
pub(super) fn answer(
    command: clap::Command,
    style: Style,
    words: Vec<OsString>,
    index: usize,
) -> String {
    let (words, index) = if matches!(style, Style::Bash | Style::BashList) {
        without_breaks(words, index)
    } else {
        (words, index)
    };
    // A shell may leave out the word that has no letter yet.
    let mut words = words;
    if words.len() == index {
        words.push(OsString::new());
    }
    let mut command = with_what_is_known(command, &words, index);
    let asks_for_flags = words.get(index).is_some_and(|w| w.to_string_lossy().starts_with('-'));
    let here = std::env::current_dir().ok();
    let candidates = clap_complete::engine::complete(&mut command, words, index, here.as_deref());
    let mut offered: Vec<(String, String)> = candidates
        .unwrap_or_default()
        .iter()
        .filter(|c| !c.is_hide_set())
        .filter_map(|c| Some((c.get_value().to_str()?.to_owned(), help_of(c))))
        .filter(|(value, _)| !value.contains(char::is_control))
        .collect();
    // Who has not typed a dash wants a flag only where there is nothing else.
    let is_flag = |(value, _): &(String, String)| value.starts_with('-');
    if !asks_for_flags && !offered.iter().all(is_flag) {
        offered.retain(|one| !is_flag(one));
    }
    written(style, &offered)
}

fn help_of(candidate: &CompletionCandidate) -> String {
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    text::one_line(help.lines().next().unwrap_or_default(), 80)
}

fn written(style: Style, offered: &[(String, String)]) -> String {
    let width = offered.iter().map(|(value, _)| value.chars().count()).max().unwrap_or(0);
    let line = |(value, help): &(String, String)| match (style, help.as_str()) {
        (Style::BashList, help) if !help.is_empty() && offered.len() > 1 => {
            format!("{value:width$}  ({help})\n")
        }
        (Style::Bash | Style::BashList, _) => format!("{}\n", escaped(value)),
        (Style::Zsh, help) => {
            format!("{}:{help}\n", value.replace('\\', "\\\\").replace(':', "\\:"))
        }
        (Style::Fish, help) => format!("{value}\t{help}\n"),
    };
    offered.iter().map(line).collect()
}

/// A word that bash reads as this value; `~` in front stays what it is to bash.
fn escaped(value: &str) -> String {
    let mut word = String::new();
    for (at, c) in value.chars().enumerate() {
        let plain = c.is_alphanumeric() || "-_./=:@%+,#".contains(c) || (c == '~' && at == 0);
        if !plain {
            word.push('\\');
        }
        word.push(c);
    }
    word
}

/// To bash `--root=/x` is three words, and the `=` one of them.
fn without_breaks(words: Vec<OsString>, index: usize) -> (Vec<OsString>, usize) {
    let is_break = |at: usize, word: &OsStr| {
        word == "=" && at > 0 && at != index && words[at - 1].to_string_lossy().starts_with("--")
    };
    let breaks: Vec<bool> = words.iter().enumerate().map(|(at, w)| is_break(at, w)).collect();
    let before = breaks.iter().take(index).filter(|is_break| **is_break).count();
    let kept = words.into_iter().zip(breaks).filter(|(_, is_break)| !is_break);
    (kept.map(|(word, _)| word).collect(), index - before)
}

/// The same command line, whose arguments know their values by their type: a new command with a
/// worker's id, a run's, or a repository completes it without a word about it.
fn with_what_is_known(command: clap::Command, words: &[OsString], index: usize) -> clap::Command {
    let Ok(ctx) = Context::new(flags(words, index), Env::of_process()) else { return command };
    let others = words.iter().enumerate().filter(|(at, _)| *at != index);
    let others = others.filter_map(|(_, word)| word.to_str().map(str::to_owned)).collect();
    let known = Arc::new(Known::new(ctx, others));
    command.mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        sub.mut_args(|arg| {
            let Some(of) = known::kind(&arg) else { return arg };
            let (known, name) = (Arc::clone(&known), name.clone());
            let several = arg.get_num_args().is_some_and(|n| n.max_values() > 1)
                || matches!(arg.get_action(), clap::ArgAction::Append);
            arg.add(ArgValueCompleter::new(move |current: &OsStr| {
                known.candidates(of, &name, several, &current.to_string_lossy())
            }))
        })
    })
}

/// `--root` and `--config` as they stand on the line, as the shell will hand them on.
fn flags(words: &[OsString], index: usize) -> Flags {
    let value_of = |flag: &str| {
        let with_value = format!("{flag}=");
        words.iter().enumerate().filter(|(at, _)| *at != index).find_map(|(at, word)| {
            let word = word.to_str()?;
            let value = match word.strip_prefix(&with_value) {
                Some(value) => value,
                None if word == flag && at + 1 != index => words.get(at + 1)?.to_str()?,
                None => return None,
            };
            Some(path(value))
        })
    };
    Flags { root: value_of("--root"), config: value_of("--config"), api_url: None }
}

/// A word of the line without its quotes, and with `~` as what it stands for.
fn path(word: &str) -> PathBuf {
    let mut plain = String::new();
    let mut letters = word.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => plain.extend(letters.next()),
            '\'' | '"' => {}
            c => plain.push(c),
        }
    }
    match (plain.strip_prefix("~/"), Env::of_process().path("HOME")) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => plain.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RepoSlug, RunId, WorkerId};

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_flags_of_a_half_written_line_are_read_as_the_shell_would() {
        let root = |line: &[&str], index| flags(&words(line), index).root;
        assert_eq!(root(&["x", "--root", "'/a b'", "stop", ""], 4), Some("/a b".into()));
        assert_eq!(root(&["x", "stop", "", "--root=/a\\ b"], 2), Some("/a b".into()));
        assert_eq!(root(&["x", "--root", "/a"], 2), None, "it is just being written");
        assert_eq!(root(&["x", "--root"], 5), None);
    }

    #[test]
    fn an_equals_sign_is_no_word() {
        let (kept, index) = without_breaks(words(&["x", "--root", "=", "/a", "stop", ""]), 5);
        assert_eq!((kept, index), (words(&["x", "--root", "/a", "stop", ""]), 4));
        let (kept, index) = without_breaks(words(&["x", "-p", "=", ""]), 3);
        assert_eq!((kept, index), (words(&["x", "-p", "=", ""]), 3));
    }

    #[test]
    fn bash_gets_words_that_it_reads_back() {
        assert_eq!(escaped("~/a b/$(x)'"), "~/a\\ b/\\$\\(x\\)\\'");
        assert_eq!(escaped("you/app"), "you/app");
    }

    #[test]
    fn a_new_command_completes_by_the_types_of_its_arguments() {
        use clap::{Arg, Command, value_parser};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("config.toml"), "repos = ['you/app']").unwrap();
        std::fs::create_dir_all(at("01")).unwrap();
        std::fs::create_dir_all(at(".pool/01/completed")).unwrap();
        std::fs::create_dir_all(at(".pool/mirrors/github.com/you/lib.git")).unwrap();
        for run in ["20261121T071500-0001", "20261121T081500-0002"] {
            std::fs::write(at(&format!(".pool/01/completed/you-app-7-{run}.json")), "").unwrap();
        }
        let offered = |arg: Arg| {
            let new = Command::new("new").arg(arg.action(clap::ArgAction::Append));
            let line = ["x", "--root", &at(""), "--config", &at("config.toml"), "new", ""];
            let cli = Command::new("x")
                .subcommand(new)
                .args([Arg::new("root").long("root"), Arg::new("config").long("config")]);
            answer(cli, Style::Fish, words(&line), 6)
        };
        let arg = || Arg::new("any");
        assert_eq!(offered(arg().value_parser(value_parser!(WorkerId))), "01\tidle\n");
        assert_eq!(
            offered(arg().value_parser(value_parser!(RunId))),
            "20261121T081500-0002\t01 you-app-7\n20261121T071500-0001\t01 you-app-7\n"
        );
        assert_eq!(
            offered(arg().value_parser(value_parser!(RepoSlug))),
            "you/app\tconfigured\nyou/lib\tseen\n"
        );
        assert_eq!(offered(arg()), "--help\tPrint help\n");
    }
}
