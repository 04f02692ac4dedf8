//! Samples, and the table that they go into.

use std::time::Duration;

/// Times of the same thing, in milliseconds.
#[derive(Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn add(&mut self, took: Duration) {
        let at = self.0.partition_point(|t| *t < took.as_secs_f64() * 1e3);
        self.0.insert(at, took.as_secs_f64() * 1e3);
    }

    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn best(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// `3.2 ms (best 2.9)`
    pub fn shown(&self) -> String {
        format!("{:.2} ms (best {:.2})", self.median(), self.best())
    }
}

/// A Markdown table on standard output, printed row by row as the figures come in.
#[derive(Debug)]
pub struct Table {
    reached: u32,
    missed: u32,
}

impl Table {
    pub fn begin() -> Self {
        println!("| figure | measured | target | verdict |\n|---|---|---|---|");
        Self { reached: 0, missed: 0 }
    }

    pub fn row(&mut self, figure: &str, measured: &str, target: &str, reached: bool) {
        let (count, verdict) =
            if reached { (&mut self.reached, "reached") } else { (&mut self.missed, "**missed**") };
        *count += 1;
        println!("| {figure} | {measured} | {target} | {verdict} |");
    }

    /// Judged by the median.
    pub fn at_most(&mut self, figure: &str, times: &Times, ms: f64) {
        self.row(figure, &times.shown(), &format!("≤ {ms} ms"), times.median() <= ms);
    }

    /// Something to compare with, or why it was not measured.
    pub fn note(figure: &str, measured: &str) {
        println!("| {figure} | {measured} | | |");
    }

    pub fn end(self) {
        println!("\n{} targets reached, {} missed", self.reached, self.missed);
    }
}
