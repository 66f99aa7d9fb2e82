//! `CREATE TABLE` → [`SourceTable`]: every column and every option is understood, or refused.

use datafusion::sql::sqlparser::tokenizer::Span;
use lakehouse::spec::ColumnType;

use super::error::{JobError, Result};
use super::statements::{ColumnDef, CreateTable, TableOption};
use super::types::{self, SqlType};
use super::{Origin, SourceColumn, SourceTable, Startup, TimestampStyle};

/// Every option that has a meaning here.
const OPTIONS: &[&str] = &[
    "connector",
    "topic",
    "properties.bootstrap.servers",
    "properties.group.id",
    "scan.startup.mode",
    "scan.bounded.mode",
    "format",
    "value.format",
    "json.timestamp-format.standard",
    "json.ignore-parse-errors",
    "json.fail-on-missing-field",
];

/// Checks the statement.
pub(super) fn source(statement: &CreateTable) -> Result<SourceTable> {
    let mut columns = Vec::new();
    for def in &statement.columns {
        let column = column(def)?;
        if columns.iter().any(|known: &SourceColumn| known.name == column.name) {
            return Err(JobError::at(def.name.span, format!("column `{}` twice", column.name)));
        }
        columns.push(column);
    }
    let options = Options::new(&statement.options, statement.end)?;
    options.must_be("connector", "kafka")?;
    let format = if options.get("value.format").is_some() { "value.format" } else { "format" };
    options.must_be(format, "json")?;
    options.may_be(
        "json.ignore-parse-errors",
        "false",
        "a record that can't be read goes to rejected_events",
    )?;
    options.may_be("json.fail-on-missing-field", "false", "declare the column NOT NULL instead")?;
    let topic = options.required("topic")?;
    if topic.value.is_empty() || topic.value.contains(';') {
        return Err(JobError::at(topic.value_span, "a job reads exactly one topic"));
    }
    let text = |key| options.get(key).map(|option| option.value.clone());
    Ok(SourceTable {
        name: statement.name.value.clone(),
        topic: topic.value.clone(),
        brokers: text("properties.bootstrap.servers"),
        group: text("properties.group.id"),
        startup: startup(options.required("scan.startup.mode")?)?,
        bounded: bounded(options.get("scan.bounded.mode"))?,
        timestamps: timestamps(options.get("json.timestamp-format.standard"))?,
        columns,
    })
}

fn column(def: &ColumnDef) -> Result<SourceColumn> {
    let SqlType { column_type, precision } = SqlType::parse(&def.data_type, def.type_span)?;
    let origin = match &def.metadata {
        None => Origin::Json,
        Some((key, span)) => {
            let (origin, wanted) = metadata(key, *span)?;
            if column_type != wanted {
                let message = format!("metadata `{key}` is {}", types::name(wanted));
                return Err(JobError::at(def.type_span, message)
                    .hint(format!("declare it {}", types::name(wanted))));
            }
            origin
        }
    };
    let name = def.name.value.clone();
    Ok(SourceColumn { name, column_type, precision, nullable: def.nullable, origin })
}

fn metadata(key: &str, span: Span) -> Result<(Origin, ColumnType)> {
    Ok(match key {
        "topic" => (Origin::Topic, ColumnType::String),
        "partition" => (Origin::Partition, ColumnType::Int),
        "offset" => (Origin::Offset, ColumnType::Long),
        "timestamp" => (Origin::Timestamp, ColumnType::Timestamptz),
        _ => {
            return Err(JobError::at(span, format!("unknown metadata `{key}`"))
                .hint("the subset has 'topic', 'partition', 'offset' and 'timestamp'"));
        }
    })
}

fn startup(option: &TableOption) -> Result<Startup> {
    match option.value.as_str() {
        "earliest-offset" => Ok(Startup::Earliest),
        "latest-offset" => Ok(Startup::Latest),
        _ => Err(wrong_value(
            option,
            "'earliest-offset' or 'latest-offset'; after the first commit the table's own position counts",
        )),
    }
}

fn bounded(option: Option<&TableOption>) -> Result<bool> {
    match option.map(|option| (option, option.value.as_str())) {
        None | Some((_, "unbounded")) => Ok(false),
        Some((_, "latest-offset")) => Ok(true),
        Some((option, _)) => Err(wrong_value(
            option,
            "'latest-offset', to end where the topic ends at the start, or 'unbounded'",
        )),
    }
}

fn timestamps(option: Option<&TableOption>) -> Result<TimestampStyle> {
    match option.map(|option| (option, option.value.as_str())) {
        None | Some((_, "SQL")) => Ok(TimestampStyle::Sql),
        Some((_, "ISO-8601")) => Ok(TimestampStyle::Iso8601),
        Some((option, _)) => Err(wrong_value(option, "'ISO-8601' or 'SQL'")),
    }
}

fn wrong_value(option: &TableOption, wanted: &str) -> JobError {
    let message = format!("'{}' can't be '{}'", option.key, option.value);
    JobError::at(option.value_span, message).hint(format!("use {wanted}"))
}

struct Options<'a> {
    options: &'a [TableOption],
    end: Span,
}

impl<'a> Options<'a> {
    fn new(options: &'a [TableOption], end: Span) -> Result<Self> {
        for (index, option) in options.iter().enumerate() {
            let key = option.key.as_str();
            if options.iter().take(index).any(|earlier| earlier.key == key) {
                return Err(JobError::at(option.key_span, format!("option '{key}' twice")));
            }
            if !OPTIONS.contains(&key) {
                let err = JobError::at(option.key_span, format!("unknown option '{key}'"));
                return Err(match key.strip_prefix("properties.") {
                    Some(_) => {
                        err.hint("give Kafka client settings to the process: KAFKA_PROPERTIES")
                    }
                    None => err.suggest(key, OPTIONS.iter().copied()),
                });
            }
        }
        Ok(Self { options, end })
    }

    fn get(&self, key: &str) -> Option<&'a TableOption> {
        self.options.iter().find(|option| option.key == key)
    }

    fn required(&self, key: &str) -> Result<&'a TableOption> {
        self.get(key).ok_or_else(|| {
            JobError::at(self.end, format!("option '{key}' is missing"))
                .hint("add it to the WITH clause")
        })
    }

    fn must_be(&self, key: &str, value: &str) -> Result<()> {
        let option = self.required(key)?;
        if option.value == value { Ok(()) } else { Err(wrong_value(option, &format!("'{value}'"))) }
    }

    fn may_be(&self, key: &str, value: &str, hint: &str) -> Result<()> {
        match self.get(key) {
            Some(option) if option.value != value => {
                Err(wrong_value(option, &format!("'{value}': {hint}")))
            }
            _ => Ok(()),
        }
    }
}
