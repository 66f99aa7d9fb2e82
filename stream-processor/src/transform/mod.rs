//! Decoded columns → each sink's rows: filter, then project.
//!
//! Owns the evaluation of the job's expressions over Arrow batches. It must never lose a record
//! silently: a row is in a sink's batch, dropped by that sink's WHERE clause, or a reject because an
//! expression failed on it; in the last case it is in no sink's batch at all. What becomes of a row
//! follows from the row alone: its neighbours in a batch change nothing.
//!
//! Pure: no clock, no environment, no await.

mod rejects;
mod sink;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;

use crate::decode::{Decoded, Places, Reject};
use crate::job::{Job, JobError};
use sink::Sink;

pub use rejects::rejects_batch;

/// The expressions of one job, ready to evaluate.
#[derive(Clone, Debug)]
pub struct Transform {
    sinks: Vec<Sink>,
}

/// What one decoded batch became.
#[derive(Clone, Debug)]
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
    /// An expression that the planner refuses; [`Job::parse`] has tried them all before.
    pub fn new(job: &Job) -> Result<Self, JobError> {
        Self::plan(job).map_err(|err| JobError {
            line: 1,
            column: 1,
            message: format!("the planner refuses the job: {err}"),
            hint: None,
        })
    }

    fn plan(job: &Job) -> Result<Self, DataFusionError> {
        let input = job.decoded_schema();
        let sinks = job.sinks.iter().map(|plan| Sink::new(plan, &input));
        Ok(Self { sinks: sinks.collect::<Result<_, _>>()? })
    }

    /// Filters and projects.
    pub fn apply(&self, decoded: &Decoded) -> Transformed {
        let rows = SinkRows { batch: decoded.batch.clone(), places: decoded.places.clone() };
        let mut pieces = Vec::new();
        let mut failed = Vec::new();
        self.evaluate(&rows, 0, &mut pieces, &mut failed);
        let rejects = failed.into_iter();
        let rejects =
            rejects.map(|(row, err)| decoded.evaluation_reject(row, err.strip_backtrace()));
        let rejects = rejects.collect();
        Transformed { per_sink: self.join(pieces), rejects }
    }

    /// Evaluates all rows at once; when an expression fails, each half of them on its own, until the
    /// rows it fails on stand alone. `first` is the index of the first of `rows` in the batch.
    fn evaluate(
        &self,
        rows: &SinkRows,
        first: usize,
        pieces: &mut Vec<Vec<SinkRows>>,
        failed: &mut Vec<(usize, DataFusionError)>,
    ) {
        let all = self.sinks.iter().map(|sink| sink.rows(rows)).collect::<Result<Vec<_>, _>>();
        match all {
            Ok(per_sink) => pieces.push(per_sink),
            Err(err) if rows.places.len() <= 1 => failed.push((first, err)),
            Err(_) => {
                let (left, right) = rows.halves();
                let middle = first + left.places.len();
                self.evaluate(&left, first, pieces, failed);
                self.evaluate(&right, middle, pieces, failed);
            }
        }
    }

    /// Puts the pieces of each sink together again, in order.
    fn join(&self, mut pieces: Vec<Vec<SinkRows>>) -> Vec<SinkRows> {
        if pieces.len() == 1
            && let Some(whole) = pieces.pop()
        {
            return whole;
        }
        let sinks = self.sinks.iter().enumerate();
        sinks
            .map(|(index, sink)| {
                let parts: Vec<_> = pieces.iter().filter_map(|piece| piece.get(index)).collect();
                let batch = concat_batches(sink.schema(), parts.iter().map(|part| &part.batch))
                    .unwrap_or_else(|err| unreachable!("one sink's pieces have one schema: {err}"));
                let places = Places::concat(parts.iter().map(|part| &part.places));
                SinkRows { batch, places }
            })
            .collect()
    }
}

impl SinkRows {
    fn halves(&self) -> (Self, Self) {
        let slice = |start, length| Self {
            batch: self.batch.slice(start, length),
            places: self.places.slice(start, length),
        };
        let middle = self.places.len() / 2;
        (slice(0, middle), slice(middle, self.places.len() - middle))
    }
}
