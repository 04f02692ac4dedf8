//! What our own binary does as the first process in a jail: it waits for the word, tries the canary,
//! and makes way for the agent.
//!
//! The canary runs in the very jail that the agent gets, a moment before it. It proves by trying:
//! what must be out of reach is not there, what must be read-only cannot be written, the home can.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::domain::Rlimits;
use crate::egress::CANARY;
use crate::egress::forward::Routes;

/// What our own program is to do as the first process in an agent's jail. It waits for a byte on its
/// standard input first; without one it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Must hold before the agent is let in.
    pub canary: Canary,
    /// Where the agent works.
    pub cwd: PathBuf,
    /// The agent's standard input.
    pub stdin: PathBuf,
    /// What its processes may take.
    pub rlimits: Rlimits,
    /// The way out, if there is one beside the host's network.
    pub routes: Option<Routes>,
}

/// What the canary tries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Exist on the host; must not exist inside.
    pub hidden: Vec<PathBuf>,
    /// Must not be writable inside.
    pub read_only: Vec<PathBuf>,
    /// Must be writable inside.
    pub writable: Vec<PathBuf>,
    /// Is listened to on the host's loopback, and must not be reached from inside; nor must there be
    /// a way to anywhere else then. `None`: the network is the host's.
    pub bait: Option<SocketAddr>,
    /// Must answer, and refuse.
    pub proxy: Option<PathBuf>,
}

impl Canary {
    /// Tries everything.
    ///
    /// # Errors
    /// The first thing that is not as it must be, in words.
    pub fn try_all(&self) -> Result<(), String> {
        for path in &self.hidden {
            if fs::symlink_metadata(path).is_ok() {
                return Err(format!("{} can be seen from inside", path.display()));
            }
        }
        for path in &self.read_only {
            if may_write(path) {
                return Err(format!("{} can be written from inside", path.display()));
            }
        }
        for path in &self.writable {
            if !may_write(path) {
                return Err(format!("{} cannot be written from inside", path.display()));
            }
        }
        // In PID namespace of its own the jail's first processes have small numbers, and the
        // first of all is not the host's init.
        if std::process::id() > 64 {
            return Err("the processes of the host are in reach".into());
        }
        if let Some(bait) = self.bait {
            if TcpStream::connect_timeout(&bait, PATIENCE).is_ok() {
                return Err("the loopback of the host is in reach".into());
            }
            for (own, far) in DOCUMENTATION {
                if has_route(own, far) {
                    return Err(format!("there is a way past the proxy: {far} has a route"));
                }
            }
        }
        self.proxy.as_deref().map_or(Ok(()), refuses)
    }
}

/// Nothing here takes as long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Addresses that nobody has (RFC 5737, RFC 3849), and where a socket that asks for the way to them
/// is bound.
const DOCUMENTATION: [(&str, &str); 2] =
    [("0.0.0.0:0", "192.0.2.1:443"), ("[::]:0", "[2001:db8::1]:443")];

/// Whether the kernel knows a way. A datagram socket that is connected sends nothing.
fn has_route(own: &str, far: &str) -> bool {
    UdpSocket::bind(own).and_then(|socket| socket.connect(far)).is_ok()
}

/// Whether the proxy answers, and refuses what nobody has allowed.
fn refuses(socket: &Path) -> Result<(), String> {
    let ask = || {
        let mut proxy = UnixStream::connect(socket)?;
        proxy.set_read_timeout(Some(PATIENCE))?;
        proxy.set_write_timeout(Some(PATIENCE))?;
        let request = format!("CONNECT {CANARY}:443 HTTP/1.1\r\nHost: {CANARY}:443\r\n\r\n");
        proxy.write_all(request.as_bytes())?;
        let mut answer = [0; 12];
        proxy.read_exact(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer == *b"HTTP/1.1 403" => Ok(()),
        Ok(answer) => Err(format!("the proxy allows anything: {}", answer.escape_ascii())),
        Err::<_, std::io::Error>(e) => Err(format!("the proxy cannot be reached from inside: {e}")),
    }
}

/// More open files than any honest program has.
const MAX_FILES: u64 = 65_536;

/// Sets the limits of this process and of all that come from it. They cannot be raised again.
///
/// # Errors
/// When the kernel refuses one: which, and why.
pub fn limit(rlimits: &Rlimits) -> Result<(), String> {
    let wanted = [
        (Resource::RLIMIT_CORE, Some(0)),
        (Resource::RLIMIT_NPROC, Some(rlimits.processes)),
        (Resource::RLIMIT_FSIZE, Some(rlimits.file_size)),
        // Not the address space: runtimes of agents reserve far more of that than they use.
        (Resource::RLIMIT_DATA, rlimits.memory),
    ];
    let set = |what: Resource, soft: u64, hard: u64| {
        setrlimit(what, soft, hard).map_err(|e| format!("{what:?} cannot be set: {e}"))
    };
    for (what, most) in wanted {
        let Some(most) = most else { continue };
        let (_, hard) = getrlimit(what).map_err(|e| format!("{what:?} cannot be read: {e}"))?;
        // A machine that allows less is not asked for more.
        set(what, most.min(hard), most.min(hard))?;
    }
    let files = Resource::RLIMIT_NOFILE;
    let (soft, hard) = getrlimit(files).map_err(|e| format!("{files:?} cannot be read: {e}"))?;
    set(files, soft.min(MAX_FILES), hard.min(MAX_FILES))
}

fn may_write(dir: &Path) -> bool {
    tempfile::Builder::new().prefix(".canary-").tempfile_in(dir).is_ok()
}

/// The line that tells the supervisor, before the agent says a word, how the canary fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// `None`: all is as it must be.
    pub jail_fault: Option<String>,
}

/// The exit code when the walls hold and the agent's program cannot be started: a second verdict, the
/// last line of all, says why. (A file may be there and its interpreter not.)
pub const NO_AGENT: u8 = 71;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_jail_the_canary_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let hidden = Canary { hidden: vec![path.clone()], ..Canary::default() };
        assert!(hidden.try_all().unwrap_err().contains("can be seen"));
        let read_only = Canary { read_only: vec![path.clone()], ..Canary::default() };
        assert!(read_only.try_all().unwrap_err().contains("can be written"));
        let gone = Canary { writable: vec![path.join("gone")], ..Canary::default() };
        assert!(gone.try_all().unwrap_err().contains("cannot be written"));
        let silent = dir.path().join("proxy.sock");
        assert!(refuses(&silent).unwrap_err().contains("cannot be reached"));
        let generous = std::os::unix::net::UnixListener::bind(&silent).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut client, _) = generous.accept().unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let _ = client.read(&mut [0; 100]);
            });
            assert!(refuses(&silent).unwrap_err().contains("allows anything"));
        });
        assert!(has_route("0.0.0.0:0", "127.0.0.1:443"));
    }
}
