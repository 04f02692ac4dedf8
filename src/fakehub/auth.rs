//! Who is asking.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::api::Request;
use super::reply::Reply;
use super::state::State;

/// Whoever sent a request. Not `Debug`: it has the token.
pub(super) struct Caller {
    /// As registered; `None` without a token.
    pub(super) login: Option<String>,
    pub(super) token: Option<String>,
}

impl Caller {
    pub(super) fn describe(&self) -> &str {
        self.login.as_deref().unwrap_or("127.0.0.1")
    }
}

/// The token in an `Authorization` header: `Bearer`, `token`, or the password of `Basic`, where
/// the user's name does not matter.
fn token(header: &str) -> Option<String> {
    let (scheme, value) = header.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(value.trim().to_owned()),
        "basic" => {
            let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
            decoded.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

pub(super) fn token_of(request: &Request) -> Option<String> {
    request.header("authorization").and_then(token)
}

/// The caller behind an `Authorization` header. Nobody without one; `Err` if the token is wrong.
pub(super) fn caller(state: &State, header: Option<&str>) -> Result<Caller, ()> {
    let Some(header) = header else { return Ok(Caller { login: None, token: None }) };
    let token = token(header).ok_or(())?;
    let login = state.tokens.get(&token).ok_or(())?.login.clone();
    Ok(Caller { login: Some(login), token: Some(token) })
}

/// As [`caller`], refusing as the REST API does.
pub(super) fn rest_caller(state: &State, header: Option<&str>) -> Result<Caller, Reply> {
    caller(state, header).map_err(|()| Reply::error(401, "Bad credentials"))
}
