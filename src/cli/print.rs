//! Output: one place that knows of colours, tables and closed pipes.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Reset, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::config::{Env, env};
use crate::domain::Outcome;
use crate::ops::dispatch::Dispatched;
use crate::ops::{Exit, Failure};

/// Bold.
pub(super) const BOLD: Style = Style::new().bold();
/// Less important.
pub(super) const DIM: Style = Style::new().dimmed();
/// Good.
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
/// Look here.
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Bad.
pub(super) const RED: Style = AnsiColor::Red.on_default();
/// Under way.
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();

/// Writes text to standard output, styled only where that shows. A reader that went away ends the
/// program quietly, as with other tools.
pub(super) fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(dressed(text).as_bytes()).and_then(|()| stdout.flush());
    if let Err(e) = written {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        let _ = writeln!(std::io::stderr(), "error: cannot write the output: {e}");
        std::process::exit(1);
    }
}

/// The text as standard output shows it: without styles where they are not wanted.
pub(super) fn dressed(text: &str) -> Cow<'_, str> {
    if shows_styles() {
        return text.into();
    }
    // Stripped here and not on the way: anstream hands on every line and every style by itself.
    let mut plain = String::with_capacity(text.len());
    plain.extend(anstream::adapter::strip_str(text));
    plain.into()
}

fn shows_styles() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// The columns of the terminal that standard output is, or what `COLUMNS` says they are. Nothing in
/// a pipe: a script sees everything.
pub(super) fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let asked = Env::of_process().get(env::COLUMNS).and_then(|columns| columns.parse().ok());
    asked.or_else(|| Some(size(&stdout)?.0)).filter(|columns| *columns > 0)
}

/// Columns and rows of a terminal, if it says.
pub(super) fn size(terminal: &impl std::os::fd::AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    let size = (usize::from(size.ws_col), usize::from(size.ws_row));
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// How many columns a line takes; styles take none.
pub(super) fn columns(line: &str) -> usize {
    // Most is plain, and in a table of thousands of rows the rest would take half of all time.
    if line.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return line.len();
    }
    anstream::adapter::strip_str(line).map(UnicodeWidthStr::width).sum()
}

/// The line, ending in `…` if it takes more than `width` columns. Styles are kept.
pub(super) fn cut(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| columns(line) > *width) else { return line.to_owned() };
    let (mut out, mut left) = (String::new(), width.saturating_sub(1));
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            out.push(c);
            out.extend(rest.by_ref().take_while(|c| *c != 'm').chain(['m']));
            continue;
        }
        let taken = c.width().unwrap_or(0);
        if taken > left {
            break;
        }
        left -= taken;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    if out.contains('\u{1b}') {
        out.push_str(&Reset.to_string());
    }
    out
}

fn is_address(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(' ')
}

/// Writes a line to standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes to standard error what a person is to answer on the same line.
pub(super) fn question(text: &str) {
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Cause and hint.
pub(super) fn failure(failure: &Failure) {
    let _ = writeln!(anstream::stderr(), "{RED}error:{RED:#} {failure}");
    if let Some(text) = &failure.hint {
        hint(text);
    }
}

/// What to do next.
pub(super) fn hint(text: &str) {
    let _ = writeln!(anstream::stderr(), "{CYAN}hint:{CYAN:#} {text}");
}

/// A value as JSON, on one document, with a newline.
pub(super) fn json(value: &impl serde::Serialize) -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot write JSON: {e}")))?;
    out(&(text + "\n"));
    Ok(ExitCode::SUCCESS)
}

/// A run that was started, with the PID of its supervisor, which is not in the record yet.
pub(super) fn run_json(started: &Dispatched) -> serde_json::Value {
    let mut value = serde_json::to_value(&started.run).unwrap_or_default();
    value["pid"] = started.pid.into();
    value
}

/// A styled word.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The style of an outcome.
pub(super) fn outcome_style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Succeeded => GREEN,
        Outcome::Deferred | Outcome::Stopped | Outcome::NotStarted => YELLOW,
        Outcome::Failed | Outcome::TimedOut | Outcome::Lost => RED,
    }
}

/// Rows in columns, each as wide as its widest cell. The last column is not padded, and is cut where
/// the terminal ends. It is for standard output: styles are there if they show.
pub(super) fn table<C: AsRef<str>>(rows: &[impl AsRef<[(Style, C)]>]) -> String {
    lay_out(rows, width(), shows_styles())
}

/// The same with styles, cut at `width` columns.
pub(super) fn table_within<C: AsRef<str>>(
    rows: &[impl AsRef<[(Style, C)]>],
    width: Option<usize>,
) -> String {
    lay_out(rows, width, true)
}

