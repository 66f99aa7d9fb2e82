//! Which rows and rejects are copied for people to look at.
//!
//! Owns the pace: at most one look a second at each table's rows and at each reason. Between two looks a batch
//! costs one comparison and a lock that nobody holds for longer. It must never copy more than the beginning of a value.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tokio::sync::watch;

use super::journal::{Journal, ROWS_MAX, RejectSample};
use crate::decode::Reason;
use crate::pipeline::Timestamp;

/// How often rows of a table, or rejects of a reason, are copied.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a payload that are shown.
const PAYLOAD_BYTES_MAX: usize = 400;
/// Characters of a value that are shown.
const CELL_CHARS_MAX: usize = 120;
/// A character takes four bytes at most.
const CELL_BYTES_MAX: usize = 4 * CELL_CHARS_MAX;
/// Columns of a row that are shown.
const COLUMNS_MAX: usize = 40;

/// Takes samples, for any number of threads.
pub(crate) struct Samples {
    /// The names of the tables; that of rejects, whose rows are shown by reason, may follow.
    tables: Vec<String>,
    journal: watch::Sender<Journal>,
    sampler: Mutex<Sampler>,
}

impl Samples {
    /// Samples of `tables`, into `journal`.
    pub(crate) fn new(tables: Vec<String>, journal: watch::Sender<Journal>) -> Self {
        Self { tables, journal, sampler: Mutex::default() }
    }

    /// Copies a few rows and rejects, now and then. One batch for each table, rejects last.
    pub(crate) fn take<'a>(
        &self,
        batches: &[RecordBatch],
        reasons: impl Iterator<Item = &'a Reason>,
        now: Timestamp,
    ) {
        let Some((rejects, tables)) = batches.split_last() else { return };
        let filled = |(_, batch): &(usize, &RecordBatch)| batch.num_rows() > 0;
        let tables = tables.iter().enumerate().filter(filled);
        let (tables, reasons) = {
            let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
            let tables: Vec<_> =
                tables.filter(|(table, _)| sampler.wants_rows(*table, now)).collect();
            (tables, sampler.wanted(reasons, now))
        };
        for (table, batch) in tables {
            let Some(name) = self.tables.get(table) else { continue };
            self.journal.send_modify(|journal| journal.sample_rows(name, batch));
        }
        if !reasons.is_empty() {
            self.journal.send_modify(|journal| journal.sample_rejects(&reasons, rejects));
        }
    }
}

/// Remembers when it looked last.
#[derive(Debug, Default)]
struct Sampler {
    rows: BTreeMap<usize, Timestamp>,
    rejects: BTreeMap<Reason, Timestamp>,
}

impl Sampler {
    /// Whether the rows of table number `table` are worth a look now; if so they count as looked at.
    fn wants_rows(&mut self, table: usize, now: Timestamp) -> bool {
        is_due(&mut self.rows, table, now)
    }

    /// Those of `reasons` that are worth a look now; they count as looked at.
    fn wanted<'a>(
        &mut self,
        reasons: impl Iterator<Item = &'a Reason>,
        now: Timestamp,
    ) -> Vec<Reason> {
        reasons.copied().filter(|reason| is_due(&mut self.rejects, *reason, now)).collect()
    }
}

fn is_due<K: Ord>(looked: &mut BTreeMap<K, Timestamp>, key: K, now: Timestamp) -> bool {
    let due = looked.get(&key).is_none_or(|at| now.saturating_sub(*at) >= SAMPLE_EVERY);
    if due {
        looked.insert(key, now);
    }
    due
}

impl Journal {
    /// Copies the last rows of `batch`.
    pub(crate) fn sample_rows(&mut self, table: &str, batch: &RecordBatch) {
        let columns =
            batch.schema().fields().iter().take(COLUMNS_MAX).map(|f| f.name().clone()).collect();
        let first = batch.num_rows().saturating_sub(ROWS_MAX);
        let rows = (first..batch.num_rows()).map(|row| {
            batch.columns().iter().take(COLUMNS_MAX).map(|column| cell(column, row)).collect()
        });
        self.rows(table, columns, rows.collect());
    }

    /// Copies the first reject of each of `reasons` out of `batch`, which is in the schema of
    /// `rejected_events`.
    pub(crate) fn sample_rejects(&mut self, reasons: &[Reason], batch: &RecordBatch) {
        let Some(found) = batch.column_by_name("reason") else { return };
        let found = found.as_string::<i32>();
        for reason in reasons {
            let name = reason.as_str();
            let row = (0..found.len()).find(|row| found.value(*row) == name);
            if let Some(sample) = row.and_then(|row| reject(batch, row)) {
                self.reject(name, sample);
            }
        }
    }
}

