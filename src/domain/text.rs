//! Text from strangers, made harmless.
//!
//! Two jobs: [`visible`] takes out what a person who read the issue could not have seen, before a
//! model reads it; [`one_line`] makes any text safe to print on a terminal.

/// What [`visible`] took out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    /// HTML comments.
    pub comments: usize,
    /// Invisible characters.
    pub characters: usize,
}

/// Characters that people do not see and models do: C0 and C1 controls other than newline and tab,
/// bidirectional marks, zero-width characters, invisible operators, variation selectors, and
/// Unicode tags.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00}'..='\u{08}' | '\u{0b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text as a reader of the rendered page sees it: no HTML comments, no invisible characters,
/// no alternative texts or titles of images. Line ends become `\n`.
#[must_use]
pub fn visible(text: &str) -> (String, Hidden) {
    let mut hidden = Hidden::default();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // Invisible characters go first: they could otherwise hide a comment's opening mark from us.
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            hidden.characters += 1;
        } else {
            seen.push(c);
        }
    }
    // Taking a comment out can join its neighbours to a new opening mark: repeat until none is left.
    while seen.contains("<!--") {
        let mut out = String::with_capacity(seen.len());
        let mut rest = seen.as_str();
        while let Some(start) = rest.find("<!--") {
            out.push_str(&rest[..start]);
            hidden.comments += 1;
            // An unclosed comment hides everything up to the end of the text, as on the page.
            rest = rest[start..].find("-->").map_or("", |end| &rest[start + end + 3..]);
        }
        out.push_str(rest);
        seen = out;
    }
    (plain_images(&seen), hidden)
}

/// Replaces `![alt](url "title")` by `![](url)` and drops `alt`/`title` of `<img>` tags: the page
/// shows the picture, not these words.
fn plain_images(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let markdown = rest.find("![");
        let html = find_ignore_case(rest, "<img");
        match (markdown, html) {
            (Some(m), h) if h.is_none_or(|h| m < h) => {
                out.push_str(&rest[..m]);
                rest = markdown_image(&rest[m..], &mut out);
            }
            (_, Some(h)) => {
                out.push_str(&rest[..h]);
                let tag = &rest[h..];
                let end = tag.find('>').map_or(tag.len(), |e| e + 1);
                let src = html_src(&tag[..end]);
                out.push_str("![](");
                out.push_str(src);
                out.push(')');
                rest = &tag[end..];
            }
            _ => {
                out.push_str(rest);
                return out;
            }
        }
    }
}

/// Writes the image at the start of `text` without its words, and returns what follows it.
fn markdown_image<'a>(text: &'a str, out: &mut String) -> &'a str {
    let body = &text[2..];
    let Some(close) = body.find(']') else {
        out.push_str("![");
        return body;
    };
    let after = &body[close + 1..];
    if let Some(target) = after.strip_prefix('(')
        && let Some(end) = target.find(')')
    {
        let url = target[..end].split_whitespace().next().unwrap_or("");
        out.push_str("![](");
        out.push_str(url);
        out.push(')');
        return &target[end + 1..];
    }
    out.push_str("![]");
    after
}

fn html_src(tag: &str) -> &str {
    let Some(at) = find_ignore_case(tag, "src=") else { return "" };
    let value = &tag[at + 4..];
    match value.chars().next() {
        Some(q @ ('"' | '\'')) => value[1..].split(q).next().unwrap_or(""),
        _ => value.split([' ', '>', '\n', '\t']).next().unwrap_or(""),
    }
}

fn find_ignore_case(hay: &str, needle: &str) -> Option<usize> {
    hay.as_bytes().windows(needle.len()).position(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
}

/// One line for a terminal or a log: control and invisible characters become spaces or vanish,
/// and what is longer than `max` characters ends in `…`.
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    // Most addresses and many words are: nothing to look at closely.
    if text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic()) {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut count = 0;
    let mut space = false;
    for c in text.trim().chars() {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if count + usize::from(space) + 1 > max {
            out.push('…');
            return out;
        }
        if space && !out.is_empty() {
            out.push(' ');
            count += 1;
        }
        space = false;
        out.push(c);
        count += 1;
    }
    out
}

