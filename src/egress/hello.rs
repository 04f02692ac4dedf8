//! The name in a TLS greeting. Of an encrypted greeting the outer name counts: it is the one that
//! the far end is chosen by.

use std::io;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::domain::Host;

/// Longer greetings are no honest ones.
const MAX: usize = 32 << 10;

/// What a client said first.
#[derive(Debug)]
pub(super) struct Greeting {
    /// All of it, to be passed on.
    pub(super) bytes: Vec<u8>,
    /// Why it may not be passed on to that host.
    pub(super) fault: Option<String>,
}

/// Reads what the client says first to `host`, and checks the name in it. Where TLS is not a `must`,
/// other protocols are left alone.
///
/// # Errors
/// When the client is gone before it has said enough.
pub(super) async fn greeting(
    client: &mut (impl AsyncRead + Unpin),
    host: &Host,
    must: bool,
) -> io::Result<Greeting> {
    let mut acceptor = Acceptor::default();
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 4 << 10]);
    loop {
        let n = client.read(&mut buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..n]);
        // So a handshake record begins; its length decides nothing.
        if !must && bytes[0] != 0x16 {
            return Ok(Greeting { bytes, fault: None });
        }
        let mut news = &buffer[..n];
        while !news.is_empty() {
            acceptor.read_tls(&mut news)?;
            let fault = match acceptor.accept() {
                Ok(None) if bytes.len() <= MAX => continue,
                Ok(None) => Some("the TLS greeting is too long".to_owned()),
                Ok(Some(accepted)) => compare(accepted.client_hello().server_name(), host),
                Err((e, _)) => Some(format!("that is not a TLS greeting: {e}")),
            };
            return Ok(Greeting { bytes, fault });
        }
    }
}

/// Why the name is not the host's.
fn compare(name: Option<&str>, host: &Host) -> Option<String> {
    match (name.map(str::parse::<Host>), host) {
        (Some(Ok(name)), host) if name == *host => None,
        (Some(_), _) => Some(format!("the TLS greeting names {:?}", name.unwrap_or_default())),
        // An address is never named in a greeting.
        (None, Host::Ip(_)) => None,
        (None, Host::Name(_)) => Some("the TLS greeting names no host".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;

    /// What a real client says first to a host of that name.
    pub(in crate::egress) fn client_hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    fn check(bytes: &[u8], host: &str, must: bool) -> io::Result<Greeting> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // In two pieces, as a client may send it.
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let mut client = AsyncReadExt::chain(first, rest);
        runtime.block_on(greeting(&mut client, &host.parse().unwrap(), must))
    }

    #[test]
    fn the_name_in_the_greeting_is_the_host_or_it_is_not_passed_on() {
        let hello = client_hello("api.example.com");
        let good = check(&hello, "api.example.com", true).unwrap();
        assert_eq!((good.bytes, good.fault), (hello.clone(), None));
        let fault = |bytes: &[u8], host: &str, must| check(bytes, host, must).unwrap().fault;
        assert_eq!(fault(&client_hello("API.example.COM"), "api.example.com", true), None);
        assert_eq!(fault(&client_hello("1.1.1.1"), "1.1.1.1", true), None);
        for (name, host) in [
            ("evil.example.com", "api.example.com"),
            ("api.example.com.evil.test", "api.example.com"),
            ("api.example.com", "1.1.1.1"),
            // No name at all.
            ("1.1.1.1", "api.example.com"),
        ] {
            assert!(fault(&client_hello(name), host, true).is_some(), "{name} to {host}");
            assert!(fault(&client_hello(name), host, false).is_some(), "{name} to {host}");
        }
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x\r\n", b"\x80\x2e\x01\x03\x01"] {
            assert!(fault(bytes, "api.example.com", true).is_some());
            assert_eq!(fault(bytes, "api.example.com", false), None);
        }
        for at in 6..60 {
            let mut broken = hello.clone();
            broken[at] ^= 0xff;
            // Whatever is made of it, it is no other name.
            let host = "other.example.com";
            assert!(
                !matches!(check(&broken, host, true), Ok(Greeting { fault: None, .. })),
                "{at}"
            );
        }
        assert!(check(&hello[..hello.len() - 1], "api.example.com", true).is_err());
        let mut endless = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
        endless.resize(40_000, 0);
        assert!(fault(&endless, "api.example.com", true).is_some());
    }
}
