//! What a job file becomes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lakehouse::spec::ColumnType;
use stream_processor::job::{Job, Origin, Startup, TimestampStyle};

const PIPELINE: &str = include_str!("../sql-jobs/transform_pipeline.sql");

/// A table as one line for each column.
fn described(table: &lakehouse::spec::TableSpec) -> Vec<String> {
    let columns = table.columns.iter().map(|column| {
        let null = if column.nullable { "" } else { " required" };
        format!("{} {}{null}", column.name, column.column_type)
    });
    columns.collect()
}

#[test]
fn the_pipeline_reads_the_topic_as_it_is_declared() {
    let source = Job::parse(PIPELINE).unwrap().source;
    assert_eq!(source.name, "user_activity");
    assert_eq!(source.topic, "user-activity-stream");
    assert_eq!(source.brokers.as_deref(), Some("streaming-server:19092"));
    assert_eq!(source.startup, Startup::Earliest);
    assert_eq!(source.timestamps, TimestampStyle::Iso8601);
    let json: Vec<_> = source.columns.iter().filter(|c| c.origin == Origin::Json).collect();
    let event: Vec<_> = json.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(event, activity_event_fields(), "the declaration holds the wire contract's fields");
    let required: Vec<_> = json.iter().filter(|column| !column.nullable).collect();
    assert_eq!(required.len(), 7);
    let offset = source.columns.last().unwrap();
    assert_eq!((offset.origin, offset.column_type), (Origin::Offset, ColumnType::Long));
}

fn activity_event_fields() -> Vec<String> {
    let mut generator =
        data_emitter::Generator::new(&data_emitter::GeneratorSettings::new(1, 1_763_900_000_000));
    let payload = generator.next().unwrap().payload.unwrap();
    let text = String::from_utf8(payload).unwrap();
    let keys = text.split("\":").filter_map(|before| before.rsplit_once('"'));
    let mut keys: Vec<_> = keys.map(|(_, key)| key.to_owned()).collect();
    keys.retain(|key| key.contains('_'));
    keys.truncate(11);
    keys
}

#[test]
fn the_pipeline_writes_the_table_of_the_design() {
    let job = Job::parse(PIPELINE).unwrap();
    let [sink] = job.sinks.as_slice() else { panic!("{} sinks", job.sinks.len()) };
    assert_eq!(sink.catalog, "iceberg_data_lake");
    assert_eq!(sink.table.namespace, "marketing_events");
    assert_eq!(sink.table.name, "processed_conversions");
    assert_eq!(sink.table.partition_day.as_deref(), Some("event_ts_utc"));
    assert_eq!(
        described(&sink.table),
        [
            "unique_event_id string required",
            "customer_id string required",
            "marketing_action string required",
            "source_url string required",
            "session_guid string required",
            "platform string required",
            "event_ts_utc timestamptz required",
            "customer_latitude double",
            "customer_longitude double",
            "product_id string",
            "revenue_usd decimal(12, 2)",
            "kafka_partition int required",
            "kafka_offset long required",
        ]
    );
    assert!(sink.sql.starts_with("INSERT INTO iceberg_data_lake") && sink.sql.ends_with("> 50"));
}

#[test]
fn rejected_events_lie_beside_the_first_sink() {
    let rejects = Job::parse(PIPELINE).unwrap().rejects_spec();
    assert_eq!(
        (rejects.namespace.as_str(), rejects.name.as_str()),
        ("marketing_events", "rejected_events")
    );
    assert_eq!(rejects.partition_day.as_deref(), Some("record_time"));
    assert_eq!(
        described(&rejects),
        [
            "topic string required",
            "kafka_partition int required",
            "kafka_offset long required",
            "record_time timestamptz",
            "reason string required",
            "detail string required",
            "payload binary",
        ]
    );
}

/// The columns of `SELECT …` over a source that has one column of every type.
#[track_caller]
fn check(select: &str, expected: &[&str]) {
    let text = format!(
        "CREATE TABLE t (
           i INT, l BIGINT NOT NULL, f FLOAT, d DOUBLE, n DECIMAL(5, 2), s STRING NOT NULL, b BOOLEAN,
           day_of DATE, z TIMESTAMP_LTZ(3), local_at TIMESTAMP(3), `offset` BIGINT METADATA
         ) WITH ('connector' = 'kafka', 'topic' = 't', 'scan.startup.mode' = 'latest-offset',
           'value.format' = 'json');
         INSERT INTO a.b.c {select}"
    );
    match Job::parse(&text) {
        Ok(job) => assert_eq!(described(&job.sinks.first().unwrap().table), expected, "{select}"),
        Err(err) => panic!("{select}: {err}"),
    }
}

