//! TLS through the proxy: a real client inside, a real server outside.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use claude_workers::process::command;

use crate::egress::{verdicts, world};

/// Answers `GET /` of everybody with its state.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let (key, certificate) = (dir.join("key.pem"), dir.join("cert.pem"));
        let made = command("/usr/bin/openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-subj", "/CN=localhost", "-days", "2"])
            .args(["-addext", "subjectAltName=DNS:localhost,DNS:other.example"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut child = command("/usr/bin/openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|l| l.starts_with("ACCEPT")));
        let port = line.unwrap().rsplit(':').next().unwrap().trim().parse().unwrap();
        // It goes on writing for as long as it lives.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tls_goes_through_untouched_and_only_to_the_host_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let port = server.port;
    let certificate = std::fs::read_to_string(dir.path().join("cert.pem")).unwrap();
    let agent = |proxy: &str| {
        format!(
            "cat >/tmp/ca.pem <<'END'\n{certificate}END
            get() {{ curl -s --max-time 60 --noproxy '' {proxy} --cacert /tmp/ca.pem \"$@\" \\
                | grep -c 'Cipher'; }}
            echo \"right $(get https://localhost:{port}/)\"
            echo \"other $(get --connect-to other.example:443:localhost:{port} https://other.example/)\"
            echo \"none $(get -k --connect-to 127.0.0.1:443:localhost:{port} https://127.0.0.1/)\""
        )
    };
    let reached = |said: &str, what: &str| {
        let line = said.lines().find(|l| l.starts_with(what)).unwrap_or_else(|| panic!("{said}"));
        !line.ends_with(" 0")
    };
    let walled = world(&format!("allow_local = ['localhost:{port}']"));
    let said = walled.says(&agent("-x $HTTPS_PROXY"));
    assert!(reached(&said, "right"), "{said}");
    assert!(!reached(&said, "other") && !reached(&said, "none"), "{said}");
    let refused = verdicts(&walled).into_iter().filter(|(_, _, verdict)| verdict == "refused");
    assert_eq!(refused.count(), 2, "{:?}", verdicts(&walled));
    let open = world("mode = 'host'");
    let said = open.says(&agent(""));
    assert!(reached(&said, "right") && reached(&said, "other") && reached(&said, "none"), "{said}");
}
