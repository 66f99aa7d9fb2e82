//! Kafka's binary protocol, as far as reading a topic needs it.
//!
//! Owns the spelling of numbers, texts and the three requests. It must never take a length on trust: whatever is
//! missing makes the answer `None`, and the caller gives up the connection.
//!
//! Kafka protocol guide, "Protocol primitive types" and "The messages"; KIP-482 for tagged fields.

use std::ops::Range;

/// `Fetch` with topic ids and the epoch of the last record (Kafka 3.1).
pub(super) const FETCH: Api = Api { key: 1, version: 13 };
/// `Metadata` with topic ids and leader epochs (Kafka 2.8).
pub(super) const METADATA: Api = Api { key: 3, version: 12 };
/// Which requests a broker knows.
const API_VERSIONS: Api = Api { key: 18, version: 0 };

/// No epoch, no offset: not known.
pub(super) const UNKNOWN: i32 = -1;

/// A kind of request in one of its versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    pub(super) key: i16,
    pub(super) version: i16,
}

/// A topic as its cluster knows it; a recreated topic has another.
pub(super) type TopicId = [u8; 16];

/// What of a partition is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Of its leader, as the metadata said.
    pub(super) leader_epoch: i32,
    /// Of the last record read, so that the broker tells when the log was cut before it.
    pub(super) last_epoch: i32,
}

/// How much a fetch may bring and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) wait_ms: i32,
    pub(super) bytes: i32,
    pub(super) partition_bytes: i32,
}

/// A request whose length goes first, once it is known.
struct Request(Vec<u8>);

impl Request {
    fn new(api: Api, number: i32, client: &str) -> Self {
        let mut request = Self(vec![0; 4]);
        request.i16(api.key);
        request.i16(api.version);
        request.i32(number);
        request.i16(i16::try_from(client.len()).unwrap_or(0));
        request.0.extend_from_slice(
            client.as_bytes().get(..client.len().min(i16::MAX as usize)).unwrap_or_default(),
        );
        request
    }

    fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// A length, of which zero means null.
    fn length(&mut self, length: usize) {
        let mut rest = length + 1;
        while rest >= 0x80 {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn no_tags(&mut self) {
        self.0.push(0);
    }

    fn done(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        if let Some(first) = self.0.first_chunk_mut() {
            *first = length.to_be_bytes();
        }
        self.0
    }
}

pub(super) fn api_versions(number: i32, client: &str) -> Vec<u8> {
    Request::new(API_VERSIONS, number, client).done()
}

pub(super) fn metadata(number: i32, client: &str, topic: &str) -> Vec<u8> {
    let mut request = Request::new(METADATA, number, client);
    request.no_tags();
    request.length(1);
    request.0.extend_from_slice(&TopicId::default());
    request.text(topic);
    request.no_tags();
    // Neither make the topic nor tell what we may do with it.
    request.0.extend_from_slice(&[0, 0]);
    request.no_tags();
    request.done()
}

pub(super) fn fetch(
    number: i32,
    client: &str,
    topic: &TopicId,
    asks: &[Ask],
    amount: Amount,
) -> Vec<u8> {
    const READ_COMMITTED: u8 = 1;
    let mut request = Request::new(FETCH, number, client);
    request.no_tags();
    // A consumer, not a replica.
    request.i32(-1);
    request.i32(amount.wait_ms);
    // Answer as soon as there is anything.
    request.i32(1);
    request.i32(amount.bytes);
    request.0.push(READ_COMMITTED);
    // No session: every request names all it wants.
    request.i32(0);
    request.i32(-1);
    request.length(1);
    request.0.extend_from_slice(topic);
    request.length(asks.len());
    for ask in asks {
        request.i32(ask.partition);
        request.i32(ask.leader_epoch);
        request.i64(ask.offset);
        request.i32(ask.last_epoch);
        // Only a follower has a log of its own.
        request.i64(-1);
        request.i32(amount.partition_bytes);
        request.no_tags();
    }
    request.no_tags();
    request.length(0);
    // No rack: the leader answers.
    request.text("");
    request.no_tags();
    request.done()
}

/// What a broker said about the requests it knows.
pub(super) fn knows(answer: &[u8], wanted: Api) -> Option<bool> {
    let mut bytes = Bytes::new(answer);
    if bytes.i16()? != 0 {
        return Some(false);
    }
    for _ in 0..bytes.i32()? {
        let (key, least, most) = (bytes.i16()?, bytes.i16()?, bytes.i16()?);
        if key == wanted.key {
            return Some((least..=most).contains(&wanted.version));
        }
    }
    Some(false)
}

/// The brokers, and what they say of the topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Id, host, port.
    pub(super) brokers: Vec<(i32, String, u16)>,
    pub(super) error: i16,
    pub(super) topic: TopicId,
    /// Number, leader, and the leader's epoch, of those that have a leader.
    pub(super) leaders: Vec<(i32, i32, i32)>,
}

pub(super) fn read_metadata(answer: &[u8]) -> Option<Metadata> {
    let mut bytes = Bytes::new(answer);
    bytes.skip_tags()?;
    bytes.i32()?;
    let mut brokers = Vec::new();
    for _ in 0..bytes.length()? {
        let (id, host, port) = (bytes.i32()?, bytes.text()?.to_owned(), bytes.i32()?);
        bytes.text()?;
        bytes.skip_tags()?;
        brokers.push((id, host, u16::try_from(port).ok()?));
    }
    bytes.text()?;
    bytes.i32()?;
    if bytes.length()? != 1 {
        return None;
    }
    let error = bytes.i16()?;
    bytes.text()?;
    let topic = bytes.array()?;
    bytes.take(1)?;
    let mut leaders = Vec::new();
    for _ in 0..bytes.length()? {
        bytes.i16()?;
        let (partition, leader, epoch) = (bytes.i32()?, bytes.i32()?, bytes.i32()?);
        for _ in 0..3 {
            let replicas = bytes.length()?;
            bytes.take(replicas.checked_mul(4)?)?;
        }
        bytes.skip_tags()?;
        if leader >= 0 {
            leaders.push((partition, leader, epoch));
        }
    }
    Some(Metadata { brokers, error, topic, leaders })
}

/// What a fetch brought of one partition.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) partition: i32,
    pub(super) error: i16,
    /// The offset behind the last replicated record, and the one behind the last that is not of an open transaction.
    pub(super) high: i64,
    pub(super) stable: i64,
    /// The first offset that retention has left.
    pub(super) low: i64,
    /// Producer and first offset of each transaction that was aborted.
    pub(super) aborted: Vec<(i64, i64)>,
    /// Where in the answer the record batches are.
    pub(super) records: Range<usize>,
    /// Where the log of the epoch asked about ends, if it was cut before the offset asked for.
    pub(super) cut: Option<i64>,
}

