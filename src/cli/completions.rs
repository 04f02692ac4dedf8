//! `completions`

use std::process::ExitCode;

use super::print;

/// Print a script that makes a shell complete commands, flags, worker ids and more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude-workers completions bash > ~/.local/share/bash-completion/completions/claude-workers
  claude-workers completions zsh > ~/.zfunc/_claude-workers     with ~/.zfunc in fpath
  claude-workers completions fish > ~/.config/fish/completions/claude-workers.fish
  cw completions bash --name cw > ~/.local/share/bash-completion/completions/cw

On each Tab the script asks the program, and that the disk only.")]
pub(super) struct Args {
    /// Of which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
    /// What the program is called in that shell: `cw` for the wrapper of that name, here or over ssh
    #[arg(long, value_name = "NAME", default_value = "claude-workers", value_parser = name)]
    name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// It goes into the script as it is.
fn name(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fine) {
        return Ok(text.to_owned());
    }
    Err("only letters, digits, `-` and `_` are allowed, and no dash in front".into())
}

pub(super) fn run(args: &Args) -> ExitCode {
    let script = match args.shell {
        Shell::Bash => include_str!("complete/bash"),
        Shell::Zsh => include_str!("complete/zsh"),
        Shell::Fish => include_str!("complete/fish"),
    };
    let function = format!("{}_complete", args.name.replace('-', "_"));
    print::out(&script.replace("FUNCTION", &function).replace("NAME", &args.name));
    ExitCode::SUCCESS
}
