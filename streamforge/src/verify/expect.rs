//! What must become of one record, worked out by plain `serde_json` and Rust.
//!
//! Shares no code with the engine: no SQL, no Arrow, no decoder. It knows the job the other way round, as a
//! person would say it: *purchases above the threshold, with these thirteen columns*.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::plain::{Cell, instant};

/// A row of `processed_conversions`, each value as a person would write it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Text columns in the order of the table, event time and revenue left out.
    pub texts: [Option<String>; 7],
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub event_ts_us: i64,
    /// Degrees.
    pub latitude: Option<f64>,
    /// Degrees.
    pub longitude: Option<f64>,
    /// Hundredths of a dollar.
    pub revenue_cents: i128,
}

/// What must become of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// A row of the table.
    Written(Box<Row>),
    /// Sound, but not what the job wants.
    Filtered,
    /// Broken, for this reason.
    Rejected(&'static str),
}

/// The JSON fields, in the order in which the job declares them.
const DECLARED: [&str; 11] = [
    "unique_event_id",
    "customer_id",
    "session_guid",
    "activity_type",
    "source_url",
    "client_platform",
    "event_ts_utc",
    "customer_latitude",
    "customer_longitude",
    "product_id",
    "transaction_value",
];
/// Arrays and objects that may lie inside each other.
const DEPTH_MAX: usize = 127;
/// Largest magnitude that `decimal(12,2)` holds, in hundredths.
const CENTS_MAX: i128 = 999_999_999_999;

/// Works out what must become of a record whose value is `payload`. `threshold_cents` is the job's filter.
pub fn expected(payload: Option<&[u8]>, threshold_cents: i128) -> Expected {
    match read(payload) {
        Err(reason) => Expected::Rejected(reason),
        Ok((kind, row)) if kind == "purchase" => match row {
            Some(row) if row.revenue_cents > threshold_cents => Expected::Written(Box::new(row)),
            _ => Expected::Filtered,
        },
        Ok(_) => Expected::Filtered,
    }
}

/// The activity type, and the row where the record has a value.
fn read(payload: Option<&[u8]>) -> Result<(String, Option<Row>), &'static str> {
    let payload = payload.ok_or("tombstone")?;
    if payload.is_empty() {
        return Err("empty");
    }
    let text = std::str::from_utf8(payload).map_err(|_| "invalid_utf8")?;
    sound(text)?;
    if !text.trim_start_matches([' ', '\n', '\r', '\t']).starts_with('{') {
        return Err("not_an_object");
    }
    // It is sound JSON, so what is left is a key that is no text.
    let value: Pairs = serde_json::from_str(text).map_err(|_| "invalid_utf8")?;
    let mut fields = BTreeMap::new();
    for (key, value) in value.0 {
        if DECLARED.contains(&key.as_str()) && fields.insert(key, value).is_some() {
            return Err("duplicate_key");
        }
    }
    row(&fields)
}

/// Whether it is one JSON text that is not nested too deeply. Of two faults the first in the text counts.
fn sound(text: &str) -> Result<(), &'static str> {
    let Err(err) = serde_json::from_str::<IgnoredAny>(text) else {
        return if depth(text) > DEPTH_MAX { Err("nesting_too_deep") } else { Ok(()) };
    };
    // Up to the fault; an error about a byte counts its column from 1.
    let lines = text.split_inclusive('\n').take(err.line().saturating_sub(1));
    let before = lines.map(str::len).sum::<usize>() + err.column().saturating_sub(1);
    let end =
        if err.is_eof() { text.len() } else { text.floor_char_boundary(before.min(text.len())) };
    let deep = text.get(..end).is_some_and(|text| depth(text) > DEPTH_MAX);
    Err(if deep { "nesting_too_deep" } else { "invalid_json" })
}

/// How many arrays and objects of a sound JSON text lie inside each other.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Field by field in the order of the declaration: the first fault is the reason.
fn row(fields: &BTreeMap<String, Box<RawValue>>) -> Result<(String, Option<Row>), &'static str> {
    let raw = |name: &str| fields.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
    let quoted = |raw: &str| if raw.starts_with('"') { Ok(()) } else { Err("wrong_type") };
    let text = |name: &str| {
        let Some(raw) = raw(name) else { return Ok(None) };
        quoted(raw)?;
        serde_json::from_str::<String>(raw).map(Some).map_err(|_| "invalid_utf8")
    };
    let required = |name: &str| text(name)?.ok_or("missing_field");
    let time = |name: &str| {
        let raw = raw(name).ok_or("missing_field")?;
        quoted(raw)?;
        let text = serde_json::from_str::<String>(raw).ok();
        text.and_then(|text| microseconds(&text)).ok_or("bad_timestamp")
    };
    let number = |name: &str| match raw(name) {
        Some(raw) if !raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Err("wrong_type")
        }
        raw => Ok(raw),
    };
    let event = required("unique_event_id")?;
    let customer = required("customer_id")?;
    let session = required("session_guid")?;
    let kind = required("activity_type")?;
    let url = required("source_url")?;
    let platform = required("client_platform")?;
    let event_ts_us = time("event_ts_utc")?;
    let latitude = number("customer_latitude")?.map(degrees).transpose()?;
    let longitude = number("customer_longitude")?.map(degrees).transpose()?;
    let product = text("product_id")?;
    let cents = number("transaction_value")?.map(cents).transpose()?;
    let (event, customer, action) = (Some(event), Some(customer), Some(kind.clone()));
    let texts = [event, customer, action, Some(url), Some(session), Some(platform), product];
    let row =
        cents.map(|revenue_cents| Row { texts, event_ts_us, latitude, longitude, revenue_cents });
    Ok((kind, row))
}

