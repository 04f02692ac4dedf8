//! The way out of a run's jail: what it may reach, and the process that sees to it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use secrecy::{ExposeSecret, SecretString};

use super::Context;
use crate::config::{API_URL_DEFAULT, SERVER_URL_DEFAULT};
use crate::domain::{CredentialMode, HostPort};
use crate::egress::forward::Routes;
use crate::egress::{Secrets, Task};
use crate::executor::Executor;
use crate::plan::egress::{Policy, Rule};
use crate::process::spawn;
use crate::sandbox::{Bind, Jail};
use crate::store::make_private_dir;

/// Where the proxy's socket is inside.
const SOCKET_INSIDE: &str = "/run/claude-workers/egress.sock";

/// What an agent of this executor may reach. `env` is its environment, `credentials` what its home
/// may hold.
pub(super) fn policy(
    ctx: &Context,
    executor: &Executor,
    env: &[(String, String)],
    credentials: CredentialMode,
) -> Policy {
    let settings = &ctx.settings;
    let mut policy = Policy {
        allow: settings.network.allow.clone(),
        allow_local: settings.network.allow_local.clone(),
    };
    let registries = settings.network.registries.iter().flat_map(|registry| registry.hosts());
    let known = executor.hosts().iter().chain(registries);
    policy.allow.extend(known.filter_map(|host| host.parse::<Rule>().ok()));
    policy.allow.extend(executor.section().allow.iter().cloned());
    // Another place for the model is one that the user chose, wherever it is.
    let gateway = executor.gateway().and_then(|name| {
        let (_, url) = env.iter().rfind(|(set, _)| set == name)?;
        of_url(url)
    });
    policy.allow_local.extend(gateway.map(Rule::from));
    // Where an agent has nothing to sign in with, GitHub is of use only to somebody else.
    if credentials == CredentialMode::Copy && settings.copies_access_to_github() {
        for (url, default) in
            [(&settings.api_url, API_URL_DEFAULT), (&settings.server_url, SERVER_URL_DEFAULT)]
        {
            let rules = if url == default { &mut policy.allow } else { &mut policy.allow_local };
            rules.extend(of_url(url).map(Rule::from));
        }
    }
    for rules in [&mut policy.allow, &mut policy.allow_local] {
        rules.sort();
        rules.dedup();
    }
    policy
}

/// What an agent of the configured executor would reach if it were started from here.
pub(super) fn outline(ctx: &Context) -> Policy {
    let Ok(executor) = Executor::named(&ctx.settings.executor, &ctx.settings.executors) else {
        return Policy::default();
    };
    let mut env: Vec<_> = ctx.env().only(executor.gateway().as_slice()).collect();
    env.extend(executor.section().env.clone());
    policy(ctx, &executor, &env, ctx.settings.credential_mode)
}

/// The host of a base URL.
fn of_url(url: &str) -> Option<HostPort> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let host = rest.split(['/', '?', '#']).next()?;
    HostPort::parse(host, Some(port)).ok()
}

/// Shows a jail without a network the few names that programs take for granted.
///
/// # Errors
/// When they cannot be written down: in words.
pub(super) fn name_loopback(jail: &mut Jail, place: &Path) -> Result<(), String> {
    let hosts = place.join("hosts");
    let names = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 worker\n";
    make_private_dir(place).map_err(|e| e.to_string())?;
    fs::write(&hosts, names).map_err(|e| format!("{}: {e}", hosts.display()))?;
    jail.binds.push(Bind::read_at(hosts, "/etc/hosts"));
    Ok(())
}

/// A proxy that runs. Dropped, it is no more.
pub(super) struct Egress {
    child: Child,
    socket: PathBuf,
    /// What leads to it inside.
    pub(super) routes: Routes,
}

impl Egress {
    /// Starts it; it may still be on its way up when this returns, and whoever connects waits.
    /// Its socket is made in `place`, a private directory. `secrets` are kept out of its log.
    ///
    /// # Errors
    /// When it cannot be started: in words.
    pub(super) fn open(
        ctx: &Context,
        place: &Path,
        log: PathBuf,
        policy: Policy,
        secrets: &[(String, SecretString)],
    ) -> Result<Self, String> {
        let fail = |what: &str, e: io::Error| format!("the way out of the sandbox: {what}: {e}");
        make_private_dir(place).map_err(|e| e.to_string())?;
        let socket = place.join("egress.sock");
        match fs::remove_file(&socket) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail("remove", e)),
            _ => {}
        }
        // The address of a socket has room for a hundred letters; a root may lie deeper.
        let dir = File::open(place).map_err(|e| fail("open", e))?;
        let short = format!("/proc/self/fd/{}/egress.sock", dir.as_raw_fd());
        let listener = UnixListener::bind(short).map_err(|e| fail("bind", e))?;
        let routes = Routes::of(&policy, SOCKET_INSIDE.into());
        let plain = |(name, value): &(String, SecretString)| {
            (name.clone(), value.expose_secret().to_owned())
        };
        let secrets = Secrets(secrets.iter().map(plain).collect());
        let task = Task { policy, log, secrets };
        let mut task = serde_json::to_vec(&task).map_err(|e| e.to_string())?;
        task.push(b'\n');
        let mut own = ctx.own_command(&["egress-proxy"]).map_err(|e| e.to_string())?;
        own.stdin(Stdio::piped()).stdout(OwnedFd::from(listener));
        let mut child = spawn(&mut own, |_| "proxy".into()).map_err(|e| fail("start", e))?;
        // The pipe stays open: at its end the proxy ends, and it ends when we do.
        let told = match &mut child.stdin {
            Some(pipe) => io::Write::write_all(pipe, &task),
            None => Ok(()),
        };
        let this = Self { child, socket, routes };
        told.map(|()| this).map_err(|e| fail("tell", e))
    }

    /// Shows its socket in a jail.
    pub(super) fn show_in(&self, jail: &mut Jail) {
        jail.binds.push(Bind::read_at(&self.socket, SOCKET_INSIDE));
    }
}

/// It only has a few lines to write.
const GRACE: Duration = Duration::from_secs(2);

impl Drop for Egress {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && since.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_found_and_nothing_else_in_it() {
        let of = |url: &str| of_url(url).map(|at| at.to_string());
        assert_eq!(of("https://GHE.example.com/api/v3").as_deref(), Some("ghe.example.com:443"));
        assert_eq!(of("http://127.0.0.1:99/a?b").as_deref(), Some("127.0.0.1:99"));
        assert_eq!(of("http://[::1]/").as_deref(), Some("[::1]:80"));
        for wrong in ["ftp://a.com", "a.com", "https://u@a.com", "https://", "https://a.com:x"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
