#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn source() -> Source {
    Source { cluster: ClusterId::new("c-1"), topic: TopicId::new("t-1") }
}

fn position(offsets: &[(i32, i64)]) -> Position {
    let offsets = offsets.iter().map(|(p, o)| (PartitionId::new(*p), Offset::new(*o))).collect();
    Position { source: source(), offsets }
}

fn ranges(of: &[(i32, i64, i64)]) -> Ranges {
    let mut ranges = Ranges::default();
    for (partition, start, end) in of {
        ranges
            .extend(PartitionId::new(*partition), Offset::new(*start), Offset::new(*end))
            .unwrap();
    }
    ranges
}

fn append(offsets: &[(i32, i64)]) -> Decision {
    Decision::Append(CommitPermit { position: position(offsets) })
}

fn fenced(partition: i32, table: i64, batch: i64) -> Decision {
    let (table, batch) = (Offset::new(table), Offset::new(batch));
    Decision::Fenced { partition: PartitionId::new(partition), table, batch }
}

fn gap(partition: i32, table: Option<i64>, batch: i64) -> Decision {
    let (table, batch) = (table.map(Offset::new), Offset::new(batch));
    Decision::Gap { partition: PartitionId::new(partition), table, batch }
}

#[track_caller]
fn check(name: &str, table: &[(i32, i64)], batch: &[(i32, i64, i64)], expected: &Decision) {
    assert_eq!(&decide(&position(table), &ranges(batch), Attempt::Unseen), expected, "{name}");
}

#[track_caller]
fn check_landed(name: &str, table: &[(i32, i64)], batch: &[(i32, i64, i64)], expected: &Decision) {
    assert_eq!(&decide(&position(table), &ranges(batch), Attempt::Landed), expected, "{name}");
}

#[test]
fn a_batch_is_appended_only_where_the_table_ends() {
    check(
        "ranges that start where the table ends move it",
        &[(0, 10), (1, 5)],
        &[(0, 10, 20), (1, 5, 6)],
        &append(&[(0, 20), (1, 6)]),
    );
    check(
        "partitions of other workers stay in the published map",
        &[(0, 10), (1, 5)],
        &[(1, 5, 9)],
        &append(&[(0, 10), (1, 9)]),
    );
    check("an empty batch is a heartbeat", &[(0, 10)], &[], &append(&[(0, 10)]));
    check(
        "a range without offsets changes nothing",
        &[(0, 10)],
        &[(0, 10, 10)],
        &append(&[(0, 10)]),
    );
}

#[test]
fn anything_but_an_exact_start_is_refused() {
    check("a batch that was committed before", &[(0, 20)], &[(0, 10, 20)], &fenced(0, 20, 10));
    check("a strict prefix of another incarnation", &[(0, 15)], &[(0, 10, 20)], &fenced(0, 15, 10));
    check("a table far ahead", &[(0, 99)], &[(0, 10, 20)], &fenced(0, 99, 10));
    check("records that were skipped", &[(0, 8)], &[(0, 10, 20)], &gap(0, Some(8), 10));
    check("a partition that was never pinned", &[(0, 8)], &[(7, 0, 20)], &gap(7, None, 0));
    check(
        "one moved partition of two refuses the whole batch",
        &[(0, 10), (1, 6)],
        &[(0, 10, 20), (1, 5, 9)],
        &fenced(1, 6, 5),
    );
    check("a heartbeat with a stale range", &[(0, 11)], &[(0, 10, 10)], &fenced(0, 11, 10));
}

#[test]
fn an_attempt_in_the_history_is_not_made_again() {
    check_landed("the answer was lost", &[(0, 20)], &[(0, 10, 20)], &Decision::AlreadyCommitted);
    check_landed(
        "the answer was lost and another writer went on",
        &[(0, 35)],
        &[(0, 10, 20)],
        &Decision::AlreadyCommitted,
    );
    check_landed(
        "an operator rewound the table meanwhile",
        &[(0, 5)],
        &[(0, 10, 20)],
        &gap(0, Some(5), 10),
    );
    check_landed("a heartbeat", &[(0, 5)], &[], &Decision::AlreadyCommitted);
}

