#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

use proptest::prelude::*;

use super::*;

const CREATED: i64 = 1_700_000_000_000;
const COMMITTED: i16 = 1;
const ABORTED: i16 = 0;

/// A record batch as a producer makes it.
struct Batch {
    first: i64,
    epoch: i32,
    attributes: i16,
    producer: i64,
    /// Delta of the offset, key, value.
    records: Vec<(i32, Text, Text)>,
}

type Text = Option<Vec<u8>>;

fn batch(first: i64, values: &[&str]) -> Batch {
    let value = |value: &&str| Some(value.as_bytes().to_vec());
    let records = (0..).zip(values).map(|(delta, text)| (delta, None, value(text))).collect();
    Batch { first, epoch: 5, attributes: 0, producer: -1, records }
}

/// What ends a transaction of `producer`.
fn marker(first: i64, producer: i64, kind: i16) -> Batch {
    let key = [0_i16.to_be_bytes(), kind.to_be_bytes()].concat();
    let records = vec![(0, Some(key), Some(vec![0; 6]))];
    Batch { first, epoch: 5, attributes: 0x30, producer, records }
}

fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put(out, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap()));
    out.extend_from_slice(bytes.unwrap_or_default());
}

impl Batch {
    fn of(self, producer: i64) -> Self {
        Self { producer, attributes: 0x10, ..self }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (delta, key, value) in &self.records {
            let mut record = vec![0];
            put(&mut record, i64::from(*delta) * 10);
            put(&mut record, i64::from(*delta));
            put_bytes(&mut record, key.as_deref());
            put_bytes(&mut record, value.as_deref());
            // One header.
            put(&mut record, 1);
            put_bytes(&mut record, Some(b"trace"));
            put_bytes(&mut record, None);
            put(&mut body, i64::try_from(record.len()).unwrap());
            body.extend(record);
        }
        body
    }

    fn written(&self) -> Vec<u8> {
        self.packed(&self.body())
    }

    fn packed(&self, body: &[u8]) -> Vec<u8> {
        let last = self.records.last().map_or(0, |(delta, _, _)| *delta);
        let mut checked = Vec::new();
        checked.extend(self.attributes.to_be_bytes());
        checked.extend(last.to_be_bytes());
        checked.extend(CREATED.to_be_bytes());
        checked.extend((CREATED + 77).to_be_bytes());
        checked.extend(self.producer.to_be_bytes());
        checked.extend([0; 6]);
        checked.extend(i32::try_from(self.records.len()).unwrap().to_be_bytes());
        checked.extend(body);
        let mut batch = self.first.to_be_bytes().to_vec();
        batch.extend(i32::try_from(checked.len() + 9).unwrap().to_be_bytes());
        batch.extend(self.epoch.to_be_bytes());
        batch.push(2);
        batch.extend(crc32c::crc32c(&checked).to_be_bytes());
        batch.extend(checked);
        batch
    }
}

fn part(bytes: &[u8], aborted: &[(i64, i64)]) -> Part {
    Part {
        partition: 0,
        error: 0,
        high: 1_000,
        stable: 1_000,
        low: 0,
        aborted: aborted.to_vec(),
        records: 0..bytes.len(),
        cut: None,
    }
}

fn ask(offset: i64) -> Ask {
    Ask { partition: 0, offset, leader_epoch: 6, last_epoch: UNKNOWN }
}

/// Offsets and values from `wanted` on, and how far it went.
fn read_all(bytes: &[u8], aborted: &[(i64, i64)], wanted: i64) -> (Vec<(i64, String)>, Reached) {
    let (mut bytes, mut entries) = (bytes.to_vec(), Vec::new());
    let part = part(&bytes, aborted);
    let reached = read(&mut bytes, &part, &ask(wanted), &mut entries);
    let value = |entry: &Entry| {
        let at = entry.at as usize;
        String::from_utf8(bytes[at..at + entry.length as usize].to_vec()).unwrap()
    };
    (entries.iter().map(|entry| (entry.offset, value(entry))).collect(), reached)
}

