//! The decoder against a plain reading by `serde_json`, over generated and mutated records.
//!
//! `STREAMFORGE_DIFFERENTIAL_RECORDS=2000000` makes it a long run; a failure prints the record and the
//! seed it follows from.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
#![allow(clippy::disallowed_methods, reason = "the length of a test run is a setting of the run")]

mod records;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::decode::{DecodeOptions, Decoded, Decoder, RawRecord, Reason, Validate};
use stream_processor::job::Job;

use streamforge::verify::plain::{self, Cell, Expected};

use records::Records;

const RECORDS: usize = 60_000;
const CHUNK: usize = 500;
const SEED: u64 = 20_251_123;

const JOB: &str = "
CREATE TABLE events (
  unique_event_id STRING NOT NULL,
  customer_id STRING NOT NULL,
  session_guid STRING NOT NULL,
  activity_type STRING NOT NULL,
  source_url STRING NOT NULL,
  client_platform STRING NOT NULL,
  event_ts_utc TIMESTAMP_LTZ(3) NOT NULL,
  customer_latitude DOUBLE,
  customer_longitude DOUBLE,
  product_id STRING,
  transaction_value DECIMAL(12, 2),
  an_int INT,
  a_long BIGINT,
  a_float FLOAT,
  a_flag BOOLEAN,
  a_day DATE,
  a_time TIMESTAMP(6),
  a_wide DECIMAL(38, 10)
) WITH ('connector' = 'kafka', 'topic' = 't', 'scan.startup.mode' = 'earliest-offset',
  'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
INSERT INTO lake.test.rows_of_all SELECT unique_event_id, customer_id, session_guid, activity_type,
  source_url, client_platform, event_ts_utc, customer_latitude, customer_longitude, product_id,
  transaction_value, an_int, a_long, a_float, a_flag, a_day, a_time, a_wide FROM events";

#[test]
fn decoder_and_plain_reading_agree_on_every_record() {
    let all = Job::parse(JOB).unwrap();
    let purchases = Job::parse(&format!("{JOB} WHERE activity_type = 'purchase'")).unwrap();
    let mut every_row = Decoder::new(&all, DecodeOptions::default());
    let mut skipping = Decoder::new(&purchases, DecodeOptions::default());
    let off = DecodeOptions { validate: Validate::Off, ..DecodeOptions::default() };
    let mut careless = Decoder::new(&purchases, off);
    let mut records = Records::new(SEED);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let wanted = std::env::var("STREAMFORGE_DIFFERENTIAL_RECORDS");
    let wanted = wanted.map_or(RECORDS, |text| text.parse().unwrap());
    for first in (0..wanted).step_by(CHUNK) {
        let chunk: Vec<Option<Vec<u8>>> = records.by_ref().take(CHUNK).collect();
        let expected: Vec<Expected> =
            chunk.iter().map(|p| plain::read(&all, p.as_deref())).collect();
        for one in &expected {
            *outcomes.entry(one.name()).or_default() += 1;
        }
        let context = format!("seed {SEED}, records from {first}");
        let decoded = every_row.decode(raw(&chunk));
        check(&decoded, &chunk, &expected, |_| true, &context);
        let is_purchase = |row: &[Cell]| row[3] == Cell::Text("purchase".to_owned());
        check(&skipping.decode(raw(&chunk)), &chunk, &expected, is_purchase, &context);
        check_rows(&careless.decode(raw(&chunk)), &chunk, &expected, is_purchase, &context);
    }
    println!("{wanted} records: {outcomes:?}");
    let never = Reason::ALL.iter().filter(|reason| !outcomes.contains_key(reason.as_str()));
    let never: Vec<_> = never.filter(|reason| **reason != Reason::Evaluation).collect();
    assert!(never.is_empty(), "no record was {never:?}");
    assert!(outcomes["row"] > wanted / 10, "too few rows: {outcomes:?}");
}

fn raw(payloads: &[Option<Vec<u8>>]) -> impl Iterator<Item = RawRecord<'_>> {
    payloads.iter().zip(0..).map(|(payload, offset)| RawRecord {
        partition: PartitionId::new(3),
        offset: Offset::new(offset),
        timestamp_ms: Some(1),
        payload: payload.as_deref(),
    })
}

/// Rejects and rows are those that are expected, and nothing else.
#[track_caller]
fn check(
    decoded: &Decoded,
    payloads: &[Option<Vec<u8>>],
    expected: &[Expected],
    wanted: impl Fn(&[Cell]) -> bool,
    context: &str,
) {
    assert_eq!(decoded.read, payloads.len() as u64, "{context}");
    let mut rejects = decoded.rejects.iter();
    for ((payload, expected), offset) in payloads.iter().zip(expected).zip(0..) {
        let Expected::Reject(reason) = expected else { continue };
        let text = shown(payload.as_deref());
        let Some(reject) = rejects.next() else { panic!("{context}: not {reason}: {text}") };
        let found = (reject.offset.get(), reject.reason);
        assert_eq!(found, (offset, *reason), "{context}: {}: {text}", reject.detail);
        assert_eq!(&reject.payload, payload, "{context}");
    }
    if let Some(reject) = rejects.next() {
        let offset = usize::try_from(reject.offset.get()).unwrap();
        panic!("{context}: {reject:?} was {}", shown(payloads[offset].as_deref()));
    }
    check_rows(decoded, payloads, expected, wanted, context);
}

#[track_caller]
fn check_rows(
    decoded: &Decoded,
    payloads: &[Option<Vec<u8>>],
    expected: &[Expected],
    wanted: impl Fn(&[Cell]) -> bool,
    context: &str,
) {
    let places: Vec<i64> = decoded.places.iter().map(|(_, offset)| offset.get()).collect();
    let mut row = 0;
    for ((payload, expected), offset) in payloads.iter().zip(expected).zip(0..) {
        let Expected::Row(cells) = expected else { continue };
        if !wanted(cells) {
            continue;
        }
        let text = shown(payload.as_deref());
        assert_eq!(places.get(row), Some(&offset), "{context}: no row for {text}");
        assert_eq!(&cells_of(&decoded.batch, row), cells, "{context}: {text}");
        row += 1;
    }
    assert_eq!(row, decoded.batch.num_rows(), "{context}: rows too many: {places:?}");
}

fn shown(payload: Option<&[u8]>) -> String {
    payload.map_or("null".into(), |bytes| String::from_utf8_lossy(bytes).escape_debug().to_string())
}

fn cells_of(batch: &RecordBatch, row: usize) -> Vec<Cell> {
    let column = |column: &std::sync::Arc<dyn Array>| {
        if column.is_null(row) {
            return Cell::Null;
        }
        match column.data_type() {
            DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
            DataType::Boolean => Cell::Flag(column.as_boolean().value(row)),
            DataType::Int32 => Cell::Whole(column.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Cell::Whole(column.as_primitive::<Int64Type>().value(row).into()),
            DataType::Date32 => Cell::Whole(column.as_primitive::<Date32Type>().value(row).into()),
            DataType::Timestamp(..) => {
                Cell::Whole(column.as_primitive::<TimestampMicrosecondType>().value(row).into())
            }
            DataType::Decimal128(..) => {
                Cell::Whole(column.as_primitive::<Decimal128Type>().value(row))
            }
            DataType::Float32 => Cell::Real(column.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Cell::Real(column.as_primitive::<Float64Type>().value(row)),
            other => panic!("{other}"),
        }
    };
    batch.columns().iter().map(column).collect()
}
