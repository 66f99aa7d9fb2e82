//! What every operator and function of the subset means, value by value.
//!
//! The expected values are Flink's: they follow from its documentation and its rules of types.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use arrow::util::display::array_value_to_string;
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::decode::{DecodeOptions, Decoder, RawRecord};
use stream_processor::job::Job;
use stream_processor::transform::Transform;

const RECORD: &str = r#"{"s":" Straße ","e":"","i":-7,"l":9223372036854775807,"d":-0.0,"n":12.35,
  "b":true,"z":"2025-11-23T20:41:07.123Z","day_of":"2024-02-29","local_at":"2025-01-31T23:59:59"}"#;

/// The value of an expression over one record; `null` for NULL.
#[track_caller]
fn check(expression: &str, expected: &str) {
    let text = format!(
        "CREATE TABLE t (
           s STRING NOT NULL, e STRING, nothing STRING, i INT, l BIGINT, f FLOAT, d DOUBLE,
           n DECIMAL(5, 2), no_number DECIMAL(5, 2), b BOOLEAN, unknown_b BOOLEAN,
           z TIMESTAMP_LTZ(3), day_of DATE, local_at TIMESTAMP(3)
         ) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json',
           'scan.startup.mode' = 'earliest-offset', 'json.timestamp-format.standard' = 'ISO-8601');
         INSERT INTO a.b.c SELECT {expression} AS x FROM t"
    );
    let job = Job::parse(&text).unwrap_or_else(|err| panic!("{expression}: {err}"));
    let record = RawRecord {
        partition: PartitionId::new(0),
        offset: Offset::new(0),
        timestamp_ms: None,
        payload: Some(RECORD.as_bytes()),
    };
    let decoded = Decoder::new(&job, DecodeOptions::default()).decode([record]);
    let transformed = Transform::new(&job).unwrap().apply(&decoded);
    let found = if let Some(reject) = transformed.rejects.first() {
        format!("{}: {}", reject.reason, reject.detail)
    } else {
        let batch = &transformed.per_sink.first().unwrap().batch;
        let column = batch.column(0);
        assert!(column.is_null(0) <= batch.schema().field(0).is_nullable());
        if column.is_null(0) {
            "null".to_owned()
        } else {
            array_value_to_string(column, 0).unwrap()
        }
    };
    assert_eq!(found, expected, "{expression}");
}

#[test]
fn comparisons() {
    check("i = -7", "true");
    check("i <> -7", "false");
    check("n > 12.349", "true");
    check("n = 12.35", "true");
    check("n = 12.350", "true");
    check("n < 12", "false");
    check("12 < n", "true");
    check("l > 9223372036854775806", "true");
    check("l = i", "false");
    check("l > n", "true");
    check("d = 0", "true");
    check("d < 0.0", "false");
    check("d >= 0", "true");
    check("n > 12.3e0", "true");
    check("s = ' Straße '", "true");
    check("s < 'a'", "true");
    check("nothing = 'x'", "null");
    check("no_number > 50", "null");
    check("nothing IS NULL", "true");
    check("s IS NOT NULL", "true");
    check("nothing IS DISTINCT FROM s", "true");
    check("nothing IS NOT DISTINCT FROM NULL", "true");
    check("z > CAST(TIMESTAMP '2025-11-23 20:41:07' AS TIMESTAMP_LTZ(3))", "true");
    check("day_of = DATE '2024-02-29'", "true");
    check("local_at < TIMESTAMP '2025-02-01 00:00:00'", "true");
    check("b = TRUE", "true");
}

#[test]
fn logic_with_three_values() {
    check("unknown_b AND FALSE", "false");
    check("unknown_b AND TRUE", "null");
    check("unknown_b OR TRUE", "true");
    check("NOT unknown_b", "null");
    check("unknown_b IS TRUE", "false");
    check("unknown_b IS NOT TRUE", "true");
    check("unknown_b IS UNKNOWN", "true");
    check("b IS FALSE", "false");
    check("i IN (1, -7)", "true");
    check("i NOT IN (1, -7)", "false");
    check("n IN (1, 12.35)", "true");
    check("d IN (0, 1)", "true");
    check("nothing IN ('a')", "null");
    check("s IN ('a', ' Straße ')", "true");
    check("i BETWEEN -7 AND 0", "true");
    check("i NOT BETWEEN -7 AND 0", "false");
    check("n BETWEEN 12.36 AND 13", "false");
    check("s LIKE '%tra_e%'", "true");
    check("s NOT LIKE '%x%'", "true");
    check("s LIKE 'straße'", "false");
}

