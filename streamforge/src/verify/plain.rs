//! What any declaration makes of a record: `serde_json` for JSON, `chrono` for time, schoolbook arithmetic on digit
//! strings for decimals.
//!
//! It follows docs/decode-outcomes.md line by line, shares no code with the engine, and takes its time. `expect` knows
//! one job and what must become of a record in it; this knows every type and stops at the decoded columns.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "an oracle stops at the first surprise"
)]

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use lakehouse::spec::ColumnType;
use serde::de::{DeserializeOwned, IgnoredAny};
use stream_processor::decode::Reason;
use stream_processor::job::{Job, SourceColumn};

/// A value of one column.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Absent or null.
    Null,
    /// True or false.
    Flag(bool),
    /// An integer, an unscaled decimal, days, or microseconds.
    Whole(i128),
    /// A float.
    Real(f64),
    /// A text.
    Text(String),
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Flag(a), Self::Flag(b)) => a == b,
            (Self::Whole(a), Self::Whole(b)) => a == b,
            // serde_json reads a float with an error of a few units in the last place.
            (Self::Real(a), Self::Real(b)) => a == b || ((a - b) / b).abs() < 1e-6,
            (Self::Text(a), Self::Text(b)) => a == b,
            _ => false,
        }
    }
}

/// What a record decodes to.
pub enum Expected {
    /// One cell for each column of the declaration.
    Row(Vec<Cell>),
    /// Nothing, for this reason.
    Reject(Reason),
}

impl Expected {
    /// `row`, or the reason.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Row(_) => "row",
            Self::Reject(reason) => reason.as_str(),
        }
    }
}

/// Reads a record by the declaration of `job`, whose columns must all come from JSON.
pub fn read(job: &Job, payload: Option<&[u8]>) -> Expected {
    match row(&job.source.columns, payload) {
        Ok(row) => Expected::Row(row),
        Err(reason) => Expected::Reject(reason),
    }
}

fn row(columns: &[SourceColumn], payload: Option<&[u8]>) -> Result<Vec<Cell>, Reason> {
    let payload = payload.ok_or(Reason::Tombstone)?;
    if payload.is_empty() {
        return Err(Reason::Empty);
    }
    let text = std::str::from_utf8(payload).map_err(|_| Reason::InvalidUtf8)?;
    let whole = serde_json::from_str::<IgnoredAny>(text);
    let sound = match &whole {
        Ok(_) => text,
        Err(err) => &text[..sound(text, err)],
    };
    if depth(sound) > 127 {
        return Err(Reason::NestingTooDeep);
    }
    whole.map_err(|_| Reason::InvalidJson)?;
    let text = text.trim_matches(JSON_SPACE);
    if !text.starts_with('{') {
        return Err(Reason::NotAnObject);
    }
    let mut values: BTreeMap<String, &str> = BTreeMap::new();
    let mut twice = false;
    for (key, value) in members(text)? {
        let declared = columns.iter().any(|column| column.name == key);
        twice |= declared && values.contains_key(&key);
        values.insert(key, value);
    }
    if twice {
        return Err(Reason::DuplicateKey);
    }
    let cell = |column: &SourceColumn| match values.get(&column.name) {
        None | Some(&"null") if column.nullable => Ok(Cell::Null),
        None | Some(&"null") => Err(Reason::MissingField),
        Some(value) => cell(column, value),
    };
    columns.iter().map(cell).collect()
}

const JSON_SPACE: [char; 4] = [' ', '\n', '\r', '\t'];

/// How many bytes of the text are sound. An error stands behind the byte it is about, whose column
/// counts from 1; or at the end.
fn sound(text: &str, err: &serde_json::Error) -> usize {
    if err.is_eof() {
        return text.len();
    }
    let lines = text.split_inclusive('\n').take(err.line().saturating_sub(1));
    let before: usize = lines.map(str::len).sum();
    text.floor_char_boundary((before + err.column()).saturating_sub(1).min(text.len()))
}

/// How many containers are open at most.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest): (usize, usize) = (0, 0);
    let mut chars = text.chars();
    let mut in_string = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            '{' | '[' if !in_string => depth += 1,
            '}' | ']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The members of an object that is known to be JSON, each value as it is written.
///
/// # Errors
///
/// A key is no text.
///
/// # Panics
///
/// If it is no JSON object.
pub fn members(text: &str) -> Result<Vec<(String, &str)>, Reason> {
    let mut members = Vec::new();
    let mut rest = text[1..].trim_start_matches(JSON_SPACE);
    while !rest.starts_with('}') {
        let (key, after) = first::<String>(rest).ok_or(Reason::InvalidUtf8)?;
        let value = after.trim_start_matches(JSON_SPACE).strip_prefix(':').unwrap();
        let value = value.trim_start_matches(JSON_SPACE);
        let (_, after) = first::<IgnoredAny>(value).unwrap();
        members.push((key, &value[..value.len() - after.len()]));
        rest = after.trim_start_matches(JSON_SPACE);
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start_matches(JSON_SPACE);
    }
    Ok(members)
}

/// The first value of a text, and what follows it.
fn first<T: DeserializeOwned>(text: &str) -> Option<(T, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}

