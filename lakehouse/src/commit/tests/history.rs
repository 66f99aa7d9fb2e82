//! Tables that others changed: what is followed, and what is refused.

use iceberg::spec::{
    MAIN_BRANCH, NestedField, PrimitiveType, Schema, SnapshotReference, SnapshotRetention, Type,
};

use super::super::{CommitOutcome, Lakehouse, keys, merge, retain};
use super::world::{World, file, offsets, request, source, told};
use crate::Kind;
use crate::position::Source;

async fn started() -> (World, super::super::SinkTable) {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    (world, sink)
}

async fn commit(sink: &super::super::SinkTable, start: i64, end: i64) -> CommitOutcome {
    sink.commit(&request(&[(0, start, end)])).await.unwrap()
}

fn branch(id: i64) -> SnapshotReference {
    SnapshotReference::new(id, SnapshotRetention::branch(None, None, None))
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(result: crate::Result<T>, said: &str) {
    let err = result.unwrap_err();
    assert_eq!(err.kind(), Kind::Refused, "{err}");
    assert!(err.to_string().contains(said), "{err} does not say {said}");
}

#[tokio::test]
async fn foreign_rows_and_properties_stay_and_the_position_is_found_behind_them() {
    let (world, sink) = started().await;
    commit(&sink, 0, 10).await;
    assert!(world.foreign_append(&[file("foreign/1".into(), 4)]).await);
    world.change(|builder| builder.set_properties([("theirs".into(), "1".into())].into())).await;
    assert!(world.foreign_append(&[file("foreign/2".into(), 4)]).await);
    assert_eq!(format!("{:?}", sink.position(&source()).await.unwrap()), "{0: 10}");
    assert_eq!(told(&commit(&sink, 10, 30).await).0, "committed");
    assert_eq!(world.metadata().properties()["theirs"], "1");
    assert_eq!(world.check().await, 38);
}

#[tokio::test]
async fn a_position_whose_snapshot_expired_behind_foreign_ones_survives() {
    let (world, sink) = started().await;
    commit(&sink, 0, 10).await;
    world.foreign_append(&[]).await;
    let keep = world.metadata().current_snapshot_id();
    let old: Vec<_> = world.metadata().snapshots().map(|s| s.snapshot_id()).collect();
    let old: Vec<_> = old.into_iter().filter(|id| Some(*id) != keep).collect();
    world.change(|builder| Ok(builder.remove_snapshots(&old))).await;
    let fresh = world.sink().await;
    assert_eq!(format!("{:?}", fresh.position(&source()).await.unwrap()), "{0: 10}");
    assert_eq!(told(&commit(&fresh, 10, 20).await).0, "committed");
    assert_eq!(world.check().await, 20);
}

#[tokio::test]
async fn a_table_that_was_rolled_back_is_refused() {
    let (world, sink) = started().await;
    commit(&sink, 0, 10).await;
    let before = world.metadata().current_snapshot_id().unwrap();
    commit(&sink, 10, 20).await;
    world.change(|builder| builder.set_ref(MAIN_BRANCH, branch(before))).await;
    check_refused(sink.position(&source()).await, "rolled back");
    check_refused(sink.commit(&request(&[(0, 10, 20)])).await, "rolled back");
    check_refused(world.sink().await.position(&source()).await, "rolled back");
    assert!(world.foreign_append(&[]).await);
    check_refused(world.sink().await.position(&source()).await, "rolled back");
}

#[tokio::test]
async fn a_table_rolled_back_to_before_us_is_refused() {
    let world = World::new();
    let sink = world.sink().await;
    world.foreign_append(&[]).await;
    check_refused(sink.position(&source()).await, "no position");
    let foreign = world.metadata().current_snapshot_id().unwrap();
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    assert_ne!(world.metadata().current_snapshot_id(), Some(foreign));
    world.change(|builder| Ok(builder.remove_ref(MAIN_BRANCH))).await;
    check_refused(sink.position(&source()).await, "emptied");
}

#[tokio::test]
async fn a_restored_table_is_refused_by_who_has_seen_more() {
    let (world, sink) = started().await;
    commit(&sink, 0, 10).await;
    let backup = world.metadata();
    commit(&sink, 10, 20).await;
    world.memory.replace(&world.ident, Some(backup));
    check_refused(sink.commit(&request(&[(0, 20, 30)])).await, "restored");
    // A new process can't know, and need not: the table holds what its position says.
    let fresh = world.sink().await;
    assert_eq!(told(&commit(&fresh, 20, 30).await).0, "gap");
    assert_eq!(told(&commit(&fresh, 10, 30).await).0, "committed");
    assert_eq!(world.check().await, 30);
}

#[tokio::test]
async fn a_dropped_or_replaced_table_is_refused() {
    let (world, sink) = started().await;
    world.memory.replace(&world.ident, None);
    check_refused(sink.commit(&request(&[(0, 0, 10)])).await, "dropped");
    let other = world.sink().await;
    check_refused(sink.commit(&request(&[(0, 0, 10)])).await, "replaced");
    assert!(other.position(&source()).await.unwrap().offsets().is_empty());
}

#[tokio::test]
async fn a_lost_or_contradicting_position_is_refused() {
    let (world, sink) = started().await;
    commit(&sink, 0, 10).await;
    let good = world.metadata();
    let remove = [keys::POSITION.to_owned()];
    world.change(|builder| builder.remove_properties(&remove)).await;
    check_refused(sink.position(&source()).await, "removed");
    let set = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    for (key, value, kind) in [
        (keys::POSITION, r#"{"cluster":"cluster","topics":{"topic":{"0":99}}}"#, Kind::Refused),
        (keys::POSITION, "nonsense", Kind::Corrupt),
        (keys::SEQUENCE, "1", Kind::Refused),
        (keys::SEQUENCE, "99", Kind::Refused),
        (keys::SEQUENCE, "x", Kind::Corrupt),
    ] {
        world.memory.replace(&world.ident, Some(good.clone()));
        world.change(|builder| builder.set_properties(set(key, value))).await;
        let err = world.sink().await.position(&source()).await.unwrap_err();
        assert_eq!(err.kind(), kind, "{key} {value}: {err}");
    }
    world.memory.replace(&world.ident, Some(good));
    assert_eq!(format!("{:?}", sink.position(&source()).await.unwrap()), "{0: 10}");
}

#[tokio::test]
async fn changed_partitions_are_refused() {
    let (world, sink) = started().await;
    let spec = iceberg::spec::UnboundPartitionSpec::builder().build();
    world.change(|builder| builder.add_default_partition_spec(spec)).await;
    check_refused(sink.commit(&request(&[(0, 0, 10)])).await, "partitions were changed");
}

#[tokio::test]
async fn a_running_job_follows_a_schema_that_still_fits() {
    let (world, sink) = started().await;
    let with = |required: bool| {
        let fields = world.metadata().current_schema().as_struct().fields().to_vec();
        let field = NestedField::new(9, "theirs", Type::Primitive(PrimitiveType::Long), required);
        let fields = fields.into_iter().chain([field.into()]).collect::<Vec<_>>();
        Schema::builder().with_fields(fields).build().unwrap()
    };
    let optional = with(false);
    world.change(|builder| builder.add_current_schema(optional)).await;
    assert_eq!(told(&commit(&sink, 0, 10).await).0, "committed");
    let required = Schema::builder()
        .with_fields(vec![
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::String)).into(),
            NestedField::optional(2, "at", Type::Primitive(PrimitiveType::Timestamptz)).into(),
            NestedField::required(10, "must", Type::Primitive(PrimitiveType::Long)).into(),
        ])
        .build()
        .unwrap();
    world.change(|builder| builder.add_current_schema(required)).await;
    check_refused(sink.commit(&request(&[(0, 10, 20)])).await, "`must` is required");
    assert_eq!(world.check().await, 10);
}

