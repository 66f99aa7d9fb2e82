//! The SQL job file: parsed, checked and planned before the first record is read.
//!
//! Owns the documented subset of Flink SQL (`docs/sql.md`) and the plan made from it. A job that
//! is accepted here means on this engine what it means on Flink; anything else is refused with line,
//! column and a hint, and never run differently. It must never read a record, a clock or a setting.
//!
//! text → `lexical` (tokens) → `grammar` (statements) → `source` (`CREATE TABLE`) → `expr` (typed expressions) → `plan`
//! (`INSERT`) → [`Job`].

mod error;
mod evaluable;
mod expr;
mod flink;
mod grammar;
mod lexical;
mod plan;
mod reserved;
mod source;
mod statements;
mod types;

use std::collections::BTreeSet;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use lakehouse::spec::{Column, ColumnType, TableSpec};

pub use error::JobError;
pub(crate) use evaluable::Evaluable;
pub(crate) use plan::{Filter, Prefilter};
pub(crate) use types::name as type_name;

/// A checked job: one source topic, and one plan for each `INSERT`.
#[derive(Clone, Debug)]
pub struct Job {
    /// The topic and how its records are read.
    pub source: SourceTable,
    /// One for each `INSERT INTO`, in the order of the file; never empty.
    pub sinks: Vec<SinkPlan>,
}

/// The `CREATE TABLE` of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTable {
    /// What the job calls it.
    pub name: String,
    /// The Kafka topic.
    pub topic: String,
    /// `properties.bootstrap.servers`; the process's own setting goes first.
    pub brokers: Option<String>,
    /// `properties.group.id`; the process's own setting goes first.
    pub group: Option<String>,
    /// Where a partition without a position begins.
    pub startup: Startup,
    /// `scan.bounded.mode`: whether the job ends where the topic ended when it started.
    pub bounded: bool,
    /// How JSON texts hold timestamps.
    pub timestamps: TimestampStyle,
    /// In the order of the file.
    pub columns: Vec<SourceColumn>,
}

/// `scan.startup.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    /// `earliest-offset`
    Earliest,
    /// `latest-offset`
    Latest,
}

/// `json.timestamp-format.standard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampStyle {
    /// `ISO-8601`: a `T` between date and time.
    Iso8601,
    /// `SQL`, Flink's default: a space between date and time.
    Sql,
}

/// One column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name in the job, and its field in the JSON object when it has one.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Digits after the seconds that a timestamp keeps, 0 to 6; 0 for other types.
    pub precision: u8,
    /// Whether a record without a value is fine; otherwise the record is rejected.
    pub nullable: bool,
    /// Where its value comes from.
    pub origin: Origin,
}

/// Where a source column's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The field of the JSON object that has the column's name.
    Json,
    /// The record's topic.
    Topic,
    /// The record's partition.
    Partition,
    /// The record's offset.
    Offset,
    /// The record's time.
    Timestamp,
}

/// One `INSERT INTO`: which table, which columns.
#[derive(Clone, Debug)]
pub struct SinkPlan {
    /// The first part of the table's name, such as `iceberg_data_lake`.
    pub catalog: String,
    /// The table, from the SELECT list's names and types.
    pub table: TableSpec,
    /// The statement as it was written.
    pub sql: String,
    /// One for each column of `table`.
    pub(crate) projection: Vec<Expr>,
    pub(crate) filter: Filter,
    /// What a record must hold to pass the filter, where that is plain to see.
    pub(crate) prefilter: Option<Prefilter>,
    /// Whether an expression can fail on a row.
    pub(crate) fallible: bool,
}

impl Job {
    /// Parses, checks and plans a job file.
    ///
    /// # Errors
    ///
    /// The first thing the subset does not hold, with its place and the next step.
    pub fn parse(text: &str) -> Result<Self, JobError> {
        let script = grammar::parse(text)?;
        let missing = |what: &str| JobError::at(script.end, format!("the job has no {what}"));
        let source = match script.tables.as_slice() {
            [] => return Err(missing("CREATE TABLE")),
            [table] => source::source(table)?,
            [_, second, ..] => {
                return Err(JobError::at(second.name.span, "a job has one source table")
                    .hint("sinks are created from their SELECT list; remove this statement"));
            }
        };
        let mut sinks: Vec<SinkPlan> = Vec::new();
        for insert in &script.inserts {
            let sink = plan::sink(insert, &source)?;
            if sinks.iter().any(|known| same_table(&known.table, &sink.table)) {
                let message = format!("two INSERTs into `{}`", sink.table.name);
                return Err(JobError::at(insert.span, message).hint(
                    "a table is a function of the topic: write one SELECT with OR and CASE",
                ));
            }
            sinks.push(sink);
        }
        if sinks.is_empty() {
            return Err(missing("INSERT INTO"));
        }
        let job = Self { source, sinks };
        for (sink, insert) in job.sinks.iter().zip(&script.inserts) {
            Evaluable::new(sink, &job.decoded_schema()).map_err(|err| {
                JobError::at(insert.span, format!("this can't be planned: {err}"))
            })?;
        }
        Ok(job)
    }

    /// Indices of the source columns that some sink reads, in order.
    pub(crate) fn needed_columns(&self) -> Vec<usize> {
        let mut names = BTreeSet::new();
        for sink in &self.sinks {
            let exprs =
                sink.projection.iter().chain(&sink.filter.safe).chain(&sink.filter.fallible);
            for expr in exprs {
                names.extend(expr.column_refs().into_iter().map(|column| column.name.clone()));
            }
        }
        let columns = self.source.columns.iter().enumerate();
        columns.filter(|(_, column)| names.contains(&column.name)).map(|(index, _)| index).collect()
    }

    /// The schema of decoded batches: the columns of [`Self::needed_columns`].
    pub(crate) fn decoded_schema(&self) -> SchemaRef {
        let fields = self.needed_columns().into_iter().filter_map(|index| {
            let column = self.source.columns.get(index)?;
            Some(Field::new(&column.name, column.column_type.to_arrow(), column.nullable))
        });
        Schema::new(fields.collect::<Vec<_>>()).into()
    }

    /// Whether some expression can fail on a row.
    pub(crate) fn fallible(&self) -> bool {
        self.sinks.iter().any(|sink| sink.fallible)
    }

    /// The table for rejected records: `rejected_events` beside the first sink.
    pub fn rejects_spec(&self) -> TableSpec {
        rejects_table(self.sinks.first().map_or("", |sink| &sink.table.namespace))
    }
}

/// What is kept of a rejected record.
pub(crate) fn rejects_table(namespace: &str) -> TableSpec {
    let column = |name: &str, column_type, nullable| {
        let name = name.to_owned();
        Column { name, column_type, nullable }
    };
    TableSpec {
        namespace: namespace.to_owned(),
        name: "rejected_events".to_owned(),
        columns: vec![
            column("topic", ColumnType::String, false),
            column("kafka_partition", ColumnType::Int, false),
            column("kafka_offset", ColumnType::Long, false),
            column("record_time", ColumnType::Timestamptz, true),
            column("reason", ColumnType::String, false),
            column("detail", ColumnType::String, false),
            column("payload", ColumnType::Binary, true),
        ],
        partition_day: Some("record_time".to_owned()),
    }
}

fn same_table(left: &TableSpec, right: &TableSpec) -> bool {
    (&left.namespace, &left.name) == (&right.namespace, &right.name)
}
