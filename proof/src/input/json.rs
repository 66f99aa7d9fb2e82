//! JSON → columns: the decoder against two plain readings.
//!
//! `plain` knows every type and reads like the documentation; `expect` is what the verifier holds whole topics to. Both
//! must agree with the decoder on every record, whichever of its ways it takes.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use data_emitter::{Fraction, Generator, GeneratorSettings};
use lakehouse::ids::{Offset, PartitionId};
use rand::Rng;
use rand::rngs::StdRng;
use stream_processor::decode::{DecodeOptions, Decoded, Decoder, RawRecord, Reason, Validate};
use stream_processor::job::Job;
use streamforge::verify::expect;
use streamforge::verify::plain::{self, Cell};

use super::Target;
use super::corpus::Corpus;
use super::mutate;

/// Every type twice, once as the shipped job has it.
const EVERY_TYPE: &str = "
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
INSERT INTO lake.test.all_of_it SELECT unique_event_id, customer_id, session_guid, activity_type,
  source_url, client_platform, event_ts_utc, customer_latitude, customer_longitude, product_id,
  transaction_value, an_int, a_long, a_float, a_flag, a_day, a_time, a_wide FROM events";
const SHIPPED: &str = include_str!("../../../stream-processor/sql-jobs/transform_pipeline.sql");
/// The shipped job's filter, in hundredths.
const THRESHOLD_CENTS: i128 = 5_000;
const SOME_TIME_MS: i64 = 1_763_900_000_000;
/// Details are cut to this; they end up in a table.
const DETAIL_BYTES_MAX: usize = 256;

pub(super) struct Json {
    job: Job,
    every_row: Decoder,
    purchases: Decoder,
    careless: Decoder,
    shipped: Decoder,
    events: Generator,
}

impl Json {
    pub(super) fn new() -> Result<Self> {
        let job = Job::parse(EVERY_TYPE)?;
        let purchases = Job::parse(&format!("{EVERY_TYPE} WHERE activity_type = 'purchase'"))?;
        let off = DecodeOptions { validate: Validate::Off, ..DecodeOptions::default() };
        let malformed = Fraction::new(0.05).map_err(|err| anyhow::anyhow!("{err}"))?;
        let events = GeneratorSettings { malformed, ..GeneratorSettings::new(7, SOME_TIME_MS) };
        Ok(Self {
            every_row: Decoder::new(&job, DecodeOptions::default()),
            purchases: Decoder::new(&purchases, DecodeOptions::default()),
            careless: Decoder::new(&purchases, off),
            shipped: Decoder::new(&Job::parse(SHIPPED)?, DecodeOptions::default()),
            events: Generator::new(&events),
            job,
        })
    }
}

impl Target for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn title(&self) -> &'static str {
        "JSON → columns, against two plain readings"
    }

    fn wanted(&self) -> &[&'static str] {
        &[
            "row",
            "tombstone",
            "empty",
            "invalid_utf8",
            "invalid_json",
            "nesting_too_deep",
            "not_an_object",
            "duplicate_key",
            "missing_field",
            "wrong_type",
            "out_of_range",
            "bad_timestamp",
        ]
    }

    fn giants(&self) -> Vec<super::Giant> {
        vec![
            ("10 MB in a declared text", || field("product_id", &quoted(&"x".repeat(TEN_MB)))),
            ("10 MB of escapes in one", || {
                field("product_id", &quoted(&"\\u00e9".repeat(TEN_MB / 6)))
            }),
            ("10 MB in an undeclared text", || field("else", &quoted(&"\\\\".repeat(TEN_MB / 2)))),
            ("a number of 10 MB", || field("else", &"9".repeat(TEN_MB))),
            ("a decimal of 1 MB", || field("transaction_value", &"9".repeat(TEN_MB / 10))),
            ("1 MB of digits behind the point", || {
                field("transaction_value", &format!("50.{}", "1".repeat(TEN_MB / 10)))
            }),
            ("10 MB of space", || format!("{}{}", " \n".repeat(TEN_MB / 2), SOUND).into_bytes()),
            ("100,000 fields", || many_fields(|n| format!("\"field_{n}\":{n}"))),
            ("one field 100,000 times", || many_fields(|n| format!("\"product_id\":\"{n}\""))),
            ("an undeclared one 100,000 times", || many_fields(|n| format!("\"else\":[{n}]"))),
            ("100,000 arrays in each other", || field("else", &nested("[", "]"))),
            ("100,000 objects in each other", || field("else", &nested("{\"a\":", "}"))),
            ("100,000 arrays that never end", || "[".repeat(100_000).into_bytes()),
            ("100,000 objects that never end", || "{\"a\":".repeat(100_000).into_bytes()),
        ]
    }

    fn make(&mut self, dice: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
        let mut input = if dice.random_ratio(1, 2) {
            mutate::one_of(dice, &corpus.entries).clone()
        } else {
            self.events.next().and_then(|emission| emission.payload).unwrap_or_default()
        };
        if dice.random_ratio(7, 8) {
            mutate::mutate(dice, &mut input, corpus);
        }
        input
    }

    fn take(&mut self, input: &[u8]) -> Result<&'static str, String> {
        // There is no file without bytes that means a record without a value, so a word does.
        let payload = (input != b"tombstone").then_some(input);
        let expected = plain::read(&self.job, payload);
        same(&self.every_row.decode([record(payload)]), payload, &expected, true)?;
        let is_purchase = matches!(&expected, plain::Expected::Row(cells)
            if cells.get(3) == Some(&Cell::Text("purchase".to_owned())));
        same(&self.purchases.decode([record(payload)]), payload, &expected, is_purchase)?;
        let careless = self.careless.decode([record(payload)]);
        if let (plain::Expected::Row(_), true) = (&expected, is_purchase) {
            same(&careless, payload, &expected, true)?;
        }
        self.as_verified(payload)?;
        Ok(expected.name())
    }
}

