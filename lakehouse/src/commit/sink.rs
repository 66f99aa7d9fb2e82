//! One table to append to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use iceberg::TableIdent;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::retry::{Pauses, Retry, SETTLE_TIME};
use super::snapshot::{self, Append, ManifestCache, Published};
use super::types::{CommitOutcome, CommitReport, CommitRequest, Counts, Made, UploadedFile};
use super::{Lakehouse, evolve, facts, shell, sweep};
use crate::avro::TableSchema;
use crate::catalog::{Answer, Base, Catalog, FencedCatalog};
use crate::datafile::EncodedFile;
use crate::ids::{Offset, PartitionId, SnapshotId};
use crate::position::{Decision, Position, Ranges, Source, decide};
use crate::spec::TableSpec;
use crate::storage::Store;
use crate::{Error, Kind, Result};
#[cfg(feature = "faults")]
use crate::{
    faults::{Bug, made},
    position::undecided,
};

/// Puts of one file, each with the store's own retries, before the caller hears of it.
const UPLOAD_TRIES: u32 = 3;

/// One Iceberg table as the end of a stream. Clones are the same sink.
#[derive(Clone)]
pub struct SinkTable {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Arc<dyn Catalog>,
    store: Store,
    ident: TableIdent,
    uuid: Uuid,
    made: Made,
    location: String,
    schema: Arc<TableSchema>,
    schema_id: i32,
    spec_id: i32,
    snapshots_kept: usize,
    pauses: Pauses,
    /// The newest sequence number seen, to notice a table that went back under us.
    newest: AtomicI64,
    manifests: ManifestCache,
}

/// What one pass of the commit loop came to.
enum Pass {
    Done(CommitOutcome),
    Conflict,
    Unknown { base: String, err: Error },
}

