//! The broker inside the process: librdkafka's own, speaking the Kafka protocol on loopback.
//!
//! It keeps 5 MiB or 100,000 records a partition in memory and trims silently. So the emitter is held
//! back by what the processor has read, and nothing is ever trimmed unread; if it were, the processor
//! would stop with an error, since it never resets an offset.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context, Result};
use data_emitter::{NextRecord, Pace};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use stream_processor::status::ReaderProgress;
use tokio::sync::watch;

/// Records of a partition that may be unread: well under the broker's 100,000.
const UNREAD_RECORDS_MAX: u64 = 50_000;
/// Bytes of a partition that may be unread: far under the broker's 5 MiB, and enough to keep everyone busy.
const UNREAD_BYTES_MAX: u64 = 1 << 20;

/// A running broker with one topic. It ends when this is dropped.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts a broker on a free port of loopback and makes `topic`.
    ///
    /// # Errors
    ///
    /// No port could be had.
    pub fn start(topic: &str, partitions: i32) -> Result<Self> {
        let cluster = MockCluster::new(1).context("the in-process broker does not start")?;
        cluster.create_topic(topic, partitions, 1).context("the topic can't be made")?;
        Ok(Self { cluster })
    }

    /// Where clients connect to.
    pub fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

/// Holds the emitter back so that the broker trims nothing that is still unread.
pub(crate) struct PaceByReader {
    reader: watch::Receiver<ReaderProgress>,
    /// For each partition: bytes sent in all, and what was sent beyond the reader, oldest first.
    sent: Mutex<BTreeMap<i32, Unread>>,
}

#[derive(Default)]
struct Unread {
    /// Bytes below each index that is a multiple of [`MARK_EVERY`].
    marks: BTreeMap<u64, u64>,
    bytes: u64,
    admitted: Option<u64>,
}

/// How finely bytes are remembered.
const MARK_EVERY: u64 = 256;

impl PaceByReader {
    /// Follows the processor's reader.
    pub(crate) fn new(reader: watch::Receiver<ReaderProgress>) -> Self {
        Self { reader, sent: Mutex::default() }
    }

    fn read_in(&self, partition: i32) -> u64 {
        let reader = self.reader.borrow();
        let at = reader.position.iter().find(|(p, _)| p.get() == partition);
        at.and_then(|(_, offset)| u64::try_from(offset.get()).ok()).unwrap_or(0)
    }
}

impl Pace for PaceByReader {
    fn admits(&self, record: &NextRecord) -> bool {
        let read = self.read_in(record.partition);
        let Ok(mut sent) = self.sent.lock() else { return false };
        let unread = sent.entry(record.partition).or_default();
        if unread.admitted == Some(record.index) {
            return true;
        }
        let below = unread.marks.range(..=read).next_back().map_or(0, |(_, bytes)| *bytes);
        if record.index.saturating_sub(read) >= UNREAD_RECORDS_MAX
            || unread.bytes - below >= UNREAD_BYTES_MAX
        {
            return false;
        }
        unread.admitted = Some(record.index);
        if record.index.is_multiple_of(MARK_EVERY) {
            unread.marks.retain(|index, _| *index + MARK_EVERY >= read);
            unread.marks.insert(record.index, unread.bytes);
        }
        unread.bytes += record.bytes as u64;
        true
    }
}
