//! From a host that is allowed to a connection: looked up once, every address checked, and one of
//! those very addresses dialled.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::domain::{Host, HostPort};
use crate::plan::egress::{Reach, check_addresses};

/// How long a name may be looked up, and each address be tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// As many addresses are tried.
const TRIES: usize = 4;

/// Finds the addresses of a name.
pub(super) type Resolve = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

/// As this machine looks names up.
pub(super) fn system() -> Resolve {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|at| at.ip()).collect())
        })
    })
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Fault {
    /// The rules are against it.
    Refused(String),
    /// It did not work.
    Failed(String),
}

/// Connects to an allowed host.
pub(super) async fn dial(resolve: &Resolve, at: &HostPort, reach: Reach) -> Result<Wire, Fault> {
    let addresses = match &at.host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => match timeout(PATIENCE, resolve(name.clone())).await {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => return Err(Fault::Failed(format!("it cannot be looked up: {e}"))),
            Err(_) => return Err(Fault::Failed("looking it up took too long".into())),
        },
    };
    check_addresses(reach, addresses.iter().copied()).map_err(Fault::Refused)?;
    let mut why = "it has no address".to_owned();
    for ip in addresses.into_iter().take(TRIES) {
        match timeout(PATIENCE, TcpStream::connect(SocketAddr::new(ip, at.port))).await {
            Ok(Ok(stream)) => {
                // What waits for an acknowledgement would be late.
                let _ = stream.set_nodelay(true);
                return Ok(Wire { stream, counts: Arc::default() });
            }
            Ok(Err(e)) => why = format!("{ip}: {e}"),
            Err(_) => why = format!("{ip} does not answer"),
        }
    }
    Err(Fault::Failed(why))
}

/// What went over a wire.
#[derive(Debug, Default)]
pub(super) struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// Bytes sent and received.
    pub(super) fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// A connection that counts.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Read by others while it is in use.
    pub(super) counts: Arc<Counts>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let n = buffer.filled().len() - before;
        self.counts.received.fetch_add(n as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = &written {
            self.counts.sent.fetch_add(*n as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
