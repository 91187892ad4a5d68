//! What a benchmark says.

use serde_json::{Map, Value};

/// A table for people and keys for machines.
pub(crate) struct Report {
    title: String,
    rows: Vec<(String, String, String)>,
    keys: Map<String, Value>,
}

impl Report {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), rows: vec![], keys: Map::new() }
    }

    /// A row of the table: what was measured, the figure, and what it is compared with.
    pub(crate) fn row(&mut self, what: &str, figure: String, note: impl Into<String>) {
        self.rows.push((what.to_owned(), figure, note.into()));
    }

    /// A key of the JSON object.
    pub(crate) fn key(&mut self, name: &str, value: impl Into<Value>) {
        self.keys.insert(name.to_owned(), value.into());
    }

    #[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
    pub(crate) fn print(&self, json: bool) {
        println!("\n{}\n", self.title);
        let width = self.rows.iter().map(|(what, _, _)| what.chars().count()).max().unwrap_or(0);
        let figures = self.rows.iter().map(|(_, figure, _)| figure.chars().count()).max().unwrap_or(0);
        for (what, figure, note) in &self.rows {
            println!("  {what:<width$}  {figure:>figures$}  {note}");
        }
        println!();
        if json {
            println!("{}", Value::Object(self.keys.clone()));
        }
    }
}

/// A ratio with two decimals, as a number of hundredths: benchmarks need no floats either.
pub(crate) fn ratio(ours: u64, theirs: u64) -> Value {
    let hundredths = ours.saturating_mul(100).checked_div(theirs).unwrap_or(0);
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Events or commands in a second.
pub(crate) fn per_second(count: u64, elapsed: std::time::Duration) -> u64 {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1_000_000) / micros
}

/// `12345` as `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
