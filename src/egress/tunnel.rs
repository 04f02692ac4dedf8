//! `CONNECT`: a tunnel, for as long as both sides want it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, copy_bidirectional_with_sizes, split};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::dial::{Counts, Wire};
use super::hello::greeting;
use super::proxy::{Body, PATIENCE, Proxy, answer};
use crate::domain::HostPort;
use crate::plan::egress::How;

/// What is spoken here is TLS and nothing else.
const HTTPS: u16 = 443;
/// Each direction of a tunnel holds so much.
const BUFFER: usize = 16 << 10;

/// Connects, and says that it has.
///
/// # Errors
/// What the client is told instead.
pub(super) async fn open(
    proxy: Arc<Proxy>,
    request: Request<Incoming>,
    place: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, Response<Body>> {
    let written = request.uri().authority().map_or("", |authority| authority.as_str());
    let (at, wire) = proxy.reach(How::Tunnel, written, None).await?;
    let upgrade = hyper::upgrade::on(request);
    let (idle, counts) = (proxy.idle, wire.counts.clone());
    tokio::spawn(async move {
        // A tunnel that breaks is for its two ends to notice.
        tokio::select! {
            _ = run(proxy, upgrade, at, wire) => {}
            () = silence(idle, counts) => {}
        }
        drop(place);
    });
    Ok(answer(StatusCode::OK, ""))
}

/// Waits until nothing has gone over a wire for so long.
async fn silence(long: Duration, counts: Arc<Counts>) {
    let mut before = None;
    while before != Some(counts.read()) {
        before = Some(counts.read());
        sleep(long).await;
    }
}

async fn run(
    proxy: Arc<Proxy>,
    upgrade: OnUpgrade,
    at: HostPort,
    mut wire: Wire,
) -> io::Result<()> {
    let mut client = TokioIo::new(upgrade.await.map_err(io::Error::other)?);
    if at.port != HTTPS {
        return run_any(&proxy, client, &at, wire).await;
    }
    let hello = match timeout(PATIENCE, greeting(&mut client, &at.host, true)).await {
        Ok(hello) => hello,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let hello = match hello {
        Ok(hello) if hello.fault.is_none() => hello.bytes,
        bad => {
            let why = match bad {
                Ok(hello) => hello.fault.unwrap_or_default(),
                Err(e) => format!("no TLS greeting came: {e}"),
            };
            proxy.refuse_at(&at, &why);
            return Ok(());
        }
    };
    let _allowed = proxy.allow(&at, wire.counts.clone())?;
    wire.write_all(&hello).await?;
    copy_bidirectional_with_sizes(&mut client, &mut wire, BUFFER, BUFFER).await?;
    Ok(())
}

/// A port that the user named: whatever is spoken there, and whoever speaks first. If it is TLS, the
/// name must be right all the same.
async fn run_any(
    proxy: &Arc<Proxy>,
    client: TokioIo<Upgraded>,
    at: &HostPort,
    wire: Wire,
) -> io::Result<()> {
    let _allowed = proxy.allow(at, wire.counts.clone())?;
    let (mut from_client, mut to_client) = split(client);
    let (mut from_far, mut to_far) = split(wire);
    let up = async {
        match greeting(&mut from_client, &at.host, false).await {
            Ok(hello) => {
                if let Some(why) = hello.fault {
                    proxy.refuse_at(at, &why);
                    return Err(io::Error::other(why));
                }
                to_far.write_all(&hello.bytes).await?;
                copy(&mut from_client, &mut to_far).await?;
            }
            // It has nothing to say, and may want to listen.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(e) => return Err(e),
        }
        to_far.shutdown().await
    };
    let down = async {
        copy(&mut from_far, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(|_| ())
}
