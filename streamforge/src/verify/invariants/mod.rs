//! What must hold beside the rows: I4 to I7, I12 and I14 of the exactly-once protocol, §8.
//!
//! Each check is pure and stands in a module of its own; [`Invariants::look`] reads the facts and hands them over.
//! It only reads. Writers may go on meanwhile; what nobody names yet then counts as left over.

mod avro;
mod facts;
mod files;
mod foreign;
mod history;
mod latency;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use lakehouse::commit::{Lakehouse, ReadTable};

use facts::Facts;
use files::Stock;

pub use foreign::Baseline;
pub use latency::{Flatness, flat};

use super::held::places;
use crate::query::Tables;

/// Looks at a table that somebody goes on changing, before its files are believed to be missing.
const LOOKS_MAX: u32 = 5;
/// Violations that are shown.
const SHOWN_MAX: usize = 8;

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Whether it is there, and as long as recorded.
    #[default]
    Length,
    /// All of it, by two other readers. A file is read once, however often is looked.
    Rows,
}

/// What is asked of a look, and what the caller knows beyond the tables themselves. Keep it over several looks.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    /// How much of each data file is looked at.
    pub depth: Depth,
    /// Files, and their bytes, that may lie in all the tables' folders without being named (I7).
    pub left_over_max: Option<(u64, u64)>,
    /// Manifests that a table's current snapshot may have (I14); by default what folding leaves of its files.
    pub manifests_max: Option<u64>,
    /// What others had put into a table, by its name (I6).
    pub baselines: BTreeMap<String, Baseline>,
    /// Partitions and offsets of records whose transaction was aborted: they must be in no table (I12).
    pub aborted: BTreeSet<(i32, i64)>,
    /// Data files that an earlier look has parsed: they never change, and are not parsed again.
    pub parsed: BTreeSet<String>,
}

/// What a look found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What does not hold, the invariant's number first.
    pub violations: Vec<String>,
    /// Counts over all tables: `snapshots`, `keyed`, `read`, `written`, `files`, `manifests`, `left_over_files`,
    /// `left_over_bytes`, `parsed`.
    pub figures: BTreeMap<&'static str, u64>,
    named: BTreeSet<String>,
    left_over: BTreeSet<String>,
}

impl Invariants {
    /// Reads every table of a job that exists, and checks it.
    ///
    /// # Errors
    ///
    /// Catalog or store can't be read. A file that is missing or broken is no error but a violation.
    pub async fn look(&mut self, lake: &Lakehouse, tables: &Tables) -> Result<Report> {
        let mut report = Report::default();
        for (namespace, name) in tables.names() {
            let Some(found) = self.table(lake, namespace, name).await? else { continue };
            report.add(name, found);
        }
        if let Some((files_max, bytes_max)) = self.left_over_max {
            let count = |name| report.figures.get(name).copied().unwrap_or_default();
            let (files, bytes) = (count("left_over_files"), count("left_over_bytes"));
            if files > files_max || bytes > bytes_max {
                report.violations.push(format!(
                    "I7: {files} files of {bytes} bytes are named by nobody; at most {files_max} of {bytes_max} \
                     may be"
                ));
            }
        }
        self.no_aborted(lake, tables, &mut report).await?;
        self.foreign_rows(lake, tables, &mut report).await?;
        Ok(report)
    }

