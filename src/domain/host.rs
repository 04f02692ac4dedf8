//! Where a connection goes: a host, written in the one way there is, and a port.
//!
//! There are many ways to write one address: letters of either case, a dot at the end, numbers in
//! octal or hexadecimal, IPv4 inside of IPv6. A name that is compared in one of them and looked up
//! in another is a hole, so only one is accepted: plain ASCII labels (other scripts in punycode),
//! dotted decimal, and IPv6 in brackets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name: lower-case labels of letters, digits and hyphens.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
}

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(&'static str);

fn wrong<T>(why: &'static str) -> Result<T, HostError> {
    Err(HostError(why))
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return ipv6(inside).map(|ip| Self::Ip(ip.into()));
        }
        if text.is_empty() || text.len() > 253 {
            return wrong("a host has from 1 to 253 characters");
        }
        if text.contains('@') {
            return wrong("a host holds no user name");
        }
        if !text.is_ascii() {
            return wrong("a host is written in ASCII; other letters as punycode (xn--…)");
        }
        if text.ends_with('.') {
            return wrong("a host does not end in a dot");
        }
        let label = |label: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !text.split('.').all(label) {
            return wrong("a host is made of letters, digits, hyphens and dots");
        }
        // Resolvers take "0x7f.1", "2130706433" and "0177.0.0.1" for addresses; no name of the real
        // network ends in a number.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let number = last.bytes().all(|b| b.is_ascii_digit())
            || hex.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if !number {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        match text.parse::<Ipv4Addr>() {
            Ok(ip) => Ok(Self::Ip(ip.into())),
            Err(_) => wrong("an address has four decimal numbers without leading zeros"),
        }
    }
}

fn ipv6(text: &str) -> Result<Ipv6Addr, HostError> {
    match text.parse::<Ipv6Addr>() {
        Ok(ip) if ip.to_ipv4_mapped().is_some() => {
            wrong("an IPv4 address is not written as an IPv6 one")
        }
        Ok(ip) => Ok(ip),
        Err(_) => wrong("that is not an IPv6 address"),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl HostPort {
    /// Reads `host:port` or, if there is a `default` port, `host`.
    ///
    /// # Errors
    /// When either is not written in the one way there is.
    pub fn parse(text: &str, default: Option<u16>) -> Result<Self, HostError> {
        // The colons of an IPv6 address are in brackets.
        let colon = text.rfind(':').filter(|at| !text[*at..].contains(']'));
        let (host, port) = match (colon, default) {
            (Some(at), _) => (&text[..at], port(&text[at + 1..])?),
            (None, Some(port)) => (text, port),
            (None, None) => return wrong("the port is missing"),
        };
        Ok(Self { host: host.parse()?, port })
    }
}

fn port(text: &str) -> Result<u16, HostError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(port) if plain => Ok(port),
        _ => wrong("a port is a number from 1 to 65535"),
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_is_one_way_to_write_a_host() {
        for (text, shown) in [
            ("github.com", "github.com"),
            ("GitHub.COM", "github.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("3com.com", "3com.com"),
            ("0x7f.example", "0x7f.example"),
            ("1.1.1.1", "1.1.1.1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn every_other_way_is_refused() {
        let long = format!("{}.com", "a".repeat(64));
        let longer = ["abcdefgh"; 40].join(".");
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "github.com.",
            "github.com..",
            "-a.com",
            "a-.com",
            "a b",
            " github.com",
            "github.com ",
            "github.com\0",
            "github.com\0.evil.com",
            "a\nb",
            "github.com\t",
            "user@github.com",
            "github.com@evil.com",
            "github.com#",
            "github.com/",
            "github.com\\",
            "github.com?",
            "github.com%2e",
            "%67ithub.com",
            "github.com;",
            "a_b.com",
            "*",
            "*.com",
            "gıthub.com",
            "ｇithub.com",
            "github。com",
            "github\u{ad}.com",
            "bücher.de",
            "github.com\u{200b}",
            "\u{202e}moc.buhtig",
            "127.1",
            "127.0.1",
            "2130706433",
            "0",
            "0x0",
            "0x7f000001",
            "0x7f.0.0.1",
            "0X7F.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.01",
            "127.0.0.0x1",
            "a.0x1",
            "a.1",
            "256.1.1.1",
            "1.2.3.4.5",
            "1.2.3.4.",
            "127.0.0.1:80",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[[::1]]",
            "[::1].com",
            "localhost[::1]",
            &long,
            &longer,
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_port_is_plain_decimal() {
        let of = |text: &str| HostPort::parse(text, Some(443)).map(|t| t.to_string());
        assert_eq!(of("a.com").unwrap(), "a.com:443");
        assert_eq!(of("A.com:8080").unwrap(), "a.com:8080");
        assert_eq!(of("[::1]").unwrap(), "[::1]:443");
        assert_eq!(of("[::1]:80").unwrap(), "[::1]:80");
        for text in [
            "a.com:",
            "a.com:0",
            "a.com:00443",
            "a.com:0443",
            "a.com:65536",
            "a.com:+443",
            "a.com:-1",
            "a.com: 443",
            "a.com:443 ",
            "a.com:0x1bb",
            "a.com:443:443",
            "a.com:https",
            "a.com:４４３",
            "::1:443",
            ":443",
            "u:p@a.com:443",
            "a.com:443/",
            "a.com:443@b.com:443",
            "[::1]443",
        ] {
            assert!(of(text).is_err(), "{text:?}");
        }
        assert!(HostPort::parse("a.com", None).is_err());
        assert!(HostPort::parse("[::1]", None).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_in_the_same_way_again(text in "[a-fxX0-9.:\\[\\]-]{0,20}") {
            if let Ok(host) = text.parse::<Host>() {
                prop_assert_eq!(host.to_string().parse::<Host>(), Ok(host));
            }
        }
    }
}
