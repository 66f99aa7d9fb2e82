//! What data files and summaries hold, or that they don't.

use std::collections::BTreeMap;

use bytes::Bytes;
use lakehouse::simulated::{DataFileView, Servers};
use serde_json::Value;

use super::{Check, Offsets, Violation, violated};
use crate::sim::rows::{Row, decode};

pub(super) fn present(servers: &Servers, file: &DataFileView) -> Check<Bytes> {
    match servers.object(&file.location) {
        None => violated("I5", format!("{} is not there", file.location)),
        Some(bytes) if bytes.len() as u64 != file.bytes => violated(
            "I5",
            format!("{} has {} bytes, not {}", file.location, bytes.len(), file.bytes),
        ),
        Some(bytes) => Ok(bytes),
    }
}

pub(super) fn contents(servers: &Servers, file: &DataFileView) -> Check<Vec<Row>> {
    let rows = decode(&present(servers, file)?);
    match rows {
        Some(rows) if rows.len() as u64 == file.rows => Ok(rows),
        _ => violated("I5", format!("{} does not hold {} rows", file.location, file.rows)),
    }
}

pub(super) fn offsets(position: &str) -> Check<Offsets> {
    let json: Value = serde_json::from_str(position).unwrap_or_default();
    let topics = json.get("topics").and_then(Value::as_object);
    let Some(held) = topics.and_then(|topics| topics.values().next()).and_then(Value::as_object)
    else {
        return violated("I4", format!("{position} is no position"));
    };
    Ok(held.iter().filter_map(|(p, offset)| Some((p.parse().ok()?, offset.as_i64()?))).collect())
}

pub(super) fn ranges(text: &str) -> Check<BTreeMap<i32, (i64, i64)>> {
    serde_json::from_str(text)
        .map_err(|_| Violation { invariant: "I4", what: format!("{text} are no ranges") })
}
