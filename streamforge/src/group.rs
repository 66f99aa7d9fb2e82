//! A consumer that reads what it is told, without a group.

use std::collections::BTreeMap;

use lakehouse::ids::{Offset, PartitionId};
use stream_processor::kafka::Rebalance;

/// Never asked: partitions that are assigned by hand are not rebalanced.
pub(crate) struct NoGroup;

impl Rebalance for NoGroup {
    fn assigned(&mut self, _: &[PartitionId]) -> BTreeMap<PartitionId, Offset> {
        BTreeMap::new()
    }

    fn revoked(&mut self, _: &[PartitionId], _: bool) {}
}
