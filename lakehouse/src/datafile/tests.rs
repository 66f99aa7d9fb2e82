#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp, reason = "tests")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use iceberg::spec::{DataFile, Datum, PrimitiveLiteral};
use proptest::prelude::*;

use super::*;
use crate::avro::{Codec, FileWriter};
use crate::spec::{Column, ColumnType, TableSpec, UTC};

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 12, scale: 2 };

/// The manifest entry of a file of one column, written in two batches.
fn entry(column_type: ColumnType, array: &ArrayRef) -> DataFile {
    let column = Column { name: "x".into(), column_type, nullable: true };
    let spec = TableSpec {
        namespace: "n".into(),
        name: "t".into(),
        columns: vec![column],
        partition_day: None,
    };
    let schema = Arc::new(TableSchema::from_spec(&spec).unwrap());
    let mut writer = FileWriter::new(schema.clone(), Codec::None, None).unwrap();
    let half = array.len() / 2;
    for part in [array.slice(0, half), array.slice(half, array.len() - half)] {
        writer.append(&RecordBatch::try_from_iter([("x", part)]).unwrap()).unwrap();
    }
    writer.finish().unwrap().to_data_file("file:///x.avro", &schema, 0).unwrap()
}

fn bounds(column_type: ColumnType, array: impl Array + 'static) -> (Option<Datum>, Option<Datum>) {
    let entry = entry(column_type, &(Arc::new(array) as ArrayRef));
    (entry.lower_bounds().get(&1).cloned(), entry.upper_bounds().get(&1).cloned())
}

#[track_caller]
fn check(column_type: ColumnType, array: impl Array + 'static, low: Datum, high: Datum) {
    let found = bounds(column_type, array);
    assert_eq!(found, (Some(low.clone()), Some(high.clone())));
    // A manifest stores bytes; what comes back must be the same.
    for bound in [low, high] {
        let stored = bound.to_bytes().unwrap();
        let back = Datum::try_from_bytes(&stored, bound.data_type().clone()).unwrap();
        assert_eq!(back, bound);
    }
}

fn decimals(values: Vec<Option<i128>>) -> Decimal128Array {
    Decimal128Array::from(values).with_precision_and_scale(12, 2).unwrap()
}

fn cents(unscaled: i128) -> Datum {
    let decimal = iceberg::spec::PrimitiveType::Decimal { precision: 12, scale: 2 };
    Datum::try_from_bytes(&unscaled.to_be_bytes(), decimal).unwrap()
}

#[test]
fn bounds_are_the_least_and_the_greatest_value() {
    check(
        ColumnType::Int,
        Int32Array::from(vec![Some(3), None, Some(-7), Some(5)]),
        Datum::int(-7),
        Datum::int(5),
    );
    check(
        ColumnType::Long,
        Int64Array::from(vec![i64::MAX, i64::MIN]),
        Datum::long(i64::MIN),
        Datum::long(i64::MAX),
    );
    check(
        ColumnType::Boolean,
        BooleanArray::from(vec![Some(true), None, Some(false)]),
        Datum::bool(false),
        Datum::bool(true),
    );
    check(ColumnType::Date, Date32Array::from(vec![9, -2]), Datum::date(-2), Datum::date(9));
    check(
        ColumnType::Timestamptz,
        TimestampMicrosecondArray::from(vec![8, -1]).with_timezone(UTC),
        Datum::timestamptz_micros(-1),
        Datum::timestamptz_micros(8),
    );
    check(
        ColumnType::Timestamp,
        TimestampMicrosecondArray::from(vec![8, -1]),
        Datum::timestamp_micros(-1),
        Datum::timestamp_micros(8),
    );
    check(DECIMAL, decimals(vec![Some(-501), None, Some(77)]), cents(-501), cents(77));
    check(
        DECIMAL,
        decimals(vec![Some(-999_999_999_999), Some(999_999_999_999)]),
        cents(-999_999_999_999),
        cents(999_999_999_999),
    );
}

#[test]
fn a_column_of_nulls_has_counts_and_no_bounds() {
    let entry = entry(ColumnType::Int, &(Arc::new(Int32Array::from(vec![None; 3])) as ArrayRef));
    assert_eq!(entry.value_counts()[&1], 3);
    assert_eq!(entry.null_value_counts()[&1], 3);
    assert!(entry.nan_value_counts().is_empty(), "an int is never NaN");
    assert!(entry.lower_bounds().is_empty() && entry.upper_bounds().is_empty());
}

