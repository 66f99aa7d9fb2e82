//! Which partition a key belongs to, and which place in it each record takes.

use crate::{Emission, Generator};

/// The partition of `key` among `partitions`, as Kafka's own Java client
/// chooses it: murmur2 of the key, without its sign.
///
/// # Panics
///
/// When `partitions` is not positive: no topic is like that.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions
}

/// Kafka's murmur2: `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    // Java's length is an int; a longer key can't be a Kafka key.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MIX) ^ mixed.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        for (shift, byte) in [0, 8, 16].into_iter().zip(rest) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// A record and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition of its key.
    pub partition: i32,
    /// How many records of the stream stand before it in that partition: its
    /// offset, counted from the partition's first record of the stream.
    pub index: u64,
    /// The record.
    pub emission: Emission,
}

/// A generator's records with their places. Endless.
pub struct Partitioned {
    generator: Generator,
    partitions: i32,
    lengths: Lengths,
}

impl Partitioned {
    pub(crate) fn new(generator: Generator, partitions: i32) -> Self {
        Self { generator, partitions, lengths: Lengths::default() }
    }
}

impl Iterator for Partitioned {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        let emission = self.generator.next()?;
        let partition = partition_of(&emission.key, self.partitions);
        let index = self.lengths.push(partition);
        Some(Placed { partition, index, emission })
    }
}

/// How many records of the stream each partition has.
#[derive(Default)]
pub(crate) struct Lengths(Vec<u64>);

impl Lengths {
    /// Adds a record to `partition`; returns how many stood before it.
    pub(crate) fn push(&mut self, partition: i32) -> u64 {
        let place = usize::try_from(partition).unwrap_or_default();
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        let length = self.0.get_mut(place).expect("just made long enough");
        *length += 1;
        *length - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn murmur2_gives_the_numbers_of_kafkas_own_test() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn places_count_up_in_each_partition() {
        let mut lengths = Lengths::default();
        let places: Vec<u64> = [2, 0, 2, 2, 0].into_iter().map(|p| lengths.push(p)).collect();
        assert_eq!(places, [0, 0, 1, 2, 1]);
    }
}