fn reject(batch: &RecordBatch, row: usize) -> Option<RejectSample> {
    let column = |name| batch.column_by_name(name);
    let times = column("record_time")?.as_primitive::<TimestampMicrosecondType>();
    let payloads = column("payload")?.as_binary::<i32>();
    let payload = payloads.is_valid(row).then(|| payloads.value(row));
    Some(RejectSample {
        partition: column("kafka_partition")?.as_primitive::<Int32Type>().value(row),
        offset: column("kafka_offset")?.as_primitive::<Int64Type>().value(row),
        time_ms: times.is_valid(row).then(|| times.value(row) / 1_000),
        detail: column("detail")?.as_string::<i32>().value(row).to_owned(),
        payload: payload.map(|bytes| excerpt(bytes, PAYLOAD_BYTES_MAX)),
        payload_bytes: payload.map_or(0, <[u8]>::len),
    })
}

/// The beginning of some bytes, as text; what is no text becomes the replacement character.
fn excerpt(bytes: &[u8], max: usize) -> String {
    let cut = bytes.len() > max;
    let mut text = String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes)).into_owned();
    if cut {
        text.push('…');
    }
    text
}

fn cell(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    // Long values are cut before they are copied.
    let whole = match column.data_type() {
        DataType::Utf8 => excerpt(column.as_string::<i32>().value(row).as_bytes(), CELL_BYTES_MAX),
        DataType::Binary => excerpt(column.as_binary::<i32>().value(row), CELL_BYTES_MAX),
        _ => {
            let options = FormatOptions::default();
            ArrayFormatter::try_new(column, &options)
                .map(|formatter| formatter.value(row).to_string())
                .unwrap_or_default()
        }
    };
    Some(shortened(&whole))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use std::sync::Arc;

    use arrow::array::{Decimal128Array, StringArray};
    use lakehouse::ids::{Offset, PartitionId};

    use super::*;
    use crate::decode::Reject;
    use crate::transform::rejects_batch;

    fn broken(offset: i64, reason: Reason, payload: Option<&[u8]>) -> Reject {
        Reject {
            partition: PartitionId::new(3),
            offset: Offset::new(offset),
            timestamp_ms: Some(1_700_000_000_123),
            reason,
            detail: "field `a`".to_owned(),
            payload: payload.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn a_rare_reason_is_seen_beside_a_common_one() {
        let mut rejects = vec![broken(1, Reason::InvalidJson, Some(b"{")); 500];
        rejects.push(broken(2, Reason::Tombstone, None));
        let mut journal = Journal::default();
        let wanted = [Reason::Tombstone, Reason::InvalidJson];
        journal.sample_rejects(&wanted, &rejects_batch("t", &rejects));
        let rare = journal.rejects.get("tombstone").unwrap().front().unwrap();
        assert_eq!((rare.partition, rare.offset, &rare.payload), (3, 2, &None));
        assert_eq!(rare.time_ms, Some(1_700_000_000_123));
        let common = journal.rejects.get("invalid_json").unwrap().front().unwrap();
        assert_eq!(common.payload.as_deref(), Some("{"));
    }

    #[test]
    fn of_a_huge_payload_only_the_beginning_is_kept() {
        let huge = vec![b'x'; 10 << 20];
        let mut journal = Journal::default();
        let batch = rejects_batch("t", &[broken(1, Reason::InvalidJson, Some(&huge))]);
        journal.sample_rejects(&[Reason::InvalidJson], &batch);
        let sample = journal.rejects.get("invalid_json").unwrap().front().unwrap();
        assert_eq!(sample.payload_bytes, 10 << 20);
        assert!(sample.payload.as_ref().unwrap().len() < PAYLOAD_BYTES_MAX + 10);
    }

    #[test]
    fn rows_are_text_and_null_stays_null() {
        let money = Decimal128Array::from(vec![Some(12_345), None]);
        let money = money.with_precision_and_scale(12, 2).unwrap();
        let long = "ü".repeat(CELL_CHARS_MAX + 50);
        let words = StringArray::from(vec!["a", long.as_str()]);
        let batch = RecordBatch::try_from_iter([
            ("money", Arc::new(money) as Arc<dyn Array>),
            ("words", Arc::new(words)),
        ]);
        let mut journal = Journal::default();
        journal.sample_rows("a.b", &batch.unwrap());
        let seen = journal.rows.get("a.b").unwrap();
        assert_eq!(seen.columns, ["money", "words"]);
        let first = seen.rows.back().unwrap();
        assert_eq!(first, &vec![Some("123.45".to_owned()), Some("a".to_owned())]);
        let second = seen.rows.front().unwrap();
        assert_eq!(second.first(), Some(&None));
        let cut = second.last().unwrap().as_ref().unwrap();
        assert_eq!(cut.chars().count(), CELL_CHARS_MAX + 1);
    }

    #[test]
    fn one_look_a_second() {
        let mut sampler = Sampler::default();
        let at = Duration::from_millis;
        assert!(sampler.wants_rows(0, at(0)));
        assert!(!sampler.wants_rows(0, at(999)));
        assert!(sampler.wants_rows(1, at(999)));
        assert!(sampler.wants_rows(0, at(1_000)));
        let reasons = [Reason::Empty, Reason::Tombstone];
        assert_eq!(sampler.wanted(reasons.iter(), at(0)).len(), 2);
        assert_eq!(sampler.wanted(reasons.iter(), at(500)).len(), 0);
    }
}
