//! An issue that an agent wants filed, as it wrote it: read strictly, never guessed at.

use serde::{Deserialize, Serialize};

use super::IssueNumber;
use super::text::{is_invisible, one_line};

/// An issue that is to be filed. Text of an agent, free of invisible characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The name of its file in the outbox: letters, digits, `.`, `_` and `-`.
    pub file: String,
    /// One line, at most 256 characters as GitHub has it.
    pub title: String,
    /// The labels that the agent would like, as it wrote them; at most 20.
    pub labels: Vec<String>,
    /// Markdown, at most 65,000 characters; GitHub takes 65,536, and we add some.
    pub body: String,
}

/// An issue of a run that is on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filed {
    /// Its number.
    pub number: IssueNumber,
    /// Its page for people.
    pub url: String,
    /// Its title: text of an agent.
    pub title: String,
    /// The name of its file in the outbox.
    pub file: String,
    /// An open issue of that title was there already, so that none was filed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub there_already: bool,
}

const MAX_NAME: usize = 100;
const MAX_TITLE: usize = 256;
const MAX_BODY: usize = 65_000;
const MAX_LABELS: usize = 20;

impl Draft {
    /// Reads a file: the title, then `labels: a, b` if there are any, then an empty line, then the
    /// body.
    ///
    /// # Errors
    /// What is wrong with it, in words that begin with "its" or "it".
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if file.len() > MAX_NAME || file.starts_with(['.', '-']) || !file.chars().all(plain) {
            return Err(format!(
                "its name must be of letters, digits, `.`, `_` and `-`, at most {MAX_NAME}"
            ));
        }
        let text: String = text.chars().filter(|c| !is_invisible(*c)).collect();
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let title = title.trim().trim_start_matches("# ").trim();
        if !title.contains(char::is_alphanumeric) {
            return Err("its first line is not a title".into());
        }
        if title.chars().count() > MAX_TITLE {
            return Err(format!("its title is longer than {MAX_TITLE} characters"));
        }
        let (second, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let named = second.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case("labels"));
        let (blank, body) = match named {
            Some(_) => after.split_once('\n').unwrap_or((after, "")),
            None => (second, after),
        };
        if !blank.trim().is_empty() {
            return Err("it has no empty line between its head and its body".into());
        }
        let labels = named.map_or("", |(_, names)| names).split(',').map(str::trim);
        let labels: Vec<String> = labels.filter(|l| !l.is_empty()).map(str::to_owned).collect();
        if labels.len() > MAX_LABELS {
            return Err(format!("it names more than {MAX_LABELS} labels"));
        }
        let body = closed(body.trim_start_matches('\n').trim_end());
        if body.chars().count() > MAX_BODY {
            return Err(format!("its body is longer than {MAX_BODY} characters"));
        }
        Ok(Self { file: file.to_owned(), title: one_line(title, MAX_TITLE), labels, body })
    }

    /// Whether an issue of this title is the same, as people see it.
    #[must_use]
    pub fn is_titled(&self, title: &str) -> bool {
        self.title.to_lowercase() == title.trim().to_lowercase()
    }
}

/// The text with its last HTML comment closed: an open one would hide what we write below it.
fn closed(text: &str) -> String {
    let mut rest = text;
    while let Some(start) = rest.find("<!--") {
        match rest[start..].find("-->") {
            Some(end) => rest = &rest[start + end + 3..],
            None => return format!("{text}\n-->"),
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Draft, String> {
        Draft::parse("a.md", text)
    }

    #[test]
    fn a_draft_is_title_labels_empty_line_and_body() {
        let draft = parse(
            "# Slow\tstart \r\nLabels: bug ,, good first issue\r\n\r\n\r\n  code\r\n\r\nEnd\n\n",
        );
        let draft = draft.unwrap();
        assert_eq!((draft.title.as_str(), draft.body.as_str()), ("Slow start", "  code\n\nEnd"));
        assert_eq!(draft.labels, ["bug", "good first issue"]);
        let bare = parse("#42 is back").unwrap();
        assert_eq!((bare.title.as_str(), bare.body.as_str()), ("#42 is back", ""));
        assert!(bare.is_titled(" #42 IS back\t") && !bare.is_titled("#42"));
        assert_eq!(parse("A\n\nlabels: no").unwrap().labels, [""; 0]);
        assert_eq!(parse("A\nlabels:").unwrap().labels, [""; 0]);
    }

    #[test]
    fn what_is_not_a_draft_is_refused_with_its_fault() {
        for (text, fault) in [
            ("", "title"),
            ("\nTitle\n\nbody", "title"),
            ("---\n\nbody", "title"),
            ("\u{200b}\u{202e}\n\nbody", "title"),
            ("Title\nbody at once", "empty line"),
            ("Title\nlabels: a\nbody at once", "empty line"),
            (&"x".repeat(257), "256"),
            (&format!("T\nlabels: {}", "a,".repeat(21)), "20 labels"),
            (&format!("T\n\n{}", "x".repeat(65_001)), "65000"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(fault), "{text:.40}: {why}");
        }
        for name in ["-a.md", ".md", "a b.md", "a-->.md", "ä.md", &"a".repeat(101)] {
            assert!(Draft::parse(name, "T").unwrap_err().contains("name"), "{name}");
        }
    }

    #[test]
    fn an_open_comment_does_not_hide_what_is_written_below_it() {
        for (open, shut) in [
            ("a <!-- b", "a <!-- b\n-->"),
            ("<!-- a --> <!-- b", "<!-- a --> <!-- b\n-->"),
            ("a <!-- b --> c -->", "a <!-- b --> c -->"),
            ("<!--> a", "<!--> a"),
        ] {
            assert_eq!(parse(&format!("T\n\n{open}")).unwrap().body, shut);
        }
    }
}
