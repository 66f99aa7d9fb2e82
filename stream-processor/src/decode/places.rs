//! Where rows came from.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int32Array, Int32Builder, Int64Array, Int64Builder};
use arrow::compute::filter;
use arrow::error::ArrowError;
use lakehouse::ids::{Offset, PartitionId};

/// The partition and offset of each row of a batch.
#[derive(Clone, Debug)]
pub struct Places {
    partitions: Arc<Int32Array>,
    offsets: Arc<Int64Array>,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(Int32Array::from_iter_values([]), Int64Array::from_iter_values([]))
    }
}

impl Places {
    pub(crate) fn new(partitions: Int32Array, offsets: Int64Array) -> Self {
        assert_eq!(partitions.len(), offsets.len(), "a row has one partition and one offset");
        Self { partitions: Arc::new(partitions), offsets: Arc::new(offsets) }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Each row's partition and offset, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (PartitionId, Offset)> + '_ {
        let pairs = self.partitions.values().iter().zip(self.offsets.values());
        pairs.map(|(partition, offset)| (PartitionId::new(*partition), Offset::new(*offset)))
    }

    /// The partitions, as a column.
    pub fn partitions(&self) -> &Arc<Int32Array> {
        &self.partitions
    }

    /// The offsets, as a column.
    pub fn offsets(&self) -> &Arc<Int64Array> {
        &self.offsets
    }

    /// The places of the rows that pass.
    pub(crate) fn filter(&self, passes: &BooleanArray) -> Result<Self, ArrowError> {
        Ok(Self {
            partitions: Arc::new(filter(self.partitions.as_ref(), passes)?.as_primitive().clone()),
            offsets: Arc::new(filter(self.offsets.as_ref(), passes)?.as_primitive().clone()),
        })
    }

    /// The places of `length` rows from `start`.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Self {
        Self::new(self.partitions.slice(start, length), self.offsets.slice(start, length))
    }

    /// The places of several batches, one after the other.
    pub(crate) fn concat<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut partitions = Int32Builder::new();
        let mut offsets = Int64Builder::new();
        for places in all {
            partitions.append_slice(places.partitions.values());
            offsets.append_slice(places.offsets.values());
        }
        Self::new(partitions.finish(), offsets.finish())
    }
}
