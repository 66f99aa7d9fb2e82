//! What the subset refuses: the place, what is wrong, and the next step.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use stream_processor::job::Job;

const PIPELINE: &str = include_str!("../sql-jobs/transform_pipeline.sql");

/// The pipeline with `from` changed to `to` is refused where `«` stands in `to`, with this message.
#[track_caller]
fn check(from: &str, to: &str, message: &str) {
    assert_eq!(PIPELINE.matches(from).count(), 1, "`{from}` stands in the pipeline once");
    let marked = PIPELINE.replace(from, to);
    let before = marked.split('«').next().unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    let err = Job::parse(&marked.replacen('«', "", 1)).expect_err(to);
    assert_eq!(err.to_string(), format!("line {line}, column {column}: {message}"));
}

/// The same for the WHERE clause.
#[track_caller]
fn check_where(condition: &str, message: &str) {
    check("activity_type = 'purchase' AND transaction_value > 50", condition, message);
}

/// The same for one item of the SELECT list.
#[track_caller]
fn check_item(item: &str, message: &str) {
    check("source_url,\n  session", &format!("{item},\n  session"), message);
}

const SUBSET: &str = "docs/sql.md lists the subset";
const ONE_RECORD: &str = "a job filters and projects one record at a time; do the rest in the query engine, or run the file on Flink";

#[test]
fn names_that_do_not_exist() {
    check_where(
        "«activty_type = 'purchase'",
        "unknown column `activty_type`; did you mean `activity_type`?",
    );
    check_where("«xyzzy > 1", "unknown column `xyzzy`");
    check_where(
        "«other.customer_id = 'a'",
        "unknown table `other`; the source here is called `user_activity`",
    );
    check(
        "FROM user_activity",
        "FROM «user_activty",
        "unknown table `user_activty`; did you mean `user_activity`?",
    );
    check_where(
        "«UPER(customer_id) = 'A'",
        "the function UPER is not supported; did you mean `UPPER`?",
    );
    check(
        "'scan.startup.mode'",
        "«'scan.statup.mode'",
        "unknown option 'scan.statup.mode'; did you mean `scan.startup.mode`?",
    );
    check(
        "FROM 'offset'",
        "FROM «'ofset'",
        "unknown metadata `ofset`; the subset has 'topic', 'partition', 'offset' and 'timestamp'",
    );
}

#[test]
fn types_that_do_not_meet() {
    check_where(
        "transaction_value > «'50'",
        "DECIMAL(12, 2) can't be compared with STRING; write numbers without quotes",
    );
    check_where("activity_type = «5", "STRING can't be compared with INT; CAST one side");
    check_where(
        "event_ts_utc > «'2025-01-01'",
        "TIMESTAMP_LTZ can't be compared with STRING; write CAST(TIMESTAMP '2025-01-31 00:00:00' AS TIMESTAMP_LTZ(3)), or DATE '2025-01-31' for a DATE",
    );
    check_where("«transaction_value", "WHERE takes BOOLEAN, found DECIMAL(12, 2)");
    check_where("«activity_type AND TRUE", "WHERE takes BOOLEAN, found STRING");
    check_where("(TRUE OR «activity_type)", "AND/OR takes BOOLEAN, found STRING");
    check_where("customer_id LIKE «5", "LIKE takes STRING, found INT");
    check_where("«customer_id + 1 > 5", "`+` takes numbers, found STRING");
    check_where("product_id = «NULL", "a comparison with NULL is never true; use IS NULL");
    check_item(
        "COALESCE(product_id, «0) AS x",
        "STRING and INT have no common type; CAST one side",
    );
    check_item("«NULL AS x", "the type of NULL is unknown here; CAST(NULL AS type)");
}

