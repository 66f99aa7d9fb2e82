//! One Avro file → Arrow batches in the table's schema.
//!
//! Owns the match of a file's columns to the table's, by field id: a file older than a column gives
//! nulls, one older than a rename or a promotion (int → long, float → double, a wider decimal) gives
//! the column as it is now.
//!
//! Iceberg spec, "Column projection" and "Schema evolution".

use std::error::Error as StdError;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_avro::reader::{Reader, ReaderBuilder, read_header_info};
use arrow_avro::schema::AvroSchema;
use bytes::{Buf, Bytes, buf};

use super::file_schema::FileSchema;
use crate::avro::TableSchema;
use crate::{Error, Kind, Result};

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 8_192;

/// A value that does not survive a promotion is an error, not a null.
const CHECKED: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Reads one file, batch by batch.
pub struct FileReader {
    reader: Reader<buf::Reader<Bytes>>,
    /// For each column of the output, its place in the reader's batches.
    sources: Vec<Option<usize>>,
    schema: SchemaRef,
}

/// Reads the Avro file `bytes` as rows of `schema`; `projection` picks columns by their place in it.
///
/// # Errors
///
/// - [`Kind::Corrupt`]: the file is no Avro file, or not one of this table.
/// - [`Kind::Bug`]: the projection names a column the table lacks.
pub fn read_file(
    bytes: Bytes,
    schema: &TableSchema,
    projection: Option<&[usize]>,
) -> Result<FileReader> {
    let header = read_header_info(bytes.clone().reader()).map_err(corrupt)?;
    let file = FileSchema::parse(&header.writer_schema().map_err(corrupt)?.json_string)?;
    let output = project(schema, projection)?;

    let mut wanted: Vec<usize> = Vec::new();
    let mut sources = Vec::new();
    for (id, name) in &output.columns {
        sources.push(file.position(*id, name).map(|position| {
            let known = wanted.iter().position(|other| *other == position);
            known.unwrap_or_else(|| {
                wanted.push(position);
                wanted.len() - 1
            })
        }));
    }
    if wanted.is_empty() {
        // Rows are counted by some column, and every file has one.
        wanted.push(0);
    }
    let reader = ReaderBuilder::new()
        .with_batch_size(BATCH_ROWS)
        .with_reader_schema(AvroSchema::new(file.project(&wanted)?))
        .build(bytes.reader())
        .map_err(corrupt)?;
    Ok(FileReader { reader, sources, schema: output.schema })
}

impl FileReader {
    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn shape(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.sources.iter().zip(self.schema.fields());
        let columns = columns.map(|(source, field)| {
            let found = source.and_then(|index| batch.columns().get(index));
            found.map_or_else(
                || Ok(new_null_array(field.data_type(), batch.num_rows())),
                |array| as_now(array, field),
            )
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows).map_err(corrupt)
    }
}

impl Iterator for FileReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(corrupt).and_then(|batch| self.shape(&batch)))
    }
}

struct Output {
    /// Field id and name.
    columns: Vec<(i32, String)>,
    schema: SchemaRef,
}

fn project(schema: &TableSchema, projection: Option<&[usize]>) -> Result<Output> {
    let all: Vec<usize> = (0..schema.columns().len()).collect();
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for index in projection.unwrap_or(&all) {
        let (Some(column), Some(field)) =
            (schema.columns().get(*index), schema.arrow().fields().get(*index))
        else {
            return Err(Error::new(Kind::Bug, "the projection leaves the table")
                .with("column", index)
                .with("columns", all.len()));
        };
        columns.push((column.id, column.name.clone()));
        fields.push(field.clone());
    }
    Ok(Output { columns, schema: Arc::new(Schema::new(fields)) })
}

/// The column in the type the table has now.
fn as_now(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(array.clone());
    }
    cast_with_options(array, field.data_type(), &CHECKED).map_err(|err| {
        Error::new(Kind::Corrupt, "the file's column is of another type")
            .with("column", field.name())
            .with("file", array.data_type())
            .with("table", field.data_type())
            .because(err)
    })
}

fn corrupt(err: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::new(Kind::Corrupt, "the data file is unreadable").because(err)
}
