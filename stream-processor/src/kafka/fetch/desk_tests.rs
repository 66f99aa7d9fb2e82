#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use super::*;

const SOON: Time = Duration::from_secs(1);

fn p(number: i32) -> PartitionId {
    PartitionId::new(number)
}

/// Two brokers; 0 and 2 are led by the first, 1 by the second.
fn led() -> Metadata {
    Metadata {
        brokers: vec![(1, "a".to_owned(), 9), (2, "b".to_owned(), 9), (3, "c".to_owned(), 9)],
        error: 0,
        topic: [7; 16],
        leaders: vec![(0, 1, 4), (1, 2, 4), (2, 1, 5)],
    }
}

fn desk() -> Desk {
    let mut desk = Desk::default();
    desk.learn(led()).unwrap();
    desk
}

/// Partition, offset, epoch of the leader and of the last record of what is asked of a broker.
fn asked(desk: &mut Desk, broker: i32, now: Time) -> Vec<(i32, i64, i32, i32)> {
    let asks = desk.asks(broker, now);
    let mut asks: Vec<_> = asks
        .iter()
        .map(|(ask, _)| (ask.partition, ask.offset, ask.leader_epoch, ask.last_epoch))
        .collect();
    asks.sort_unstable();
    asks
}

#[test]
fn each_broker_is_asked_for_what_it_leads() {
    let mut desk = desk();
    for partition in [0, 1, 2] {
        desk.place(p(partition), Offset::new(10), Time::ZERO);
    }
    assert_eq!(asked(&mut desk, 1, SOON), [(0, 10, 4, -1), (2, 10, 5, -1)]);
    assert_eq!(asked(&mut desk, 2, SOON), [(1, 10, 4, -1)]);
    assert_eq!(asked(&mut desk, 3, SOON), []);
    desk.read(p(0), 15, Some(4));
    desk.read(p(2), 10, None);
    assert_eq!(asked(&mut desk, 1, SOON), [(0, 15, 4, 4), (2, 10, 5, -1)]);
    desk.lift(p(0));
    assert_eq!(asked(&mut desk, 1, SOON), [(2, 10, 5, -1)]);
    assert_eq!(desk.leading().map(|(id, _)| id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn no_partition_is_always_last() {
    let mut desk = desk();
    desk.place(p(0), Offset::new(0), Time::ZERO);
    desk.place(p(2), Offset::new(0), Time::ZERO);
    let mut first = || desk.asks(1, SOON).first().map(|(ask, _)| ask.partition).unwrap();
    assert_ne!(first(), first());
}

#[test]
fn what_was_asked_before_a_partition_was_sent_elsewhere_counts_for_nothing() {
    let mut desk = desk();
    let first = desk.place(p(0), Offset::new(10), Time::ZERO);
    assert!(desk.is_current(p(0), first));
    let second = desk.place(p(0), Offset::new(10), Time::ZERO);
    assert!(!desk.is_current(p(0), first) && desk.is_current(p(0), second));
    desk.lift(p(0));
    assert!(!desk.is_current(p(0), second));
    let third = desk.place(p(0), Offset::new(10), Time::ZERO);
    assert!(![first, second].contains(&third));
}

#[test]
fn a_partition_that_can_not_be_read_waits_for_its_reader_and_then_rests() {
    let mut desk = desk();
    desk.place(p(1), Offset::new(10), Time::ZERO);
    desk.tell(p(1));
    assert_eq!(asked(&mut desk, 2, SOON), []);
    desk.place(p(1), Offset::new(10), SOON);
    assert_eq!(asked(&mut desk, 2, SOON), []);
    assert_eq!(asked(&mut desk, 2, SOON + REST).len(), 1);
    desk.rest(p(1), SOON + REST);
    assert_eq!(asked(&mut desk, 2, SOON + REST), []);
    assert_eq!(asked(&mut desk, 2, SOON + 2 * REST).len(), 1);
}

#[test]
fn an_offset_is_gone_when_the_broker_says_so_twice() {
    let mut desk = desk();
    desk.place(p(1), Offset::new(10), Time::ZERO);
    assert!(!desk.is_lacking(p(1)));
    desk.read(p(1), 10, None);
    assert!(desk.is_lacking(p(1)));
    desk.read(p(1), 11, Some(4));
    assert!(!desk.is_lacking(p(1)), "that was about another offset");
}

#[test]
fn leaders_are_asked_for_when_one_is_missing_or_doubted() {
    let mut desk = Desk::default();
    assert!(!desk.is_in_doubt(), "nothing is to be fetched");
    desk.place(p(1), Offset::new(0), Time::ZERO);
    assert!(desk.is_in_doubt());
    desk.learn(led()).unwrap();
    assert!(!desk.is_in_doubt());
    desk.doubt();
    assert!(desk.is_in_doubt());
    desk.learn(led()).unwrap();
    assert!(!desk.is_in_doubt());
    desk.place(p(9), Offset::new(0), Time::ZERO);
    assert!(desk.is_in_doubt(), "nobody leads it yet");
}

#[test]
fn another_id_is_another_topic() {
    let mut desk = desk();
    let replaced = desk.learn(Metadata { topic: [8; 16], ..led() });
    assert_eq!(replaced, Err(Replaced { known: [7; 16], found: [8; 16] }));
    assert_eq!(desk.topic(), Some([7; 16]));
}