fn written(batches: &[Batch]) -> Vec<u8> {
    batches.iter().flat_map(Batch::written).collect()
}

#[track_caller]
fn check(bytes: &[u8], aborted: &[(i64, i64)], wanted: i64, expected: &[(i64, &str)], next: i64) {
    let (found, reached) = read_all(bytes, aborted, wanted);
    let found: Vec<(i64, &str)> = found.iter().map(|(at, text)| (*at, text.as_str())).collect();
    assert_eq!(found, expected);
    let epoch = (next > wanted).then_some(5);
    assert_eq!(reached, Reached { next, epoch, damage: None });
}

#[track_caller]
fn check_damage(bytes: &[u8], wanted: i64, expected: &[(i64, &str)], damage: &Damage) {
    let (found, reached) = read_all(bytes, &[], wanted);
    let found: Vec<(i64, &str)> = found.iter().map(|(at, text)| (*at, text.as_str())).collect();
    assert_eq!(found, expected, "what stands before it is read");
    assert_eq!(reached.damage.as_ref(), Some(damage));
    assert_eq!(reached.next, expected.last().map_or(wanted, |(offset, _)| offset + 1));
}

#[test]
fn records_come_from_the_wanted_one_on() {
    let log = written(&[batch(10, &["a", "b", "c"]), batch(13, &["d"])]);
    check(&log, &[], 10, &[(10, "a"), (11, "b"), (12, "c"), (13, "d")], 14);
    check(&log, &[], 12, &[(12, "c"), (13, "d")], 14);
    check(&[], &[], 12, &[], 12);
}

#[test]
fn holes_that_compaction_left_are_passed() {
    let mut first = batch(10, &["a", "b"]);
    first.records[1].0 = 4;
    let log = written(&[first, batch(20, &["c"])]);
    check(&log, &[], 10, &[(10, "a"), (14, "b"), (20, "c")], 21);
    check(&log, &[], 12, &[(14, "b"), (20, "c")], 21);
    // The batch stays when all its records are gone.
    let mut empty = batch(10, &["a", "b"]);
    empty.records.clear();
    check(&written(&[empty, batch(11, &["c"])]), &[], 10, &[(11, "c")], 12);
}

#[test]
fn a_last_batch_that_was_cut_off_waits_for_the_next_fetch() {
    let whole = written(&[batch(0, &["a"]), batch(1, &["b"])]);
    let one = batch(0, &["a"]).written().len();
    for length in one..whole.len() {
        check(&whole[..length], &[], 0, &[(0, "a")], 1);
    }
}

#[test]
fn times_are_the_records_or_the_brokers() {
    let times = |attributes| {
        let mut bytes = Batch { attributes, ..batch(0, &["a", "b"]) }.written();
        let (part, mut entries) = (part(&bytes, &[]), Vec::new());
        read(&mut bytes, &part, &ask(0), &mut entries);
        entries.iter().map(|entry| entry.timestamp).collect::<Vec<_>>()
    };
    assert_eq!(times(0), [CREATED, CREATED + 10]);
    assert_eq!(times(0x08), [CREATED + 77; 2]);
}

#[test]
fn an_absent_value_is_not_an_empty_one() {
    let mut tombstone = batch(0, &["", ""]);
    tombstone.records[0] = (0, Some(b"key".to_vec()), None);
    let mut bytes = tombstone.written();
    let (part, mut entries) = (part(&bytes, &[]), Vec::new());
    read(&mut bytes, &part, &ask(0), &mut entries);
    assert_eq!(entries.iter().map(|entry| entry.length).collect::<Vec<_>>(), [Entry::NULL, 0]);
}