    async fn table(
        &mut self,
        lake: &Lakehouse,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Report>> {
        let mut looks = 1;
        loop {
            let Some(table) = lake.table(namespace, name).await? else { return Ok(None) };
            let report = self.once(&table, name).await.with_context(|| format!("table {name}"))?;
            let now = lake.table(namespace, name).await?;
            let moved = now.is_none_or(|now| now.metadata_location() != table.metadata_location());
            // Somebody else's expiry may have taken away what was still named when it was read.
            if report.is_clean() || !moved || looks == LOOKS_MAX {
                return Ok(Some(report));
            }
            looks += 1;
        }
    }

    async fn once(&mut self, table: &ReadTable, name: &str) -> Result<Report> {
        let facts = Facts::read(table).await?;
        let Facts { history, inventory, stored, keys } = &facts;
        let (mut violations, sums) = history::check(history);
        let taken = files::check(&Stock { inventory, stored, keys });
        violations.extend(taken.wrong);
        if let Some(newest) = history.ancestry.first() {
            violations.extend(files::totals(inventory, &newest.summary));
        }
        let manifests_max = self.manifests_max.unwrap_or_else(|| files::manifests_max(inventory));
        if inventory.manifests as u64 > manifests_max {
            let manifests = inventory.manifests;
            violations.push(format!(
                "I14: the current snapshot has {manifests} manifests; at most {manifests_max} are expected"
            ));
        }
        if self.depth == Depth::Rows {
            violations.extend(facts.parse(table, &mut self.parsed).await?);
        }
        if let Some(baseline) = self.baselines.get(name) {
            let mut now = Baseline::take(table)?;
            // Counted by SQL, for all tables at once.
            now.rows.clone_from(&baseline.rows);
            violations.extend(baseline.lost(&now));
        }
        let figures = [
            ("snapshots", table.retained().len() as u64),
            ("keyed", sums.keyed),
            ("read", sums.read),
            ("written", sums.written),
            ("files", inventory.files.len() as u64),
            ("manifests", inventory.manifests as u64),
            ("left_over_files", taken.left_over.len() as u64),
            ("left_over_bytes", taken.left_over.values().sum()),
            ("parsed", self.parsed.len() as u64),
        ];
        let (named, left_over) = (taken.named, taken.left_over.into_keys().collect());
        Ok(Report { violations, figures: figures.into(), named, left_over })
    }

    async fn no_aborted(
        &self,
        lake: &Lakehouse,
        tables: &Tables,
        report: &mut Report,
    ) -> Result<()> {
        if self.aborted.is_empty() {
            return Ok(());
        }
        let session = tables.session(lake, None).await?;
        let rows = |table: &str, place: super::held::Place| {
            let (partition, offset) = (place.partition, place.offset);
            if self.aborted.contains(&(partition, offset)) {
                report.violations.push(format!(
                    "I12: {table} holds offset {offset} of partition {partition}, whose transaction was aborted"
                ));
            }
        };
        places(&session, "true", rows).await
    }

    async fn foreign_rows(
        &self,
        lake: &Lakehouse,
        tables: &Tables,
        report: &mut Report,
    ) -> Result<()> {
        for (name, baseline) in &self.baselines {
            let mut now = Baseline::default();
            for condition in baseline.rows.keys() {
                let sql = format!("SELECT count(*) FROM {name} WHERE {condition}");
                let counted = tables.collect(lake, &sql, None).await?;
                let count = counted.first().and_then(|batch| {
                    batch
                        .columns()
                        .first()?
                        .as_primitive_opt::<Int64Type>()?
                        .values()
                        .first()
                        .copied()
                });
                let count = count.with_context(|| format!("{sql} counts nothing"))?;
                now.rows.insert(condition.clone(), u64::try_from(count)?);
            }
            let rows = Baseline { rows: baseline.rows.clone(), ..Baseline::default() };
            report
                .violations
                .extend(rows.lost(&now).into_iter().map(|why| format!("{name}: {why}")));
        }
        Ok(())
    }
}

impl Report {
    /// Whether everything holds.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Files that nobody named now and that `later` names again (I7). Only files that a writer had given up on count:
    /// take this look while nobody writes, or a file on its way into the table is taken for one that came back.
    pub fn revived(&self, later: &Self) -> Vec<String> {
        let back = self.left_over.intersection(&later.named);
        back.map(|key| format!("I7: {key} was named by nobody, and is again")).collect()
    }

    fn add(&mut self, table: &str, found: Self) {
        self.violations.extend(found.violations.into_iter().map(|why| format!("{table}: {why}")));
        for (name, count) in found.figures {
            // Of all tables already.
            let sum = self.figures.entry(name).or_default();
            *sum = if name == "parsed" { count } else { *sum + count };
        }
        self.named.extend(found.named);
        self.left_over.extend(found.left_over);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariants: violated={}", self.violations.len())?;
        for name in ["snapshots", "files", "manifests", "left_over_files"] {
            write!(f, " {name}={}", self.figures.get(name).copied().unwrap_or_default())?;
        }
        self.violations.iter().take(SHOWN_MAX).try_for_each(|why| write!(f, "\n  {why}"))?;
        match self.violations.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
