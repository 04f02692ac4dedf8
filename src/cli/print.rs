//! Output: one place that knows of colours, tables and closed pipes.

use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::domain::Outcome;
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
    // Stripped here and not on the way: anstream hands on every line and every style by itself.
    let written = match anstream::AutoStream::choice(&stdout) {
        anstream::ColorChoice::Never => {
            let plain = anstream::adapter::strip_str(text).to_string();
            stdout.write_all(plain.as_bytes())
        }
        _ => stdout.write_all(text.as_bytes()),
    };
    let written = written.and_then(|()| stdout.flush());
    if let Err(e) = written {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        let _ = writeln!(std::io::stderr(), "error: cannot write the output: {e}");
        std::process::exit(1);
    }
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
    let mut stderr = anstream::stderr();
    let _ = writeln!(stderr, "{RED}error:{RED:#} {failure}");
    if let Some(hint) = &failure.hint {
        let _ = writeln!(stderr, "{CYAN}hint:{CYAN:#} {hint}");
    }
}

/// A value as JSON, on one document, with a newline.
pub(super) fn json(value: &impl serde::Serialize) -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot write JSON: {e}")))?;
    out(&(text + "\n"));
    Ok(ExitCode::SUCCESS)
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

/// Rows in columns, each as wide as its widest cell. The last column is not padded.
pub(super) fn table(rows: &[Vec<(Style, String)>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|(_, t)| t.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (style, cell)) in row.iter().enumerate() {
            line.push_str(&styled(*style, cell));
            if i + 1 < row.len() {
                let pad = widths[i].saturating_sub(cell.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push_str(line.trim_end());
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
        assert_eq!(table(&rows), "a    bb\nccc\n");
    }
}