#[test]
fn nan_is_counted_and_left_out_of_the_bounds() {
    let values = vec![Some(f64::NAN), Some(2.5), None, Some(-1.5), Some(f64::NAN)];
    let entry = entry(ColumnType::Double, &(Arc::new(Float64Array::from(values)) as ArrayRef));
    assert_eq!(entry.nan_value_counts()[&1], 2);
    assert_eq!(entry.null_value_counts()[&1], 1);
    assert_eq!(entry.lower_bounds()[&1], Datum::double(-1.5));
    assert_eq!(entry.upper_bounds()[&1], Datum::double(2.5));
    assert_eq!(bounds(ColumnType::Float, Float32Array::from(vec![f32::NAN])), (None, None));
}

#[test]
fn infinities_are_bounds() {
    check(
        ColumnType::Float,
        Float32Array::from(vec![f32::INFINITY, f32::NEG_INFINITY]),
        Datum::float(f32::NEG_INFINITY),
        Datum::float(f32::INFINITY),
    );
    check(
        ColumnType::Double,
        Float64Array::from(vec![f64::INFINITY; 2]),
        Datum::double(f64::INFINITY),
        Datum::double(f64::INFINITY),
    );
}

/// `Datum`'s equality takes the two zeroes for one.
fn signs(bounds: (Option<Datum>, Option<Datum>)) -> (bool, bool) {
    let negative = |datum: Option<Datum>| match datum.unwrap().literal() {
        PrimitiveLiteral::Float(value) => value.0.is_sign_negative(),
        PrimitiveLiteral::Double(value) => value.0.is_sign_negative(),
        other => panic!("{other:?} is no float"),
    };
    (negative(bounds.0), negative(bounds.1))
}

#[test]
fn zero_bounds_hold_for_readers_that_tell_the_zeroes_apart() {
    for zero in [0.0, -0.0] {
        let found = bounds(ColumnType::Double, Float64Array::from(vec![zero]));
        assert_eq!(signs(found), (true, false));
    }
    for zero in [0.0, -0.0] {
        let found = bounds(ColumnType::Float, Float32Array::from(vec![zero, 0.0]));
        assert_eq!(signs(found), (true, false));
    }
}

#[track_caller]
fn check_text(values: &[&str], low: &str, high: Option<&str>) {
    let found = bounds(ColumnType::String, StringArray::from(values.to_vec()));
    assert_eq!(found, (Some(Datum::string(low)), high.map(Datum::string)));
}

#[test]
fn short_text_is_its_own_bound() {
    check_text(&["b", "", "abc"], "", Some("b"));
    check_text(&["exactly sixteen."], "exactly sixteen.", Some("exactly sixteen."));
    check_text(&["a", "a\0"], "a", Some("a\0"));
    check_text(&["a\0", "a"], "a", Some("a\0"));
}

#[test]
fn long_text_is_cut_and_its_upper_bound_raised() {
    check_text(&["exactly sixteen.+"], "exactly sixteen.", Some("exactly sixteen/"));
    check_text(
        &["0123456789abcdef", "0123456789abcdefg"],
        "0123456789abcdef",
        Some("0123456789abcdeg"),
    );
    // Sixteen characters, not bytes.
    let long = "äöüäöüäöüäöüäöüäöü";
    check_text(&[long], "äöüäöüäöüäöüäöüä", Some("äöüäöüäöüäöüäöüå"));
}

#[test]
fn the_last_character_that_can_be_raised_is_raised() {
    let last = char::MAX;
    check_text(
        &[&format!("a{}", last.to_string().repeat(16))],
        &format!("a{}", last.to_string().repeat(15)),
        Some("b"),
    );
    // Nothing short is greater: no bound is better than a wrong one.
    check_text(&[&last.to_string().repeat(17)], &last.to_string().repeat(16), None);
    // U+D7FF is followed by surrogates, which are not characters.
    let edge = "\u{D7FF}".repeat(17);
    let raised = format!("{}\u{E000}", "\u{D7FF}".repeat(15));
    check_text(&[&edge], &"\u{D7FF}".repeat(16), Some(&raised));
}

#[test]
fn binary_is_cut_by_bytes() {
    let check = |value: &[u8], low: &[u8], high: Option<&[u8]>| {
        let found = bounds(ColumnType::Binary, BinaryArray::from(vec![value]));
        let datum = |bytes: &[u8]| Datum::binary(bytes.iter().copied());
        assert_eq!(found, (Some(datum(low)), high.map(datum)));
    };
    check(&[1, 255], &[1, 255], Some(&[1, 255]));
    check(&[7; 17], &[7; 16], Some(&[[7; 15].as_slice(), &[8]].concat()));
    let ones = [[3].as_slice(), &[255; 16]].concat();
    check(&ones, &ones[..16], Some(&[4]));
    check(&[255; 17], &[255; 16], None);
}

#[test]
fn the_entry_says_where_and_what_the_file_is() {
    let entry = entry(ColumnType::Int, &(Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef));
    assert_eq!(entry.file_path(), "file:///x.avro");
    assert_eq!(entry.record_count(), 2);
    assert_eq!(entry.file_format(), DataFileFormat::Avro);
    assert_eq!(entry.partition(), &Struct::empty());
    assert!(entry.column_sizes().is_empty(), "a row format has no column sizes");
}