fn lay_out<C: AsRef<str>>(
    rows: &[impl AsRef<[(Style, C)]>],
    width: Option<usize>,
    styles: bool,
) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.iter().map(AsRef::as_ref) {
        widths.resize(widths.len().max(row.len()), 0);
        for (widest, (_, cell)) in widths.iter_mut().zip(row) {
            *widest = columns(cell.as_ref()).max(*widest);
        }
    }
    let mut text = String::new();
    for row in rows.iter().map(AsRef::as_ref) {
        // What is empty at the end of a row needs no column.
        let full = |(_, cell): &(Style, C)| !cell.as_ref().is_empty();
        let used = row.iter().rposition(full).map_or(0, |last| last + 1);
        let begin = text.len();
        let mut pad = 0;
        for ((style, cell), width) in row[..used].iter().zip(&widths) {
            let cell = cell.as_ref();
            text.extend(std::iter::repeat_n(' ', pad));
            if styles && !style.is_plain() {
                text.push_str(&styled(*style, cell));
            } else {
                text.push_str(cell);
            }
            pad = width - columns(cell) + 2;
        }
        // Half an address leads nowhere.
        let whole = row[..used].last().is_some_and(|(_, cell)| is_address(cell.as_ref()));
        if width.is_some() && !whole {
            let line = text.split_off(begin);
            text.push_str(&cut(&line, width));
        }
        text.push('\n');
    }
    text
}

/// `45s`, `12m`, `3h 5m`, `2d 4h`.
pub(super) fn duration(secs: i64) -> String {
    match secs.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        s => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// `512 B`, `3.4 KB`, `1.2 GB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut unit = 1;
    for name in ["KB", "MB", "GB", "TB"] {
        unit *= 1000;
        // As a tenth of the unit, in whole numbers.
        if bytes < unit * 1000 && bytes >= 1000 {
            let tenths = (bytes * 10).div_ceil(unit);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let shown = [0, 59, 60, 3599, 3600, 90_000, -5].map(duration);
        assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h 0m", "1d 1h", "0s"]);
    }

    #[test]
    fn sizes_are_short() {
        let shown = [0, 999, 1000, 1_234_000, 2_000_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 KB", "1.3 MB", "2.0 GB"]);
    }

    #[test]
    fn columns_line_up() {
        let plain = |t: &str| (Style::new(), t.to_owned());
        let rows = vec![vec![plain("a"), plain("bb")], vec![plain("ccc"), plain("")]];
        assert_eq!(table_within(&rows, None), "a    bb\nccc\n");
    }

    #[test]
    fn columns_line_up_where_letters_are_wide_or_take_no_room() {
        let plain = |t: &str| (Style::new(), t.to_owned());
        let rows =
            ["検索", "ab", "e\u{301}e\u{301}e\u{301}", "🦀"].map(|t| vec![plain(t), plain("|")]);
        let shown = table_within(&rows, None);
        let at = |line: &str| columns(line.split('|').next().unwrap());
        assert!(shown.lines().all(|line| at(line) == 6), "{shown}");
    }

    #[test]
    fn a_text_is_cut_between_letters_and_never_wider_than_asked() {
        assert_eq!(cut("検索が遅い", Some(10)), "検索が遅い");
        assert_eq!(cut("検索が遅い", Some(9)), "検索が遅…");
        assert_eq!(cut("検索が遅い", Some(8)), "検索が…");
        // The accent belongs to its letter.
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", Some(2)), "e\u{301}…");
        assert_eq!(cut("abc", Some(1)), "…");
        assert_eq!(cut("abc", Some(0)), "");
        assert_eq!(cut("abc", None), "abc");
        assert_eq!(cut(&styled(BOLD, "abcd"), Some(3)), "\u{1b}[1mab…\u{1b}[0m");
        for text in ["検a索e\u{301}🦀x👍🏽y", "🇯🇵🇯🇵🇯🇵", "plain words"] {
            for width in 0..20 {
                assert!(columns(&cut(text, Some(width))) <= width, "{text} {width}");
            }
        }
    }

    #[test]
    fn a_row_is_cut_at_the_end_and_an_address_is_not() {
        let plain = |t: &str| (Style::new(), t.to_owned());
        let rows = vec![
            vec![plain("01"), plain("busy"), plain("a long title")],
            vec![plain("02"), plain("idle"), plain("https://github.com/octo/app/pull/2")],
        ];
        let shown = table_within(&rows, Some(14));
        assert_eq!(shown, "01  busy  a l…\n02  idle  https://github.com/octo/app/pull/2\n");
        assert_eq!(table_within(&rows[..1], Some(6)), "01  b…\n");
    }
}
