#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;
use uuid::Uuid;

use super::compress::Compressor;
use super::encode::put_long;
use super::record::decimal_bytes;
use super::*;
use crate::spec::{Column, ColumnType, TableSpec, UTC};

const DAY: i64 = 86_400_000_000;

fn spec(columns: &[(&str, ColumnType, bool)], partition_day: Option<&str>) -> TableSpec {
    let column = |(name, column_type, nullable): &(&str, ColumnType, bool)| Column {
        name: (*name).to_owned(),
        column_type: *column_type,
        nullable: *nullable,
    };
    TableSpec {
        namespace: "shop".into(),
        name: "sales".into(),
        columns: columns.iter().map(column).collect(),
        partition_day: partition_day.map(str::to_owned),
    }
}

fn schema(columns: &[(&str, ColumnType, bool)], partition_day: Option<&str>) -> Arc<TableSchema> {
    Arc::new(TableSchema::from_spec(&spec(columns, partition_day)).unwrap())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 12, scale: 2 };

// ---- schema

#[test]
fn the_avro_schema_is_the_golden_one() {
    let schema = schema(
        &[
            ("id", ColumnType::String, false),
            ("paid", ColumnType::Boolean, true),
            ("part", ColumnType::Int, false),
            ("offset", ColumnType::Long, true),
            ("ratio", ColumnType::Float, true),
            ("lat", ColumnType::Double, false),
            ("price", DECIMAL, true),
            ("tax", DECIMAL, false),
            ("raw", ColumnType::Binary, true),
            ("born", ColumnType::Date, true),
            ("at", ColumnType::Timestamptz, false),
            ("local", ColumnType::Timestamp, true),
            ("2nd a.b", ColumnType::Int, true),
        ],
        Some("at"),
    );
    let golden = concat!(
        r#"{"type":"record","name":"table","fields":["#,
        r#"{"name":"id","type":"string","field-id":1},"#,
        r#"{"name":"paid","type":["null","boolean"],"default":null,"field-id":2},"#,
        r#"{"name":"part","type":"int","field-id":3},"#,
        r#"{"name":"offset","type":["null","long"],"default":null,"field-id":4},"#,
        r#"{"name":"ratio","type":["null","float"],"default":null,"field-id":5},"#,
        r#"{"name":"lat","type":"double","field-id":6},"#,
        r#"{"name":"price","type":["null",{"type":"fixed","name":"decimal_12_2_f7","size":6,"#,
        r#""logicalType":"decimal","precision":12,"scale":2}],"default":null,"field-id":7},"#,
        r#"{"name":"tax","type":{"type":"fixed","name":"decimal_12_2_f8","size":6,"#,
        r#""logicalType":"decimal","precision":12,"scale":2},"field-id":8},"#,
        r#"{"name":"raw","type":["null","bytes"],"default":null,"field-id":9},"#,
        r#"{"name":"born","type":["null",{"type":"int","logicalType":"date"}],"#,
        r#""default":null,"field-id":10},"#,
        r#"{"name":"at","type":{"type":"long","logicalType":"timestamp-micros","#,
        r#""adjust-to-utc":true},"field-id":11},"#,
        r#"{"name":"local","type":["null",{"type":"long","logicalType":"timestamp-micros","#,
        r#""adjust-to-utc":false}],"default":null,"field-id":12},"#,
        r#"{"name":"_2nd_x20a_x2Eb","type":["null","int"],"default":null,"field-id":13,"#,
        r#""iceberg-field-name":"2nd a.b"}"#,
        r#"]}"#,
    );
    assert_eq!(schema.avro_json(), golden);
}

#[test]
fn a_decimal_takes_the_bytes_that_iceberg_prescribes() {
    for precision in 1..=38_u8 {
        let prescribed = iceberg::spec::Type::decimal_required_bytes(precision.into()).unwrap();
        assert_eq!(decimal_bytes(precision), prescribed as usize, "precision {precision}");
    }
}

