//! Why a record is not a row.

use std::fmt;

use lakehouse::ids::{Offset, PartitionId};

/// The longest detail text, in bytes.
const DETAIL_BYTES_MAX: usize = 256;

/// Why a record was rejected. The set is closed; the names are stored in `rejected_events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The record has no value.
    Tombstone,
    /// The value has no bytes.
    Empty,
    /// The bytes are not UTF-8, or a text escapes half a surrogate pair.
    InvalidUtf8,
    /// Not one JSON text.
    InvalidJson,
    /// Arrays and objects inside each other, 128 levels or more.
    NestingTooDeep,
    /// One JSON text, but not an object.
    NotAnObject,
    /// A declared field occurs twice.
    DuplicateKey,
    /// A field that is declared NOT NULL is absent or null.
    MissingField,
    /// A declared field holds another JSON type.
    WrongType,
    /// A number does not fit its declared type.
    OutOfRange,
    /// A text is not a timestamp or date of the declared form.
    BadTimestamp,
    /// An expression of the job failed on this row.
    Evaluation,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Tombstone,
        Self::Empty,
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::NestingTooDeep,
        Self::NotAnObject,
        Self::DuplicateKey,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::BadTimestamp,
        Self::Evaluation,
    ];

    /// The name that is stored and counted.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Empty => "empty",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NestingTooDeep => "nesting_too_deep",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateKey => "duplicate_key",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::BadTimestamp => "bad_timestamp",
            Self::Evaluation => "evaluation",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that is not a row, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset in that partition.
    pub offset: Offset,
    /// Its time, in milliseconds since 1970-01-01T00:00:00Z, when it has one.
    pub timestamp_ms: Option<i64>,
    /// Why.
    pub reason: Reason,
    /// Where and what, in a few words; holds nothing of the payload but field names.
    pub detail: String,
    /// The record's value, whole; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// Cuts a detail to [`DETAIL_BYTES_MAX`], between characters.
pub(super) fn bounded(mut detail: String) -> String {
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    detail
}
