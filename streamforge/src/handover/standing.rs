//! Where a table stands, worked out from what is recorded and from its rows.
//!
//! Pure. It must never answer a position with rows beyond it, nor one that leaves out records which may be rows.
//!
//! Flink leaves no position in the table. It commits the rows of all records up to a place in each partition in one
//! snapshot, so every record up to the last row is done with. Whether the records behind that row were read, too, is not
//! known, and need not be: none of them made a row, and the same job makes none of them when it reads them again.

use anyhow::{Result, bail, ensure};

use crate::verify::Offsets;

/// What is known of one table.
pub(super) struct Facts<'a> {
    /// Its name, for people.
    pub(super) table: &'a str,
    /// The position that was recorded last.
    pub(super) recorded: Option<&'a Offsets>,
    /// Behind the last row of each partition that has rows.
    pub(super) rows: &'a Offsets,
    /// Where the topic begins and ends now.
    pub(super) topic: Bounds<'a>,
    /// Where a partition begins of which nothing is recorded.
    pub(super) first: &'a Offsets,
}

/// `[start, end)` of each partition of the topic.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) starts: &'a Offsets,
    pub(super) ends: &'a Offsets,
}

/// The position behind everything that the table holds.
pub(super) fn behind_rows(facts: &Facts<'_>) -> Result<Offsets> {
    let Facts { table, recorded, rows, topic, first } = facts;
    for partition in recorded.iter().flat_map(|held| held.keys()).chain(rows.keys()) {
        ensure!(
            topic.ends.contains_key(partition),
            "{table} knows partition {partition}, which the topic does not have"
        );
    }
    let mut position = Offsets::new();
    for (partition, end) in topic.ends {
        let recorded = recorded.and_then(|held| held.get(partition));
        let begin = recorded.or_else(|| first.get(partition)).copied();
        let Some(at) = begin.max(rows.get(partition).copied()) else {
            bail!("nothing says where partition {partition} begins");
        };
        ensure!(
            at <= *end,
            "{table} holds offsets up to {at} of partition {partition}, but the topic ends at {end}: it is not the \
             topic that the table was filled from"
        );
        position.insert(*partition, at);
    }
    Ok(position)
}

/// The position that an operator names, if it may be true: in every partition behind all rows, and in the topic.
pub(super) fn named(least: &Offsets, named: &Offsets, facts: &Facts<'_>) -> Result<Offsets> {
    let Facts { table, topic, .. } = facts;
    for partition in named.keys() {
        ensure!(topic.ends.contains_key(partition), "the topic has no partition {partition}");
    }
    for (partition, least) in least {
        let Some(at) = named.get(partition) else {
            bail!("--position does not name partition {partition}; name them all");
        };
        ensure!(
            at >= least,
            "{table} holds what lies below offset {least} of partition {partition}; from offset {at} it would be \
             written twice"
        );
        if let Some(end) = topic.ends.get(partition) {
            ensure!(
                at <= end,
                "offset {at} of partition {partition} is not there yet: the topic ends at {end}; what comes before it \
                 would be lost"
            );
        }
    }
    Ok(named.clone())
}

/// Refuses a position whose records the topic no longer has.
pub(super) fn still_there(table: &str, position: &Offsets, topic: Bounds<'_>) -> Result<()> {
    for (partition, at) in position {
        if let Some(start) = topic.starts.get(partition).filter(|start| *start > at) {
            bail!(
                "{table} stands at offset {at} of partition {partition}, but retention has deleted everything below \
                 {start}, so nobody can tell whether there were rows; if Flink's own offsets are known, name them: \
                 --position"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a table of cases reads better without references"
)]
mod tests {
    use lakehouse::ids::{Offset, PartitionId};

    use super::*;

    fn offsets<const N: usize>(of: [(i32, i64); N]) -> Offsets {
        of.map(|(partition, offset)| (PartitionId::new(partition), Offset::new(offset))).into()
    }

    /// A topic of two partitions, `[10, 100)` and `[0, 50)`.
    fn check_with(
        recorded: Option<&Offsets>,
        rows: &Offsets,
        operator: Option<&Offsets>,
    ) -> Result<Offsets> {
        let (starts, ends) = (offsets([(0, 10), (1, 0)]), offsets([(0, 100), (1, 50)]));
        let topic = Bounds { starts: &starts, ends: &ends };
        let facts = Facts { table: "t", recorded, rows, topic, first: &starts };
        let least = behind_rows(&facts)?;
        let position = match operator {
            Some(operator) => named(&least, operator, &facts)?,
            None => least,
        };
        still_there("t", &position, topic)?;
        Ok(position)
    }

    #[track_caller]
    fn check<const N: usize, const M: usize>(
        recorded: Option<Offsets>,
        rows: [(i32, i64); N],
        expected: [(i32, i64); M],
    ) {
        let found = check_with(recorded.as_ref(), &offsets(rows), None).expect("a position");
        assert_eq!(found, offsets(expected));
    }

    #[track_caller]
    fn check_refused(
        recorded: Option<Offsets>,
        rows: &Offsets,
        operator: Option<Offsets>,
        words: &str,
    ) {
        let err = check_with(recorded.as_ref(), rows, operator.as_ref()).expect_err(words);
        assert!(err.to_string().contains(words), "{err}");
    }

    #[test]
    fn the_position_is_behind_what_is_recorded_and_behind_every_row() {
        check(None, [], [(0, 10), (1, 0)]);
        check(Some(offsets([(0, 20), (1, 5)])), [], [(0, 20), (1, 5)]);
        check(Some(offsets([(0, 20), (1, 5)])), [(0, 61)], [(0, 61), (1, 5)]);
        check(Some(offsets([(0, 20), (1, 5)])), [(0, 15), (1, 50)], [(0, 20), (1, 50)]);
        check(Some(offsets([(0, 20)])), [(0, 30)], [(0, 30), (1, 0)]);
        check(None, [(1, 7)], [(0, 10), (1, 7)]);
    }

    #[test]
    fn what_can_not_be_true_is_refused() {
        let none = offsets([]);
        check_refused(None, &offsets([(0, 101)]), None, "the topic ends at 100");
        check_refused(None, &offsets([(2, 1)]), None, "which the topic does not have");
        check_refused(Some(offsets([(7, 1)])), &none, None, "which the topic does not have");
        check_refused(Some(offsets([(0, 5), (1, 0)])), &none, None, "retention has deleted");
    }

    #[test]
    fn an_operators_position_is_behind_every_row_and_inside_the_topic() {
        let (rows, recorded) = (offsets([(0, 61)]), Some(offsets([(0, 20), (1, 5)])));
        let fine = offsets([(0, 61), (1, 50)]);
        assert_eq!(check_with(recorded.as_ref(), &rows, Some(&fine)).expect("it is fine"), fine);
        for (operator, words) in [
            (offsets([(0, 60), (1, 50)]), "would be written twice"),
            (offsets([(0, 61), (1, 4)]), "would be written twice"),
            (offsets([(0, 61), (1, 51)]), "would be lost"),
            (offsets([(0, 61)]), "name them all"),
            (offsets([(0, 61), (1, 5), (2, 0)]), "no partition 2"),
        ] {
            check_refused(recorded.clone(), &rows, Some(operator), words);
        }
        // What retention took is no hindrance to who knows that Flink had read it.
        let old = Some(offsets([(0, 5), (1, 0)]));
        let beyond = offsets([(0, 40), (1, 3)]);
        assert_eq!(check_with(old.as_ref(), &offsets([]), Some(&beyond)).expect("fine"), beyond);
    }
}
