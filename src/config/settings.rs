//! Everything resolved: what the rest of the program is given.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::file::{
    self, ExecutorSection, File, Keep, NetworkSection, RetentionSection, RetrySection, Span,
};
use super::{ApprovedIn, Env, Error, Trust, env};
use crate::domain::{CredentialMode, JailMode, Limits, NetworkMode, RepoPattern, Rlimits};
use crate::plan::egress::{Registry, Rule};
use crate::plan::gc::{LEAST_KEPT, Retention};
use crate::plan::reconcile::{LONGEST_PAUSE, Retry};
use crate::store::read_text;

/// What the command line may override.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--root`
    pub root: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--api-url`
    pub api_url: Option<String>,
}

/// What agents reach of the network.
#[derive(Debug, Clone)]
pub struct Network {
    /// In which way.
    pub mode: NetworkMode,
    /// Hosts of the open network, for every agent.
    pub allow: Vec<Rule>,
    /// Services on this machine or near it, for every agent; one host each.
    pub allow_local: Vec<Rule>,
    /// Package registries.
    pub registries: Vec<Registry>,
}

/// The resolved settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where workers and records live; absolute.
    pub root: PathBuf,
    /// The user's home directory.
    pub user_home: PathBuf,
    /// The directory of the configuration, with `templates/` in it.
    pub config_dir: PathBuf,
    /// The configuration file that was read, if there is one.
    pub config_file: Option<PathBuf>,
    /// What it held.
    pub config_text: String,
    /// The repositories to take issues from; `None`: those owned by the token's user.
    pub repos: Option<Vec<RepoPattern>>,
    /// The model, unless the task names one; `None`: the executor's own choice.
    pub model: Option<String>,
    /// The executor, unless the task names one.
    pub executor: String,
    /// Base of GitHub's REST API, without a slash at its end.
    pub api_url: String,
    /// Base of clone URLs, without a slash at its end.
    pub server_url: String,
    /// Where the token is if the environment has none.
    pub token_file: Option<PathBuf>,
    /// Only issues with this label are taken.
    pub only_label: Option<String>,
    /// Who may start work.
    pub trust: Trust,
    /// The label by which somebody with write permission lets a stranger's issue in.
    pub approval_label: String,
    /// Logins of apps (`name[bot]`) that count as people do: by their permission.
    pub bots: Vec<String>,
    /// Which homes may work on an issue that needed that label.
    pub approved_in: ApprovedIn,
    /// How many runs of one repository may be under way at once.
    pub max_per_repo: u32,
    /// How many idle workers `assign` leaves alone.
    pub reserve: usize,
    /// Limits of a run.
    pub limits: Limits,
    /// How many issues a run may file: 1 to 100.
    pub max_issues: usize,
    /// How many bytes must be free, where state is and where homes are, for a run to be started.
    pub free_space: u64,
    /// Whether homes are made with GitHub credentials in them.
    pub credential_mode: CredentialMode,
    /// What is copied into homes, as written; `None`: everything.
    pub credentials: Option<Vec<String>>,
    /// The wall around agents.
    pub sandbox: JailMode,
    /// What agents reach of the network.
    pub network: Network,
    /// More paths that agents may read.
    pub read_only: Vec<PathBuf>,
    /// More paths that agents may write.
    pub read_write: Vec<PathBuf>,
    /// What an agent's processes may take.
    pub rlimits: Rlimits,
    /// How old a mirror may be before it is fetched again.
    pub fetch_max_age: Duration,
    /// How long things are kept.
    pub retention: Retention,
    /// Whether issues are claimed on the remote, against other hosts.
    pub claims: bool,
    /// How many paths a run may change and be published.
    pub max_files: u64,
    /// How many bytes its commits may bring along.
    pub max_bytes: u64,
    /// Repositories whose protected paths may be changed.
    pub allow_protected: Vec<RepoPattern>,
    /// More variables whose values are written down nowhere.
    pub redact_env: Vec<String>,
    /// A file with more such values, one on each line.
    pub redact_file: Option<PathBuf>,
    /// How runs are tried again.
    pub retry: Retry,
    /// `[executors.NAME]`.
    pub executors: BTreeMap<String, ExecutorSection>,
}

impl Settings {
    /// Resolves flags, environment and file.
    ///
    /// # Errors
    /// When the file cannot be read or holds something wrong, or there is no home directory.
    pub fn load(flags: &Flags, env: &Env) -> Result<Self, Error> {
        let user_home = env
            .path("HOME")
            .or_else(|| directories::BaseDirs::new().map(|d| d.home_dir().to_owned()))
            .filter(|home| home.is_absolute())
            .ok_or(Error::NoHome)?;
        // `directories` reads the process's environment; the same rule, on the snapshot.
        let config_dir = env
            .path("XDG_CONFIG_HOME")
            .filter(|dir| dir.is_absolute())
            .unwrap_or_else(|| user_home.join(".config"))
            .join("claude-workers");
        let named = flags.config.clone().or_else(|| env.path(env::CONFIG));
        let path = named.clone().unwrap_or_else(|| config_dir.join("config.toml"));
        let file = file::read(&path, named.is_some())?;
        let config_file = file.is_some().then_some(path);
        let (file, config_text) = file.unwrap_or_default();
        let settings = Self::resolve(file, flags, env, user_home, config_dir)?;
        Ok(Self { config_file, config_text, ..settings })
    }

    fn resolve(
        file: File,
        flags: &Flags,
        env: &Env,
        user_home: PathBuf,
        config_dir: PathBuf,
    ) -> Result<Self, Error> {
        let tilde = |path: PathBuf| match path.strip_prefix("~") {
            Ok(rest) => user_home.join(rest),
            Err(_) => path,
        };
        let root = flags
            .root
            .clone()
            .or_else(|| env.path(env::ROOT))
            .or_else(|| file.root.map(tilde))
            .unwrap_or_else(|| user_home.join("workers"));
        let root = std::path::absolute(&root).map_err(|e| Error::Value {
            place: format!("root {}", root.display()),
            message: e.to_string(),
        })?;
        if root.to_string_lossy().contains(char::is_control) {
            return Err(Error::Value {
                place: format!("root {:?}", root.to_string_lossy()),
                message: "it must not hold control characters".into(),
            });
        }
        let setting = |flag: Option<&String>, var: &str, file: Option<String>, default: &str| {
            flag.cloned()
                .or_else(|| env.get(var).map(str::to_owned))
                .or(file)
                .unwrap_or_else(|| default.to_owned())
        };
        let api_url =
            setting(flags.api_url.as_ref(), env::API_URL, file.github.api_url, API_URL_DEFAULT);
        let server_url = setting(None, env::SERVER_URL, file.github.server_url, SERVER_URL_DEFAULT);
        let defaults = Limits::default();
        let secs = |span: Option<Span>, default| span.map_or(default, |s| s.0.as_secs());
        let limits = Limits {
            wall_clock_secs: secs(file.limits.wall_clock, defaults.wall_clock_secs),
            silence_secs: secs(file.limits.silence, defaults.silence_secs),
            grace_secs: secs(file.limits.grace, defaults.grace_secs),
        };
        if limits.wall_clock_secs == 0 || limits.silence_secs == 0 {
            return Err(Error::Value {
                place: "[limits]".into(),
                message: "`wall_clock` and `silence` must be at least 1s".into(),
            });
        }
        let max_issues = file.limits.issues.unwrap_or(20);
        if !(1..=100).contains(&max_issues) {
            return Err(Error::Value {
                place: "[limits]".into(),
                message: format!("`issues` must be from 1 to 100, not {max_issues}"),
            });
        }
        if (file.credentials.mode, file.sandbox.mode) == (CredentialMode::Broker, JailMode::None) {
            return Err(Error::Value {
                place: "[credentials] mode".into(),
                message:
                    "\"broker\" keeps the token from agents, and with [sandbox] mode = \"none\" \
                          they can read it"
                        .into(),
            });
        }
        let token_file = file.github.token_file.map(&tilde);
        let read_only: Vec<_> = file.sandbox.read_only.into_iter().map(&tilde).collect();
        let read_write: Vec<_> = file.sandbox.read_write.into_iter().map(&tilde).collect();
        let walls = [Some(&root), Some(&user_home), Some(&config_dir), token_file.as_ref()];
        for (key, paths, write) in
            [("read_only", &read_only, false), ("read_write", &read_write, true)]
        {
            for path in paths {
                check_extra(key, path, write, &root, &walls)?;
            }
        }
        let defaults = Rlimits::default();
        let rlimits = Rlimits {
            memory: file.sandbox.memory.map(|size| size.0),
            processes: file.sandbox.processes.unwrap_or(defaults.processes),
            file_size: file.sandbox.file_size.map_or(defaults.file_size, |size| size.0),
            tmp_size: file.sandbox.tmp_size.map_or(defaults.tmp_size, |size| size.0),
        };
        if rlimits.processes < 16 || rlimits.file_size.min(rlimits.tmp_size) < 1 << 20 {
            return Err(Error::Value {
                place: "[sandbox]".into(),
                message:
                    "`processes` must be at least 16, `file_size` and `tmp_size` 1MiB: no agent \
                     runs with less"
                        .into(),
            });
        }
        for (name, section) in &file.executors {
            check_executor(name, section)?;
        }
        Ok(Self {
            root,
            config_dir,
            config_file: None,
            config_text: String::new(),
            repos: file.repos,
            model: file.model,
            executor: file.executor.unwrap_or_else(|| CLAUDE.into()),
            api_url: base_url("the API URL", &api_url)?,
            server_url: base_url("the server URL", &server_url)?,
            token_file,
            only_label: file.assign.label,
            trust: file.assign.trust,
            approval_label: file.assign.approval_label,
            bots: file.assign.bots,
            approved_in: file.assign.approved_in,
            max_per_repo: file.assign.max_per_repo,
            reserve: file.assign.reserve,
            limits,
            max_issues,
            free_space: file.limits.free_space.map_or(FREE_SPACE, |size| size.0),
            credential_mode: file.credentials.mode,
            credentials: file.credentials.copy,
            sandbox: file.sandbox.mode,
            network: network(file.network, file.sandbox.mode)?,
            read_only,
            read_write,
            rlimits,
            claims: file.git.claims,
            retry: retry(&file.retry)?,
            fetch_max_age: file.git.fetch_max_age.map_or(Duration::from_secs(30), |s| s.0),
            retention: retention(&file.retention)?,
            redact_env: file.redact.env,
            redact_file: file.redact.file.map(tilde),
            max_files: file.publish.max_files,
            max_bytes: file.publish.max_bytes.0,
            allow_protected: file.publish.allow_protected,
            executors: file
                .executors
                .into_iter()
                .map(|(name, mut section)| {
                    section.path = section.path.map(tilde);
                    (name, section)
                })
                .collect(),
            user_home,
        })
    }

    /// GitHub's token: `GH_TOKEN`, `GITHUB_TOKEN`, or the token file. `None`: there is none.
    ///
    /// # Errors
    /// When the token file is configured and cannot be read, or others may read it.
    pub fn token(&self, env: &Env) -> Result<Option<SecretString>, Error> {
        let from_env = env.get(env::GH_TOKEN).or_else(|| env.get(env::GITHUB_TOKEN));
        if let Some(token) = from_env {
            return Ok(Some(SecretString::from(token.trim().to_owned())));
        }
        let Some(path) = &self.token_file else { return Ok(None) };
        read_token(path).map(Some)
    }

    /// Whether something to sign in to GitHub with is among what is copied into homes.
    #[must_use]
    pub fn copies_access_to_github(&self) -> bool {
        let of_github = |name: &String| ["gh", "gh_token", "ssh"].contains(&name.as_str());
        self.credentials.as_ref().is_none_or(|names| names.iter().any(of_github))
    }

    /// Where gh keeps its configuration.
    #[must_use]
    pub fn gh_config_dir(&self, env: &Env) -> PathBuf {
        env.path(env::GH_CONFIG_DIR)
            .unwrap_or_else(|| self.config_dir.parent().unwrap_or(&self.user_home).join("gh"))
    }

    /// The URL that a repository is cloned from and pushed to. It never holds a token.
    #[must_use]
    pub fn clone_url(&self, repo: &crate::domain::RepoSlug) -> String {
        format!("{}/{repo}.git", self.server_url)
    }
}

fn network(section: NetworkSection, jail: JailMode) -> Result<Network, Error> {
    let wrong = |message: String| Err(Error::Value { place: "[network]".into(), message });
    let mode = match (section.mode, jail) {
        (Some(mode @ (NetworkMode::Proxy | NetworkMode::None)), JailMode::None) => {
            return wrong(format!("`mode = \"{mode}\"` needs a sandbox, and that is off"));
        }
        (Some(mode), _) => mode,
        (None, JailMode::Bwrap) => NetworkMode::Proxy,
        (None, JailMode::None) => NetworkMode::Host,
    };
    if let Some(wide) = section.allow_local.iter().find(|rule| !rule.is_one_host()) {
        return wrong(format!("`allow_local` takes single hosts, not \"{wide}\""));
    }
    Ok(Network {
        mode,
        allow: section.allow,
        allow_local: section.allow_local,
        registries: section.registries.0,
    })
}

