//! Where the records stand in a broker's answer to a fetch.
//!
//! Pure. Knows the flexible versions of the answer, 12 to 16 (KIP-482); it must never guess at another.

use std::ops::Range;

/// The first and the last version whose answers are understood.
const VERSIONS: std::ops::RangeInclusive<i16> = 12..=16;
/// Since this one a topic is named by its id.
const TOPIC_ID_SINCE: i16 = 13;

/// One partition's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Records {
    partition: i32,
    /// Their length on the wire, a varint.
    length: Range<usize>,
    bytes: Range<usize>,
}

/// Finds the records of every partition; `None` where the answer is not understood.
pub(super) fn records(version: i16, frame: &[u8]) -> Option<Vec<Records>> {
    if !VERSIONS.contains(&version) {
        return None;
    }
    let mut at = Cursor { frame, place: 0 };
    at.skip(4)?; // correlation id
    at.tags()?;
    at.skip(4 + 2 + 4)?; // throttle time, error, session
    let mut found = Vec::new();
    for _ in 0..at.count()? {
        if version >= TOPIC_ID_SINCE {
            at.skip(16)?;
        } else {
            let name = at.count()?;
            at.skip(name)?;
        }
        for _ in 0..at.count()? {
            let partition = at.int()?;
            at.skip(2 + 8 + 8 + 8)?; // error, high watermark, last stable offset, log start
            for _ in 0..at.count()? {
                at.skip(8 + 8)?; // an aborted transaction
                at.tags()?;
            }
            at.skip(4)?; // preferred replica
            let begun = at.place;
            let length = at.count()?;
            let (length, bytes) = (begun..at.place, at.place..at.place.checked_add(length)?);
            at.skip(bytes.len())?;
            at.tags()?;
            found.push(Records { partition, length, bytes });
        }
        at.tags()?;
    }
    at.tags()?;
    (at.place == frame.len()).then_some(found)
}

/// The answer without the records of `partition`, and how often there were some.
pub(super) fn without(frame: &[u8], records: &[Records], partition: i32) -> (Vec<u8>, u64) {
    let (mut left, mut from, mut withheld) = (Vec::with_capacity(frame.len()), 0, 0);
    for records in records.iter().filter(|r| r.partition == partition && !r.bytes.is_empty()) {
        left.extend_from_slice(frame.get(from..records.length.start).unwrap_or_default());
        // A compact length is one more than the length.
        left.push(1);
        from = records.bytes.end;
        withheld += 1;
    }
    left.extend_from_slice(frame.get(from..).unwrap_or_default());
    (left, withheld)
}

/// The answer with the last byte of the records of every partition flipped, and how many there were.
pub(super) fn damaged(mut frame: Vec<u8>, records: &[Records]) -> (Vec<u8>, u64) {
    let mut damaged = 0;
    for records in records.iter().filter(|records| !records.bytes.is_empty()) {
        if let Some(byte) = frame.get_mut(records.bytes.end - 1) {
            *byte ^= 1;
            damaged += 1;
        }
    }
    (frame, damaged)
}

struct Cursor<'a> {
    frame: &'a [u8],
    place: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, length: usize) -> Option<()> {
        self.place = self.place.checked_add(length)?;
        (self.place <= self.frame.len()).then_some(())
    }

    fn int(&mut self) -> Option<i32> {
        let bytes = self.frame.get(self.place..)?.first_chunk::<4>()?;
        self.place += 4;
        Some(i32::from_be_bytes(*bytes))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = *self.frame.get(self.place)?;
            self.place += 1;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A compact length: 0 is null, and all others are one too large.
    fn count(&mut self) -> Option<usize> {
        self.varint().map(|count| count.saturating_sub(1))
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of version 16: one topic, partition 3 with `abc`, partition 4 with nothing.
    fn answer() -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 7, 0];
        frame.extend([0; 10]);
        frame.push(2); // one topic
        frame.extend([9; 16]);
        frame.push(3); // two partitions
        for (partition, records) in [(3_u8, &b"abc"[..]), (4, b"")] {
            frame.extend([0, 0, 0, partition]);
            frame.extend([0; 26]);
            frame.push(2); // one aborted transaction
            frame.extend([0; 16]);
            frame.push(0);
            frame.extend([0xff; 4]);
            frame.push(u8::try_from(records.len() + 1).unwrap());
            frame.extend(records);
            frame.push(0);
        }
        frame.extend([0, 0]);
        frame
    }

    #[test]
    fn records_are_found_by_partition() {
        let frame = answer();
        let found = records(16, &frame).unwrap();
        let texts: Vec<_> = found.iter().map(|r| (r.partition, &frame[r.bytes.clone()])).collect();
        assert_eq!(texts, [(3, &b"abc"[..]), (4, b"")]);
        assert_eq!(records(11, &frame), None, "another layout");
        assert_eq!(records(16, &frame[..frame.len() - 1]), None, "cut off");
    }

    #[test]
    fn a_silent_partition_has_no_records_and_the_rest_stays() {
        let frame = answer();
        let (left, withheld) = without(&frame, &records(16, &frame).unwrap(), 3);
        assert_eq!(withheld, 1);
        let found = records(16, &left).unwrap();
        assert!(found.iter().all(|records| records.bytes.is_empty()), "{found:?}");
        let (same, withheld) = without(&frame, &records(16, &frame).unwrap(), 4);
        assert_eq!((same, withheld), (frame, 0));
    }

    #[test]
    fn damage_changes_one_byte_of_the_records() {
        let frame = answer();
        let (other, damaged) = damaged(frame.clone(), &records(16, &frame).unwrap());
        assert_eq!(damaged, 1);
        assert_eq!(frame.iter().zip(&other).filter(|(a, b)| a != b).count(), 1);
    }
}
