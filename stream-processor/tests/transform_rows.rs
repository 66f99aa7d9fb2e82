//! What becomes of decoded rows: written, filtered or rejected, and never anything else.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use data_emitter::{Fraction, Generator, GeneratorSettings};
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::decode::{DecodeOptions, Decoded, Decoder, RawRecord, Reason, Reject};
use stream_processor::job::Job;
use stream_processor::transform::{Transform, Transformed, rejects_batch};

const PIPELINE: &str = include_str!("../sql-jobs/transform_pipeline.sql");

fn job(insert: &str) -> Job {
    let text = format!(
        "CREATE TABLE t (
           id STRING NOT NULL, kind STRING, i INT, j INT, n DECIMAL(12, 2),
           p INT NOT NULL METADATA FROM 'partition', o BIGINT NOT NULL METADATA FROM 'offset',
           recorded TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', topic STRING METADATA
         ) WITH ('connector' = 'kafka', 'topic' = 'the-topic', 'format' = 'json',
           'scan.startup.mode' = 'earliest-offset');
         {insert}"
    );
    Job::parse(&text).unwrap()
}

fn decode(job: &Job, options: DecodeOptions, payloads: &[Vec<u8>]) -> Decoded {
    let records = payloads.iter().zip(100..).map(|(payload, offset)| RawRecord {
        partition: PartitionId::new(5),
        offset: Offset::new(offset),
        timestamp_ms: Some(offset * 10),
        payload: Some(payload),
    });
    Decoder::new(job, options).decode(records)
}

fn run(job: &Job, texts: &[&str]) -> Transformed {
    let payloads: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let decoded = decode(job, DecodeOptions::default(), &payloads);
    assert_eq!(decoded.rejects, []);
    let transformed = Transform::new(job).unwrap().apply(&decoded);
    for (rows, sink) in transformed.per_sink.iter().zip(&job.sinks) {
        assert_eq!(rows.batch.schema(), sink.table.arrow_schema());
        assert_eq!(rows.batch.num_rows(), rows.places.len());
    }
    transformed
}

/// The first column of each sink.
fn ids(transformed: &Transformed) -> Vec<Vec<&str>> {
    let sinks = transformed.per_sink.iter();
    sinks.map(|rows| rows.batch.column(0).as_string::<i32>().iter().flatten().collect()).collect()
}

#[test]
fn the_pipeline_writes_purchases_above_the_threshold() {
    let job = Job::parse(PIPELINE).unwrap();
    let payloads: Vec<_> = Generator::new(&GeneratorSettings::new(3, 1_763_900_000_000))
        .take(20_000)
        .map(|emission| emission.payload.unwrap())
        .collect();
    let decoded = decode(&job, DecodeOptions::default(), &payloads);
    let transformed = Transform::new(&job).unwrap().apply(&decoded);
    let rows = &transformed.per_sink[0];
    let mut row = 0;
    for (payload, offset) in payloads.iter().zip(100_i64..) {
        let event: serde_json::Value = serde_json::from_slice(payload).unwrap();
        let value = event["transaction_value"].as_f64().unwrap_or(0.0);
        if event["activity_type"] != "purchase" || value <= 50.0 {
            continue;
        }
        let text = |column: usize| rows.batch.column(column).as_string::<i32>().value(row);
        assert_eq!(rows.places.iter().nth(row).unwrap().1.get(), offset);
        for (column, field) in [
            (0, "unique_event_id"),
            (1, "customer_id"),
            (2, "activity_type"),
            (3, "source_url"),
            (4, "session_guid"),
            (5, "client_platform"),
            (9, "product_id"),
        ] {
            assert_eq!(text(column), event[field].as_str().unwrap(), "{field}");
        }
        let cents = rows.batch.column(10).as_primitive::<Decimal128Type>().value(row);
        assert!((cents as f64 - value * 100.0).abs() < 1e-6, "{cents} is {value}");
        assert_eq!(rows.batch.column(11).as_primitive::<Int32Type>().value(row), 5);
        assert_eq!(rows.batch.column(12).as_primitive::<Int64Type>().value(row), offset);
        row += 1;
    }
    assert_eq!(row, rows.batch.num_rows());
    assert!(row > 200, "{row} rows of 20,000");
}

