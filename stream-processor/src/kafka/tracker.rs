//! Which records belong to whom: the next offset of every assigned partition.
//!
//! Owns the decision whether a record that librdkafka hands out is delivered, and how far delivery went. Pure: it must
//! never call librdkafka, wait, or look at a record's bytes.
//!
//! Why librdkafka's own answer is not enough (2.12.1, `rd_kafka_q_serve_rkmessages`):
//! - Records taken into a batch before a revocation in the same call stay in the batch.
//! - A rebalance pauses fetching on another thread; what is being handed out at that instant is fetched
//!   again after it, so a record may come twice.
//! - After a checksum error the damaged record batch is skipped, and `position()` steps over it.
//! - Records left in a batch by a revocation may move the position of a partition that is already gone.
//!   When it comes back, `position()` and the next pause take that stale value for the truth.

use std::collections::BTreeMap;

use lakehouse::ids::{Offset, PartitionId};

use super::error::KafkaError;

/// What a rebalance did, in order, since the last poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assigned {
        starts: BTreeMap<PartitionId, Offset>,
        /// Those for which librdkafka still reports a position from before.
        left_over: Vec<PartitionId>,
    },
    Revoked(Vec<PartitionId>),
}

/// Whether a partition's fetcher stands where delivery does.
#[derive(Debug)]
enum Flow {
    Delivering,
    /// Nothing is delivered until the fetcher was sent to the next offset.
    Stopped(Option<KafkaError>),
}

#[derive(Debug)]
struct Held {
    partition: PartitionId,
    next: Offset,
    paused: bool,
    flow: Flow,
}

/// The assigned partitions and how far each was delivered.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// Sorted by partition.
    held: Vec<Held>,
    /// Where the last record's partition was found: records come in runs.
    cursor: usize,
}

impl Tracker {
    /// Takes over what happened inside one poll, and returns the paused partitions that went away.
    ///
    /// A partition that left and came back within one poll starts anew: its records in hand may be from
    /// before or after.
    pub(super) fn apply(&mut self, changes: Vec<Change>) -> Vec<PartitionId> {
        let mut revoked = Vec::new();
        let mut paused = Vec::new();
        for change in changes {
            match change {
                Change::Assigned { starts, left_over } => {
                    for (partition, next) in starts {
                        let misplaced =
                            revoked.contains(&partition) || left_over.contains(&partition);
                        let flow = if misplaced { Flow::Stopped(None) } else { Flow::Delivering };
                        self.held.retain(|held| held.partition != partition);
                        self.held.push(Held { partition, next, paused: false, flow });
                    }
                }
                Change::Revoked(partitions) => {
                    let gone = self
                        .held
                        .iter()
                        .filter(|held| held.paused && partitions.contains(&held.partition));
                    paused.extend(gone.map(|held| held.partition));
                    self.held.retain(|held| !partitions.contains(&held.partition));
                    revoked.extend(partitions);
                }
            }
        }
        self.held.sort_by_key(|held| held.partition);
        paused
    }

    /// Whether the record is delivered; if so, the partition's next offset moves past it.
    pub(super) fn admit(&mut self, partition: PartitionId, offset: Offset) -> bool {
        match self.find(partition) {
            Some(held) if matches!(held.flow, Flow::Delivering) && offset >= held.next => {
                held.next = Offset::new(offset.get().saturating_add(1));
                true
            }
            _ => false,
        }
    }

    /// Everything of the partition below `next` was delivered.
    pub(super) fn advance(&mut self, partition: PartitionId, next: Option<Offset>) {
        if let (Some(held), Some(next)) = (self.find(partition), next) {
            held.next = next;
        }
    }

    /// The next offset of the partition, if it is held.
    pub(super) fn next(&mut self, partition: PartitionId) -> Option<Offset> {
        self.find(partition).map(|held| held.next)
    }

    /// Stops delivery of the partition until its fetcher was sent to the next offset again.
    pub(super) fn fail(&mut self, partition: PartitionId, error: KafkaError) {
        if let Some(held) = self.find(partition) {
            held.flow = Flow::Stopped(Some(error));
        }
    }

    /// Moves the partition to `next`; nothing is delivered until its fetcher has followed. Returns
    /// whether the partition is held at all.
    pub(super) fn seek(&mut self, partition: PartitionId, next: Offset) -> bool {
        let moved = |held: &mut Held| (held.next, held.flow) = (next, Flow::Stopped(None));
        self.find(partition).map(moved).is_some()
    }

    /// The partitions whose fetcher must be sent to an offset before they deliver again.
    pub(super) fn stopped(&self) -> BTreeMap<PartitionId, Offset> {
        let stopped = self.held.iter().filter(|held| matches!(held.flow, Flow::Stopped(_)));
        stopped.map(|held| (held.partition, held.next)).collect()
    }

    /// The fetcher of the partition stands at its next offset.
    pub(super) fn restarted(&mut self, partition: PartitionId) {
        if let Some(held) = self.find(partition) {
            held.flow = Flow::Delivering;
        }
    }

    /// Why some partition delivers nothing, when an error is the reason.
    pub(super) fn fault(&self) -> Option<KafkaError> {
        let faults = self.held.iter().filter_map(|held| match &held.flow {
            Flow::Stopped(error) => error.clone(),
            Flow::Delivering => None,
        });
        faults.reduce(KafkaError::or_worse)
    }

    /// Marks partitions as paused or not, and returns those for which that is news.
    pub(super) fn set_paused(
        &mut self,
        partitions: &[PartitionId],
        paused: bool,
    ) -> Vec<PartitionId> {
        let news = |held: &&mut Held| held.paused != paused && partitions.contains(&held.partition);
        let changed = self.held.iter_mut().filter(news).map(|held| {
            held.paused = paused;
            held.partition
        });
        changed.collect()
    }

    /// The next offset of each of these partitions that is held.
    pub(super) fn nexts(&self, of: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        let held = self.held.iter().filter(|held| of.contains(&held.partition));
        held.map(|held| (held.partition, held.next)).collect()
    }

    /// The partitions that are paused.
    pub(super) fn paused(&self) -> Vec<PartitionId> {
        self.held.iter().filter(|held| held.paused).map(|held| held.partition).collect()
    }

    /// The assigned partitions.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        self.held.iter().map(|held| held.partition).collect()
    }

    /// The next offset of each partition. `reported` is librdkafka's position, which alone knows of
    /// transaction markers behind the last record; it counts where no fetcher is out of place.
    pub(super) fn positions(
        &self,
        reported: &BTreeMap<PartitionId, Offset>,
    ) -> BTreeMap<PartitionId, Offset> {
        let position = |held: &Held| match (&held.flow, reported.get(&held.partition)) {
            (Flow::Delivering, Some(reported)) => (held.partition, held.next.max(*reported)),
            _ => (held.partition, held.next),
        };
        self.held.iter().map(position).collect()
    }

    fn find(&mut self, partition: PartitionId) -> Option<&mut Held> {
        if self.held.get(self.cursor).is_none_or(|held| held.partition != partition) {
            self.cursor = self.held.binary_search_by_key(&partition, |held| held.partition).ok()?;
        }
        self.held.get_mut(self.cursor)
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
