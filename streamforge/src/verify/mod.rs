//! The proof: what the tables hold against what they must hold, record by record.
//!
//! Owns the comparison. It must never share code with the engine that wrote the tables: what must be comes
//! from [`expect`], what is comes from the tables by SQL.

pub mod expect;
mod held;
pub mod invariants;
mod live;
pub mod plain;
pub mod produced;
mod snapshot;
mod topic;
mod window;

use std::fmt;

use anyhow::Result;
use lakehouse::commit::Lakehouse;

use expect::{Expected, expected};
use held::{Held, Place};

pub use live::{LONG_ABOUT, Plan, VerifyArgs, verify_live};
pub(crate) use topic::{Extent, Topic};
pub(crate) use window::Offsets;

use crate::query::Tables;

/// What the job is, in the verifier's own words.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'a> {
    /// Purchases above this many hundredths of a dollar are written.
    pub threshold_cents: i128,
    /// The topic that rejected records name.
    pub topic: &'a str,
}

/// One record of the topic.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records compared.
    pub read: u64,
    /// Records that are rows of the table, as they must be.
    pub written: u64,
    /// Records that are rightly in no table.
    pub filtered: u64,
    /// Records that are rejected, as they must be.
    pub rejected: u64,
    /// Records that must be in a table and are in none.
    pub lost: u64,
    /// Rows beyond the first of a record.
    pub duplicated: u64,
    /// Rows that differ from what they must be, or must not be at all.
    pub altered: u64,
    /// The first few findings, in words.
    pub findings: Vec<String>,
}

/// Findings that are put into words.
const FINDINGS_MAX: usize = 5;

impl Verdict {
    /// Whether the tables hold exactly what they must.
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.altered == 0
            && self.written + self.filtered + self.rejected == self.read
    }

    fn note(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "verified: read={} written={} filtered={} rejected={} lost={} duplicated={} altered={}",
            self.read,
            self.written,
            self.filtered,
            self.rejected,
            self.lost,
            self.duplicated,
            self.altered
        )?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// Compares the tables with records that are handed in one by one, a window of the topic at a time.
struct Verifier<'a> {
    truth: Truth<'a>,
    held: Held,
    verdict: Verdict,
}

impl<'a> Verifier<'a> {
    /// A verifier that holds nothing yet.
    fn new(truth: Truth<'a>) -> Self {
        Self { truth, held: Held::default(), verdict: Verdict::default() }
    }

    /// Takes what the tables hold of the next window; every record of it must be compared before the next.
    fn open(&mut self, held: Held) {
        self.close();
        self.held = held;
        for place in self.held.doubled() {
            self.verdict.duplicated += 1;
            self.verdict.note(|| format!("{place:?} is in a table twice"));
        }
    }

    /// Compares one record of the window.
    fn compare(&mut self, record: &Record) {
        self.verdict.read += 1;
        compare(&mut self.verdict, &mut self.held, &self.truth, record);
    }

    /// A row that came from no record.
    fn foreign(&mut self, place: Place) {
        self.verdict.altered += 1;
        self.verdict.note(|| format!("{place:?} is in a table and must not be"));
    }

    /// Records compared so far.
    fn read(&self) -> u64 {
        self.verdict.read
    }

    /// What is left of the window came from no record.
    fn close(&mut self) {
        for place in std::mem::take(&mut self.held).left() {
            self.foreign(place);
        }
    }

    /// The findings.
    fn finish(mut self) -> Verdict {
        self.close();
        self.verdict
    }
}

/// Compares `tables` with `records`, which must be all that the tables' positions cover. The rows of both tables
/// are held in memory.
///
/// # Errors
///
/// The tables can't be read.
pub async fn verify(
    lake: &Lakehouse,
    tables: &Tables,
    truth: &Truth<'_>,
    records: impl Iterator<Item = Record>,
) -> Result<Verdict> {
    verify_ours(lake, tables, truth, records, "true").await
}

/// The same where others have put rows of their own into the tables: only rows for which the SQL condition `ours`
/// holds are compared.
///
/// # Errors
///
/// The tables can't be read.
pub async fn verify_ours(
    lake: &Lakehouse,
    tables: &Tables,
    truth: &Truth<'_>,
    records: impl Iterator<Item = Record>,
    ours: &str,
) -> Result<Verdict> {
    let mut verifier = Verifier::new(*truth);
    verifier.open(Held::load(&tables.session(lake, None).await?, ours).await?);
    records.for_each(|record| verifier.compare(&record));
    Ok(verifier.finish())
}

fn compare(verdict: &mut Verdict, held: &mut Held, truth: &Truth<'_>, record: &Record) {
    let place = Place { partition: record.partition, offset: record.offset };
    let row = held.rows.remove(&place);
    let reject = held.rejects.remove(&place);
    match expected(record.payload.as_deref(), truth.threshold_cents) {
        Expected::Written(wanted) => match row {
            Some(row) if row == *wanted => verdict.written += 1,
            Some(row) => {
                verdict.altered += 1;
                verdict.note(|| format!("{place:?} is {row:?} and must be {wanted:?}"));
            }
            None => {
                verdict.lost += 1;
                verdict.note(|| format!("{place:?} must be a row and is not"));
            }
        },
        Expected::Rejected(reason) => match &reject {
            Some(found) if found.is(truth.topic, reason, record.payload.as_deref()) => {
                verdict.rejected += 1;
            }
            Some(found) => {
                verdict.altered += 1;
                verdict.note(|| {
                    format!("{place:?} is rejected as {} and must be as {reason}", found.reason)
                });
            }
            None => {
                verdict.lost += 1;
                verdict.note(|| format!("{place:?} must be rejected as {reason} and is not"));
            }
        },
        Expected::Filtered if row.is_none() && reject.is_none() => verdict.filtered += 1,
        Expected::Filtered => {
            verdict.altered += 1;
            verdict.note(|| {
                format!("{place:?} must be in no table; rejected: {:?}", reject.map(|r| r.reason))
            });
        }
    }
}
