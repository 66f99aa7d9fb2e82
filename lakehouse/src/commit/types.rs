//! What a commit is asked for, and what it answers.

use std::time::Duration;

use iceberg::spec::DataFile;
use uuid::Uuid;

use crate::ids::{Offset, PartitionId, SnapshotId};
use crate::position::{Position, Ranges, Source};
use crate::{Error, Kind, Result};

/// How a table came to be what the job wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was there and fits.
    Found,
    /// It was there, and its schema was brought up to the job.
    Evolved,
    /// It was missing.
    Created,
}

/// A data file that is stored, but in no table yet.
#[derive(Clone, Debug)]
pub struct UploadedFile {
    /// Where it lies.
    pub location: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// When its upload began, in milliseconds since 1970, as this host believes.
    pub(crate) stored_ms: i64,
    pub(super) day: Option<i32>,
    pub(super) data: DataFile,
}

/// What became of the records of a batch, as seen by one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read; the sum of the others.
    pub read: u64,
    /// Rows in the batch's files.
    pub written: u64,
    /// Records that this table is not meant to hold.
    pub filtered: u64,
    /// Records that could not be read, and are recorded as such elsewhere.
    pub rejected: u64,
}

/// One batch, to be appended as one snapshot.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// What the ranges are of.
    pub source: Source,
    /// The offsets covered; empty for a heartbeat.
    pub ranges: Ranges,
    /// What became of the records.
    pub counts: Counts,
    /// The rows, possibly none.
    pub files: Vec<UploadedFile>,
    /// Names this batch over all tries: calling again with the same id is safe.
    pub attempt: Uuid,
    /// How long to try.
    pub deadline: Duration,
}

impl CommitRequest {
    /// Refuses what would break the table's books.
    pub(super) fn check(&self) -> Result<()> {
        let Counts { read, written, filtered, rejected } = self.counts;
        let rows: u64 = self.files.iter().map(|file| file.rows).sum();
        let wrong = |what| {
            Err(Error::new(Kind::Bug, what)
                .with("counts", format!("{:?}", self.counts))
                .with("rows", rows)
                .with("ranges", format!("{:?}", self.ranges)))
        };
        if read != written + filtered + rejected {
            return wrong("read must be the sum of written, filtered and rejected");
        }
        if written != rows {
            return wrong("written must be the rows in the files");
        }
        if self.ranges.moves_nothing() && read > 0 {
            // Nothing in the table would tell a second append of these rows from the first.
            return wrong("records must have offsets");
        }
        Ok(())
    }
}

/// How a commit ended. An error says that it has not ended.
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// The batch is in the table.
    Committed(CommitReport),
    /// An earlier try of this attempt landed.
    AlreadyCommitted {
        /// Where the table stands now.
        position: Position,
    },
    /// Another writer was there first. Drop the batch, delete nothing, go on from `position`.
    Fenced {
        /// Where the table stands now.
        position: Position,
        /// The first partition that differs.
        partition: PartitionId,
        /// What the table holds.
        table: Offset,
        /// What the batch starts at.
        batch: Offset,
    },
    /// The batch skips records. Drop it, delete nothing, go on from `position`.
    Gap {
        /// Where the table stands now.
        position: Position,
        /// The first partition that differs.
        partition: PartitionId,
        /// What the table holds; `None` when the partition was never pinned.
        table: Option<Offset>,
        /// What the batch starts at.
        batch: Offset,
    },
}

/// A commit that this call made.
#[derive(Clone, Debug)]
pub struct CommitReport {
    /// The new snapshot.
    pub snapshot: SnapshotId,
    /// Where the table stands with it.
    pub position: Position,
    /// Publishes it took.
    pub attempts: u32,
    /// How many of them met another writer.
    pub conflicts: u32,
    /// Manifests in the new snapshot.
    pub manifests: usize,
    /// From the call to the beginning of the try that landed.
    pub lost: Duration,
    /// From the call to the answer.
    pub elapsed: Duration,
}
