//! Tables that change hands: who is kept out, and for how long.

use super::super::{CommitOutcome, keys};
use super::world::{World, file, offsets, request, source, told};
use crate::Kind;
use crate::position::Position;

fn at<const N: usize>(of: [(i32, i64); N]) -> Position {
    Position::new(source(), offsets(of))
}

async fn started() -> (World, super::super::SinkTable) {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    sink.commit(&request(&[(0, 0, 10)])).await.unwrap();
    (world, sink)
}

async fn look(world: &World) -> super::super::Handover {
    world.lakehouse().handover("ns", "rows", &source()).await.unwrap().unwrap()
}

/// What Flink leaves: rows, and its job's id in the summary.
async fn flink_append(world: &World, name: &str) {
    assert!(world.foreign_append_as(&[file(name.into(), 4)], &[(keys::FLINK_JOB, "f1")]).await);
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(result: crate::Result<T>, said: &str) {
    let err = result.unwrap_err();
    assert_eq!(err.kind(), Kind::Refused, "{err}");
    assert!(err.to_string().contains(said), "{err} does not say {said}");
}

#[tokio::test]
async fn a_lent_table_refuses_our_commits_until_it_is_taken_back() {
    let (world, sink) = started().await;
    let table = look(&world).await;
    assert!(!table.others_wrote() && table.lent_to().is_none());
    table.lend("flink", &at([(0, 10)])).await.unwrap();

    check_refused(sink.commit(&request(&[(0, 10, 20)])).await, "lent");
    check_refused(world.sink().await.position(&source()).await, "lent");
    flink_append(&world, "foreign/1").await;
    check_refused(sink.position(&source()).await, "lent");

    let table = look(&world).await;
    assert!(table.others_wrote());
    assert_eq!(table.lent_to(), Some("flink"));
    assert_eq!(table.recorded(), Some(&at([(0, 10)])));
    table.take_back(&at([(0, 30)])).await.unwrap();
    assert!(!world.metadata().properties().contains_key(keys::LENT));
    assert_eq!(format!("{:?}", sink.position(&source()).await.unwrap()), "{0: 30}");
    assert_eq!(told(&sink.commit(&request(&[(0, 30, 40)])).await.unwrap()).0, "committed");
}

#[tokio::test]
async fn a_commit_that_was_under_way_when_the_table_was_lent_is_not_applied() {
    let (world, _) = started().await;
    let (ours, theirs) = (look(&world).await, look(&world).await);
    theirs.lend("flink", &at([(0, 10)])).await.unwrap();
    let late = ours.take_back(&at([(0, 10)])).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Conflict, "{late}");
    assert_eq!(look(&world).await.lent_to(), Some("flink"));
}

#[tokio::test]
async fn rows_that_flink_adds_to_a_table_that_is_ours_stop_us() {
    let (world, sink) = started().await;
    flink_append(&world, "foreign/1").await;
    check_refused(sink.commit(&request(&[(0, 10, 20)])).await, "Flink has written");
    // Not even Trino's compaction on top hides them.
    assert!(world.foreign_append(&[]).await);
    check_refused(world.sink().await.position(&source()).await, "Flink has written");
    look(&world).await.take_back(&at([(0, 14)])).await.unwrap();
    let outcome = sink.commit(&request(&[(0, 14, 20)])).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_position_does_not_go_back() {
    let (world, _) = started().await;
    check_refused(look(&world).await.take_back(&at([(0, 9)])).await, "does not go back");
    check_refused(look(&world).await.lend("flink", &at([(1, 90)])).await, "does not go back");
    assert!(look(&world).await.lent_to().is_none());
}

#[tokio::test]
async fn a_table_that_only_flink_wrote_can_be_taken() {
    let world = World::new();
    let sink = world.sink().await;
    flink_append(&world, "foreign/1").await;
    check_refused(sink.position(&source()).await, "Flink has written");
    let table = look(&world).await;
    assert!(table.others_wrote() && table.recorded().is_none());
    table.take_back(&at([(0, 4)])).await.unwrap();
    assert_eq!(format!("{:?}", sink.position(&source()).await.unwrap()), "{0: 4}");
}
