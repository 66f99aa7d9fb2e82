//! The records of one poll, whoever fetched them.

use std::fmt;

use lakehouse::ids::{Offset, PartitionId};

use super::fetch::{RunRecords, Runs};
use super::ffi::{MessageRecords, Messages};

/// Records of one poll, in the order of each partition. They stay where they were fetched to.
///
/// A batch holds whole fetch responses in memory: bound how many are alive.
#[derive(Default)]
pub struct Batch(Kept);

#[derive(Default)]
enum Kept {
    #[default]
    Nothing,
    Messages(Messages),
    Runs(Runs),
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The partition it was read from.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// Milliseconds since 1970, set by the producer or the broker.
    pub timestamp_ms: Option<i64>,
    /// The value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

impl Batch {
    /// The number of records.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Nothing => 0,
            Kept::Messages(messages) => messages.len(),
            Kept::Runs(runs) => runs.len(),
        }
    }

    /// Whether nothing was there to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, without copying.
    pub fn records(&self) -> Records<'_> {
        Records(match &self.0 {
            Kept::Nothing => Kind::Nothing,
            Kept::Messages(messages) => Kind::Messages(messages.records()),
            Kept::Runs(runs) => Kind::Runs(runs.records()),
        })
    }
}

impl From<Messages> for Batch {
    fn from(messages: Messages) -> Self {
        Self(Kept::Messages(messages))
    }
}

impl From<Runs> for Batch {
    fn from(runs: Runs) -> Self {
        Self(Kept::Runs(runs))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} records)", self.len())
    }
}

/// The records of a [`Batch`].
pub struct Records<'a>(Kind<'a>);

enum Kind<'a> {
    Nothing,
    Messages(MessageRecords<'a>),
    Runs(RunRecords<'a>),
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        match &mut self.0 {
            Kind::Nothing => None,
            Kind::Messages(records) => records.next(),
            Kind::Runs(records) => records.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Kind::Nothing => (0, Some(0)),
            Kind::Messages(records) => records.size_hint(),
            Kind::Runs(records) => records.size_hint(),
        }
    }
}

impl ExactSizeIterator for Records<'_> {}