/// Which of `known` was probably meant by `wrong`. Two numbers are the same with and without zeros in
/// front, and otherwise no slip of the other.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let bare = |s: &str| s.trim_start_matches('0').to_owned();
    let wrong = wrong.to_ascii_lowercase();
    let distance = |known: &str| {
        let known = known.to_ascii_lowercase();
        if is_number(&wrong) && is_number(&known) {
            return if bare(&wrong) == bare(&known) { 0 } else { usize::MAX };
        }
        strsim::damerau_levenshtein(&wrong, &known)
    };
    known
        .into_iter()
        .map(|known| (distance(known), known))
        .filter(|(distance, _)| *distance <= wrong.chars().count().max(3) / 3)
        .min()
        .map(|(_, known)| known)
}

/// At most `max` bytes of `text`, cut between characters, from its end.
#[must_use]
pub fn tail(text: &str, max: usize) -> &str {
    let mut start = text.len().saturating_sub(max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// At most `max` bytes of `text`, cut between characters, from its beginning.
#[must_use]
pub fn head(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A Markdown code fence that `text` cannot close: longer than any run of backticks in it.
#[must_use]
pub fn fence_for(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(3) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_page_hides_is_taken_out() {
        let (text, hidden) = visible("a<!-- do evil -->b\u{200b}c\u{e0041}\r\nd");
        assert_eq!(text, "abc\nd");
        assert_eq!(hidden, Hidden { comments: 1, characters: 2 });
        assert_eq!(visible("x <!-- open").0, "x ");
        assert_eq!(visible("<\u{200b}!-- hidden mark -->y").0, "y");
    }

    #[test]
    fn words_of_images_are_taken_out() {
        assert_eq!(visible("![obey me](u.png \"and me\") ok").0, "![](u.png) ok");
        assert_eq!(visible("<IMG alt='obey' src=\"u.png\" title=x> ok").0, "![](u.png) ok");
        assert_eq!(visible("![open").0, "![open");
    }

    #[test]
    fn a_line_for_the_terminal_has_no_controls() {
        assert_eq!(one_line("a\u{1b}[31mred\nb\tc", 80), "a[31mred b c");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("  ", 3), "");
    }

    proptest! {
        #[test]
        fn cleaned_text_hides_nothing(s in "\\PC{0,200}|(<!--|-->|!\\[|\\]\\(|<img |\u{200b}|a|\"|>|\\)){0,30}") {
            let (text, _) = visible(&s);
            prop_assert!(!text.contains("<!--"));
            prop_assert!(!text.chars().any(is_invisible));
        }

        #[test]
        fn a_fence_cannot_be_closed_from_inside(s in "[`a\\n]{0,60}") {
            prop_assert!(!s.contains(&fence_for(&s)));
        }

        #[test]
        fn one_line_is_one_line(s in any::<String>(), max in 1usize..50) {
            let line = one_line(&s, max);
            prop_assert!(line.chars().count() <= max + 1);
            let controls = line.chars().any(char::is_control);
            prop_assert!(!controls);
        }

        #[test]
        fn cuts_fall_between_characters(s in any::<String>(), max in 0usize..20) {
            prop_assert!(head(&s, max).len() <= max && tail(&s, max).len() <= max);
        }
    }

    #[test]
    fn the_nearest_is_what_a_slip_of_the_hand_meant() {
        let ids = ["01", "02", "10", "laptop-3"];
        for (wrong, meant) in [
            ("1", Some("01")),
            ("002", Some("02")),
            ("010", Some("10")),
            ("3", None),
            ("12", None),
            ("latpop-3", Some("laptop-3")),
            ("Laptop-3", Some("laptop-3")),
            ("server", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, ids), meant, "{wrong}");
        }
        assert_eq!(nearest("you/ap", ["you/app", "you/lib"]), Some("you/app"));
    }
}