#[test]
fn columns_keep_their_names_and_types() {
    check(
        "SELECT i, l, f, d, n, s, b, day_of, z, local_at, `offset` FROM t",
        &[
            "i int",
            "l long required",
            "f float",
            "d double",
            "n decimal(5, 2)",
            "s string required",
            "b boolean",
            "day_of date",
            "z timestamptz",
            "local_at timestamp",
            "offset long",
        ],
    );
    check("SELECT x.s AS a, x.l c FROM t x", &["a string required", "c long required"]);
    check("SELECT t.s FROM t", &["s string required"]);
    check("SELECT s AS `select` FROM t AS t2 WHERE t2.b", &["select string required"]);
}

#[test]
fn types_are_derived_as_flink_derives_them() {
    check(
        "SELECT 1 AS a, 3000000000 AS b, 1.50 AS c, 1e0 AS d, 'x' AS e, TRUE AS f FROM t",
        &[
            "a int required",
            "b long required",
            "c decimal(3, 2) required",
            "d double required",
            "e string required",
            "f boolean required",
        ],
    );
    check(
        "SELECT i + 1 AS a, i * l AS b, l / 2 AS c, n + 1 AS d, n * n AS e, n - 0.125 AS f FROM t",
        &[
            "a int",
            "b long",
            "c long required",
            "d decimal(13, 2)",
            "e decimal(11, 4)",
            "f decimal(7, 3)",
        ],
    );
    check(
        "SELECT CAST(i AS BIGINT) AS a, CAST(n AS DECIMAL(10, 4)) AS b, TRY_CAST(l AS DECIMAL(5, 0)) AS c FROM t",
        &["a long", "b decimal(10, 4)", "c decimal(5, 0)"],
    );
    check(
        "SELECT CAST(NULL AS STRING) AS a, CAST(z AS DATE) AS b, CAST(n AS STRING) AS c FROM t",
        &["a string", "b date", "c string"],
    );
    check(
        "SELECT CASE WHEN b THEN n ELSE 0 END AS a, CASE s WHEN 'x' THEN 1 END AS c FROM t",
        &["a decimal(12, 2)", "c int"],
    );
    check(
        "SELECT COALESCE(n, 0) AS a, COALESCE(i, l) AS c, NULLIF(s, '') AS d, IF(b, 'y', 'n') AS e FROM t",
        &["a decimal(12, 2) required", "c long required", "d string", "e string required"],
    );
    check(
        "SELECT UPPER(s) AS a, CHAR_LENGTH(s) AS b2, s || '!' AS c, SUBSTRING(s FROM 2 FOR 3) AS d FROM t",
        &["a string required", "b2 int required", "c string required", "d string required"],
    );
    check(
        "SELECT EXTRACT(YEAR FROM z) AS a, HOUR(local_at) AS b2, DATE_FORMAT(z, 'yyyy-MM-dd') AS c FROM t",
        &["a long", "b2 long", "c string"],
    );
    check(
        "SELECT s = 'x' AS a, n > 50 AS b2, n IS NULL AS c, b IS NOT TRUE AS d, i IN (1, 2) AS e FROM t",
        &[
            "a boolean required",
            "b2 boolean",
            "c boolean required",
            "d boolean required",
            "e boolean",
        ],
    );
}

#[test]
fn a_remainder_has_the_type_of_the_divisor() {
    check(
        "SELECT l % i AS a, i % l AS c, MOD(l, 10) AS d FROM t",
        &["a int", "c long", "d int required"],
    );
}

#[test]
fn several_inserts_feed_several_tables() {
    let (source, insert) = PIPELINE.split_once("INSERT INTO").unwrap();
    let other = "INSERT INTO iceberg_data_lake.marketing_events.carts SELECT customer_id FROM user_activity";
    for text in [
        format!("{source} INSERT INTO {insert} {other};"),
        format!("{source} EXECUTE STATEMENT SET BEGIN INSERT INTO {insert} {other}; END;"),
    ] {
        let job = Job::parse(&text).unwrap();
        let names: Vec<_> = job.sinks.iter().map(|sink| sink.table.name.as_str()).collect();
        assert_eq!(names, ["processed_conversions", "carts"]);
        assert_eq!(job.sinks.last().unwrap().table.partition_day, None);
    }
}
