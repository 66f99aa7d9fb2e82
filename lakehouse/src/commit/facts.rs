//! What a table says about its position, and whether that can be believed.
//!
//! Pure: metadata in, a [`Position`] or a refusal out. It must never fall back to a default: a table
//! that contradicts itself is refused with both sides, and an operator decides.
//!
//! The position stands in two places that are written in one commit: in the summary of the snapshot
//! that moved it, and in a table property. The property survives the expiry of that snapshot, and the
//! summary says which rows the position belongs to. A foreign snapshot has no such key, so the
//! summary is looked for along main's ancestry.

use iceberg::spec::{SnapshotRef, TableMetadata};
use uuid::Uuid;

use super::keys;
use crate::faults::{Bug, made};
use crate::position::{Attempt, Position, Source};
use crate::{Error, Kind, Result};

/// The position of the table, or `None` when it is new.
///
/// # Errors
///
/// - [`Kind::Refused`]: the table is another engine's for now; or the position is missing on a table with
///   snapshots, belongs to another source, or the table went back to an older state.
/// - [`Kind::Corrupt`]: what is stored is not a position.
pub(super) fn position(metadata: &TableMetadata, source: &Source) -> Result<Option<Position>> {
    // S4: the property and the snapshots before the current one are not looked at.
    if made(Bug::S4CurrentSnapshotOnly) {
        let current = metadata.current_snapshot().map(|it| &it.summary().additional_properties);
        let stored = current.and_then(|summary| summary.get(keys::POSITION));
        return stored.map(|json| Position::from_json(json)).transpose();
    }
    if let Some(borrower) = lent_to(metadata) {
        return Err(Error::new(Kind::Refused, "the table is lent to another engine")
            .with("lent to", borrower)
            .advising("stop that engine's job, then take the table back: streamforge adopt"));
    }
    let recorded = recorded(metadata, source)?;
    if let Some(job) = flink_since(metadata) {
        return Err(Error::new(Kind::Refused, "Flink has written since the position was recorded")
            .with("its job", job)
            .advising("stop that job, then take the table back: streamforge adopt"));
    }
    match (recorded, metadata.current_snapshot()) {
        (None, Some(_)) => Err(Error::new(
            Kind::Refused,
            "the table has rows but no position; it is not one of ours, or its property was lost",
        )
        .with("property", keys::POSITION)
        .advising("let the job write to a table of another name, or set the property again")),
        (recorded, _) => Ok(recorded),
    }
}

/// The position as it was recorded last, whoever has written since; `None` when none ever was.
///
/// # Errors
///
/// As [`position`], but for other engines' rows.
pub(super) fn recorded(metadata: &TableMetadata, source: &Source) -> Result<Option<Position>> {
    let stored = Stored::read(metadata)?;
    let history = History::walk(metadata);
    let Some(stored) = stored else {
        return match history.keyed {
            None => Ok(None),
            Some(keyed) => {
                Err(Error::new(Kind::Refused, "the position property was removed from the table")
                    .with("property", keys::POSITION)
                    .with("snapshot", keyed.snapshot_id())
                    .advising("set it again to what that snapshot's summary says"))
            }
        };
    };
    stored.check_history(metadata, &history)?;
    stored.check_source(source)?;
    Ok(Some(stored.position))
}

/// Which other engine writes the table now.
pub(super) fn lent_to(metadata: &TableMetadata) -> Option<&str> {
    metadata.properties().get(keys::LENT).map(String::as_str)
}

/// The job of a snapshot that Flink made on top of the recorded position.
pub(super) fn flink_since(metadata: &TableMetadata) -> Option<&str> {
    ancestors(metadata)
        .map(|snapshot| &snapshot.summary().additional_properties)
        .take_while(|summary| !summary.contains_key(keys::POSITION))
        .find_map(|summary| summary.get(keys::FLINK_JOB))
        .map(String::as_str)
}

/// Whether main's ancestry shows the attempt `id`.
pub(super) fn attempt(metadata: &TableMetadata, id: Uuid) -> Attempt {
    let id = id.to_string();
    let shown = ancestors(metadata)
        .any(|snapshot| snapshot.summary().additional_properties.get(keys::ATTEMPT) == Some(&id));
    if shown { Attempt::Landed } else { Attempt::Unseen }
}

