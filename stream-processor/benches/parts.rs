//! What each part of the way from record to data file costs: `cargo bench -p stream-processor`.
//!
//! Each figure is the rate of one thread on one batch, without Kafka, store and catalog. Bounds are worked out while
//! rows are encoded, so they are part of `encode`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark may panic, and divan's entry is its own"
)]

use std::sync::Arc;

use data_emitter::{Generator, GeneratorSettings};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use lakehouse::avro::{Codec, RowEncoder, TableSchema};
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::decode::{DecodeOptions, Decoded, Decoder, RawRecord, Validate};
use stream_processor::job::Job;
use stream_processor::transform::Transform;

const SHIPPED: &str = include_str!("../sql-jobs/transform_pipeline.sql");
/// As many as a reader takes in a poll, and a worker at once.
const RECORDS: usize = 1_500;
const SOME_TIME_MS: i64 = 1_763_900_000_000;

fn main() {
    divan::main();
}

fn filter() -> Job {
    Job::parse(SHIPPED).unwrap()
}

/// The same job without its `WHERE` clause.
fn every_row() -> Job {
    let (all, _) = SHIPPED.rsplit_once("WHERE").unwrap();
    Job::parse(&format!("{all};")).unwrap()
}

fn payloads() -> Vec<Vec<u8>> {
    let events = Generator::new(&GeneratorSettings::new(7, SOME_TIME_MS));
    events.filter_map(|event| event.payload).take(RECORDS).collect()
}

fn decode(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Decoded {
    decoder.decode((0..).zip(payloads).map(|(offset, payload)| RawRecord {
        partition: PartitionId::new(0),
        offset: Offset::new(offset),
        timestamp_ms: Some(SOME_TIME_MS),
        payload: Some(payload),
    }))
}

/// JSON to columns; `careless` leaves records that no sink wants unchecked.
#[divan::bench(args = ["filter", "filter, careless", "every row"])]
fn decode_json(bencher: Bencher<'_, '_>, shape: &str) {
    let job = if shape == "every row" { every_row() } else { filter() };
    let validate = if shape == "filter, careless" { Validate::Off } else { Validate::Full };
    let mut decoder = Decoder::new(&job, DecodeOptions { validate, ..DecodeOptions::default() });
    let payloads = payloads();
    bencher
        .counter(ItemsCount::new(payloads.len()))
        .counter(BytesCount::new(payloads.iter().map(Vec::len).sum::<usize>()))
        .bench_local(|| decode(&mut decoder, &payloads));
}

/// Decoded columns to the rows of the sink. The filter's decoder has left out most of what is dropped here.
#[divan::bench(args = ["filter", "every row"])]
fn transform(bencher: Bencher<'_, '_>, shape: &str) {
    let job = if shape == "every row" { every_row() } else { filter() };
    let decoded = decode(&mut Decoder::new(&job, DecodeOptions::default()), &payloads());
    let transform = Transform::new(&job).unwrap();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| transform.apply(&decoded));
}

/// Rows to blocks of an Avro file, with their bounds.
#[divan::bench(args = Codec::ALL)]
fn encode(bencher: Bencher<'_, '_>, codec: Codec) {
    let job = every_row();
    let decoded = decode(&mut Decoder::new(&job, DecodeOptions::default()), &payloads());
    let rows = Transform::new(&job).unwrap().apply(&decoded).per_sink.remove(0).batch;
    let schema = Arc::new(TableSchema::from_spec(&job.sinks.first().unwrap().table).unwrap());
    let mut encoder = RowEncoder::new(codec).unwrap();
    let rows_in = ItemsCount::new(rows.num_rows());
    bencher.counter(rows_in).bench_local(|| encoder.encode(&schema, &rows).unwrap());
}
