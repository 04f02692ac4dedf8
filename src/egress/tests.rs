//! The proxy over real sockets, with names that lead where a test wants them to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::log::{self, Entry, Log, Verdict};
use super::proxy::{Proxy, converse};
use crate::plan::egress::Policy;

/// A service that keeps what it is sent and answers each connection with the same.
struct Service {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn that_says(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut said = vec![0; 4096];
                let n = client.read(&mut said).unwrap_or(0);
                if n > 0 {
                    kept.lock().unwrap().push(String::from_utf8_lossy(&said[..n]).into_owned());
                    let _ = client.write_all(answer.as_bytes());
                }
                // What is closed with something unread is reset.
                let _ = client.shutdown(std::net::Shutdown::Write);
                let _ = std::io::copy(&mut client, &mut std::io::sink());
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().join("\n---\n")
    }
}

struct World {
    dir: tempfile::TempDir,
    allow: Vec<String>,
    allow_local: Vec<String>,
    names: BTreeMap<String, Vec<IpAddr>>,
    idle: Duration,
}

impl World {
    fn new(allow: &[String], allow_local: &[String], names: &[(&str, &[&str])]) -> Self {
        let ips = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let names = names.iter().map(|(name, to)| ((*name).to_owned(), ips(to))).collect();
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            allow: allow.to_vec(),
            allow_local: allow_local.to_vec(),
            names,
            idle: Duration::MAX,
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("egress.log")
    }

    /// Says `words` on one connection, and gives all that comes back.
    fn ask(&self, words: &[u8]) -> String {
        let (mut client, far) = UnixStream::pair().unwrap();
        let rules = |texts: &[String]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let policy = Policy { allow: rules(&self.allow), allow_local: rules(&self.allow_local) };
        let names = self.names.clone();
        let (log, idle) = (self.log(), self.idle);
        let proxy = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                far.set_nonblocking(true).unwrap();
                let far = tokio::net::UnixStream::from_std(far).unwrap();
                // A name leads here once, and then to where nothing may go: what has been checked is
                // what must be dialled.
                let asked = Mutex::new(BTreeSet::new());
                let resolve: super::dial::Resolve = Arc::new(move |name| {
                    let first = asked.lock().unwrap().insert(name.clone());
                    let metadata = || vec![IpAddr::from([169, 254, 169, 254])];
                    let found =
                        names.get(&name).map(|to| if first { to.clone() } else { metadata() });
                    let nobody = || std::io::Error::other("nobody has that name");
                    Box::pin(async move { found.ok_or_else(nobody) })
                });
                let log = Mutex::new(Log::open(&log, log::Secrets::default()).unwrap());
                let proxy = Arc::new(Proxy { policy, log, resolve, idle });
                let places = Arc::new(Semaphore::new(1));
                let place = Arc::new(places.clone().acquire_owned().await.unwrap());
                converse(proxy, far, place).await;
                // The tunnel's end of it.
                let _all = places.acquire().await;
                tokio::task::yield_now().await;
            });
        });
        client.write_all(words).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        drop(client);
        proxy.join().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn logged(&self) -> Vec<Entry> {
        log::read(&self.log()).unwrap().unwrap()
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.logged().iter().map(|entry| entry.verdict).collect()
    }
}

const FINE: &str =
    "HTTP/1.1 200 OK\r\nconnection: close\r\nkeep-alive: x\r\ncontent-length: 5\r\n\r\nHELLO";

#[test]
fn a_request_arrives_as_it_was_understood_and_not_as_it_was_written() {
    let service = Service::that_says(FINE);
    let at = format!("service.test:{}", service.port);
    let world = World::new(&[], std::slice::from_ref(&at), &[("service.test", &["127.0.0.1"])]);
    let request = format!(
        "POST http://SERVICE.test:{}/a?b HTTP/1.1\r\nHost: {at}\r\nProxy-Authorization: secret\r\n\
         Connection: x-mine, close\r\nX-Mine: secret\r\nTE: trailers\r\nUpgrade: websocket\r\n\
         X-Other: kept\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        service.port
    );
    let answer = world.ask(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("HELLO"), "{answer}");
    assert!(!answer.contains("keep-alive: x"), "{answer}");
    let heard = service.heard();
    assert!(heard.starts_with(&format!("POST /a?b HTTP/1.1\r\nhost: {at}\r\n")), "{heard}");
    assert!(heard.contains("x-other: kept") && !heard.contains("secret"), "{heard}");
    assert!(!heard.contains("websocket") && !heard.contains("te:"), "{heard}");
    let [entry] = world.logged().try_into().unwrap();
    assert_eq!((entry.host.as_str(), entry.port), ("service.test", Some(service.port)));
    assert!(entry.sent > Some(50) && entry.received > Some(50), "{entry:?}");
}

