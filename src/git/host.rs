//! Git as the host runs it.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{Error, io_error};
use crate::config::env;
use crate::failpoint::{Trouble, around, place};
use crate::process::{Captured, begin, command};
use crate::store::{TEMPORARY, make_private_dir, rename_new, sync_tree};

/// What the host's git needs to know of the world.
#[derive(Debug, Clone)]
pub struct HostEnv {
    /// The git program, absolute.
    pub git: PathBuf,
    /// Our own program: git asks it for the token.
    pub own_program: PathBuf,
    /// The token for fetching and pushing, if there is one.
    pub token: Option<SecretString>,
    /// Variables that are passed on: `HOME`, `PATH`, proxies, `GIT_CONFIG_*`, `GIT_SSL_CAINFO`.
    pub vars: Vec<(String, String)>,
}

impl HostEnv {
    /// Those of the environment's variables that the host's git gets.
    #[must_use]
    pub fn vars_of(vars: &env::Env, user_home: &Path) -> Vec<(String, String)> {
        let path = vars.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
        let mut all = vec![
            ("HOME".to_owned(), user_home.display().to_string()),
            ("PATH".to_owned(), path.to_owned()),
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ];
        all.extend(vars.only(env::PROXIES));
        all.extend(vars.only(env::CERTIFICATES));
        all.extend(vars.only(&["GIT_SSL_CAINFO", "GIT_SSL_CAPATH"]));
        all.extend(vars.starting_with("GIT_CONFIG_"));
        all
    }
}

/// The name under which git's children find the token. It is set for git alone and never in a
/// configuration, a URL or an argument.
const TOKEN_VAR: &str = "CLAUDE_WORKERS_GIT_TOKEN";

/// What a credential helper answers git, in a process that git started to ask for the token: to
/// `get` the token, to anything else nothing.
#[must_use]
pub fn credential(action: &str) -> String {
    match (action, env::Env::of_process().get(TOKEN_VAR)) {
        ("get", Some(token)) => format!("username=x-access-token\npassword={token}\n"),
        _ => String::new(),
    }
}

/// Git on the host.
#[derive(Debug)]
pub struct Host {
    env: HostEnv,
}

/// Output beyond this is no answer that we ask for (a list of refs, a commit).
const MAX_OUTPUT: u64 = 64 << 20;

/// So much memory git may take for itself, in bytes: some objects unpack to any size, and a few of them
/// name any number of files.
const MAX_MEMORY: u64 = 4 << 30;

/// What one call of git may bring and take, in bytes.
struct Bounds {
    output: u64,
    memory: u64,
}

impl Host {
    /// Git with this environment.
    #[must_use]
    pub fn new(env: HostEnv) -> Self {
        Self { env }
    }

    /// Runs git without network, in a bare repository of ours if `dir` is given.
    pub(super) fn local(
        &self,
        what: &str,
        dir: Option<&Path>,
        args: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.run(what, dir, &[], args, (input, Bounds { output: MAX_OUTPUT, memory: MAX_MEMORY }))
    }

    /// The same, where git holds all of its answer in memory before it gives any: with little more
    /// than an answer takes.
    pub(super) fn local_frugal(
        &self,
        what: &str,
        dir: &Path,
        args: &[&str],
    ) -> Result<Vec<u8>, Error> {
        let bounds = Bounds { output: MAX_OUTPUT, memory: 8 * MAX_OUTPUT };
        self.run(what, Some(dir), &[], args, (&[], bounds))
    }

    /// The same, for an answer whose size is known.
    pub(super) fn local_up_to(
        &self,
        what: &str,
        dir: &Path,
        args: &[&str],
        input: &[u8],
        max: u64,
    ) -> Result<Vec<u8>, Error> {
        self.run(what, Some(dir), &[], args, (input, Bounds { output: max, memory: MAX_MEMORY }))
    }

    /// Runs git with the token at hand for the place that `url` leads to.
    pub(super) fn remote(
        &self,
        what: &str,
        dir: Option<&Path>,
        url: &str,
        args: &[&str],
    ) -> Result<Vec<u8>, Error> {
        let mut config = vec![
            // No helper of the user's: the token is ours to choose.
            "credential.helper=".to_owned(),
            "http.lowSpeedLimit=1000".to_owned(),
            "http.lowSpeedTime=60".to_owned(),
            // What the user's own pushes do is not what ours do.
            "push.gpgSign=false".to_owned(),
            "push.followTags=false".to_owned(),
            "push.recurseSubmodules=no".to_owned(),
        ];
        if self.env.token.is_some()
            && let Some(origin) = self.origin_of(url)?
        {
            // Git runs a helper that starts with `!` by a shell; the path is quoted for it.
            let program = self.env.own_program.display().to_string().replace('\'', r"'\''");
            // Newer versions of git need not be refused first.
            config.push("http.proactiveAuth=basic".to_owned());
            config.push(format!("credential.{origin}.helper=!'{program}' git-credential"));
        }
        let bounds = Bounds { output: MAX_OUTPUT, memory: MAX_MEMORY };
        self.run(what, dir, &config, args, (&[], bounds))
    }

