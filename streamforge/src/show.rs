//! What people read on the terminal.

use std::io::{ErrorKind, Result as Written, Write as _};

use anyhow::Result;
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

/// Writes a result to standard output. Who has read enough (`| head`) is no error.
///
/// # Errors
///
/// It can't be written for another reason.
pub(crate) fn result(text: &[u8]) -> Written<()> {
    match std::io::stdout().write_all(text) {
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a line of the command's result.
///
/// # Panics
///
/// When [`result`] fails: nothing may be missing with exit code 0.
pub(crate) fn line(text: &str) {
    result(format!("{text}\n").as_bytes()).expect("standard output takes the result");
}

/// Prints how far something is to standard error, if that still takes it.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Rows as a table with lines.
///
/// # Errors
///
/// A value can't be written.
pub(crate) fn table(rows: &[RecordBatch]) -> Result<String> {
    Ok(pretty_format_batches(rows)?.to_string())
}

/// `1,234,567 events`
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_grouped() {
        assert_eq!(super::grouped(0), "0");
        assert_eq!(super::grouped(999), "999");
        assert_eq!(super::grouped(1_000), "1,000");
        assert_eq!(super::grouped(1_234_567), "1,234,567");
        assert_eq!(super::count(1, "event"), "1 event");
    }
}
