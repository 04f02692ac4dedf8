//! What an agent may reach of the network: a list of hosts, and addresses that no name may lead to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::{Host, HostPort};

/// The port of an entry that names none.
const HTTPS: u16 = 443;

/// An entry of the list: one port of a host, or of every host below a domain (`*.example.com`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    below: bool,
    at: HostPort,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return Err(format!(
                "{text:?}: a host, and a port if need be, without scheme and path"
            ));
        }
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let at = HostPort::parse(rest, Some(HTTPS)).map_err(|e| format!("{text:?}: {e}"))?;
        // `*.com` would be everybody's.
        let is_domain = matches!(&at.host, Host::Name(name) if name.contains('.'));
        if below && !is_domain {
            return Err(format!("{text:?}: `*.` stands before a domain of two names or more"));
        }
        Ok(Self { below, at })
    }
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl From<HostPort> for Rule {
    fn from(at: HostPort) -> Self {
        Self { below: false, at }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below { "*." } else { "" })?;
        if self.at.port == HTTPS { self.at.host.fmt(f) } else { self.at.fmt(f) }
    }
}

impl Rule {
    /// Whether it is about one host.
    #[must_use]
    pub fn is_one_host(&self) -> bool {
        !self.below
    }

    fn names(&self, host: &Host) -> bool {
        match (host, &self.at.host) {
            (Host::Name(name), Host::Name(domain)) if self.below => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (host, at) => host == at,
        }
    }
}

/// How a client asks for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A tunnel, by `CONNECT`.
    Tunnel,
    /// One request, in the clear.
    Request,
}

/// Where the addresses of an allowed host may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In the open network.
    Public,
    /// Anywhere: the user wrote so.
    Local,
}

/// What a run may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Hosts of the open network.
    pub allow: Vec<Rule>,
    /// Services on this machine or near it. No `*.` is among them.
    pub allow_local: Vec<Rule>,
}

impl Policy {
    /// Whether a host may be asked for.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn decide(&self, how: How, at: &HostPort) -> Result<Reach, String> {
        let matches = |rule: &&Rule| rule.names(&at.host) && rule.at.port == at.port;
        let reach = if self.allow_local.iter().any(|rule| matches(&rule)) {
            Reach::Local
        } else if self.allow.iter().any(|rule| matches(&rule)) {
            Reach::Public
        } else if self.allow.iter().chain(&self.allow_local).any(|rule| rule.names(&at.host)) {
            return Err(format!("port {} of this host {UNLISTED}", at.port));
        } else {
            return Err(format!("the host {UNLISTED}"));
        };
        if how == How::Request && at.port == HTTPS {
            return Err("port 443 is spoken to through a tunnel".into());
        }
        Ok(reach)
    }

    /// The services that an agent expects on its own loopback: they are this machine's.
    #[must_use]
    pub fn on_loopback(&self) -> Vec<HostPort> {
        let local = |host: &Host| match host {
            Host::Name(name) => name == "localhost",
            Host::Ip(ip) => ip.is_loopback(),
        };
        self.allow_local.iter().map(|rule| &rule.at).filter(|at| local(&at.host)).cloned().collect()
    }
}

/// Whether a name that leads to these addresses may be connected to. One that is not of the open
/// network spoils them all: which of them is used is not for whoever owns the name to choose.
///
/// # Errors
/// Why not, in words.
pub fn check_addresses(
    reach: Reach,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<(), String> {
    if reach == Reach::Local {
        return Ok(());
    }
    for ip in addresses {
        if let Some(what) = special(ip) {
            return Err(format!("{LEADS} {ip}, {what}"));
        }
    }
    Ok(())
}

const UNLISTED: &str = "is not allowed";
const LEADS: &str = "it leads to";

/// What of the configuration would allow a thing that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// A line of `allow`.
    Allow,
    /// A line of `allow_local`.
    AllowLocal,
}

