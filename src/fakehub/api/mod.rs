//! The REST API: one request in, one reply out, no I/O but git's.

mod call;
mod comments;
mod graphql;
mod issues;
mod labels;
mod pulls;
mod refs;
mod repos;
mod users;

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use super::auth::{self, Caller};
use super::reply::{Answer, Reply};
use super::state::{Rate, State, now};
use call::Call;
pub(super) use pulls::follow_branches;

/// A request as it arrived.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// `/api/v3`, or nothing for one that came without.
    pub(super) prefix: &'static str,
    /// Behind the prefix, percent-encoded, starting with a slash.
    pub(super) path: String,
    /// Percent-encoded; empty if none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Answers a request, with all the headers that GitHub sends.
pub(super) fn answer(state: &mut State, request: &Request) -> (Reply, Option<String>) {
    let caller = match auth::rest_caller(state, request.header("authorization")) {
        Ok(caller) => caller,
        Err(refusal) => return (dressed(state, request, None, refusal), None),
    };
    let free = request.path == "/rate_limit";
    let reply = if request.header("user-agent").is_none() {
        Reply::error(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
        )
    } else if !free && rate(state, &caller).remaining() == 0 {
        Reply::error(403, &format!("API rate limit exceeded for {}.", caller.describe()))
    } else {
        let mut call = Call::new(state, request, caller.login.clone());
        route(&mut call).unwrap_or_else(|refusal| refusal)
    };
    let reply = conditional(request, &caller, reply);
    if !free && reply.status != 304 {
        let rate = rate(state, &caller);
        rate.used = (rate.used + 1).min(rate.limit);
    }
    let login = caller.login.clone();
    (dressed(state, request, Some(&caller), reply), login)
}

/// As [`answer`], from a replica that is `lag` changes behind.
pub(super) fn answer_of_late(
    state: &mut State,
    request: &Request,
    lag: u64,
) -> (Reply, Option<String>) {
    let present = state.rewind(lag);
    let answered = answer(state, request);
    state.restore(present);
    answered
}

/// A list that has moved on between two of its pages: it begins with what the page before ended with.
/// Where there is no page before, its last element is there twice.
pub(super) fn repeating(state: &mut State, request: &Request) -> (Reply, Option<String>) {
    let (mut reply, login) = answer(state, request);
    let Some(Value::Array(items)) = &mut reply.body else { return (reply, login) };
    let number = |pair: &str| pair.strip_prefix("page=")?.parse::<u64>().ok();
    let page = request.query.split('&').find_map(number).filter(|n| *n > 1);
    let Some(page) = page else {
        items.extend(items.last().cloned());
        return (reply, login);
    };
    let others = request.query.split('&').filter(|pair| number(pair).is_none());
    let before = format!("page={}", page - 1);
    let query: Vec<&str> = others.chain([before.as_str()]).collect();
    let before = Request { query: query.join("&"), ..request.clone() };
    if let (Reply { body: Some(Value::Array(mut before)), .. }, _) = answer(state, &before)
        && let Some(last) = before.pop()
    {
        items.insert(0, last);
    }
    (reply, login)
}

/// The caller's limit; it starts anew when its hour is over.
fn rate<'a>(state: &'a mut State, caller: &Caller) -> &'a mut Rate {
    let rate = match caller.token.as_ref().and_then(|t| state.tokens.get_mut(t)) {
        Some(token) => &mut token.rate,
        None => &mut state.anonymous,
    };
    if rate.reset <= now() {
        *rate = Rate::new(rate.limit, now());
    }
    rate
}

/// Adds the weak entity tag of a body, and leaves the body out if the caller has it already.
fn conditional(request: &Request, caller: &Caller, mut reply: Reply) -> Reply {
    let Some(body) = &reply.body else { return reply };
    if request.method != "GET" || reply.status != 200 {
        return reply;
    }
    let mut hasher = DefaultHasher::new();
    (body.to_string(), &caller.login).hash(&mut hasher);
    let tag = format!("{:016x}", hasher.finish());
    let known = request.header("if-none-match").is_some_and(|tags| {
        let opaque = |t: &str| t.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        tags.split(',').any(|t| opaque(t) == tag)
    });
    if known {
        reply.status = 304;
        reply.body = None;
    }
    reply.with("etag", format!("W/\"{tag}\""))
}