impl Json {
    /// The verifier's own reading, of the shipped job.
    fn as_verified(&mut self, payload: Option<&[u8]>) -> Result<(), String> {
        let decoded = self.shipped.decode([record(payload)]);
        let reason = decoded.rejects.first().map(|reject| reject.reason.as_str());
        match expect::expected(payload, THRESHOLD_CENTS) {
            expect::Expected::Rejected(wanted) if reason == Some(wanted) => Ok(()),
            expect::Expected::Rejected(wanted) => {
                Err(format!("the verifier wants {wanted}, the decoder says {reason:?}"))
            }
            _ if reason.is_some() => {
                Err(format!("the verifier wants no reject, the decoder says {reason:?}"))
            }
            expect::Expected::Filtered => Ok(()),
            expect::Expected::Written(row) => {
                let cents = decoded.batch.column_by_name("transaction_value").and_then(|column| {
                    let column = column.as_primitive_opt::<Decimal128Type>()?;
                    (column.len() == 1 && column.is_valid(0)).then(|| column.value(0))
                });
                let wanted = row.revenue_cents;
                let same = cents == Some(wanted);
                same.then_some(()).ok_or_else(|| format!("{wanted} cents are decoded as {cents:?}"))
            }
        }
    }
}

/// Whether what was decoded is what is expected; a row only where it is `wanted`.
fn same(
    decoded: &Decoded,
    payload: Option<&[u8]>,
    expected: &plain::Expected,
    wanted: bool,
) -> Result<(), String> {
    let rows = decoded.batch.num_rows();
    match (expected, decoded.rejects.as_slice()) {
        (plain::Expected::Reject(reason), [reject]) => {
            let found = reject.reason;
            if found != *reason {
                return Err(format!("{reason} is decoded as {found}: {}", reject.detail));
            }
            if reject.payload.as_deref() != payload {
                return Err(format!("a record rejected as {found} is not kept as it was"));
            }
            if reject.detail.len() > DETAIL_BYTES_MAX {
                return Err(format!("a detail of {} bytes", reject.detail.len()));
            }
            if rows > 0 { Err(format!("a record is {reason} and a row")) } else { Ok(()) }
        }
        (plain::Expected::Row(_), []) if !wanted && rows == 0 => Ok(()),
        (plain::Expected::Row(cells), []) if wanted && rows == 1 => {
            let found = cells_of(&decoded.batch)?;
            let same = found == *cells;
            same.then_some(()).ok_or_else(|| shown(&found, cells))
        }
        (expected, rejects) => {
            let reasons: Vec<Reason> = rejects.iter().map(|reject| reject.reason).collect();
            Err(format!("{} became {rows} rows and the rejects {reasons:?}", expected.name()))
        }
    }
}

fn shown(found: &[Cell], wanted: &[Cell]) -> String {
    let different = found.iter().zip(wanted).find(|(found, wanted)| found != wanted);
    let text = format!("{different:?}");
    format!("decoded differently, first: {}", text.chars().take(300).collect::<String>())
}

fn record(payload: Option<&[u8]>) -> RawRecord<'_> {
    let (partition, offset) = (PartitionId::new(3), Offset::new(5));
    RawRecord { partition, offset, timestamp_ms: Some(1), payload }
}

fn cells_of(batch: &RecordBatch) -> Result<Vec<Cell>, String> {
    let cell = |column: &Arc<dyn Array>| {
        if column.is_null(0) {
            return Ok(Cell::Null);
        }
        Ok(match column.data_type() {
            DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(0).to_owned()),
            DataType::Boolean => Cell::Flag(column.as_boolean().value(0)),
            DataType::Int32 => Cell::Whole(column.as_primitive::<Int32Type>().value(0).into()),
            DataType::Int64 => Cell::Whole(column.as_primitive::<Int64Type>().value(0).into()),
            DataType::Date32 => Cell::Whole(column.as_primitive::<Date32Type>().value(0).into()),
            DataType::Timestamp(..) => {
                Cell::Whole(column.as_primitive::<TimestampMicrosecondType>().value(0).into())
            }
            DataType::Decimal128(..) => {
                Cell::Whole(column.as_primitive::<Decimal128Type>().value(0))
            }
            DataType::Float32 => Cell::Real(column.as_primitive::<Float32Type>().value(0).into()),
            DataType::Float64 => Cell::Real(column.as_primitive::<Float64Type>().value(0)),
            other => return Err(format!("a column of type {other}")),
        })
    };
    batch.columns().iter().map(cell).collect()
}

const TEN_MB: usize = 10 << 20;
/// A purchase, but for its last brace.
const OPEN: &str = r#"{"unique_event_id":"e","customer_id":"c","session_guid":"s","activity_type":"purchase","source_url":"u","client_platform":"ios","event_ts_utc":"2025-11-23T20:41:07.123Z""#;
const SOUND: &str = r#"{"unique_event_id":"e","customer_id":"c","session_guid":"s","activity_type":"purchase","source_url":"u","client_platform":"ios","event_ts_utc":"2025-11-23T20:41:07.123Z","transaction_value":51}"#;

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("{OPEN},\"{name}\":{value}}}").into_bytes()
}

fn many_fields(field: impl Fn(u32) -> String) -> Vec<u8> {
    let fields: Vec<_> = (0..100_000).map(field).collect();
    format!("{OPEN},{}}}", fields.join(",")).into_bytes()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn nested(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(100_000), close.repeat(100_000))
}
