//! Against manifests that the library has written; what is not one must be told, and never be copied.

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, Manifest,
    ManifestFile, ManifestStatus, ManifestWriter, ManifestWriterBuilder, NestedField,
    PartitionSpec, PrimitiveType, Schema, Struct, Transform, Type,
};
use serde_json::json;

use super::cursor::Cursor;
use super::skip::Skip;
use super::{Copied, Copier};
use crate::avro::put_long;

fn writer(io: &FileIO, path: &str, snapshot: i64) -> ManifestWriter {
    let field = NestedField::required(1, "day", Type::Primitive(PrimitiveType::Date));
    let schema = Schema::builder().with_fields(vec![field.into()]).build().unwrap();
    let spec = PartitionSpec::builder(schema.clone()).with_spec_id(0);
    let spec = spec.add_partition_field("day", "day", Transform::Identity).unwrap();
    let output = io.new_output(path).unwrap();
    let spec = spec.build().unwrap();
    ManifestWriterBuilder::new(output, Some(snapshot), schema.into(), spec).build_v2_data()
}

fn file(n: i32) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("data/{n}.avro"))
        .file_format(DataFileFormat::Avro)
        .partition(Struct::from_iter([Some(Literal::date(n))]))
        .partition_spec_id(0)
        .record_count(10)
        .file_size_in_bytes(999)
        .value_counts([(1, 10)].into())
        .lower_bounds([(1, Datum::date(n))].into())
        .split_offsets(Some(vec![4, 64]))
        .build()
        .unwrap()
}

/// What a writer has made, and what a list says of it once it is committed.
async fn made(io: &FileIO, path: &str, writer: ManifestWriter, sequence: i64) -> Told {
    let mut told = writer.write_manifest_file().await.unwrap();
    told.sequence_number = sequence;
    Told { told, bytes: io.new_input(path).unwrap().read().await.unwrap().into() }
}

struct Told {
    told: ManifestFile,
    bytes: Vec<u8>,
}

/// One manifest with a new, an old and a deleted file.
async fn mixed(io: &FileIO) -> Told {
    let mut writer = writer(io, "memory:///mixed.avro", 70);
    writer.add_file(file(1), -1).unwrap();
    writer.add_existing_file(file(2), 50, 5, Some(4)).unwrap();
    writer.add_delete_file(file(3), 6, Some(6)).unwrap();
    made(io, "memory:///mixed.avro", writer, 7).await
}

async fn first(io: &FileIO) -> Vec<u8> {
    let mut writer = writer(io, "memory:///first.avro", 80);
    writer.add_file(file(9), -1).unwrap();
    made(io, "memory:///first.avro", writer, 8).await.bytes
}

