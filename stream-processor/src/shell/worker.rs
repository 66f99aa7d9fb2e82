//! A decoding thread, one of several: raw records → rows of each sink, encoded, and in compressed blocks where there
//! are enough of them.
//!
//! All that grows with the number of records happens here, while they are in this core's cache. It must never
//! know another chunk than its own: [`Intake`] has the order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use arrow::record_batch::RecordBatch;
use crossbeam_channel::Sender;
use lakehouse::avro::{EncodedRows, RowEncoder};
use lakehouse::ids::PartitionId;
use lakehouse::position::Range;

use crate::decode::{Decoder, RawRecord, Reason};
use crate::kafka::{Batch, Record};
use crate::pipeline::{Counts, Facts};
use crate::sink::Sink;
use crate::status::Samples;
use crate::transform::{Transform, rejects_batch};

use super::order::Intake;
use super::{Flow, RawChunk};

/// Rows ready for their files, and the facts the pipeline decides on.
pub(crate) struct Rows {
    pub(crate) facts: Facts,
    /// One for each sink, where it has rows; rejects last.
    pub(crate) encoded: Vec<Option<EncodedRows>>,
    pub(crate) rejected: BTreeMap<Reason, u64>,
}

/// What comes out of the workers, or why an operator must act.
pub(crate) type Worked = Result<Flow<Rows>>;

pub(crate) struct Worker {
    pub(crate) topic: String,
    pub(crate) decoder: Decoder,
    pub(crate) transform: Transform,
    pub(crate) encoder: RowEncoder,
    /// Whose tables the rows are encoded for; rejects last.
    pub(crate) sinks: Vec<Sink>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) started: Instant,
    pub(crate) intake: Arc<Intake<Flow<RawChunk>, Worked>>,
    /// Fetched memory goes home to the reader's thread, which frees it best.
    pub(crate) spent: Sender<Arc<Batch>>,
}

impl Worker {
    /// Works until a neighbour hangs up.
    pub(crate) fn run(mut self) {
        while let Some((flow, outcome)) = self.intake.take() {
            let flow = match flow {
                Flow::Assigned(starts) => Ok(Flow::Assigned(starts)),
                Flow::Revoked(partitions, done) => Ok(Flow::Revoked(partitions, done)),
                Flow::Chunk(chunk) => self.rows(chunk).map(Flow::Chunk),
                Flow::End(at) => Ok(Flow::End(at)),
            };
            // Nobody waits for it any more: then the next look finds the pipe taken down.
            drop(outcome.send(flow));
        }
    }

    fn rows(&mut self, chunk: RawChunk) -> Result<Rows> {
        let mut window = Window { chunk: &chunk, last: None };
        let records = chunk.batch.records().map(raw).filter(|record| window.holds(record));
        let decoded = self.decoder.decode(records);
        let transformed = self.transform.apply(&decoded);
        let read = decoded.read;
        let mut rejects = decoded.rejects;
        rejects.extend(transformed.rejects);
        let mut batches: Vec<RecordBatch> =
            transformed.per_sink.into_iter().map(|rows| rows.batch).collect();
        let broken = rejects.len() as u64;
        let mut counts: Vec<Counts> = batches
            .iter()
            .map(|rows| rows.num_rows() as u64)
            .map(|written| Counts {
                read,
                written,
                filtered: read - written - broken,
                rejected: broken,
            })
            .collect();
        counts.push(Counts { read, written: broken, filtered: read - broken, rejected: 0 });
        batches.push(rejects_batch(&self.topic, &rejects));
        lakehouse::faults::point("worker.decoded");
        let mut rejected = BTreeMap::new();
        for reject in &rejects {
            *rejected.entry(reject.reason).or_default() += 1;
        }
        let facts = Facts { generation: chunk.generation, ranges: chunk.ranges, counts };
        // The reader may be gone already; then the memory is freed here.
        drop(self.spent.send(chunk.batch));
        self.samples.take(&batches, rejected.keys(), self.started.elapsed());
        Ok(Rows { facts, encoded: self.encode(&batches)?, rejected })
    }

    fn encode(&mut self, batches: &[RecordBatch]) -> Result<Vec<Option<EncodedRows>>> {
        let encoder = &mut self.encoder;
        let rows = self.sinks.iter().zip(batches).map(|(sink, batch)| {
            (batch.num_rows() > 0).then(|| sink.encode(batch, encoder)).transpose()
        });
        rows.collect()
    }
}

fn raw(record: Record<'_>) -> RawRecord<'_> {
    RawRecord {
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        payload: record.payload,
    }
}

/// Lets pass the records that lie in the chunk's ranges. Records come in runs of one partition.
struct Window<'a> {
    chunk: &'a RawChunk,
    last: Option<(PartitionId, Option<Range>)>,
}

impl Window<'_> {
    fn holds(&mut self, record: &RawRecord<'_>) -> bool {
        let range = match self.last {
            Some((partition, range)) if partition == record.partition => range,
            _ => self.chunk.ranges.get(record.partition),
        };
        self.last = Some((record.partition, range));
        range.is_some_and(|range| range.start() <= record.offset && record.offset < range.end())
    }
}
