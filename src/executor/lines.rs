//! An agent's raw output, cut into lines of bounded size.

use memchr::memchr;

/// How much of a line is held.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// A line up to this size is given as it is.
    whole: usize,
    /// Of a longer JSON line, each string keeps about this much.
    string: usize,
    /// What is longer even so is no event of an honest agent.
    most: usize,
    /// A longer line that is not JSON comes in pieces; else it is cut.
    pieces: bool,
}

/// Cuts a stream of bytes into lines, without ever holding much of it. Of a long line of JSON the
/// long strings keep their beginnings only, so that it stays JSON.
#[derive(Debug)]
pub struct LogLines {
    bounds: Bounds,
    line: Vec<u8>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Short,
    Json(Strings),
    /// Nothing more of it is wanted.
    Cut,
}

impl LogLines {
    /// For those who want the beginning of each line.
    #[must_use]
    pub fn at_a_glance() -> Self {
        Self::new(Bounds { whole: 64 << 10, string: 4 << 10, most: 256 << 10, pieces: false })
    }

    /// For those who want to read all of it: only in JSON lines of more than 1 MiB strings of more
    /// than 128 KiB are cut.
    #[must_use]
    pub fn to_read() -> Self {
        Self::new(Bounds { whole: 1 << 20, string: 128 << 10, most: 4 << 20, pieces: true })
    }

    fn new(bounds: Bounds) -> Self {
        Self { bounds, line: Vec::new(), kind: Kind::Short }
    }

    /// Takes bytes in and gives lines out.
    pub fn push(&mut self, mut bytes: &[u8], mut out: impl FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.is_empty() && line.len() <= self.bounds.whole {
                out(line);
            } else {
                self.take(line, &mut out);
                self.finish(&mut out);
            }
        }
        self.take(bytes, &mut out);
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self, mut out: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            out(&self.line);
        }
        self.kind = Kind::Short;
        // A rare long line must not keep its memory for hours.
        if self.line.capacity() > self.bounds.whole {
            self.line = Vec::new();
        }
        self.line.clear();
    }

    fn take(&mut self, mut bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        let Bounds { whole, string, most, pieces } = self.bounds;
        if matches!(self.kind, Kind::Short) {
            let room = whole - self.line.len();
            self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            bytes = &bytes[bytes.len().min(room)..];
            if bytes.is_empty() {
                return;
            }
            self.kind = if self.line.trim_ascii_start().starts_with(b"{") {
                let mut strings = Strings::default();
                let start = std::mem::take(&mut self.line);
                strings.shorten(&start, string, &mut self.line);
                Kind::Json(strings)
            } else if pieces {
                out(&self.line);
                self.line.clear();
                return self.take(bytes, out);
            } else {
                Kind::Cut
            };
        }
        if let Kind::Json(strings) = &mut self.kind {
            for part in bytes.chunks(whole) {
                strings.shorten(part, string, &mut self.line);
                if self.line.len() > most {
                    self.line.clear();
                    self.line.extend_from_slice(b"(a line that is too long to be shown)\n");
                    self.kind = Kind::Cut;
                    return;
                }
            }
        }
    }
}

/// Where in the strings of a JSON text one is.
#[derive(Debug, Default)]
struct Strings {
    inside: bool,
    /// How much of this string was kept.
    kept: usize,
    /// The string was cut.
    cut: bool,
    /// Bytes that the escape sequence under way still has, and its number as far as it is read.
    escape: (u8, u32),
    /// The last escape sequence kept was the first half of a character.
    half: bool,
}

