//! How fast rows become Avro files, and how large: one thread, 13 columns as in
//! `processed_conversions`, each codec.
//!
//! `cargo run --release -p lakehouse --example encode_speed [-- ROWS]`

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement shows and clocks"
)]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use lakehouse::Result;
use lakehouse::avro::{Codec, DayWriter, TableSchema};
use lakehouse::datafile::EncodedFile;
use lakehouse::scan::read_file;
use lakehouse::spec::{Column, ColumnType, TableSpec, UTC};

const BATCH_ROWS: usize = 4_096;
/// About what a second brings.
const BATCHES_PER_FILE: usize = 25;

const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let rows = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let spec = conversions();
    let schema = Arc::new(TableSchema::from_spec(&spec)?);
    let batches: Vec<_> = (0..rows)
        .step_by(BATCH_ROWS)
        .map(|first| batch(&spec, first, BATCH_ROWS.min(rows - first)))
        .collect();
    for codec in Codec::ALL {
        let mut best = f64::MAX;
        let mut files = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            files.clear();
            for batches in batches.chunks(BATCHES_PER_FILE) {
                let mut writer = DayWriter::new(schema.clone(), codec)?;
                for batch in batches {
                    writer.append(batch)?;
                }
                files.extend(writer.finish()?);
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let bytes: u64 = files.iter().map(EncodedFile::size).sum();
        let start = Instant::now();
        let mut read = 0;
        for file in &files {
            for batch in read_file(file.bytes(), &schema, None)? {
                read += batch?.num_rows();
            }
        }
        let reading = start.elapsed().as_secs_f64();
        let per_row = |seconds: f64| seconds / rows as f64 * 1e9;
        println!(
            "{codec:>9}: {:6.0} ns/row, {:5.2} M rows/s, {:5.1} B/row; read {read} rows back at {:4.0} ns/row",
            per_row(best),
            rows as f64 / best / 1e6,
            bytes as f64 / rows as f64,
            per_row(reading),
        );
    }
    Ok(())
}

fn conversions() -> TableSpec {
    let column = |(name, column_type, nullable): (&str, ColumnType, bool)| Column {
        name: name.to_owned(),
        column_type,
        nullable,
    };
    let columns = [
        ("unique_event_id", ColumnType::String, false),
        ("customer_id", ColumnType::String, false),
        ("marketing_action", ColumnType::String, false),
        ("source_url", ColumnType::String, true),
        ("session_guid", ColumnType::String, false),
        ("platform", ColumnType::String, true),
        ("event_ts_utc", ColumnType::Timestamptz, false),
        ("customer_latitude", ColumnType::Double, true),
        ("customer_longitude", ColumnType::Double, true),
        ("product_id", ColumnType::String, true),
        ("revenue_usd", ColumnType::Decimal { precision: 12, scale: 2 }, true),
        ("kafka_partition", ColumnType::Int, false),
        ("kafka_offset", ColumnType::Long, false),
    ];
    TableSpec {
        namespace: "marketing_events".into(),
        name: "processed_conversions".into(),
        columns: columns.into_iter().map(column).collect(),
        partition_day: Some("event_ts_utc".into()),
    }
}

/// A number that looks random and depends on `seed` alone.
fn mix(seed: usize) -> u64 {
    let mut bits = (seed as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        bits = (bits ^ (bits >> 29)).wrapping_mul(factor);
    }
    bits ^ (bits >> 32)
}

fn uuid(time: usize, seed: usize) -> String {
    let (high, low) = (mix(seed), mix(seed ^ 0x5555));
    let time = 0x0199_0000_0000 + time / 8;
    format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        time >> 16,
        time & 0xffff,
        high & 0xfff,
        0x8000 | (high >> 50),
        low >> 16
    )
}

fn batch(spec: &TableSpec, first: usize, len: usize) -> RecordBatch {
    let each = || first..first + len;
    let text = |of: &dyn Fn(usize) -> String| StringArray::from_iter_values(each().map(of));
    let maybe = |of: &dyn Fn(usize) -> Option<f64>| each().map(of).collect::<Float64Array>();
    let platforms = ["web", "ios", "android"];
    let degrees = |row: usize, range: u64| {
        (!row.is_multiple_of(10)).then(|| (mix(row) % (range * 100_000)) as f64 / 1e5)
    };
    let cents = |row: usize| i128::from(mix(row) % 50_000 + 5_001);
    let micros = |row: usize| 1_760_000_000_000_000 + i64::try_from(row).unwrap_or(0) * 1_000;
    let number = |row: usize| i64::try_from(row).unwrap_or(0);
    let revenue = Decimal128Array::from_iter_values(each().map(cents));
    let revenue = revenue.with_precision_and_scale(12, 2).expect("twelve digits hold the cents");
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(text(&|row| uuid(row, row))),
        Arc::new(text(&|row| format!("cust-{:07}", mix(row) % 200_000))),
        Arc::new(text(&|_| "purchase".to_owned())),
        Arc::new(text(&|row| format!("/checkout/complete?campaign=c{}", mix(row) % 40))),
        Arc::new(text(&|row| uuid(row, row / 6))),
        Arc::new(text(&|row| platforms.into_iter().cycle().nth(row % 3).unwrap_or("").to_owned())),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(each().map(micros)).with_timezone(UTC),
        ),
        Arc::new(maybe(&|row| degrees(row, 90))),
        Arc::new(maybe(&|row| degrees(row, 180).map(|degrees| -degrees))),
        Arc::new(text(&|row| format!("sku-{:05}", mix(row) % 5_000))),
        Arc::new(revenue),
        Arc::new(Int32Array::from_iter_values(each().map(|row| i32::from(row % 2 == 0)))),
        Arc::new(Int64Array::from_iter_values(each().map(number))),
    ];
    RecordBatch::try_new(spec.arrow_schema(), columns).expect("the columns are as declared")
}
