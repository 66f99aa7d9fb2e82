//! Record batches, as they stand in a topic's log → the place of each record's value.
//!
//! Owns which records of a partition count: not those before the offset asked for, not those of aborted
//! transactions, no markers. Pure, and it trusts no byte: the checksum covers the records, and what it does not
//! cover (offset, length, epoch, format) must fit what was asked for. It must never step over a batch that it
//! can't read.
//!
//! Kafka documentation, "Message Format"; the order of aborted transactions as in KIP-98.

use std::ops::Range;

use super::unpack::{self, Codec};
use super::wire::{Ask, Bytes, Part, UNKNOWN};

/// Bytes of a batch before its first record.
const HEAD: usize = 61;
/// Bytes of it that its own length does not count.
const BEFORE_LENGTH: usize = 12;
/// Where the bytes begin that the checksum covers.
const CHECKED: usize = 21;
/// The format of batches since Kafka 0.11.
const FORMAT: u8 = 2;
/// A broker may have more by the time it reads than when it looked how much there is, but not that much.
const AHEAD_MAX: i64 = 1 << 20;
/// Once a fetch takes so much more memory than it had bytes, the rest is fetched again.
const UNPACKED_MAX: usize = 16 << 20;

/// One record. Its value lies in the bytes of its fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: i64,
    /// Milliseconds since 1970; negative when the record has none.
    pub(super) timestamp: i64,
    pub(super) at: u32,
    /// [`Self::NULL`] for a tombstone.
    pub(super) length: u32,
}

impl Entry {
    pub(super) const NULL: u32 = u32::MAX;
}

/// What is wrong with the bytes behind an offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("a record batch is shorter than its head")]
    Short,
    #[error(
        "a record batch of format {0}; set KAFKA_FETCHER=librdkafka if the topic is older than Kafka 0.11"
    )]
    Format(u8),
    #[error("a record batch fails its checksum")]
    Checksum,
    #[error(
        "a record batch that can't be there: offset {first} to {last} in epoch {epoch}, where {wanted} is next"
    )]
    Misplaced { first: i64, last: i64, epoch: i32, wanted: i64 },
    #[error("a record batch does not hold what its head says")]
    Records,
    #[error("a record batch does not unpack: {0}")]
    Packed(String),
}

/// How far a partition was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Where to go on.
    pub(super) next: i64,
    /// The epoch of the last batch, if there was one.
    pub(super) epoch: Option<i32>,
    /// Why not further.
    pub(super) damage: Option<Damage>,
}

/// Reads what `part` brought for `ask` into `entries`. Values that were compressed are put behind the end of `bytes`.
pub(super) fn read(
    bytes: &mut Vec<u8>,
    part: &Part,
    ask: &Ask,
    entries: &mut Vec<Entry>,
) -> Reached {
    let mut reached = Reached { next: ask.offset, epoch: None, damage: None };
    let mut transactions = Transactions::new(&part.aborted);
    let (mut at, raw) = (part.records.start, bytes.len());
    let mut least_epoch = ask.last_epoch;
    let mut is_first = true;
    // A last batch that was cut off is fetched again.
    while let Some(head) = Head::read(bytes, at, part.records.end) {
        if bytes.len() - raw > UNPACKED_MAX {
            break;
        }
        let mark = entries.len();
        let read = head.and_then(|head| {
            head.check_bytes(bytes)?;
            let room = Room {
                wanted: reached.next,
                is_first,
                behind: next_first(bytes, head.body.end, part.records.end),
                high: part.high,
                epochs: (least_epoch, ask.leader_epoch),
            };
            head.check_place(&room)?;
            if transactions.are_read(&head, bytes)? {
                head.records(bytes, reached.next, entries)?;
            }
            Ok(head)
        });
        match read {
            // More than the broker knew of when it looked: the next answer tells whether it is so.
            Ok(head) if head.last() >= part.high => {
                entries.truncate(mark);
                break;
            }
            Ok(head) => {
                least_epoch = head.epoch;
                reached.next = head.last().saturating_add(1);
                reached.epoch = Some(head.epoch);
                (at, is_first) = (head.body.end, false);
            }
            Err(damage) => {
                entries.truncate(mark);
                reached.damage = Some(damage);
                break;
            }
        }
    }
    reached
}

/// Where a batch must be. The checksum covers neither its offset nor its epoch.
struct Room {
    wanted: i64,
    /// Only the first batch of an answer may begin before what was asked for.
    is_first: bool,
    /// The first offset of the batch behind it.
    behind: Option<i64>,
    high: i64,
    /// The least and the greatest that it may have.
    epochs: (i32, i32),
}

fn next_first(bytes: &[u8], at: usize, end: usize) -> Option<i64> {
    Bytes::new(bytes.get(at..end)?).i64()
}

/// What stands before a batch's records.
#[derive(Debug)]
struct Head {
    first: i64,
    epoch: i32,
    checksum: u32,
    attributes: i16,
    last_delta: i32,
    first_timestamp: i64,
    max_timestamp: i64,
    producer: i64,
    count: i32,
    checked: usize,
    body: Range<usize>,
}

