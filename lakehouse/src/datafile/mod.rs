//! A finished file: its bytes, and what Iceberg must know to skip it.
//!
//! Owns counts and bounds of every column. It must never claim a bound that does not hold: a wrong
//! one hides rows from queries, a missing one only costs time.

use bytes::Bytes;
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, Struct};
use object_store::PutPayload;

use crate::avro::TableSchema;
use crate::{Error, Kind, Result};

mod bounds;
mod metrics;
mod prefix;

#[cfg(test)]
mod tests;

pub(crate) use metrics::Metrics;

/// One Avro file, whole and in memory.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    /// The file, in pieces that follow each other.
    pub(crate) content: PutPayload,
    /// Rows in it.
    pub rows: u64,
    /// The UTC day of all its rows, counted from 1970-01-01; `None` when the table has no partitions,
    /// or when the day of its rows is null.
    pub day: Option<i32>,
    pub(crate) metrics: Metrics,
}

impl EncodedFile {
    /// The file's length in bytes.
    pub fn size(&self) -> u64 {
        self.content.content_length() as u64
    }

    /// The file in one piece, for which its pieces are copied.
    pub fn bytes(&self) -> Bytes {
        self.content.clone().into()
    }

    /// The manifest entry of this file, stored at `path`.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`]: Iceberg refuses the entry.
    pub(crate) fn to_data_file(
        &self,
        path: &str,
        schema: &TableSchema,
        spec_id: i32,
    ) -> Result<DataFile> {
        let partition = match schema.partition_column() {
            None => Struct::empty(),
            Some(_) => Struct::from_iter([self.day.map(Literal::date)]),
        };
        let metrics = self.metrics.to_iceberg(schema);
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(path.to_owned())
            .file_format(DataFileFormat::Avro)
            .partition(partition)
            .partition_spec_id(spec_id)
            .record_count(self.rows)
            .file_size_in_bytes(self.size())
            .value_counts(metrics.values)
            .null_value_counts(metrics.nulls)
            .nan_value_counts(metrics.nans)
            .lower_bounds(metrics.lower)
            .upper_bounds(metrics.upper)
            .build()
            .map_err(|err| Error::new(Kind::Bug, "the manifest entry is incomplete").because(err))
    }
}
