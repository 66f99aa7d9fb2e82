//! What the job did last: commits, rejects, rows. A few of each.
//!
//! Every list is bounded in length and every text in size, so a page that nobody looks at costs nothing that
//! grows. Written a few times a second at most, never for a record.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::pipeline::Timestamp;

/// Commits that are remembered, over all tables.
const COMMITS_MAX: usize = 50;
/// Rejects that are remembered for each reason.
const REJECTS_MAX: usize = 3;
/// Rows that are remembered for each table.
pub(super) const ROWS_MAX: usize = 5;

/// The last of everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// Newest first.
    pub(crate) commits: VecDeque<CommitEntry>,
    /// By reason, newest first.
    pub(crate) rejects: BTreeMap<String, VecDeque<RejectSample>>,
    /// One for each table of the job that has had a row, by name.
    pub(crate) rows: BTreeMap<String, RowSamples>,
}

/// One commit.
#[derive(Clone, Debug)]
pub(crate) struct CommitEntry {
    pub(crate) at: Timestamp,
    pub(crate) table: String,
    /// Records that it moved the table's position over.
    pub(crate) records: u64,
    pub(crate) rows: u64,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// Absent where an earlier try had landed unseen.
    pub(crate) snapshot: Option<i64>,
    pub(crate) conflicts: u32,
}

/// One rejected record. Its payload is data: whoever shows it must not run it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RejectSample {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// The record's own time, in milliseconds since 1970.
    pub(crate) time_ms: Option<i64>,
    pub(crate) detail: String,
    /// The beginning of the payload; absent for a tombstone.
    pub(crate) payload: Option<String>,
    /// Length of the whole payload.
    pub(crate) payload_bytes: usize,
}

/// Rows of one table, as text.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RowSamples {
    pub(crate) columns: Vec<String>,
    /// Newest first; `None` is NULL.
    pub(crate) rows: VecDeque<Vec<Option<String>>>,
}

impl Journal {
    /// Remembers a commit.
    pub(crate) fn commit(&mut self, entry: CommitEntry) {
        push(&mut self.commits, entry, COMMITS_MAX);
    }

    pub(super) fn reject(&mut self, reason: &str, sample: RejectSample) {
        match self.rejects.get_mut(reason) {
            Some(samples) => push(samples, sample, REJECTS_MAX),
            None => drop(self.rejects.insert(reason.to_owned(), [sample].into())),
        }
    }

    /// Remembers rows, the newest last; other columns mean another table shape, and the old rows go.
    pub(super) fn rows(
        &mut self,
        table: &str,
        columns: Vec<String>,
        rows: Vec<Vec<Option<String>>>,
    ) {
        let seen = self.rows.entry(table.to_owned()).or_default();
        if seen.columns != columns {
            *seen = RowSamples { columns, rows: VecDeque::new() };
        }
        for row in rows {
            push(&mut seen.rows, row, ROWS_MAX);
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T, max: usize) {
    list.truncate(max - 1);
    list.push_front(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_remembered() {
        let mut journal = Journal::default();
        for number in 0..200 {
            journal.commit(CommitEntry {
                at: Duration::from_secs(number),
                table: "a.b".to_owned(),
                records: number,
                rows: 0,
                files: 0,
                bytes: 0,
                took: Duration::ZERO,
                snapshot: None,
                conflicts: 0,
            });
            journal.rows("a.b", vec!["x".to_owned()], vec![vec![Some(number.to_string())]]);
        }
        assert_eq!(journal.commits.len(), COMMITS_MAX);
        assert_eq!(journal.commits.front().map(|commit| commit.records), Some(199));
        let rows = journal.rows.get("a.b").map(|seen| &seen.rows);
        assert_eq!(rows.map(VecDeque::len), Some(ROWS_MAX));
        assert_eq!(rows.and_then(|rows| rows.front()), Some(&vec![Some("199".to_owned())]));
    }

    #[test]
    fn rows_of_another_shape_replace_the_old() {
        let mut journal = Journal::default();
        journal.rows("a.b", vec!["x".to_owned()], vec![vec![None]]);
        journal.rows("a.b", vec!["x".to_owned(), "y".to_owned()], vec![vec![None, None]]);
        assert_eq!(journal.rows.get("a.b").map(|seen| seen.rows.len()), Some(1));
    }
}
