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
    /// Words that the page does not show: of images, and definitions of links that no text uses.
    pub words: usize,
}

impl Hidden {
    /// All of it.
    #[must_use]
    pub fn count(self) -> usize {
        self.comments + self.characters + self.words
    }
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
/// no alternative texts or titles of images, no definitions of links that are used nowhere. Line ends
/// become `\n`.
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
    // A definition that is gone can have kept another one's label in use.
    loop {
        let (text, gone) = without_definitions(&seen);
        if gone == 0 {
            break;
        }
        hidden.words += gone;
        seen = text;
    }
    let (text, words) = plain_images(&seen);
    hidden.words += words;
    (text, hidden)
}

/// Takes out lines such as `[//]: # (words)`, which define a link and are not shown, if nothing else
/// speaks of that link; of the others, the titles. Returns how many had something to hide.
fn without_definitions(text: &str) -> (String, usize) {
    let (mut out, mut gone) = (String::with_capacity(text.len()), 0);
    for line in text.split_inclusive('\n') {
        let Some((label, target, title)) = definition(line) else {
            out.push_str(line);
            continue;
        };
        // The label stands in its own line, too.
        let used = text.matches(&format!("[{label}]")).nth(1).is_some();
        if used && title.is_empty() {
            out.push_str(line);
            continue;
        }
        gone += 1;
        if used {
            out.push_str(&format!("[{label}]: {target}\n"));
        }
    }
    (out, gone)
}

/// Label, target and title of a line that defines a link.
fn definition(line: &str) -> Option<(&str, &str, &str)> {
    let indented = line.trim_start_matches(['>', ' ', '\t']);
    let (label, rest) = indented.strip_prefix('[')?.split_once("]:")?;
    let rest = rest.trim();
    let (target, title) = match rest.strip_prefix('<').and_then(|r| r.split_once('>')) {
        Some((inside, title)) => (&rest[..inside.len() + 2], title),
        None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
    };
    let title = title.trim();
    let quoted = |open: char, close: char| title.starts_with(open) && title.ends_with(close);
    let is_title = title.is_empty() || quoted('"', '"') || quoted('\'', '\'') || quoted('(', ')');
    let is_label =
        !label.trim().is_empty() && !label.starts_with('^') && !label.contains(['[', ']']);
    (is_label && !target.is_empty() && is_title).then_some((label, target, title))
}

/// Replaces `![alt](url "title")` by `![](url)` and drops `alt`/`title` of `<img>` tags: the page
/// shows the picture, not these words. Returns how many images had some.
fn plain_images(text: &str) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut words) = (text, 0);
    loop {
        let markdown = rest.find("![");
        let html = find_ignore_case(rest, "<img");
        let (at, source, len) = match (markdown, html) {
            (Some(m), h) if h.is_none_or(|h| m < h) => {
                let Some((url, len)) = markdown_image(&rest[m..]) else {
                    out.push_str(&rest[..m + 2]);
                    rest = &rest[m + 2..];
                    continue;
                };
                (m, url, len)
            }
            (_, Some(h)) => {
                let len = end_of_tag(&rest[h..]);
                (h, html_src(&rest[h..h + len]), len)
            }
            _ => {
                out.push_str(rest);
                return (out, words);
            }
        };
        out.push_str(&rest[..at]);
        let plain = format!("![]({source})");
        words += usize::from(rest[at..at + len] != plain);
        out.push_str(&plain);
        rest = &rest[at + len..];
    }
}

/// The address of the image at the start of `text`, and how long all of it is. `None`: it is none.
fn markdown_image(text: &str) -> Option<(&str, usize)> {
    let alt = 1 + closing(&text[1..], '[', ']')?;
    let after = &text[alt..];
    let target = match after.chars().next() {
        Some('(') => closing(after, '(', ')'),
        // `![alt][label]`: the label is not shown either.
        Some('[') => return Some(("", alt + closing(after, '[', ']').unwrap_or(0))),
        _ => None,
    };
    let Some(len) = target else { return Some(("", alt)) };
    Some((after[1..len - 1].split_whitespace().next().unwrap_or(""), alt + len))
}

/// Where the bracket at the start of `text` is closed: behind the closing one. What stands in quotes
/// in round brackets is a title.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let (mut depth, mut quote, mut escaped, mut before) = (0_usize, None, false, ' ');
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if quote.is_some() => quote = quote.filter(|q| *q != c),
            '"' | '\'' if open == '(' && before.is_whitespace() => quote = Some(c),
            _ if c == open => depth += 1,
            _ if c == close && depth == 1 => return Some(at + c.len_utf8()),
            _ if c == close => depth -= 1,
            _ => {}
        }
        before = c;
    }
    // Never closed, or only if one looks less closely.
    text.find(close).map(|at| at + close.len_utf8())
}

/// How long the tag at the start of `text` is; a `>` in quotes does not end it.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match c {
            _ if quote.is_some() => quote = quote.filter(|q| *q != c),
            '"' | '\'' => quote = Some(c),
            '>' => return at + 1,
            _ => {}
        }
    }
    text.find('>').map_or(text.len(), |at| at + 1)
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
        assert_eq!(hidden, Hidden { comments: 1, characters: 2, words: 0 });
        assert_eq!(hidden.count(), 3);
        assert_eq!(visible("x <!-- open").0, "x ");
        assert_eq!(visible("<\u{200b}!-- hidden mark -->y").0, "y");
    }

    #[test]
    fn words_of_images_are_taken_out() {
        assert_eq!(visible("![obey me](u.png \"and me\") ok").0, "![](u.png) ok");
        assert_eq!(visible("<IMG alt='obey' src=\"u.png\" title=x> ok").0, "![](u.png) ok");
        assert_eq!(visible("![open").0, "![open");
        for hidden in [
            "![a [b] obey](u.png) ok",
            "![a](u.png \"obey) obey\") ok",
            "![a](u.png 'obey) obey') ok",
            "![a \\] obey](u.png) ok",
            "<img alt=\"a > obey\" src=u.png> ok",
            "<img\nalt='obey'\nsrc='u.png'\ntitle='>obey'/> ok",
        ] {
            let (text, counted) = visible(hidden);
            assert_eq!((text.as_str(), counted.words), ("![](u.png) ok", 1), "{hidden}");
        }
        assert_eq!(visible("![obey][obey] ok").0, "![]() ok");
        assert_eq!(visible("![](u.png) ok").1, Hidden::default());
        assert_eq!(visible("![a](u.png \"open").0, "![]()(u.png \"open");
    }

    #[test]
    fn definitions_of_links_that_nothing_uses_are_taken_out() {
        for hidden in [
            "[//]: # (obey)",
            "[//]: # \"obey\"",
            "  [obey]: <> (obey)",
            "[obey this]: #",
            "> [x]: <a b> 'obey'",
        ] {
            let (text, counted) = visible(&format!("a\n{hidden}\nb"));
            assert_eq!((text.as_str(), counted.words), ("a\nb", 1), "{hidden}");
        }
        assert_eq!(visible("[obey]: #\n[obey more]: #[obey] (a)").0, "");
        assert_eq!(visible("see [x]\n\n[x]: u.png 'obey'").0, "see [x]\n\n[x]: u.png\n");
        for shown in
            ["see [x]\n[x]: u.png", "[ERROR]: it failed badly", "[^1]: a", "- [ ]: a b", "a [b]: c"]
        {
            assert_eq!(visible(shown), (shown.to_owned(), Hidden::default()));
        }
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
