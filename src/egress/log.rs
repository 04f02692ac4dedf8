//! The log of what a run asked of the network: JSON lines, one for each decision, and one more for
//! the bytes when what was allowed is over.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::redact::Redactor;
use crate::domain::text;
use crate::store;

/// A log that is as long as this takes no more, and then nothing is allowed any more either: an
/// agent must not write itself out of sight.
const MAX_BYTES: u64 = 8 << 20;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It went out.
    Allowed,
    /// It did not, by the rules.
    Refused,
    /// It was allowed, and the host could not be reached.
    Failed,
}

/// A decision, and what went over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Its number; a run that is taken up again counts from 1 again.
    pub n: u64,
    /// The host as it was understood, or as it was written if it could not be.
    pub host: String,
    /// The port, if there was one to be understood.
    pub port: Option<u16>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, unless it was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Bytes that went out, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Bytes that came in, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    n: u64,
    sent: u64,
    received: u64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Decision(Entry),
    End(End),
}

/// What must not be in a log, with names for it. `Debug` does not tell it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets(pub Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    file: File,
    room: u64,
    last: u64,
    secrets: Secrets,
    /// Made of them when the first line is written: the canary, for which all wait, leaves none.
    redactor: OnceCell<Redactor>,
}

impl Log {
    /// Opens it, to go on after what is there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, secrets: Secrets) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        let room = MAX_BYTES.saturating_sub(file.metadata()?.len());
        Ok(Self { file, room, last: 0, secrets, redactor: OnceCell::new() })
    }

    /// Writes a decision down and gives it a number.
    ///
    /// # Errors
    /// When there is no room; then it must not be carried out.
    pub fn decision(
        &mut self,
        (host, port): (&str, Option<u16>),
        verdict: Verdict,
        why: Option<&str>,
    ) -> io::Result<u64> {
        self.last += 1;
        let redactor = self.redactor.get_or_init(|| {
            Redactor::for_hosts(self.secrets.0.iter().map(|(name, value)| (&**name, &**value)))
        });
        let clean = |said: &str| {
            let seen: String = said.chars().filter(|c| !text::is_invisible(*c)).collect();
            // Before anything is cut off: half a secret is not found.
            text::one_line(&redactor.text(&seen), 300)
        };
        let (host, why) = (clean(host), why.map(clean));
        self.write(&Entry {
            at: Timestamp::now(),
            n: self.last,
            host,
            port,
            verdict,
            why,
            sent: None,
            received: None,
        })?;
        Ok(self.last)
    }

    /// Writes down what went over the wire.
    pub fn end(&mut self, n: u64, sent: u64, received: u64) {
        // The decision is there; the bytes of it may be missing.
        let _ = self.write(&End { n, sent, received });
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let len = line.len() as u64;
        if len > self.room {
            return Err(io::Error::other("the log is full"));
        }
        self.room -= len;
        self.file.write_all(&line)
    }
}

/// Reads a log. Lines that are no entries are left out: a proxy may have died in the middle of one.
/// `None`: there is none.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<Entry>>, store::Error> {
    let Some(bytes) = store::read_bounded(path, 2 * MAX_BYTES)? else { return Ok(None) };
    let mut entries: Vec<Entry> = Vec::new();
    let mut places = BTreeMap::new();
    for line in bytes.split(|b| *b == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Decision(entry)) => {
                places.insert(entry.n, entries.len());
                entries.push(entry);
            }
            Ok(Line::End(End { n, sent, received })) => {
                if let Some(entry) = places.get(&n).and_then(|at| entries.get_mut(*at)) {
                    (entry.sent, entry.received) = (Some(sent), Some(received));
                }
            }
            Err(_) => {}
        }
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_as_it_was_written_and_a_full_one_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("egress.log");
        assert!(read(&path).unwrap().is_none());
        for _attempt in 0..2 {
            let mut log = Log::open(&path, Secrets::default()).unwrap();
            let first = log.decision(("a.com", Some(443)), Verdict::Allowed, None).unwrap();
            let evil = "b\u{1b}[2J\ncom";
            log.decision((evil, None), Verdict::Refused, Some("no host")).unwrap();
            log.end(first, 3, 4);
            log.file.write_all(b"{\"at\":\"20").unwrap();
            log.file.write_all(b"\n").unwrap();
        }
        let entries = read(&path).unwrap().unwrap();
        let shown: Vec<_> =
            entries.iter().map(|e| (e.host.as_str(), e.verdict, e.sent, e.received)).collect();
        let (a, b) = (
            ("a.com", Verdict::Allowed, Some(3), Some(4)),
            (shown[1].0, Verdict::Refused, None, None),
        );
        assert_eq!(shown, [a, b, a, b]);
        assert!(!shown[1].0.contains(char::is_control));
        let mut log = Log::open(&path, Secrets::default()).unwrap();
        log.room = 10;
        assert!(log.decision(("a.com", Some(443)), Verdict::Allowed, None).is_err());
    }

    #[test]
    fn no_secret_is_written_however_a_host_is_written() {
        const SECRET: &str = "ghp_Secret00Value00Of00Somebody";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("egress.log");
        let secrets = Secrets(vec![("github-token".into(), SECRET.into())]);
        assert!(!format!("{secrets:?}").contains("ghp_"));
        let mut log = Log::open(&path, secrets).unwrap();
        let cut = format!("{}{SECRET}.example", "x".repeat(290));
        let hidden: String = SECRET.chars().flat_map(|c| [c, '\u{200b}']).collect();
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
        let hex: String = SECRET.bytes().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect();
        for host in [
            format!("{SECRET}.example"),
            SECRET.to_lowercase(),
            format!("a.{}.example", SECRET.to_uppercase()),
            format!("{hex}.example"),
            cut,
            hidden,
        ] {
            let why = format!("{host} is not allowed");
            log.decision((&host, None), Verdict::Refused, Some(&why)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        assert!(
            !text.contains("ghp_") && !text.contains("somebody") && !text.contains(&hex),
            "{text}"
        );
        assert_eq!(text.matches("[redacted:").count(), 12, "{text}");
    }
}
