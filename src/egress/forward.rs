//! The jail's side: a port on its loopback that leads to the proxy's socket, and one for each
//! service on this machine that is allowed. It has no say in anything; whoever gets around it gets
//! to the same socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::domain::{Host, HostPort};
use crate::plan::egress::Policy;

/// The proxy's port inside, unless a service wants it.
const PORT: u16 = 3128;
/// The proxy's answer is no longer than this.
const MAX_HEAD: usize = 4 << 10;
/// Each direction of a connection holds so much.
const BUFFER: usize = 16 << 10;

/// What leads where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// The proxy's socket, as it is seen inside.
    pub socket: PathBuf,
    /// The port that leads to it.
    pub port: u16,
    /// Services on this machine that are at the same place inside, `host:port` each.
    pub services: Vec<String>,
}

impl Routes {
    /// Those for a policy.
    #[must_use]
    pub fn of(policy: &Policy, socket: PathBuf) -> Self {
        let mut services = policy.on_loopback();
        // Where a name and an address want the same place, the address has it.
        services.sort_by_key(|at| matches!(at.host, Host::Name(_)));
        let taken = |port: &u16| services.iter().any(|at| at.port == *port);
        let port = (PORT..=u16::MAX).find(|port| !taken(port)).unwrap_or(PORT);
        Self { socket, port, services: services.iter().map(ToString::to_string).collect() }
    }

    /// Variables by which programs find the proxy.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let proxy = format!("http://127.0.0.1:{}", self.port);
        let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        let mut vars: Vec<(String, String)> = names
            .into_iter()
            .flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()])
            .map(|name| (name, proxy.clone()))
            .collect();
        // What an agent starts inside is reached directly, and so are the services.
        let direct = "localhost,127.0.0.1,::1";
        vars.extend(["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), direct.to_owned())));
        vars.push(("NODE_USE_ENV_PROXY".into(), "1".into()));
        vars
    }
}

/// Runs the agent to its end with the routes open, and gives its exit code (128 and more: the signal
/// that ended it). What cannot be offered is said on standard error before the agent begins.
///
/// # Errors
/// When the proxy's port cannot be opened, or the agent not started.
pub fn run(agent: Command, routes: &Routes) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), routes.port);
        tokio::spawn(offer(TcpListener::bind(at).await?, routes.socket.clone(), None));
        for service in &routes.services {
            open_service(service, &routes.socket).await;
        }
        // What is meant for the agent is not for us: we end when it does.
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let _deaf = kinds.map(signal);
        let mut child = tokio::process::Command::from(agent).spawn()?;
        // Its outputs are its own from here on: they end when it closes them.
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        child.wait().await
    });
    runtime.shutdown_background();
    let ended = ended?;
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

async fn open_service(service: &str, socket: &Path) {
    let Ok(at) = HostPort::parse(service, None) else { return };
    let places: Vec<IpAddr> = match at.host {
        Host::Ip(ip) => vec![ip],
        Host::Name(_) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
    };
    let mut failed = None;
    for place in &places {
        match TcpListener::bind(SocketAddr::new(*place, at.port)).await {
            Ok(listener) => {
                tokio::spawn(offer(listener, socket.to_owned(), Some(service.to_owned())));
                failed = None;
                break;
            }
            Err(e) => failed = Some(e),
        }
    }
    if let Some(e) = failed {
        use std::io::Write;
        let note = format!("claude-workers: {service} is reached through the proxy only: {e}\n");
        let _ = io::stderr().write_all(note.as_bytes());
    }
}

async fn offer(listener: TcpListener, socket: PathBuf, service: Option<String>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (socket, service) = (socket.clone(), service.clone());
        tokio::spawn(async move {
            // A connection that breaks is for its two ends to notice.
            let _ = pass(client, &socket, service.as_deref()).await;
        });
    }
}

async fn pass(mut client: TcpStream, socket: &Path, service: Option<&str>) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let mut proxy = UnixStream::connect(socket).await?;
    if let Some(service) = service {
        let early = ask_for(&mut proxy, service).await?;
        client.write_all(&early).await?;
    }
    copy_bidirectional_with_sizes(&mut client, &mut proxy, BUFFER, BUFFER).await?;
    Ok(())
}

/// Opens a tunnel, and gives what the service has said already.
async fn ask_for(proxy: &mut UnixStream, service: &str) -> io::Result<Vec<u8>> {
    let request = format!("CONNECT {service} HTTP/1.1\r\nHost: {service}\r\n\r\n");
    proxy.write_all(request.as_bytes()).await?;
    let mut said = Vec::new();
    let end = loop {
        if let Some(at) = memchr::memmem::find(&said, b"\r\n\r\n") {
            break at + 4;
        }
        if said.len() > MAX_HEAD || proxy.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    if !said.starts_with(b"HTTP/1.1 200") {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(said.split_off(end))
}