#[test]
fn aborted_transactions_and_markers_are_left_out() {
    let log = written(&[
        batch(0, &["a", "b"]).of(7),
        batch(2, &["c"]).of(8),
        batch(3, &["d"]),
        marker(4, 7, ABORTED),
        batch(5, &["e"]).of(7),
        marker(6, 8, COMMITTED),
        marker(7, 7, COMMITTED),
    ]);
    check(&log, &[(7, 0)], 0, &[(2, "c"), (3, "d"), (5, "e")], 8);
    check(&log, &[(7, 0), (8, 2)], 0, &[(3, "d"), (5, "e")], 8);
    // A fetch may begin within a transaction, and end before its marker.
    let tail = written(&[batch(2, &["c"]).of(8), batch(3, &["d"]), batch(5, &["e"]).of(8)]);
    check(&tail, &[(8, 1)], 2, &[(3, "d")], 6);
    // A record outside of a transaction counts, whatever else its producer did.
    let mut plain = batch(3, &["d"]);
    plain.producer = 8;
    check(&written(&[plain]), &[(8, 1)], 3, &[(3, "d")], 4);
}

#[test]
fn every_codec_is_read() {
    let plain = batch(5, &["purchase purchase purchase", "view"]);
    let body = plain.body();
    let gzip = {
        let level = flate2::Compression::default();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), level);
        std::io::Write::write_all(&mut packed, &body).unwrap();
        packed.finish().unwrap()
    };
    let lz4 = {
        let mut packed = lz4_flex::frame::FrameEncoder::new(Vec::new());
        std::io::Write::write_all(&mut packed, &body).unwrap();
        packed.finish().unwrap()
    };
    let block = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let halves = [&body[..20], &body[20..]].map(|half| {
        let packed = snap::raw::Encoder::new().compress_vec(half).unwrap();
        let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
        [length.to_vec(), packed].concat()
    });
    let xerial = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec(), halves.concat()].concat();
    let zstandard = zstd::encode_all(body.as_slice(), 1).unwrap();
    let all = [(1, gzip), (2, block), (2, xerial), (3, lz4), (4, zstandard)];
    for (codec, packed) in all {
        let packed_batch = Batch { attributes: codec, ..batch(5, &["", ""]) };
        let log = [packed_batch.packed(&packed), batch(7, &["x"]).written()].concat();
        let expected = [(5, "purchase purchase purchase"), (6, "view"), (7, "x")];
        check(&log, &[], 5, &expected, 8);
        check(&log, &[], 6, &expected[1..], 8);
        // The checksum is right, but what it covers is not what the codec makes.
        let cut = packed_batch.packed(&packed[..packed.len() / 2]);
        let (found, reached) = read_all(&cut, &[], 5);
        assert!(found.is_empty() && reached.next == 5, "{codec}: {found:?}");
        let damage = reached.damage.unwrap();
        assert!(matches!(damage, Damage::Packed(_) | Damage::Records), "{codec}: {damage}");
    }
    let unknown = Batch { attributes: 6, ..batch(5, &["a"]) };
    check_damage(&unknown.written(), 5, &[], &Damage::Records);
}

#[test]
fn a_batch_that_unpacks_to_very_much_is_refused() {
    let packed = zstd::encode_all(std::io::repeat(0).take(200 << 20), 1).unwrap();
    assert!(packed.len() < 1 << 20);
    let log = Batch { attributes: 4, ..batch(0, &["a"]) }.packed(&packed);
    let damage = read_all(&log, &[], 0).1.damage.unwrap();
    assert!(damage.to_string().contains("unpacks to more than"), "{damage}");
}

use std::io::Read as _;

#[test]
fn batches_that_unpack_to_much_together_are_left_for_the_next_fetch() {
    let large = "x".repeat(UNPACKED_MAX / 2);
    let one = |first| {
        let batch = Batch { attributes: 4, ..batch(first, &[&large]) };
        batch.packed(&zstd::encode_all(batch.body().as_slice(), 1).unwrap())
    };
    let log: Vec<u8> = (0..5).flat_map(one).collect();
    let (found, reached) = read_all(&log, &[], 0);
    assert_eq!((found.len(), reached.next, reached.damage), (2, 2, None));
}

