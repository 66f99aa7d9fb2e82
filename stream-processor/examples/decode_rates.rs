//! What decoding and transforming cost, in nanoseconds a record, on one thread.
//!
//! `cargo run --release -p stream-processor --example decode_rates`

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement, not a service"
)]

use std::hint::black_box;
use std::time::Instant;

use data_emitter::{Generator, GeneratorSettings};
use lakehouse::ids::{Offset, PartitionId};
use serde::de::IgnoredAny;
use stream_processor::decode::{DecodeOptions, Decoder, RawRecord, Validate};
use stream_processor::job::Job;
use stream_processor::transform::Transform;

const RECORDS: usize = 50_000;
const CHUNK: usize = 2_000;
const ROUNDS: usize = 40;
const START_MS: i64 = 1_763_000_000_000;

fn main() {
    let text = include_str!("../sql-jobs/transform_pipeline.sql");
    let filter = Job::parse(text).unwrap();
    let (all, _) = text.rsplit_once("WHERE").unwrap();
    let all = Job::parse(all).unwrap();
    let payloads: Vec<Vec<u8>> = Generator::new(&GeneratorSettings::new(7, START_MS))
        .filter_map(|emission| emission.payload)
        .take(RECORDS)
        .collect();
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    println!("{RECORDS} records of {} bytes, chunks of {CHUNK}", bytes / RECORDS);

    measure("UTF-8 check and serde_json IgnoredAny, for comparison", || {
        for payload in &payloads {
            let text = simdutf8::basic::from_utf8(payload).unwrap();
            black_box(serde_json::from_str::<IgnoredAny>(text).unwrap());
        }
    });
    let full = DecodeOptions::default();
    let off = DecodeOptions { validate: Validate::Off, ..full };
    let no_skip = DecodeOptions { raw_skip: false, ..full };
    decode("filter job: validate all, materialise what may pass", &filter, full, &payloads);
    decode("filter job: raw skip without validation", &filter, off, &payloads);
    decode("filter job: validate and materialise all", &filter, no_skip, &payloads);
    decode("every-row job: validate and materialise all", &all, full, &payloads);
    transform("filter job: transform", &filter, full, &payloads);
    transform("filter job: transform, nothing skipped", &filter, no_skip, &payloads);
    transform("every-row job: transform", &all, full, &payloads);
}

fn decode(what: &str, job: &Job, options: DecodeOptions, payloads: &[Vec<u8>]) {
    let mut decoder = Decoder::new(job, options);
    measure(what, || {
        for chunk in payloads.chunks(CHUNK) {
            black_box(decoder.decode(records(chunk)));
        }
    });
}

fn transform(what: &str, job: &Job, options: DecodeOptions, payloads: &[Vec<u8>]) {
    let mut decoder = Decoder::new(job, options);
    let chunks: Vec<_> = payloads.chunks(CHUNK).map(|c| decoder.decode(records(c))).collect();
    let transform = Transform::new(job).unwrap();
    let mut written = 0;
    measure(what, || {
        let sinks = chunks.iter().flat_map(|chunk| transform.apply(chunk).per_sink);
        written = sinks.map(|rows| rows.places.len()).sum();
    });
    println!("            {written} rows");
}

fn records(payloads: &[Vec<u8>]) -> impl Iterator<Item = RawRecord<'_>> {
    payloads.iter().zip(0..).map(|(payload, offset)| RawRecord {
        partition: PartitionId::new(0),
        offset: Offset::new(offset),
        timestamp_ms: Some(START_MS),
        payload: Some(payload),
    })
}

/// The best of some rounds: noise only ever adds.
fn measure(what: &str, mut run: impl FnMut()) {
    let round = |_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_nanos() as f64 / RECORDS as f64
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{best:7.1} ns  {what}");
}
