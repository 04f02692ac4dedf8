//! Known secrets, taken out of whatever is written down or said.
//!
//! What is looked for are exact values, as they are and as they are usually written elsewhere: in
//! JSON, in URLs, in hexadecimal digits, in base64 wherever in it they begin. A value of less than
//! [`SHORTEST`] bytes is not looked for: it would be found in honest text. Nor is what somebody has
//! disguised in another way: cut, compressed, encrypted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are not looked for.
pub const SHORTEST: usize = 8;

/// Longer ones are no tokens, and their beginnings do.
const LONGEST: usize = 4 << 10;

/// So many values are looked for, each in all its forms.
const MOST: usize = 500;

/// Looks for known secrets. It does not tell them: `Debug` shows how many there are.
#[derive(Clone, Default)]
pub struct Redactor {
    search: Option<AhoCorasick>,
    /// What each pattern is replaced by.
    names: Vec<String>,
    /// The longest pattern.
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("patterns", &self.names.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// A redactor for values, each with the name that stands in its place. Values of several lines
    /// (keys) are looked for line by line.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::build(secrets, false)
    }

    /// The same for names of hosts, in which there is no case.
    pub fn for_hosts<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::build(secrets, true)
    }

    fn build<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>, any_case: bool) -> Self {
        let mut patterns: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        let values = secrets.into_iter().flat_map(|(name, value)| {
            let framed = |line: &&str| line.starts_with("-----") || line.trim().len() < SHORTEST;
            value.lines().filter(move |line| !framed(line)).map(move |line| (name, line.trim()))
        });
        for (name, value) in values.take(MOST) {
            let value = &value.as_bytes()[..value.len().min(LONGEST)];
            let name = format!("[redacted:{}]", tame(name));
            for form in forms(value) {
                patterns.entry(form).or_insert_with(|| name.clone());
            }
        }
        let longest = patterns.keys().map(Vec::len).max().unwrap_or(0);
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(any_case)
            .build(patterns.keys())
            .ok()
            .filter(|_| !patterns.is_empty());
        Self { search, names: patterns.into_values().collect(), longest }
    }

    /// The name of the first secret in it, in brackets.
    #[must_use]
    pub fn first_in(&self, bytes: &[u8]) -> Option<&str> {
        let found = self.search.as_ref()?.find(bytes)?;
        Some(self.names[found.pattern().as_usize()].as_str())
    }

    /// The bytes without secrets.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut out = Vec::new();
        match self.take(bytes, bytes.len(), &mut out) {
            _ if out.is_empty() => Cow::Borrowed(bytes),
            end => {
                out.extend_from_slice(&bytes[end..]);
                Cow::Owned(out)
            }
        }
    }

    /// The text without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A form that is no text by itself can begin or end inside of a character.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Takes the secrets out of a text in its place.
    pub fn clean(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.text(text) {
            *text = clean;
        }
    }

    /// Copies `bytes` to `out` without the secrets that begin before `until`, as far as the end of
    /// the last of these, and returns where that is; nothing if there are none.
    fn take(&self, bytes: &[u8], until: usize, out: &mut Vec<u8>) -> usize {
        let Some(search) = &self.search else { return 0 };
        let mut end = 0;
        for found in search.find_iter(bytes).take_while(|found| found.start() < until) {
            out.extend_from_slice(&bytes[end..found.start()]);
            out.extend_from_slice(self.names[found.pattern().as_usize()].as_bytes());
            end = found.end();
        }
        end
    }
}

/// A name that can stand in JSON, Markdown and on a terminal.
fn tame(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect()
}

/// A stream without secrets, also those that are split across its pieces. It holds back less than
/// the longest of them has bytes.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    redactor: Redactor,
    held: Vec<u8>,
}

impl Stream {
    /// A stream from its beginning.
    #[must_use]
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, held: Vec::new() }
    }

    /// Takes a piece in, and gives what can be said of it now. `last`: nothing comes after it that
    /// could belong to it (a line's end; no secret goes on behind one).
    pub fn push<'a>(&mut self, piece: &'a [u8], last: bool) -> Cow<'a, [u8]> {
        if last && self.held.is_empty() {
            return self.redactor.bytes(piece);
        }
        self.held.extend_from_slice(piece);
        // What begins before here is there as a whole, however long it is.
        let back = if last { 0 } else { self.redactor.longest.saturating_sub(1) };
        let until = self.held.len().saturating_sub(back);
        let mut out = Vec::new();
        let end = self.redactor.take(&self.held, until, &mut out);
        if end < until {
            out.extend_from_slice(&self.held[end..until]);
        }
        self.held.drain(..end.max(until));
        Cow::Owned(out)
    }
}

/// The ways in which a value may be written.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    if let Ok(text) = std::str::from_utf8(value) {
        let json = serde_json::Value::from(text).to_string();
        let json = json[1..json.len() - 1].to_owned();
        forms.push(json.replace('/', "\\/").into_bytes());
        forms.push(json.into_bytes());
    }
    for upper in [false, true] {
        let digits = hex(value, upper).into_bytes();
        // In a URL each byte may be written so, also those that need not.
        forms.push(digits.chunks(2).flat_map(|byte| [b"%", byte].concat()).collect());
        forms.push(digits);
    }
    // Everything but what never needs it, as strict encoders do it; and what browsers leave alone.
    for kept in ["-_.~", "-_.~!'()*", "-_.~:/?#[]@!$&'()*+,;="] {
        for (upper, space) in [(true, "%20"), (false, "%20"), (true, "+")] {
            forms.push(percent(value, kept, upper, space));
        }
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
            let mut whole = vec![0; before];
            whole.extend_from_slice(value);
            let encoded = engine.encode(&whole).into_bytes();
            // Digits of bits that are not all of the value are not known.
            let known = whole.len() * 8 / 6;
            forms.push(encoded[shared..known].to_vec());
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms.sort();
    forms.dedup();
    forms
}

