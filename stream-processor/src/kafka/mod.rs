//! Kafka → batches of raw records, and the way back: seek, pause, positions.
//!
//! Owns the one Kafka client of the process: its settings, its group membership, who fetches, and the rule
//! which records are delivered. It must never look into a payload, hold a record back, or take a start offset
//! from anywhere but its caller: the table knows where to start, Kafka's group offsets don't.
//!
//! One thread polls; it also runs the [`Rebalance`] handler. Everything else may be asked from any thread
//! through a [`Probe`].
//!
//! Absent on purpose: committing before the table did, reading group offsets, resetting offsets,
//! auto-commit, regular-expression subscriptions.

mod batch;
mod consumer;
mod error;
mod fetch;
mod ffi;
mod probe;
mod settings;
mod tracker;

use std::collections::BTreeMap;

use lakehouse::ids::{Offset, PartitionId};

pub use batch::{Batch, Record, Records};
pub use consumer::Consumer;
pub use error::{KafkaError, KafkaErrorKind};
pub use probe::{Probe, SourceIdentity, Watermarks};
pub use settings::{
    ConsumerSettings, FETCH_BYTES, Fetching, MAX_POLL_INTERVAL, QUEUE_KBYTES, SESSION_TIMEOUT,
};

/// Answers a rebalance, on the polling thread, inside [`Consumer::poll`] or [`Consumer::close`].
///
/// A handler may wait (the group's session is kept alive by librdkafka's own thread), but no longer than
/// `max_poll_interval`. It must not pause partitions.
pub trait Rebalance: Send {
    /// Partitions arrive, at least one: returns where to start each. A partition left out is not read.
    fn assigned(&mut self, partitions: &[PartitionId]) -> BTreeMap<PartitionId, Offset>;

    /// Partitions leave. When `lost`, another member may already read them, and a commit of theirs will
    /// be fenced; otherwise they are still ours until this returns.
    ///
    /// No record of them is delivered by the same poll or any later one.
    fn revoked(&mut self, partitions: &[PartitionId], lost: bool);

    /// The group has settled who reads what; what this member was given has been told before, and may be
    /// nothing.
    fn joined(&mut self) {}
}
