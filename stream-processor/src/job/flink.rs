//! What another engine has to be told to go on where this one stopped.
//!
//! Flink runs the job file as it is, from where its declaration says: the topic's beginning. To go on from a table's
//! position it needs the same declaration with other start offsets. As a temporary table of the same name it hides
//! the one that the job file makes, so the job file needs no change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use datafusion::logical_expr::Expr;
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::spec::ColumnType;

use super::{Origin, SinkPlan, SourceColumn, SourceTable, TimestampStyle, types};

/// Under this name Flink tells the brokers how far it is. It reads its position from nowhere but its own state.
const GROUP: &str = "streamforge-flink";

impl SourceTable {
    /// The statement by which Flink reads this source from `offsets` on; a partition that is not named is read from its
    /// beginning.
    pub fn for_flink(&self, brokers: &str, offsets: &BTreeMap<PartitionId, Offset>) -> String {
        let columns: Vec<_> = self.columns.iter().map(column).collect();
        let timestamps = match self.timestamps {
            TimestampStyle::Iso8601 => "ISO-8601",
            TimestampStyle::Sql => "SQL",
        };
        let starts: Vec<_> = offsets
            .iter()
            .map(|(partition, offset)| format!("partition:{partition},offset:{offset}"))
            .collect();
        let mut options = vec![
            ("connector", "kafka"),
            ("topic", &self.topic),
            ("properties.bootstrap.servers", brokers),
            ("properties.group.id", self.group.as_deref().unwrap_or(GROUP)),
        ];
        let starts = starts.join(";");
        if starts.is_empty() {
            options.push(("scan.startup.mode", "earliest-offset"));
        } else {
            options.push(("scan.startup.mode", "specific-offsets"));
            options.push(("scan.startup.specific-offsets", &starts));
        }
        if self.bounded {
            options.push(("scan.bounded.mode", "latest-offset"));
        }
        options.push(("format", "json"));
        options.push(("json.timestamp-format.standard", timestamps));
        let options: Vec<_> = options
            .into_iter()
            .map(|(key, value)| format!("  '{key}' = '{}'", value.replace('\'', "''")))
            .collect();
        format!(
            "CREATE TEMPORARY TABLE {} (\n{}\n) WITH (\n{}\n);\n",
            quoted(&self.name),
            columns.join(",\n"),
            options.join(",\n")
        )
    }
}

impl SinkPlan {
    /// The columns that say from which partition and offset a row came, if the table has both as they are.
    pub fn place_columns(&self, source: &SourceTable) -> Option<(&str, &str)> {
        let named = |origin| {
            let named = self.table.columns.iter().zip(&self.projection).find(|(_, expr)| {
                let Expr::Column(column) = expr else { return false };
                source.columns.iter().any(|from| from.name == column.name && from.origin == origin)
            });
            named.map(|(column, _)| column.name.as_str())
        };
        named(Origin::Partition).zip(named(Origin::Offset))
    }
}

fn column(column: &SourceColumn) -> String {
    let mut text = format!("  {} {}", quoted(&column.name), types::name(column.column_type));
    // Writing to a String can't fail.
    if matches!(column.column_type, ColumnType::Timestamp | ColumnType::Timestamptz) {
        let _ = write!(text, "({})", column.precision);
    }
    if !column.nullable {
        text.push_str(" NOT NULL");
    }
    let key = match column.origin {
        Origin::Json => return text,
        Origin::Topic => "topic",
        Origin::Partition => "partition",
        Origin::Offset => "offset",
        Origin::Timestamp => "timestamp",
    };
    let _ = write!(text, " METADATA FROM '{key}' VIRTUAL");
    text
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;
    use crate::job::Job;

    const PIPELINE: &str = include_str!("../../sql-jobs/transform_pipeline.sql");

    fn offsets<const N: usize>(of: [(i32, i64); N]) -> BTreeMap<PartitionId, Offset> {
        of.map(|(partition, offset)| (PartitionId::new(partition), Offset::new(offset))).into()
    }

    #[test]
    fn flink_reads_the_same_declaration_from_other_offsets() {
        let job = Job::parse(PIPELINE).unwrap();
        let text = job.source.for_flink("kafka:9092", &offsets([(0, 42), (1, 300)]));
        for line in [
            "CREATE TEMPORARY TABLE `user_activity` (",
            "  `unique_event_id` STRING NOT NULL,",
            "  `event_ts_utc` TIMESTAMP_LTZ(3) NOT NULL,",
            "  `transaction_value` DECIMAL(12, 2),",
            "  `kafka_offset` BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL",
            "  'properties.bootstrap.servers' = 'kafka:9092',",
            "  'scan.startup.mode' = 'specific-offsets',",
            "  'scan.startup.specific-offsets' = 'partition:0,offset:42;partition:1,offset:300',",
            "  'json.timestamp-format.standard' = 'ISO-8601'",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
        }
    }

    #[test]
    fn the_declaration_that_flink_gets_declares_what_the_job_file_does() {
        let job = Job::parse(PIPELINE).unwrap();
        let text = job.source.for_flink("streaming-server:19092", &offsets([]));
        let (_, insert) = PIPELINE.split_once("INSERT").unwrap();
        let again = Job::parse(&format!("{text}INSERT{insert}")).unwrap();
        assert_eq!(again.source.columns, job.source.columns);
        assert_eq!(again.source.timestamps, job.source.timestamps);
        assert_eq!(again.source.group.as_deref(), Some(GROUP));
    }

    #[test]
    fn a_quote_in_a_name_stays_one() {
        let quoted = PIPELINE.replace("'user-activity-stream'", "'it''s'");
        let text = Job::parse(&quoted).unwrap().source.for_flink("kafka:9092", &offsets([]));
        assert!(text.contains("'topic' = 'it''s'"), "{text}");
    }

    #[test]
    fn the_place_is_found_where_it_is_a_column_as_it_is() {
        let job = Job::parse(PIPELINE).unwrap();
        let place = |job: &Job| {
            let place = job.sinks.first().unwrap().place_columns(&job.source);
            place.map(|(partition, offset)| format!("{partition}, {offset}"))
        };
        assert_eq!(place(&job).as_deref(), Some("kafka_partition, kafka_offset"));
        let renamed = PIPELINE.replace("  kafka_offset\nFROM", "  kafka_offset AS at_offset\nFROM");
        let renamed = Job::parse(&renamed).unwrap();
        assert_eq!(place(&renamed).as_deref(), Some("kafka_partition, at_offset"));
        let computed =
            PIPELINE.replace("  kafka_offset\nFROM", "  kafka_offset + 1 AS at_offset\nFROM");
        assert_eq!(place(&Job::parse(&computed).unwrap()), None);
    }
}