#[test]
fn conversions_on_which_the_engines_differ() {
    check_item(
        "CAST(«kafka_offset AS INT) AS x",
        "CAST from BIGINT to INT is not supported; docs/sql.md lists the conversions on which the engines agree",
    );
    check_item(
        "CAST(«transaction_value AS DECIMAL(5, 2)) AS x",
        "DECIMAL(12, 2) may not fit into DECIMAL(5, 2); TRY_CAST gives NULL for what does not fit",
    );
    check_item(
        "CAST(«customer_id AS INT) AS x",
        "CAST from STRING to INT is not supported; docs/sql.md lists the conversions on which the engines agree",
    );
    check_item(
        "«transaction_value / 3 AS x",
        "dividing decimals is not supported; CAST both to DOUBLE, or divide when querying",
    );
    check_item(
        "customer_latitude / «customer_longitude AS x",
        "a DOUBLE is divided only by a number that is written out; the engines order the NaN of 0/0 differently",
    );
    check_where(
        "«customer_latitude * 2 > 5",
        "a computed DOUBLE can't be compared; compare the column itself; the engines order NaN differently",
    );
    check_item(
        "CAST(«customer_id AS VARCHAR(5)) AS x",
        "the type VARCHAR(5) is not supported; use STRING",
    );
    check_where("customer_id «!= 'x'", "`!=` is not supported; write <>");
    check_where("customer_id LIKE «''", "an empty LIKE pattern is not supported; write = ''");
}

#[test]
fn reserved_words_without_backticks() {
    check_where(
        "«value = 1",
        "`value` is a reserved word; a column with such a name needs backticks",
    );
    check_item(
        "source_url AS «year",
        "`year` is a reserved word; expected a name; a name like this needs backticks",
    );
}

#[test]
fn what_flink_evaluates_all_of() {
    check_item(
        "COALESCE(product_id, CAST(«kafka_partition / kafka_partition AS STRING)) AS x",
        "COALESCE takes nothing that can fail on a row; write CASE",
    );
}

#[test]
fn timestamps_keep_their_digits() {
    check_item(
        "CAST(«event_ts_utc AS TIMESTAMP(0)) AS x",
        "CAST from 3 digits of a second to 0 is not supported; keep the digits",
    );
}

#[test]
fn clauses_beyond_one_record_at_a_time() {
    for clause in [
        "GROUP BY customer_id",
        "ORDER BY kafka_offset",
        "LIMIT 5",
        "HAVING 1 > 0",
        "UNION ALL SELECT 1 FROM t",
    ] {
        let word = clause.split(' ').next().unwrap();
        check(
            "> 50;",
            &format!("> 50 «{clause};"),
            &format!("{word} is not supported; {ONE_RECORD}"),
        );
    }
    check(
        "FROM user_activity",
        "FROM user_activity «JOIN b ON TRUE",
        &format!("JOIN is not supported; {ONE_RECORD}"),
    );
    check(
        "SELECT\n",
        "SELECT «DISTINCT\n",
        "DISTINCT is not supported; events are written as they come; remove duplicates when querying",
    );
    check_item(
        "«COUNT(*) AS x",
        "the function COUNT is not supported; a job looks at one record at a time; aggregate when querying",
    );
    check_item(
        "«ROW_NUMBER() OVER (ORDER BY kafka_offset) AS x",
        "the function ROW_NUMBER is not supported",
    );
    check_item(
        "«CURRENT_TIMESTAMP AS x",
        "the function CURRENT_TIMESTAMP is not supported; a row must follow from its record alone, or a replay would write another one",
    );
    check_where(
        "«customer_id IN (SELECT 1 FROM t)",
        &format!("this expression is not supported; {SUBSET}"),
    );
    check(
        "SELECT\n",
        "SELECT «*,\n",
        "`*` is not supported; name the columns: the table's schema should not change by accident",
    );
}

#[test]
fn a_sink_that_is_no_table_of_its_own() {
    check(
        "iceberg_data_lake.marketing_events.processed",
        "«marketing_events.processed",
        "a sink is named catalog.namespace.table; such as iceberg_data_lake.marketing_events.processed_conversions",
    );
    check(
        "INSERT INTO",
        "INSERT «OVERWRITE",
        "OVERWRITE is not supported; a stream is appended: INSERT INTO",
    );
    check(
        "processed_conversions\n",
        "processed_conversions «(a, b)\n",
        "a column list is not supported; name the columns in the SELECT list; the table has exactly those",
    );
    check_item(
        "TRIM(«customer_id FROM source_url) AS x",
        "TRIM takes off one character that is written out",
    );
    check_item("«source_url || 'x'", "an expression in the SELECT list needs a name; add: AS name");
    check(
        "session_guid,\n  client_platform ",
        "session_guid,\n  «session_guid,\n  client_platform ",
        "column `session_guid` twice; give one another name: … AS name",
    );
    check(
        "> 50;",
        "> 50; INSERT INTO «iceberg_data_lake.marketing_events.processed_conversions SELECT customer_id FROM user_activity;",
        "two INSERTs into `processed_conversions`; a table is a function of the topic: write one SELECT with OR and CASE",
    );
}

