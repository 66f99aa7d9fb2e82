//! docs/decode-outcomes.md, line by line.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use data_emitter::{Fault, Fraction, Generator, GeneratorSettings};
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::decode::{DecodeOptions, Decoded, Decoder, RawRecord, Reason, Validate};
use stream_processor::job::Job;

const PIPELINE: &str = include_str!("../sql-jobs/transform_pipeline.sql");

fn small_job(filter: &str) -> Job {
    let text = format!(
        "CREATE TABLE t (
           id STRING NOT NULL, kind STRING, amount DECIMAL(12, 2), size DOUBLE, many BIGINT,
           happened TIMESTAMP_LTZ(3), place BIGINT NOT NULL METADATA FROM 'offset'
         ) WITH ('connector' = 'kafka', 'topic' = 't', 'scan.startup.mode' = 'earliest-offset',
           'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
         INSERT INTO lake.n.rows_of_t SELECT id, kind, amount, size, many, happened, place FROM t {filter}"
    );
    Job::parse(&text).unwrap()
}

fn decode(job: &Job, options: DecodeOptions, payloads: &[Option<&[u8]>]) -> Decoded {
    let records = payloads.iter().zip(0..).map(|(payload, offset)| RawRecord {
        partition: PartitionId::new(1),
        offset: Offset::new(offset),
        timestamp_ms: Some(7),
        payload: *payload,
    });
    Decoder::new(job, options).decode(records)
}

/// What becomes of one payload, whatever is skipped: `None` is a row.
#[track_caller]
fn check_bytes(payload: Option<&[u8]>, expected: Option<Reason>) {
    let shown = payload.map(String::from_utf8_lossy);
    let shown = shown.map(|text| text.chars().take(300).collect::<String>());
    let no_skip = DecodeOptions { raw_skip: false, ..DecodeOptions::default() };
    // Neither the skip nor the filter nor the neighbours may change the outcome.
    for (filter, options) in [
        ("", DecodeOptions::default()),
        ("WHERE kind = 'k'", DecodeOptions::default()),
        ("WHERE kind = 'k'", no_skip),
    ] {
        let good: &[u8] = br#"{"id":"a","kind":"k"}"#;
        let decoded = decode(&small_job(filter), options, &[Some(good), payload, Some(good)]);
        let found = decoded.rejects.first().map(|reject| reject.reason);
        assert_eq!(found, expected, "{shown:?} {filter} {options:?}: {:?}", decoded.rejects);
        assert!(
            decoded.rejects.len() <= 1,
            "{shown:?} spoils its neighbours: {:?}",
            decoded.rejects
        );
        if let Some(reject) = decoded.rejects.first() {
            let place = (reject.partition.get(), reject.offset.get(), reject.timestamp_ms);
            assert_eq!(place, (1, 1, Some(7)), "{shown:?}");
            assert_eq!(reject.payload.as_deref(), payload, "{shown:?}");
            assert!(reject.detail.len() <= 256, "{}", reject.detail);
        }
    }
}

#[track_caller]
fn check(payload: &str, expected: Option<Reason>) {
    check_bytes(Some(payload.as_bytes()), expected);
}

