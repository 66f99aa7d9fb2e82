//! Where the table stands in the topic, and whether a batch may be appended to it.
//!
//! Owns the one decision that exactly-once hangs on: [`decide`] compares what the table holds with what
//! a batch carries, and is the only place that makes a [`CommitPermit`]. It is pure: no await, no
//! clock, no catalog. It must never guess: anything but an exact match is a refusal with its numbers.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_with::{MapPreventDuplicates, serde_as};

use crate::faults::{Bug, made};
use crate::ids::{Offset, PartitionId};
use crate::{Error, Kind, Result};

mod ranges;

#[cfg(test)]
mod tests;

pub use ranges::{Range, Ranges};

/// How much of a text that is no position is worth showing.
const SHOWN_CHARS_MAX: usize = 1_000;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the identity as the broker spells it.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// As the broker spells it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identity!(
    /// A broker cluster. Offsets of one cluster mean nothing in another.
    ClusterId
);
identity!(
    /// One incarnation of a topic: a topic deleted and made again under its name gets another id.
    TopicId
);

/// What the offsets of a [`Position`] count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The cluster.
    pub cluster: ClusterId,
    /// The topic in it.
    pub topic: TopicId,
}

/// The next offset of every partition that the table does not hold yet.
///
/// Every record below it is in the table, was filtered, or was rejected; no record at or above it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Position {
    source: Source,
    offsets: BTreeMap<PartitionId, Offset>,
}

/// A [`Position`] as stored, exactly-once protocol §2. Nothing in it is said twice.
#[serde_as]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cluster: ClusterId,
    #[serde_as(as = "MapPreventDuplicates<_, MapPreventDuplicates<_, _>>")]
    topics: BTreeMap<TopicId, BTreeMap<PartitionId, Offset>>,
}

impl Position {
    /// The position of a table that knows of no partition yet.
    pub const fn empty(source: Source) -> Self {
        Self { source, offsets: BTreeMap::new() }
    }

    /// The position of a table that holds everything below `offsets`, and nothing from there on.
    pub const fn new(source: Source, offsets: BTreeMap<PartitionId, Offset>) -> Self {
        Self { source, offsets }
    }

    /// What the offsets count.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The next offset of `partition`, or `None` when it was never pinned.
    pub fn get(&self, partition: PartitionId) -> Option<Offset> {
        self.offsets.get(&partition).copied()
    }

    /// Every partition with its next offset.
    pub fn offsets(&self) -> &BTreeMap<PartitionId, Offset> {
        &self.offsets
    }

    /// This position with the partitions of `starts` that it lacks, or `None` when it lacks none.
    ///
    /// A partition that is there keeps its offset, whatever `starts` says.
    pub fn pinned(&self, starts: &BTreeMap<PartitionId, Offset>) -> Option<Self> {
        let mut pinned = self.clone();
        for (partition, start) in starts {
            pinned.offsets.entry(*partition).or_insert(*start);
        }
        (pinned.offsets.len() > self.offsets.len()).then_some(pinned)
    }

    fn advanced(&self, batch: &Ranges) -> Self {
        // S6: the partitions of other workers are forgotten.
        let own_only = made(Bug::S6OwnPartitionsOnly);
        let mut advanced = if own_only { Self::empty(self.source.clone()) } else { self.clone() };
        advanced.offsets.extend(batch.iter().map(|(partition, range)| (partition, range.end())));
        advanced
    }

    /// The stored form.
    pub fn to_json(&self) -> String {
        let text = |id: &str| serde_json::Value::from(id).to_string();
        let (cluster, topic) = (text(&self.source.cluster.0), text(&self.source.topic.0));
        let offsets = ranges::json_members(&self.offsets);
        format!(r#"{{"cluster":{cluster},"topics":{{{topic}:{{{offsets}}}}}}}"#)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// [`Kind::Corrupt`]: the text is not a position of one topic.
    pub fn from_json(text: &str) -> Result<Self> {
        let corrupt = |what: &str| {
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            Error::new(Kind::Corrupt, what).with("position", shown)
        };
        let stored: Stored = serde_json::from_str(text)
            .map_err(|err| corrupt("the stored position is not readable").because(err))?;
        let mut topics = stored.topics.into_iter();
        let (Some((topic, offsets)), None) = (topics.next(), topics.next()) else {
            return Err(corrupt("the stored position must name exactly one topic"));
        };
        if offsets.iter().any(|(partition, offset)| partition.get() < 0 || offset.get() < 0) {
            return Err(corrupt("the stored position holds a negative number"));
        }
        Ok(Self { source: Source { cluster: stored.cluster, topic }, offsets })
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.offsets).finish()
    }
}

/// Whether the table's history shows the attempt that a batch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// No ancestor of the current snapshot carries its id.
    Unseen,
    /// An ancestor carries its id: the commit landed, whatever its answer said.
    Landed,
}

/// The right to append one batch; only [`decide`] grants it.
#[derive(Debug, PartialEq, Eq)]
pub struct CommitPermit {
    position: Position,
}

impl CommitPermit {
    /// Where the table stands once the batch is in.
    pub fn position(&self) -> &Position {
        &self.position
    }
}

/// What a commit attempt must do, decided from facts already read.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every range starts where the table ends; append and record the permit's position.
    Append(CommitPermit),
    /// This very attempt landed earlier, and its answer was lost.
    AlreadyCommitted,
    /// Another writer moved `partition` past the batch's start; this batch must be dropped.
    Fenced {
        /// The first partition that differs.
        partition: PartitionId,
        /// What the table holds.
        table: Offset,
        /// What the batch starts at.
        batch: Offset,
    },
    /// Records `table..batch` were never written; appending would lose them.
    Gap {
        /// The first partition that differs.
        partition: PartitionId,
        /// What the table holds; `None` when the partition was never pinned.
        table: Option<Offset>,
        /// What the batch starts at.
        batch: Offset,
    },
}

/// Compares the table with a batch.
///
/// A start must *equal* the table's offset. `>=` would accept a batch whose first records another
/// incarnation has committed already, and write them twice.
pub fn decide(table: &Position, batch: &Ranges, attempt: Attempt) -> Decision {
    // S1: nothing is compared, as in iceberg-rust's own transactions.
    #[cfg(feature = "faults")]
    if made(Bug::S1StockCommit) {
        return undecided(table, batch);
    }
    let holds_all = || batch.iter().all(|(p, range)| table.get(p) >= Some(range.end()));
    if attempt == Attempt::Landed && holds_all() {
        return Decision::AlreadyCommitted;
    }
    for (partition, range) in batch.iter() {
        let batch = range.start();
        match table.get(partition) {
            Some(held) if held == batch => {}
            // S5: a table that is further on will do, too.
            Some(held) if held > batch && made(Bug::S5GreaterOrEqual) => {}
            Some(held) if held > batch => {
                return Decision::Fenced { partition, table: held, batch };
            }
            held => return Decision::Gap { partition, table: held, batch },
        }
    }
    Decision::Append(CommitPermit { position: table.advanced(batch) })
}

/// What is done in place of deciding where a mistake is made on purpose.
#[cfg(feature = "faults")]
pub(crate) fn undecided(table: &Position, batch: &Ranges) -> Decision {
    Decision::Append(CommitPermit { position: table.advanced(batch) })
}