fn degrees(number: &str) -> Result<f64, &'static str> {
    number.parse::<f64>().ok().filter(|degrees| degrees.is_finite()).ok_or("out_of_range")
}

/// Reads a decimal from its text, half a cent rounded away from zero.
fn cents(text: &str) -> Result<i128, &'static str> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().map_err(|_| "out_of_range")?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // Where the point stands in `digits`, moved two to the right to count cents.
    let point =
        i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent).saturating_add(2);
    if digits.bytes().all(|digit| digit == b'0') {
        return Ok(0);
    }
    let leading = digits.bytes().take_while(|digit| *digit == b'0').count();
    if point.saturating_sub(i64::try_from(leading).unwrap_or(0)) > 13 {
        return Err("out_of_range");
    }
    let mut value: i128 = 0;
    for place in 0..point.max(0) {
        let digit = usize::try_from(place).ok().and_then(|place| digits.as_bytes().get(place));
        value = value * 10 + i128::from(digit.map_or(0, |digit| digit - b'0'));
    }
    let next = usize::try_from(point).ok().and_then(|place| digits.as_bytes().get(place));
    if next.is_some_and(|digit| *digit >= b'5') {
        value += 1;
    }
    if value > CENTS_MAX { Err("out_of_range") } else { Ok(if negative { -value } else { value }) }
}

/// Reads a time with a zone, to milliseconds, as microseconds.
fn microseconds(text: &str) -> Option<i64> {
    match instant(text, 3)? {
        Cell::Whole(micros) => i64::try_from(micros).ok(),
        _ => None,
    }
}

/// An object's fields as they stand, doubled keys included.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_cents(text: &str, expected: Result<i128, &'static str>) {
        assert_eq!(cents(text), expected, "{text}");
    }

    #[test]
    fn decimals_are_read_from_their_text() {
        check_cents("50", Ok(5_000));
        check_cents("50.01", Ok(5_001));
        check_cents("-0.005", Ok(-1));
        check_cents("50.004", Ok(5_000));
        check_cents("50.005", Ok(5_001));
        check_cents("5.001e1", Ok(5_001));
        check_cents("9999999999.99", Ok(999_999_999_999));
        check_cents("9999999999.995", Err("out_of_range"));
        check_cents("1e999", Err("out_of_range"));
        check_cents("0e999", Ok(0));
        check_cents("1e-999", Ok(0));
    }

    #[test]
    fn what_is_no_json_is_told_before_what_it_is_not() {
        let check = |text: &str, reason: &str| {
            let found = expected(Some(text.as_bytes()), 0);
            assert!(
                matches!(found, Expected::Rejected(found) if found == reason),
                "{text}: {found:?}"
            );
        };
        check("[1", "invalid_json");
        check("[1]", "not_an_object");
        check("5x", "invalid_json");
        check(&"[".repeat(200), "nesting_too_deep");
        check(&format!("x{}", "[".repeat(200)), "invalid_json");
        check(r#"{"\ud800":1}"#, "invalid_utf8");
        check(r#" "\ud800""#, "not_an_object");
    }

    #[test]
    fn the_first_declared_field_that_is_broken_names_the_reason() {
        let check = |text: &str, reason: &str| {
            let found = expected(Some(text.as_bytes()), 0);
            assert!(
                matches!(found, Expected::Rejected(found) if found == reason),
                "{text}: {found:?}"
            );
        };
        check(r#"{"product_id":"\ud800"}"#, "missing_field");
        check(r#"{"unique_event_id":"\ud800","customer_id":5}"#, "invalid_utf8");
        check(r#"{"customer_id":5,"unique_event_id":"e"}"#, "wrong_type");
    }

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(microseconds("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(microseconds("2026-03-01T12:34:56.789Z"), Some(1_772_368_496_789_000));
        assert_eq!(microseconds("2026-03-01T13:34:56.7899+01:00"), Some(1_772_368_496_789_000));
        assert_eq!(microseconds("1969-12-31T23:59:59.999Z"), Some(-1_000));
        assert_eq!(microseconds("2026-02-30T00:00:00Z"), None);
        assert_eq!(microseconds("2026-02-03T00:00:00"), None);
    }
}
