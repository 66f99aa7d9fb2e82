//! One sink table's way through the machine: what is open, what is in flight, where the table stands.

use std::time::Duration;

use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::Ranges;

use super::turn::Turn;
use super::{Limits, Starts, Timestamp};

/// What became of the records of some ranges, as seen by one table. The last three sum to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Rows for this table.
    pub written: u64,
    /// Records that are not for this table.
    pub filtered: u64,
    /// Records that are broken; for the table of rejects they are *written*.
    pub rejected: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.filtered += other.filtered;
        self.rejected += other.rejected;
    }
}

/// What one commit says: the lane, the half-open ranges, the balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blueprint {
    /// Which sink table.
    pub lane: usize,
    /// What the commit covers.
    pub ranges: Ranges,
    /// What became of it.
    pub counts: Counts,
}

#[derive(Debug)]
struct InFlight {
    sealed: Timestamp,
    ranges: Ranges,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Lane {
    index: usize,
    /// The table's position when it was last read; what lies below is in the table.
    floors: Starts,
    /// The table's position after the last commit of ours.
    committed: Starts,
    ranges: Ranges,
    counts: Counts,
    /// When the oldest open record came.
    since: Option<Timestamp>,
    /// When the oldest open row came.
    rows_since: Option<Timestamp>,
    bytes: usize,
    in_flight: Option<InFlight>,
    turn: Turn,
}

impl Lane {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            floors: Starts::new(),
            committed: Starts::new(),
            ranges: Ranges::default(),
            counts: Counts::default(),
            since: None,
            rows_since: None,
            bytes: 0,
            in_flight: None,
            turn: Turn::default(),
        }
    }

    pub(super) fn stand_at(&mut self, starts: &Starts) {
        self.floors.extend(starts);
        self.committed.extend(starts);
    }

    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.floors.remove(&partition);
        self.committed.remove(&partition);
    }

    /// Takes the ranges in unless the table already holds them, and says which it was.
    pub(super) fn take(&mut self, ranges: &Ranges, counts: Counts, now: Timestamp) -> bool {
        let below =
            |(p, end): (PartitionId, Offset)| self.floors.get(&p).is_some_and(|f| end <= *f);
        if !ranges.is_empty() && ranges.iter().all(|(p, range)| below((p, range.end()))) {
            return false;
        }
        for (partition, range) in ranges.iter() {
            let floor = self.floors.get(&partition).copied().unwrap_or(range.start());
            assert!(range.start() >= floor, "a chunk straddles the position of a sink table");
            let next = self.ranges.extend(partition, range.start(), range.end());
            assert!(next.is_ok(), "the machine took a chunk that does not continue the open part");
        }
        self.counts.add(counts);
        self.since.get_or_insert(now);
        if counts.written > 0 {
            self.rows_since.get_or_insert(now);
        }
        true
    }

    pub(super) fn weigh(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    /// Encoded bytes that this lane keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.in_flight.as_ref().map_or(0, |flying| flying.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn has_open(&self, partition: PartitionId) -> bool {
        self.ranges.get(partition).is_some()
    }

    /// Whether records of `partition` are open or in flight.
    pub(super) fn is_busy_with(&self, partition: PartitionId) -> bool {
        let flying = self.in_flight.as_ref().and_then(|flying| flying.ranges.get(partition));
        self.has_open(partition) || flying.is_some()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_empty() && self.in_flight.is_none()
    }

    /// Nothing more fits before the commit in flight has landed.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        let (bytes, rows) = (limits.bytes_max, limits.rows_max);
        // Half as much again: a commit that takes its time must not stop the reading at once.
        self.in_flight.is_some() && self.holds(bytes + bytes / 2, rows + rows / 2)
    }

    fn is_big(&self, limits: &Limits) -> bool {
        self.holds(limits.bytes_max, limits.rows_max)
    }

    fn holds(&self, bytes: usize, rows: u64) -> bool {
        self.bytes >= bytes || self.counts.written >= rows
    }

    fn is_due(&self, limits: &Limits, now: Timestamp) -> bool {
        let due = |since: Option<Timestamp>, wait| {
            since.is_some_and(|since| now >= self.turn.due(since, wait, limits.age_max))
        };
        // Without a turn, rows that come late into an old part go at once.
        let rows =
            if self.turn.is_taken() { self.rows_since } else { self.rows_since.and(self.since) };
        due(rows, limits.age_max) || due(self.since, limits.heartbeat)
    }

    pub(super) fn seal_if_due(
        &mut self,
        limits: &Limits,
        flush: bool,
        now: Timestamp,
    ) -> Option<Blueprint> {
        if self.in_flight.is_some() || self.is_empty() {
            return None;
        }
        if !(flush || self.is_due(limits, now) || self.is_big(limits)) {
            return None;
        }
        let ranges = std::mem::take(&mut self.ranges);
        let bytes = std::mem::take(&mut self.bytes);
        self.in_flight = Some(InFlight { sealed: now, ranges: ranges.clone(), bytes });
        (self.since, self.rows_since) = (None, None);
        Some(Blueprint { lane: self.index, ranges, counts: std::mem::take(&mut self.counts) })
    }

    pub(super) fn drop_open(&mut self) {
        self.ranges = Ranges::default();
        self.counts = Counts::default();
        (self.since, self.rows_since) = (None, None);
        self.bytes = 0;
    }

    pub(super) fn crowded(&mut self, limits: &Limits, lost: Duration, chance: u64) {
        if let Some(flying) = &self.in_flight {
            self.turn.crowded(limits.age_max, flying.sealed.saturating_add(lost), chance);
        }
    }

    pub(super) fn landed(&mut self, position: Starts) {
        self.in_flight = None;
        self.committed = position;
        self.turn.landed();
    }

    pub(super) fn dropped(&mut self) {
        self.in_flight = None;
        self.turn.landed();
    }

    pub(super) fn committed(&self, partition: PartitionId) -> Option<Offset> {
        self.committed.get(&partition).copied()
    }
}
