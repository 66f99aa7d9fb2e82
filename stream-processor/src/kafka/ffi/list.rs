//! Lists of partitions of one topic.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::slice;

use lakehouse::ids::{Offset, PartitionId};
use rdkafka_sys as sys;

/// An owned `rd_kafka_topic_partition_list_t`.
pub(super) struct List(*mut sys::rd_kafka_topic_partition_list_t);

impl List {
    /// These partitions with their offsets.
    pub(super) fn with_offsets(topic: &CStr, offsets: &BTreeMap<PartitionId, Offset>) -> Self {
        Self::new(topic, offsets.iter().map(|(partition, offset)| (partition.get(), offset.get())))
    }

    /// These partitions, each at no offset.
    pub(super) fn of(topic: &CStr, partitions: impl IntoIterator<Item = PartitionId>) -> Self {
        let none = i64::from(sys::RD_KAFKA_OFFSET_INVALID);
        Self::new(topic, partitions.into_iter().map(|partition| (partition.get(), none)))
    }

    fn new(topic: &CStr, entries: impl Iterator<Item = (i32, i64)>) -> Self {
        // SAFETY: no precondition; librdkafka aborts rather than return null.
        let list = Self(unsafe { sys::rd_kafka_topic_partition_list_new(4) });
        for (partition, offset) in entries {
            // SAFETY: the list is ours, the topic's name is copied, and the new entry is valid until the
            // list grows again.
            unsafe {
                let entry =
                    sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
                (*entry).offset = offset;
            }
        }
        list
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        // SAFETY: the list is ours and complete.
        unsafe { entries(self.0) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// One partition of a list.
pub(super) struct Entry {
    pub(super) partition: PartitionId,
    pub(super) offset: i64,
    pub(super) error: i32,
}

/// Copies a list out.
///
/// # Safety
///
/// `list` is null or a valid list that nobody changes during the call.
pub(super) unsafe fn entries(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    // SAFETY: null or valid, says the caller.
    let Some(list) = (unsafe { list.as_ref() }) else { return Vec::new() };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if count == 0 || list.elems.is_null() {
        return Vec::new();
    }
    // SAFETY: `elems` holds `cnt` entries.
    let elements = unsafe { slice::from_raw_parts(list.elems, count) };
    let entry = |element: &sys::rd_kafka_topic_partition_t| Entry {
        partition: PartitionId::new(element.partition),
        offset: element.offset,
        error: element.err as i32,
    };
    elements.iter().map(entry).collect()
}