#[test]
fn a_source_that_is_read_differently() {
    check(
        "'connector' = 'kafka'",
        "'connector' = «'filesystem'",
        "'connector' can't be 'filesystem'; use 'kafka'",
    );
    check("'format' = 'json'", "'format' = «'avro'", "'format' can't be 'avro'; use 'json'");
    check(
        "'earliest-offset'",
        "«'group-offsets'",
        "'scan.startup.mode' can't be 'group-offsets'; use 'earliest-offset' or 'latest-offset'; after the first commit the table's own position counts",
    );
    check(
        "'format' = 'json',",
        "'format' = 'json', 'scan.bounded.mode' = «'timestamp',",
        "'scan.bounded.mode' can't be 'timestamp'; use 'latest-offset', to end where the topic ends at the start, or 'unbounded'",
    );
    check("'topic' = 'user-activity-stream'", "'topic' = «'a;b'", "a job reads exactly one topic");
    check(
        "'format' = 'json',",
        "'format' = 'json', 'json.ignore-parse-errors' = «'true',",
        "'json.ignore-parse-errors' can't be 'true'; use 'false': a record that can't be read goes to rejected_events",
    );
    check(
        "'format' = 'json',",
        "'format' = 'json', «'properties.fetch.min.bytes' = '1',",
        "unknown option 'properties.fetch.min.bytes'; give Kafka client settings to the process: KAFKA_PROPERTIES",
    );
    check("'format' = 'json',", "'format' = 'json', «'format' = 'json',", "option 'format' twice");
    check(
        "  'scan.startup.mode' = 'earliest-offset',\n  'format' = 'json',\n  'json.timestamp-format.standard' = 'ISO-8601'\n)",
        "  'format' = 'json'\n«)",
        "option 'scan.startup.mode' is missing; add it to the WITH clause",
    );
}

#[test]
fn columns_that_can_not_be_declared() {
    check(
        "product_id         STRING",
        "product_id         «TINYINT",
        "the type TINYINT is not supported; use INT",
    );
    check(
        "product_id         STRING",
        "product_id         «ARRAY<STRING>",
        "the type ARRAY<STRING> is not supported; the subset has BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), STRING, DATE, TIMESTAMP(p) and TIMESTAMP_LTZ(p)",
    );
    check(
        "DECIMAL(12, 2)",
        "«DECIMAL(39, 2)",
        "DECIMAL(39, 2) does not exist; the precision is 1 to 38, the scale 0 to the precision",
    );
    check(
        "TIMESTAMP_LTZ(3)",
        "«TIMESTAMP_LTZ(9)",
        "a timestamp of 9 digits is not supported; Iceberg holds microseconds: at most 6",
    );
    check(
        "kafka_partition    INT NOT",
        "kafka_partition    «BIGINT NOT",
        "metadata `partition` is INT; declare it INT",
    );
    check(
        "product_id         STRING",
        "product_id «AS customer_id",
        "a computed column is not supported; write the expression in the SELECT list",
    );
    check(
        "  product_id ",
        "  «WATERMARK FOR event_ts_utc AS event_ts_utc,\n  product_id ",
        "WATERMARK is not supported; remove it: a job that filters and projects keeps no event time",
    );
    check(
        "  product_id ",
        "  «PRIMARY KEY (customer_id) NOT ENFORCED,\n  product_id ",
        "a constraint is not supported; remove it: events are appended as they come",
    );
    check(
        "  product_id ",
        "  «offset ",
        "`offset` is a reserved word; expected a column name; a name like this needs backticks",
    );
    check("  product_id ", "  «customer_id STRING,\n  product_id ", "column `customer_id` twice");
}