impl Strings {
    fn shorten(&mut self, mut bytes: &[u8], max: usize, out: &mut Vec<u8>) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if !self.inside {
                let end = memchr(b'"', bytes).map_or(bytes.len(), |at| at + 1);
                self.inside = bytes[end - 1] == b'"';
                (self.kept, self.cut, self.half) = (0, false, false);
                out.extend_from_slice(&bytes[..end]);
                bytes = &bytes[end..];
                continue;
            }
            if self.cut && self.escape.0 == 0 {
                // Far the most of a long string goes by here.
                let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                if end > 0 {
                    bytes = &bytes[end..];
                    continue;
                }
            }
            bytes = rest;
            match (self.escape, byte) {
                ((0, _), b'"') => {
                    if self.cut {
                        out.extend_from_slice("…".as_bytes());
                    }
                    self.inside = false;
                    out.push(byte);
                    continue;
                }
                // An escape sequence, a character of several bytes, and a character of two escape
                // sequences are kept or dropped whole.
                ((0, _), _) => {
                    let continued = byte & 0xc0 == 0x80 && self.kept < max + 8;
                    let second = self.half && byte == b'\\' && self.kept < max + 8;
                    self.cut |= self.kept >= max && !continued && !second;
                    self.half = false;
                    self.escape = (u8::from(byte == b'\\'), 0);
                }
                ((1, 0), b'u') => self.escape = (4, 1),
                ((left, number), _) => {
                    let digit = char::from(byte).to_digit(16).unwrap_or(0);
                    let number = if number == 0 { 0 } else { (number << 4) | digit };
                    self.half = left == 1 && (0x1d800..=0x1dbff).contains(&number);
                    self.escape = (left - 1, number);
                }
            }
            if !self.cut {
                self.kept += 1;
                out.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn lines(mut lines: LogLines, chunks: &[&[u8]]) -> Vec<String> {
        let mut got = Vec::new();
        let mut take = |line: &[u8]| got.push(String::from_utf8_lossy(line).into_owned());
        for chunk in chunks {
            lines.push(chunk, &mut take);
        }
        lines.finish(take);
        got
    }

    fn small(pieces: bool) -> LogLines {
        LogLines::new(Bounds { whole: 10, string: 4, most: 40, pieces })
    }

    #[test]
    fn a_long_text_is_cut_or_comes_in_pieces() {
        let text: &[&[u8]] = &[b"one\ntw", b"o\n0123456789ab", b"cdef0123456789x\nend"];
        let cut = ["one\n", "two\n", "0123456789", "end"];
        assert_eq!(lines(small(false), text), cut);
        let pieces = ["one\n", "two\n", "0123456789", "abcdef0123", "456789x\n", "end"];
        assert_eq!(lines(small(true), text), pieces);
    }

    #[test]
    fn json_that_is_too_long_even_without_its_strings_is_named() {
        let line = format!("{{\"a\":[{}0]}}\n{{}}\n", "0,".repeat(100));
        let got = lines(small(true), &[line.as_bytes()]);
        assert_eq!(got, ["(a line that is too long to be shown)\n", "{}\n"]);
    }

    /// A string with whatever could go wrong when it is cut.
    fn hard() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec![
                "a", "\"", "\\", "é", "…", "😀", "\u{1}", "\n", "u", "\u{d7ff}",
            ]),
            0..12,
        )
        .prop_map(|parts| parts.concat())
    }

    /// JSON with every character outside ASCII escaped, as some write it.
    fn escaped(json: &str) -> String {
        let mut out = String::new();
        for c in json.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn shortened_json_stays_json_and_strings_keep_their_beginnings(
            texts in prop::collection::vec(hard(), 1..5), chunk in 1usize..9, escape: bool,
        ) {
            let mut line = json!({ "texts": texts, "number": 17, "and": {"": null} }).to_string();
            if escape {
                line = escaped(&line);
            }
            let chunks: Vec<&[u8]> = line.as_bytes().chunks(chunk).collect();
            let bounds = Bounds { whole: 10, string: 12, most: 1000, pieces: false };
            let got = lines(LogLines::new(bounds), &chunks);
            let got: Value = serde_json::from_str(&got.concat()).unwrap();
            prop_assert_eq!(&got["number"], 17);
            for (text, got) in texts.iter().zip(got["texts"].as_array().unwrap()) {
                let got = got.as_str().unwrap();
                prop_assert!(got == text || text.starts_with(got.strip_suffix('…').unwrap()));
            }
        }

        #[test]
        fn whatever_comes_little_is_held(bytes in prop::collection::vec(
            prop::sample::select(b"{\"\\u\n\x80\xf0ad8".to_vec()), 0..300), chunk in 1usize..40,
        ) {
            let mut lines = small(true);
            for chunk in bytes.chunks(chunk) {
                lines.push(chunk, |line| assert!(line.len() <= 60));
                prop_assert!(lines.line.len() <= 60);
            }
        }
    }
}
