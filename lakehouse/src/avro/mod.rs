//! Arrow columns → Avro blocks → one file in memory. The first step may run on any number of threads.
//!
//! Owns the encoding, the block size and the compression. It knows no store and no clock, and it must
//! never write a row that breaks the schema: a batch is checked as a whole before its first byte is
//! encoded, so a failed append leaves the file as it was.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Kind};

mod blocks;
mod compress;
mod days;
mod encode;
mod record;
mod schema;
mod writer;

#[cfg(test)]
mod tests;

pub use blocks::{EncodedRows, RowEncoder};
pub(crate) use encode::{Rows, put_long};
pub use schema::{StoredColumn, TableSchema};
pub(crate) use schema::{iceberg_schema, iceberg_type};
pub use writer::{DayWriter, FileWriter};

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As they are.
    None,
    /// Raw deflate, which every Avro reader knows.
    Deflate,
    /// Zstandard: a third of deflate's time for the same size.
    #[default]
    Zstandard,
}

impl Codec {
    /// Every codec, for tables of cases and for help texts.
    pub const ALL: [Self; 3] = [Self::None, Self::Deflate, Self::Zstandard];

    /// The value of `avro.codec` in a file's header.
    pub const fn avro_name(self) -> &'static str {
        match self {
            Self::None => "null",
            Self::Deflate => "deflate",
            Self::Zstandard => "zstandard",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Deflate => "deflate",
            Self::Zstandard => "zstandard",
        })
    }
}

impl FromStr for Codec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|codec| codec.to_string() == text).ok_or_else(|| {
            Error::new(Kind::Config, "the codec must be none, deflate or zstandard")
                .with("codec", text)
        })
    }
}
