//! A table changes hands: lent to another engine, and taken back.
//!
//! Owns the two steps that say so, each one snapshot without rows that records the position, on the very table that was
//! looked at. A commit that is under way on either side meets another table then, and has to read again; ours is refused
//! as long as the table is lent. It must never work a position out: who hands over knows what the other engine did.

use super::snapshot::{self, Append, ManifestCache};
use super::{Counts, Lakehouse, ReadTable, facts, ident, keys, shell};
use crate::catalog::{Answer, FencedCatalog};
use crate::position::{Position, Ranges, Source};
use crate::storage::Store;
use crate::{Error, Kind, Result};

/// A table as it was looked at, and the right to hand it over once, if nobody changes it first.
pub struct Handover {
    fenced: FencedCatalog,
    store: Store,
    recorded: Option<Position>,
    snapshots_kept: usize,
}

impl Lakehouse {
    /// Looks at a table that is to change hands; `None` when there is none.
    ///
    /// # Errors
    ///
    /// - [`Kind::Refused`]: the table holds another source's records, went back, or lost its position.
    /// - [`Kind::Retry`]: the catalog does not answer.
    pub async fn handover(
        &self,
        namespace: &str,
        name: &str,
        source: &Source,
    ) -> Result<Option<Handover>> {
        let fenced = FencedCatalog::read(&self.catalog, &ident(namespace, name)?).await?;
        let Some(fenced) = fenced else { return Ok(None) };
        let recorded = facts::recorded(fenced.base().metadata(), source)?;
        let (store, snapshots_kept) = (self.store.clone(), self.snapshots_kept);
        Ok(Some(Handover { fenced, store, recorded, snapshots_kept }))
    }
}

impl Handover {
    /// The position that was recorded last; rows of another engine may lie beyond it.
    pub fn recorded(&self) -> Option<&Position> {
        self.recorded.as_ref()
    }

    /// Which other engine the table is lent to.
    pub fn lent_to(&self) -> Option<&str> {
        facts::lent_to(self.fenced.base().metadata())
    }

    /// Whether another engine may have written rows beyond the recorded position.
    pub fn others_wrote(&self) -> bool {
        let metadata = self.fenced.base().metadata();
        let unrecorded = self.recorded.is_none() && metadata.current_snapshot().is_some();
        unrecorded || self.lent_to().is_some() || facts::flink_since(metadata).is_some()
    }

    /// Its rows, as they were when it was looked at.
    pub fn rows(&self) -> ReadTable {
        ReadTable::new(self.fenced.base().clone(), self.store.clone())
    }

    /// Records that the table stands at `position` and is `borrower`'s from there on.
    ///
    /// # Errors
    ///
    /// - [`Kind::Conflict`], [`Kind::Retry`]: the table was changed, or nothing is known about the outcome. Look again.
    /// - [`Kind::Refused`]: `position` goes back.
    pub async fn lend(self, borrower: &str, position: &Position) -> Result<()> {
        let lent = [(keys::LENT.to_owned(), borrower.to_owned())].into();
        self.record(position, |builder| builder.set_properties(lent)).await
    }

    /// Records that the table stands at `position` and is ours again.
    ///
    /// # Errors
    ///
    /// As [`lend`](Self::lend).
    pub async fn take_back(self, position: &Position) -> Result<()> {
        self.record(position, |builder| builder.remove_properties(&[keys::LENT.to_owned()])).await
    }

    async fn record(
        self,
        position: &Position,
        change: impl FnOnce(
            iceberg::spec::TableMetadataBuilder,
        ) -> iceberg::Result<iceberg::spec::TableMetadataBuilder>,
    ) -> Result<()> {
        if let Some(recorded) = &self.recorded {
            never_back(recorded, position)?;
        }
        let append = Append {
            files: &[],
            position,
            ranges: &Ranges::default(),
            counts: Counts::default(),
            attempt: shell::uuid(),
            snapshots_kept: self.snapshots_kept,
        };
        let cache = ManifestCache::default();
        match snapshot::publish_with(self.fenced, &append, &cache, change).await?.answer {
            Answer::Committed(_) => Ok(()),
            Answer::Conflict => {
                Err(Error::new(Kind::Conflict, "somebody wrote to the table meanwhile"))
            }
            Answer::Unknown(err) => Err(err),
        }
    }
}

fn never_back(from: &Position, to: &Position) -> Result<()> {
    for (partition, held) in from.offsets() {
        let wanted = to.get(*partition);
        if wanted.is_none_or(|wanted| wanted < *held) {
            return Err(Error::new(Kind::Refused, "a position does not go back")
                .with("partition", partition)
                .with("recorded", held)
                .with("wanted", wanted.map_or("nothing".to_owned(), |at| at.to_string())));
        }
    }
    Ok(())
}