#[test]
fn every_column_type_survives_the_way_through_iceberg() {
    let types = [
        ColumnType::Boolean,
        ColumnType::Int,
        ColumnType::Long,
        ColumnType::Float,
        ColumnType::Double,
        DECIMAL,
        ColumnType::String,
        ColumnType::Binary,
        ColumnType::Date,
        ColumnType::Timestamptz,
        ColumnType::Timestamp,
    ];
    for wanted in types {
        assert_eq!(schema::column_type(&iceberg_type(wanted)).unwrap(), wanted);
        assert_eq!(ColumnType::from_arrow(&wanted.to_arrow()).unwrap(), wanted);
    }
}

#[test]
fn the_schema_of_a_new_table_equals_the_one_iceberg_is_given() {
    let spec = spec(&[("id", ColumnType::Long, false), ("at", DECIMAL, true)], None);
    let given = Arc::new(iceberg_schema(&spec).unwrap());
    let ours = TableSchema::from_spec(&spec).unwrap();
    let taken = TableSchema::new(&given, None).unwrap();
    assert_eq!(ours.columns(), taken.columns());
    assert_eq!(ours.avro_json(), taken.avro_json());
    assert_eq!(ours.arrow(), taken.arrow());
}

#[test]
fn a_column_that_batches_cannot_hold_is_refused_by_name() {
    use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
    let field = NestedField::optional(1, "key", Type::Primitive(PrimitiveType::Uuid));
    let given = Schema::builder().with_fields([Arc::new(field)]).build().unwrap();
    let err = TableSchema::new(&Arc::new(given), None).unwrap_err();
    assert_eq!(err.kind(), Kind::Refused);
    assert!(err.to_string().contains("column: key"), "{err}");
}

#[test]
fn a_partition_column_must_be_there_and_have_a_day() {
    let columns = [("id", ColumnType::Long, false)];
    for partition in ["id", "at"] {
        let err = TableSchema::from_spec(&spec(&columns, Some(partition))).unwrap_err();
        assert_eq!(err.kind(), Kind::Refused);
        assert!(err.to_string().contains(partition), "{err}");
    }
}

#[track_caller]
fn check_path(partition: Option<&str>, day: Option<i32>, expected: &str) {
    let columns = [("at", ColumnType::Timestamptz, true), ("a b", ColumnType::Date, true)];
    let path = schema(&columns, partition).data_path(day, Uuid::nil());
    assert_eq!(path, expected.replace("ID", "00000000-0000-0000-0000-000000000000"));
}

#[test]
fn a_data_file_lies_in_the_folder_of_its_day() {
    check_path(Some("at"), Some(0), "data/at_day=1970-01-01/ID.avro");
    check_path(Some("at"), Some(20_769), "data/at_day=2026-11-12/ID.avro");
    check_path(Some("at"), Some(-1), "data/at_day=1969-12-31/ID.avro");
    check_path(Some("at"), None, "data/at_day=null/ID.avro");
    check_path(Some("a b"), Some(1), "data/a_x20b_day=1970-01-02/ID.avro");
    check_path(None, None, "data/ID.avro");
}

#[test]
fn a_codec_is_read_as_it_is_shown() {
    for codec in Codec::ALL {
        assert_eq!(codec.to_string().parse::<Codec>().unwrap(), codec);
    }
    assert_eq!("gzip".parse::<Codec>().unwrap_err().kind(), Kind::Config);
    assert_eq!(Codec::default(), Codec::Zstandard);
}

// ---- binary encoding

/// The definition in the Avro specification, word for word.
fn plain_long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

