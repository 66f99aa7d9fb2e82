//! Mistakes made on purpose that take more than a line: the proof must notice them.

use super::snapshot::{self, Append};
use super::{CommitRequest, Pass, SinkTable};
use crate::catalog::{Answer, FencedCatalog};
use crate::commit::{Counts, shell};
use crate::ids::SnapshotId;
use crate::position::Ranges;
use crate::{Error, Kind, Result};

impl SinkTable {
    /// S3.
    pub(super) async fn delete_files(&self, request: &CommitRequest) {
        for file in &request.files {
            if let Err(err) = self.inner.store.delete(&file.location).await {
                tracing::debug!(%err, "not deleted");
            }
        }
    }

    /// S10: two commits, between which a process can die.
    pub(super) async fn rows_after_position(
        &self,
        fenced: FencedCatalog,
        append: &Append<'_>,
        base: String,
    ) -> Result<Pass> {
        let moved = Append { files: &[], ..*append };
        let manifests = &self.inner.manifests;
        match snapshot::publish(fenced, &moved, manifests).await?.answer {
            Answer::Committed(_) => {}
            Answer::Conflict => return Ok(Pass::Conflict),
            Answer::Unknown(err) => return Ok(Pass::Unknown { base, err }),
        }
        let ranges = Ranges::default();
        loop {
            let fenced = FencedCatalog::read(&self.inner.catalog, &self.inner.ident).await?;
            let fenced = fenced.ok_or_else(|| Error::new(Kind::Retry, "the table is gone"))?;
            let (counts, attempt) = (Counts::default(), shell::uuid());
            let rows = Append { ranges: &ranges, counts, attempt, ..*append };
            let published = snapshot::publish(fenced, &rows, manifests).await?;
            if let Answer::Committed(table) = published.answer {
                self.saw(table.metadata());
                return Ok(Pass::Done(super::CommitOutcome::Committed(super::CommitReport {
                    snapshot: SnapshotId::new(published.snapshot),
                    position: append.position.clone(),
                    attempts: 2,
                    conflicts: 0,
                    manifests: published.manifests,
                    lost: std::time::Duration::ZERO,
                    elapsed: std::time::Duration::ZERO,
                })));
            }
        }
    }
}