/// What a broker answers to a fetch.
#[derive(Debug)]
pub(super) struct Answer {
    /// How long it wants to be left alone: a quota is used up.
    pub(super) throttle_ms: i32,
    pub(super) error: i16,
    pub(super) parts: Vec<Part>,
}

pub(super) fn read_fetch(answer: &[u8]) -> Option<Answer> {
    let mut bytes = Bytes::new(answer);
    bytes.skip_tags()?;
    let (throttle_ms, error) = (bytes.i32()?, bytes.i16()?);
    bytes.i32()?;
    let mut parts = Vec::new();
    for _ in 0..bytes.length()? {
        bytes.take(16)?;
        for _ in 0..bytes.length()? {
            parts.push(part(&mut bytes)?);
        }
        bytes.skip_tags()?;
    }
    Some(Answer { throttle_ms, error, parts })
}

fn part(bytes: &mut Bytes<'_>) -> Option<Part> {
    const DIVERGING_EPOCH: u64 = 0;
    let (partition, error) = (bytes.i32()?, bytes.i16()?);
    let (high, stable, low) = (bytes.i64()?, bytes.i64()?, bytes.i64()?);
    let mut aborted = Vec::new();
    for _ in 0..bytes.length()? {
        aborted.push((bytes.i64()?, bytes.i64()?));
        bytes.skip_tags()?;
    }
    bytes.i32()?;
    let length = bytes.length()?;
    let start = bytes.at;
    bytes.take(length)?;
    let mut cut = None;
    for _ in 0..bytes.uvarint()? {
        let (tag, length) = (bytes.uvarint()?, usize::try_from(bytes.uvarint()?).ok()?);
        let mut field = Bytes::new(bytes.take(length)?);
        if tag == DIVERGING_EPOCH {
            field.i32()?;
            cut = Some(field.i64()?);
        }
    }
    Some(Part { partition, error, high, stable, low, aborted, records: start..start + length, cut })
}

/// A place in some bytes.
pub(super) struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Seven bits a byte, least significant first.
    #[inline]
    pub(super) fn uvarint(&mut self) -> Option<u64> {
        let first = *self.bytes.get(self.at)?;
        if first < 0x80 {
            self.at += 1;
            return Some(first.into());
        }
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }

    /// As [`Self::uvarint`], of a number that may be negative: zigzag.
    #[inline]
    pub(super) fn varint(&mut self) -> Option<i64> {
        let value = self.uvarint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Of a text, an array or bytes; null is as none.
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.uvarint()?.saturating_sub(1)).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// Fields of later versions.
    pub(super) fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let length = usize::try_from(self.uvarint()?).ok()?;
            self.take(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seven_bits_a_byte_come_back() {
        for value in [0_u64, 1, 127, 128, 300, 16_384, u64::from(u32::MAX), u64::MAX >> 1] {
            let mut bytes = Vec::new();
            let mut rest = value;
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
            assert_eq!(Bytes::new(&bytes).uvarint(), Some(value));
        }
        assert_eq!(Bytes::new(&[0x80; 11]).uvarint(), None, "it never ends");
        assert_eq!(Bytes::new(&[0x80]).uvarint(), None, "it is cut off");
        let signed = [(0, 0), (1, -1), (2, 1), (3, -2), (4, 2)];
        for (written, value) in signed {
            assert_eq!(Bytes::new(&[written]).varint(), Some(value));
        }
    }

    #[test]
    fn a_length_beyond_the_answer_is_noticed() {
        let mut bytes = Bytes::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, b'a']);
        assert_eq!(bytes.text(), None);
        assert_eq!(Bytes::new(&[]).i64(), None);
        assert!(
            read_fetch(&[0; 12]).is_some_and(|answer| answer.error == 0 && answer.parts.is_empty())
        );
        assert!(read_fetch(&[0; 9]).is_none());
        assert!(read_metadata(&[0; 30]).is_none(), "it tells of no topic");
    }

    #[test]
    fn a_broker_that_lacks_a_version_is_known() {
        let answer = |least: i16, most: i16| {
            let mut answer = vec![0, 0, 0, 0, 0, 1];
            for number in [FETCH.key, least, most] {
                answer.extend_from_slice(&number.to_be_bytes());
            }
            answer
        };
        assert_eq!(knows(&answer(4, 18), FETCH), Some(true));
        assert_eq!(knows(&answer(0, 12), FETCH), Some(false));
        assert_eq!(knows(&answer(14, 18), FETCH), Some(false));
        assert_eq!(knows(&answer(4, 18), METADATA), Some(false));
        assert_eq!(knows(&answer(4, 18)[..8], FETCH), None);
    }
}