    /// Makes a bare repository if it is not there: whole or not at all, because a git that was killed
    /// on the way leaves locks behind at which every later one fails.
    pub(super) fn make_bare(&self, what: &str, repository: &Path) -> Result<(), Error> {
        let whole = ["HEAD", "objects", "refs"].iter().all(|part| repository.join(part).exists());
        if whole {
            return Ok(());
        }
        if repository.exists() {
            // Half of one, by whoever made it. Git adds what is missing.
            let dir = repository.display().to_string();
            let args = ["init", "--quiet", "--bare", "--template=", "--", &dir];
            return self.local(what, None, &args, b"").map(drop);
        }
        let unexpected = |why: String| Error::Unexpected { what: what.to_owned(), why };
        let parent = repository.parent().unwrap_or(repository);
        make_private_dir(parent).map_err(|e| unexpected(e.to_string()))?;
        let half = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent);
        let half = half.map_err(io_error("make a directory in", parent))?;
        let new = half.path().join("new");
        let dir = new.display().to_string();
        self.local(what, None, &["init", "--quiet", "--bare", "--template=", "--", &dir], b"")?;
        sync_tree(&new).map_err(io_error("sync", &new))?;
        match around(
            Trouble::Disk,
            || format!("rename {}", place(repository)),
            || rename_new(&new, repository),
        ) {
            // Or somebody was quicker.
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(io_error("make", repository)(e)),
            _ => Ok(()),
        }
    }

    /// Scheme, host and port that git would really ask, after the user's own rewriting
    /// (`url.….insteadOf`). `None` where no password is asked for (ssh, files).
    fn origin_of(&self, url: &str) -> Result<Option<String>, Error> {
        let out =
            self.local("resolve the URL", None, &["ls-remote", "--get-url", "--", url], &[])?;
        let real = String::from_utf8_lossy(&out);
        let Ok(uri) = real.trim().parse::<http::Uri>() else { return Ok(None) };
        Ok(match (uri.scheme_str(), uri.host()) {
            (Some(scheme @ ("http" | "https")), Some(host)) => {
                let port = uri.port().map(|p| format!(":{p}")).unwrap_or_default();
                Some(format!("{scheme}://{host}{port}"))
            }
            _ => None,
        })
    }

    fn run(
        &self,
        what: &str,
        dir: Option<&Path>,
        config: &[String],
        args: &[&str],
        (input, max): (&[u8], Bounds),
    ) -> Result<Vec<u8>, Error> {
        let mut git = command(&self.env.git);
        git.envs(self.env.vars.iter().map(|(k, v)| (k, v)));
        if let (Some(token), false) = (&self.env.token, config.is_empty()) {
            git.env(TOKEN_VAR, token.expose_secret());
        }
        git.args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"]);
        git.args(["-c", "maintenance.auto=false", "-c", "protocol.ext.allow=never"]);
        // By itself it leaves small objects and refs to the system, and a power loss empties them.
        git.args(["-c", "core.fsync=all"]);
        for setting in config {
            git.args(["-c", setting]);
        }
        if let Some(dir) = dir {
            git.arg("--git-dir").arg(dir);
        }
        git.args(args).current_dir("/");
        let Captured { status, stdout, stderr } = begin(&mut git, input)
            .and_then(|begun| begun.with_memory(max.memory)?.finish(max.output))
            .map_err(|source| Error::Start { program: self.env.git.clone(), source })?;
        if let Some(signal) = status.signal() {
            // By somebody here, or for want of memory: nothing that the remote or the commits said.
            let source = std::io::Error::other(format!("it was ended by signal {signal}"));
            return Err(Error::Start { program: self.env.git.clone(), source });
        }
        if !status.success() {
            let said = if stderr.is_empty() { status.to_string() } else { stderr };
            return Err(Error::Failed { what: what.to_owned(), said });
        }
        Ok(stdout)
    }
}
