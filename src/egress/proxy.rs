//! The proxy's process: takes connections from the jail, decides, keeps the log.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::{self, Counts, Fault, Resolve, Wire};
use super::log::{Log, Secrets, Verdict};
use super::{request, tunnel};
use crate::domain::{Host, HostPort};
use crate::plan::egress::{How, Policy};

/// A host that nobody can allow (RFC 6761): by asking for it the canary finds out whether the proxy
/// answers, and refuses. It is not in the log.
pub const CANARY: &str = "canary.invalid";

/// As many connections are served at once; more wait.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take for the head of a request.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// A request's head is no longer.
const MAX_HEAD: usize = 64 << 10;
/// What the supervisor says first is no longer.
const MAX_TASK: u64 = 8 << 20;
/// A tunnel is ended when it has been looked at twice, so long apart, and not a byte has gone through
/// it between.
const IDLE: Duration = Duration::from_mins(10);

/// What the supervisor tells the proxy, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What the run may reach.
    pub policy: Policy,
    /// Where the log is.
    pub log: PathBuf,
    /// What must not be in it.
    pub secrets: Secrets,
}

/// Serves what comes to the listener, as long as the pipe `life` is open at its other end: when the
/// supervisor ends, by whatever road, so does its proxy. The first line of the pipe is the [`Task`].
///
/// # Errors
/// When there is no task, or its log cannot be opened.
pub fn serve(listener: std::os::unix::net::UnixListener, life: OwnedFd) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut life = BufReader::new(pipe::Receiver::from_owned_fd(life)?).take(MAX_TASK);
        let mut task = Vec::new();
        life.read_until(b'\n', &mut task).await?;
        let Task { policy, log, secrets } = serde_json::from_slice(&task)?;
        let log = Mutex::new(Log::open(&log, secrets)?);
        let proxy = Proxy { policy, log, resolve: dial::system(), idle: IDLE };
        listener.set_nonblocking(true)?;
        tokio::select! {
            never = accept(Arc::new(proxy), UnixListener::from_std(listener)?) => never,
            _ = life.read_u8() => Ok(()),
        }
    });
    // What is under way is dropped, and says in the log how many bytes it was; a name that is still
    // being looked up is not waited for.
    runtime.shutdown_background();
    done
}

async fn accept(proxy: Arc<Proxy>, listener: UnixListener) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(converse(proxy.clone(), client, Arc::new(place)));
            }
            // Out of descriptors, say.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

pub(super) fn converse(
    proxy: Arc<Proxy>,
    client: UnixStream,
    place: Arc<OwnedSemaphorePermit>,
) -> impl Future<Output = ()> + Send {
    let service = service_fn(move |request: Request<Incoming>| {
        let (proxy, place) = (proxy.clone(), place.clone());
        async move {
            let answer = if request.method() == Method::CONNECT {
                tunnel::open(proxy, request, place).await
            } else {
                request::pass_on(proxy, request).await
            };
            Ok::<_, Infallible>(answer.unwrap_or_else(|refusal| refusal))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        // Who has said everything may still want to listen.
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    async {
        // A client that breaks off, or speaks no HTTP, is nobody's loss.
        let _ = connection.await;
    }
}

/// What an answer holds.
pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// An answer of the proxy's own.
pub(super) fn answer(status: StatusCode, text: &str) -> Response<Body> {
    let text = if text.is_empty() { String::new() } else { format!("claude-workers: {text}\n") };
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// What all connections share.
pub(super) struct Proxy {
    pub(super) policy: Policy,
    pub(super) log: Mutex<Log>,
    pub(super) resolve: Resolve,
    /// How long a tunnel may be silent, and at most twice as long.
    pub(super) idle: Duration,
}

impl Proxy {
    /// Connects to a host, if it is allowed. That is not in the log yet; whatever comes in its way
    /// is.
    ///
    /// # Errors
    /// What the client is told instead.
    pub(super) async fn reach(
        &self,
        how: How,
        written: &str,
        default: Option<u16>,
    ) -> Result<(HostPort, Wire), Response<Body>> {
        let at = HostPort::parse(written, default)
            .map_err(|e| self.refuse((written, None), &e.to_string()))?;
        let reach = match self.policy.decide(how, &at) {
            Ok(reach) => reach,
            Err(why) if at.host == Host::Name(CANARY.into()) => {
                return Err(answer(StatusCode::FORBIDDEN, &why));
            }
            Err(why) => return Err(self.refuse_at(&at, &why)),
        };
        match dial::dial(&self.resolve, &at, reach).await {
            Ok(wire) => Ok((at, wire)),
            Err(Fault::Refused(why)) => Err(self.refuse_at(&at, &why)),
            Err(Fault::Failed(why)) => {
                self.note((&at.host.to_string(), Some(at.port)), Verdict::Failed, &why);
                Err(answer(StatusCode::BAD_GATEWAY, &format!("{at} cannot be reached: {why}")))
            }
        }
    }

    fn note(&self, at: (&str, Option<u16>), verdict: Verdict, why: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing goes out, so nothing is hidden if this is not written.
        let _ = log.decision(at, verdict, Some(why));
    }

    /// Logs a refusal.
    pub(super) fn refuse(&self, at: (&str, Option<u16>), why: &str) -> Response<Body> {
        self.note(at, Verdict::Refused, why);
        answer(StatusCode::FORBIDDEN, &format!("{} is refused: {why}", at.0))
    }

    pub(super) fn refuse_at(&self, at: &HostPort, why: &str) -> Response<Body> {
        self.refuse((&at.host.to_string(), Some(at.port)), why)
    }

    /// Logs that something goes out. To be called before it does.
    ///
    /// # Errors
    /// When that cannot be logged: then it must not go out.
    pub(super) fn allow(
        self: &Arc<Self>,
        at: &HostPort,
        counts: Arc<Counts>,
    ) -> io::Result<Allowed> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let to = (&*at.host.to_string(), Some(at.port));
        let n = log.decision(to, Verdict::Allowed, None)?;
        Ok(Allowed { proxy: self.clone(), n, counts })
    }
}

/// Something that goes out. Dropped, it is over, and the log tells how many bytes it was.
pub(super) struct Allowed {
    proxy: Arc<Proxy>,
    n: u64,
    counts: Arc<Counts>,
}

impl Drop for Allowed {
    fn drop(&mut self) {
        let (sent, received) = self.counts.read();
        let mut log = self.proxy.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.end(self.n, sent, received);
    }
}