fn retention(section: &RetentionSection) -> Result<Retention, Error> {
    let defaults = Retention::default();
    let keep = |key: Option<Keep>, default| key.map_or(default, |keep| keep.0);
    let claims = keep(section.claims, defaults.claims);
    if claims.is_some_and(|claims| claims < LEAST_KEPT) {
        return Err(Error::Value {
            place: "[retention]".into(),
            message: "`claims` must be at least 7d: other machines may still go by them".into(),
        });
    }
    Ok(Retention {
        logs: keep(section.logs, defaults.logs),
        records: keep(section.records, defaults.records),
        mirrors: keep(section.mirrors, defaults.mirrors),
        clones: keep(section.clones, defaults.clones),
        claims,
    })
}

/// What an agent can begin with, and what a small machine has.
const FREE_SPACE: u64 = 1 << 30;

/// Nobody wants more attempts than that.
const MOST_ATTEMPTS: u32 = 20;

fn retry(section: &RetrySection) -> Result<Retry, Error> {
    let wrong = |message: String| Error::Value { place: "[retry]".into(), message };
    let (lost, failed) = (section.lost.unwrap_or(1), section.failed.unwrap_or(0));
    for (key, times) in [("lost", lost), ("failed", failed)] {
        if times > MOST_ATTEMPTS {
            return Err(wrong(format!("`{key}` must be from 0 to {MOST_ATTEMPTS}, not {times}")));
        }
    }
    let wait = section.wait.map_or(Duration::from_mins(10), |wait| wait.0);
    if wait > LONGEST_PAUSE {
        return Err(wrong("`wait` must be at most 24h".into()));
    }
    Ok(Retry { lost, failed, wait })
}