#[test]
fn arithmetic_is_flinks() {
    check("i + 1", "-6");
    check("i / 2", "-3");
    check("i % 4", "-3");
    check("MOD(i, 4)", "-3");
    check("l % i", "0");
    check("i % l", "-7");
    check("-i", "7");
    check("ABS(i)", "7");
    check("ABS(n - 20)", "7.65");
    check("2147483647 + 1", "-2147483648");
    check("l + 1", "-9223372036854775808");
    check("n + 1", "13.35");
    check("n * n", "152.5225");
    check("-n", "-12.35");
    check("n - 0.125", "12.225");
    check("d * 2", "-0.0");
    check("i + d", "-7.0");
    check("d / 4", "-0.0");
    check("no_number + 1", "null");
    check("i / (i + 7)", "evaluation: Arrow error: Divide by zero error");
}

#[test]
fn conversions() {
    check("CAST(i AS BIGINT)", "-7");
    check("CAST(i AS DOUBLE)", "-7.0");
    check("CAST(i AS DECIMAL(12, 2))", "-7.00");
    check("CAST(n AS DECIMAL(5, 1))", "12.4");
    check("CAST(-n AS DECIMAL(7, 1))", "-12.4");
    check("CAST(n AS INT)", "12");
    check("CAST(-n AS INT)", "-12");
    check("CAST(n AS DOUBLE)", "12.35");
    check("CAST(n AS STRING)", "12.35");
    check("CAST(i AS STRING)", "-7");
    check("CAST(day_of AS STRING)", "2024-02-29");
    check("TRY_CAST(l AS DECIMAL(5, 0))", "null");
    check("TRY_CAST(n AS DECIMAL(2, 0))", "12");
    check("TRY_CAST(n AS DECIMAL(2, 1))", "null");
    check("CAST(z AS DATE)", "2025-11-23");
    check("CAST(z AS TIMESTAMP(3))", "2025-11-23T20:41:07.123");
    check("CAST(local_at AS TIMESTAMP_LTZ(3))", "2025-01-31T23:59:59Z");
    check("CAST(day_of AS TIMESTAMP_LTZ(3))", "2024-02-29T00:00:00Z");
    check("CAST(NULL AS STRING)", "null");
}

#[test]
fn choices() {
    check("CASE WHEN n > 50 THEN 'high' WHEN n > 10 THEN 'middle' ELSE 'low' END", "middle");
    check("CASE i WHEN 1 THEN 'one' WHEN -7 THEN 'it' END", "it");
    check("CASE i WHEN 1 THEN 'one' END", "null");
    check("CASE WHEN unknown_b THEN 1 ELSE n END", "12.35");
    check("CASE WHEN b THEN 1 ELSE n END", "1.00");
    check("CASE WHEN b THEN NULL ELSE n END", "null");
    check("CASE WHEN i = 0 THEN 0 ELSE 10 / i END", "-1");
    check("COALESCE(no_number, n, 0)", "12.35");
    check("COALESCE(no_number, 0)", "0.00");
    check("COALESCE(nothing, e)", "");
    check("NULLIF(e, '')", "null");
    check("NULLIF(s, '')", " Straße ");
    check("IF(unknown_b, 'yes', 'no')", "no");
}

#[test]
fn texts() {
    check("UPPER(s)", " STRASSE ");
    check("LOWER(s)", " straße ");
    check("TRIM(s)", "Straße");
    check("LTRIM(s)", "Straße ");
    check("RTRIM(s)", " Straße");
    check("TRIM(LEADING ' ' FROM s)", "Straße ");
    check("TRIM(TRAILING 'x' FROM 'abxx')", "ab");
    check("TRIM(BOTH 'ß' FROM 'ßaß')", "a");
    check("TRIM('\t x\t ')", "\t x\t");
    check("CHAR_LENGTH(s)", "8");
    check("SUBSTRING(s FROM 2 FOR 5)", "Straß");
    check("SUBSTRING(s, 6)", "ße ");
    check("SUBSTRING(s, 2, 1) = 'S'", "true");
    check("SUBSTRING(s, 20, 3)", "");
    check("LEFT(s, 3)", " St");
    check("RIGHT(s, 3)", "ße ");
    check("RIGHT(s, 0)", "");
    check("POSITION('ß' IN s)", "6");
    check("POSITION('x' IN s)", "0");
    check("REPLACE(s, 'ß', 'ss')", " Strasse ");
    check("s || '!' || e", " Straße !");
    check("s || nothing", "null");
    check("CONCAT('a', 'b', 'c', 'd')", "abcd");
    check("CONCAT('a', nothing)", "null");
}

#[test]
fn times() {
    check("EXTRACT(YEAR FROM z)", "2025");
    check("EXTRACT(DAY FROM day_of)", "29");
    check("MONTH(z)", "11");
    check("HOUR(z)", "20");
    check("MINUTE(local_at)", "59");
    check("SECOND(z)", "7");
    check("DATE_FORMAT(z, 'yyyy-MM-dd HH:mm:ss.SSS')", "2025-11-23 20:41:07.123");
    check("DATE_FORMAT(local_at, 'yyyy/MM')", "2025/01");
}
