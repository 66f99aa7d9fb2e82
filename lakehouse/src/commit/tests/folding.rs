//! Folding moves entries from manifest to manifest. What an entry says must not change on the way.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{DataFile, DataFileBuilder, Datum, Literal, Manifest, ManifestStatus, Struct};

use super::super::fold::Fold;
use super::super::{CommitOutcome, merge};
use super::world::{World, file, offsets, request, source};

/// What was said of a file when it came into the table.
struct Said {
    file: DataFile,
    snapshot: i64,
    sequence: i64,
}

/// The file with everything that a writer may record of it, different for each `n`.
fn measured(file: &DataFile, n: i64) -> DataFile {
    let count = |value: i64| HashMap::from([(1, value.unsigned_abs()), (2, 7)]);
    // Days on both sides of 1970, in no order, and files without one.
    let day = i32::try_from(n * 37 % 101).unwrap() - 50;
    let day = (n % 7 != 3).then(|| Literal::date(day));
    DataFileBuilder::default()
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(Struct::from_iter([day]))
        .partition_spec_id(0)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .value_counts(count(n))
        .null_value_counts(count(n + 1))
        .lower_bounds(HashMap::from([
            (1, Datum::string(format!("id-{n:05}"))),
            (2, Datum::timestamptz_micros(n * 1_000)),
        ]))
        .upper_bounds(HashMap::from([
            (1, Datum::string(format!("id-{:05}", n + 9))),
            (2, Datum::timestamptz_micros(n * 1_000 + 999)),
        ]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn folding_keeps_bounds_counts_and_origin_of_every_file() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    let mut folds = 0;
    let mut before = 0;
    for n in 0..300 {
        let mut batch = request(&[(0, n * 10, n * 10 + 10)]);
        for file in &mut batch.files {
            file.data = measured(&file.data, n);
        }
        // A foreign file now and then: ours to carry, and to fold, as it is.
        if n % 50 == 25 {
            assert!(world.foreign_append(&[file(format!("foreign/{n}"), 3)]).await);
        }
        let outcome = sink.commit(&batch).await.unwrap();
        let CommitOutcome::Committed(report) = outcome else { panic!("{outcome:?}") };
        folds += usize::from(report.manifests <= before);
        before = report.manifests;
        let sequence = world.metadata().last_sequence_number();
        let snapshot = report.snapshot.get();
        for file in batch.files {
            said.insert(file.location, Said { file: file.data, snapshot, sequence });
        }
    }
    assert!(folds > 10, "{folds} folds");
    let base = world.base().await;
    let snapshot = base.metadata().current_snapshot().unwrap();
    let list = base.table.manifest_list_reader(snapshot).load().await.unwrap();
    assert!(list.entries().len() <= 3 * merge::FAN_IN as usize);
    let (mut kept, mut foreign) = (0, 0);
    for manifest in list.entries() {
        let loaded = manifest.load_manifest(base.table.file_io()).await.unwrap();
        for entry in loaded.entries() {
            let Some(said) = said.remove(entry.file_path()) else {
                assert!(entry.file_path().starts_with("foreign/"), "{}", entry.file_path());
                foreign += 1;
                continue;
            };
            assert_eq!(*entry.data_file(), said.file);
            assert_eq!(entry.snapshot_id(), Some(said.snapshot));
            assert_eq!(entry.sequence_number(), Some(said.sequence));
            assert_eq!(entry.file_sequence_number, Some(said.sequence));
            kept += usize::from(entry.status() == ManifestStatus::Existing);
        }
    }
    assert!(said.is_empty(), "{} files are gone", said.len());
    assert_eq!(foreign, 6);
    assert!(kept > 250, "{kept} entries were folded");
    world.check().await;
}

/// A manifest of our layout is copied, and what comes of it is what the library makes, entry by entry and in the list.
#[tokio::test]
async fn copying_and_decoding_make_the_same_manifest() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    for n in 0..40 {
        let mut batch = request(&[(0, n * 10, n * 10 + 10)]);
        for file in &mut batch.files {
            file.data = measured(&file.data, n);
        }
        sink.commit(&batch).await.unwrap();
    }
    let base = world.base().await;
    let io = base.table.file_io();
    let snapshot = base.metadata().current_snapshot().unwrap();
    let list = base.table.manifest_list_reader(snapshot).load().await.unwrap();
    let new = [file("new/1".to_owned(), 3)];
    for new in [&new[..], &[]] {
        let of = || Fold { base: &base, snapshot: 77, new, held: list.entries().iter().collect() };
        let place =
            |name: &str| io.new_output(format!("{}/{name}.avro", base.metadata().location()));
        let (bytes, mut copied) = of().copied().await.unwrap().unwrap();
        let decoded = of().decoded(place("decoded").unwrap()).await.unwrap();
        let written = of().write(place("written").unwrap()).await.unwrap();
        let stored = io.new_input(&written.manifest_path).unwrap().read().await.unwrap();
        assert_eq!(stored.len() as u64, written.manifest_length.unsigned_abs());
        let entries = |bytes: &[u8]| {
            let mut entries = Manifest::parse_avro(bytes).unwrap().into_parts().0;
            entries.sort_by_key(|entry| entry.file_path().to_owned());
            entries
        };
        let library = io.new_input(&decoded.manifest_path).unwrap().read().await.unwrap();
        assert_eq!(entries(&bytes), entries(&library));
        assert_eq!(entries(&stored), entries(&library));
        copied.manifest_path.clone_from(&decoded.manifest_path);
        copied.manifest_length = decoded.manifest_length;
        assert_eq!(copied, decoded);
        assert_eq!(copied.existing_files_count, Some(40));
    }
}
