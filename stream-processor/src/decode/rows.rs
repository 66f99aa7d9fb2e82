//! Where rows came from.

use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array};
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
}