#[test]
fn a_long_is_encoded_alike_at_every_power_of_two() {
    for shift in 0..64 {
        for near in -2..=2_i64 {
            for value in [(1_i64 << shift).wrapping_add(near), (-1_i64 << shift).wrapping_add(near)]
            {
                let mut out = vec![7];
                put_long(&mut out, value);
                assert_eq!(out[1..], plain_long(value), "{value}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_long_is_encoded_as_the_specification_says(value: i64) {
        let mut out = Vec::new();
        put_long(&mut out, value);
        prop_assert_eq!(out, plain_long(value));
    }
}

#[test]
fn a_block_compresses_alike_whatever_came_before() {
    let small = b"the same the same the same the same".as_slice();
    let large = vec![b'x'; 300_000];
    for codec in Codec::ALL {
        let mut fresh = Compressor::new(codec).unwrap();
        let mut used = Compressor::new(codec).unwrap();
        used.pack(&large).unwrap();
        used.pack(b"").unwrap();
        assert_eq!(fresh.pack(small).unwrap(), used.pack(small).unwrap(), "{codec}");
    }
}

// ---- what is refused

#[track_caller]
fn check_misfit(columns: Vec<(&str, ArrayRef)>, message: &str) {
    let schema = schema(
        &[
            ("id", ColumnType::Int, false),
            ("name", ColumnType::String, true),
            ("price", DECIMAL, true),
        ],
        None,
    );
    let mut file = FileWriter::new(schema.clone(), Codec::None, None).unwrap();
    let good = batch(vec![("id", Arc::new(Int32Array::from(vec![1])))]);
    file.append(&good).unwrap();
    let before = file.bytes();
    let err = file.append(&batch(columns)).unwrap_err();
    assert_eq!(err.kind(), Kind::Bug);
    assert!(err.to_string().contains(message), "{err}");
    assert_eq!((file.bytes(), file.rows()), (before, 1), "a refused batch leaves nothing behind");
}

#[test]
fn a_batch_that_does_not_fit_is_refused_whole() {
    let ids = || ("id", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef);
    let decimals = |unscaled: i128| {
        let values = Decimal128Array::from(vec![Some(1), Some(unscaled)]);
        Arc::new(values.with_precision_and_scale(12, 2).unwrap()) as ArrayRef
    };
    check_misfit(vec![("name", Arc::new(StringArray::from(vec!["x"])))], "lacks a required column");
    check_misfit(vec![ids(), ("x", ids().1)], "lacks the column (column: x");
    check_misfit(vec![("id", Arc::new(Int64Array::from(vec![1])))], "another type (column: id");
    check_misfit(vec![("id", Arc::new(Int32Array::from(vec![Some(1), None])))], "holds null");
    check_misfit(vec![ids(), ("price", decimals(1_000_000_000_000))], "too many digits");
    check_misfit(vec![ids(), ("price", decimals(-1_000_000_000_000))], "too many digits");
}

#[test]
fn the_widest_decimals_fit() {
    let schema = schema(&[("price", DECIMAL, true)], None);
    let values = Decimal128Array::from(vec![Some(999_999_999_999), Some(-999_999_999_999), None]);
    let values = Arc::new(values.with_precision_and_scale(12, 2).unwrap());
    let mut file = FileWriter::new(schema, Codec::None, None).unwrap();
    file.append(&batch(vec![("price", values)])).unwrap();
    assert_eq!(file.rows(), 3);
}

#[test]
fn a_batch_is_matched_by_name_whatever_its_order() {
    let schema = schema(&[("a", ColumnType::Int, false), ("b", ColumnType::Long, true)], None);
    let a: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let b: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let file = |columns| {
        let mut writer = FileWriter::new(schema.clone(), Codec::None, None).unwrap();
        writer.append(&batch(columns)).unwrap();
        let bytes = writer.finish().unwrap().bytes();
        // The block between the header and the closing sync marker: rows, length, data.
        bytes[bytes.len() - 16 - 5..bytes.len() - 16].to_vec()
    };
    let expected = vec![2, 6, 2, 2, 4];
    assert_eq!(file(vec![("a", a.clone()), ("b", b.clone())]), expected);
    assert_eq!(file(vec![("b", b), ("a", a)]), expected);
}

// ---- days and blocks

fn times(micros: Vec<Option<i64>>) -> RecordBatch {
    let order = (0..micros.len()).map(|row| i64::try_from(row).unwrap());
    let order = Int64Array::from_iter_values(order);
    let at = TimestampMicrosecondArray::from(micros).with_timezone(UTC);
    batch(vec![("order", Arc::new(order)), ("at", Arc::new(at))])
}

fn by_day() -> Arc<TableSchema> {
    schema(&[("order", ColumnType::Long, false), ("at", ColumnType::Timestamptz, true)], Some("at"))
}

/// `(day, order of its rows)` of each file.
fn days(batches: &[RecordBatch]) -> Vec<(Option<i32>, Vec<i64>)> {
    let schema = by_day();
    let mut writer = DayWriter::new(schema.clone(), Codec::default()).unwrap();
    for batch in batches {
        writer.append(batch).unwrap();
    }
    let (days, rows) = (writer.days(), writer.rows());
    let files = writer.finish().unwrap();
    assert_eq!(days, files.len());
    assert_eq!(rows, files.iter().map(|file| file.rows).sum::<u64>());
    files.iter().map(|file| (file.day, orders(file, &schema))).collect()
}

fn orders(file: &crate::datafile::EncodedFile, schema: &TableSchema) -> Vec<i64> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let batches = crate::scan::read_file(file.bytes(), schema, Some(&[0])).unwrap();
    let values = batches.map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().clone());
    values.flat_map(|array| array.values().to_vec()).collect()
}

#[test]
fn rows_of_one_day_make_one_file() {
    assert_eq!(days(&[times(vec![Some(0), Some(DAY - 1)])]), [(Some(0), vec![0, 1])]);
}

#[test]
fn late_rows_go_to_their_own_day_and_keep_their_order() {
    let batch = times(vec![Some(DAY), Some(0), Some(DAY + 1), Some(1), Some(2 * DAY)]);
    let expected = [(Some(0), vec![1, 3]), (Some(1), vec![0, 2]), (Some(2), vec![4])];
    assert_eq!(days(&[batch]), expected);
}

#[test]
fn a_day_goes_on_from_batch_to_batch() {
    let batches = [times(vec![Some(0), Some(DAY)]), times(vec![Some(DAY), Some(1)])];
    assert_eq!(days(&batches), [(Some(0), vec![0, 1]), (Some(1), vec![1, 0])]);
}

#[test]
fn rows_without_a_day_make_a_file_of_their_own() {
    let batch = times(vec![None, Some(0), None, None, Some(0)]);
    assert_eq!(days(&[batch]), [(None, vec![0, 2, 3]), (Some(0), vec![1, 4])]);
}

#[test]
fn a_null_at_the_epoch_is_not_the_first_day() {
    // The value below a null is zero, which is a day.
    assert_eq!(days(&[times(vec![Some(5), None])]), [(None, vec![1]), (Some(0), vec![0])]);
}

#[test]
fn times_before_1970_round_down_and_the_ends_of_time_have_days() {
    let batch = times(vec![Some(-1), Some(-DAY), Some(-DAY - 1), Some(i64::MAX), Some(i64::MIN)]);
    let expected = [
        (Some(-106_751_992), vec![4]),
        (Some(-2), vec![2]),
        (Some(-1), vec![0, 1]),
        (Some(106_751_991), vec![3]),
    ];
    assert_eq!(days(&[batch]), expected);
}

#[test]
fn dates_are_their_own_days() {
    let schema = schema(&[("on", ColumnType::Date, true)], Some("on"));
    let mut writer = DayWriter::new(schema, Codec::None).unwrap();
    let dates = Date32Array::from(vec![Some(3), Some(-4), None, Some(3)]);
    writer.append(&batch(vec![("on", Arc::new(dates))])).unwrap();
    let files = writer.finish().unwrap();
    let found: Vec<_> = files.iter().map(|file| (file.day, file.rows)).collect();
    assert_eq!(found, [(None, 1), (Some(-4), 1), (Some(3), 2)]);
}

#[test]
fn nothing_appended_makes_no_file() {
    assert_eq!(days(&[]), []);
    assert_eq!(days(&[times(vec![])]), []);
}

#[test]
fn ten_thousand_days_in_one_batch_keep_every_row() {
    let batch = times((0..10_000).rev().map(|day| Some(day * DAY)).collect());
    let files = days(&[batch]);
    assert_eq!(files.len(), 10_000);
    assert_eq!(files[0], (Some(0), vec![9_999]));
}

#[test]
fn the_writer_counts_the_bytes_it_holds() {
    let mut writer = DayWriter::new(by_day(), Codec::None).unwrap();
    assert_eq!(writer.bytes(), 0);
    for day in 0..3 {
        writer.append(&times(vec![Some(day * DAY); 5_000])).unwrap();
    }
    let held = writer.bytes();
    let stored: usize = writer.finish().unwrap().iter().map(|file| file.bytes().len()).sum();
    // What is added on finishing: a block's counts and marker for each of three files.
    assert!(stored >= held && stored - held <= 3 * (16 + 6), "{held} held, {stored} stored");
}

#[test]
fn a_long_file_is_cut_into_blocks_of_bounded_rows_and_bytes() {
    let schema = schema(&[("text", ColumnType::String, false)], None);
    for (rows, width, blocks) in [(40_000, 1, 3), (1_000, 1_024, 4), (3, 1 << 20, 1)] {
        let mut writer = FileWriter::new(schema.clone(), Codec::None, None).unwrap();
        let text = "x".repeat(width);
        let column = StringArray::from_iter_values((0..rows).map(|_| &text));
        writer.append(&batch(vec![("text", Arc::new(column))])).unwrap();
        let bytes = writer.finish().unwrap().bytes();
        let marker = &bytes[bytes.len() - 16..];
        // One marker ends the header.
        let found = bytes.windows(16).filter(|window| *window == marker).count() - 1;
        assert_eq!(found, blocks, "{rows} rows of {width} bytes");
    }
}

#[test]
fn rows_keep_their_order_whether_they_fill_blocks_or_not() {
    // Few rows wait for company, many are blocks at once.
    let batches = [10, 20_000, 10, 9_000, 5].map(|rows| times(vec![Some(0); rows]));
    let orders = batches.iter().flat_map(|batch| 0..i64::try_from(batch.num_rows()).unwrap());
    assert_eq!(days(&batches), [(Some(0), orders.collect())]);
}

#[test]
fn rows_that_were_encoded_for_another_file_are_refused() {
    let (schema, batch) = (by_day(), times(vec![Some(0)]));
    let mut writer = DayWriter::new(schema.clone(), Codec::None).unwrap();
    let mut check = |schema: &Arc<TableSchema>, codec| {
        let rows = RowEncoder::new(codec).unwrap().encode(schema, &batch).unwrap();
        let outcome = writer.add(rows).map_err(|err| err.kind());
        (outcome, writer.rows())
    };
    assert_eq!(check(&schema, Codec::Deflate), (Err(Kind::Bug), 0));
    assert_eq!(check(&by_day(), Codec::None), (Err(Kind::Bug), 0));
    assert_eq!(check(&schema, Codec::None), (Ok(()), 1));
}

#[test]
fn two_files_never_share_a_sync_marker() {
    let file = || {
        let writer = FileWriter::new(by_day(), Codec::None, None).unwrap();
        let bytes = writer.finish().unwrap().bytes();
        bytes[bytes.len() - 16..].to_vec()
    };
    assert_ne!(file(), file());
}

#[test]
fn an_array_that_is_a_slice_is_written_as_its_slice() {
    let schema = by_day();
    let whole = times(vec![Some(1), Some(2), None, Some(4)]);
    let mut writer = FileWriter::new(schema.clone(), Codec::None, None).unwrap();
    writer.append(&whole.slice(1, 2)).unwrap();
    assert_eq!(orders(&writer.finish().unwrap(), &schema), [1, 2]);
}

#[test]
fn field_metadata_in_a_batch_does_not_matter() {
    let field = Field::new("order", arrow::datatypes::DataType::Int64, true)
        .with_metadata([("PARQUET:field_id".to_owned(), "9".to_owned())].into());
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
    let mut writer = FileWriter::new(by_day(), Codec::None, None).unwrap();
    writer.append(&batch).unwrap();
}
