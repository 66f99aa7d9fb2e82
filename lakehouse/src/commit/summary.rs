//! The counts of a snapshot's summary, as every Iceberg engine writes them.
//!
//! iceberg-rust computes them inside its own transactions only. A total that the parent lacks is left
//! out: engines take a missing total for unknown, and a wrong one for true.

use std::collections::{BTreeMap, HashMap};

/// What one append adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) files: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) partitions: u64,
}

/// Each total with what an append adds to it.
const TOTALS: [&str; 6] = [
    "total-data-files",
    "total-records",
    "total-files-size",
    "total-delete-files",
    "total-position-deletes",
    "total-equality-deletes",
];

/// The counts of an append on `parent`, or of a table's first one.
pub(super) fn counts(
    parent: Option<&HashMap<String, String>>,
    added: Added,
) -> BTreeMap<String, String> {
    let own = [
        ("added-data-files", added.files),
        ("added-records", added.records),
        ("added-files-size", added.bytes),
        ("changed-partition-count", added.partitions),
    ];
    let shown = own.into_iter().filter(|(_, count)| *count > 0);
    let mut counts: BTreeMap<_, _> =
        shown.map(|(key, count)| (key.to_owned(), count.to_string())).collect();
    for (key, count) in TOTALS.into_iter().zip([added.files, added.records, added.bytes, 0, 0, 0]) {
        let before = match parent {
            None => Some(0),
            Some(parent) => parent.get(key).and_then(|text| text.parse::<u64>().ok()),
        };
        if let Some(before) = before {
            counts.insert(key.to_owned(), (before + count).to_string());
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_the_parent() {
        let added = Added { files: 2, records: 30, bytes: 400, partitions: 1 };
        let first = counts(None, added);
        assert_eq!(first.get("total-records").map(String::as_str), Some("30"));
        assert_eq!(first.get("added-data-files").map(String::as_str), Some("2"));
        let parent: HashMap<_, _> = first.into_iter().collect();
        let second = counts(Some(&parent), Added { records: 1, ..Added::default() });
        assert_eq!(second.get("total-records").map(String::as_str), Some("31"));
        assert_eq!(second.get("total-data-files").map(String::as_str), Some("2"));
        assert_eq!(second.get("added-data-files"), None);
        let unknown = counts(Some(&HashMap::new()), added);
        assert_eq!(unknown.get("total-records"), None);
    }
}
