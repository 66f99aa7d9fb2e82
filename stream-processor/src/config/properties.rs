//! More settings for librdkafka, as one list: `key=value[,key=value…]`.
//!
//! Owns the syntax alone; what may be set is for `kafka` to say. It must never show a text that it can't read,
//! which may be a part of a password.
//!
//! The emitter reads the same syntax. The two share no crate; `streamforge/tests/properties.rs` holds them
//! together.

use anyhow::{Result, bail};

/// Reads `key=value[,key=value…]`.
///
/// # Errors
///
/// A part is not `key=value`; it is named by its number.
pub fn properties(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (number, part) in (1..).zip(parts(text)) {
        let pair = part.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        match pair {
            Some((key, value)) if is_key(key) => pairs.push((key.to_owned(), value.to_owned())),
            _ => bail!(
                "part {number} of KAFKA_PROPERTIES is not key=value, for example fetch.wait.max.ms=50; \
                 write `\\,` for a comma inside a value"
            ),
        }
    }
    Ok(pairs)
}

fn is_key(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.chars().all(fits)
}

/// The parts between commas. `\,` is a comma and `\\` a backslash; any other backslash is itself.
fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let next = rest.clone().next();
        match (character, next) {
            ('\\', Some(escaped @ (',' | '\\'))) => {
                rest.next();
                part.push(escaped);
            }
            (',', _) => parts.push(std::mem::take(&mut part)),
            _ => part.push(character),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = properties(text).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_is_read_part_by_part() {
        check("", &[]);
        check("a.b=1, c = x=y ,", &[("a.b", "1"), ("c", "x=y")]);
    }

    #[test]
    fn a_value_may_hold_a_comma_and_a_backslash() {
        check(r"sasl.password=x\,y,a=1", &[("sasl.password", "x,y"), ("a", "1")]);
        check(r"a=x\\,b=C:\d", &[("a", r"x\"), ("b", r"C:\d")]);
    }

    #[test]
    fn a_bad_part_is_named_by_its_number_and_not_shown() {
        for bad in ["a=1,sasl.password:canary", "a=1,=canary", "sasl.password=x,can/ary=y"] {
            let error = properties(bad).unwrap_err().to_string();
            assert!(error.contains("part 2 of KAFKA_PROPERTIES"), "{error}");
            assert!(!error.contains("ary"), "{error}");
        }
    }
}
