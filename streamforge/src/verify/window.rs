//! Which part of the topic is compared, and in which pieces.
//!
//! Pure. It must never leave a record between two windows out, and never put one into both.

use std::collections::BTreeMap;
use std::ops::Range;

use lakehouse::ids::{Offset, PartitionId};

use super::held::Place;

/// Offsets by partition.
pub(crate) type Offsets = BTreeMap<PartitionId, Offset>;

/// The part of the topic that is compared, `[start, end)` of each partition.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// First offset that can be read again.
    pub(super) starts: Offsets,
    /// Up to where every table is complete.
    pub(super) ends: Offsets,
    /// Where each table stands, by name; it must hold nothing from there on.
    pub(super) positions: BTreeMap<String, Offsets>,
}

/// A piece of it: some offsets of some partitions.
pub(super) type Window = BTreeMap<PartitionId, Range<Offset>>;

impl Bounds {
    /// The whole of it.
    pub(super) fn whole(&self) -> Window {
        let range = |(partition, end): (&PartitionId, &Offset)| {
            let start = self.starts.get(partition).copied().unwrap_or(*end).min(*end);
            (start < *end).then_some((*partition, start..*end))
        };
        self.ends.iter().filter_map(range).collect()
    }

    /// The whole of it in pieces of at most `records_max` offsets, or of one of each partition. Partitions go
    /// side by side, as they were written: so a data file belongs to few pieces.
    pub(super) fn windows(&self, records_max: usize) -> impl Iterator<Item = Window> + use<> {
        let mut left = self.whole();
        let share = i64::try_from(records_max / left.len().max(1)).unwrap_or(i64::MAX).max(1);
        std::iter::from_fn(move || {
            let mut window = Window::new();
            left.retain(|partition, range| {
                let cut = Offset::new(range.start.get().saturating_add(share)).min(range.end);
                window.insert(*partition, range.start..cut);
                range.start = cut;
                range.start < range.end
            });
            (!window.is_empty()).then_some(window)
        })
    }

    /// Whether a row outside of the whole has a reason to be there: its record is gone from the topic, or its
    /// table is ahead of the other.
    pub(super) fn excuse(&self, table: &str, place: Place) -> bool {
        let (partition, offset) = (PartitionId::new(place.partition), Offset::new(place.offset));
        let below = |offsets: Option<&Offsets>| {
            offsets.and_then(|offsets| offsets.get(&partition)).is_some_and(|end| offset < *end)
        };
        let gone = offset.get() >= 0 && below(Some(&self.starts));
        let ahead = !below(Some(&self.ends)) && below(self.positions.get(table));
        gone || ahead
    }
}

/// The SQL condition for the rows of `window`.
pub(super) fn condition(window: &Window) -> String {
    let part = |(partition, range): (&PartitionId, &Range<Offset>)| {
        let (start, end) = (range.start, range.end);
        format!(
            "(kafka_partition = {partition} AND kafka_offset >= {start} AND kafka_offset < {end})"
        )
    };
    let parts: Vec<_> = window.iter().map(part).collect();
    if parts.is_empty() { "false".to_owned() } else { parts.join(" OR ") }
}

/// Up to where all of `positions` reach: the least of each partition that all of them know.
pub(super) fn complete<'a>(positions: impl Iterator<Item = &'a Offsets>) -> Offsets {
    let common = |mut least: Offsets, position: &Offsets| {
        least.retain(|partition, _| position.contains_key(partition));
        for (partition, offset) in &mut least {
            *offset = position.get(partition).map_or(*offset, |at| (*offset).min(*at));
        }
        least
    };
    positions.cloned().reduce(|least, position| common(least, &position)).unwrap_or_default()
}

/// How many records `reached` lacks to `wanted`.
pub(super) fn behind(reached: &Offsets, wanted: &Offsets) -> u64 {
    let lacking = |(partition, end): (&PartitionId, &Offset)| {
        let at = reached.get(partition).map_or(0, |at| at.get());
        u64::try_from(end.get() - at).unwrap_or(0)
    };
    wanted.iter().map(lacking).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets<const N: usize>(of: [(i32, i64); N]) -> Offsets {
        of.map(|(partition, offset)| (PartitionId::new(partition), Offset::new(offset))).into()
    }

    fn bounds<const N: usize>(of: [(i32, i64, i64); N]) -> Bounds {
        Bounds {
            starts: offsets(of.map(|(partition, start, _)| (partition, start))),
            ends: offsets(of.map(|(partition, _, end)| (partition, end))),
            positions: [("ahead".to_owned(), offsets([(0, 50)]))].into(),
        }
    }

    /// Each window as `partition: start..end`.
    #[track_caller]
    fn check<const N: usize>(bounds: &Bounds, records_max: usize, expected: [&str; N]) {
        let shown = |window: Window| {
            let parts: Vec<_> = window
                .iter()
                .map(|(p, range)| format!("{p}: {}..{}", range.start, range.end))
                .collect();
            parts.join(", ")
        };
        let found: Vec<_> = bounds.windows(records_max).map(shown).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn windows_follow_each_other_without_gap_or_overlap() {
        let three = bounds([(0, 0, 5), (1, 7, 9), (2, 4, 4)]);
        check(&three, 100, ["0: 0..5, 1: 7..9"]);
        check(&three, 4, ["0: 0..2, 1: 7..9", "0: 2..4", "0: 4..5"]);
        check(&three, 0, ["0: 0..1, 1: 7..8", "0: 1..2, 1: 8..9", "0: 2..3", "0: 3..4", "0: 4..5"]);
        check(&bounds([]), 4, []);
    }

    #[test]
    fn records_that_retention_took_start_no_window() {
        // The table stands below what the topic still holds.
        check(&bounds([(0, 9, 5)]), 100, []);
    }

    #[test]
    fn a_row_outside_is_excused_where_its_record_is_gone_or_its_table_ahead() {
        let bounds = bounds([(0, 10, 20)]);
        let excuse = |table: &str, partition: i32, offset: i64| {
            bounds.excuse(table, Place { partition, offset })
        };
        assert!(excuse("behind", 0, 9), "gone from the topic");
        assert!(excuse("ahead", 0, 49), "the other table is still to reach it");
        assert!(!excuse("ahead", 0, 50), "beyond the table's own position");
        assert!(!excuse("behind", 0, 20));
        assert!(!excuse("ahead", 1, 3), "a partition that nobody knows");
        assert!(!excuse("ahead", 0, -1));
    }

    #[test]
    fn a_window_is_a_condition() {
        let window = bounds([(0, 1, 3), (2, 0, 9)]).whole();
        assert_eq!(
            condition(&window),
            "(kafka_partition = 0 AND kafka_offset >= 1 AND kafka_offset < 3) OR \
             (kafka_partition = 2 AND kafka_offset >= 0 AND kafka_offset < 9)"
        );
        assert_eq!(condition(&Window::new()), "false");
    }

    #[test]
    fn complete_is_what_all_tables_have() {
        let (one, two) = (offsets([(0, 5), (1, 9), (2, 4)]), offsets([(0, 7), (1, 8)]));
        assert_eq!(complete([&one, &two].into_iter()), offsets([(0, 5), (1, 8)]));
        assert_eq!(complete([].into_iter()), offsets([]));
    }

    #[test]
    fn what_is_lacking_is_counted_by_partition() {
        assert_eq!(behind(&offsets([(0, 5), (1, 9)]), &offsets([(0, 7), (1, 8), (2, 3)])), 5);
        assert_eq!(behind(&offsets([(0, 5)]), &offsets([(0, 5)])), 0);
    }
}