#[test]
fn no_name_leads_to_this_machine_or_near_it() {
    let service = Service::that_says(FINE);
    let port = service.port;
    let allow: Vec<String> =
        ["loop.test", "mixed.test", "six.test", "mapped.test", "cloud.test", "gone.test"]
            .map(|name| format!("{name}:{port}"))
            .to_vec();
    let world = World::new(
        &allow,
        &[],
        &[
            ("loop.test", &["127.0.0.1"]),
            // One good address does not make up for a bad one.
            ("mixed.test", &["1.1.1.1", "127.0.0.1"]),
            ("six.test", &["::1"]),
            ("mapped.test", &["::ffff:127.0.0.1"]),
            ("cloud.test", &["169.254.169.254"]),
        ],
    );
    for name in ["loop.test", "mixed.test", "six.test", "mapped.test", "cloud.test"] {
        let at = format!("{name}:{port}");
        let plain = format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n");
        let tunnel = format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        for words in [plain, tunnel] {
            let answer = world.ask(words.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("leads to"), "{answer}");
        }
    }
    assert!(world.verdicts().iter().all(|verdict| *verdict == Verdict::Refused));
    let gone = format!("CONNECT gone.test:{port} HTTP/1.1\r\n\r\n");
    assert!(world.ask(gone.as_bytes()).starts_with("HTTP/1.1 502"));
    assert_eq!(world.verdicts().last(), Some(&Verdict::Failed));
    assert_eq!(service.heard(), "");
}

#[test]
fn nothing_is_smuggled_past_the_host_that_was_asked_for() {
    let service = Service::that_says(FINE);
    let at = format!("service.test:{}", service.port);
    let world = World::new(&[], std::slice::from_ref(&at), &[("service.test", &["127.0.0.1"])]);
    for words in [
        format!("GET http://{at}/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nHost: evil.test\r\n\r\n"),
        format!("GET http://{at}/ HTTP/1.1\r\n\r\n"),
        format!("GET http://u@{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET http://evil.test#@{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET http://evil.test\\@{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET https://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET ftp://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET http://service.test.:{}/ HTTP/1.1\r\nHost: {at}\r\n\r\n", service.port),
        format!("GET http://service.test%00:{}/ HTTP/1.1\r\nHost: {at}\r\n\r\n", service.port),
        format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nX: a\0b\r\n\r\n"),
        format!(
            "GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"
        ),
        format!(
            "GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: identity, x\r\n\r\n"
        ),
        format!("CONNECT {at}@evil.test:443 HTTP/1.1\r\n\r\n"),
        format!("CONNECT evil.test:443@{at} HTTP/1.1\r\n\r\n"),
        "CONNECT service.test HTTP/1.1\r\n\r\n".into(),
        "CONNECT service.test:22 HTTP/1.1\r\nHost: service.test:22\r\n\r\nSSH-2.0-x\r\n".into(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".into(),
    ] {
        let answer = world.ask(words.as_bytes());
        assert!(
            !answer.starts_with("HTTP/1.1 2") && !answer.contains("HELLO"),
            "{words:?}: {answer}"
        );
    }
    assert_eq!(service.heard(), "");
    // What comes after a request that was allowed is looked at by itself.
    let two = format!(
        "GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n\
         GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"
    );
    let answer = world.ask(two.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 403"), "{answer}");
    // A length and chunks at once: the chunks count, and what is behind them is another request.
    let both = format!(
        "POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nContent-Length: 60\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {at}\r\n\r\n"
    );
    world.ask(both.as_bytes());
    assert!(!service.heard().contains("smuggled"), "{}", service.heard());
}

#[test]
fn a_tunnel_carries_what_is_allowed_and_is_cut_by_another_name_in_the_greeting() {
    let service = Service::that_says("HELLO");
    let at = format!("service.test:{}", service.port);
    let world = World::new(&[], std::slice::from_ref(&at), &[("service.test", &["127.0.0.1"])]);
    let connect = format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let through = |first: &[u8]| world.ask(&[connect.as_bytes(), first].concat());
    let answer = through(b"anything");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("HELLO"), "{answer}");
    let answer = through(&super::hello::tests::client_hello("service.test"));
    assert!(answer.ends_with("HELLO"), "{answer}");
    assert_eq!(world.verdicts(), [Verdict::Allowed; 2]);
    let [entry, _] = world.logged().try_into().unwrap();
    assert_eq!((entry.sent, entry.received), (Some(8), Some(5)));
    let answer = through(&super::hello::tests::client_hello("other.test"));
    assert!(!answer.contains("HELLO"), "{answer}");
    assert_eq!(service.heard.lock().unwrap().len(), 2);
    let last = world.logged().pop().unwrap();
    assert_eq!(last.verdict, Verdict::Refused);
    assert!(last.why.unwrap().contains("other.test"));
}

/// A far end that neither speaks nor hangs up: without an end of patience this would never end.
#[test]
fn a_tunnel_in_which_nothing_moves_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let mut world = World::new(&[], std::slice::from_ref(&at), &[]);
    world.idle = Duration::from_millis(20);
    let answer = world.ask(format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\nhello").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let [entry] = world.logged().try_into().unwrap();
    assert_eq!((entry.verdict, entry.sent), (Verdict::Allowed, Some(5)));
}

#[test]
fn when_it_cannot_be_logged_it_does_not_go_out() {
    let service = Service::that_says(FINE);
    let at = format!("service.test:{}", service.port);
    let world = World::new(&[], std::slice::from_ref(&at), &[("service.test", &["127.0.0.1"])]);
    std::fs::write(world.log(), vec![b'\n'; 8 << 20]).unwrap();
    for words in [
        format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("CONNECT {at} HTTP/1.1\r\n\r\nhello"),
    ] {
        let answer = world.ask(words.as_bytes());
        assert!(!answer.contains("HELLO"), "{answer}");
    }
    assert_eq!(service.heard(), "");
}
