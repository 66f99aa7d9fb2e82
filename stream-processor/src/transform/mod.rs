//! Decoded columns → each sink's rows: filter, then project.
//!
//! Owns the evaluation of the job's expressions over Arrow batches. It must never lose a record
//! silently: a row is in a sink's batch, dropped by that sink's WHERE clause, or a reject because an
//! expression failed on it; the last one is then in no sink's batch.
//!
//! Pure: no clock, no environment, no await.

use arrow::record_batch::RecordBatch;

use crate::decode::{Decoded, Places, Reject};
use crate::job::{Job, JobError};

/// The expressions of one job, ready to evaluate.
#[derive(Debug)]
pub struct Transform {}

/// What one decoded batch became.
#[derive(Debug)]
pub struct Transformed {
    /// One for each of the job's sinks, in order.
    pub per_sink: Vec<SinkRows>,
    /// Rows on which an expression failed, at most once each, in the order of the rows.
    pub rejects: Vec<Reject>,
}

/// The rows of one sink.
#[derive(Clone, Debug)]
pub struct SinkRows {
    /// In the schema of the sink's table.
    pub batch: RecordBatch,
    /// The partition and offset of each row of `batch`.
    pub places: Places,
}

impl Transform {
    /// Makes the job's expressions ready.
    ///
    /// # Errors
    ///
    /// An expression that the planner refuses; [`Job::parse`] should have refused it before.
    pub fn new(job: &Job) -> Result<Self, JobError> {
        let _ = job;
        Ok(Self {})
    }

    /// Filters and projects.
    pub fn apply(&self, decoded: &Decoded) -> Transformed {
        let _ = decoded;
        Transformed { per_sink: Vec::new(), rejects: Vec::new() }
    }
}

/// The rows of `rejected_events`, in the schema of [`Job::rejects_spec`].
pub fn rejects_batch(topic: &str, rejects: &[Reject]) -> RecordBatch {
    let _ = (topic, rejects);
    RecordBatch::new_empty(arrow::datatypes::Schema::empty().into())
}
