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
        return Verdict::Refuse(format!("none of {} sampled records is a JSON object", sample.len()));
    }
    let columns = job.source.columns.iter().filter(|column| column.origin == Origin::Json);
    for column in columns {
        if let Some(complaint) = complaint(column, &objects) {
            return Verdict::Refuse(complaint);
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

fn complaint(column: &SourceColumn, objects: &[Map<String, Value>]) -> Option<String> {
    let name = &column.name;
    let sampled = objects.len();
    let present: Vec<&Value> = objects.iter().filter_map(|object| object.get(name)).collect();
    if present.is_empty() {
        let seen: BTreeSet<&str> = objects.iter().flat_map(Map::keys).map(String::as_str).take(64).collect();
        let seen: Vec<&str> = seen.into_iter().collect();
        return Some(format!(
            "column `{name}`: none of {sampled} sampled records has that field; they have {}",
            seen.join(", ")
        ));
    }
    let values: Vec<&Value> = present.into_iter().filter(|value| !value.is_null()).collect();
    let wrong = values.first().filter(|_| !values.iter().any(|v| fits(column.column_type, v)))?;
    Some(format!(
        "column `{name}` is declared {}, but all {} sampled values are of another type, such as {}",
        column.column_type,
        values.len(),
        kind(wrong)
    ))
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
