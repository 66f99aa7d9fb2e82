//! The proof: what the tables hold against what they must hold, record by record.
//!
//! Owns the comparison. It must never share code with the engine that wrote the tables: what must be comes
//! from [`expect`], what is comes from the tables by SQL.

pub mod expect;
mod held;

use std::fmt;

use anyhow::Result;
use lakehouse::commit::Lakehouse;

use expect::{Expected, expected};
use held::{Held, Place};

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
            self.read, self.written, self.filtered, self.rejected, self.lost, self.duplicated, self.altered
        )?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// Compares `tables` with `records`, which must be all that the tables' positions cover.
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
    let mut held = Held::load(lake, tables).await?;
    let mut verdict = Verdict::default();
    for place in held.doubled() {
        verdict.duplicated += 1;
        verdict.note(|| format!("{place:?} is in a table twice"));
    }
    for record in records {
        verdict.read += 1;
        compare(&mut verdict, &mut held, truth, &record);
    }
    for place in held.left() {
        verdict.altered += 1;
        verdict.note(|| format!("{place:?} is in a table and must not be"));
    }
    Ok(verdict)
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
            Some(found) if found.is(truth.topic, reason, record.payload.as_deref()) => verdict.rejected += 1,
            Some(found) => {
                verdict.altered += 1;
                verdict.note(|| format!("{place:?} is rejected as {} and must be as {reason}", found.reason));
            }
            None => {
                verdict.lost += 1;
                verdict.note(|| format!("{place:?} must be rejected as {reason} and is not"));
            }
        },
        Expected::Filtered if row.is_none() && reject.is_none() => verdict.filtered += 1,
        Expected::Filtered => {
            verdict.altered += 1;
            verdict.note(|| format!("{place:?} must be in no table; rejected: {:?}", reject.map(|r| r.reason)));
        }
    }
}