#[test]
fn statements_that_do_not_belong_here() {
    check(
        "CREATE TABLE",
        "«SET 'a' = 'b'; CREATE TABLE",
        "a SET statement is not supported; give settings to the process; SET belongs into Flink's own init file",
    );
    check(
        "CREATE TABLE",
        "«DROP TABLE x; CREATE TABLE",
        "expected CREATE TABLE or INSERT INTO, found `DROP`",
    );
    check(
        "CREATE TABLE",
        "CREATE «CATALOG x; CREATE TABLE",
        "a CATALOG statement is not supported; the catalog is a setting of the process: ICEBERG_CATALOG_URI",
    );
    check(
        "CREATE TABLE user_activity",
        "CREATE TABLE a (b INT) WITH ('x' = 'y'); CREATE TABLE «user_activity",
        "a job has one source table; sinks are created from their SELECT list; remove this statement",
    );
    check("> 50;", "> 50 «banana;", "expected `;`, found `banana`");
    check(
        "FROM user_activity\n",
        "FROM user_activity «/*+ OPTIONS('a'='b') */\n",
        "a hint (`/*+ … */`) is not supported; put the setting into the WITH clause",
    );
}

#[test]
fn files_that_are_not_whole() {
    let job = |text: &str| Job::parse(text).unwrap_err().to_string();
    assert_eq!(job(""), "line 1, column 1: the job has no CREATE TABLE");
    assert_eq!(job("-- nothing\n "), "line 2, column 2: the job has no CREATE TABLE");
    let (source, _) = PIPELINE.rsplit_once("INSERT").unwrap();
    assert!(job(source).ends_with("the job has no INSERT INTO"), "{}", job(source));
    assert_eq!(
        job("CREATE TABLE t (a INT"),
        "line 1, column 22: expected `)`, found the end of the file"
    );
    assert!(
        job("CREATE TABLE t (a 'x'").contains("line 1, column 19"),
        "{}",
        job("CREATE TABLE t (a 'x'")
    );
    assert!(job("SELECT 'unclosed").contains("line 1, column 8"), "{}", job("SELECT 'unclosed"));
}

#[test]
fn an_error_within_many_parentheses_is_found_in_time() {
    let told = |condition: &str| {
        let job = PIPELINE.replace("transaction_value > 50", condition);
        Job::parse(&job).unwrap_err().to_string()
    };
    for open in ["SUBSTRING(", "f(", "(", "CAST(", "x IN (", "CASE WHEN (", "- (", "EXISTS("] {
        // As deep as it may be, and each level is read twice; one deeper is refused at once.
        let deepest = open.repeat(16);
        assert!(!told(&format!("{deepest} transaction_value >")).contains("in each other"));
        let deeper = open.repeat(120);
        assert!(told(&format!("{deeper} transaction_value >")).contains("in each other"));
    }
    let sound = format!("{}transaction_value > 50{}", "(".repeat(16), ")".repeat(16));
    Job::parse(&PIPELINE.replace("transaction_value > 50", &sound)).unwrap();
}

#[test]
fn an_endless_expression_is_refused_and_does_not_end_the_process() {
    let endless = |condition: &str| {
        let job = PIPELINE.replace("transaction_value > 50", condition);
        Job::parse(&job).unwrap_err().to_string()
    };
    let comparison = "activity_type = 'x'";
    for condition in [
        vec![comparison; 100_000].join(" OR "),
        vec![comparison; 100_000].join(" AND "),
        format!("{} > 1", vec!["kafka_offset"; 100_000].join(" + ")),
        format!("{} TRUE", "NOT ".repeat(100_000)),
        format!("CASE {} END", "WHEN activity_type = 'x' THEN TRUE ".repeat(100_000)),
        format!("{comparison} AND {}", "(".repeat(100_000)),
    ] {
        let said = endless(&condition);
        let told = [
            "an expression of more than 1000 words",
            "nested too deeply",
            "more than 16 parentheses in each other",
        ];
        assert!(told.iter().any(|words| said.contains(words)), "{said}");
    }
    let list = vec!["'x'"; 20_000].join(", ");
    let job = PIPELINE.replace("transaction_value > 50", &format!("activity_type IN ({list})"));
    Job::parse(&job).unwrap();
    let chain = [comparison; 240].join(" OR ");
    Job::parse(&PIPELINE.replace("transaction_value > 50", &format!("({chain})"))).unwrap();
}
