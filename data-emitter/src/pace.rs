//! A way for whoever runs the emitter to hold it back. No clock, no waiting.

use crate::placement::Placed;

/// Says whether a partition can take another record.
///
/// A broker that keeps its log in memory trims it silently; its owner holds the
/// emitter back by the position of the consumer.
pub trait Pace: Send + Sync {
    /// Whether `record` may be produced now. `false` holds the whole stream
    /// back, because its order is part of it; the emitter asks again within a
    /// few milliseconds, as often as it takes.
    fn admits(&self, record: &NextRecord) -> bool;
}

/// What a [`Pace`] decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextRecord {
    /// Where the record goes.
    pub partition: i32,
    /// How many records of this run stand before it in the partition.
    pub index: u64,
    /// The length of its key and payload.
    pub bytes: usize,
}

impl NextRecord {
    pub(crate) fn of(record: &Placed) -> Self {
        Self { partition: record.partition, index: record.index, bytes: record.emission.bytes() }
    }
}

/// As fast as the broker takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Pace for Unlimited {
    fn admits(&self, _: &NextRecord) -> bool {
        true
    }
}
