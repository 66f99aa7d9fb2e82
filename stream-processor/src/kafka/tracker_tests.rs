#![allow(clippy::unwrap_used)]

use super::super::error::KafkaErrorKind;
use super::*;

fn p(number: i32) -> PartitionId {
    PartitionId::new(number)
}

fn o(number: i64) -> Offset {
    Offset::new(number)
}

fn starts<const N: usize>(starts: [(i32, i64); N]) -> BTreeMap<PartitionId, Offset> {
    starts.into_iter().map(|(partition, offset)| (p(partition), o(offset))).collect()
}

fn assigned<const N: usize>(offsets: [(i32, i64); N]) -> Change {
    Change::Assigned { starts: starts(offsets), left_over: Vec::new() }
}

fn revoked<const N: usize>(partitions: [i32; N]) -> Change {
    Change::Revoked(partitions.into_iter().map(p).collect())
}

fn tracker(changes: Vec<Change>) -> Tracker {
    let mut tracker = Tracker::default();
    tracker.apply(changes);
    tracker
}

fn error(kind: KafkaErrorKind) -> KafkaError {
    KafkaError::new(kind, "a fault")
}

/// Which of these records are delivered.
#[track_caller]
fn check<const N: usize>(tracker: &mut Tracker, records: [(i32, i64, bool); N]) {
    for (partition, offset, delivered) in records {
        assert_eq!(tracker.admit(p(partition), o(offset)), delivered, "{partition}@{offset}");
    }
}

#[test]
fn records_come_once_and_holes_are_kept() {
    let mut tracker = tracker(vec![assigned([(0, 5), (7, 0)])]);
    check(
        &mut tracker,
        [
            (0, 4, false),
            (0, 5, true),
            (0, 5, false),
            (7, 3, true),
            (0, 9, true),
            (7, 2, false),
            (7, 4, true),
        ],
    );
    assert_eq!(tracker.positions(&BTreeMap::new()), starts([(0, 10), (7, 5)]));
}

#[test]
fn records_of_partitions_that_are_not_ours_are_dropped() {
    let mut tracker = tracker(vec![assigned([(0, 0), (1, 0)]), revoked([0])]);
    check(&mut tracker, [(0, 0, false), (1, 0, true), (2, 0, false)]);
    assert_eq!(tracker.partitions(), [p(1)]);
}

#[test]
fn a_partition_that_left_and_came_back_in_one_poll_starts_anew() {
    let mut tracker = tracker(vec![assigned([(0, 0)])]);
    check(&mut tracker, [(0, 0, true)]);
    tracker.apply(vec![revoked([0]), assigned([(0, 1)])]);
    check(&mut tracker, [(0, 1, false), (0, 2, false)]);
    assert_eq!(tracker.stopped(), starts([(0, 1)]));
    tracker.restarted(p(0));
    check(&mut tracker, [(0, 1, true)]);
}

#[test]
fn a_position_left_over_from_an_earlier_assignment_is_not_believed() {
    let mut tracker = Tracker::default();
    tracker.apply(vec![Change::Assigned { starts: starts([(0, 10)]), left_over: vec![p(0)] }]);
    assert_eq!(tracker.positions(&starts([(0, 99)])), starts([(0, 10)]));
    assert_eq!(tracker.stopped(), starts([(0, 10)]));
    tracker.restarted(p(0));
    check(&mut tracker, [(0, 10, true)]);
}

#[test]
fn transaction_markers_behind_the_last_record_count() {
    let mut tracker = tracker(vec![assigned([(0, 0)])]);
    check(&mut tracker, [(0, 0, true)]);
    assert_eq!(tracker.positions(&starts([(0, 3)])), starts([(0, 3)]));
}

#[test]
fn a_fault_stops_its_partition_alone_and_holds_its_position() {
    let mut tracker = tracker(vec![assigned([(0, 0), (1, 0)])]);
    let corrupt = error(KafkaErrorKind::Corrupt { partition: p(0), offset: o(1) });
    check(&mut tracker, [(0, 0, true)]);
    assert_eq!(tracker.next(p(0)), Some(o(1)));
    tracker.fail(p(0), corrupt.clone());
    check(&mut tracker, [(0, 5, false), (1, 0, true)]);
    assert_eq!(tracker.fault(), Some(corrupt));
    assert_eq!(tracker.positions(&starts([(0, 6), (1, 1)])), starts([(0, 1), (1, 1)]));
    assert_eq!(tracker.stopped(), starts([(0, 1)]));
    tracker.restarted(p(0));
    assert_eq!(tracker.fault(), None);
    check(&mut tracker, [(0, 1, true)]);
}

#[test]
fn a_fault_of_a_partition_that_left_stops_nothing() {
    let mut tracker = tracker(vec![assigned([(0, 0)]), revoked([0])]);
    assert_eq!(tracker.next(p(0)), None);
    tracker.fail(p(0), error(KafkaErrorKind::Retry));
    assert_eq!(tracker.stopped(), BTreeMap::new());
}

#[test]
fn after_a_seek_nothing_comes_until_the_fetcher_has_followed() {
    let mut tracker = tracker(vec![assigned([(0, 0)])]);
    check(&mut tracker, [(0, 0, true), (0, 1, true)]);
    assert!(tracker.seek(p(0), o(1)));
    assert!(!tracker.seek(p(4), o(1)));
    check(&mut tracker, [(0, 2, false)]);
    assert_eq!(tracker.positions(&starts([(0, 2)])), starts([(0, 1)]));
    tracker.restarted(p(0));
    check(&mut tracker, [(0, 1, true)]);
}

#[test]
fn pausing_is_news_once_and_is_forgotten_with_the_partition() {
    let mut tracker = tracker(vec![assigned([(0, 0), (1, 0)])]);
    assert_eq!(tracker.set_paused(&[p(0), p(9)], true), [p(0)]);
    assert_eq!(tracker.set_paused(&[p(0), p(1)], true), [p(1)]);
    assert_eq!(tracker.set_paused(&[p(1)], false), [p(1)]);
    assert_eq!(tracker.apply(vec![revoked([0, 1])]), [p(0)]);
    tracker.apply(vec![assigned([(0, 0)])]);
    assert_eq!(tracker.set_paused(&[p(0)], false), []);
}
