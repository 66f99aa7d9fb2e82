//! Record bytes → Arrow columns, or a [`Reject`] with its reason.
//!
//! Owns the reading of JSON against the job's `CREATE TABLE`, as written down in
//! `docs/decode-outcomes.md`. Whether a record is rejected depends on that declaration alone, never on
//! a filter: a skip may save the work of materialising a row, but must never turn a broken record into
//! a filtered one. Decimals are read from their text and never pass through a float.
//!
//! Pure: no clock, no environment, no await. One bad record never stops the run.

mod reject;
mod rows;

use arrow::array::BinaryArray;
use arrow::record_batch::RecordBatch;
use lakehouse::ids::{Offset, PartitionId};

use crate::job::Job;

pub use reject::{Reason, Reject};
pub use rows::Places;

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
pub struct Decoder {}

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
    /// The payload of each row, kept only for jobs whose expressions can fail.
    pub(crate) payloads: Option<BinaryArray>,
}

impl Decoder {
    /// A decoder for the records of `job`.
    pub fn new(job: &Job, options: DecodeOptions) -> Self {
        let _ = (job, options);
        Self {}
    }

    /// Decodes `records`, in order.
    pub fn decode<'a>(&mut self, records: impl IntoIterator<Item = RawRecord<'a>>) -> Decoded {
        let _ = records;
        Decoded {
            batch: RecordBatch::new_empty(arrow::datatypes::Schema::empty().into()),
            places: Places::default(),
            rejects: Vec::new(),
            read: 0,
            payloads: None,
        }
    }
}
