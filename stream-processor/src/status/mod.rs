//! What the running job tells the outside: counters, positions, age of the last commit.
//!
//! Owns the shape of that report and its HTTP face. It must never hold a secret or influence the job.

mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::pipeline::{Starts, Timestamp};

pub use server::{ask, serve};

/// How far the reader is. Written by the reader's thread.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReaderProgress {
    /// Next offset to read, by partition held.
    pub position: Starts,
    /// Next offset the broker will give out, by partition held, as last heard.
    pub high: Starts,
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
    /// How long a table with records to read may go without a commit.
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
    /// Commits made by this process.
    pub commits: u64,
    /// Lost races with other writers.
    pub conflicts: u64,
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
}

/// Both reports, to read at any time.
#[derive(Clone, Debug)]
pub struct Status {
    /// How far the reader is.
    pub reader: watch::Receiver<ReaderProgress>,
    /// How far the tables are.
    pub job: watch::Receiver<JobProgress>,
}

/// The writing ends of [`Status`].
#[derive(Debug)]
pub struct Reporters {
    pub(crate) reader: watch::Sender<ReaderProgress>,
    pub(crate) job: watch::Sender<JobProgress>,
}

/// A fresh pair of ends, to be given to [`crate::run`] and to whoever watches it.
pub fn channel() -> (Reporters, Status) {
    let (reader, reader_seen) = watch::channel(ReaderProgress::default());
    let (job, job_seen) = watch::channel(JobProgress::default());
    (Reporters { reader, job }, Status { reader: reader_seen, job: job_seen })
}

/// A table that has records to read and was not committed for this long, beyond its own interval, is
/// not healthy.
pub(crate) const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Whether the job does its work: every table is at the end of the topic, or was committed lately.
pub fn is_ready(reader: &ReaderProgress, job: &JobProgress, now: Timestamp) -> bool {
    let ends_are_known = reader.position.keys().all(|p| reader.high.contains_key(p));
    let fine = |table: &TableProgress| {
        let lately = |at: Timestamp| now.saturating_sub(at) < job.patience;
        lag(&reader.high, &table.position) == 0 || table.last_commit.is_some_and(lately)
    };
    ends_are_known && !job.tables.is_empty() && job.tables.iter().all(fine)
}

/// Records between a table's position and the broker's end, summed over the partitions held.
pub fn lag(high: &Starts, position: &Starts) -> u64 {
    high.iter()
        .map(|(partition, high)| {
            let at = position.get(partition).map_or(0, |offset| offset.get());
            u64::try_from(high.get() - at).unwrap_or(0)
        })
        .sum()
}