#[track_caller]
fn check_value(field: &str, value: &str, expected: Option<Reason>) {
    check(&format!(r#"{{"id":"a","{field}":{value}}}"#), expected);
    check(&format!(r#"{{ "{field}" : {value} , "id" : "a" }}"#), expected);
}

#[test]
fn a_record_is_a_json_object() {
    check_bytes(None, Some(Reason::Tombstone));
    check("", Some(Reason::Empty));
    check(r#"{"id":"a"}"#, None);
    check(" \r\n\t{ \"id\" : \"a\" } \n", None);
    for text in ["null", "true", "0", "-1.5e3", r#""text""#, "[]", r#"[{"id":"a"}]"#, " null "] {
        check(text, Some(Reason::NotAnObject));
    }
}

#[test]
fn broken_json_is_rejected_wherever_it_breaks() {
    for text in [
        " ",
        "{",
        r#"{"id":"a""#,
        r#"{"id":"a","#,
        r#"{"id":"a"}}"#,
        r#"{"id":"a"}{"id":"b"}"#,
        r#"{"id":"a",}"#,
        r#"{"id":"a" "kind":"k"}"#,
        r#"{"id" "a"}"#,
        r#"{id:"a"}"#,
        "{'id':'a'}",
        r#"{"id":"a"} x"#,
        "{\"id\":\"a\0\"}",
        "{\"id\":\"a\nb\"}",
        r#"{"id":"\x"}"#,
        r#"{"id":"\u12"}"#,
        r#"{"id":"a","x":"\uZZZZ"}"#,
        r#"{"id":"a","x":01}"#,
        r#"{"id":"a","x":1.}"#,
        r#"{"id":"a","x":.5}"#,
        r#"{"id":"a","x":1e}"#,
        r#"{"id":"a","x":+1}"#,
        r#"{"id":"a","x":NaN}"#,
        r#"{"id":"a","x":[1,]}"#,
        r#"{"id":"a","x":{"y"}}"#,
        r#"{"id":"a","x":[}"#,
        r#"{"id":"a","x":nul}"#,
        r#"{"id":"a"/**/}"#,
        "\u{feff}{\"id\":\"a\"}",
        r#"{"id":"a","x":"#,
        r#"{"id":"a","x":"unclosed}"#,
        "{,}",
        "[1 2]",
        r#"{"id":tru}"#,
        r#"{"many":00,"id":"a"}"#,
        "[}",
        "nul",
        "-",
        "\"",
    ] {
        check(text, Some(Reason::InvalidJson));
    }
}

#[test]
fn bytes_that_are_no_text_are_rejected() {
    for bytes in [
        &b"\xff"[..],
        b"{\"id\":\"\xff\"}",
        b"{\"id\":\"\xc3\"}",
        b"{\"id\":\"\xed\xa0\x80\"}",
        b"{\"id\":\"a\",\"x\":\"\x80\"}",
        b"{\"id\":\"\xc0\xaf\"}",
        b"{\"id\":\"a\"}\xff",
        b"{\xff",
    ] {
        check_bytes(Some(bytes), Some(Reason::InvalidUtf8));
    }
    check("{\"id\":\"é😀\"}", None);
}

#[test]
fn half_a_surrogate_pair_is_no_text_where_text_is_wanted() {
    check(r#"{"id":"\ud83d\ude00"}"#, None);
    for text in [
        r#"{"id":"\ud83d"}"#,
        r#"{"id":"\ude00"}"#,
        r#"{"id":"\ud83d\u0041"}"#,
        r#"{"id":"\ud83dx"}"#,
    ] {
        check(text, Some(Reason::InvalidUtf8));
    }
    check(r#"{"id":"a","x":"\ud83d"}"#, None);
    check(r#"{"id":"a","x":{"\ud83d":"\ud83d"}}"#, None);
    check(r#"{"id":"a","\ud83d":1}"#, Some(Reason::InvalidUtf8));
}

#[test]
fn nesting_ends_at_127_levels() {
    let nested = |levels: usize| {
        format!(r#"{{"id":"a","x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
    };
    check(&nested(127), None);
    check(&nested(128), Some(Reason::NestingTooDeep));
    check(&nested(100_001), Some(Reason::NestingTooDeep));
    check(&"[".repeat(100_000), Some(Reason::NestingTooDeep));
    check(&r#"{"a":"#.repeat(100_000), Some(Reason::NestingTooDeep));
    check(&"[".repeat(127), Some(Reason::InvalidJson));
    // The first fault in the text decides.
    check(&format!("[!{}", "[".repeat(200)), Some(Reason::InvalidJson));
    check(&format!("{}!", "[".repeat(200)), Some(Reason::NestingTooDeep));
}

#[test]
fn a_declared_field_occurs_once() {
    check(r#"{"id":"a","id":"a"}"#, Some(Reason::DuplicateKey));
    check(r#"{"id":"a","kind":"k","i\u0064":"b"}"#, Some(Reason::DuplicateKey));
    check(r#"{"id":null,"id":"a"}"#, Some(Reason::DuplicateKey));
    check(r#"{"id":5,"id":"a"}"#, Some(Reason::DuplicateKey));
    check(r#"{"id":"a","x":1,"x":2}"#, None);
    check(r#"{"id":"a","x":{"id":1,"id":2}}"#, None);
    check(r#"{"id":"a","place":1,"place":2}"#, None);
}

#[test]
fn what_is_declared_not_null_must_be_there() {
    check("{}", Some(Reason::MissingField));
    check(" { } ", Some(Reason::MissingField));
    check(r#"{"kind":"k"}"#, Some(Reason::MissingField));
    check(r#"{"id":null}"#, Some(Reason::MissingField));
    check(r#"{"ID":"a"}"#, Some(Reason::MissingField));
    check(r#"{"x":{"id":"a"}}"#, Some(Reason::MissingField));
    check(r#"{"\u0069d":"a"}"#, None);
    check(r#"{"id":""}"#, None);
    check(r#"{"id":"a","kind":null,"amount":null}"#, None);
}

#[test]
fn a_value_has_its_declared_type() {
    for (field, value) in [
        ("kind", "5"),
        ("kind", "true"),
        ("kind", "[]"),
        ("kind", "{}"),
        ("amount", "\"5\""),
        ("amount", "true"),
        ("amount", "{}"),
        ("size", "\"1.5\""),
        ("size", "false"),
        ("many", "\"1\""),
        ("many", "1.0"),
        ("many", "1e3"),
        ("many", "[1]"),
        ("happened", "1763930467123"),
        ("happened", "null_"),
        ("happened", "{}"),
    ] {
        let expected = if value == "null_" { Reason::InvalidJson } else { Reason::WrongType };
        check_value(field, value, Some(expected));
    }
    // What is not declared may be anything.
    check(r#"{"id":"a","x":5}"#, None);
    check(r#"{"id":"a","x":1e400,"y":123456789012345678901234567890}"#, None);
}

#[test]
fn a_number_fits_its_declared_type() {
    for (value, expected) in [
        ("9999999999.99", None),
        ("9999999999.994", None),
        ("-9999999999.99", None),
        ("0.0000000000000000000000000000000000000000000000001", None),
        ("1e-400", None),
        ("9999999999.995", Some(Reason::OutOfRange)),
        ("10000000000", Some(Reason::OutOfRange)),
        ("1e10", Some(Reason::OutOfRange)),
        ("1e400", Some(Reason::OutOfRange)),
        ("-1e99999999999999999999", Some(Reason::OutOfRange)),
    ] {
        check_value("amount", value, expected);
    }
    for (value, expected) in [
        ("1e308", None),
        ("1e-400", None),
        ("-0.0", None),
        ("123456789012345678901234567890", None),
        ("1e309", Some(Reason::OutOfRange)),
        ("-1e400", Some(Reason::OutOfRange)),
    ] {
        check_value("size", value, expected);
    }
    check_value("size", &"9".repeat(308), None);
    check_value("size", &"9".repeat(310), Some(Reason::OutOfRange));
    for (value, expected) in [
        ("9223372036854775807", None),
        ("-9223372036854775808", None),
        ("-0", None),
        ("9223372036854775808", Some(Reason::OutOfRange)),
        ("123456789012345678901234567890", Some(Reason::OutOfRange)),
    ] {
        check_value("many", value, expected);
    }
}

#[test]
fn a_timestamp_has_the_declared_form() {
    check_value("happened", r#""2025-11-23T20:41:07.123Z""#, None);
    check_value("happened", r#""2025-11-23T20:41:07+01:00""#, None);
    check_value("happened", r#""\u0032025-11-23T20:41:07Z""#, None);
    for value in [
        r#""""#,
        r#""2025-11-23 20:41:07Z""#,
        r#""2025-11-23T20:41:07""#,
        r#""2025-02-30T00:00:00Z""#,
        r#""yesterday""#,
        r#""2025-11-23T20:41:60Z""#,
        r#""\ud83d""#,
    ] {
        check_value("happened", value, Some(Reason::BadTimestamp));
    }
}

#[test]
fn of_several_faults_the_first_step_names_the_reason() {
    // Bytes, then grammar, then object, then duplicates, then columns in the order of their declaration.
    check_bytes(Some(b"{\"id\":\"a\",,\"kind\":\"\xff\"}"), Some(Reason::InvalidUtf8));
    check(r#"{"id":5,"kind":6"#, Some(Reason::InvalidJson));
    check(r#"{"amount":"x","amount":1}"#, Some(Reason::DuplicateKey));
    check(r#"{"amount":"x"}"#, Some(Reason::MissingField));
    check(r#"{"amount":1e20,"kind":5,"id":"a"}"#, Some(Reason::WrongType));
    check(r#"{"amount":1e20,"happened":"x","id":"a"}"#, Some(Reason::OutOfRange));
}

#[test]
fn values_arrive_exactly() {
    let payload = br#"{"happened":"2025-11-23T21:41:07.1239+01:00","id":"a\"\u00e9\ud83d\ude00/\/","amount":-0.005}"#;
    let decoded = decode(&small_job(""), DecodeOptions::default(), &[Some(payload)]);
    let batch = &decoded.batch;
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "a\"é😀//");
    assert!(batch.column(1).is_null(0), "kind is absent");
    assert_eq!(batch.column(2).as_primitive::<Decimal128Type>().value(0), -1);
    let happened = batch.column(5).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((happened.value(0), happened.timezone()), (1_763_930_467_123_000, Some("+00:00")));
    assert_eq!(decoded.places.iter().collect::<Vec<_>>(), [(PartitionId::new(1), Offset::new(0))]);
}

#[test]
fn a_wide_declaration_is_read_as_well() {
    let columns: Vec<String> = (0..300).map(|index| format!("c{index} BIGINT NOT NULL")).collect();
    let names: Vec<String> = (0..300).map(|index| format!("c{index}")).collect();
    let job = Job::parse(&format!(
        "CREATE TABLE t ({}) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json',
           'scan.startup.mode' = 'earliest-offset');
         INSERT INTO a.b.c SELECT {} FROM t",
        columns.join(", "),
        names.join(", ")
    ))
    .unwrap();
    let fields: Vec<String> = names.iter().map(|name| format!("\"{name}\":7")).collect();
    let whole = format!("{{{}}}", fields.join(","));
    let torn = format!("{{{}}}", fields.iter().skip(1).cloned().collect::<Vec<_>>().join(","));
    let payloads = [Some(whole.as_bytes()), Some(torn.as_bytes())];
    let decoded = decode(&job, DecodeOptions::default(), &payloads);
    assert_eq!(decoded.batch.num_rows(), 1);
    assert_eq!(decoded.rejects.first().unwrap().detail, "field `c0` is absent");
}

#[test]
fn the_skip_never_hides_a_purchase_spelled_with_escapes() {
    let job = small_job("WHERE kind IN ('purchase', 'refund')");
    let payloads: [Option<&[u8]>; 6] = [
        Some(br#"{"id":"a","kind":"purchase"}"#),
        Some(br#"{"id":"b","kind":"\u0070urchase"}"#),
        Some(br#"{"id":"c","kind":"view"}"#),
        Some(br#"{"id":"d","k\u0069nd":"refund"}"#),
        Some(br#"{"id":"purchase","kind":"view"}"#),
        Some(br#"{"id":"f"}"#),
    ];
    for validate in [Validate::Full, Validate::Off] {
        let options = DecodeOptions { validate, ..DecodeOptions::default() };
        let decoded = decode(&job, options, &payloads);
        let ids: Vec<_> = decoded.batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(ids, ["a", "b", "d"], "{validate:?}");
        assert_eq!((decoded.read, decoded.rejects.len()), (6, 0), "{validate:?}");
    }
}

#[test]
fn every_fault_of_the_emitter_is_rejected_and_nothing_else() {
    let job = Job::parse(PIPELINE).unwrap();
    let malformed = Fraction::new(0.2).unwrap();
    let settings = GeneratorSettings { malformed, ..GeneratorSettings::new(4, 1_763_900_000_000) };
    let emissions: Vec<_> = Generator::new(&settings).take(20_000).collect();
    let payloads: Vec<_> = emissions.iter().map(|emission| emission.payload.as_deref()).collect();
    let decoded = decode(&job, DecodeOptions::default(), &payloads);
    let mut rejects = decoded.rejects.iter();
    for (emission, offset) in emissions.iter().zip(0..) {
        let Some(fault) = emission.fault else { continue };
        let reject = rejects.next().unwrap();
        assert_eq!(reject.offset.get(), offset, "{fault:?} was taken, or a good record was not");
        let expected: &[Reason] = match fault {
            Fault::Truncated => &[Reason::InvalidJson, Reason::InvalidUtf8],
            Fault::WrongType => &[Reason::WrongType],
            Fault::MissingField => &[Reason::MissingField],
            Fault::InvalidUtf8 => &[Reason::InvalidUtf8],
            Fault::HugeNumber => &[Reason::OutOfRange],
            Fault::DuplicateKey => &[Reason::DuplicateKey],
            Fault::DeepNesting => &[Reason::NestingTooDeep],
            Fault::Empty => &[Reason::Empty],
            Fault::Tombstone => &[Reason::Tombstone],
            Fault::JsonNull => &[Reason::NotAnObject],
        };
        assert!(expected.contains(&reject.reason), "{fault:?}: {reject:?}");
    }
    assert_eq!(rejects.next(), None);
}