/// The name of the built-in executor for Claude Code.
const CLAUDE: &str = "claude";

/// GitHub's own API.
pub const API_URL_DEFAULT: &str = "https://api.github.com";

/// GitHub's own server.
pub const SERVER_URL_DEFAULT: &str = "https://github.com";

fn base_url(what: &str, url: &str) -> Result<String, Error> {
    let wrong = |message: &str| {
        Err(Error::Value { place: format!("{what} {url:?}"), message: message.to_owned() })
    };
    let parsed: http::Uri = match url.parse() {
        Ok(uri) => uri,
        Err(_) => return wrong("it is not a URL"),
    };
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() {
        return wrong("it must start with http:// or https:// and name a host");
    }
    if parsed.authority().is_some_and(|a| a.as_str().contains('@')) {
        return wrong("it must not hold a user name or a token");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn check_executor(name: &str, section: &ExecutorSection) -> Result<(), Error> {
    let wrong = |message: &str| {
        Err(Error::Value { place: format!("[executors.{name}]"), message: message.to_owned() })
    };
    if name == CLAUDE {
        if !section.command.is_empty() {
            return wrong(
                "`command` is for executors of your own; `claude` takes `path` and `args`",
            );
        }
    } else if section.command.is_empty() {
        return wrong("`command` is missing: a program and its arguments, as a list");
    } else if section.path.is_some() || !section.args.is_empty() {
        return wrong("`path` and `args` are for `claude`; write them into `command`");
    } else if !section.repository_settings.is_empty() {
        return wrong("`repository_settings` is for `claude`");
    }
    Ok(())
}

/// Refuses a path whose visibility would open a wall: one that leads to homes and records, or to the
/// user's own home as a whole, or into what the kernel shows of the host.
fn check_extra(
    key: &str,
    path: &Path,
    write: bool,
    root: &Path,
    walls: &[Option<&PathBuf>],
) -> Result<(), Error> {
    let wrong = |message: &str| {
        let place = format!("[sandbox] {key} {:?}", path.to_string_lossy());
        Err(Error::Value { place, message: message.to_owned() })
    };
    if !path.is_absolute() {
        return wrong("it must be an absolute path");
    }
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for path in [path.to_owned(), real(path)] {
        let covers = |wall: &Path| wall.starts_with(&path) || real(wall).starts_with(&path);
        let inside = |wall: &Path| path.starts_with(wall) || path.starts_with(real(wall));
        if walls.iter().flatten().any(|wall| covers(wall)) || inside(root) {
            return wrong(
                "it would show agents the records, other homes, your home or your token: name \
                 something smaller",
            );
        }
        let kernel = ["/proc", "/sys", "/dev", "/run"];
        let system = ["/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/var"];
        if kernel.iter().any(|dir| path.starts_with(dir)) {
            return wrong("agents have a place of their own there");
        }
        if write && system.iter().any(|dir| path == Path::new(dir)) {
            return wrong("agents must not change the system");
        }
    }
    Ok(())
}

fn read_token(path: &Path) -> Result<SecretString, Error> {
    let fail = |why: String| Error::TokenFile { path: path.to_owned(), why };
    let meta = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?;
    if meta.mode() & 0o077 != 0 {
        return Err(fail(format!("its mode is {:03o}, others may read it", meta.mode() & 0o777)));
    }
    let text = read_text(path, 1 << 16).map_err(|e| fail(e.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(fail("it must hold the token and nothing else".into()));
    }
    Ok(SecretString::from(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn load(config: &str, vars: &[(&str, &str)]) -> Result<Settings, Error> {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".config/claude-workers");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let mut all = vec![("HOME", home.path().to_str().unwrap())];
        all.extend(vars);
        Settings::load(&Flags::default(), &all.into_iter().collect())
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = "root = '~/w'\n[github]\napi_url = 'http://one/api/v3/'\n";
        let settings = load(config, &[]).unwrap();
        assert_eq!(settings.root, settings.user_home.join("w"));
        assert_eq!(settings.api_url, "http://one/api/v3");
        let settings =
            load(config, &[("CLAUDE_WORKERS_ROOT", "/r"), ("GITHUB_API_URL", "http://two")]);
        let settings = settings.unwrap();
        assert_eq!((settings.root.to_str(), settings.api_url.as_str()), (Some("/r"), "http://two"));
    }

    #[test]
    fn urls_with_a_token_or_another_scheme_are_refused() {
        for bad in ["ftp://x", "x", "https://tok@github.com", "http://"] {
            assert!(load("", &[("GITHUB_SERVER_URL", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_executor_of_ones_own_needs_a_command() {
        assert!(load("[executors.mine]\n", &[]).is_err());
        assert!(load("[executors.mine]\ncommand = ['x']\n", &[]).is_ok());
        assert!(load("[executors.claude]\ncommand = ['x']\n", &[]).is_err());
    }

    #[test]
    fn a_run_may_file_some_issues_and_not_any_number() {
        let issues = |n: &str| load(&format!("[limits]\nissues = {n}"), &[]);
        assert_eq!(load("", &[]).unwrap().max_issues, 20);
        assert_eq!(issues("100").unwrap().max_issues, 100);
        for bad in ["0", "101", "-1", "'x'"] {
            assert!(issues(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_may_be_tried_again_some_times_and_not_any_number() {
        let retry = |text: &str| load(&format!("[retry]\n{text}"), &[]).map(|s| s.retry);
        let wait = Duration::from_mins(10);
        assert_eq!(retry("").unwrap(), Retry { lost: 1, failed: 0, wait });
        let all = retry("lost = 0\nfailed = 20\nwait = '24h'").unwrap();
        assert_eq!((all.lost, all.failed, all.wait), (0, 20, LONGEST_PAUSE));
        for bad in ["lost = 21", "failed = -1", "wait = '25h'", "wait = 'soon'"] {
            assert!(retry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "ghp_x\n").unwrap();
        let mode = |m| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(m)).unwrap();
        mode(0o644);
        assert!(read_token(&path).unwrap_err().to_string().contains("644"));
        mode(0o600);
        assert_eq!(read_token(&path).unwrap().expose_secret(), "ghp_x");
    }
}
