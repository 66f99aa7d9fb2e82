#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array, Int32Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;
use bytes::Bytes;
use datafusion::prelude::{SessionConfig, SessionContext};
use iceberg::memory::{MEMORY_CATALOG_WAREHOUSE, MemoryCatalogBuilder};
use iceberg::spec::{DataFileBuilder, NestedField, PrimitiveType, Schema, Struct, Type};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, CatalogBuilder, NamespaceIdent, TableCreation};

use super::file_schema::FileSchema;
use super::*;
use crate::avro::{Codec, DayWriter, FileWriter, TableSchema};
use crate::datafile::EncodedFile;
use crate::spec::{Column, ColumnType, TableSpec, UTC};
use crate::storage::Store;

type Fields<'a> = &'a [(i32, &'a str, PrimitiveType)];

fn table(fields: Fields<'_>) -> Arc<TableSchema> {
    let field = |(id, name, primitive): &(i32, &str, PrimitiveType)| {
        Arc::new(NestedField::optional(*id, *name, Type::Primitive(primitive.clone())))
    };
    let schema = Schema::builder().with_fields(fields.iter().map(field)).build().unwrap();
    Arc::new(TableSchema::new(&Arc::new(schema), None).unwrap())
}

fn file(schema: &Arc<TableSchema>, columns: Vec<(&str, ArrayRef)>) -> EncodedFile {
    let mut writer = FileWriter::new(schema.clone(), Codec::default(), None).unwrap();
    writer.append(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    writer.finish().unwrap()
}

fn read(bytes: Bytes, schema: &TableSchema) -> RecordBatch {
    let reader = read_file(bytes, schema, None).unwrap();
    let schema = reader.schema().clone();
    concat_batches(&schema, &reader.map(Result::unwrap).collect::<Vec<_>>()).unwrap()
}

// ---- a file older than the table

#[test]
fn a_column_added_later_is_null() {
    let old = table(&[(1, "a", PrimitiveType::Int)]);
    let new = table(&[(2, "b", PrimitiveType::String), (1, "a", PrimitiveType::Int)]);
    let file = file(&old, vec![("a", Arc::new(Int32Array::from(vec![Some(7), None])))]);
    let batch = read(file.bytes(), &new);
    assert_eq!(batch.schema(), *new.arrow());
    assert_eq!(batch.column(0).null_count(), 2);
    assert_eq!(batch["a"].as_ref(), &Int32Array::from(vec![Some(7), None]) as &dyn Array);
}

#[test]
fn a_file_without_any_column_of_the_table_still_counts_its_rows() {
    let old = table(&[(1, "a", PrimitiveType::Int)]);
    let new = table(&[(2, "a", PrimitiveType::Int)]);
    let file = file(&old, vec![("a", Arc::new(Int32Array::from(vec![1, 2, 3])))]);
    let batch = read(file.bytes(), &new);
    assert_eq!((batch.num_rows(), batch.column(0).null_count()), (3, 3));
}

#[test]
fn a_renamed_column_keeps_its_values_and_a_new_one_of_its_old_name_has_none() {
    let old = table(&[(1, "a", PrimitiveType::Int)]);
    let new = table(&[(2, "a", PrimitiveType::Int), (1, "b", PrimitiveType::Int)]);
    let file = file(&old, vec![("a", Arc::new(Int32Array::from(vec![7])))]);
    let batch = read(file.bytes(), &new);
    assert!(batch["a"].is_null(0));
    assert_eq!(batch["b"].as_ref(), &Int32Array::from(vec![7]) as &dyn Array);
}

#[test]
fn promoted_columns_are_read_in_their_type_of_today() {
    let decimal = |precision| PrimitiveType::Decimal { precision, scale: 2 };
    let old = table(&[
        (1, "n", PrimitiveType::Int),
        (2, "x", PrimitiveType::Float),
        (3, "d", decimal(4)),
    ]);
    let new = table(&[
        (1, "n", PrimitiveType::Long),
        (2, "x", PrimitiveType::Double),
        (3, "d", decimal(12)),
    ]);
    let decimals = Decimal128Array::from(vec![-501]).with_precision_and_scale(4, 2).unwrap();
    let file = file(
        &old,
        vec![
            ("n", Arc::new(Int32Array::from(vec![i32::MIN]))),
            ("x", Arc::new(Float32Array::from(vec![-1.5]))),
            ("d", Arc::new(decimals)),
        ],
    );
    let batch = read(file.bytes(), &new);
    assert_eq!(batch.schema(), *new.arrow());
    assert_eq!(batch["n"].as_primitive::<Int64Type>().value(0), i64::from(i32::MIN));
    assert_eq!(batch["x"].as_primitive::<Float64Type>().value(0).to_bits(), (-1.5_f64).to_bits());
    assert_eq!(batch["d"].as_primitive::<Decimal128Type>().value(0), -501);
}

#[test]
fn a_column_of_an_unrelated_type_is_an_error() {
    let old = table(&[(1, "a", PrimitiveType::String)]);
    let new = table(&[(1, "a", PrimitiveType::Int)]);
    let file = file(&old, vec![("a", Arc::new(StringArray::from(vec!["seven"])))]);
    let err = read_file(file.bytes(), &new, None).unwrap().next().unwrap().unwrap_err();
    assert_eq!(err.kind(), Kind::Corrupt);
    assert!(err.to_string().contains("column: a"), "{err}");
}

// ---- a file of another writer

/// `file` with another schema in its header; the rows stay as they are.
fn with_header(file: &EncodedFile, old: &str, new: &str) -> Bytes {
    let bytes = file.bytes();
    let at = bytes.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
    let len = |text: &str| {
        let mut bytes = Vec::new();
        let mut zigzag = text.len() * 2;
        while zigzag >= 0x80 {
            bytes.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
            zigzag >>= 7;
        }
        bytes.push(u8::try_from(zigzag).unwrap());
        bytes
    };
    let head = &bytes[..at - len(old).len()];
    let tail = &bytes[at + old.len()..];
    [head, &len(new), new.as_bytes(), tail].concat().into()
}

#[test]
fn a_type_that_is_defined_once_and_referred_to_later_is_understood() {
    let decimal = PrimitiveType::Decimal { precision: 12, scale: 2 };
    let schema = table(&[(1, "price", decimal.clone()), (2, "tax", decimal)]);
    let decimals = |unscaled| {
        let array = Decimal128Array::from(vec![unscaled, None]);
        Arc::new(array.with_precision_and_scale(12, 2).unwrap()) as ArrayRef
    };
    let file = file(&schema, vec![("price", decimals(Some(501))), ("tax", decimals(Some(-7)))]);
    // As Iceberg's Java library writes it.
    let definition = r#"{"type":"fixed","name":"decimal_12_2_f2","size":6,"logicalType":"decimal","precision":12,"scale":2}"#;
    let theirs = schema.avro_json().replace(definition, r#""decimal_12_2""#).replace("_f1", "");
    assert_ne!(theirs, schema.avro_json());
    let bytes = with_header(&file, schema.avro_json(), &theirs);
    let tax = |batch: &RecordBatch| batch["tax"].as_primitive::<Decimal128Type>().value(0);
    assert_eq!(tax(&read(bytes.clone(), &schema)), -7);
    let only_tax = read_file(bytes, &schema, Some(&[1])).unwrap().next().unwrap().unwrap();
    assert_eq!(tax(&only_tax), -7, "the definition comes along, though its field does not");
}

#[test]
fn a_file_without_field_ids_is_matched_by_name() {
    let schema = table(&[(5, "a", PrimitiveType::Int), (6, "b", PrimitiveType::Int)]);
    let (a, b) = (Int32Array::from(vec![1]), Int32Array::from(vec![2]));
    let file = file(&schema, vec![("a", Arc::new(a)), ("b", Arc::new(b))]);
    let theirs = schema.avro_json().replace(r#","field-id":5"#, "").replace(r#","field-id":6"#, "");
    let batch = read(with_header(&file, schema.avro_json(), &theirs), &schema);
    assert_eq!(batch["b"].as_ref(), &Int32Array::from(vec![2]) as &dyn Array);
}

#[test]
fn a_schema_that_is_no_record_is_corrupt() {
    for text in ["", "7", r#""string""#, r#"{"type":"record","name":"x"}"#, r#"{"fields":[{}]}"#] {
        let err = FileSchema::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(err.kind(), Kind::Corrupt, "{text}");
    }
}

#[test]
fn a_projection_beyond_the_table_is_a_bug() {
    let schema = table(&[(1, "a", PrimitiveType::Int)]);
    let file = file(&schema, vec![("a", Arc::new(Int32Array::from(vec![1])))]);
    let err = read_file(file.bytes(), &schema, Some(&[1])).map(|_| ()).unwrap_err();
    assert_eq!(err.kind(), Kind::Bug);
}

// ---- a snapshot's files

fn refused(file: &DataFile, reason: &str) {
    let err = readable(file).map(|_| ()).unwrap_err();
    assert_eq!(err.kind(), Kind::Refused);
    assert!(err.to_string().contains(reason), "{err}");
}

#[test]
fn files_that_would_be_misread_are_refused() {
    let entry = |content, format| {
        let mut builder = DataFileBuilder::default();
        builder.content(content).file_path("x".into()).file_format(format);
        builder.partition(Struct::empty()).record_count(1).file_size_in_bytes(1).build().unwrap()
    };
    let deletes = entry(DataContentType::PositionDeletes, DataFileFormat::Avro);
    refused(&deletes, "delete files");
    refused(&entry(DataContentType::Data, DataFileFormat::Parquet), "format: parquet");
    assert!(readable(&entry(DataContentType::Data, DataFileFormat::Avro)).is_ok());
}

fn sales() -> TableSpec {
    let column =
        |name: &str, column_type| Column { name: name.into(), column_type, nullable: true };
    TableSpec {
        namespace: "shop".into(),
        name: "sales".into(),
        columns: vec![
            column("id", ColumnType::Int),
            column("at", ColumnType::Timestamptz),
            column("buyer", ColumnType::String),
            column("price", ColumnType::Decimal { precision: 12, scale: 2 }),
            column("ratio", ColumnType::Double),
        ],
        partition_day: Some("at".into()),
    }
}

const DAY: i64 = 86_400_000_000;

/// Three days of ten sales each: ids 0 to 29, buyers `b00` to `b29`, prices 0.00 to 29.00.
fn three_days() -> Vec<EncodedFile> {
    let schema = Arc::new(TableSchema::from_spec(&sales()).unwrap());
    let mut writer = DayWriter::new(schema, Codec::default()).unwrap();
    let ids: Vec<i32> = (0..30).collect();
    let prices = Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(*id) * 100));
    let days = ids.iter().map(|id| i64::from(id / 10) * DAY);
    let ratios = ids.iter().map(|id| if *id == 15 { f64::NAN } else { f64::from(*id) });
    let buyers = ids.iter().map(|id| format!("b{id:02}"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(ids.clone()))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(days).with_timezone(UTC))),
        ("buyer", Arc::new(StringArray::from_iter_values(buyers))),
        ("price", Arc::new(prices.with_precision_and_scale(12, 2).unwrap())),
        ("ratio", Arc::new(Float64Array::from_iter_values(ratios))),
    ];
    writer.append(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    writer.finish().unwrap()
}

/// A table of [`three_days`] in a folder, made by Iceberg's own catalog over our store.
async fn stored(folder: &std::path::Path) -> (Store, iceberg::table::Table) {
    let warehouse = format!("file://{}", folder.display());
    let store = Store::open(&warehouse, None).unwrap();
    let catalog = MemoryCatalogBuilder::default()
        .with_storage_factory(store.storage_factory())
        .load("memory", HashMap::from([(MEMORY_CATALOG_WAREHOUSE.to_owned(), warehouse)]))
        .await
        .unwrap();
    let namespace = NamespaceIdent::new("shop".into());
    catalog.create_namespace(&namespace, HashMap::new()).await.unwrap();
    let schema = crate::avro::iceberg_schema(&sales()).unwrap();
    let spec = iceberg::spec::UnboundPartitionSpec::builder()
        .add_partition_field(2, "at_day", iceberg::spec::Transform::Day)
        .unwrap()
        .build();
    let creation =
        TableCreation::builder().name("sales".into()).schema(schema).partition_spec(spec);
    let table = catalog.create_table(&namespace, creation.build()).await.unwrap();

    let schema = Arc::new(TableSchema::from_spec(&sales()).unwrap());
    let mut entries = Vec::new();
    for file in three_days() {
        let path = schema.data_path(file.day, uuid::Uuid::now_v7());
        let location = format!("{}/{path}", table.metadata().location());
        store.put_new(&location, file.content.clone()).await.unwrap();
        entries.push(file.to_data_file(&location, &schema, 0).unwrap());
    }
    let append = Transaction::new(&table);
    let action = append.fast_append().add_data_files(entries);
    let table = action.apply(append).unwrap().commit(&catalog).await.unwrap();
    (store, table)
}

#[tokio::test]
async fn the_files_of_a_snapshot_are_listed_with_their_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (store, table) = stored(folder.path()).await;
    let files = data_files(&table, None).await.unwrap();
    assert_eq!(files.len(), 3);
    for file in &files {
        assert_eq!(file.rows, 10);
        assert_eq!(store.size(&file.location).await.unwrap(), Some(file.bytes));
        assert!(file.location.contains("/data/at_day=1970-01-0"), "{}", file.location);
        assert_eq!(file.file.lower_bounds().len(), 5, "bounds survive the manifest");
    }
    let err = data_files(&table, Some(SnapshotId::new(1))).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Refused);
}

