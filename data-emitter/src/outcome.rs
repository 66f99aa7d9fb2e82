//! What the emitter tells whoever runs it: progress, the balance, and errors.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::generator::Tally;
use crate::ledger::{Misplaced, PartitionSummary};

/// How far the emitter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records handed to the client.
    pub sent: u64,
    /// Records that the broker acknowledged.
    pub delivered: u64,
    /// Records that were given up.
    pub failed: u64,
    /// How many there will be, if they end.
    pub total: Option<u64>,
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records handed to the client, by kind.
    pub sent: Tally,
    /// Records that the broker acknowledged.
    pub delivered: u64,
    /// Records that were given up.
    pub failed: u64,
    /// Why the last of them was given up.
    pub last_failure: Option<String>,
    /// Acknowledged records that don't stand where the stream's order puts them.
    pub misplaced: u64,
    /// The first of them.
    pub first_misplaced: Option<Misplaced>,
    /// How many partitions the topic has.
    pub partition_count: i32,
    /// The acknowledged records of each partition.
    pub partitions: BTreeMap<i32, PartitionSummary>,
    /// From the topic's appearance to the last acknowledgement.
    pub elapsed: Duration,
}

impl Summary {
    /// Records that were sent and not acknowledged, for whatever reason.
    pub fn undelivered(&self) -> u64 {
        self.sent.records.saturating_sub(self.delivered)
    }
}

/// Why nothing, or nothing more, could be published.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// librdkafka refuses a setting. Correct it.
    #[error("the Kafka client refuses its settings: {reason}")]
    Settings {
        /// What librdkafka says.
        reason: String,
    },
    /// The topic didn't appear. Check address and name, or create it.
    #[error("topic `{topic}` is not to be had from {brokers}: {reason}")]
    NoTopic {
        /// The topic.
        topic: String,
        /// Who was asked.
        brokers: String,
        /// What the last answer was.
        reason: String,
    },
    /// The client takes no more records. Start again.
    #[error("the Kafka client takes no more records for topic `{topic}`: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// What librdkafka says.
        reason: String,
    },
}
