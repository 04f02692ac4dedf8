//! Where GitHub is: the API's address, paths below it, and which links may be followed.

use std::fmt::Write as _;

use http::Uri;

use super::Error;

/// The API's address: `origin` (`https://host[:port]`) and `prefix` (empty, or `/api/v3`).
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) origin: String,
    prefix: String,
}

impl Address {
    /// Parses `http(s)://host[:port][/prefix][/]`. Anything else in it is refused; above all
    /// credentials, which would end up in messages.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Client {
            // What stands before an `@` may be a password.
            url: url.rsplit('@').next().unwrap_or_default().to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = url.trim().parse().map_err(|_| wrong("it is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("it must start with http:// or https:// and name a host"));
        };
        if scheme != "http" && scheme != "https" {
            return Err(wrong("it must start with http:// or https://"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it must not hold a user name or a password"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(wrong("it must not hold `?` or `#`"));
        }
        Ok(Self {
            origin: format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The whole address of `path`, which starts with a slash and is encoded already.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.prefix)
    }

    /// Where GraphQL is asked: beside a server's `/api/v3`, at the root of GitHub's own API.
    pub(super) fn graphql(&self) -> String {
        let parent = self.prefix.strip_suffix("/v3").unwrap_or(&self.prefix);
        format!("{}{parent}/graphql", self.origin)
    }

    /// `link` as an absolute address, if it leads to this same server. Any other server must
    /// never be asked: it would be sent the token.
    pub(super) fn same_origin(&self, link: &str) -> Option<String> {
        if link.starts_with('/') && !link.starts_with("//") {
            return Some(format!("{}{link}", self.origin));
        }
        let (ours, theirs) = (origin_of(&self.origin)?, origin_of(link)?);
        (ours == theirs).then(|| link.to_owned())
    }

    /// `url` without origin, prefix and query, for people.
    pub(super) fn shorten(&self, url: &str) -> String {
        let path = url.strip_prefix(&self.origin).unwrap_or(url);
        let path = path.strip_prefix(&self.prefix).unwrap_or(path);
        path.split('?').next().unwrap_or(path).to_owned()
    }
}

fn origin_of(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority()?;
    let port = match (authority.port_u16(), scheme.as_str()) {
        (Some(port), _) => port,
        (None, "https") => 443,
        (None, _) => 80,
    };
    let plain = !authority.as_str().contains('@');
    plain.then(|| (scheme, authority.host().to_ascii_lowercase(), port))
}

/// `text` as one segment of a path, or as a value in a query: everything but RFC 3986's
/// unreserved characters is percent-encoded.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else if byte == b'.' && text != "." && text != ".." {
            out.push('.');
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The target of `rel="next"` in a `Link` header.
pub(super) fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let is_next = after[..end].split([';', ',']).any(|param| {
            let param = param.trim().to_ascii_lowercase();
            param == "rel=\"next\"" || param == "rel=next"
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = &after[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_prefix_and_lose_the_last_slash() {
        let join = |url: &str| Address::parse(url).unwrap().join("/user");
        assert_eq!(join("https://api.github.com"), "https://api.github.com/user");
        assert_eq!(join("http://Host:81/api/v3/"), "http://host:81/api/v3/user");
    }

    #[test]
    fn graphql_is_beside_the_rest() {
        let at = |url: &str| Address::parse(url).unwrap().graphql();
        assert_eq!(at("https://api.github.com"), "https://api.github.com/graphql");
        assert_eq!(at("http://host:81/api/v3/"), "http://host:81/api/graphql");
    }

    #[test]
    fn addresses_with_anything_else_are_refused_and_never_shown_with_a_password() {
        for bad in ["", "api.github.com", "ftp://x", "/x", "http://x/?a", "http://x/#a", "http://"]
        {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
        let error = Address::parse("https://me:hunter2@host/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn only_links_to_the_same_server_are_followed() {
        let api = Address::parse("https://host/api/v3").unwrap();
        for good in ["https://host/repositories/1/issues?page=2", "https://HOST:443/x", "/x?page=2"]
        {
            assert!(api.same_origin(good).is_some(), "{good}");
        }
        for bad in [
            "http://host/x",
            "https://host:444/x",
            "https://host.evil/x",
            "https://host@evil/x",
            "https://x@host/x",
            "//evil/x",
            "nonsense",
            "",
        ] {
            assert_eq!(api.same_origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_in_paths_are_encoded() {
        assert_eq!(encode("worker:01"), "worker%3A01");
        assert_eq!(encode("a/b é?#%"), "a%2Fb%20%C3%A9%3F%23%25");
        assert_eq!(encode(".."), "%2E%2E");
        assert_eq!(encode("v1.2_x-~"), "v1.2_x-~");
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let header = "<https://h/a?x=1,2&page=1>; rel=\"prev\", <https://h/a?page=3>; rel=\"next\", \
                      <https://h/a?page=9>; rel=\"last\"";
        assert_eq!(next_link(header).as_deref(), Some("https://h/a?page=3"));
        assert_eq!(next_link("<https://h/a>; rel=\"last\""), None);
        assert_eq!(next_link("<https://h/a"), None);
        assert_eq!(next_link(""), None);
    }
}
