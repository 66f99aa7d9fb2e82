//! Record bytes → Arrow columns, or a [`Reject`] with its reason.
//!
//! Owns the reading of JSON against the job's `CREATE TABLE`, as written down in
//! `docs/decode-outcomes.md`. Whether a record is rejected depends on that declaration alone, never on
//! a filter: a skip may save the work of materialising a row, but must never turn a broken record into
//! a filtered one. Decimals are read from their text and never pass through a float.
//!
//! Pure: no clock, no environment, no await. One bad record never stops the run.

//!
//! bytes → `fast` (one pass over what is as expected), else `careful` (the whole table of outcomes) →
//! `layout` (one `Cell` for each declared field) → `skip` (does any sink want it?) → `columns`.

mod careful;
mod columns;
mod fast;
mod json;
mod layout;
mod number;
mod places;
mod reject;
mod scan;
mod skip;
mod time;

use arrow::record_batch::RecordBatch;
use lakehouse::ids::{Offset, PartitionId};

use crate::job::{Job, Origin};
use columns::Columns;
use fast::Order;
use layout::{Cell, Layout, Scratch};
use reject::bounded;
use skip::Skip;

pub use places::Places;
pub use reject::{Reason, Reject};
pub(crate) use time::{parse_date, parse_timestamp};

/// One record as Kafka delivered it.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset in that partition.
    pub offset: Offset,
    /// Its time, in milliseconds since 1970-01-01T00:00:00Z, when it has one.
    pub timestamp_ms: Option<i64>,
    /// Its value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// How much of a record that no sink wants is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validate {
    /// All of it: broken is rejected, whether a sink wants it or not.
    #[default]
    Full,
    /// Nothing, where the raw skip can tell that no sink wants it. For measurements only: a broken
    /// record may then count as filtered.
    Off,
}

/// How records are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Whether records that every sink's WHERE clause surely drops are left out of the batch.
    pub raw_skip: bool,
    /// What is checked of a record that is left out.
    pub validate: Validate,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { raw_skip: true, validate: Validate::Full }
    }
}

/// Decodes the records of one job; keeps its scratch memory between calls.
#[derive(Debug)]
pub struct Decoder {
    options: DecodeOptions,
    layout: Layout,
    order: Order,
    cells: Vec<Cell>,
    scratch: Scratch,
    skip: Skip,
    columns: Columns,
    /// The records of the rows, for jobs whose expressions can fail.
    kept: Option<Kept>,
    /// A metadata column that every record must have, if the time of the record is declared so.
    time_required: Option<String>,
}

/// What became of some records: rows, rejects, and the rest left out because no sink wants it.
#[derive(Debug)]
pub struct Decoded {
    /// The columns that some sink needs, in the source's order; one row for each record that may
    /// pass some sink's filter.
    pub batch: RecordBatch,
    /// The partition and offset of each row of `batch`.
    pub places: Places,
    /// In the order of the records.
    pub rejects: Vec<Reject>,
    /// Records seen.
    pub read: u64,
    /// The records of the rows, kept only for jobs whose expressions can fail.
    kept: Option<Kept>,
}

/// Time and payload of the record of each row.
#[derive(Debug, Default)]
struct Kept {
    records: Vec<(Option<i64>, Vec<u8>)>,
}

impl Decoded {
    /// The record of a row, as a reject because an expression failed on it.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub(crate) fn evaluation_reject(&self, row: usize, detail: String) -> Reject {
        let (partition, offset) = self
            .places
            .iter()
            .nth(row)
            .unwrap_or_else(|| unreachable!("row {row} is in the batch"));
        let kept = self.kept.as_ref().and_then(|kept| kept.records.get(row));
        Reject {
            partition,
            offset,
            timestamp_ms: kept.and_then(|(timestamp_ms, _)| *timestamp_ms),
            reason: Reason::Evaluation,
            detail: bounded(detail),
            payload: kept.map(|(_, payload)| payload.clone()),
        }
    }
}

/// What became of one record.
enum Outcome {
    Row,
    Unwanted,
}

impl Decoder {
    /// A decoder for the records of `job`.
    pub fn new(job: &Job, options: DecodeOptions) -> Self {
        let layout = Layout::new(&job.source);
        let time = job
            .source
            .columns
            .iter()
            .find(|column| column.origin == Origin::Timestamp && !column.nullable);
        Self {
            options,
            order: Order::new(&layout),
            cells: vec![Cell::Null; layout.fields.len()],
            scratch: Scratch::default(),
            skip: Skip::new(job, &layout),
            columns: Columns::new(job, &layout),
            kept: job.fallible().then(Kept::default),
            time_required: time.map(|column| column.name.clone()),
            layout,
        }
    }

    /// Decodes `records`, in order.
    ///
    /// # Panics
    ///
    /// If the texts of one column take 2 GiB or more: a batch is what one fetch returned, not a topic.
    pub fn decode<'a>(&mut self, records: impl IntoIterator<Item = RawRecord<'a>>) -> Decoded {
        let mut rejects = Vec::new();
        let mut read = 0;
        for record in records {
            read += 1;
            if let Err((reason, detail)) = self.record(&record) {
                let (partition, offset) = (record.partition, record.offset);
                let timestamp_ms = record.timestamp_ms;
                let payload = record.payload.map(<[u8]>::to_vec);
                let detail = bounded(detail);
                rejects.push(Reject { partition, offset, timestamp_ms, reason, detail, payload });
            }
        }
        let (batch, places) = self.columns.finish();
        Decoded { batch, places, rejects, read, kept: self.kept.as_mut().map(std::mem::take) }
    }

    fn record(&mut self, record: &RawRecord<'_>) -> Result<Outcome, careful::Refusal> {
        let Some(payload) = record.payload else { return Err((Reason::Tombstone, String::new())) };
        let may_skip = self.options.raw_skip;
        if may_skip && self.options.validate == Validate::Off && self.skip.by_bytes(payload) {
            return Ok(Outcome::Unwanted);
        }
        let text = self.read(payload)?;
        if record.timestamp_ms.is_none()
            && let Some(column) = &self.time_required
        {
            return Err((Reason::MissingField, format!("metadata `{column}` is absent")));
        }
        if may_skip && self.skip.by_cells(text, &self.cells, &self.scratch) {
            return Ok(Outcome::Unwanted);
        }
        self.columns.append(record, text, &self.cells, &self.scratch);
        if let Some(kept) = &mut self.kept {
            kept.records.push((record.timestamp_ms, payload.to_vec()));
        }
        Ok(Outcome::Row)
    }

    /// Reads a payload into the cells; returns its text.
    fn read<'a>(&mut self, payload: &'a [u8]) -> Result<&'a str, careful::Refusal> {
        let Self { layout, order, cells, scratch, .. } = self;
        scratch.text.clear();
        let text = simdutf8::basic::from_utf8(payload).ok();
        if let Some(text) = text
            && fast::read(layout, order, text, cells, scratch).is_some()
        {
            return Ok(text);
        }
        scratch.text.clear();
        careful::read(layout, payload, cells, scratch)?;
        Ok(text.unwrap_or_default())
    }
}
