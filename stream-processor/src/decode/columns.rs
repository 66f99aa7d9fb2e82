//! Cells → Arrow columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use lakehouse::spec::{ColumnType, UTC};

use super::layout::{Cell, Layout, Scratch};
use super::{Places, RawRecord, number};
use crate::job::{Job, Origin};

const MICROS_PER_MILLI: i64 = 1000;

/// The columns that some sink needs, while a batch grows.
#[derive(Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    topic: String,
    built: Vec<(Source, Builder)>,
    partitions: Int32Builder,
    offsets: Int64Builder,
}

/// Where a column's values come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The cell of a JSON field.
    Cell(usize),
    Topic,
    Partition,
    Offset,
    Timestamp,
}

#[derive(Debug)]
enum Builder {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Date(Date32Builder),
    Micros(TimestampMicrosecondBuilder),
    /// Partition and offset are built for every batch anyway.
    Shared,
}

impl Columns {
    pub(super) fn new(job: &Job, layout: &Layout) -> Self {
        let needed = job.needed_columns();
        let columns = needed.iter().filter_map(|index| job.source.columns.get(*index));
        let columns = columns.map(|column| {
            let source = match column.origin {
                // Every JSON column is a field of the layout.
                Origin::Json => Source::Cell(layout.find(&column.name).unwrap_or(usize::MAX)),
                Origin::Topic => Source::Topic,
                Origin::Partition => Source::Partition,
                Origin::Offset => Source::Offset,
                Origin::Timestamp => Source::Timestamp,
            };
            let builder = match source {
                Source::Partition | Source::Offset => Builder::Shared,
                _ => Builder::new(column.column_type),
            };
            (source, builder)
        });
        Self {
            schema: job.decoded_schema(),
            topic: job.source.topic.clone(),
            built: columns.collect(),
            partitions: Int32Builder::new(),
            offsets: Int64Builder::new(),
        }
    }

    /// Adds one record, whose cells are already checked.
    pub(super) fn append(
        &mut self,
        record: &RawRecord<'_>,
        text: &str,
        cells: &[Cell],
        scratch: &Scratch,
    ) {
        self.partitions.append_value(record.partition.get());
        self.offsets.append_value(record.offset.get());
        for (source, builder) in &mut self.built {
            match source {
                Source::Cell(index) => {
                    builder.append(cells.get(*index).unwrap_or(&Cell::Null), text, scratch);
                }
                Source::Timestamp => {
                    let micros =
                        record.timestamp_ms.and_then(|ms| ms.checked_mul(MICROS_PER_MILLI));
                    builder.append(&micros.map_or(Cell::Null, Cell::Integer), text, scratch);
                }
                Source::Topic => {
                    if let Builder::Text(builder) = builder {
                        builder.append_value(&self.topic);
                    }
                }
                Source::Partition | Source::Offset => {}
            }
        }
    }

    pub(super) fn rows(&self) -> usize {
        use arrow::array::ArrayBuilder;
        self.offsets.len()
    }

    /// The batch so far; the next one begins empty, with room for as many rows.
    pub(super) fn finish(&mut self) -> (RecordBatch, Places) {
        let rows = self.rows();
        let places = Places::new(self.partitions.finish(), self.offsets.finish());
        let arrays = self.built.iter_mut().map(|(source, builder)| -> ArrayRef {
            match source {
                Source::Partition => Arc::clone(places.partitions()) as ArrayRef,
                Source::Offset => Arc::clone(places.offsets()) as ArrayRef,
                _ => builder.finish(rows),
            }
        });
        let arrays = arrays.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .unwrap_or_else(|err| unreachable!("checked cells fit the declared schema: {err}"));
        self.partitions = Int32Builder::with_capacity(rows);
        self.offsets = Int64Builder::with_capacity(rows);
        (batch, places)
    }
}

impl Builder {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int => Self::Int(Int32Builder::new()),
            ColumnType::Long => Self::Long(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float32Builder::new()),
            ColumnType::Double => Self::Double(Float64Builder::new()),
            ColumnType::Decimal { .. } => {
                Self::Decimal(Decimal128Builder::new().with_data_type(column_type.to_arrow()))
            }
            ColumnType::String | ColumnType::Binary => Self::Text(StringBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamptz => {
                Self::Micros(TimestampMicrosecondBuilder::new().with_timezone(UTC))
            }
            ColumnType::Timestamp => Self::Micros(TimestampMicrosecondBuilder::new()),
        }
    }

    #[inline]
    fn append(&mut self, cell: &Cell, text: &str, scratch: &Scratch) {
        let written = |start: &usize, end: &usize| text.get(*start..*end).unwrap_or_default();
        match (self, cell) {
            (Self::Text(builder), Cell::Text { start, end }) => {
                builder.append_value(written(start, end));
            }
            (Self::Text(builder), Cell::Unescaped { start, end }) => {
                builder.append_value(scratch.text.get(*start..*end).unwrap_or_default());
            }
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Double(builder), Cell::Number { start, end }) => {
                builder.append_option(number::double(written(start, end)));
            }
            (Self::Double(builder), _) => builder.append_null(),
            (Self::Float(builder), Cell::Number { start, end }) => {
                builder.append_option(number::float(written(start, end)));
            }
            (Self::Float(builder), _) => builder.append_null(),
            (Self::Decimal(builder), Cell::Decimal(value)) => builder.append_value(*value),
            (Self::Decimal(builder), _) => builder.append_null(),
            (Self::Micros(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Micros(builder), _) => builder.append_null(),
            (Self::Long(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Long(builder), _) => builder.append_null(),
            (Self::Int(builder), Cell::Integer(value)) => {
                builder.append_option(i32::try_from(*value).ok());
            }
            (Self::Int(builder), _) => builder.append_null(),
            (Self::Date(builder), Cell::Integer(value)) => {
                builder.append_option(i32::try_from(*value).ok());
            }
            (Self::Date(builder), _) => builder.append_null(),
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Shared, _) => {}
        }
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        fn taken<B: Default>(builder: &mut B, next: B) -> B {
            std::mem::replace(builder, next)
        }
        match self {
            Self::Boolean(builder) => {
                Arc::new(taken(builder, BooleanBuilder::with_capacity(rows)).finish())
            }
            Self::Int(builder) => {
                Arc::new(taken(builder, Int32Builder::with_capacity(rows)).finish())
            }
            Self::Long(builder) => {
                Arc::new(taken(builder, Int64Builder::with_capacity(rows)).finish())
            }
            Self::Float(builder) => {
                Arc::new(taken(builder, Float32Builder::with_capacity(rows)).finish())
            }
            Self::Double(builder) => {
                Arc::new(taken(builder, Float64Builder::with_capacity(rows)).finish())
            }
            Self::Text(builder) => {
                // An eighth more than this time: texts of one column are alike, and to grow is to copy.
                let bytes = builder.values_slice().len();
                let next = StringBuilder::with_capacity(rows, bytes + bytes / 8);
                Arc::new(taken(builder, next).finish())
            }
            Self::Date(builder) => {
                Arc::new(taken(builder, Date32Builder::with_capacity(rows)).finish())
            }
            Self::Decimal(builder) => {
                let array = builder.finish();
                let next = Decimal128Builder::with_capacity(rows);
                *builder = next.with_data_type(array.data_type().clone());
                Arc::new(array)
            }
            Self::Micros(builder) => {
                let array = builder.finish();
                let next = TimestampMicrosecondBuilder::with_capacity(rows);
                *builder = next.with_data_type(array.data_type().clone());
                Arc::new(array)
            }
            Self::Shared => unreachable!("partition and offset columns are shared"),
        }
    }
}
