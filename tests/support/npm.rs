//! The programs of other people that `tests/run` installs from npm, at the versions pinned in
//! `tests/npm`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

/// The Claude Code binary for this machine. It needs no Node.
pub fn claude() -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    installed(&format!("node_modules/@anthropic-ai/claude-code-linux-{arch}/claude"))
}

/// The GitHub emulator: someone else's idea of GitHub's REST API, in memory, on loopback. It ends
/// when it is dropped, and at the latest with the test program.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    /// The base URL of its API.
    pub url: String,
}

impl Emulator {
    /// Starts it with `seed`: `{"tokens": {TOKEN: {"login", "scopes"}}, "github": {"users": [..],
    /// "repos": [{"owner", "name"}]}}`. Names are compared with case there.
    pub fn start(seed: &Value) -> Self {
        installed("node_modules/emulate");
        #[expect(clippy::disallowed_methods, reason = "the program's own room is not for tests")]
        let mut child = std::process::Command::new("node")
            .arg(installed("emulator.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("node: {e}: run `tests/run`, which installs it"));
        // Not an argument: a test looks for tokens in those of all processes.
        writeln!(child.stdin.as_ref().unwrap(), "{seed}").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).unwrap();
        Self { child, url: started["url"].as_str().unwrap().to_owned() }
    }

    /// Asks with a token, and returns status and answer (null if that is no JSON).
    pub fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let address = self.url.strip_prefix("http://").unwrap();
        let body = body.to_string();
        let mut connection = TcpStream::connect(address).unwrap();
        // HTTP/1.0, so that the answer's body is the rest of the connection.
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A file below `tests/npm`.
fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm").join(path);
    assert!(path.exists(), "{} is missing: run `tests/run`, which installs it", path.display());
    path
}
