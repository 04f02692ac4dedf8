//! What an agent reaches of the network in a real run, tried by an agent. Whatever must not be
//! reached is tried a second time with `mode = "host"`, where it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use claude_workers::domain::{NetworkMode, Outcome};
use claude_workers::store::{self, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{APP, Config, World, app};

/// Something that must not come out, and what tells that it did.
const SECRET: &str = "TREASURE";

fn answer(mut client: impl Read + Write, body: &str, more: &str) {
    let _ = client.read(&mut [0; 4096]);
    let len = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len}\r\n{more}\r\n");
    let _ = client.write_all(format!("{head}{body}").as_bytes());
}

/// A service of this machine.
fn service(at: &str) -> SocketAddr {
    let listener = TcpListener::bind(at).unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            answer(client, SECRET, "");
        }
    });
    at
}

/// One that sends everybody somewhere else.
fn redirect(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/\r\n");
            let _ = client.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes());
        }
    });
    at
}

/// A world whose `[network]` is this.
pub fn world(network: &str) -> World {
    let world = World::bare(&Config { network: Some(network.into()), ..Config::default() });
    world.hub.add_repo(&app()).unwrap();
    world.init(&["01"]);
    world
}

/// What `egress` knows of the last run: host, port, verdict.
pub fn verdicts(world: &World) -> Vec<(String, Option<u64>, String)> {
    let seen = world.cron(&["egress", "01", "--json"]).ok().out;
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let entries = seen["entries"].as_array().unwrap().iter();
    entries.map(|e| (text(&e["host"]), e["port"].as_u64(), text(&e["verdict"]))).collect()
}

/// A datagram, if one comes.
fn datagrams() -> (u16, Receiver<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let (came, coming) = channel();
    std::thread::spawn(move || {
        while socket.recv(&mut [0; 100]).is_ok() {
            if came.send(()).is_err() {
                return;
            }
        }
    });
    (port, coming)
}