#[tokio::test]
async fn two_thousand_commits_stay_small() {
    let (world, sink) = started().await;
    let tagged = world.metadata().current_snapshot_id().unwrap();
    let tag = SnapshotReference::new(tagged, SnapshotRetention::Tag { max_ref_age_ms: None });
    world.change(|builder| builder.set_ref("first", tag)).await;
    world.foreign_append(&[file("foreign/1".into(), 4)]).await;
    let foreign = world.metadata().current_snapshot_id().unwrap();
    let mut most = 0;
    for n in 0..2_000 {
        let CommitOutcome::Committed(report) = commit(&sink, n * 10, n * 10 + 10).await else {
            panic!("nobody else is here")
        };
        most = most.max(report.manifests);
    }
    assert!(most <= 3 * merge::FAN_IN as usize, "{most} manifests");
    let metadata = world.metadata();
    // The newest, and the two that are not ours to expire.
    assert_eq!(metadata.snapshots().count(), retain::SNAPSHOTS_KEPT + 2);
    assert!(metadata.snapshot_by_id(tagged).is_some(), "a tag keeps its snapshot");
    assert!(metadata.snapshot_by_id(foreign).is_some(), "a foreign snapshot is not ours to expire");
    assert_eq!(world.check().await, 20_004);
}

/// Expires all but two; returns how many are left after ten more commits.
async fn left_after_ten(change: impl AsyncFnOnce(&World)) -> (World, usize) {
    let world = World::new();
    let lakehouse = Lakehouse { snapshots_kept: 2, ..world.lakehouse() };
    let sink = lakehouse.ensure(&world.spec).await.unwrap();
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    change(&world).await;
    for n in 0..10 {
        commit(&sink, n * 10, n * 10 + 10).await;
    }
    let left = world.metadata().snapshots().count();
    (world, left)
}