/// What would allow it, by the words it was refused with; `None`: nothing.
#[must_use]
pub fn cure(at: &HostPort, why: &str) -> Option<Cure> {
    let is_special = matches!(at.host, Host::Ip(ip) if special(ip).is_some());
    if why.starts_with(LEADS) || (why.ends_with(UNLISTED) && is_special) {
        Some(Cure::AllowLocal)
    } else if why.ends_with(UNLISTED) {
        Some(Cure::Allow)
    } else {
        None
    }
}

/// What an address is, if not one of the open network.
#[must_use]
pub fn special(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    }
}

/// From the registry of special-purpose addresses (RFC 6890), and what clouds put their secrets at.
fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let of = |a, b, c, d, bits: u32| {
        let mask = u32::MAX << (32 - bits);
        ip.to_bits() & mask == Ipv4Addr::new(a, b, c, d).to_bits() & mask
    };
    let metadata =
        [[169, 254, 169, 254], [100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];
    if metadata.contains(&ip.octets()) {
        Some("a metadata service")
    } else if of(127, 0, 0, 0, 8) {
        Some("loopback")
    } else if of(10, 0, 0, 0, 8) || of(172, 16, 0, 0, 12) || of(192, 168, 0, 0, 16) {
        Some("a private address")
    } else if of(169, 254, 0, 0, 16) {
        Some("a link-local address")
    } else if of(100, 64, 0, 0, 10) {
        Some("an address behind a carrier's NAT")
    } else if of(224, 0, 0, 0, 4) {
        Some("a multicast address")
    } else if of(0, 0, 0, 0, 8)
        || of(192, 0, 0, 0, 24)
        || of(192, 0, 2, 0, 24)
        || of(192, 88, 99, 0, 24)
        || of(198, 18, 0, 0, 15)
        || of(198, 51, 100, 0, 24)
        || of(203, 0, 113, 0, 24)
        || of(240, 0, 0, 0, 4)
    {
        Some("a reserved address")
    } else {
        None
    }
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let of = |first: [u16; 3], bits: u32| {
        let [a, b, c] = first;
        let mask = u128::MAX << (128 - bits);
        ip.to_bits() & mask == Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits() & mask
    };
    if ip.is_loopback() {
        Some("loopback")
    } else if of([0xfd00, 0xec2, 0], 32) {
        Some("a metadata service")
    } else if of([0xfc00, 0, 0], 7) || of([0xfec0, 0, 0], 10) {
        Some("a private address")
    } else if of([0xfe80, 0, 0], 10) {
        Some("a link-local address")
    } else if of([0xff00, 0, 0], 8) {
        Some("a multicast address")
    } else if of([0, 0, 0], 80)
        || of([0x64, 0xff9b, 0], 32)
        || of([0x2002, 0, 0], 16)
        || of([0x2001, 0, 0], 32)
    {
        // Mapped, compatible, NAT64, 6to4, Teredo.
        Some("an address with an IPv4 address inside")
    } else if !of([0x2000, 0, 0], 3)
        || of([0x2001, 0, 0], 23)
        || of([0x2001, 0xdb8, 0], 32)
        || of([0x3fff, 0, 0], 20)
    {
        Some("a reserved address")
    } else {
        None
    }
}

/// A package registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    /// crates.io
    Crates,
    /// npm
    Npm,
    /// The Python Package Index
    Pypi,
    /// The Go module proxy
    Go,
}

