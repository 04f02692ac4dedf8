//! `-q` and `-v`: offered by the commands where they mean something, and with the same meaning.

use super::print::{self, DIM, styled};
use crate::domain::text;
use crate::github::Usage;

/// For commands that do something and say so.
#[derive(Debug, clap::Args)]
pub(super) struct Quiet {
    /// Say nothing of what went well
    #[arg(short, long)]
    quiet: bool,
}

impl Quiet {
    /// Says what went well.
    pub fn out(&self, text: &str) {
        if !self.quiet {
            print::out(text);
        }
    }

    /// Something that a person may want to know, and that is nothing to worry about.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            print::note(text);
        }
    }
}

/// For commands that talk to GitHub.
#[derive(Debug, clap::Args)]
pub(super) struct Verbose {
    /// Tell on standard error what GitHub was asked, and how many requests are left
    #[arg(short, long)]
    pub verbose: bool,
}

impl Verbose {
    /// Tells it.
    pub fn requests(&self, usage: &Usage) {
        if !self.verbose {
            return;
        }
        for asked in &usage.items {
            let status = asked.status.map_or("no answer".to_owned(), |s| s.to_string());
            print::note(&format!("  {status} {}", text::one_line(&asked.what, 200)));
        }
        let left = match (usage.remaining, usage.limit) {
            (Some(remaining), Some(limit)) => {
                let until = usage.reset.map(|at| format!(" until {}", at.strftime("%H:%M UTC")));
                format!("; {remaining} of {limit} left{}", until.unwrap_or_default())
            }
            _ => String::new(),
        };
        let free = usage.not_modified;
        print::note(&styled(
            DIM,
            &format!("{} requests, {free} of them free (304){left}", usage.requests),
        ));
        if !usage.waited.is_zero() {
            let secs = usage.waited.as_secs();
            print::note(&styled(DIM, &format!("writes waited {secs} s for their turn")));
        }
    }
}