#[test]
fn the_stored_form_is_fixed() {
    let stored = r#"{"cluster":"c-1","topics":{"t-1":{"0":128,"1":60187,"10":0}}}"#;
    let held = position(&[(0, 128), (1, 60187), (10, 0)]);
    assert_eq!(held.to_json(), stored);
    assert_eq!(Position::from_json(stored).unwrap(), held);
    assert_eq!(format!("{held:?}"), "{0: 128, 1: 60187, 10: 0}");
    assert_eq!(ranges(&[(0, 1, 2), (3, 4, 9)]).to_json(), r#"{"0":[1,2],"3":[4,9]}"#);
    assert_eq!(format!("{:?}", ranges(&[(0, 1, 2), (3, 4, 9)])), "{0: 1..2, 3: 4..9}");
}

#[test]
fn an_unreadable_position_is_corrupt() {
    for text in [
        "",
        "{}",
        r#"{"cluster":"c","topics":{}}"#,
        r#"{"cluster":"c","topics":{"a":{},"b":{}}}"#,
        r#"{"cluster":"c","topics":{"a":{"0":-1}}}"#,
        r#"{"cluster":"c","topics":{"a":{"-1":1}}}"#,
        r#"{"cluster":"c","topics":{"a":{"x":1}}}"#,
        r#"{"cluster":"c","topics":{"a":{"0":1.5}}}"#,
        r#"{"cluster":"c","topics":{"a":{"0":1}},"more":1}"#,
        r#"{"cluster":"c","cluster":"c","topics":{"a":{"0":1}}}"#,
        r#"{"cluster":"c","topics":{"a":{"0":1},"a":{"0":2}}}"#,
        r#"{"cluster":"c","topics":{"a":{"0":1,"0":2}}}"#,
    ] {
        assert_eq!(Position::from_json(text).unwrap_err().kind(), Kind::Corrupt, "{text}");
    }
}

#[test]
fn a_pin_fills_in_and_never_moves() {
    let starts =
        BTreeMap::from([(0, 7), (1, 3)].map(|(p, o)| (PartitionId::new(p), Offset::new(o))));
    let held = position(&[(0, 10)]);
    assert_eq!(held.pinned(&starts), Some(position(&[(0, 10), (1, 3)])));
    assert_eq!(position(&[(0, 10), (1, 9)]).pinned(&starts), None);
}

#[test]
fn ranges_merge_only_with_their_neighbour() {
    let mut held = ranges(&[(0, 10, 20)]);
    let mut extend =
        |start, end| held.extend(PartitionId::new(0), Offset::new(start), Offset::new(end));
    extend(20, 25).unwrap();
    for (start, end) in [(24, 30), (26, 30), (25, 24), (-3, 25)] {
        assert_eq!(extend(start, end).unwrap_err().kind(), Kind::Bug, "{start}..{end}");
    }
    assert_eq!(held, ranges(&[(0, 10, 25)]));
}

proptest! {
    /// Two writers that both start from the same position never both get a permit once one landed,
    /// and whatever is committed in turn leaves no hole and no overlap.
    #[test]
    fn permits_form_a_chain(
        steps in prop::collection::vec((0..3_i32, 0..40_i64, 1..10_i64), 1..60)
    ) {
        let mut table = position(&[(0, 0), (1, 0), (2, 0)]);
        let mut written = [0_i64; 3];
        for (partition, start, len) in steps {
            let batch = ranges(&[(partition, start, start + len)]);
            if let Decision::Append(permit) = decide(&table, &batch, Attempt::Unseen) {
                let end = &mut written[usize::try_from(partition).unwrap()];
                prop_assert_eq!(*end, start);
                *end = start + len;
                table = permit.position().clone();
                prop_assert_ne!(
                    std::mem::discriminant(&decide(&table, &batch, Attempt::Unseen)),
                    std::mem::discriminant(&append(&[]))
                );
            }
        }
        for (partition, end) in (0..).zip(written) {
            prop_assert_eq!(table.get(PartitionId::new(partition)), Some(Offset::new(end)));
        }
    }

    #[test]
    fn any_position_survives_the_round_trip(
        offsets in prop::collection::btree_map(0..i32::MAX, 0..i64::MAX, 0..20)
    ) {
        let offsets: Vec<_> = offsets.into_iter().collect();
        let held = position(&offsets);
        prop_assert_eq!(Position::from_json(&held.to_json()).unwrap(), held);
    }
}
