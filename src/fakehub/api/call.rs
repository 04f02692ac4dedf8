//! One request on its way: what it asks, who asks, and what that person may do.

use axum::extract::Query;
use axum::http::Uri;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::render::{View, percent_encoded};
use super::super::reply::Reply;
use super::super::state::{Gone, Issue, Repo, Role, State};
use super::Request;

pub(super) struct Call<'a> {
    pub(super) state: &'a mut State,
    pub(super) request: &'a Request,
    /// The API's address as the caller used it.
    pub(super) api: String,
    pub(super) who: Option<String>,
    query: Vec<(String, String)>,
    /// The path for links: repositories by id, as GitHub writes it.
    canonical: String,
}

impl<'a> Call<'a> {
    pub(super) fn new(state: &'a mut State, request: &'a Request, who: Option<String>) -> Self {
        let query = format!("/?{}", request.query)
            .parse::<Uri>()
            .ok()
            .and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
            .map(|Query(pairs)| pairs)
            .unwrap_or_default();
        let api = format!("{}{}", state.server, request.prefix);
        Self { state, request, api, who, query, canonical: request.path.clone() }
    }

    pub(super) fn method(&self) -> &'a str {
        &self.request.method
    }

    /// The decoded parts of the path.
    pub(super) fn segments(&self) -> Result<Vec<String>, Reply> {
        let parts = self.request.path.split('/').filter(|p| !p.is_empty());
        parts.map(|p| decoded(p).ok_or_else(Reply::not_found)).collect()
    }

    pub(super) fn unknown(&self) -> Reply {
        Reply::unsupported(&format!("{} {}", self.request.method, self.request.path))
    }

    pub(super) fn view(&self) -> View<'_> {
        View { state: self.state, api: &self.api, login: self.who.as_deref() }
    }

    pub(super) fn repo(&self, repo: usize) -> &Repo {
        &self.state.repos[repo]
    }

    /// The repository, if the caller may know of it.
    fn visible(&mut self, repo: usize, rest_at: usize) -> Result<usize, Reply> {
        if self.repo(repo).role(self.who.as_deref()) == Role::None {
            return Err(Reply::not_found());
        }
        self.canonical = self.by_id(self.repo(repo).id, rest_at);
        Ok(repo)
    }

    /// The request's path with the repository by id; the rest starts at the n-th slash.
    fn by_id(&self, id: u64, rest_at: usize) -> String {
        let path = self.request.path.trim_end_matches('/');
        let rest = path.match_indices('/').nth(rest_at).map_or("", |(at, _)| &path[at..]);
        format!("/repositories/{id}{rest}")
    }

    pub(super) fn repo_named(&mut self, owner: &str, name: &str) -> Result<usize, Reply> {
        if let Some(repo) = self.state.find(owner, name) {
            return self.visible(repo, 3);
        }
        let former = format!("{owner}/{name}").to_ascii_lowercase();
        let id = self.state.renamed.get(&former).copied().ok_or_else(Reply::not_found)?;
        let repo = self.state.find_id(id).ok_or_else(Reply::not_found)?;
        self.visible(repo, 3)?;
        Err(self.elsewhere(&self.canonical))
    }

    pub(super) fn repo_with_id(&mut self, id: &str) -> Result<usize, Reply> {
        let id = id.parse().map_err(|_| Reply::not_found())?;
        let repo = self.state.find_id(id).ok_or_else(Reply::not_found)?;
        self.visible(repo, 2)
    }

    fn elsewhere(&self, path: &str) -> Reply {
        let mark = if self.request.query.is_empty() { "" } else { "?" };
        Reply::moved(format!("{}{path}{mark}{}", self.api, self.request.query))
    }

    /// The issue's number, if the issue is here; `rest` is what the path says behind it.
    pub(super) fn issue(&self, repo: usize, number: &str, rest: &[&str]) -> Result<u64, Reply> {
        let number: u64 = number.parse().map_err(|_| Reply::not_found())?;
        let repo = self.repo(repo);
        match repo.gone.get(&number) {
            Some(Gone::Deleted) => return Err(Reply::error(410, "This issue was deleted")),
            Some(Gone::Moved { repo, number }) => {
                let new = self.state.find_id(*repo).ok_or_else(Reply::not_found)?;
                if self.repo(new).role(self.who.as_deref()) == Role::None {
                    return Err(Reply::not_found());
                }
                let rest: String =
                    rest.iter().flat_map(|part| ["/".to_owned(), percent_encoded(part)]).collect();
                return Err(self.elsewhere(&format!("/repositories/{repo}/issues/{number}{rest}")));
            }
            None => {}
        }
        let issue = repo.issues.get(&number).ok_or_else(Reply::not_found)?;
        if issue.pull.is_none() && !repo.has_issues {
            return Err(issues_are_off());
        }
        Ok(number)
    }

    /// An issue that [`Call::issue`] found.
    pub(super) fn the(&self, repo: usize, number: u64) -> Result<&Issue, Reply> {
        self.repo(repo).issues.get(&number).ok_or_else(Reply::not_found)
    }

    pub(super) fn the_mut(&mut self, repo: usize, number: u64) -> Result<&mut Issue, Reply> {
        self.state.repos[repo].issues.get_mut(&number).ok_or_else(Reply::not_found)
    }

    /// The caller's login. 401 without a token.
    pub(super) fn login(&self) -> Result<String, Reply> {
        self.who.clone().ok_or_else(|| Reply::error(401, "Requires authentication"))
    }

    pub(super) fn role(&self, repo: usize) -> Role {
        self.repo(repo).role(self.who.as_deref())
    }

    /// The caller's login, if that person may write here as `role` may.
    pub(super) fn may(&self, repo: usize, role: Role) -> Result<String, Reply> {
        let login = self.login()?;
        if self.repo(repo).archived {
            return Err(Reply::error(403, "Repository was archived so is read-only."));
        }
        if self.role(repo) < role {
            return Err(Reply::error(403, "Resource not accessible by personal access token"));
        }
        Ok(login)
    }

    /// Refuses query parameters other than these and those of pages.
    pub(super) fn allow(&self, known: &[&str]) -> Result<(), Reply> {
        let other = self.query.iter().find(|(name, _)| {
            !known.contains(&name.as_str()) && name != "page" && name != "per_page"
        });
        match other {
            Some((name, _)) => Err(Reply::unsupported(&format!(
                "the query parameter `{name}` of {} {}",
                self.request.method, self.request.path
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A parameter that has one of these values; the first is the default.
    pub(super) fn choice(
        &self,
        name: &str,
        values: &[&'static str],
    ) -> Result<&'static str, Reply> {
        let Some(given) = self.param(name) else { return Ok(values[0]) };
        let found = values.iter().find(|v| **v == given);
        found.copied().ok_or_else(|| Reply::invalid_field("Search", name, "invalid"))
    }

    pub(super) fn time_param(&self, name: &str) -> Result<Option<Timestamp>, Reply> {
        let Some(text) = self.param(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Reply::invalid_field("Search", name, "invalid"))
    }

    /// The body's fields. Refuses others than the known ones.
    pub(super) fn body(&self, known: &[&str]) -> Result<Map<String, Value>, Reply> {
        let json = serde_json::from_slice(&self.request.body)
            .map_err(|_| Reply::error(400, "Problems parsing JSON"))?;
        let Value::Object(fields) = json else {
            return Err(Reply::error(400, "Body should be a JSON object"));
        };
        match fields.keys().find(|k| !known.contains(&k.as_str())) {
            Some(other) => Err(Reply::unsupported(&format!(
                "the field `{other}` of {} {}",
                self.request.method, self.request.path
            ))),
            None => Ok(fields),
        }
    }

    /// One page of a list, with links to the others.
    pub(super) fn page<T>(&self, items: &[T], render: impl Fn(&T) -> Value) -> Reply {
        let number = |name: &str| self.param(name).and_then(|v| v.parse::<usize>().ok());
        let size = number("per_page").filter(|n| *n > 0).unwrap_or(30).min(100);
        let page = number("page").unwrap_or(1).max(1);
        let last = items.len().div_ceil(size).max(1);
        let start = (page - 1).saturating_mul(size).min(items.len());
        let shown = items[start..].iter().take(size).map(render).collect();
        let mut links = Vec::new();
        let mut link = |page: usize, rel: &str| {
            links.push(format!("<{}>; rel=\"{rel}\"", self.page_url(page)));
        };
        if page > 1 {
            link((page - 1).min(last), "prev");
        }
        if page < last {
            link(page + 1, "next");
            link(last, "last");
        }
        if page > 1 {
            link(1, "first");
        }
        let reply = Reply::ok(Value::Array(shown));
        if links.is_empty() { reply } else { reply.with("link", links.join(", ")) }
    }

    fn page_url(&self, page: usize) -> String {
        let others = self.request.query.split('&');
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("page="));
        let query: Vec<String> =
            others.map(str::to_owned).chain([format!("page={page}")]).collect();
        format!("{}{}?{}", self.api, self.canonical, query.join("&"))
    }
}

pub(super) fn issues_are_off() -> Reply {
    Reply::error(410, "Issues has been disabled in this repository.")
}

/// A text field; `None` if it is absent or null. 422 if it is something else or too long.
pub(super) fn text(
    fields: &Map<String, Value>,
    resource: &str,
    name: &str,
    max: usize,
) -> Result<Option<String>, Reply> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() > max => {
            let message = format!("{name} is too long (maximum is {max} characters)");
            Err(Reply::invalid_because(resource, name, &message))
        }
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Reply::invalid_field(resource, name, "invalid")),
    }
}

/// A text field that must be there and not blank.
pub(super) fn required(
    fields: &Map<String, Value>,
    resource: &str,
    name: &str,
    max: usize,
) -> Result<String, Reply> {
    text(fields, resource, name, max)?
        .filter(|t| !t.trim().is_empty())
        .ok_or_else(|| Reply::invalid_field(resource, name, "missing_field"))
}

/// Percent-decodes a part of a path; `None` if that is not text.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