#[tokio::test]
async fn entries_that_live_are_copied_and_say_where_they_came_from() {
    let io = FileIO::new_with_memory();
    let Told { told, bytes } = mixed(&io).await;
    let mut copier = Copier::new(&first(&io).await, 0).unwrap();
    copier.add(&told, &bytes).unwrap();
    let Copied { file: whole, files, min_sequence } = copier.finish();
    assert_eq!((files, min_sequence), (2, Some(5)));
    let manifest = Manifest::parse_avro(&whole).unwrap();
    let said: Vec<_> = manifest
        .entries()
        .iter()
        .map(|entry| {
            let numbers =
                (entry.snapshot_id(), entry.sequence_number(), entry.file_sequence_number);
            (entry.status(), numbers, entry.data_file().clone())
        })
        .collect();
    let expected = [
        (ManifestStatus::Added, (Some(80), None, None), file(9)),
        (ManifestStatus::Existing, (Some(70), Some(7), Some(7)), file(1)),
        (ManifestStatus::Existing, (Some(50), Some(5), Some(4)), file(2)),
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn what_is_cut_off_or_has_more_is_not_copied() {
    let io = FileIO::new_with_memory();
    let Told { told, bytes } = mixed(&io).await;
    let first = first(&io).await;
    let whole = |bytes: &[u8]| Copier::new(&first, 99).unwrap().add(&told, bytes).is_some();
    assert!(whole(&bytes));
    // Cut behind its head, it is a manifest of nothing: its count of files tells, and that is the caller's.
    let head = bytes.len() - block_length(&bytes);
    for end in (0..bytes.len()).filter(|end| *end != head) {
        assert!(!whole(&bytes[..end]), "{end} bytes of {}", bytes.len());
    }
    assert!(!whole(&[bytes.as_slice(), &[0]].concat()));
    assert!(!whole(&[bytes.as_slice(), &bytes[head..bytes.len() - 1]].concat()));
}

/// Of the only block: two lengths, the entries, and the mark.
fn block_length(bytes: &[u8]) -> usize {
    let mark = &bytes[bytes.len() - super::SYNC..];
    let head = bytes.windows(super::SYNC).position(|window| window == mark).unwrap();
    bytes.len() - head - super::SYNC
}

#[tokio::test]
async fn another_layout_is_not_copied() {
    let io = FileIO::new_with_memory();
    let Told { told, bytes } = mixed(&io).await;
    let replaced = |from: &str, to: &str| {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    for (from, to) in [
        ("file_sequence_number", "file_sequence_numbed"),
        ("record_count", "record_cound"),
        ("Obj", "obj"),
    ] {
        let other = replaced(from, to);
        let mut copier = Copier::new(&bytes, 0).unwrap();
        assert!(copier.add(&told, &other).is_none(), "{to}");
    }
    assert!(Copier::new(&replaced("file_sequence_number", "file_sequence_numbed"), 0).is_none());
}

#[test]
fn a_value_is_passed_by_its_schema_alone() {
    let schema = json!({"type": "record", "name": "all", "fields": [
        {"name": "a", "type": ["null", "boolean"]},
        {"name": "b", "type": {"type": "array", "items": {"type": "record", "name": "pair", "fields": [
            {"name": "key", "type": "int"}, {"name": "value", "type": "bytes"}]}}},
        {"name": "c", "type": {"type": "map", "values": "double"}},
        {"name": "d", "type": {"type": "fixed", "name": "four", "size": 4}},
        {"name": "e", "type": {"type": {"type": "enum", "name": "colour", "symbols": ["red"]}}},
        {"name": "f", "type": ["null", "pair"]},
        {"name": "g", "type": "four"},
    ]});
    let skip = Skip::of(&schema).unwrap();
    let mut bytes = Vec::new();
    let long = |bytes: &mut Vec<u8>, value: i64| put_long(bytes, value);
    let text = |bytes: &mut Vec<u8>, text: &str| {
        put_long(bytes, i64::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    };
    bytes.extend_from_slice(&[2, 1]);
    long(&mut bytes, 1);
    long(&mut bytes, i64::MIN);
    text(&mut bytes, "one");
    // A block that says its length.
    long(&mut bytes, -1);
    long(&mut bytes, 3);
    bytes.extend_from_slice(&[8, 2, b'x']);
    long(&mut bytes, 0);
    long(&mut bytes, 1);
    text(&mut bytes, "key");
    bytes.extend_from_slice(&1.5_f64.to_le_bytes());
    long(&mut bytes, 0);
    bytes.extend_from_slice(b"four");
    long(&mut bytes, 0);
    long(&mut bytes, 1);
    long(&mut bytes, 7);
    text(&mut bytes, "");
    bytes.extend_from_slice(b"FOUR");
    let end = bytes.len();
    bytes.push(99);
    let mut cursor = Cursor::new(&bytes);
    assert_eq!(cursor.spanned(|from| skip.pass(from)), bytes.get(..end));
    for end in 0..end {
        assert_eq!(skip.pass(&mut Cursor::new(&bytes[..end])), None, "{end} bytes");
    }
}

#[test]
fn a_schema_that_refers_to_itself_or_to_nothing_is_none() {
    for schema in [
        json!({"type": "record", "name": "list", "fields": [{"name": "next", "type": ["null", "list"]}]}),
        json!("unknown"),
        json!({"type": "array"}),
        json!({"type": "fixed", "name": "f", "size": -1}),
        json!(7),
    ] {
        assert_eq!(Skip::of(&schema), None, "{schema}");
    }
}

#[test]
fn numbers_are_read_as_they_are_written() {
    for value in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN, 1 << 35] {
        let mut bytes = Vec::new();
        put_long(&mut bytes, value);
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.long(), Some(value));
        assert!(cursor.is_empty());
    }
    assert_eq!(Cursor::new(&[0xff; 11]).long(), None);
}