impl Head {
    /// `None` behind the last whole batch.
    fn read(bytes: &[u8], at: usize, end: usize) -> Option<Result<Self, Damage>> {
        let mut head = Bytes::new(bytes.get(at..end)?);
        let (first, length) = (head.i64()?, head.i32()?);
        let (epoch, [format]) = (head.i32()?, head.array()?);
        let Ok(length) = usize::try_from(length) else { return Some(Err(Damage::Short)) };
        let body_end = at.checked_add(BEFORE_LENGTH)?.checked_add(length)?;
        if body_end > end {
            return None;
        }
        if format != FORMAT {
            return Some(Err(Damage::Format(format)));
        }
        if length + BEFORE_LENGTH < HEAD {
            return Some(Err(Damage::Short));
        }
        let checksum = head.i32()?.cast_unsigned();
        let (attributes, last_delta) = (head.i16()?, head.i32()?);
        let (first_timestamp, max_timestamp, producer) = (head.i64()?, head.i64()?, head.i64()?);
        head.take(6)?;
        let count = head.i32()?;
        let (checked, body) = (at + CHECKED, at + HEAD..body_end);
        Some(Ok(Self {
            first,
            epoch,
            checksum,
            attributes,
            last_delta,
            first_timestamp,
            max_timestamp,
            producer,
            count,
            checked,
            body,
        }))
    }

    fn check_bytes(&self, bytes: &[u8]) -> Result<(), Damage> {
        let checked = bytes.get(self.checked..self.body.end).unwrap_or_default();
        if crc32c::crc32c(checked) == self.checksum { Ok(()) } else { Err(Damage::Checksum) }
    }

    fn check_place(&self, room: &Room) -> Result<(), Damage> {
        let (first, last) = (self.first, self.last());
        let (oldest, newest) = room.epochs;
        let is_between = first >= if room.is_first { 0 } else { room.wanted }
            && self.last_delta >= 0
            && last >= room.wanted
            && room.behind.is_none_or(|behind| last < behind)
            && last.saturating_sub(room.high) < AHEAD_MAX;
        let is_of_an_epoch = self.epoch >= oldest && (newest == UNKNOWN || self.epoch <= newest);
        if is_between && is_of_an_epoch {
            return Ok(());
        }
        Err(Damage::Misplaced { first, last, epoch: self.epoch, wanted: room.wanted })
    }

    fn last(&self) -> i64 {
        self.first.saturating_add(self.last_delta.into())
    }

    fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    fn is_marker(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// The time of all records, where the broker set it.
    fn appended(&self) -> Option<i64> {
        (self.attributes & 0x08 != 0).then_some(self.max_timestamp)
    }

    /// Whether the marker ends a transaction as if it had never been.
    fn aborts(&self, bytes: &[u8]) -> Option<bool> {
        const ABORT: i16 = 0;
        let mut body = Bytes::new(bytes.get(self.body.clone())?);
        body.varint()?;
        body.take(1)?;
        body.varint()?;
        body.varint()?;
        body.varint()?;
        let (_version, kind) = (body.i16()?, body.i16()?);
        Some(kind == ABORT)
    }

    fn records(
        &self,
        bytes: &mut Vec<u8>,
        wanted: i64,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Damage> {
        let codec = Codec::of(self.attributes).ok_or(Damage::Records)?;
        let mut body = self.body.clone();
        if let Some(codec) = codec {
            let unpacked = unpack::unpack(codec, bytes.get(body).unwrap_or_default())
                .map_err(|err| Damage::Packed(err.to_string()))?;
            body = bytes.len()..bytes.len() + unpacked.len();
            bytes.extend_from_slice(&unpacked);
        }
        self.entries(bytes, &body, wanted, entries).ok_or(Damage::Records)
    }

    fn entries(
        &self,
        bytes: &[u8],
        body: &Range<usize>,
        wanted: i64,
        entries: &mut Vec<Entry>,
    ) -> Option<()> {
        let start = body.start;
        let mut body = Bytes::new(bytes.get(body.clone())?);
        let appended = self.appended();
        for _ in 0..self.count {
            let length = usize::try_from(body.varint()?).ok()?;
            let end = body.at().checked_add(length)?;
            body.take(1)?;
            let (timestamp, offset) = (body.varint()?, body.varint()?);
            if offset < 0 || offset > self.last_delta.into() {
                return None;
            }
            if let Ok(key) = usize::try_from(body.varint()?) {
                body.take(key)?;
            }
            let value = usize::try_from(body.varint()?).ok();
            let at = start + body.at();
            body.take(value.unwrap_or(0))?;
            // What is left of it are headers.
            body.take(end.checked_sub(body.at())?)?;
            let offset = self.first + offset;
            if offset >= wanted {
                entries.push(Entry {
                    offset,
                    timestamp: appended
                        .unwrap_or_else(|| self.first_timestamp.saturating_add(timestamp)),
                    at: u32::try_from(at).ok()?,
                    length: value.map_or(Some(Entry::NULL), |value| u32::try_from(value).ok())?,
                });
            }
        }
        Some(())
    }
}

/// Which transactions were aborted, while a log is read from front to back.
struct Transactions {
    /// Producer and first offset, the first ones last.
    ahead: Vec<(i64, i64)>,
    /// Producers of which everything up to their next marker is void.
    void: Vec<i64>,
}

impl Transactions {
    fn new(aborted: &[(i64, i64)]) -> Self {
        let mut ahead = aborted.to_vec();
        ahead.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        Self { ahead, void: Vec::new() }
    }

    /// Whether the records of this batch are to be read.
    fn are_read(&mut self, head: &Head, bytes: &[u8]) -> Result<bool, Damage> {
        while let Some((producer, _)) = self.ahead.pop_if(|(_, first)| *first <= head.last()) {
            self.void.push(producer);
        }
        if head.is_marker() {
            if head.aborts(bytes).ok_or(Damage::Records)? {
                self.void.retain(|producer| *producer != head.producer);
            }
            return Ok(false);
        }
        Ok(!(head.is_transactional() && self.void.contains(&head.producer)))
    }
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