async fn set_retention(world: &World, retention: SnapshotRetention) {
    let id = world.metadata().current_snapshot_id().unwrap();
    let reference = SnapshotReference::new(id, retention);
    world.change(|builder| builder.set_ref(MAIN_BRANCH, reference)).await;
}

#[tokio::test]
async fn the_retention_that_others_set_on_main_survives_and_is_kept_to() {
    const HOUR_MS: i64 = 3_600_000;
    let (_, left) = left_after_ten(async |_| {}).await;
    assert_eq!(left, 2, "nobody asks for more");
    for (name, retention, expected) in [
        ("seven snapshots", SnapshotRetention::branch(Some(7), None, None), 7),
        ("fewer than we keep", SnapshotRetention::branch(Some(1), None, None), 2),
        ("what is not an hour old", SnapshotRetention::branch(None, Some(HOUR_MS), None), 11),
        ("all three", SnapshotRetention::branch(Some(3), Some(HOUR_MS), Some(1)), 11),
    ] {
        let (world, left) =
            left_after_ten(async |world| set_retention(world, retention.clone()).await).await;
        assert_eq!(left, expected, "{name}");
        let json = serde_json::to_value(world.metadata()).unwrap();
        let asked = serde_json::to_value(&retention).unwrap();
        for (key, value) in asked.as_object().unwrap() {
            assert_eq!(json["refs"]["main"][key], *value, "{name}: {key}");
        }
    }
}

#[tokio::test]
async fn retention_asked_for_in_the_properties_is_kept_to() {
    for (key, value, expected) in [
        ("history.expire.min-snapshots-to-keep", "6", 6),
        ("history.expire.max-snapshot-age-ms", "3600000", 11),
        ("history.expire.max-snapshot-age-ms", "nonsense", 2),
    ] {
        let set = [(key.to_owned(), value.to_owned())];
        let (_, left) = left_after_ten(async |world| {
            world.change(|builder| builder.set_properties(set.into())).await;
        })
        .await;
        assert_eq!(left, expected, "{key}={value}");
    }
}

/// The other direction of the source check: an empty position belongs to no one yet.
#[tokio::test]
async fn a_new_table_takes_the_first_source_that_pins() {
    let world = World::new();
    let sink = world.sink().await;
    let other = Source { topic: crate::position::TopicId::new("other"), ..source() };
    sink.position(&other).await.unwrap();
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    check_refused(sink.position(&other).await, "another topic");
}
