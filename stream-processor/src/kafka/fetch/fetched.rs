//! What one fetch brought, kept in one piece while anybody reads it.
//!
//! Owns the memory of fetches, and sends it back to be filled again. It must never copy a record.

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use lakehouse::ids::{Offset, PartitionId};

use super::super::batch::Record;
use super::batches::Entry;

/// Memory that waits to be filled again; more than the pipe holds would lie idle.
const KEPT: usize = 8;
/// Memory larger than this is given back: some fetch brought an unusually large batch.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Memory for one fetch.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

/// Where memory waits to be filled again.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    home: Sender<Buffers>,
    kept: Receiver<Buffers>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (home, kept) = bounded(KEPT);
        Self { home, kept }
    }

    /// Empty memory, used before if there is any.
    pub(super) fn take(&self) -> Buffers {
        let mut buffers = self.kept.try_recv().unwrap_or_default();
        buffers.bytes.clear();
        buffers.entries.clear();
        buffers
    }

    pub(super) fn filled(&self, buffers: Buffers) -> Fetched {
        Fetched { buffers, home: self.home.clone() }
    }
}

/// The bytes of one fetch and the places of its records.
#[derive(Debug)]
pub(super) struct Fetched {
    buffers: Buffers,
    home: Sender<Buffers>,
}

impl Fetched {
    pub(super) fn entries(&self, range: Range<usize>) -> &[Entry] {
        self.buffers.entries.get(range).unwrap_or_default()
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let buffers = std::mem::take(&mut self.buffers);
        if buffers.bytes.capacity() <= KEPT_BYTES_MAX {
            // When enough waits already, it is freed.
            drop(self.home.try_send(buffers));
        }
    }
}

/// Some records of one fetch, in runs of one partition.
#[derive(Debug)]
pub(in super::super) struct Runs {
    fetched: Arc<Fetched>,
    runs: Vec<(PartitionId, Range<usize>)>,
}

impl Runs {
    pub(super) fn new(fetched: Arc<Fetched>, runs: Vec<(PartitionId, Range<usize>)>) -> Self {
        Self { fetched, runs }
    }

    pub(in super::super) fn len(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.len()).sum()
    }

    pub(in super::super) fn records(&self) -> RunRecords<'_> {
        RunRecords {
            bytes: &self.fetched.buffers.bytes,
            entries: &self.fetched.buffers.entries,
            runs: self.runs.iter(),
            partition: PartitionId::new(0),
            run: [].iter(),
            left: self.len(),
        }
    }
}

/// The records of [`Runs`].
pub(in super::super) struct RunRecords<'a> {
    bytes: &'a [u8],
    entries: &'a [Entry],
    runs: slice::Iter<'a, (PartitionId, Range<usize>)>,
    partition: PartitionId,
    run: slice::Iter<'a, Entry>,
    left: usize,
}

impl<'a> Iterator for RunRecords<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let entry = loop {
            if let Some(entry) = self.run.next() {
                break entry;
            }
            let (partition, run) = self.runs.next()?;
            self.partition = *partition;
            self.run = self.entries.get(run.clone()).unwrap_or_default().iter();
        };
        self.left -= 1;
        let value = || {
            let start = entry.at as usize;
            self.bytes.get(start..start + entry.length as usize)
        };
        Some(Record {
            partition: self.partition,
            offset: Offset::new(entry.offset),
            timestamp_ms: (entry.timestamp >= 0).then_some(entry.timestamp),
            payload: if entry.length == Entry::NULL { None } else { value() },
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