#[test]
fn what_the_broker_did_not_know_of_yet_waits() {
    let mut log = written(&[batch(0, &["a"]), batch(1, &["b"])]);
    let (part, mut entries) = (Part { high: 1, ..part(&log, &[]) }, Vec::new());
    let reached = read(&mut log, &part, &ask(0), &mut entries);
    assert_eq!((entries.len(), reached.next, reached.damage), (1, 1, None));
}

#[test]
fn damage_is_named_and_nothing_is_stepped_over() {
    let (a, b) = (batch(0, &["a"]).written(), batch(1, &["b"]).written());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut damaged = b.clone();
        change(&mut damaged);
        [a.clone(), damaged, batch(2, &["c"]).written()].concat()
    };
    let misplaced = |first| Damage::Misplaced { first, last: first, epoch: 5, wanted: 1 };
    let check = |change: &dyn Fn(&mut Vec<u8>), damage: &Damage| {
        check_damage(&with(change), 0, &[(0, "a")], damage);
    };
    check(&|batch| *batch.last_mut().unwrap() ^= 1, &Damage::Checksum);
    check(&|batch| batch[16] = 1, &Damage::Format(1));
    check(&|batch| batch[8..12].copy_from_slice(&40_i32.to_be_bytes()), &Damage::Short);
    check(&|batch| batch[8] = 0x80, &Damage::Short);
    // The checksum does not cover the offset.
    // Of two batches that overlap neither is believed.
    let overlapped = Damage::Misplaced { first: 0, last: 0, epoch: 5, wanted: 0 };
    check_damage(&with(&|batch| batch[7] = 0), 0, &[], &overlapped);
    check_damage(&with(&|batch| batch[0] = 0x80), 0, &[], &overlapped);
    check(&|batch| batch[1] = 1, &misplaced((1 << 48) + 1));
    check(&|batch| batch[7] = 2, &misplaced(2));
    let of_epoch = |epoch| Damage::Misplaced { first: 1, last: 1, epoch, wanted: 1 };
    check(&|batch| batch[15] = 4, &of_epoch(4));
    check(&|batch| batch[15] = 7, &of_epoch(7));
    // Only the first batch of an answer may begin before what was asked for.
    check_damage(&a, 1, &[], &misplaced(0));
}

#[test]
fn a_batch_that_lies_about_its_records_is_refused() {
    let many = |count: i32| {
        let mut checked = batch(0, &["a"]).written();
        checked[57..61].copy_from_slice(&count.to_be_bytes());
        let sum = crc32c::crc32c(&checked[21..]);
        checked[17..21].copy_from_slice(&sum.to_be_bytes());
        checked
    };
    check_damage(&many(2), 0, &[], &Damage::Records);
    let mut far = batch(0, &["a", "b"]);
    far.records.swap(0, 1);
    check_damage(&far.written(), 0, &[], &Damage::Records);
}

proptest! {
    /// Whatever happens to the bytes, nothing panics, no record is delivered that was not sent, and none is
    /// stepped over.
    #[test]
    fn damaged_bytes_are_never_delivered(place in 0_usize..400, bit in 0_u8..8, wanted in 0_i64..6) {
        let mut log = written(&[
            batch(0, &["a", "b"]),
            batch(2, &["c"]).of(7),
            marker(3, 7, COMMITTED),
            batch(4, &["d", "e"]),
        ]);
        let place = place % log.len();
        log[place] ^= 1 << bit;
        let sent = [(0, "a"), (1, "b"), (2, "c"), (4, "d"), (5, "e")];
        let (found, reached) = read_all(&log, &[], wanted);
        let expected: Vec<_> =
            sent.iter().filter(|(offset, _)| (wanted..reached.next).contains(offset)).collect();
        // A last batch whose offset grew can't be told from one behind a hole.
        let last = log.len() - batch(4, &["d", "e"]).written().len();
        if !(last..last + 8).contains(&place) {
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                prop_assert_eq!((found.0, found.1.as_str()), *expected);
            }
        }
    }
}
