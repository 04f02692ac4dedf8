//! The smallest HTTP client that a test can do with.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

/// Somebody with or without a token, at a base such as `http://127.0.0.1:1234/api/v3`.
#[derive(Clone)]
pub struct Client {
    host: String,
    prefix: String,
    headers: Vec<(String, String)>,
}

/// What came back. A body that is not JSON is null.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub json: Value,
}

impl Response {
    /// A header, by its lower-case name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// The URL that the `Link` header gives for this relation.
    pub fn link(&self, rel: &str) -> Option<String> {
        let rel = format!("rel=\"{rel}\"");
        let link = self.header("link").split(", ").find(|link| link.contains(&rel))?;
        Some(link.split(['<', '>']).nth(1)?.to_owned())
    }
}

impl Client {
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let rest = base.strip_prefix("http://").expect("a plain base");
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let client = Self {
            host: host.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("/{prefix}") },
            headers: Vec::new(),
        };
        let client = client.with("user-agent", "test");
        match token {
            Some(token) => client.with("authorization", &format!("Bearer {token}")),
            None => client,
        }
    }

    /// The same, sending one more header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, None)
    }

    /// A request that gets an answer. `path` may be a whole URL of this server.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let raw = self.raw(method, path, body);
        parsed(&raw).unwrap_or_else(|| panic!("{method} {path}: no whole answer in {raw:?}"))
    }

    /// All the bytes that came back until the connection closed.
    pub fn raw(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let path = match path.strip_prefix(&format!("http://{}", self.host)) {
            Some(path) => path.to_owned(),
            None => format!("{}{path}", self.prefix),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{}connection: close\r\n\
             content-length: {}\r\n\r\n",
            self.host,
            headers.concat(),
            body.len()
        );
        let mut socket = TcpStream::connect(&self.host).expect("the server listens");
        socket.write_all(format!("{head}{body}").as_bytes()).expect("the request is sent");
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = socket.read_to_end(&mut bytes);
        String::from_utf8(bytes).expect("answers are text")
    }
}

fn parsed(raw: &str) -> Option<Response> {
    let (head, body) = raw.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map(|(_, v)| v.parse());
    if length.is_some_and(|length| length != Ok(body.len())) && status != 304 {
        return None;
    }
    Some(Response { status, headers, json: serde_json::from_str(body).unwrap_or(Value::Null) })
}
