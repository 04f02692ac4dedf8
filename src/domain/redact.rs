//! Known secrets, taken out of whatever is written down or said.
//!
//! What is looked for are exact values, as they are and as they are usually written elsewhere: in
//! JSON, in URLs, in hexadecimal digits, in base64 wherever in it they begin; and all of these broken
//! into lines, as encoders do with what is long. A value of less than [`SHORTEST`] bytes is not looked
//! for: it would be found in honest text. Nor is what somebody has disguised in another way: cut,
//! compressed, encrypted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

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
    /// The patterns of encodings that are broken into lines, in order.
    encoded: Vec<Vec<u8>>,
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
        let of_digits = |form: &&Vec<u8>| form.iter().all(|b| is_digit(*b));
        let encoded = patterns.keys().filter(of_digits).cloned().collect();
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(any_case)
            .build(patterns.keys())
            .ok()
            .filter(|_| !patterns.is_empty());
        Self { search, names: patterns.into_values().collect(), longest, encoded }
    }

    /// The name of a secret in it, in brackets.
    #[must_use]
    pub fn first_in(&self, bytes: &[u8]) -> Option<&str> {
        self.found(bytes).first().map(|(_, name)| *name)
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
        let mut end = 0;
        let found = self.found(bytes);
        for (place, name) in found.into_iter().take_while(|(place, _)| place.start < until) {
            out.extend_from_slice(&bytes[end..place.start]);
            out.extend_from_slice(name.as_bytes());
            end = place.end;
        }
        end
    }

    /// Where secrets are and what stands in their place, in order.
    fn found(&self, bytes: &[u8]) -> Vec<(Range<usize>, &str)> {
        let Some(search) = &self.search else { return Vec::new() };
        let name = |found: aho_corasick::Match| self.names[found.pattern().as_usize()].as_str();
        let mut all: Vec<_> = search.find_iter(bytes).map(|m| (m.range(), name(m))).collect();
        let Some(joined) = Joined::of(bytes) else { return all };
        let broken = search.find_iter(&joined.bytes).map(|m| (joined.range(m.range()), name(m)));
        all.extend(broken);
        all.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        // Most are found twice.
        all.dedup_by(|next, last| {
            let overlaps = next.0.start < last.0.end;
            if overlaps {
                last.0.end = last.0.end.max(next.0.end);
            }
            overlaps
        });
        all
    }

    /// A secret has no more bytes, with the breaks in it.
    fn reach(&self) -> usize {
        self.longest + self.longest / 8 + 16
    }

    /// Where at the end of a line something begins of which the next lines may hold the rest.
    fn unfinished(&self, bytes: &[u8]) -> Option<usize> {
        let line = bytes.trim_ascii_end();
        // A whole text is joined only where it can matter.
        let line_start = line.len().saturating_sub(self.reach());
        let end = &line[line_start..];
        if !end.last().copied().is_some_and(is_digit) {
            return None;
        }
        let joined = Joined::of(end);
        let text = joined.as_ref().map_or(end, |joined| &joined.bytes);
        let digits = text.iter().rev().take_while(|b| is_digit(**b)).count();
        let begins = |start: &usize| {
            let part = &text[*start..];
            let at = self.encoded.partition_point(|form| form.as_slice() < part);
            // A whole one is not unfinished.
            self.encoded
                .get(at)
                .is_some_and(|form| form.starts_with(part) && form.len() > part.len())
        };
        let start = (text.len() - digits..text.len()).find(begins)?;
        let start = joined.as_ref().map_or(start, |joined| joined.range(start..start + 1).start);
        Some(line_start + start)
    }
}

/// So few digits of an encoded secret at the end of a line tell nothing: they are not held back, but
/// the rest is still found.
const MIN_PART: usize = 8;

/// Whether it is a digit of an encoding that is broken into lines.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// A text whose lines are joined, also those that JSON tells of, and their indentation left out.
struct Joined {
    bytes: Vec<u8>,
    /// Where in `bytes` something was left out, and how many bytes of the text were by then.
    left_out: Vec<(usize, usize)>,
}

impl Joined {
    /// `None`: it is one line.
    fn of(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii_end();
        let mut joined = Self { bytes: Vec::new(), left_out: Vec::new() };
        let (mut from, mut at) = (0, 0);
        while let Some(next) = memchr::memchr3(b'\n', b'\r', b'\\', &text[at..]) {
            let start = at + next;
            let Some(end) = end_of_break(text, start) else {
                at = start + 1;
                continue;
            };
            joined.bytes.extend_from_slice(&text[from..start]);
            let so_far = joined.left_out.last().map_or(0, |(_, count)| *count);
            joined.left_out.push((joined.bytes.len(), so_far + end - start));
            (from, at) = (end, end);
        }
        if joined.left_out.is_empty() {
            return None;
        }
        joined.bytes.extend_from_slice(&text[from..]);
        Some(joined)
    }

    /// Where a range of `bytes` is in the text.
    fn range(&self, place: Range<usize>) -> Range<usize> {
        let origin = |at: usize| {
            let before = self.left_out.partition_point(|(place, _)| *place <= at);
            at + before.checked_sub(1).map_or(0, |last| self.left_out[last].1)
        };
        origin(place.start)..origin(place.end - 1) + 1
    }
}

/// Where a break between two lines that begins at `start`, and the indentation after it, ends.
/// `None`: it is none.
fn end_of_break(text: &[u8], start: usize) -> Option<usize> {
    let skip = |from: usize, what: &[u8]| {
        from + text[from..].iter().take_while(|b| what.contains(b)).count()
    };
    // JSON in JSON has more than one.
    let letter = skip(start, b"\\");
    let mut end = if letter == start {
        start + 1
    } else {
        text.get(letter).filter(|b| b"nr".contains(b))?;
        letter + 1
    };
    end = skip(end, b" \t");
    Some(end)
}

