//! `/status.json`: everything that moves, once a second.
//!
//! Owns the names in that document; `reader` and `job` are read by other programs. Texts that come from
//! servers are cleaned of secrets here.

use std::collections::BTreeMap;
use std::time::Duration;

use lakehouse::ids::PartitionId;
use serde::Serialize;

use super::Start;
use super::health::{Facts, State, Verdict};
use super::history::{Plot, Rates};
use super::journal::{CommitEntry, Journal, RejectSample, RowSamples};
use super::process::Size;
use super::progress::{ReaderProgress, TableProgress, lags};
use super::redact::Redactor;
use crate::pipeline::Timestamp;

/// The document.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    process: Process<'a>,
    health: Health,
    reader: &'a ReaderProgress,
    job: Job<'a>,
    rates: Rates,
    plot: Plot,
    /// Newest first.
    commits: Vec<Commit<'a>>,
    rejects: Vec<Rejects<'a>>,
    /// By table.
    rows: &'a BTreeMap<String, RowSamples>,
}

#[derive(Serialize)]
struct Process<'a> {
    version: &'a str,
    /// Tells one process from the next behind the same address.
    started_unix_ms: u64,
    uptime_ms: u64,
    #[serde(flatten)]
    size: Size,
}

#[derive(Serialize)]
struct Health {
    ready: bool,
    state: State,
    reason: String,
}

#[derive(Serialize)]
struct Job<'a> {
    read: u64,
    rejected: &'a BTreeMap<&'static str, u64>,
    fenced: u64,
    tables: Vec<Table<'a>>,
}

#[derive(Serialize)]
struct Table<'a> {
    #[serde(flatten)]
    progress: &'a TableProgress,
    lag: BTreeMap<PartitionId, u64>,
    last_commit_age_ms: Option<u64>,
    /// How long the commit under way has taken so far.
    committing_ms: Option<u64>,
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Commit<'a> {
    unix_ms: u64,
    table: &'a str,
    records: u64,
    rows: u64,
    files: usize,
    bytes: u64,
    ms: u64,
    /// Text, for it does not fit into a browser's numbers.
    snapshot: Option<String>,
    conflicts: u32,
}

#[derive(Serialize)]
struct Rejects<'a> {
    reason: &'a str,
    count: u64,
    /// Newest first.
    samples: Vec<&'a RejectSample>,
}

/// What a report is made from, beside the facts.
pub(super) struct Rest<'a> {
    pub(super) version: &'a str,
    pub(super) start: Start,
    pub(super) now: Timestamp,
    pub(super) size: Size,
    pub(super) verdict: Verdict,
    pub(super) rates: Rates,
    pub(super) plot: Plot,
    pub(super) journal: &'a Journal,
    pub(super) redactor: &'a Redactor,
}

impl<'a> Report<'a> {
    /// Puts it together.
    pub(super) fn new(facts: Facts<'a>, rest: Rest<'a>) -> Self {
        let Rest { start, now, journal, redactor, .. } = rest;
        let job = facts.job;
        let table = |table: &'a TableProgress| Table {
            progress: table,
            lag: lags(&facts.reader.high, &table.position),
            last_commit_age_ms: table.last_commit.map(|at| millis(now.saturating_sub(at))),
            committing_ms: table.committing.map(|at| millis(now.saturating_sub(at))),
            trouble: table.trouble.as_deref().map(|text| redactor.clean(text)),
        };
        let rejects = |(reason, count): (&'a &'static str, &'a u64)| Rejects {
            reason,
            count: *count,
            samples: journal.rejects.get(*reason).into_iter().flatten().collect(),
        };
        Self {
            process: Process {
                version: rest.version,
                started_unix_ms: millis(start.unix),
                uptime_ms: millis(now),
                size: rest.size,
            },
            health: Health {
                ready: rest.verdict.state.is_ready(),
                state: rest.verdict.state,
                reason: redactor.clean(&rest.verdict.reason),
            },
            reader: facts.reader,
            job: Job {
                read: job.read,
                rejected: &job.rejected,
                fenced: job.fenced,
                tables: job.tables.iter().map(table).collect(),
            },
            rates: rest.rates,
            plot: rest.plot,
            commits: journal.commits.iter().map(|commit| Commit::new(commit, start)).collect(),
            rejects: job.rejected.iter().map(rejects).collect(),
            rows: &journal.rows,
        }
    }
}

impl<'a> Commit<'a> {
    fn new(entry: &'a CommitEntry, start: Start) -> Self {
        Self {
            unix_ms: millis(start.unix.saturating_add(entry.at)),
            table: &entry.table,
            records: entry.records,
            rows: entry.rows,
            files: entry.files,
            bytes: entry.bytes,
            ms: millis(entry.took),
            snapshot: entry.snapshot.map(|snapshot| snapshot.to_string()),
            conflicts: entry.conflicts,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