/// The three days as a table for SQL, and their files in the order of days.
async fn queried(folder: &std::path::Path) -> (SessionContext, Vec<DataFileRef>) {
    let (store, table) = stored(folder).await;
    let mut files = data_files(&table, None).await.unwrap();
    files.sort_by(|a, b| a.location.cmp(&b.location));
    let schema = Arc::new(TableSchema::new(table.metadata().current_schema(), None).unwrap());
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let provider = AvroTable::new(store, schema, files.clone());
    context.register_table("sales", Arc::new(provider)).unwrap();
    (context, files)
}

async fn answer(context: &SessionContext, sql: &str) -> Result<String, String> {
    let frame = context.sql(sql).await.map_err(|err| err.to_string())?;
    let batches = frame.collect().await.map_err(|err| err.to_string())?;
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let cells = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let row = |line: &str| line.replace(' ', "").trim_matches('|').to_owned();
    Ok(cells.map(row).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn sql_runs_over_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (context, _) = queried(folder.path()).await;
    let cases = [
        ("SELECT count(*) FROM sales", "30"),
        ("SELECT sum(price), min(buyer), max(id) FROM sales", "435.00|b00|29"),
        ("SELECT id FROM sales WHERE id >= 12 ORDER BY id LIMIT 2", "12 13"),
        ("SELECT buyer, id FROM sales WHERE price = 7", "b07|7"),
        ("SELECT count(*) FROM sales WHERE at >= TIMESTAMP '1970-01-02T00:00:00Z'", "20"),
        ("SELECT count(*) FROM sales WHERE id > 100", "0"),
        ("SELECT id FROM sales WHERE ratio > 28 ORDER BY id", "15 29"),
    ];
    for (sql, expected) in cases {
        assert_eq!(answer(&context, sql).await.unwrap(), expected, "{sql}");
    }
}

/// Runs `sql` after the files of `gone` days were deleted: it may succeed only if they weren't read.
async fn without(gone: &[usize], sql: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let (context, files) = queried(folder.path()).await;
    for day in gone {
        std::fs::remove_file(files[*day].location.trim_start_matches("file://")).unwrap();
    }
    answer(&context, sql).await
}

#[tokio::test]
async fn files_whose_bounds_rule_them_out_are_not_read() {
    let by_id = "SELECT buyer FROM sales WHERE id = 25";
    assert_eq!(without(&[0, 1], by_id).await.unwrap(), "b25");
    let by_text = "SELECT id FROM sales WHERE buyer = 'b11'";
    assert_eq!(without(&[0, 2], by_text).await.unwrap(), "11");
    let by_price = "SELECT id FROM sales WHERE price < 1";
    assert_eq!(without(&[1, 2], by_price).await.unwrap(), "0");
    let by_time = "SELECT count(*) FROM sales WHERE at < TIMESTAMP '1970-01-01T12:00:00Z'";
    assert_eq!(without(&[1, 2], by_time).await.unwrap(), "10");
    let nobody = "SELECT count(*) FROM sales WHERE id IS NULL";
    assert_eq!(without(&[0, 1, 2], nobody).await.unwrap(), "0");
}

#[tokio::test]
async fn a_file_with_nan_is_kept_for_a_filter_that_nan_passes() {
    let above = "SELECT id FROM sales WHERE ratio > 100";
    assert_eq!(without(&[0, 2], above).await.unwrap(), "15");
}

#[tokio::test]
async fn a_missing_file_fails_the_query_by_name() {
    let err = without(&[1], "SELECT max(id) FROM sales").await.unwrap_err();
    assert!(err.contains("the file is missing") && err.contains("1970-01-02"), "{err}");
}

#[tokio::test]
async fn a_table_without_files_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}", folder.path().display()), None).unwrap();
    let schema = Arc::new(TableSchema::from_spec(&sales()).unwrap());
    let context = SessionContext::new();
    let provider = AvroTable::new(store, schema, Vec::new());
    context.register_table("sales", Arc::new(provider)).unwrap();
    assert_eq!(answer(&context, "SELECT count(*) FROM sales").await.unwrap(), "0");
    assert_eq!(answer(&context, "SELECT id FROM sales").await.unwrap(), "");
}