/// Main's snapshot and its retained ancestors, newest first.
pub(super) fn ancestors(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    let parent = |snapshot: &&SnapshotRef| {
        snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id))
    };
    // A chain can't be longer than the table; a cycle would be.
    std::iter::successors(metadata.current_snapshot(), parent).take(metadata.snapshots().len())
}

struct Stored {
    position: Position,
    json: String,
    sequence: i64,
}

impl Stored {
    fn read(metadata: &TableMetadata) -> Result<Option<Self>> {
        let properties = metadata.properties();
        let Some(json) = properties.get(keys::POSITION) else { return Ok(None) };
        let sequence = properties.get(keys::SEQUENCE);
        let sequence = sequence.and_then(|text| text.parse().ok()).ok_or_else(|| {
            Error::new(Kind::Corrupt, "the position's sequence number is missing or unreadable")
                .with("property", keys::SEQUENCE)
                .with("value", sequence.map_or("", String::as_str))
        })?;
        Ok(Some(Self { position: Position::from_json(json)?, json: json.clone(), sequence }))
    }

    fn check_history(&self, metadata: &TableMetadata, history: &History<'_>) -> Result<()> {
        if metadata.last_sequence_number() < self.sequence {
            return Err(went_back("the table's sequence number went back")
                .with("recorded", self.sequence)
                .with("table", metadata.last_sequence_number()));
        }
        match (history.keyed, history.oldest) {
            (Some(keyed), _) => self.check_summary(keyed),
            (None, Some(oldest)) if history.complete => {
                Err(went_back("no snapshot of the table holds the recorded position")
                    .with("recorded", &self.json)
                    .with("oldest snapshot", oldest.snapshot_id()))
            }
            // The snapshot that held it expired behind foreign ones, so it is older than all of them.
            (None, Some(oldest)) if self.sequence < oldest.sequence_number() => Ok(()),
            (None, Some(oldest)) => Err(went_back("main is older than the recorded position")
                .with("recorded sequence", self.sequence)
                .with("oldest snapshot's", oldest.sequence_number())),
            (None, None) => Err(went_back("the table was emptied, but records a position")
                .with("recorded", &self.json)),
        }
    }

    fn check_summary(&self, keyed: &SnapshotRef) -> Result<()> {
        let summary = keyed.summary().additional_properties.get(keys::POSITION);
        if keyed.sequence_number() == self.sequence && summary == Some(&self.json) {
            return Ok(());
        }
        Err(went_back(
            "main does not hold the snapshot that the table's position was recorded with",
        )
        .with("snapshot", keyed.snapshot_id())
        .with("its sequence", keyed.sequence_number())
        .with("its position", summary.map_or("", String::as_str))
        .with("recorded sequence", self.sequence)
        .with("recorded position", &self.json))
    }

    fn check_source(&self, source: &Source) -> Result<()> {
        let held = self.position.source();
        if held.cluster != source.cluster {
            return Err(Error::new(
                Kind::Refused,
                "the table was filled from another Kafka cluster",
            )
            .with("filled from", &held.cluster)
            .with("found", &source.cluster)
            .advising("check KAFKA_BROKERS, or let the job write to a table of another name"));
        }
        if held.topic != source.topic {
            return Err(Error::new(
                Kind::Refused,
                "the table was filled from another topic, or the topic was deleted and made again",
            )
            .with("filled from", &held.topic)
            .with("found", &source.topic)
            .advising("let the job write to tables of other names; these stay as they are"));
        }
        Ok(())
    }
}

fn went_back(what: &str) -> Error {
    Error::new(Kind::Refused, format!("{what}: it was rolled back, replaced or restored"))
}

/// Main's ancestry, as far as the position needs it.
struct History<'a> {
    /// The newest snapshot that records a position.
    keyed: Option<&'a SnapshotRef>,
    /// The oldest one still there.
    oldest: Option<&'a SnapshotRef>,
    /// Whether that is the first one of all.
    complete: bool,
}

impl<'a> History<'a> {
    fn walk(metadata: &'a TableMetadata) -> Self {
        let keyed = ancestors(metadata)
            .find(|snapshot| snapshot.summary().additional_properties.contains_key(keys::POSITION));
        let oldest = ancestors(metadata).last();
        let complete = oldest.is_some_and(|oldest| oldest.parent_snapshot_id().is_none());
        Self { keyed, oldest, complete }
    }
}
