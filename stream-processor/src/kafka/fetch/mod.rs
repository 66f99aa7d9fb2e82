//! Our own way of reading: plain TCP, one request for all partitions of a broker, records read where they arrived.
//!
//! librdkafka makes an object of each record, which costs more than twice as much as everything else about a fetch
//! together (docs/decisions/0013). So it keeps the group, the offsets and every other question, and the records of
//! brokers that need neither TLS nor a login come this way.
//!
//! Owns its connections, its threads and the memory of fetches. It must never deliver a record twice or out of
//! order, step over one, or hold more than a few fetches. Where a partition stands is its caller's to say.
//!
//! `leaders` asks who leads what → one `fetch` thread for each broker → `arrivals`, which is bounded, so that a
//! reader that stays away stops them.

mod batches;
mod connection;
mod desk;
mod fetched;
mod read;
mod serve;
mod unpack;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use lakehouse::faults::{Bug, made};
use lakehouse::ids::{Offset, PartitionId};

use super::error::KafkaError;
use super::settings::ConsumerSettings;
use super::tracker::Tracker;
use desk::Turn;
use fetched::Fetched;
use serve::Shared;

pub(super) use fetched::{RunRecords, Runs};

/// Fetches that wait to be delivered. Each broker's thread holds one more.
const WAITING: usize = 2;

/// What the threads tell the reader.
enum Arrival {
    /// Records, by partition.
    Records(Arc<Fetched>, Vec<Span>),
    /// The topic as a whole can't be read.
    Trouble(KafkaError),
    /// A broker is too old: librdkafka must read.
    Unsupported(String),
}

/// What a fetch brought of one partition.
struct Span {
    partition: PartitionId,
    turn: Turn,
    entries: Range<usize>,
    /// Behind it, markers and what was aborted included.
    next: Offset,
    /// Why nothing follows.
    fault: Option<KafkaError>,
}

/// What [`Fetcher::take`] found.
pub(super) enum Taken {
    /// Records, or none in time; and what went wrong behind them.
    Records(Option<Runs>, Option<KafkaError>),
    /// Some broker can't be read this way; it says why.
    Unsupported(String),
}

/// Fetches the partitions it is given. Dropping it ends its threads.
pub(super) struct Fetcher {
    shared: Arc<Shared>,
    arrivals: Receiver<Arrival>,
    /// The turn of each partition that is fetched.
    turns: BTreeMap<PartitionId, Turn>,
    /// What was taken off `arrivals` and not delivered yet.
    current: Option<(Arc<Fetched>, VecDeque<Span>)>,
}

impl Fetcher {
    /// A fetcher of `topic`. Nothing is asked of a broker before a partition is placed.
    ///
    /// # Errors
    ///
    /// No thread can be made.
    pub(super) fn new(settings: &ConsumerSettings, topic: &str) -> std::io::Result<Self> {
        let (sender, arrivals) = bounded(WAITING);
        let shared = Shared::start(settings, topic, sender)?;
        Ok(Self { shared, arrivals, turns: BTreeMap::new(), current: None })
    }

    /// Fetches these partitions from these offsets on; what was fetched of them before is thrown away.
    pub(super) fn place(&mut self, targets: &BTreeMap<PartitionId, Offset>) {
        if !targets.is_empty() {
            self.turns.extend(self.shared.place(targets));
        }
    }

    /// Fetches these partitions no more, and throws away what was fetched of them.
    pub(super) fn lift(&mut self, partitions: &[PartitionId]) {
        self.turns.retain(|partition, _| !partitions.contains(partition));
        self.shared.lift(partitions);
    }

    /// The partitions that are fetched.
    pub(super) fn placed(&self) -> Vec<PartitionId> {
        self.turns.keys().copied().collect()
    }

    /// Who may be asked what the last fetches said.
    pub(super) fn marks(&self) -> Marks {
        Marks(Arc::clone(&self.shared))
    }

    /// Waits up to `timeout` for a fetch, then delivers up to `max` records of it. `tracker` follows.
    #[allow(clippy::disallowed_methods, reason = "the adapter keeps the time-out it is given")]
    pub(super) fn take(&mut self, max: usize, timeout: Duration, tracker: &mut Tracker) -> Taken {
        let started = Instant::now();
        loop {
            if let Some(delivered) = self.deliver(max, tracker) {
                return delivered;
            }
            let left = timeout.saturating_sub(started.elapsed());
            match self.arrivals.recv_timeout(left) {
                Ok(Arrival::Records(fetched, spans)) => {
                    self.current = Some((fetched, spans.into()));
                }
                Ok(Arrival::Trouble(error)) => return Taken::Records(None, Some(error)),
                Ok(Arrival::Unsupported(why)) => return Taken::Unsupported(why),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Taken::Records(None, None);
                }
            }
        }
    }

    /// Delivers from what is in hand; `None` when nothing of it counts.
    fn deliver(&mut self, max: usize, tracker: &mut Tracker) -> Option<Taken> {
        let (fetched, spans) = self.current.as_mut()?;
        let whole = spans.iter().map(|span| span.entries.len()).sum();
        let (mut runs, mut left, mut fault) = (Vec::new(), fair(whole, max), None);
        while let Some(span) = spans.front_mut() {
            if self.turns.get(&span.partition) != Some(&span.turn) {
                spans.pop_front();
                continue;
            }
            let whole = span.entries.clone();
            let cut = whole.end.min(whole.start + left);
            if cut < whole.end {
                span.entries.start = cut;
            }
            let (taken, partition) = (whole.start..cut, span.partition);
            let last = fetched.entries(taken.clone()).last();
            let behind = last.map(|last| Offset::new(last.offset.saturating_add(1)));
            left -= taken.len();
            if !taken.is_empty() {
                runs.push((partition, taken));
            }
            if cut < whole.end {
                tracker.advance(partition, behind);
                break;
            }
            let next = if made(Bug::S7LastOffsetPlusOne) { behind } else { Some(span.next) };
            tracker.advance(partition, next);
            fault = span.fault.take().map(|error| (partition, error));
            spans.pop_front();
            if fault.is_some() {
                break;
            }
        }
        let fetched = Arc::clone(fetched);
        if spans.is_empty() {
            self.current = None;
        }
        let error = fault.map(|(partition, error)| {
            tracker.fail(partition, error.clone());
            error
        });
        match (runs.is_empty(), error) {
            (true, None) => None,
            (true, error) => Some(Taken::Records(None, error)),
            (false, error) => Some(Taken::Records(Some(Runs::new(fetched, runs)), error)),
        }
    }
}

/// How many of so many records to deliver at once, if there may be up to `max`: about as many each time, so that no small rest
/// is left.
fn fair(records: usize, max: usize) -> usize {
    let deliveries = records.div_ceil(max.max(1)).max(1);
    records.div_ceil(deliveries).min(max)
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// What the last fetches said of each partition.
#[derive(Clone)]
pub(super) struct Marks(Arc<Shared>);

impl Marks {
    /// Low and high; `None` before the partition's first fetch.
    pub(super) fn of(&self, partition: PartitionId) -> Option<(Offset, Offset)> {
        self.0.marks(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_delivery_is_larger_than_allowed_or_much_smaller_than_another() {
        let check = |records, max, each| assert_eq!(fair(records, max), each, "{records} of {max}");
        check(0, 2_000, 0);
        check(1, 2_000, 1);
        check(2_000, 2_000, 2_000);
        check(2_001, 2_000, 1_001);
        check(4_600, 2_000, 1_534);
        check(5, 1, 1);
        check(5, 0, 0);
    }
}