#[test]
fn the_skip_changes_nothing_but_the_work() {
    let job = Job::parse(PIPELINE).unwrap();
    let malformed = Fraction::new(0.1).unwrap();
    let settings = GeneratorSettings { malformed, ..GeneratorSettings::new(8, 1_763_900_000_000) };
    let payloads: Vec<_> =
        Generator::new(&settings).take(20_000).filter_map(|e| e.payload).collect();
    let transform = Transform::new(&job).unwrap();
    let run = |raw_skip| {
        let decoded =
            decode(&job, DecodeOptions { raw_skip, ..DecodeOptions::default() }, &payloads);
        (
            decoded.batch.num_rows(),
            transform.apply(&decoded).per_sink[0].batch.clone(),
            decoded.rejects,
        )
    };
    let (skipped_rows, skipped, skipped_rejects) = run(true);
    let (all_rows, all, all_rejects) = run(false);
    assert_eq!((skipped, skipped_rejects), (all, all_rejects));
    assert!(
        skipped_rows * 10 < all_rows,
        "the skip leaves out most rows: {skipped_rows} of {all_rows}"
    );
}

#[test]
fn a_condition_that_is_unknown_drops_the_row() {
    let job = job("INSERT INTO a.b.c SELECT id FROM t WHERE i > 1 OR kind = 'k'");
    let transformed = run(
        &job,
        &[
            r#"{"id":"a","i":2}"#,
            r#"{"id":"b","i":1}"#,
            r#"{"id":"c"}"#,
            r#"{"id":"d","kind":"k"}"#,
            r#"{"id":"e","kind":"x","i":null}"#,
        ],
    );
    assert_eq!(ids(&transformed), [["a", "d"]]);
}

#[test]
fn each_sink_has_its_own_rows_and_places() {
    let job = job("INSERT INTO a.b.c SELECT id FROM t WHERE kind = 'k';
                   INSERT INTO a.b.d SELECT kind AS what, o FROM t WHERE kind = 'x' AND i = 1;
                   INSERT INTO a.b.e SELECT id FROM t WHERE kind = 'never'");
    let transformed = run(
        &job,
        &[
            r#"{"id":"a","kind":"k"}"#,
            r#"{"id":"b","kind":"x","i":1}"#,
            r#"{"id":"c","kind":"x"}"#,
            r#"{"id":"d","kind":"y","i":1}"#,
            r#"{"id":"e","kind":"k"}"#,
        ],
    );
    assert_eq!(ids(&transformed), [vec!["a", "e"], vec!["x"], vec![]]);
    let places = |sink: usize| {
        let places = transformed.per_sink[sink].places.iter();
        places.map(|(partition, offset)| (partition.get(), offset.get())).collect::<Vec<_>>()
    };
    assert_eq!((places(0), places(1)), (vec![(5, 100), (5, 104)], vec![(5, 101)]));
}

#[test]
fn metadata_are_columns() {
    let job = job("INSERT INTO a.b.c SELECT topic, p, o, recorded FROM t");
    let transformed = run(&job, &[r#"{"id":"a"}"#]);
    let batch = &transformed.per_sink[0].batch;
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "the-topic");
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), 5);
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), 100);
    assert_eq!(batch.column(3).as_primitive::<TimestampMicrosecondType>().value(0), 1_000_000);
}

