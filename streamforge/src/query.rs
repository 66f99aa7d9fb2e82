//! SQL over the tables, by `DataFusion` reading the Avro files of one snapshot of each.

use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::csv::Writer as CsvWriter;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, SecondsFormat};
use clap::{Args, ValueEnum};
use datafusion::prelude::{SessionConfig, SessionContext};
use lakehouse::commit::{AsOf, Lakehouse, ReadTable};
use lakehouse::ids::SnapshotId;
use stream_processor::job::Job;

use crate::show;
use crate::tables::TablesArgs;

/// The catalog's name on the platform: the same query runs in both places.
const CATALOG: &str = "iceberg_data_lake";

/// What `--help` says.
pub const LONG_ABOUT: &str = "\
Runs SQL over the tables: those of the newest demo, or of the demo in --dir, or of the platform whose catalog \
ICEBERG_CATALOG_URI names.

  streamforge query \"SELECT platform, count(*) FROM processed_conversions GROUP BY platform\"
  streamforge query --catalog-uri http://127.0.0.1:8182 --s3-endpoint http://127.0.0.1:9003 \"SELECT …\"";

/// Asks the tables of a demo, or of a platform.
#[derive(Args, Clone, Debug)]
pub struct QueryArgs {
    /// The query; tables are `processed_conversions` and `rejected_events`
    pub sql: String,
    /// Which tables.
    #[command(flatten)]
    pub tables: TablesArgs,
    /// How the rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The tables as they were: a snapshot id, or a time such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "SNAPSHOT|TIME")]
    pub as_of: Option<Past>,
    /// List the snapshots of the table that is named instead of a query
    #[arg(long)]
    pub snapshots: bool,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With lines, for people
    Table,
    /// With a header
    Csv,
    /// One object a line
    Json,
}

/// A past state of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past(AsOf);

impl FromStr for Past {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse::<i64>() {
            return Ok(Self(AsOf::Snapshot(SnapshotId::new(id))));
        }
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| "neither a snapshot id nor a time like 2026-03-01T12:00:00Z".to_owned())?;
        Ok(Self(AsOf::TimeMs(time.timestamp_millis())))
    }
}

/// The tables that a job writes.
#[derive(Clone, Debug)]
pub struct Tables {
    namespace: String,
    names: Vec<String>,
}

impl Tables {
    /// The sinks of `job`, and its rejects.
    pub fn of(job: &Job) -> Self {
        let rejects = job.rejects_spec();
        let names = job.sinks.iter().map(|sink| &sink.table.name).chain([&rejects.name]).cloned();
        Self { names: names.collect(), namespace: rejects.namespace }
    }

    /// Namespace and name of each.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|name| (self.namespace.as_str(), name.as_str()))
    }

    /// A session in which each of `tables` has its name, as it was when it was read.
    pub(crate) async fn session_over<'a>(
        &self,
        tables: impl Iterator<Item = (&'a str, &'a ReadTable)>,
    ) -> Result<SessionContext> {
        let session = self.empty_session();
        for (name, table) in tables {
            session.register_table(name, Arc::new(table.provider().await?))?;
        }
        Ok(session)
    }

    fn empty_session(&self) -> SessionContext {
        let config = SessionConfig::new().with_default_catalog_and_schema(CATALOG, &self.namespace);
        SessionContext::new_with_config(config)
    }

    /// A session in which each table that exists has its name.
    pub(crate) async fn session(
        &self,
        lake: &Lakehouse,
        as_of: Option<AsOf>,
    ) -> Result<SessionContext> {
        let session = self.empty_session();
        for name in &self.names {
            let Some(table) = lake.table(&self.namespace, name).await? else { continue };
            let table = match as_of.map(|point| table.as_of(point)) {
                None => table,
                Some(Ok(past)) => past,
                // A snapshot belongs to one table; the others have no such past.
                Some(Err(_)) if matches!(as_of, Some(AsOf::Snapshot(_))) => continue,
                Some(Err(err)) => return Err(err).with_context(|| format!("table {name}")),
            };
            session.register_table(name, Arc::new(table.provider().await?))?;
        }
        Ok(session)
    }

    /// The rows of a query.
    ///
    /// # Errors
    ///
    /// The tables can't be read, or the query is wrong.
    pub async fn collect(
        &self,
        lake: &Lakehouse,
        sql: &str,
        as_of: Option<AsOf>,
    ) -> Result<Vec<RecordBatch>> {
        let session = self.session(lake, as_of).await?;
        let rows = session.sql(sql).await.map_err(|err| anyhow!("{}", err.strip_backtrace()))?;
        let schema = Arc::clone(rows.schema().inner());
        let mut rows = rows.collect().await?;
        if rows.is_empty() {
            rows.push(RecordBatch::new_empty(schema));
        }
        Ok(rows)
    }

    async fn show_snapshots(&self, lake: &Lakehouse, name: &str) -> Result<()> {
        let table = lake.table(&self.namespace, name).await?;
        let table =
            table.with_context(|| format!("there is no table {}.{name}", self.namespace))?;
        for snapshot in table.snapshots() {
            let time = DateTime::from_timestamp_millis(snapshot.time_ms).unwrap_or_default();
            let rows = snapshot.summary.get("total-records").map_or("?", String::as_str);
            let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
            show::line(&format!("{:>20}  {time}  {rows} rows", snapshot.id.get()));
        }
        Ok(())
    }
}

/// Runs the query and prints its rows.
///
/// # Errors
///
/// There are no tables, a setting is missing, or the query is wrong.
pub async fn query(args: QueryArgs) -> Result<()> {
    let settings = args.tables.settings()?;
    let tables = Tables::of(&args.tables.job()?);
    let lake = Lakehouse::open(&settings).await?;
    if args.snapshots {
        return tables.show_snapshots(&lake, &args.sql).await;
    }
    let rows = tables.collect(&lake, &args.sql, args.as_of.map(|past| past.0)).await?;
    print(&rows, args.format)
}

fn print(rows: &[RecordBatch], format: Format) -> Result<()> {
    let mut out = Vec::new();
    match format {
        Format::Table => writeln!(out, "{}", show::table(rows)?)?,
        Format::Csv => {
            let mut csv = CsvWriter::new(&mut out);
            rows.iter().try_for_each(|batch| csv.write(batch))?;
        }
        Format::Json => {
            let mut json = LineDelimitedWriter::new(&mut out);
            json.write_batches(&rows.iter().collect::<Vec<_>>())?;
            json.finish()?;
        }
    }
    Ok(show::result(&out)?)
}