#[test]
fn nothing_is_reached_past_the_proxy_nor_through_it_what_is_not_allowed() {
    let (four, six) = (service("127.0.0.1:0"), service("[::1]:0"));
    let all = service("0.0.0.0:0").port();
    let far = redirect(four);
    let (udp, datagram) = datagrams();
    let name = format!("claude-workers-test-{}", four.port());
    let abstract_name = UnixAddr::from_abstract_name(&name).unwrap();
    let abstract_socket = UnixListener::bind_addr(&abstract_name).unwrap();
    std::thread::spawn(move || {
        for client in abstract_socket.incoming().flatten() {
            answer(client, SECRET, "");
        }
    });
    let port = four.port();
    // Through the proxy the words are sent as they are; curl would put them right.
    let agent = format!(
        "try() {{ name=$1; shift; \"$@\" 2>/dev/null | grep -q {SECRET} && echo \"REACHED $name\"; }}
        direct() {{ curl -s --max-time 20 --noproxy '*' \"$@\"; }}
        asked() {{
            if test -n \"$HTTP_PROXY\"
            then direct --request-target \"http://$1/\" -H \"Host: $1\" \"$HTTP_PROXY/\"
            else direct \"http://$1/\"; fi
        }}
        tunnel() {{
            if test -n \"$HTTP_PROXY\"; then curl -s --max-time 20 --noproxy '' -p -x \"$HTTP_PROXY\" \"http://$1/\"
            else direct \"http://$1/\"; fi
        }}
        try loopback direct http://127.0.0.1:{port}/
        try loopback-6 direct http://[::1]:{six}/
        try localhost direct http://localhost:{port}/
        for own in $(hostname -I 2>/dev/null) 127.0.0.2; do
            case $own in *:*) ;; *) try own-address direct http://$own:{all}/ ;; esac
        done
        try abstract direct --abstract-unix-socket {name} http://x/
        bash -c 'echo out >/dev/udp/127.0.0.1/{udp}' 2>/dev/null
        for host in 127.0.0.1 localhost 127.1 2130706433 0x7f000001 0177.0.0.1 127.0.0.1. [::ffff:127.0.0.1]
        do
            try \"asked-$host\" asked \"$host:{port}\"
            try \"tunnel-$host\" tunnel \"$host:{port}\"
        done
        try asked-6 asked [::1]:{six}
        (NO_PROXY='*' no_proxy='*'; export NO_PROXY no_proxy; try no-proxy curl -s http://127.0.0.1:{port}/)
        (unset HTTP_PROXY http_proxy; try unset curl -s http://127.0.0.1:{port}/)
        try redirect direct -L http://{far}/
        test -e /etc/resolv.conf && echo 'REACHED resolv.conf'
        echo tried",
        six = six.port(),
    );
    // The name leads to this machine, and it is not in `allow_local`.
    let walled = world(&format!("allow = ['localhost:{port}']\nallow_local = ['{far}']"));
    assert_eq!(walled.says(&agent), "tried\n");
    assert!(datagram.try_recv().is_err());
    assert_eq!(walled.last_run().network, NetworkMode::Proxy);
    let seen = verdicts(&walled);
    let of = |host: &str| -> Vec<_> {
        let mine = seen.iter().filter(|(seen, _, _)| seen.starts_with(host));
        mine.map(|(_, _, verdict)| verdict.as_str()).collect()
    };
    assert_eq!(of("localhost"), ["refused"; 2], "{seen:?}");
    assert_eq!(
        of(&far.to_string()[..9]).iter().filter(|v| **v == "allowed").count(),
        1,
        "{seen:?}"
    );
    assert!(of("2130706433").contains(&"refused"), "{seen:?}");

    let open = world("mode = 'host'");
    let said = open.says(&agent);
    let wanted = 24;
    let reached: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("REACHED ")).collect();
    assert!(reached.len() >= wanted, "{} of {wanted}: {said}", reached.len());
    for name in [
        "loopback",
        "loopback-6",
        "localhost",
        "own-address",
        "abstract",
        "asked-127.1",
        "asked-2130706433",
        "asked-0177.0.0.1",
        "asked-[::ffff:127.0.0.1]",
        "asked-6",
        "no-proxy",
        "unset",
        "redirect",
    ] {
        assert!(reached.contains(&name), "{name}: {said}");
    }
    datagram.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(open.last_run().network, NetworkMode::Host);
    open.cron(&["status"]).ok().says("network: host");
    open.cron(&["doctor"]).says("warning  network");
    open.cron(&["egress", "01"]).ok().says("what it asked is not known");
}

#[test]
fn what_is_allowed_works_and_what_is_not_says_how_it_could_be() {
    let open = service("127.0.0.1:0");
    let world = world(&format!("allow_local = ['{open}', 'localhost:{}']", open.port()));
    let hub = world.hub.server_url();
    let hub = hub.strip_prefix("http://").unwrap();
    let agent = format!(
        "unset NO_PROXY no_proxy
        curl -s http://{open}/; echo ' plain'
        curl -s -p http://localhost:{}/; echo ' tunnel'
        curl -s --noproxy '*' http://{open}/; echo ' direct'
        curl -s http://{hub}/; echo
        curl -s -o /dev/null -w '%{{http_connect}}\\n' https://evil.example/
        curl -s -p -o /dev/null -w '%{{http_connect}}\\n' http://github.example:22/
        curl -s http://169.254.169.254/latest/meta-data/
        curl -s -g 'http://[fd00:ec2::254]/latest/'
        git ls-remote http://{hub}/octo/app.git 2>/dev/null || echo no git
        getent hosts github.com || echo no DNS
        true",
        open.port()
    );
    let said = world.says(&agent);
    for line in ["TREASURE plain", "TREASURE tunnel", "TREASURE direct", "403", "no git", "no DNS"]
    {
        assert!(said.lines().any(|l| l == line), "{line}: {said}");
    }
    assert!(said.contains("169.254.169.254 is refused: the host is not allowed"), "{said}");
    let shown = world.cron(&["egress", "01"]).ok().out;
    let line = |start: &str| shown.lines().find(|l| l.starts_with(start)).unwrap_or_default();
    assert!(line(&open.to_string()).contains("2 allowed"), "{shown}");
    assert!(line("evil.example:443").contains("1 refused"), "{shown}");
    let cures = format!(
        "  allow = [\"evil.example\", \"github.example:22\"]\n  allow_local = [\"{open}\", \
         \"localhost:{}\", \"{hub}\", \"169.254.169.254:80\", \"[fd00:ec2::254]:80\"]\n",
        open.port()
    );
    assert!(shown.ends_with(&cures), "{shown}");
    let refused = world.cron(&["egress", "01", "--refused"]).ok().out;
    assert!(!refused.contains("allowed ") && refused.contains("evil.example"), "{refused}");
    // With the run, the log is in the archive.
    world.cron(&["show", "01"]).ok().says("egress log");
    assert!(!world.root.record(&"01".parse().unwrap()).egress_log().exists());
    let gone = store::archived(&world.root, None).unwrap().remove(0).file("egress.log");
    assert!(gone.exists());
    world.configure(&Config { more: "[retention]\nlogs = '0s'".into(), ..Config::default() });
    world.cron(&["gc"]).ok();
    assert!(!gone.exists());
    world.cron(&["egress", "01"]).ok().says("kept no longer");
}

#[test]
fn a_run_without_a_network_has_its_own_loopback_and_nothing_else() {
    let open = service("127.0.0.1:0");
    let world = world(&format!("mode = 'none'\nallow_local = ['{open}']"));
    let said = world.says(&format!(
        "curl -s http://{open}/; curl -s http://localhost:1/; echo $?; env | grep -i proxy; true"
    ));
    // Nobody listens: the name was found, and the connection refused.
    assert_eq!(said, "7\n");
    world.cron(&["egress", "01"]).ok().says("it had no network");
}

#[test]
fn each_of_several_runs_has_its_own_way_out_and_its_own_log() {
    let world = World::with(&Config::default(), &["01", "02", "03"]);
    world.agent(
        "unset no_proxy NO_PROXY; curl -s http://host-$issue.example/ >/dev/null
        mark done-$issue; commit work-$issue.txt done",
    );
    for title in ["One", "Two", "Three"] {
        world.issue(title);
    }
    // Two of a repository at once.
    world.configure(&Config { assign: "max_per_repo = 3", ..Config::default() });
    world.tick();
    assert_eq!(world.pulls().len(), 3);
    assert_eq!(world.marks().len(), 3);
    for run in world.runs() {
        let shown = world.cron(&["egress", run.run.as_str()]).ok().out;
        let own = format!("host-{}.example", run.issue.unwrap());
        assert!(shown.contains(&own), "{shown}");
        assert_eq!(shown.matches("host-").count(), shown.matches(&own).count(), "{shown}");
    }
}

/// The proxies of a world that run.
fn proxies(world: &World) -> Vec<i32> {
    let all = world.processes().into_iter();
    all.filter(|(_, line)| line.contains("egress-proxy")).map(|(pid, _)| pid).collect()
}

#[test]
fn a_proxy_lives_as_long_as_its_run() {
    let world = World::new();
    world.issue("One");
    world.agent("mark there; echo there; exec sleep 1000");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is there", || world.marks().len() == 1);
    assert_eq!(proxies(&world).len(), 1);
    // No mercy, and it still is over when the supervisor is.
    world.kill_supervisor("01");
    assert_eq!(proxies(&world).len(), 0);
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is there again", || world.marks().len() == 2);
    assert_eq!(proxies(&world).len(), 1);
    world.cron(&["stop", "01"]).ok();
    world.quiet();
    assert_eq!(proxies(&world).len(), 0);
}

#[test]
fn without_its_proxy_an_agent_reaches_nothing_and_the_run_goes_on() {
    let open = service("127.0.0.1:0");
    let hub_too = |world: &World| {
        let url = world.hub.server_url();
        url.strip_prefix("http://").unwrap().to_owned()
    };
    let world = World::new();
    let network = format!("allow_local = ['{open}', '{}']", hub_too(&world));
    world.configure(&Config { network: Some(network), ..Config::default() });
    world.agent(&format!(
        "curl -s http://{open}/; mark ready
        while curl -s http://{open}/ >/dev/null; do sleep 0.1; done
        curl -s http://{open}/; curl -s --noproxy '' -x $HTTP_PROXY http://{open}/; echo; commit a b"
    ));
    world.cron(&["dispatch", "-r", APP, "-p", "Look", "-w", "01"]).ok();
    world.wait_until("the agent is ready", || world.marks().len() == 1);
    for pid in proxies(&world) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    world.quiet();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(world.pulls().len(), 1);
    assert_eq!(world.cron(&["logs", "01"]).ok().out, "TREASURE\n");
}

#[test]
fn a_run_whose_proxy_does_not_come_up_does_not_start() {
    let world = World::new();
    let log = world.root.record(&"01".parse().unwrap()).egress_log();
    std::fs::create_dir(&log).unwrap();
    world.agent("mark started");
    world.cron(&["dispatch", "-r", APP, "-p", "Look", "-w", "01"]).ok();
    let over = || matches!(store::worker(&world.root, "01".parse().unwrap()).state, State::Busy(_));
    world.wait_until("it is over", || !over() && world.processes().is_empty());
    assert_eq!(world.marks().len(), 0);
    std::fs::remove_dir(&log).ok();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::NotStarted));
    let why = run.ended.unwrap().why;
    assert!(why.contains("the proxy cannot be reached from inside"), "{why}");
}

#[test]
fn a_network_that_cannot_be_had_is_refused_before_anything_starts() {
    for (sandbox, network, why) in [
        ("mode = 'none'", "mode = 'proxy'", "needs a sandbox"),
        ("mode = 'none'", "mode = 'none'", "needs a sandbox"),
        ("", "allow_local = ['*.example.com']", "takes single hosts"),
        ("", "allow = ['https://example.com/']", "without scheme and path"),
        ("", "allow = ['0x7f.1']", "four decimal numbers"),
    ] {
        let config = Config { sandbox, network: Some(network.into()), ..Config::default() };
        World::bare(&config).cron(&["status"]).exits(2).says(why);
    }
}