/// A name that can stand in JSON, Markdown and on a terminal.
fn tame(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect()
}

/// A stream without secrets, also those that are split across its pieces or broken into lines. It
/// holds back what may be a secret's beginning: less than the longest of them has bytes, with breaks.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    redactor: Redactor,
    /// What the next piece may belong to.
    kept: Vec<u8>,
    /// So much of it was given already: too little of a secret to hold it back.
    given: usize,
}

impl Stream {
    /// A stream from its beginning.
    #[must_use]
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, kept: Vec::new(), given: 0 }
    }

    /// Takes a piece in, and gives what can be said of it now. `end`: it ends a line.
    pub fn push<'a>(&mut self, piece: &'a [u8], end: bool) -> Cow<'a, [u8]> {
        if end && self.kept.is_empty() && self.redactor.unfinished(piece).is_none() {
            return self.redactor.bytes(piece);
        }
        self.kept.extend_from_slice(piece);
        let all = self.kept.len();
        // What begins before `until` is there as a whole, however long it is.
        let (until, keep) = if end {
            match self.redactor.unfinished(&self.kept) {
                Some(start) if all - start > MIN_PART => (start, start),
                Some(start) => (all, start),
                None => (all, all),
            }
        } else {
            let until = all.saturating_sub(self.redactor.reach());
            (until, until)
        };
        Cow::Owned(self.give(until, keep))
    }

    /// What was held back, at the end of all.
    pub fn finish(&mut self) -> Vec<u8> {
        self.give(self.kept.len(), self.kept.len())
    }

    /// Whether something is held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.kept.len() > self.given
    }

    /// The line without secrets, on its own.
    #[must_use]
    pub fn alone<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        self.redactor.bytes(line)
    }

    /// Gives what begins before `until`, and keeps what is there from `keep` on.
    fn give(&mut self, until: usize, keep: usize) -> Vec<u8> {
        let (mut out, mut end) = (Vec::new(), self.given);
        for (place, name) in self.redactor.found(&self.kept) {
            if place.start >= until {
                break;
            }
            if place.end > end {
                out.extend_from_slice(&self.kept[end..place.start.max(end)]);
                out.extend_from_slice(name.as_bytes());
                end = place.end;
            }
        }
        if end < until {
            out.extend_from_slice(&self.kept[end..until]);
            end = until;
        }
        // What goes on behind a secret that was taken out is kept from its end on.
        let keep = if keep == until && end > until.max(self.given) { end } else { keep };
        self.given = end.saturating_sub(keep);
        self.kept.drain(..keep);
        out
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

    /// As `base64` and others do it, and as JSON tells of it.
    #[test]
    fn what_an_encoder_breaks_into_lines_is_found() {
        let redactor = redactor();
        let file = format!("machine github.com\nlogin x\npassword {TOKEN}\n# and more of it\n");
        for (encoded, width) in [
            (STANDARD.encode(&file), 76),
            (STANDARD.encode(&file), 64),
            (STANDARD.encode(&file), 20),
            (hex(file.as_bytes(), false), 60),
        ] {
            for shift in 0..width {
                let text = format!("{}{encoded}", "A".repeat(shift / 4 * 4));
                let lines: Vec<_> =
                    text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
                for end in ["\n", "\r\n", "\n    ", "\\n", "\\r\\n", "\\\\n"] {
                    let text = lines.join(end);
                    let clean = redactor.text(&text).into_owned();
                    assert_eq!(clean.matches("[redacted:github-token]").count(), 1, "{clean}");
                    assert!(clean.len() < text.len() && clean.ends_with(&text[text.len() - 9..]));
                    let mut stream = Stream::new(redactor.clone());
                    let mut said = Vec::new();
                    for line in text.split_inclusive('\n') {
                        said.extend_from_slice(&stream.push(line.as_bytes(), line.ends_with('\n')));
                    }
                    said.extend_from_slice(&stream.finish());
                    let said = String::from_utf8(said).unwrap();
                    // A few digits at a line's end may be out before the next line tells.
                    let left = said.len() - clean.len();
                    assert!(left <= MIN_PART + end.len(), "{left} too many: {said}");
                    assert_eq!(said.matches("[redacted:github-token]").count(), 1, "{said}");
                }
            }
        }
    }

    /// Lines come out as they come in, but where a secret may have begun.
    #[test]
    fn a_line_is_held_back_only_if_it_may_end_in_the_middle_of_a_secret() {
        let mut stream = Stream::new(redactor());
        for line in ["done\n", "{\"type\":\"result\"}\n", "0123456789abcdef\n", "\n", "at ghp\n"] {
            assert_eq!(&*stream.push(line.as_bytes(), true), line.as_bytes());
            assert!(!stream.holds());
        }
        assert_eq!(&*stream.push(b"see c2stYW50LTAx\n", true), b"see ");
        assert!(stream.holds());
        assert_eq!(&*stream.push(b"it was nothing\n", true), b"c2stYW50LTAx\nit was nothing\n");
        assert!(!stream.holds());
        stream.push(b"c2stYW50LTAx\n", true);
        assert_eq!(stream.finish(), b"c2stYW50LTAx\n");
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
                prop_assert!(stream.kept.len() <= REDACTOR.reach());
                rest = more;
            }
            prop_assert!(rest.is_empty());
            said.extend_from_slice(&stream.finish());
            prop_assert!(stream.kept.is_empty());
            prop_assert_eq!(String::from_utf8(said).unwrap(), REDACTOR.text(&text).into_owned());
        }
    }
}