impl Registry {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Crates, Self::Npm, Self::Pypi, Self::Go];

    /// The hosts that are asked when packages are fetched.
    #[must_use]
    pub fn hosts(self) -> &'static [&'static str] {
        match self {
            Self::Crates => &["index.crates.io", "static.crates.io"],
            Self::Npm => &["registry.npmjs.org"],
            Self::Pypi => &["pypi.org", "files.pythonhosted.org"],
            Self::Go => &["proxy.golang.org", "sum.golang.org"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn only_what_is_written_is_allowed() {
        let policy = Policy {
            allow: rules(&["api.example.com", "*.example.org", "deb.example.net:80", "8.8.8.8:53"]),
            allow_local: rules(&["127.0.0.1:8080", "localhost:9", "gateway.lan"]),
        };
        let decide = |how, at: &str| policy.decide(how, &HostPort::parse(at, None).unwrap());
        for (how, at, reach) in [
            (How::Tunnel, "api.example.com:443", Reach::Public),
            (How::Tunnel, "API.Example.com:443", Reach::Public),
            (How::Tunnel, "a.example.org:443", Reach::Public),
            (How::Tunnel, "a.b.example.org:443", Reach::Public),
            (How::Request, "deb.example.net:80", Reach::Public),
            (How::Tunnel, "deb.example.net:80", Reach::Public),
            (How::Tunnel, "8.8.8.8:53", Reach::Public),
            (How::Request, "127.0.0.1:8080", Reach::Local),
            (How::Tunnel, "gateway.lan:443", Reach::Local),
        ] {
            assert_eq!(decide(how, at), Ok(reach), "{at}");
        }
        for (how, at) in [
            (How::Request, "api.example.com:80"),
            (How::Request, "api.example.com:443"),
            (How::Tunnel, "api.example.com:22"),
            (How::Tunnel, "example.com:443"),
            (How::Tunnel, "xapi.example.com:443"),
            (How::Tunnel, "x.api.example.com:443"),
            (How::Tunnel, "api.example.com.evil.test:443"),
            (How::Tunnel, "example.org:443"),
            (How::Tunnel, "xexample.org:443"),
            (How::Tunnel, "a.example.org:80"),
            (How::Tunnel, "8.8.8.8:443"),
            (How::Tunnel, "8.8.4.4:53"),
            (How::Tunnel, "127.0.0.1:8081"),
            (How::Tunnel, "127.0.0.2:8080"),
            (How::Tunnel, "localhost:8080"),
            (How::Tunnel, "[::1]:8080"),
            (How::Request, "gateway.lan:443"),
        ] {
            assert!(decide(how, at).is_err(), "{at}");
        }
        let cured = |at: &str| {
            let at = HostPort::parse(at, None).unwrap();
            cure(&at, &policy.decide(How::Tunnel, &at).unwrap_err())
        };
        assert_eq!(cured("evil.test:443"), Some(Cure::Allow));
        assert_eq!(cured("api.example.com:22"), Some(Cure::Allow));
        assert_eq!(cured("10.0.0.1:443"), Some(Cure::AllowLocal));
        let at = HostPort::parse("api.example.com:443", None).unwrap();
        let private = check_addresses(Reach::Public, ["10.0.0.1".parse().unwrap()]).unwrap_err();
        assert_eq!(cure(&at, &private), Some(Cure::AllowLocal));
        assert_eq!(cure(&at, &policy.decide(How::Request, &at).unwrap_err()), None);
        let loopback: Vec<String> = policy.on_loopback().iter().map(ToString::to_string).collect();
        assert_eq!(loopback, ["127.0.0.1:8080", "localhost:9"]);
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        for bad in
            ["*", "*.", "*.com", "*.1.2.3.4", "*.[::1]", "a.*.com", "**.a.com", "*a.com", "a.com:x"]
        {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_name_leads_to_an_address_that_is_not_of_the_open_network() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::7f00:1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(special(ip).is_some(), "{ip}");
            let open: IpAddr = "1.1.1.1".parse().unwrap();
            assert!(check_addresses(Reach::Public, [open, ip]).is_err(), "{ip}");
            assert_eq!(check_addresses(Reach::Local, [ip]), Ok(()));
        }
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
            "2003::1",
            "2001:200::1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(special(ip), None, "{ip}");
        }
    }

    #[test]
    fn the_hosts_of_registries_are_hosts() {
        for host in Registry::ALL.iter().flat_map(|registry| registry.hosts()) {
            host.parse::<Rule>().unwrap();
        }
    }
}
