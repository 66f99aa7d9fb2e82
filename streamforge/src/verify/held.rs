//! What the tables hold, by partition and offset.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::expect::Row;

/// The tables that the verifier knows.
const ROWS: &str = "processed_conversions";
const REJECTS: &str = "rejected_events";
/// Text columns of `processed_conversions`, in the order of [`Row::texts`].
const TEXTS: [&str; 7] = [
    "unique_event_id",
    "customer_id",
    "marketing_action",
    "source_url",
    "session_guid",
    "platform",
    "product_id",
];

/// A record's place in the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// A row of `rejected_events`.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    topic: String,
    pub(super) reason: String,
    payload: Option<Vec<u8>>,
}

impl Rejected {
    pub(super) fn is(&self, topic: &str, reason: &str, payload: Option<&[u8]>) -> bool {
        self.topic == topic && self.reason == reason && self.payload.as_deref() == payload
    }
}

/// What both tables hold of one window of the topic.
#[derive(Default)]
pub(super) struct Held {
    pub(super) rows: BTreeMap<Place, Row>,
    pub(super) rejects: BTreeMap<Place, Rejected>,
    doubled: Vec<Place>,
}

impl Held {
    /// Reads the rows that `filter`, a SQL condition, lets through.
    pub(super) async fn load(session: &SessionContext, filter: &str) -> Result<Self> {
        let mut held = Self::default();
        let mut rows = select(session, "*", ROWS, filter).await?;
        while let Some(batch) = rows.try_next().await? {
            held.add_rows(&batch)?;
        }
        let mut rejects = select(session, "*", REJECTS, filter).await?;
        while let Some(batch) = rejects.try_next().await? {
            held.add_rejects(&batch)?;
        }
        Ok(held)
    }

    /// Places that some table holds more than once, or that both hold.
    pub(super) fn doubled(&self) -> Vec<Place> {
        let both = self.rejects.keys().filter(|place| self.rows.contains_key(place));
        self.doubled.iter().chain(both).copied().collect()
    }

    /// Places that nothing has asked for.
    pub(super) fn left(&self) -> Vec<Place> {
        self.rows.keys().chain(self.rejects.keys()).copied().collect()
    }

    fn add_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        for index in 0..batch.num_rows() {
            let mut texts: [Option<String>; 7] = Default::default();
            for (text, name) in texts.iter_mut().zip(TEXTS) {
                *text = self::text(batch, name, index)?;
            }
            let row = Row {
                texts,
                event_ts_us: needed::<TimestampMicrosecondType>(batch, "event_ts_utc", index)?,
                latitude: number::<Float64Type>(batch, "customer_latitude", index)?,
                longitude: number::<Float64Type>(batch, "customer_longitude", index)?,
                revenue_cents: needed::<Decimal128Type>(batch, "revenue_usd", index)?,
            };
            let place = place(batch, index)?;
            if self.rows.insert(place, row).is_some() {
                self.doubled.push(place);
            }
        }
        Ok(())
    }

    fn add_rejects(&mut self, batch: &RecordBatch) -> Result<()> {
        for index in 0..batch.num_rows() {
            let payload = column(batch, "payload")?.as_binary::<i32>();
            let reject = Rejected {
                topic: text(batch, "topic", index)?.context("a reject without topic")?,
                reason: text(batch, "reason", index)?.context("a reject without reason")?,
                payload: payload.is_valid(index).then(|| payload.value(index).to_vec()),
            };
            let place = place(batch, index)?;
            if self.rejects.insert(place, reject).is_some() {
                self.doubled.push(place);
            }
        }
        Ok(())
    }
}

/// Shows `seen` the table and the place of every row that `filter` lets through.
pub(super) async fn places(
    session: &SessionContext,
    filter: &str,
    mut seen: impl FnMut(&str, Place),
) -> Result<()> {
    for table in [ROWS, REJECTS] {
        let mut found = select(session, "kafka_partition, kafka_offset", table, filter).await?;
        while let Some(batch) = found.try_next().await? {
            for index in 0..batch.num_rows() {
                seen(table, place(&batch, index)?);
            }
        }
    }
    Ok(())
}

async fn select(
    session: &SessionContext,
    columns: &str,
    table: &str,
    filter: &str,
) -> Result<SendableRecordBatchStream> {
    let rows = session.sql(&format!("SELECT {columns} FROM {table} WHERE {filter}")).await?;
    Ok(rows.execute_stream().await?)
}

fn place(batch: &RecordBatch, index: usize) -> Result<Place> {
    Ok(Place {
        partition: needed::<Int32Type>(batch, "kafka_partition", index)?,
        offset: needed::<Int64Type>(batch, "kafka_offset", index)?,
    })
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    let column =
        batch.column_by_name(name).with_context(|| format!("the table has no column {name}"))?;
    Ok(column.as_ref())
}

fn text(batch: &RecordBatch, name: &str, index: usize) -> Result<Option<String>> {
    let column = column(batch, name)?
        .as_string_opt::<i32>()
        .with_context(|| format!("{name} is not text"))?;
    Ok(column.is_valid(index).then(|| column.value(index).to_owned()))
}

fn number<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
    index: usize,
) -> Result<Option<T::Native>> {
    let column = column(batch, name)?.as_primitive_opt::<T>();
    let column = column.with_context(|| format!("{name} is not of type {}", T::DATA_TYPE))?;
    Ok(column.is_valid(index).then(|| column.value(index)))
}

fn needed<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
    index: usize,
) -> Result<T::Native> {
    number::<T>(batch, name, index)?.with_context(|| format!("{name} is null"))
}
