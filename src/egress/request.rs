//! A plain request: understood, written anew, and sent over a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::proxy::{Body, Proxy, answer};
use crate::domain::HostPort;
use crate::plan::egress::How;

const HTTP: u16 = 80;
/// A model that answers in one piece takes its time.
const PATIENCE: Duration = Duration::from_mins(15);

/// Sends a request to its host and gives the answer back.
///
/// # Errors
/// What the client is told instead.
pub(super) async fn pass_on(
    proxy: Arc<Proxy>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let uri = request.uri().clone();
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        let why = "this is a proxy: it takes CONNECT, and http:// requests";
        return Err(answer(StatusCode::BAD_REQUEST, why));
    };
    let written = authority.as_str();
    if !is_of(request.headers(), written) {
        return Err(proxy.refuse((written, None), "the Host header names another one"));
    }
    let (at, wire) = proxy.reach(How::Request, written, Some(HTTP)).await?;
    let unlogged = |e| answer(StatusCode::FORBIDDEN, &format!("nothing is allowed: {e}"));
    let allowed = proxy.allow(&at, wire.counts.clone()).map_err(unlogged)?;
    let fail = |why: &dyn std::fmt::Display| {
        answer(StatusCode::BAD_GATEWAY, &format!("{at} does not answer: {why}"))
    };
    let shaken = http1::handshake(TokioIo::new(wire)).await;
    let (mut sender, connection) = shaken.map_err(|e| fail(&e))?;
    tokio::spawn(async move {
        let _ = connection.await;
        drop(allowed);
    });
    rewrite(&mut request, &uri, &at).map_err(|e| fail(&e))?;
    let answered = match timeout(PATIENCE, sender.send_request(request)).await {
        Ok(answered) => answered.map_err(|e| fail(&e))?,
        Err(_) => return Err(answer(StatusCode::GATEWAY_TIMEOUT, &format!("{at} is silent"))),
    };
    let (mut parts, body) = answered.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(fail(&"it switches protocols"));
    }
    remove_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

/// Whether there is one Host header, and it names the host that the request goes to.
fn is_of(headers: &HeaderMap, written: &str) -> bool {
    let mut all = headers.get_all(header::HOST).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return false };
    let named = only.to_str().ok().and_then(|text| HostPort::parse(text, Some(HTTP)).ok());
    // What cannot be understood is refused as such.
    HostPort::parse(written, Some(HTTP)).map_or(true, |at| named == Some(at))
}

fn rewrite(request: &mut Request<Incoming>, uri: &Uri, at: &HostPort) -> io::Result<()> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // `http://host?query` has a query and no path.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    *request.uri_mut() = path.parse().map_err(io::Error::other)?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    // How long the body is, is said anew: by what was understood, not by what was written.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    let host = if at.port == HTTP { at.host.to_string() } else { at.to_string() };
    headers.insert(header::HOST, HeaderValue::try_from(host).map_err(io::Error::other)?);
    Ok(())
}

/// Headers that are between neighbours (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    let always = [
        header::CONNECTION,
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("keep-alive"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    for name in named.into_iter().chain(always) {
        headers.remove(name);
    }
}
