//! What is written is what two readers of other hands read: apache-avro and arrow-avro.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod rows;

use std::sync::Arc;

use apache_avro::types::Value;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use lakehouse::avro::{Codec, FileWriter, TableSchema};
use lakehouse::scan::read_file;
use proptest::prelude::*;
use rows::{Cell, Row, any_rows, batch, every_type};

fn schema() -> Arc<TableSchema> {
    Arc::new(TableSchema::from_spec(&every_type()).unwrap())
}

fn written(batches: &[RecordBatch], codec: Codec) -> Bytes {
    let mut writer = FileWriter::new(schema(), codec, None).unwrap();
    for batch in batches {
        writer.append(batch).unwrap();
    }
    writer.finish().unwrap().bytes()
}

fn by_apache_avro(bytes: &Bytes) -> Vec<Row> {
    let reader = apache_avro::Reader::new(bytes.as_ref()).unwrap();
    let row = |value: Value| {
        let Value::Record(fields) = value else { panic!("{value:?} is no record") };
        fields.into_iter().map(|(_, value)| cell(value)).collect()
    };
    reader.map(|value| row(value.unwrap())).collect()
}

fn cell(value: Value) -> Option<Cell> {
    Some(match value {
        Value::Null => return None,
        Value::Union(_, value) => return cell(*value),
        Value::Boolean(value) => Cell::Boolean(value),
        Value::Int(value) => Cell::Int(value),
        Value::Long(value) => Cell::Long(value),
        Value::Float(value) => Cell::Float(value),
        Value::Double(value) => Cell::Double(value),
        Value::Decimal(value) => Cell::Decimal(unscaled(&Vec::try_from(&value).unwrap())),
        Value::Fixed(_, bytes) => Cell::Decimal(unscaled(&bytes)),
        Value::String(value) => Cell::String(value),
        Value::Bytes(value) => Cell::Binary(value),
        Value::Date(value) => Cell::Date(value),
        // Avro has one type for both; the table's schema tells them apart.
        Value::TimestampMicros(value) => Cell::Timestamptz(value),
        other => panic!("{other:?} is none of ours"),
    })
}

/// Two's complement, most significant byte first.
fn unscaled(bytes: &[u8]) -> i128 {
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { u8::MAX };
    let mut wide = [sign; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    i128::from_be_bytes(wide)
}

/// NaN equals NaN here, and the zeroes differ.
fn bits(rows: &[Row]) -> Vec<String> {
    let cell = |cell: &Option<Cell>| match cell {
        Some(Cell::Float(value)) => format!("float {:x}", value.to_bits()),
        Some(Cell::Double(value)) => format!("double {:x}", value.to_bits()),
        Some(Cell::Timestamp(value)) => format!("{:?}", Some(Cell::Timestamptz(*value))),
        other => format!("{other:?}"),
    };
    rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
}

fn by_arrow_avro(bytes: &Bytes, projection: Option<&[usize]>) -> RecordBatch {
    let reader = read_file(bytes.clone(), &schema(), projection).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn two_other_readers_read_what_was_written(
        rows in any_rows(60),
        cut in 0..60_usize,
        codec in prop::sample::select(Codec::ALL.to_vec()),
    ) {
        let (first, second) = rows.split_at(cut.min(rows.len()));
        let bytes = written(&[batch(first), batch(second)], codec);
        prop_assert_eq!(bits(&by_apache_avro(&bytes)), bits(&rows));
        let found = by_arrow_avro(&bytes, None);
        // Arrow compares floats bit by bit.
        prop_assert_eq!(found, batch(&rows));
    }

    #[test]
    fn a_projection_picks_the_same_columns(
        rows in any_rows(20),
        projection in prop::collection::vec(0..26_usize, 0..8),
    ) {
        let whole = batch(&rows);
        let bytes = written(std::slice::from_ref(&whole), Codec::Zstandard);
        let found = by_arrow_avro(&bytes, Some(&projection));
        prop_assert_eq!(&found, &whole.project(&projection).unwrap());
        prop_assert_eq!(found.num_rows(), rows.len());
    }
}

/// The metadata map of a file's header, by the specification.
fn header(bytes: &[u8]) -> Vec<(String, String)> {
    assert_eq!(&bytes[..4], b"Obj\x01");
    let mut at = 4;
    let long = |at: &mut usize| {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = bytes[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break usize::try_from(value >> 1).unwrap();
            }
        }
    };
    let text = |at: &mut usize| {
        let len = long(at);
        *at += len;
        String::from_utf8(bytes[*at - len..*at].to_vec()).unwrap()
    };
    assert_eq!(bytes[at], 4, "one map block of two entries");
    at += 1;
    let entries = (0..2).map(|_| (text(&mut at), text(&mut at))).collect();
    assert_eq!(bytes[at], 0, "the map ends");
    entries
}

#[test]
fn the_header_carries_the_schema_and_the_codec_as_they_are() {
    for (codec, name) in
        [(Codec::None, "null"), (Codec::Deflate, "deflate"), (Codec::Zstandard, "zstandard")]
    {
        let bytes = written(&[], codec);
        let expected =
            [("avro.schema", schema().avro_json().to_owned()), ("avro.codec", name.into())];
        assert_eq!(header(&bytes), expected.map(|(key, value)| (key.to_owned(), value)));
    }
}

#[test]
fn every_field_in_the_header_has_its_id() {
    let json: serde_json::Value =
        serde_json::from_str(&header(&written(&[], Codec::None))[0].1).unwrap();
    let ids: Vec<_> = json["fields"].as_array().unwrap().iter().map(|f| &f["field-id"]).collect();
    assert_eq!(ids, (1..=26).collect::<Vec<_>>());
    let at =
        json["fields"].as_array().unwrap().iter().find(|f| f["name"] == "required_11").unwrap();
    assert_eq!(at["type"]["adjust-to-utc"], true, "Iceberg looks for it inside the type");
}

#[test]
fn a_file_without_rows_is_a_file() {
    let bytes = written(&[], Codec::default());
    assert!(by_apache_avro(&bytes).is_empty());
    assert_eq!(by_arrow_avro(&bytes, None).num_rows(), 0);
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let row: Row = fixed_row().into_iter().map(Some).chain(vec![None; 13]).collect();
    let bytes = written(&[batch(&[row.clone(), row])], Codec::Zstandard);
    let schema = schema();
    for at in 0..bytes.len() {
        let read = |bytes: Bytes| {
            read_file(bytes, &schema, None).and_then(Iterator::collect::<Result<Vec<_>, _>>)
        };
        let _cut_short = read(bytes.slice(..at));
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x55;
        let _damaged = read(damaged.into());
    }
    assert!(read_file(bytes.slice(..10), &schema, None).is_err());
}

fn fixed_row() -> Vec<Cell> {
    vec![
        Cell::Boolean(true),
        Cell::Int(-1),
        Cell::Long(i64::MIN),
        Cell::Float(1.5),
        Cell::Double(-0.0),
        Cell::Decimal(-501),
        Cell::Decimal(-9),
        Cell::Decimal(10_i128.pow(38) - 1),
        Cell::String("Größe".into()),
        Cell::Binary(vec![0, 255]),
        Cell::Date(-1),
        Cell::Timestamptz(-1),
        Cell::Timestamp(1),
    ]
}