#[test]
fn a_column_the_batch_lacks_counts_as_null() {
    let column =
        |name: &str| Column { name: name.into(), column_type: ColumnType::Int, nullable: true };
    let spec = TableSpec {
        namespace: "n".into(),
        name: "t".into(),
        columns: vec![column("a"), column("b")],
        partition_day: None,
    };
    let schema = Arc::new(TableSchema::from_spec(&spec).unwrap());
    let mut writer = FileWriter::new(schema.clone(), Codec::None, None).unwrap();
    let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    writer.append(&RecordBatch::try_from_iter([("a", a)]).unwrap()).unwrap();
    let entry = writer.finish().unwrap().to_data_file("x", &schema, 0).unwrap();
    assert_eq!(entry.value_counts()[&2], 2);
    assert_eq!(entry.null_value_counts()[&2], 2);
    assert!(!entry.lower_bounds().contains_key(&2));
}

// ---- any values

fn string_of(datum: &Datum) -> String {
    let PrimitiveLiteral::String(text) = datum.literal() else { panic!("{datum} is no text") };
    text.clone()
}

fn bytes_of(datum: &Datum) -> Vec<u8> {
    let PrimitiveLiteral::Binary(bytes) = datum.literal() else { panic!("{datum} is no binary") };
    bytes.clone()
}

fn head(text: &str) -> String {
    text.chars().take(16).collect()
}

proptest! {
    #[test]
    fn text_bounds_hold_and_are_tight(
        values in prop::collection::vec(prop::option::of("[\u{0}ab\u{e9}\u{d7ff}\u{10ffff}]{0,20}"), 1..40)
    ) {
        let (low, high) = bounds(ColumnType::String, StringArray::from(values.clone()));
        let (least, greatest) = (values.iter().flatten().min(), values.iter().flatten().max());
        prop_assert_eq!(low.as_ref().map(string_of), least.map(|text| head(text)));
        if let (Some(high), Some(greatest)) = (high.as_ref().map(string_of), greatest) {
            prop_assert!(*greatest <= high);
            // Nothing between the cut value and the bound is as short as the bound allows.
            prop_assert!(head(greatest) <= high && high.chars().count() <= 16);
            prop_assert!(greatest.chars().count() > 16 || *greatest == high);
        } else if let Some(greatest) = greatest {
            prop_assert_eq!(head(greatest), "\u{10ffff}".repeat(16));
        }
    }

    #[test]
    fn binary_bounds_hold_and_are_tight(
        values in prop::collection::vec(
            prop::option::of(prop::collection::vec(prop::sample::select(vec![0_u8, 1, 127, 128, 255]), 0..20)),
            1..40,
        )
    ) {
        let array = values.iter().map(Option::as_deref).collect::<BinaryArray>();
        let (low, high) = bounds(ColumnType::Binary, array);
        let (least, greatest) = (values.iter().flatten().min(), values.iter().flatten().max());
        prop_assert_eq!(low.as_ref().map(bytes_of), least.map(|bytes| bytes[..bytes.len().min(16)].to_vec()));
        if let (Some(high), Some(greatest)) = (high.as_ref().map(bytes_of), greatest) {
            prop_assert!(*greatest <= high);
            prop_assert!(greatest.len() > 16 || *greatest == high);
        } else if let Some(greatest) = greatest {
            prop_assert_eq!(&greatest[..16], [255_u8; 16].as_slice());
        }
    }

    #[test]
    fn double_bounds_hold(values in prop::collection::vec(prop::option::of(prop::num::f64::ANY), 1..40)) {
        let entry = entry(ColumnType::Double, &(Arc::new(Float64Array::from(values.clone())) as ArrayRef));
        let nans = values.iter().flatten().filter(|value| value.is_nan()).count();
        prop_assert_eq!(entry.nan_value_counts()[&1], nans as u64);
        let real: Vec<f64> = values.into_iter().flatten().filter(|value| !value.is_nan()).collect();
        let least = real.iter().copied().reduce(f64::min).map(Datum::double);
        let greatest = real.iter().copied().reduce(f64::max).map(Datum::double);
        prop_assert_eq!(entry.lower_bounds().get(&1), least.as_ref());
        prop_assert_eq!(entry.upper_bounds().get(&1), greatest.as_ref());
    }

    #[test]
    fn decimal_bounds_hold(values in prop::collection::vec(prop::option::of(-999_999_999_999_i128..1_000_000_000_000), 1..40)) {
        let found = bounds(DECIMAL, decimals(values.clone()));
        prop_assert_eq!(found.0, values.iter().flatten().min().map(|value| cents(*value)));
        prop_assert_eq!(found.1, values.iter().flatten().max().map(|value| cents(*value)));
    }
}
