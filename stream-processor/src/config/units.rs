//! Times and sizes as people say them.

use std::time::Duration;

/// Reads `500ms`, `1s`, `2m`, `1h`.
///
/// # Errors
///
/// No number, or a unit that is not one of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: f64 = number.parse().map_err(|_| "say it like 500ms, 1s, 2m".to_owned())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err("say it with a unit: ms, s, m or h".to_owned()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|err| err.to_string())
}

/// Reads `64MiB`, `1GiB`, `1000000`.
///
/// # Errors
///
/// No number, or a unit that is not one of these.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let number: usize = number.parse().map_err(|_| "say it like 64MiB".to_owned())?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("say it with a unit: KiB, MiB or GiB".to_owned()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[test]
    fn times_are_said_with_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("10").unwrap_err().contains("unit"));
        assert!(duration("soon").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn bytes_are_said_with_a_unit() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(bytes("1000"), Ok(1_000));
        assert!(bytes("64MB").unwrap_err().contains("MiB"));
        assert_eq!(bytes("18014398509481984KiB"), Err("too large".to_owned()));
    }
}
