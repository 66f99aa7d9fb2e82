//! Rows and their bytes: what a data file of the simulator holds.

use bytes::Bytes;

/// One row: where the record stood, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) value: i64,
}

/// Rows of other writers stand in this partition.
pub(super) const FOREIGN: i32 = -1;

const WIDTH: usize = 20;

pub(super) fn encode(rows: &[Row]) -> Bytes {
    let mut bytes = Vec::with_capacity(rows.len() * WIDTH);
    for row in rows {
        bytes.extend_from_slice(&row.partition.to_le_bytes());
        bytes.extend_from_slice(&row.offset.to_le_bytes());
        bytes.extend_from_slice(&row.value.to_le_bytes());
    }
    bytes.into()
}

/// `None` when the bytes are no rows.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Row>> {
    let chunks = bytes.chunks_exact(WIDTH);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks
        .map(|chunk| {
            let (partition, rest) = chunk.split_at_checked(4)?;
            let (offset, value) = rest.split_at_checked(8)?;
            Some(Row {
                partition: i32::from_le_bytes(partition.try_into().ok()?),
                offset: i64::from_le_bytes(offset.try_into().ok()?),
                value: i64::from_le_bytes(value.try_into().ok()?),
            })
        })
        .collect()
}
