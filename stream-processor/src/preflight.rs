//! A look at the topic before the first commit: can this job match these records at all?
//!
//! Owns the verdict on a sample, reached by plain `serde_json` and not by the engine's own decoder. It
//! must never touch a table, and never judge a single broken record: only what is wrong throughout.

use std::collections::BTreeSet;

use lakehouse::ids::{Offset, PartitionId};
use lakehouse::spec::ColumnType;
use serde_json::{Map, Value};

use crate::decode::{DecodeOptions, Decoder, RawRecord};
use crate::job::{Job, Origin, SourceColumn};
use crate::transform::Transform;

/// Records looked at, at most.
pub const SAMPLE_MAX: usize = 1_000;

/// A job is only refused on a sample at least this large: a handful of broken records proves nothing.
pub const REFUSAL_MIN: usize = 20;

/// What the sample says of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing stands against it.
    Pass,
    /// No record to look at.
    Empty,
    /// It may be right, but an operator should know.
    Warn(String),
    /// It can't be right: every row would be null, rejected or wrong.
    Refuse(String),
}

/// Judges `job` by a sample of its topic's record values.
pub fn examine(job: &Job, sample: &[Vec<u8>]) -> Verdict {
    if sample.is_empty() {
        return Verdict::Empty;
    }
    let objects: Vec<Map<String, Value>> =
        sample.iter().filter_map(|payload| serde_json::from_slice(payload).ok()).collect();
    if objects.is_empty() {
        let why = format!("none of {} sampled records is a JSON object", sample.len());
        return against(why, sample.len());
    }
    let columns = job.source.columns.iter().filter(|column| column.origin == Origin::Json);
    for column in columns {
        if let Some((complaint, evidence)) = complaint(column, &objects) {
            return against(complaint, evidence);
        }
    }
    match silent_sinks(job, sample) {
        Some(names) => Verdict::Warn(format!(
            "no record of {} sampled ones passes the filter of {names}; is it what you meant?",
            sample.len()
        )),
        None => Verdict::Pass,
    }
}

fn against(why: String, evidence: usize) -> Verdict {
    if evidence >= REFUSAL_MIN { Verdict::Refuse(why) } else { Verdict::Warn(why) }
}

/// What is wrong with a column throughout, and how many records say so.
fn complaint(column: &SourceColumn, objects: &[Map<String, Value>]) -> Option<(String, usize)> {
    let name = &column.name;
    let sampled = objects.len();
    let present: Vec<&Value> = objects.iter().filter_map(|object| object.get(name)).collect();
    if present.is_empty() {
        let seen: BTreeSet<&str> =
            objects.iter().flat_map(Map::keys).map(String::as_str).take(64).collect();
        let seen: Vec<&str> = seen.into_iter().collect();
        let why = format!(
            "column `{name}`: none of {sampled} sampled records has that field; they have {}",
            seen.join(", ")
        );
        return Some((why, sampled));
    }
    let values: Vec<&Value> = present.into_iter().filter(|value| !value.is_null()).collect();
    let wrong = values.first().filter(|_| !values.iter().any(|v| fits(column.column_type, v)))?;
    let why = format!(
        "column `{name}` is declared {}, but all {} sampled values are of another type, such as {}",
        column.column_type,
        values.len(),
        kind(wrong)
    );
    Some((why, values.len()))
}

fn fits(column_type: ColumnType, value: &Value) -> bool {
    match column_type {
        ColumnType::Boolean => value.is_boolean(),
        ColumnType::Int
        | ColumnType::Long
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. } => value.is_number(),
        ColumnType::String
        | ColumnType::Binary
        | ColumnType::Date
        | ColumnType::Timestamptz
        | ColumnType::Timestamp => value.is_string(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The sinks that no sampled record reaches, if there are any.
fn silent_sinks(job: &Job, sample: &[Vec<u8>]) -> Option<String> {
    let transform = Transform::new(job).ok()?;
    let records = sample.iter().zip(0..).map(|(payload, offset)| RawRecord {
        partition: PartitionId::new(0),
        offset: Offset::new(offset),
        timestamp_ms: None,
        payload: Some(payload),
    });
    let decoded = Decoder::new(job, DecodeOptions::default()).decode(records);
    let transformed = transform.apply(&decoded);
    let silent: Vec<&str> = job
        .sinks
        .iter()
        .zip(&transformed.per_sink)
        .filter(|(_, rows)| rows.batch.num_rows() == 0)
        .map(|(sink, _)| sink.table.name.as_str())
        .collect();
    (!silent.is_empty()).then(|| silent.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    const JOB: &str = "
        CREATE TABLE visits (
            id STRING NOT NULL,
            kind STRING NOT NULL,
            price DECIMAL(10, 2)
        ) WITH (
            'connector' = 'kafka',
            'topic' = 'visits',
            'properties.bootstrap.servers' = 'localhost:9092',
            'scan.startup.mode' = 'earliest-offset',
            'format' = 'json'
        );
        INSERT INTO lake.shop.sales SELECT id, price FROM visits WHERE kind = 'sale';";

    fn judge(sample: &[&str]) -> Verdict {
        let sample: Vec<Vec<u8>> = sample.iter().map(|text| text.as_bytes().to_vec()).collect();
        examine(&Job::parse(JOB).unwrap(), &sample)
    }

    #[track_caller]
    fn check_refused(sample: &[&str], words: &[&str]) {
        let many = sample.repeat(REFUSAL_MIN);
        let Verdict::Refuse(why) = judge(&many) else { panic!("accepted: {sample:?}") };
        for word in words {
            assert!(why.contains(word), "no `{word}` in: {why}");
        }
    }

    #[test]
    fn a_job_that_fits_passes() {
        assert_eq!(judge(&[r#"{"id":"a","kind":"sale","price":1.5}"#]), Verdict::Pass);
    }

    #[test]
    fn an_empty_topic_is_no_reason_to_refuse() {
        assert_eq!(judge(&[]), Verdict::Empty);
    }

    #[test]
    fn a_column_that_no_record_has_is_refused_and_the_fields_are_named() {
        check_refused(&[r#"{"id":"a","kind":"sale","prize":1}"#], &["`price`", "prize"]);
    }

    #[test]
    fn a_column_of_another_type_throughout_is_refused() {
        let row = r#"{"id":"a","kind":"sale","price":"1.5"}"#;
        check_refused(&[row, row], &["`price`", "decimal(10, 2)", "a string"]);
    }

    #[test]
    fn a_few_broken_records_are_no_evidence() {
        let few = judge(&["not json", "<xml/>"]);
        assert!(matches!(few, Verdict::Warn(_)), "{few:?}");
    }

    #[test]
    fn a_column_that_is_right_once_or_always_null_passes() {
        let wrong = r#"{"id":"a","kind":"sale","price":"1.5"}"#;
        assert_eq!(judge(&[wrong, r#"{"id":"a","kind":"sale","price":1}"#]), Verdict::Pass);
        assert_eq!(judge(&[r#"{"id":"a","kind":"sale","price":null}"#]), Verdict::Pass);
    }

    #[test]
    fn a_filter_that_passes_nothing_is_a_warning() {
        let Verdict::Warn(what) = judge(&[r#"{"id":"a","kind":"visit","price":1}"#]) else {
            panic!("no warning")
        };
        assert!(what.contains("sales"), "{what}");
    }

    #[test]
    fn a_topic_without_json_is_refused_but_one_broken_record_is_not() {
        check_refused(&["not json", "<xml/>"], &["JSON object"]);
        assert_eq!(judge(&["not json", r#"{"id":"a","kind":"sale","price":1}"#]), Verdict::Pass);
    }
}
