//! The numbers that the job's threads leave behind.
//!
//! Pure data: nothing here decides, waits or forgets.

use std::collections::BTreeMap;
use std::time::Duration;

use lakehouse::ids::PartitionId;
use serde::Serialize;

use crate::pipeline::{Starts, Timestamp};

/// Whether the process has begun to read. Written at start and at stop.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// Where it is in its life.
    pub phase: Phase,
    /// The servers that don't answer yet, by name.
    pub waits: BTreeMap<String, Wait>,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Looking at the topic and the tables.
    #[default]
    Starting,
    /// Reading.
    Running,
    /// Committing what is open, to end then.
    Stopping,
}

/// A server that does not answer.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Since when.
    pub since: Timestamp,
    /// Its last words.
    pub cause: String,
}

/// How far the reader is. Written by the reader's thread and, for the ends, by the one that asks for them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReaderProgress {
    /// Next offset to read, by partition held.
    pub position: Starts,
    /// Next offset the broker will give out, by partition held, as last heard.
    pub high: Starts,
    /// Whether the group has said which partitions are ours, be it none; or none was asked.
    pub joined: bool,
    /// Whether reading rests because commits are behind.
    pub paused: bool,
    /// A question to a broker that was not answered, and none answered since.
    #[serde(skip)]
    pub unheard: Option<Unheard>,
}

/// A broker that does not answer.
#[derive(Clone, Debug)]
pub struct Unheard {
    /// When it was asked first.
    pub since: Timestamp,
    /// The partition it leads.
    pub partition: PartitionId,
    /// What the client says.
    pub cause: String,
}

/// How far the tables are. Written by the assembler.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobProgress {
    /// Records decoded since this process started, re-reads included.
    pub read: u64,
    /// Rejected records since this process started, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// How often another writer made us drop what was open.
    pub fenced: u64,
    /// How long a table with records to read may stand still.
    #[serde(skip)]
    pub patience: Duration,
    /// One for each sink table, in the order of the job; rejects last.
    pub tables: Vec<TableProgress>,
}

/// One sink table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableProgress {
    /// Namespace and name.
    pub name: String,
    /// Next offset, by partition.
    pub position: Starts,
    /// Rows committed by this process.
    pub rows: u64,
    /// Bytes of the data files committed by this process.
    pub bytes: u64,
    /// Commits made by this process.
    pub commits: u64,
    /// Lost races with other writers.
    pub conflicts: u64,
    /// Rows made for this table since the start, committed or not, re-reads included.
    pub selected: u64,
    /// Records that were not for this table, re-reads included.
    pub filtered: u64,
    /// When the first commit with a row was known to have landed, since the start of the process.
    #[serde(skip)]
    pub first_commit: Option<Timestamp>,
    /// When the last commit was known to have landed, since the start of the process.
    #[serde(skip)]
    pub last_commit: Option<Timestamp>,
    /// How long the last commit took, uploads included, in milliseconds.
    pub last_commit_ms: u64,
    /// The snapshot it made.
    pub last_snapshot: Option<i64>,
    /// How long commits took, uploads included.
    #[serde(skip)]
    pub took: Histogram,
    /// When the commit under way was begun.
    #[serde(skip)]
    pub committing: Option<Timestamp>,
    /// Why the commit under way had to be tried again.
    #[serde(skip)]
    pub trouble: Option<String>,
}

/// Durations in Prometheus' shape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Histogram {
    /// How many fell into each of [`Histogram::BOUNDS`], and into none but the ones before.
    counts: [u64; Self::BOUNDS.len()],
    over: u64,
    sum: Duration,
}

impl Histogram {
    /// Upper bounds in seconds. A commit takes about 10 ms on local files and 100 ms on object stores.
    pub const BOUNDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

    /// Counts one more.
    pub fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = Self::BOUNDS.iter().position(|bound| seconds <= *bound);
        match place.and_then(|place| self.counts.get_mut(place)) {
            Some(count) => *count += 1,
            None => self.over += 1,
        }
        self.sum += took;
    }

    /// The bounds, and how many durations were not above each.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        Self::BOUNDS.into_iter().zip(sums)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.over
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// Records between a table's position and the broker's end, for each partition held.
pub(super) fn lags(high: &Starts, position: &Starts) -> BTreeMap<PartitionId, u64> {
    let lag = |(partition, high): (&PartitionId, &lakehouse::ids::Offset)| {
        let at = position.get(partition).map_or(0, |offset| offset.get());
        (*partition, u64::try_from(high.get() - at).unwrap_or(0))
    };
    high.iter().map(lag).collect()
}

/// The same, summed.
pub(super) fn lag(high: &Starts, position: &Starts) -> u64 {
    lags(high, position).values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_not_above_each_bound() {
        let mut took = Histogram::default();
        for ms in [1, 10, 11, 400, 60_000] {
            took.record(Duration::from_millis(ms));
        }
        let at = |bound: f64| {
            took.cumulative().find(|(b, _)| (b - bound).abs() < 1e-9).map(|(_, count)| count)
        };
        assert_eq!((at(0.01), at(0.025), at(0.5), at(30.0)), (Some(2), Some(3), Some(4), Some(4)));
        assert_eq!(took.count(), 5);
        assert_eq!(took.sum(), Duration::from_millis(60_422));
    }

    #[test]
    fn a_table_that_is_ahead_of_what_was_heard_has_no_lag() {
        let at = |offsets: &[(i32, i64)]| -> Starts {
            offsets
                .iter()
                .map(|(p, o)| (PartitionId::new(*p), lakehouse::ids::Offset::new(*o)))
                .collect()
        };
        let found = lags(&at(&[(0, 10), (1, 10), (2, 10)]), &at(&[(0, 4), (1, 12)]));
        assert_eq!(found.into_values().collect::<Vec<_>>(), [6, 0, 10]);
    }
}
