//! The decoding thread: raw records → one Arrow batch for each sink.
//!
//! Keeps up with the reader on its own core. It must never hold back or reorder what is not a chunk.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use crossbeam_channel::{Receiver, Sender};
use lakehouse::ids::PartitionId;
use lakehouse::position::Range;

use crate::decode::{Decoder, RawRecord, Reason};
use crate::kafka::{Batch, Record};
use crate::pipeline::{Counts, Facts};
use crate::transform::{Transform, rejects_batch};

use super::{Flow, RawChunk};

/// Rows ready to be encoded, and the facts the pipeline decides on.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) facts: Facts,
    /// One for each sink; rejects last.
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rejected: BTreeMap<Reason, u64>,
}

pub(crate) struct Worker {
    pub(crate) topic: String,
    pub(crate) decoder: Decoder,
    pub(crate) transform: Transform,
    pub(crate) input: Receiver<Flow<RawChunk>>,
    pub(crate) output: Sender<Flow<Rows>>,
    /// Fetched memory goes home to the reader's thread, which frees it best.
    pub(crate) spent: Sender<Arc<Batch>>,
}

impl Worker {
    /// Works until the reader hangs up.
    pub(crate) fn run(mut self) {
        while let Ok(flow) = self.input.recv() {
            let flow = match flow {
                Flow::Assigned(starts) => Flow::Assigned(starts),
                Flow::Revoked(partitions, done) => Flow::Revoked(partitions, done),
                Flow::Chunk(chunk) => Flow::Chunk(self.decode(chunk)),
                Flow::End(at) => Flow::End(at),
            };
            if self.output.send(flow).is_err() {
                break;
            }
        }
    }

    fn decode(&mut self, chunk: RawChunk) -> Rows {
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
        Rows { facts, batches, rejected }
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