/// Adds what every answer has.
fn dressed(
    state: &mut State,
    request: &Request,
    caller: Option<&Caller>,
    mut reply: Reply,
) -> Reply {
    let id = state.new_id();
    reply = reply
        .with("x-github-request-id", format!("{id:04X}:{:06X}", request.path.len()))
        .with("x-github-media-type", "github.v3; format=json".to_owned())
        .with("x-github-api-version-selected", "2022-11-28".to_owned())
        .with("cache-control", "private, max-age=60, s-maxage=60".to_owned())
        .with("vary", "Accept, Authorization, Cookie, X-GitHub-OTP".to_owned());
    let Some(caller) = caller else { return reply };
    if let Some(scopes) =
        caller.token.as_ref().and_then(|t| state.tokens.get(t)).and_then(|t| t.scopes.clone())
    {
        reply = reply.with("x-oauth-scopes", scopes);
    }
    let rate = *rate(state, caller);
    reply
        .with("x-ratelimit-limit", rate.limit.to_string())
        .with("x-ratelimit-remaining", rate.remaining().to_string())
        .with("x-ratelimit-used", rate.used.to_string())
        .with("x-ratelimit-reset", rate.reset.as_second().to_string())
        .with("x-ratelimit-resource", "core".to_owned())
}

fn route(call: &mut Call) -> Answer {
    let path = call.segments()?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (call.method(), path.as_slice()) {
        ("GET", []) => Ok(Reply::ok(root(&call.api))),
        ("GET", ["meta"]) => Ok(Reply::ok(json!({"verifiable_password_authentication": false}))),
        ("GET", ["rate_limit"]) => Ok(Reply::ok(rate_limit(call))),
        ("GET", ["user"]) => users::me(call),
        ("GET", ["user", "repos"]) => users::my_repos(call),
        ("GET", ["users", login]) => users::one(call, login),
        ("GET", ["users", login, "repos"]) => users::repos_of_user(call, login),
        ("GET", ["orgs", login, "repos"]) => users::repos_of_org(call, login),
        ("GET", ["issues"]) => issues::everywhere(call),
        ("POST", ["graphql"]) => graphql::answer(call),
        (_, ["repos", owner, name, rest @ ..]) => {
            let repo = call.repo_named(owner, name)?;
            in_repo(call, repo, rest)
        }
        (_, ["repositories", id, rest @ ..]) => {
            let repo = call.repo_with_id(id)?;
            in_repo(call, repo, rest)
        }
        _ => Err(call.unknown()),
    }
}

fn in_repo(call: &mut Call, repo: usize, path: &[&str]) -> Answer {
    match (call.method(), path) {
        ("GET", []) => Ok(repos::one(call, repo)),
        ("GET", ["collaborators", login, "permission"]) => repos::permission(call, repo, login),
        ("GET", ["issues"]) => issues::list(call, repo),
        ("POST", ["issues"]) => issues::create(call, repo),
        ("GET", ["issues", "comments", id]) => comments::one(call, repo, id),
        ("PATCH", ["issues", "comments", id]) => comments::edit(call, repo, id),
        ("DELETE", ["issues", "comments", id]) => comments::delete(call, repo, id),
        (_, ["issues", number, rest @ ..]) => {
            let number = call.issue(repo, number, rest)?;
            in_issue(call, repo, number, rest)
        }
        ("GET", ["labels"]) => labels::list(call, repo),
        ("POST", ["labels"]) => labels::create(call, repo),
        ("GET", ["labels", name]) => labels::one(call, repo, name),
        ("PATCH", ["labels", name]) => labels::edit(call, repo, name),
        ("DELETE", ["labels", name]) => labels::delete(call, repo, name),
        ("GET", ["pulls"]) => pulls::list(call, repo),
        ("POST", ["pulls"]) => pulls::create(call, repo),
        ("GET", ["pulls", number]) => pulls::one(call, repo, number),
        ("PATCH", ["pulls", number]) => pulls::edit(call, repo, number),
        ("GET", ["git", "ref", name @ ..]) => refs::one(call, repo, &name.join("/")),
        ("GET", ["git", "matching-refs", name @ ..]) => refs::list(call, repo, &name.join("/")),
        ("POST", ["git", "refs"]) => refs::create(call, repo),
        ("PATCH", ["git", "refs", name @ ..]) => refs::update(call, repo, &name.join("/")),
        ("DELETE", ["git", "refs", name @ ..]) => refs::delete(call, repo, &name.join("/")),
        _ => Err(call.unknown()),
    }
}

