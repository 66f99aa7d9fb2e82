//! Places to die at and mistakes to make on purpose, for the proof; nothing of it is in a shipped program.
//!
//! Without the feature `faults` every call here is an empty inlined function. With it, a process dies at the
//! place that its environment names, and makes the one mistake that its environment, or a test's own thread,
//! asks for. The programs refuse to be compiled with the feature; only the proof's own binary has it.

/// The mistakes that the proof must catch, exactly-once protocol §10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// The commit is applied again to whatever is current, as iceberg-rust's own `Transaction` does.
    S1StockCommit,
    /// A 503 is taken to say that nothing was applied.
    S2UnavailableIsNotApplied,
    /// The data files of a commit with an unknown outcome are deleted.
    S3DeleteAfterUnknown,
    /// The position is looked for in the current snapshot only.
    S4CurrentSnapshotOnly,
    /// A batch is accepted where the table's offset is at its start or above it.
    S5GreaterOrEqual,
    /// A commit records the offsets of its own partitions only.
    S6OwnPartitionsOnly,
    /// A batch ends after the last record seen, not at the consumer's position.
    S7LastOffsetPlusOne,
    /// A position that the topic does not hold any more falls back to its end.
    S8ResetToLatest,
    /// The topic's id is not looked at.
    S9TopicIdIgnored,
    /// Rejected records are written after the position has moved.
    S10RejectAfterPosition,
    /// Partitions are assigned first and moved to their offset afterwards.
    S11AssignThenSeek,
    /// A table, with the store's credentials in it, is logged.
    S12TableLogged,
}

impl Bug {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::S1StockCommit,
        Self::S2UnavailableIsNotApplied,
        Self::S3DeleteAfterUnknown,
        Self::S4CurrentSnapshotOnly,
        Self::S5GreaterOrEqual,
        Self::S6OwnPartitionsOnly,
        Self::S7LastOffsetPlusOne,
        Self::S8ResetToLatest,
        Self::S9TopicIdIgnored,
        Self::S10RejectAfterPosition,
        Self::S11AssignThenSeek,
        Self::S12TableLogged,
    ];

    /// `S1` to `S12`.
    pub fn code(self) -> String {
        // The letter and the digits of the name; what follows may begin with an S, too.
        let name = format!("{self:?}");
        let digits = name.chars().skip(1).take_while(char::is_ascii_digit);
        name.chars().take(1).chain(digits).collect()
    }
}

#[cfg(not(feature = "faults"))]
mod off {
    use super::Bug;

    /// A place where the proof may end this process.
    #[inline]
    pub fn point(_name: &'static str) {}

    /// Whether the mistake is to be made: never, in this build.
    #[inline]
    pub const fn made(_bug: Bug) -> bool {
        false
    }
}

#[cfg(not(feature = "faults"))]
pub use off::{made, point};

#[cfg(feature = "faults")]
mod on;
#[cfg(feature = "faults")]
pub mod probes;

#[cfg(feature = "faults")]
pub use on::{BUG, LOG, POINT, made, point, with_bug};