fn cell(column: &SourceColumn, text: &str) -> Result<Cell, Reason> {
    let is_text = text.starts_with('"');
    let is_number = text.starts_with(|char: char| char == '-' || char.is_ascii_digit());
    let is_whole = is_number && !text.contains(['.', 'e', 'E']);
    let string = || serde_json::from_str::<String>(text);
    let precision = usize::from(column.precision);
    match column.column_type {
        ColumnType::String if is_text => string().map(Cell::Text).map_err(|_| Reason::InvalidUtf8),
        ColumnType::Boolean if text == "true" || text == "false" => Ok(Cell::Flag(text == "true")),
        ColumnType::Int if is_whole => whole(text, i32::MIN.into(), i32::MAX.into()),
        ColumnType::Long if is_whole => whole(text, i64::MIN.into(), i64::MAX.into()),
        ColumnType::Double if is_number => {
            serde_json::from_str(text).map(Cell::Real).map_err(|_| Reason::OutOfRange)
        }
        ColumnType::Float if is_number => match text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(Cell::Real(value.into())),
            _ => Err(Reason::OutOfRange),
        },
        ColumnType::Decimal { precision, scale } if is_number => {
            decimal(text, precision.into(), scale.into()).ok_or(Reason::OutOfRange)
        }
        ColumnType::Date if is_text => {
            string().ok().and_then(|text| day(&text)).ok_or(Reason::BadTimestamp)
        }
        ColumnType::Timestamptz if is_text => {
            string().ok().and_then(|text| instant(&text, precision)).ok_or(Reason::BadTimestamp)
        }
        ColumnType::Timestamp if is_text => {
            string().ok().and_then(|text| local(&text, precision)).ok_or(Reason::BadTimestamp)
        }
        _ => Err(Reason::WrongType),
    }
}

fn whole(text: &str, least: i128, most: i128) -> Result<Cell, Reason> {
    match text.parse::<i128>() {
        Ok(value) if (least..=most).contains(&value) => Ok(Cell::Whole(value)),
        _ => Err(Reason::OutOfRange),
    }
}

/// Moves the point through the digits, as on paper.
fn decimal(text: &str, precision: usize, scale: usize) -> Option<Cell> {
    let negative = text.starts_with('-');
    let lower = text.trim_start_matches('-').to_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if mantissa.chars().all(|char| matches!(char, '0' | '.')) {
        return Some(Cell::Whole(0));
    }
    // Beyond this, every number here is far too large or rounds to nothing.
    let exponent = exponent.parse::<i64>().map_or_else(
        |_| if exponent.starts_with('-') { -10_000 } else { 10_000 },
        |exponent| exponent.clamp(-10_000, 10_000),
    );
    let mut before = before.to_owned();
    let mut after = after.to_owned();
    for _ in 0..exponent {
        before.push(if after.is_empty() { '0' } else { after.remove(0) });
    }
    for _ in exponent..0 {
        after.insert(0, before.pop().unwrap_or('0'));
    }
    after.push_str(&"0".repeat(scale + 1));
    let round_up = after.as_bytes()[scale] >= b'5';
    let digits = format!("{before}{}", &after[..scale]);
    let digits = digits.trim_start_matches('0');
    if digits.len() > precision {
        return None;
    }
    let unscaled = digits.parse::<i128>().unwrap_or(0) + i128::from(round_up);
    if unscaled.to_string().len() > precision {
        return None;
    }
    Some(Cell::Whole(if negative { -unscaled } else { unscaled }))
}

/// The text's shape: digits as `0`, everything else as it is.
fn shape(text: &str) -> String {
    text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect()
}

fn day(text: &str) -> Option<Cell> {
    if shape(text) != "0000-00-00" {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Cell::Whole(date.signed_duration_since(NaiveDate::default()).num_days().into()))
}

/// Splits off the digits after the seconds, cut to `precision`, as microseconds.
fn fraction(text: &str, precision: usize) -> Option<(String, i64)> {
    let Some((head, tail)) = text.split_once('.') else { return Some((text.to_owned(), 0)) };
    // Behind the seconds, and nowhere else.
    if head.len() != "0000-00-00T00:00:00".len() {
        return None;
    }
    let end = tail.find(|char: char| !char.is_ascii_digit()).unwrap_or(tail.len());
    let (digits, zone) = tail.split_at(end);
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let kept: String = digits.chars().take(precision).chain("000000".chars()).take(6).collect();
    Some((format!("{head}{zone}"), kept.parse().unwrap()))
}

/// A time with a zone, as microseconds since 1970, cut to `precision` digits of a second.
pub(super) fn instant(text: &str, precision: usize) -> Option<Cell> {
    let (text, micros) = fraction(text, precision)?;
    let known = ["0000-00-00T00:00:00Z", "0000-00-00T00:00:00+00:00", "0000-00-00T00:00:00-00:00"];
    if !known.contains(&shape(&text).as_str()) || text.get(17..19) == Some("60") {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(&text).ok()?;
    Some(Cell::Whole((time.timestamp() * 1_000_000 + micros).into()))
}

fn local(text: &str, precision: usize) -> Option<Cell> {
    let (text, micros) = fraction(text, precision)?;
    if shape(&text) != "0000-00-00T00:00:00" || text.get(17..19) == Some("60") {
        return None;
    }
    let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S").ok()?;
    Some(Cell::Whole((time.and_utc().timestamp() * 1_000_000 + micros).into()))
}