fn in_issue(call: &mut Call, repo: usize, number: u64, path: &[&str]) -> Answer {
    match (call.method(), path) {
        ("GET", []) => issues::one(call, repo, number),
        ("PATCH", []) => issues::edit(call, repo, number),
        ("GET", ["events"]) => issues::events(call, repo, number),
        ("GET", ["comments"]) => comments::list(call, repo, number),
        ("POST", ["comments"]) => comments::create(call, repo, number),
        ("GET", ["labels"]) => labels::of_issue(call, repo, number),
        ("POST", ["labels"]) => labels::add(call, repo, number),
        ("DELETE", ["labels", name]) => labels::remove(call, repo, number, name),
        _ => Err(call.unknown()),
    }
}

fn rate_limit(call: &mut Call) -> Value {
    let caller = Caller { login: call.who.clone(), token: auth::token_of(call.request) };
    let core = *rate(call.state, &caller);
    let shown = |rate: Rate| {
        json!({
            "limit": rate.limit, "used": rate.used, "remaining": rate.remaining(),
            "reset": rate.reset.as_second(),
        })
    };
    let search = Rate::new(30, now());
    json!({"resources": {"core": shown(core), "search": shown(search)}, "rate": shown(core)})
}

fn root(api: &str) -> Value {
    let mut urls = serde_json::Map::new();
    for (name, path) in [
        ("current_user", "/user"),
        ("current_user_authorizations_html", "/settings/connections/applications{/client_id}"),
        ("authorizations", "/authorizations"),
        ("code_search", "/search/code?q={query}{&page,per_page,sort,order}"),
        ("commit_search", "/search/commits?q={query}{&page,per_page,sort,order}"),
        ("emails", "/user/emails"),
        ("emojis", "/emojis"),
        ("events", "/events"),
        ("feeds", "/feeds"),
        ("followers", "/user/followers"),
        ("following", "/user/following{/target}"),
        ("gists", "/gists{/gist_id}"),
        ("issue_search", "/search/issues?q={query}{&page,per_page,sort,order}"),
        ("issues", "/issues"),
        ("keys", "/user/keys"),
        ("label_search", "/search/labels?q={query}&repository_id={repository_id}{&page,per_page}"),
        ("notifications", "/notifications"),
        ("organization", "/orgs/{org}"),
        ("organization_repositories", "/orgs/{org}/repos{?type,page,per_page,sort}"),
        ("organization_teams", "/orgs/{org}/teams"),
        ("public_gists", "/gists/public"),
        ("rate_limit", "/rate_limit"),
        ("repository", "/repos/{owner}/{repo}"),
        ("repository_search", "/search/repositories?q={query}{&page,per_page,sort,order}"),
        ("current_user_repositories", "/user/repos{?type,page,per_page,sort}"),
        ("starred", "/user/starred{/owner}{/repo}"),
        ("starred_gists", "/gists/starred"),
        ("user", "/users/{user}"),
        ("user_organizations", "/user/orgs"),
        ("user_repositories", "/users/{user}/repos{?type,page,per_page,sort}"),
        ("user_search", "/search/users?q={query}{&page,per_page,sort,order}"),
    ] {
        urls.insert(format!("{name}_url"), Value::String(format!("{api}{path}")));
    }
    Value::Object(urls)
}
