//! Which partitions are fetched, from where on, and by whom.
//!
//! Owns the turn of each partition: whoever sends it elsewhere gives it a new one, and what was fetched in an older
//! turn counts for nothing. Pure: no clock, no socket, no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lakehouse::ids::{Offset, PartitionId};

use super::connection::Address;
use super::wire::{Ask, Metadata, TopicId, UNKNOWN};

/// How long a partition rests whose fetch failed.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Time since the fetcher was made.
pub(super) type Time = Duration;

/// What was fetched in an older turn of its partition counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn(u64);

/// Low and high of a partition, as its last fetch said.
type Marks = (Offset, Offset);

#[derive(Debug)]
struct Place {
    turn: Turn,
    next: i64,
    /// Of the last record read.
    epoch: i32,
    rests_until: Time,
    /// The broker said that it lacks `next`.
    suspected: bool,
    /// It is out of place, and its reader knows: nothing is fetched until it is placed anew.
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    turns: u64,
    places: BTreeMap<PartitionId, Place>,
    marks: BTreeMap<PartitionId, Marks>,
    /// The id of the topic that is read, which never changes: another one is another topic.
    topic: Option<TopicId>,
    brokers: BTreeMap<i32, Address>,
    /// Leader, and its epoch.
    leaders: BTreeMap<PartitionId, (i32, i32)>,
    /// Somebody was told that what is known of the leaders is not so.
    doubted: bool,
    /// Counts fetches, so that each begins with another partition.
    fetches: usize,
}

/// The topic has another id than the one that is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    pub(super) known: TopicId,
    pub(super) found: TopicId,
}

impl Desk {
    /// Fetches the partition from `next` on.
    pub(super) fn place(&mut self, partition: PartitionId, next: Offset, now: Time) -> Turn {
        self.turns += 1;
        let turn = Turn(self.turns);
        let failed = self.places.get(&partition).is_some_and(|before| before.told);
        let rests_until = if failed { now + REST } else { now };
        let place = Place {
            turn,
            next: next.get(),
            epoch: UNKNOWN,
            rests_until,
            suspected: false,
            told: false,
        };
        self.places.insert(partition, place);
        turn
    }

    /// Fetches the partition no more.
    pub(super) fn lift(&mut self, partition: PartitionId) {
        self.places.remove(&partition);
    }

    /// What is to be fetched from the broker now. Each time another partition is first, because an answer may be
    /// full before the last.
    pub(super) fn asks(&mut self, broker: i32, now: Time) -> Vec<(Ask, Turn)> {
        let ready = |place: &Place| !place.told && place.rests_until <= now;
        let wanted = self.places.iter().filter(|(_, place)| ready(place));
        let mut asks: Vec<_> = wanted
            .filter_map(|(partition, place)| match self.leaders.get(partition) {
                Some((leader, leader_epoch)) if *leader == broker => {
                    let ask = Ask {
                        partition: partition.get(),
                        offset: place.next,
                        leader_epoch: *leader_epoch,
                        last_epoch: place.epoch,
                    };
                    Some((ask, place.turn))
                }
                _ => None,
            })
            .collect();
        if !asks.is_empty() {
            self.fetches = self.fetches.wrapping_add(1);
            let first = self.fetches % asks.len();
            asks.rotate_left(first);
        }
        asks
    }

    /// Whether the partition is still in this turn.
    pub(super) fn is_current(&self, partition: PartitionId, turn: Turn) -> bool {
        self.places.get(&partition).is_some_and(|place| place.turn == turn)
    }

    /// The partition was read up to `next`; `epoch` is that of its last record, if any came.
    pub(super) fn read(&mut self, partition: PartitionId, next: i64, epoch: Option<i32>) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.suspected &= place.next == next;
            place.next = next;
            place.epoch = epoch.unwrap_or(place.epoch);
        }
    }

    /// The broker says that it lacks the partition's next offset. Whether it said so the last time, too: one answer
    /// may be damaged, or of a broker that just stopped to lead.
    pub(super) fn is_lacking(&mut self, partition: PartitionId) -> bool {
        self.places
            .get_mut(&partition)
            .is_some_and(|place| std::mem::replace(&mut place.suspected, true))
    }

    /// The partition is fetched again a little later.
    pub(super) fn rest(&mut self, partition: PartitionId, now: Time) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.rests_until = now + REST;
        }
    }

    /// Its reader is told why the partition can't be read: it must place it anew.
    pub(super) fn tell(&mut self, partition: PartitionId) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.told = true;
        }
    }

    pub(super) fn mark(&mut self, partition: PartitionId, low: i64, high: i64) {
        if high >= 0 {
            self.marks.insert(partition, (Offset::new(low.max(0)), Offset::new(high)));
        }
    }

    pub(super) fn marks(&self, partition: PartitionId) -> Option<(Offset, Offset)> {
        self.marks.get(&partition).copied()
    }

    /// What is known of the leaders may be wrong.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Whether the brokers must be asked who leads.
    pub(super) fn is_in_doubt(&self) -> bool {
        let unled = |partition: &PartitionId| !self.leaders.contains_key(partition);
        self.doubted || self.places.keys().any(unled)
    }

    /// Takes over what the brokers said.
    pub(super) fn learn(&mut self, metadata: Metadata) -> Result<(), Replaced> {
        let Metadata { brokers, topic: found, leaders, .. } = metadata;
        let known = *self.topic.get_or_insert(found);
        if known != found {
            return Err(Replaced { known, found });
        }
        self.doubted = false;
        self.brokers =
            brokers.into_iter().map(|(id, host, port)| (id, Address { host, port })).collect();
        self.leaders = leaders
            .into_iter()
            .map(|(partition, leader, epoch)| (PartitionId::new(partition), (leader, epoch)))
            .collect();
        Ok(())
    }

    pub(super) fn topic(&self) -> Option<TopicId> {
        self.topic
    }

    pub(super) fn address(&self, broker: i32) -> Option<&Address> {
        self.brokers.get(&broker)
    }

    /// Every broker that is known.
    pub(super) fn brokers(&self) -> impl Iterator<Item = &Address> {
        self.brokers.values()
    }

    /// The brokers that lead a partition of the topic.
    pub(super) fn leading(&self) -> impl Iterator<Item = (i32, &Address)> {
        let leaders: BTreeSet<i32> = self.leaders.values().map(|(leader, _)| *leader).collect();
        leaders.into_iter().filter_map(|id| Some((id, self.brokers.get(&id)?)))
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