#[test]
fn a_row_on_which_an_expression_fails_is_rejected_alone() {
    let job = job("INSERT INTO a.b.c SELECT id, i / j AS ratio FROM t;
                   INSERT INTO a.b.d SELECT id FROM t");
    let texts: Vec<String> = (0..100)
        .map(|row| format!(r#"{{"id":"{row}","i":7,"j":{}}}"#, i32::from(row % 30 != 7)))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let transformed = run(&job, &texts);
    let rejected: BTreeSet<i64> = transformed.rejects.iter().map(|r| r.offset.get()).collect();
    assert_eq!(rejected, BTreeSet::from([107, 137, 167, 197]));
    assert_eq!(transformed.rejects.len(), 4, "each once");
    let reject = &transformed.rejects[0];
    assert_eq!((reject.reason, reject.timestamp_ms), (Reason::Evaluation, Some(1070)));
    assert_eq!(reject.payload.as_deref(), Some(texts[7].as_bytes()));
    assert!(reject.detail.to_lowercase().contains("divide by zero"), "{}", reject.detail);
    for rows in &transformed.per_sink {
        let held: BTreeSet<i64> = rows.places.iter().map(|(_, offset)| offset.get()).collect();
        assert_eq!(held.len(), 96, "a rejected record is in no sink");
        assert!(held.is_disjoint(&rejected));
        assert!(rows.places.iter().is_sorted());
    }
}

#[test]
fn a_condition_that_can_fail_runs_only_on_rows_that_passed_the_others() {
    let job =
        job("INSERT INTO a.b.c SELECT id FROM t WHERE 10 / i > 1 AND kind = 'k' AND 10 / j > 1");
    let transformed = run(
        &job,
        &[
            r#"{"id":"dropped by its kind","kind":"x","i":0,"j":0}"#,
            r#"{"id":"dropped by i","kind":"k","i":10,"j":0}"#,
            r#"{"id":"failed","kind":"k","i":1,"j":0}"#,
            r#"{"id":"passed","kind":"k","i":1,"j":1}"#,
        ],
    );
    assert_eq!(ids(&transformed), [["passed"]]);
    assert_eq!(transformed.rejects.iter().map(|r| r.offset.get()).collect::<Vec<_>>(), [102]);
}

#[test]
fn what_is_rejected_does_not_depend_on_the_batch() {
    let job =
        job("INSERT INTO a.b.c SELECT id, CASE WHEN kind = 'k' THEN i / j ELSE 0 END AS x FROM t
                   WHERE i % 3 <> 1 OR i / j > 0");
    let texts: Vec<String> = (0..200)
        .map(|n| {
            format!(r#"{{"id":"{n}","kind":"{}","i":{},"j":{}}}"#, ["k", "x"][n % 2], n % 7, n % 5)
        })
        .collect();
    let payloads: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    let transform = Transform::new(&job).unwrap();
    let outcome = |chunk: usize| {
        let (mut written, mut rejected) = (Vec::new(), Vec::new());
        for part in payloads.chunks(chunk) {
            let transformed = transform.apply(&decode(&job, DecodeOptions::default(), part));
            let ids = ids(&transformed).concat();
            written.extend(ids.into_iter().map(str::to_owned));
            rejected.extend(transformed.rejects.into_iter().map(|reject| reject.payload));
        }
        (written, rejected)
    };
    let alone = outcome(1);
    assert!(alone.1.len() > 10 && alone.0.len() > 50, "{} and {}", alone.1.len(), alone.0.len());
    for chunk in [2, 3, 17, 200] {
        assert!(outcome(chunk) == alone, "chunks of {chunk}");
    }
}

#[test]
fn rejects_become_rows_of_their_table() {
    let job = Job::parse(PIPELINE).unwrap();
    let reject = |offset: i64, payload: Option<&[u8]>| Reject {
        partition: PartitionId::new(2),
        offset: Offset::new(offset),
        timestamp_ms: (offset > 1).then_some(1_763_900_000_123),
        reason: Reason::WrongType,
        detail: "field `x`".to_owned(),
        payload: payload.map(<[u8]>::to_vec),
    };
    let rejects = [reject(1, None), reject(2, Some(b"\xff\0"))];
    let batch = rejects_batch("the-topic", &rejects);
    assert_eq!(batch.schema(), job.rejects_spec().arrow_schema());
    assert_eq!(batch.num_rows(), 2);
    assert!(batch.column(3).is_null(0) && batch.column(6).is_null(0));
    let times = batch.column(3).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(1), 1_763_900_000_123_000);
    assert_eq!(batch.column(4).as_string::<i32>().value(1), "wrong_type");
    assert_eq!(batch.column(6).as_binary::<i32>().value(1), b"\xff\0");
    assert_eq!(rejects_batch("the-topic", &[]).num_rows(), 0);
}