fn hex(value: &[u8], upper: bool) -> String {
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let of = |nibble: u8| char::from(digits[usize::from(nibble)]);
    value.iter().flat_map(|b| [of(b >> 4), of(b & 15)]).collect()
}

fn percent(value: &[u8], kept: &str, upper: bool, space: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for b in value {
        match b {
            b' ' => out.extend_from_slice(space.as_bytes()),
            b if b.is_ascii_alphanumeric() || kept.as_bytes().contains(b) => out.push(*b),
            b if upper => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
            b => out.extend_from_slice(format!("%{b:02x}").as_bytes()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    const TOKEN: &str = "ghp_abc/DEF+123\"x y?";

    fn redactor() -> Redactor {
        Redactor::new([("github-token", TOKEN), ("key", "sk-ant-0123456789"), ("no", "short")])
    }

    #[test]
    fn a_secret_is_found_in_every_form_that_it_is_written_in() {
        let b64 = |before: &str, url: bool| {
            let text = format!("{before}{TOKEN}:after");
            if url { URL_SAFE.encode(text) } else { STANDARD.encode(text) }
        };
        let all_percent = |upper: bool| -> String {
            let digits = hex(TOKEN.as_bytes(), upper).into_bytes();
            digits.chunks(2).flat_map(|b| ['%', char::from(b[0]), char::from(b[1])]).collect()
        };
        let mut written = vec![
            TOKEN.to_owned(),
            serde_json::json!({ "a": TOKEN }).to_string(),
            serde_json::json!({ "a": TOKEN }).to_string().replace('/', "\\/"),
            "ghp_abc%2FDEF%2B123%22x%20y%3F".to_owned(),
            "ghp_abc%2fDEF%2b123%22x%20y%3f".to_owned(),
            "ghp_abc%2FDEF%2B123%22x+y%3F".to_owned(),
            hex(TOKEN.as_bytes(), false),
            hex(TOKEN.as_bytes(), true),
            all_percent(false),
            all_percent(true),
        ];
        for before in ["", "a", "ab", "abc", "x-access-token:"] {
            written.extend([b64(before, false), b64(before, true)]);
        }
        for text in written {
            let clean = redactor().text(&format!("<{text}>")).into_owned();
            assert!(clean.contains("[redacted:github-token]"), "{text}: {clean}");
            let core = &text[4..text.len().min(14)];
            assert!(text.len() > 40 || !clean.contains(core), "{text}: {clean}");
        }
    }

    #[test]
    fn json_stays_json_and_honest_text_stays_as_it_is() {
        let line =
            serde_json::json!({ "type": "result", "result": format!("see {TOKEN}") }).to_string();
        let clean: serde_json::Value = serde_json::from_str(&redactor().text(&line)).unwrap();
        assert_eq!(clean["result"], "see [redacted:github-token]");
        for honest in ["short", "", "ghp_abc", "sk-ant-012345678", "é"] {
            assert!(matches!(redactor().text(honest), Cow::Borrowed(_)), "{honest}");
        }
        assert!(matches!(Redactor::default().text(TOKEN), Cow::Borrowed(_)));
    }

    #[test]
    fn a_key_of_several_lines_is_found_line_by_line() {
        let key =
            "-----BEGIN KEY-----\nAAAAB3NzaC1yc2EA\nabcd\nBBBBB3NzaC1yc2EB\n-----END KEY-----\n";
        let redactor = Redactor::new([("ssh-key", key)]);
        assert_eq!(redactor.text(key).matches("[redacted:ssh-key]").count(), 2);
        let json = serde_json::Value::from(key).to_string();
        assert!(!redactor.text(&json).contains("AAAAB3"));
        assert!(redactor.text("-----BEGIN KEY-----").starts_with('-'));
    }

    #[test]
    fn a_redactor_does_not_tell() {
        let shown = format!("{:?} {:?}", redactor(), Stream::new(redactor()));
        assert!(!shown.contains("ghp_") && !shown.contains("0123456789"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_stream_says_what_the_whole_would_and_holds_little(
            parts in prop::collection::vec(prop::sample::select(vec![
                TOKEN, "sk-ant-0123456789", "sk-ant-01", "x", "ghp_", "abc/DEF", "[", "\\\"",
                "c2stYW50LTAxMjM0NTY3ODk",
            ]), 0..20),
            cuts in prop::collection::vec(1usize..30, 1..40),
        ) {
            static REDACTOR: std::sync::LazyLock<Redactor> = std::sync::LazyLock::new(redactor);
            let text = parts.concat();
            let mut stream = Stream::new(REDACTOR.clone());
            let (mut said, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts.iter().cycle().take(text.len() + 1) {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                said.extend_from_slice(&stream.push(piece, more.is_empty()));
                prop_assert!(stream.held.len() < REDACTOR.longest);
                rest = more;
            }
            prop_assert!(rest.is_empty() && stream.held.is_empty());
            prop_assert_eq!(String::from_utf8(said).unwrap(), REDACTOR.text(&text).into_owned());
        }
    }
}