impl SinkTable {
    pub(super) fn new(
        lakehouse: &Lakehouse,
        base: &Base,
        spec: &TableSpec,
        columns: &[i32],
        made: Made,
    ) -> Result<Self> {
        let metadata = base.metadata();
        if !lakehouse.store.holds(metadata.location()) {
            return Err(Error::new(Kind::Config, "the table lies outside the warehouse's store")
                .with("table", base.table.identifier())
                .with("its location", metadata.location())
                .with("warehouse", lakehouse.store.warehouse())
                .advising("set ICEBERG_WAREHOUSE to the catalog's own warehouse"));
        }
        let written = Arc::new(evolve::written(metadata.current_schema(), columns)?);
        let schema = TableSchema::new(&written, spec.partition_day.as_deref())?;
        let inner = Inner {
            catalog: Arc::clone(&lakehouse.catalog),
            store: lakehouse.store.clone(),
            ident: base.table.identifier().clone(),
            uuid: metadata.uuid(),
            made,
            location: metadata.location().trim_end_matches('/').to_owned(),
            schema: Arc::new(schema),
            schema_id: metadata.current_schema_id(),
            spec_id: metadata.default_partition_spec_id(),
            snapshots_kept: lakehouse.snapshots_kept,
            pauses: lakehouse.pauses,
            newest: AtomicI64::new(metadata.last_sequence_number()),
            manifests: ManifestCache::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The schema to write files by.
    pub fn schema(&self) -> Arc<TableSchema> {
        Arc::clone(&self.inner.schema)
    }

    /// How it came to be what the job wants.
    pub fn made(&self) -> Made {
        self.inner.made
    }

    /// `namespace.name`, for logs and metrics.
    pub fn name(&self) -> String {
        self.inner.ident.to_string()
    }

    /// Where the table stands. A new table stands nowhere: its position is empty.
    ///
    /// # Errors
    ///
    /// - [`Kind::Refused`]: the table is not the one this sink was opened on, holds another source's
    ///   records, went back, or lost its position.
    /// - [`Kind::Retry`]: the catalog failed for as long as it is tried.
    pub async fn position(&self, source: &Source) -> Result<Position> {
        let mut retry = Retry::new(SETTLE_TIME, self.inner.pauses);
        loop {
            match self.read(source).await {
                Ok((_, position)) => return Ok(position),
                Err(err) if err.kind() == Kind::Retry => {
                    let pause = retry.after_unknown(err);
                    retry.wait(pause, "the position was not read in time").await?;
                }
                Err(err) => return Err(err),
            }
        }
    }

    /// Records where partitions begin that the table knows nothing of, and returns the position with
    /// them. A partition that is known keeps its offset; of two that pin at once, one wins.
    ///
    /// # Errors
    ///
    /// As [`position`](Self::position).
    pub async fn pin(
        &self,
        source: &Source,
        starts: &BTreeMap<PartitionId, Offset>,
    ) -> Result<Position> {
        let mut retry = Retry::new(SETTLE_TIME, self.inner.pauses);
        loop {
            let pause = match self.pin_once(source, starts).await {
                Ok(Ok(position)) => return Ok(position),
                Ok(Err(Answer::Unknown(err))) => retry.after_unknown(err),
                Ok(Err(_)) => retry.after_conflict(),
                Err(err) if err.kind() == Kind::Retry => retry.after_unknown(err),
                Err(err) => return Err(err),
            };
            retry.wait(pause, "the start offsets were not recorded in time").await?;
        }
    }

    async fn pin_once(
        &self,
        source: &Source,
        starts: &BTreeMap<PartitionId, Offset>,
    ) -> Result<Result<Position, Answer>> {
        let (fenced, held) = self.read(source).await?;
        let Some(pinned) = held.pinned(starts) else { return Ok(Ok(held)) };
        let ranges = Ranges::default();
        let append = Append {
            files: &[],
            position: &pinned,
            ranges: &ranges,
            counts: Counts::default(),
            attempt: shell::uuid(),
            snapshots_kept: self.inner.snapshots_kept,
        };
        let published = snapshot::publish(fenced, &append, &self.inner.manifests).await?;
        Ok(match published.answer {
            Answer::Committed(base) => {
                self.saw(base.metadata());
                crate::faults::point("pin.published");
                Ok(pinned)
            }
            other => Err(other),
        })
    }

    /// Stores a file. It is in no table until it is committed.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store failed for as long as it is tried.
    /// - [`Kind::Config`]: the store refuses us.
    pub async fn upload(&self, file: EncodedFile) -> Result<UploadedFile> {
        let inner = &self.inner;
        crate::faults::point("upload.before");
        let stored_ms = shell::now_ms();
        let path = inner.schema.data_path(file.day, shell::uuid());
        let location = format!("{}/{path}", inner.location);
        let data = file.to_data_file(&location, &inner.schema, inner.spec_id)?;
        let mut tries = 1;
        // The name is ours alone, so a put whose answer was lost may be repeated.
        while let Err(err) = inner.store.put_new(&location, file.content.clone()).await {
            if err.kind() != Kind::Retry || tries == UPLOAD_TRIES {
                return Err(err);
            }
            tries += 1;
        }
        crate::faults::point("upload.after");
        let bytes = file.size();
        Ok(UploadedFile { location, rows: file.rows, bytes, stored_ms, day: file.day, data })
    }

    /// Appends a batch as one snapshot that also records the position, or says why not.
    ///
    /// Safe to call again with the same request, in this process or another: the attempt's id tells
    /// a batch that landed from one that did not.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the deadline passed. Nothing is known about the outcome; call again with the
    ///   same request, or start over from [`position`](Self::position).
    /// - [`Kind::Refused`]: see [`position`](Self::position); or the schema or the partitions changed.
    /// - [`Kind::Bug`]: the request contradicts itself.
    pub async fn commit(&self, request: &CommitRequest) -> Result<CommitOutcome> {
        request.check()?;
        let mut retry = Retry::new(request.deadline, self.inner.pauses);
        let done = shell::within(request.deadline, self.commit_loop(request, &mut retry)).await;
        done.unwrap_or_else(|| Err(retry.late(LATE)))
    }

    async fn commit_loop(
        &self,
        request: &CommitRequest,
        retry: &mut Retry,
    ) -> Result<CommitOutcome> {
        let mut attempts = 0;
        let mut refused = None;
        loop {
            let pause = match self.commit_once(request, &mut attempts, &mut refused, retry).await {
                Ok(Pass::Done(outcome)) => return Ok(outcome),
                Ok(Pass::Conflict) => retry.after_conflict(),
                Ok(Pass::Unknown { base, err }) if err.kind() != Kind::Retry => {
                    // Final if the table is still the same: the next pass finds out.
                    refused = Some((base, err));
                    shell::jitter(self.inner.pauses.conflict)
                }
                Ok(Pass::Unknown { err, .. }) => retry.after_unknown(err),
                Err(err) if err.kind() == Kind::Retry => retry.after_unknown(err),
                Err(err) => return Err(err),
            };
            retry.wait(pause, LATE).await?;
        }
    }

    async fn commit_once(
        &self,
        request: &CommitRequest,
        attempts: &mut u32,
        refused: &mut Option<(String, Error)>,
        retry: &Retry,
    ) -> Result<Pass> {
        let lost = retry.elapsed();
        let (fenced, position) = self.read(&request.source).await?;
        crate::faults::point("commit.read");
        let attempt = facts::attempt(fenced.base().metadata(), request.attempt);
        let decision = decide(&position, &request.ranges, attempt);
        // S2: what failed was not applied, so it is sent again to whatever is there.
        #[cfg(feature = "faults")]
        let decision =
            if made(Bug::S2UnavailableIsNotApplied) && retry.failures() > 0 && *attempts > 0 {
                undecided(&position, &request.ranges)
            } else {
                decision
            };
        let permit = match decision {
            Decision::Append(permit) => permit,
            Decision::AlreadyCommitted => {
                return Ok(Pass::Done(CommitOutcome::AlreadyCommitted { position }));
            }
            Decision::Fenced { partition, table, batch } => {
                crate::faults::point("commit.fenced");
                let fenced = CommitOutcome::Fenced { position, partition, table, batch };
                return Ok(Pass::Done(fenced));
            }
            Decision::Gap { partition, table, batch } => {
                let gap = CommitOutcome::Gap { position, partition, table, batch };
                return Ok(Pass::Done(gap));
            }
        };
        sweep::check(fenced.base().metadata(), &request.files)
            .map_err(|err| err.with("table", &self.inner.ident))?;
        let base = fenced.base().location().to_owned();
        if let Some((_, err)) = refused.take().filter(|(refused, _)| *refused == base) {
            return Err(err);
        }
        *attempts += 1;
        crate::faults::point("commit.decided");
        let append = Append {
            files: &request.files,
            position: permit.position(),
            ranges: &request.ranges,
            counts: request.counts,
            attempt: request.attempt,
            snapshots_kept: self.inner.snapshots_kept,
        };
        // S10: the position first, the rejected rows after it.
        #[cfg(feature = "faults")]
        if made(Bug::S10RejectAfterPosition) && self.inner.ident.name() == "rejected_events" {
            return self.rows_after_position(fenced, &append, base).await;
        }
        let published = snapshot::publish(fenced, &append, &self.inner.manifests).await?;
        let Published { answer, snapshot, manifests } = published;
        Ok(match answer {
            Answer::Committed(table) => {
                self.saw(table.metadata());
                crate::faults::point("commit.after-200");
                Pass::Done(CommitOutcome::Committed(CommitReport {
                    snapshot: SnapshotId::new(snapshot),
                    position: permit.position().clone(),
                    attempts: *attempts,
                    conflicts: retry.conflicts(),
                    manifests,
                    lost,
                    elapsed: retry.elapsed(),
                }))
            }
            Answer::Conflict => {
                crate::faults::point("commit.conflict");
                Pass::Conflict
            }
            Answer::Unknown(err) => {
                // S3: what did not get in is thrown away.
                #[cfg(feature = "faults")]
                if made(Bug::S3DeleteAfterUnknown) {
                    self.delete_files(request).await;
                }
                Pass::Unknown { base, err }
            }
        })
    }

    /// Reads the table, and everything that must hold before its position can be believed.
    async fn read(&self, source: &Source) -> Result<(FencedCatalog, Position)> {
        let inner = &self.inner;
        let named = |err: Error| err.with("table", &inner.ident);
        // Taken before the table is read: another task of ours may move both meanwhile.
        let newest = inner.newest.load(Ordering::Acquire);
        let fenced = FencedCatalog::read(&inner.catalog, &inner.ident).await?.ok_or_else(|| {
            named(
                Error::new(Kind::Refused, "the table was dropped under the running job").advising(
                    "start again to make it anew from the topic's beginning, or restore it",
                ),
            )
        })?;
        let metadata = fenced.base().metadata();
        self.check(metadata, newest).map_err(named)?;
        let position = facts::position(metadata, source).map_err(named)?;
        Ok((fenced, position.unwrap_or_else(|| Position::empty(source.clone()))))
    }

    fn check(&self, metadata: &TableMetadata, newest: i64) -> Result<()> {
        let inner = &self.inner;
        if metadata.uuid() != inner.uuid {
            return Err(Error::new(Kind::Refused, "the table was replaced under the running job")
                .with("opened", inner.uuid)
                .with("now", metadata.uuid())
                .advising("start again if the new table is the right one"));
        }
        if metadata.last_sequence_number() < newest {
            return Err(Error::new(
                Kind::Refused,
                "the table's sequence number went back: it was restored from an older state",
            )
            .with("seen", newest)
            .with("now", metadata.last_sequence_number()));
        }
        if metadata.default_partition_spec_id() != inner.spec_id {
            return Err(Error::new(Kind::Refused, "the table's partitions were changed")
                .with("opened", inner.spec_id)
                .with("now", metadata.default_partition_spec_id())
                .advising("start again if they fit the job"));
        }
        if metadata.current_schema_id() != inner.schema_id {
            evolve::still_fits(inner.schema.columns(), metadata.current_schema())?;
        }
        self.saw(metadata);
        Ok(())
    }

    fn saw(&self, metadata: &TableMetadata) {
        self.inner.newest.fetch_max(metadata.last_sequence_number(), Ordering::AcqRel);
    }
}

#[cfg(feature = "faults")]
#[path = "mistakes.rs"]
mod mistakes;

const LATE: &str = "the commit did not end in time, and its outcome is not known";
