//! What every use case is given.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Exit, Failure};
use crate::config::{Env, Flags, Settings};
use crate::domain::{JailMode, RepoSlug};
use crate::executor::Executor;
use crate::git;
use crate::github::{self, GitHub};
use crate::process::command;
use crate::store::{Root, Tools};

/// Settings, environment and places, resolved once.
#[derive(Debug, Clone)]
pub struct Context {
    /// The settings.
    pub settings: Settings,
    /// The flags that they came from, to be handed on to child processes.
    pub flags: Flags,
    /// Where state is.
    pub root: Root,
    env: Env,
}

impl Context {
    /// Resolves everything.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn new(flags: Flags, env: Env) -> Result<Self, Failure> {
        let settings = Settings::load(&flags, &env)?;
        Ok(Self { root: Root::new(settings.root.clone()), settings, flags, env })
    }

    /// The environment.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// A connection to GitHub. Nothing is sent yet.
    ///
    /// # Errors
    /// When the token file cannot be used or the API URL is wrong.
    pub fn github(&self) -> Result<GitHub, Failure> {
        Ok(GitHub::new(github::Settings {
            api_url: self.settings.api_url.clone(),
            token: self.settings.token(&self.env)?,
            state_dir: self.root.github(),
        })?)
    }

    /// Git on the host.
    ///
    /// # Errors
    /// When there is no git, or the token file cannot be used.
    pub fn git(&self) -> Result<git::Host, Failure> {
        Ok(git::Host::new(git::HostEnv {
            git: self.tool("git")?,
            own_program: own_program()?,
            token: self.settings.token(&self.env)?,
            vars: git::HostEnv::vars_of(&self.env, &self.settings.user_home),
        }))
    }

    /// The absolute path of a program.
    ///
    /// # Errors
    /// When it is nowhere to be found.
    pub fn tool(&self, name: &str) -> Result<PathBuf, Failure> {
        self.find_tool(name).ok_or_else(|| {
            let exit = if name == BWRAP { Exit::Sandbox } else { Exit::Failed };
            Failure::new(exit, format!("{name} was not found")).hint(format!(
                "{}; `claude-workers doctor` shows what is missing",
                how_to_get(name)
            ))
        })
    }

    /// The absolute path of a program, if it can be found.
    #[must_use]
    pub fn find_tool(&self, name: &str) -> Option<PathBuf> {
        Tools::load(&self.root).find(name, self.env.get("PATH"), &self.settings.user_home)
    }

    /// An executor by name, and the absolute path of its program.
    ///
    /// # Errors
    /// When there is no such executor, or its program is nowhere to be found.
    pub fn executor(&self, name: &str) -> Result<(Executor, PathBuf), Failure> {
        let executor = Executor::named(name, &self.settings.executors)?;
        let program = executor.program();
        let found = if program.is_absolute() {
            Some(program.clone()).filter(|p| p.is_file())
        } else {
            program.to_str().and_then(|name| self.find_tool(name))
        };
        match found {
            Some(path) => Ok((executor, path)),
            None => Err(Failure::new(
                Exit::Failed,
                format!("the program of executor {name} was not found: {}", program.display()),
            )
            .hint(how_to_get(name))),
        }
    }

    /// Bubblewrap's path, if the configuration wants a jail.
    ///
    /// # Errors
    /// When it wants one and bubblewrap is nowhere to be found.
    pub fn jail_program(&self) -> Result<Option<PathBuf>, Failure> {
        match self.settings.sandbox {
            JailMode::None => Ok(None),
            JailMode::Bwrap => self.tool(BWRAP).map(Some),
        }
    }

    /// This program again, with the same flags and environment.
    ///
    /// # Errors
    /// When our own path cannot be found out.
    pub fn own_command(&self, words: &[&str]) -> Result<std::process::Command, Failure> {
        Ok(self.program_command(&own_program()?, words))
    }

    /// The same with this program in another version.
    #[must_use]
    pub fn program_command(&self, program: &Path, words: &[&str]) -> std::process::Command {
        let mut own = command(program);
        // The words first: by them the program knows that it is called by itself.
        own.envs(self.env.all()).args(words);
        // Resolved: it is started somewhere else, and a root is relative to where one is.
        own.arg("--root").arg(self.root.path());
        if let Some(config) = &self.flags.config {
            own.arg("--config");
            own.arg(std::path::absolute(config).unwrap_or_else(|_| config.clone()));
        }
        if let Some(url) = &self.flags.api_url {
            own.arg("--api-url").arg(url);
        }
        own.current_dir("/");
        own
    }

    /// The mirror of a repository.
    #[must_use]
    pub fn mirror_path(&self, repo: &RepoSlug) -> PathBuf {
        self.root.mirror(&self.settings.server_url, repo)
    }
}

/// Bubblewrap's name as a program.
pub(super) const BWRAP: &str = "bwrap";

/// Our own program.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn own_program() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe().map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot find out where this program is: {e}"))
    })?;
    // So Linux calls a program whose file was replaced while it runs.
    let replaced =
        path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    let Some(new) = replaced.filter(|new| !path.exists() && new.exists()) else { return Ok(path) };
    // A run goes on with the version that it was started by, if `update` has kept that. Else the
    // new one must do, which is where the old one was.
    let kept = previous_program(&new);
    let file = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let same = file(&kept).is_some_and(|kept| Some(kept) == file(Path::new("/proc/self/exe")));
    Ok(if same { kept } else { new })
}

/// Where `update` keeps the program that it has replaced.
pub(super) fn previous_program(program: &Path) -> PathBuf {
    program.with_file_name(".claude-workers.previous")
}

fn how_to_get(name: &str) -> String {
    match name {
        "git" => "install it: `apt-get install git`".into(),
        "cargo" => "install Rust: https://rustup.rs".into(),
        BWRAP => "install it: `apt-get install bubblewrap`".into(),
        "claude" => "install Claude Code: `npm install -g @anthropic-ai/claude-code`, or set \
             `[executors.claude] path`"
            .into(),
        _ => format!("install {}, or write its absolute path", Path::new(name).display()),
    }
}
