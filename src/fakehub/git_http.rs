//! Git over smart HTTP: `git http-backend`, as a CGI program, behind GitHub's own checks.

use std::io;
use std::process::Stdio;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use super::api::{self, Request};
use super::auth;
use super::lock;
use super::server::Outgoing;
use super::state::{Role, State, now};

/// What a git client asks for.
pub(super) struct Service {
    owner: String,
    name: String,
    /// `info/refs`, `git-upload-pack` or `git-receive-pack`.
    rest: &'static str,
    push: bool,
}

impl Service {
    /// `/owner/name/REST` or `/owner/name.git/REST`; `None` if the request is not git's.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let mut parts = request.path.strip_prefix('/')?.splitn(3, '/');
        let (owner, name, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let rest = ["info/refs", "git-upload-pack", "git-receive-pack"]
            .into_iter()
            .find(|known| *known == rest)?;
        let push = rest == "git-receive-pack"
            || (rest == "info/refs" && request.query.contains("service=git-receive-pack"));
        let name = name.strip_suffix(".git").unwrap_or(name);
        Some(Self { owner: owner.to_owned(), name: name.to_owned(), rest, push })
    }
}

fn plain(status: u16, text: &str) -> Outgoing {
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    Outgoing { status, headers, body: Bytes::from(text.to_owned()) }
}

fn unauthorized(text: &str) -> Outgoing {
    let mut outgoing = plain(401, text);
    outgoing.headers.push(("www-authenticate".to_owned(), "Basic realm=\"GitHub\"".to_owned()));
    outgoing
}

/// Where to go on: the bare repository and the caller's login.
struct Admitted {
    repo: usize,
    login: Option<String>,
}

/// Whether the caller may do this, by what GitHub would say.
fn admitted(state: &State, request: &Request, service: &Service) -> Result<Admitted, Outgoing> {
    let caller = auth::caller(state, request.header("authorization"))
        .map_err(|()| unauthorized("Invalid username or token."))?;
    let login = caller.login;
    let Some(repo) = state.find(&service.owner, &service.name) else {
        let former = format!("{}/{}", service.owner, service.name).to_ascii_lowercase();
        let renamed = state.renamed.get(&former).and_then(|id| state.find_id(*id));
        let Some(repo) = renamed else {
            // GitHub does not tell a stranger whether a repository exists.
            return Err(match login {
                None => unauthorized("Repository not found."),
                Some(_) => plain(404, "Repository not found."),
            });
        };
        let name = state.repos[repo].full_name();
        let query = &request.query;
        let url = format!("{}/{name}.git/{}?{query}", state.server, service.rest);
        let mut outgoing = plain(301, "");
        outgoing.headers.push(("location".to_owned(), url));
        return Err(outgoing);
    };
    let repository = &state.repos[repo];
    let role = repository.role(login.as_deref());
    if login.is_none() && (role == Role::None || service.push) {
        return Err(unauthorized("Authentication required."));
    }
    if role == Role::None {
        return Err(plain(404, "Repository not found."));
    }
    let name = repository.full_name();
    if service.push && repository.archived {
        return Err(plain(403, "This repository was archived so it is read-only."));
    }
    if service.push && role < Role::Write {
        let who = login.as_deref().unwrap_or_default();
        return Err(plain(403, &format!("Permission to {name}.git denied to {who}.")));
    }
    Ok(Admitted { repo, login })
}

/// Answers git. The second value is the caller's login.
pub(super) async fn serve(
    state: &Mutex<State>,
    request: &Request,
    service: &Service,
) -> (Outgoing, Option<String>) {
    let (command, admitted) = {
        let state = lock(state);
        let admitted = match admitted(&state, request, service) {
            Ok(admitted) => admitted,
            Err(refusal) => return (refusal, None),
        };
        let dir = &state.repos[admitted.repo].git;
        let mut command = state.git.command(dir);
        command
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &state.git.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", format!("/{dir}/{}", service.rest))
            .env("REMOTE_ADDR", "127.0.0.1");
        if let Some(login) = &admitted.login {
            command.env("REMOTE_USER", login);
        }
        (command, admitted)
    };
    let outgoing = match cgi(command, request).await {
        Ok(outgoing) => outgoing,
        Err(error) => plain(500, &error.to_string()),
    };
    if service.push && service.rest == "git-receive-pack" {
        let mut state = lock(state);
        state.repos[admitted.repo].pushed = now();
        if let Err(error) = api::follow_branches(&mut state, admitted.repo) {
            return (plain(500, &error.to_string()), admitted.login);
        }
    }
    (outgoing, admitted.login)
}

async fn cgi(command: std::process::Command, request: &Request) -> io::Result<Outgoing> {
    let mut command = tokio::process::Command::from(command);
    command
        .env("REQUEST_METHOD", &request.method)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for (variable, header) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        if let Some(value) = request.header(header) {
            command.env(variable, value);
        }
    }
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that has read enough closes its end: that is not our trouble.
            let _ = stdin.write_all(&request.body).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output?;
    parsed(&output.stdout.into()).ok_or_else(|| {
        io::Error::other(format!(
            "git http-backend failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    })
}

/// A CGI answer: headers, an empty line, the body.
fn parsed(output: &Bytes) -> Option<Outgoing> {
    let end = output.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&output[..end]).ok()?;
    let mut outgoing = Outgoing { status: 200, headers: Vec::new(), body: output.slice(end + 4..) };
    for line in head.lines() {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("status") {
            outgoing.status = value.trim().get(..3)?.parse().ok()?;
        } else {
            outgoing.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Some(outgoing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgi_answer_has_a_status_headers_and_a_body() {
        let raw = "Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nno\r\n\r\n";
        let outgoing = parsed(&Bytes::from_static(raw.as_bytes())).unwrap();
        assert_eq!(outgoing.status, 403);
        assert_eq!(outgoing.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
        assert_eq!(outgoing.body, "no\r\n\r\n");
        assert!(parsed(&Bytes::from_static(b"nothing of the kind")).is_none());
    }
}
