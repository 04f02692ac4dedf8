//! Output: one place that knows of colours, tables and closed pipes.

use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let shown = [0, 59, 60, 3599, 3600, 90_000, -5].map(duration);
        assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h 0m", "1d 1h", "0s"]);
    }

    #[test]
    fn columns_line_up() {
        let plain = |t: &str| (Style::new(), t.to_owned());
        let rows = vec![vec![plain("a"), plain("bb")], vec![plain("ccc"), plain("")]];
        assert_eq!(table(&rows), "a    bb\nccc\n");
    }
}
