//! The account of what the broker acknowledged, partition by partition.
//!
//! Pure: delivery reports go in, counts come out. It never sends again.

use std::collections::BTreeMap;

/// What became of the records that were handed to the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) last_failure: Option<String>,
    pub(crate) misplaced: u64,
    pub(crate) first_misplaced: Option<Misplaced>,
    pub(crate) partitions: BTreeMap<i32, PartitionSummary>,
}

/// What a partition acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSummary {
    /// The offset of the stream's first record in the partition; unknown when
    /// no report told an offset.
    pub first_offset: Option<i64>,
    /// Acknowledged records.
    pub delivered: u64,
}

/// A record that stands elsewhere than the stream's order says: another
/// producer wrote to the partition in the same time, or a record before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Its partition.
    pub partition: i32,
    /// Its place in the stream's part of the partition.
    pub index: u64,
    /// Where it should stand: the partition's first offset plus its place.
    pub expected: i64,
    /// Where the broker says it stands.
    pub actual: i64,
}

impl Ledger {
    /// Takes the report that record `index` of `partition` stands at `offset`;
    /// without an offset when the broker had the record from an earlier attempt.
    pub(crate) fn delivered(&mut self, partition: i32, index: u64, offset: Option<i64>) {
        self.delivered += 1;
        let account = self.partitions.entry(partition).or_default();
        account.delivered += 1;
        let (Some(actual), Ok(place)) = (offset, i64::try_from(index)) else {
            return;
        };
        let expected = *account.first_offset.get_or_insert(actual - place) + place;
        if actual != expected {
            self.misplaced += 1;
            self.first_misplaced.get_or_insert(Misplaced { partition, index, expected, actual });
        }
    }

    /// Takes the report that a record was given up.
    pub(crate) fn failed(&mut self, reason: String) {
        self.failed += 1;
        self.last_failure = Some(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_order_are_counted_from_the_partitions_first_offset() {
        let mut ledger = Ledger::default();
        for (index, offset) in [(0, 40), (1, 41), (2, 42)] {
            ledger.delivered(3, index, Some(offset));
        }
        ledger.delivered(1, 0, Some(0));
        assert_eq!((ledger.delivered, ledger.misplaced), (4, 0));
        let account = PartitionSummary { first_offset: Some(40), delivered: 3 };
        assert_eq!(ledger.partitions.get(&3), Some(&account));
    }

    #[test]
    fn a_foreign_record_in_between_is_named() {
        let mut ledger = Ledger::default();
        ledger.delivered(0, 0, Some(7));
        ledger.delivered(0, 1, Some(9));
        ledger.delivered(0, 2, Some(10));
        let first = Misplaced { partition: 0, index: 1, expected: 8, actual: 9 };
        assert_eq!((ledger.misplaced, ledger.first_misplaced), (2, Some(first)));
    }

    #[test]
    fn a_report_without_an_offset_still_counts_as_delivered() {
        let mut ledger = Ledger::default();
        ledger.delivered(0, 0, None);
        ledger.delivered(0, 1, Some(5));
        let account = PartitionSummary { first_offset: Some(4), delivered: 2 };
        assert_eq!(ledger.partitions.get(&0), Some(&account));
        assert_eq!(ledger.misplaced, 0);
    }

    #[test]
    fn failures_are_counted_and_the_last_reason_kept() {
        let mut ledger = Ledger::default();
        ledger.failed("first".to_owned());
        ledger.failed("last".to_owned());
        assert_eq!((ledger.failed, ledger.last_failure.as_deref()), (2, Some("last")));
    }
}
