//! The proof: what the tables hold against what they must hold, record by record.
//!
//! Owns the comparison. It must never share code with the engine that wrote the tables: what must be comes
//! from [`expect`], what is comes from the tables by SQL.

pub mod expect;
mod held;
mod live;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use lakehouse::commit::Lakehouse;
use lakehouse::ids::{Offset, PartitionId};

use expect::{Expected, expected};
use held::{Held, Place};

pub use live::{VerifyArgs, verify_live};

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

/// The part of the topic that is compared, `[start, end)` of each partition.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// First offset that can be read again.
    pub starts: BTreeMap<PartitionId, Offset>,
    /// Up to where every table is complete.
    pub ends: BTreeMap<PartitionId, Offset>,
    /// Where each table stands, by name; it must hold nothing from there on.
    pub positions: BTreeMap<String, BTreeMap<PartitionId, Offset>>,
}

impl Bounds {
    /// Whether a row of `table` is to be compared: all but those that are gone from the topic, and those
    /// that this table has and another is still to reach.
    fn holds(&self, table: &str, place: Place) -> bool {
        let (partition, offset) = (PartitionId::new(place.partition), Offset::new(place.offset));
        let above = |ends: &BTreeMap<_, _>| ends.get(&partition).is_none_or(|end| *end <= offset);
        let gone = self.starts.get(&partition).is_some_and(|start| offset < *start);
        let ahead = above(&self.ends) && !self.positions.get(table).is_none_or(above);
        !gone && !ahead
    }
}

/// Compares the tables with records that are handed in one by one.
pub struct Verifier<'a> {
    truth: Truth<'a>,
    held: Held,
    verdict: Verdict,
}

impl<'a> Verifier<'a> {
    /// Reads the tables of the job; rows outside `bounds` are left out.
    ///
    /// # Errors
    ///
    /// The tables can't be read.
    pub async fn load(
        lake: &Lakehouse,
        tables: &Tables,
        truth: &Truth<'a>,
        bounds: Option<&Bounds>,
    ) -> Result<Self> {
        let mut held = Held::load(lake, tables).await?;
        held.keep(|table, place| bounds.is_none_or(|bounds| bounds.holds(table, place)));
        let mut verdict = Verdict::default();
        for place in held.doubled() {
            verdict.duplicated += 1;
            verdict.note(|| format!("{place:?} is in a table twice"));
        }
        Ok(Self { truth: *truth, held, verdict })
    }

    /// Compares one record of the topic.
    pub fn compare(&mut self, record: &Record) {
        self.verdict.read += 1;
        compare(&mut self.verdict, &mut self.held, &self.truth, record);
    }

    /// Records compared so far.
    pub fn read(&self) -> u64 {
        self.verdict.read
    }

    /// What is left in the tables now came from no record.
    pub fn finish(mut self) -> Verdict {
        for place in self.held.left() {
            self.verdict.altered += 1;
            self.verdict.note(|| format!("{place:?} is in a table and must not be"));
        }
        self.verdict
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
    let mut verifier = Verifier::load(lake, tables, truth, None).await?;
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
