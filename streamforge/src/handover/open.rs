//! Topic and tables, looked at together: where each table stands, and the one place where all of them do.

use anyhow::{Context, Result, bail, ensure};
use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use lakehouse::commit::{Handover, Lakehouse, ReadTable};
use lakehouse::ids::{Offset, PartitionId};
use lakehouse::position::Position;
use stream_processor::job::{SinkPlan, Startup};

use super::args::Plan;
use super::shown;
use super::standing::{self, Bounds, Facts};
use crate::patience::Patience;
use crate::query::Tables;
use crate::verify::{Extent, Offsets, Topic};

/// Topic and tables, within reach.
pub(super) struct Open<'a> {
    pub(super) plan: &'a Plan,
    lake: Lakehouse,
    reader: Topic,
    /// As it was when this began.
    pub(super) topic: Extent,
}

impl<'a> Open<'a> {
    pub(super) async fn new(plan: &'a Plan) -> Result<Self> {
        let patience = Patience::new(plan.wait, "HANDOVER_WAIT");
        let name = &plan.job.source.topic;
        let reader = Topic::new(&plan.consumer, name)?;
        let topic = reader.extent(&server(plan), &patience).await?;
        let open = async || Ok(Lakehouse::open(&plan.lakehouse).await?);
        Ok(Self { plan, lake: patience.wait(&plan.catalog, open).await?, reader, topic })
    }

    /// The topic as it is now: a table that was read before must not look as if it were ahead of it.
    async fn topic_now(&self) -> Result<Extent> {
        let patience = Patience::new(self.plan.wait, "HANDOVER_WAIT");
        let now = self.reader.extent(&server(self.plan), &patience).await?;
        ensure!(now.source == self.topic.source, "the topic was deleted and made again meanwhile");
        Ok(now)
    }

    pub(super) fn name(sink: &SinkPlan) -> String {
        format!("{}.{}", sink.table.namespace, sink.table.name)
    }

    pub(super) async fn look(&self, namespace: &str, name: &str) -> Result<Option<Handover>> {
        let patience = Patience::new(self.plan.wait, "HANDOVER_WAIT");
        let look = async || Ok(self.lake.handover(namespace, name, &self.topic.source).await?);
        let found = patience.wait(&self.plan.catalog, look).await;
        found.with_context(|| format!("table {namespace}.{name}"))
    }

    pub(super) async fn table(&self, sink: &SinkPlan) -> Result<Handover> {
        let found = self.look(&sink.table.namespace, &sink.table.name).await?;
        found.with_context(|| {
            format!("there is no table {}; make it: streamforge provision", Self::name(sink))
        })
    }

    pub(super) async fn sinks(&self) -> Result<Vec<(String, Handover)>> {
        let mut tables = Vec::new();
        for sink in &self.plan.job.sinks {
            tables.push((Self::name(sink), self.table(sink).await?));
        }
        Ok(tables)
    }

    /// Hands every table over at the one position where all of them stand.
    pub(super) async fn handed<F>(
        &self,
        patience: &Patience,
        hand: impl Fn(Handover, &Position) -> F,
    ) -> Result<Offsets>
    where
        F: Future<Output = lakehouse::Result<()>>,
    {
        let attempt = async || {
            let mut common: Option<(String, Offsets)> = None;
            let mut tables = Vec::new();
            for sink in &self.plan.job.sinks {
                let table = self.table(sink).await?;
                let at = self.stands(sink, &table, None).await?;
                if let Some((other, there)) = common.as_ref().filter(|(_, there)| *there != at) {
                    bail!(
                        "{} stands at {} and {other} at {}, but Flink reads for both from one place; take the tables \
                         back (streamforge adopt), let a processor catch up, and stop it when both are equal",
                        Self::name(sink),
                        shown(&at),
                        shown(there)
                    );
                }
                common = Some((Self::name(sink), at));
                tables.push(table);
            }
            let (_, offsets) = common.context("the job writes no table")?;
            let position = Position::new(self.topic.source.clone(), offsets.clone());
            for table in tables {
                hand(table, &position).await?;
            }
            Ok(offsets)
        };
        patience.wait(&self.plan.catalog, attempt).await
    }

    /// Where a table stands: as recorded, or behind its rows where others may have written, or where `operator` says.
    pub(super) async fn stands(
        &self,
        sink: &SinkPlan,
        table: &Handover,
        operator: Option<&Offsets>,
    ) -> Result<Offsets> {
        let name = Self::name(sink);
        let Extent { starts, ends, .. } = self.topic_now().await?;
        let place = sink.place_columns(&self.plan.job.source);
        let rows = match (table.others_wrote(), place) {
            (false, _) => Offsets::new(),
            (true, Some((partition, offset))) => {
                self.behind_last(&sink.table.name, &table.rows(), partition, offset).await?
            }
            (true, None) if operator.is_some() => Offsets::new(),
            (true, None) => bail!(
                "{name} has no columns with partition and offset, so its rows don't say where it stands; name the \
                 position: --position"
            ),
        };
        let is_new = table.recorded().is_none() && table.rows().snapshot().is_none();
        let latest = is_new && self.plan.job.source.startup == Startup::Latest;
        let topic = Bounds { starts: &starts, ends: &ends };
        let facts = Facts {
            table: &name,
            recorded: table.recorded().map(Position::offsets),
            rows: &rows,
            topic,
            // One place for all tables of the job, though the topic goes on.
            first: if latest { &self.topic.ends } else { &starts },
        };
        let least = standing::behind_rows(&facts)?;
        let position = match operator {
            Some(operator) => standing::named(&least, operator, &facts)?,
            None => least,
        };
        standing::still_there(&name, &position, topic)?;
        Ok(position)
    }

    /// The offset behind the last row of each partition.
    async fn behind_last(
        &self,
        name: &str,
        table: &ReadTable,
        partition: &str,
        offset: &str,
    ) -> Result<Offsets> {
        let tables = Tables::of(&self.plan.job);
        let session = tables.session_over([(name, table)].into_iter()).await?;
        let sql = format!(
            "SELECT \"{partition}\" AS at_partition, max(\"{offset}\") AS last FROM \"{name}\" GROUP BY 1"
        );
        let mut behind = Offsets::new();
        for batch in session.sql(&sql).await?.collect().await? {
            let (partitions, offsets) = (
                batch.column(0).as_primitive::<Int32Type>(),
                batch.column(1).as_primitive::<Int64Type>(),
            );
            for (partition, last) in partitions.iter().zip(offsets) {
                let (Some(partition), Some(last)) = (partition, last) else {
                    bail!(
                        "{name} has rows without {partition:?} or {offset}: they are not this job's"
                    );
                };
                behind.insert(PartitionId::new(partition), Offset::new(last + 1));
            }
        }
        Ok(behind)
    }
}

fn server(plan: &Plan) -> String {
    format!("topic {} at {}", plan.job.source.topic, plan.consumer.brokers)
}
