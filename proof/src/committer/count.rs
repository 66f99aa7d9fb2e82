//! Every row of a table of committers, counted.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use lakehouse::commit::{Lakehouse, ReadTable};
use lakehouse::position::Position;
use lakehouse::scan::read_file;

use super::rows::id;
use super::{lakehouse, source, spec};

/// What a table holds against what its position says.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counted {
    pub(crate) rows: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) altered: u64,
    /// Snapshots that were ever made.
    pub(crate) commits: u64,
    /// The first contradiction, in words.
    pub(crate) finding: Option<String>,
}

impl Counted {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.altered == 0 && self.finding.is_none()
    }

    fn note(&mut self, finding: impl FnOnce() -> String) {
        self.finding.get_or_insert_with(finding);
    }
}

/// Counts the table in `folder`; every partition begins at its offset of `starts`.
pub(crate) async fn count(folder: &Path, starts: &[(i32, i64)]) -> Result<Counted> {
    let lake = Lakehouse::open(&lakehouse(folder)).await?;
    let spec = spec();
    let table = lake.table(&spec.namespace, &spec.name).await?.context("there is no table")?;
    let properties = table.properties();
    let text = properties.get("streamforge.position").context("the table has no position")?;
    let position = Position::from_json(text)?;
    let mut counted = Counted::default();
    let mut found = places(&table, &mut counted).await?;
    for (partition, start) in starts {
        let at = position.offsets().iter().find(|(p, _)| p.get() == *partition);
        let end = at.with_context(|| format!("partition {partition} has no position"))?.1.get();
        let mut offsets = found.remove(partition).unwrap_or_default();
        offsets.sort_unstable();
        compare(&mut counted, *partition, *start, end, &offsets);
    }
    for (partition, offsets) in found {
        counted.altered += offsets.len() as u64;
        counted.note(|| format!("rows of partition {partition}, which nobody wrote"));
    }
    let newest = table.snapshots().into_iter().next().context("the table has no snapshot")?;
    counted.commits = u64::try_from(newest.sequence).unwrap_or(0);
    let said = newest.summary.get("total-records");
    let rows = counted.rows;
    if said != Some(&rows.to_string()) {
        counted.note(|| format!("{rows} rows, but the summary says {said:?}"));
    }
    if newest.summary.get("streamforge.position") != Some(text) {
        counted.note(|| "summary and property differ in the position".to_owned());
    }
    ensure!(position.source() == &source(), "the position is another topic's");
    Ok(counted)
}

fn compare(counted: &mut Counted, partition: i32, start: i64, end: i64, offsets: &[i64]) {
    let (mut wanted, mut doubled) = (start, None);
    for offset in offsets {
        if doubled == Some(*offset) {
            counted.duplicated += 1;
            counted.note(|| format!("partition {partition}: {offset} is there twice"));
            continue;
        }
        doubled = Some(*offset);
        if *offset < start || *offset >= end {
            counted.altered += 1;
            counted.note(|| format!("partition {partition}: {offset} is outside {start}..{end}"));
            continue;
        }
        if *offset > wanted {
            counted.lost += offset.abs_diff(wanted);
            counted.note(|| format!("partition {partition}: {wanted}..{offset} is missing"));
        }
        wanted = offset + 1;
    }
    if wanted < end {
        counted.lost += end.abs_diff(wanted);
        counted.note(|| format!("partition {partition}: {wanted}..{end} is missing"));
    }
}

/// The offsets of every row, by partition.
async fn places(table: &ReadTable, counted: &mut Counted) -> Result<BTreeMap<i32, Vec<i64>>> {
    let schema = table.schema()?;
    let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for file in table.files().await? {
        let bytes = table.store().read(&file.location).await?;
        ensure!(bytes.len() as u64 == file.bytes, "{} has another length", file.location);
        for batch in read_file(bytes, &schema, Some(&[0, 2, 3]))? {
            let batch = batch?;
            counted.rows += batch.num_rows() as u64;
            let ids = batch.column(0).as_string::<i32>();
            let partitions = batch.column(1).as_primitive::<Int32Type>().values();
            let offsets = batch.column(2).as_primitive::<Int64Type>().values();
            for ((partition, offset), text) in partitions.iter().zip(offsets).zip(ids) {
                found.entry(*partition).or_default().push(*offset);
                if text != Some(id(*partition, *offset).as_str()) {
                    counted.altered += 1;
                    counted.note(|| format!("{partition}-{offset} says {text:?}"));
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(offsets: &[i64], lost: u64, duplicated: u64, altered: u64) {
        let mut counted = Counted::default();
        compare(&mut counted, 0, 10, 15, offsets);
        let found = (counted.lost, counted.duplicated, counted.altered);
        assert_eq!(found, (lost, duplicated, altered), "{offsets:?}");
        assert_eq!(counted.is_clean(), (lost, duplicated, altered) == (0, 0, 0));
    }

    #[test]
    fn each_kind_of_fault_is_told_from_the_others() {
        check(&[10, 11, 12, 13, 14], 0, 0, 0);
        check(&[], 5, 0, 0);
        check(&[11, 12, 14], 2, 0, 0);
        check(&[10, 11, 11, 11, 12, 13, 14], 0, 2, 0);
        check(&[9, 10, 11, 12, 13, 14, 15], 0, 0, 2);
        check(&[10, 10, 13], 3, 1, 0);
    }
}
