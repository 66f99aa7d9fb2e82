//! The log in memory, and what each record must become, worked out without the worker's code.

use lakehouse::simulated::Dice;

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Nothing: a transaction marker, or compacted away.
    Hole,
    /// Bytes that are no number.
    Broken,
    Number(i64),
}

#[derive(Debug)]
struct Partition {
    first: i64,
    records: Vec<Record>,
}

/// Partitions by number.
#[derive(Debug, Default)]
pub(super) struct Topic {
    partitions: Vec<Partition>,
}

impl Topic {
    pub(super) fn add_partition(&mut self, first: i64) -> i32 {
        self.partitions.push(Partition { first, records: Vec::new() });
        self.partitions() - 1
    }

    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Adds records; with `poison` none of them can be read.
    pub(super) fn append(&mut self, partition: i32, count: u64, poison: bool, dice: &mut Dice) {
        let records = (0..count).map(|_| match dice.below(12) {
            0 => Record::Hole,
            _ if poison => Record::Broken,
            1 => Record::Broken,
            _ => Record::Number(i64::try_from(dice.below(1_000)).unwrap_or(0)),
        });
        let records: Vec<_> = records.collect();
        if let Some(held) = self.get_mut(partition) {
            held.records.extend(records);
        }
    }

    /// The lowest offset that is retained.
    pub(super) fn first(&self, partition: i32) -> i64 {
        self.get(partition).map_or(0, |held| held.first)
    }

    /// The offset of the next record to come.
    pub(super) fn end(&self, partition: i32) -> i64 {
        self.get(partition)
            .map_or(0, |held| held.first + i64::try_from(held.records.len()).unwrap_or(0))
    }

    pub(super) fn record(&self, partition: i32, offset: i64) -> Record {
        let held = self.get(partition);
        let place = held.and_then(|held| usize::try_from(offset - held.first).ok());
        held.zip(place)
            .and_then(|(held, place)| held.records.get(place))
            .copied()
            .unwrap_or(Record::Hole)
    }

    /// What a consumer is given: the payload, unless there is nothing.
    pub(super) fn payload(&self, partition: i32, offset: i64) -> Option<String> {
        match self.record(partition, offset) {
            Record::Hole => None,
            Record::Broken => Some(format!("{{broken {offset}")),
            Record::Number(number) => Some(number.to_string()),
        }
    }

    fn get(&self, partition: i32) -> Option<&Partition> {
        usize::try_from(partition).ok().and_then(|place| self.partitions.get(place))
    }

    fn get_mut(&mut self, partition: i32) -> Option<&mut Partition> {
        usize::try_from(partition).ok().and_then(|place| self.partitions.get_mut(place))
    }
}

/// The value that `record` must have in the table of `lane`, if it belongs there. The last lane takes rejects.
pub(super) fn expected(record: Record, lane: usize, lanes: usize) -> Option<i64> {
    match record {
        Record::Hole => None,
        Record::Broken => (lane + 1 == lanes).then_some(-1),
        Record::Number(_) if lane + 1 == lanes => None,
        Record::Number(number) if lane == 0 => {
            (!matches!(number % 3, 0)).then_some(number + number + 1)
        }
        Record::Number(number) => matches!(number % 2, 0).then_some(number + 7),
    }
}
