//! The offsets that one batch covers.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::{Offset, PartitionId};
use crate::{Error, Kind, Result};

/// Offsets `[start, end)` of one partition.
///
/// Not a count of records: transaction markers and compaction leave holes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    start: Offset,
    end: Offset,
}

impl Range {
    /// The offset the batch was read from: the position held, not the first record seen.
    pub const fn start(self) -> Offset {
        self.start
    }

    /// The offset to read next, which is what Kafka would commit.
    pub const fn end(self) -> Offset {
        self.end
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// One [`Range`] for each partition of a batch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<PartitionId, Range>);

impl Ranges {
    /// Adds `[start, end)`, merging it with the range that ends where it starts.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`]: the range is backwards or does not continue the partition's range.
    pub fn extend(&mut self, partition: PartitionId, start: Offset, end: Offset) -> Result<()> {
        let held = self.0.get(&partition).copied();
        if start > end || start.get() < 0 || held.is_some_and(|held| held.end != start) {
            return Err(Error::new(Kind::Bug, "a range must continue the one before it")
                .with("partition", partition)
                .with("held", format!("{held:?}"))
                .with("range", format!("{start}..{end}")));
        }
        let start = held.map_or(start, |held| held.start);
        self.0.insert(partition, Range { start, end });
        Ok(())
    }

    /// The range of `partition`.
    pub fn get(&self, partition: PartitionId) -> Option<Range> {
        self.0.get(&partition).copied()
    }

    /// Every partition with its range, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Range)> + '_ {
        self.0.iter().map(|(partition, range)| (*partition, *range))
    }

    /// Whether no partition is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether committing this leaves every offset where it is.
    pub fn moves_nothing(&self) -> bool {
        self.0.values().all(|range| range.start == range.end)
    }

    /// Partition → `[start, end]`, as the snapshot summary holds it.
    pub fn to_json(&self) -> String {
        let pair = |range: &Range| format!("[{},{}]", range.start, range.end);
        let pairs: BTreeMap<_, _> = self.0.iter().map(|(p, range)| (*p, pair(range))).collect();
        format!("{{{}}}", json_members(&pairs))
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// `"partition":value` for each entry, in order; the values must be JSON already.
pub(super) fn json_members<V: fmt::Display>(map: &BTreeMap<PartitionId, V>) -> String {
    let members: Vec<_> = map.iter().map(|(p, value)| format!(r#""{p}":{value}"#)).collect();
    members.join(",")
}
