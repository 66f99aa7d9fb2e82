//! The tables as they are at one moment, and where they stand in the topic.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use datafusion::prelude::SessionContext;
use lakehouse::commit::{Lakehouse, ReadTable};
use lakehouse::position::{Position, Source};

use super::window::{Offsets, behind, complete};
use crate::patience::{Patience, Teller};
use crate::query::Tables;

/// The table property that holds the position.
const POSITION: &str = "streamforge.position";
/// Between two looks at tables that are still behind.
const PAUSE: Duration = Duration::from_millis(500);

/// Every table of a job, each as it was when it was read. Later commits are not seen.
pub(super) struct Snapshot {
    tables: BTreeMap<String, ReadTable>,
    positions: BTreeMap<String, Offsets>,
}

impl Snapshot {
    /// Waits until every table has reached `wanted`, as long as `patience` lasts, and takes them as they are then.
    ///
    /// # Errors
    ///
    /// Nothing was committed yet, or a table was filled from something else than `source`.
    pub(super) async fn reaching(
        wanted: &Offsets,
        lake: &Lakehouse,
        tables: &Tables,
        source: &Source,
        patience: &Patience,
    ) -> Result<Self> {
        let mut teller = Teller::default();
        loop {
            let look = async || Self::read(lake, tables, source).await;
            let cause = match patience.wait("the catalog", look).await? {
                Looked::Found(found) => match behind(&found.complete(), wanted) {
                    0 => return Ok(found),
                    _ if patience.is_over() => return Ok(found),
                    records => format!("{records} records are not committed yet"),
                },
                Looked::Nothing(why) if patience.is_over() => {
                    bail!("{why}; is a processor running?")
                }
                Looked::Nothing(why) => why,
            };
            teller.tell(|| patience.words("the processors", &cause));
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(lake: &Lakehouse, tables: &Tables, source: &Source) -> Result<Looked> {
        let (mut found, mut positions) = (BTreeMap::new(), BTreeMap::new());
        for (namespace, name) in tables.names() {
            let Some(table) = lake.table(namespace, name).await? else {
                return Ok(Looked::Nothing(format!("there is no table {namespace}.{name}")));
            };
            let Some(position) = table.properties().remove(POSITION) else {
                return Ok(Looked::Nothing(format!(
                    "{namespace}.{name} has no position: nothing was committed yet"
                )));
            };
            let position = Position::from_json(&position)?;
            ensure!(
                position.source() == source,
                "{namespace}.{name} was filled from another topic, or the topic was made anew: the table \
                 names {}, and the brokers {}",
                shown(position.source()),
                shown(source)
            );
            positions.insert(name.to_owned(), position.offsets().clone());
            found.insert(name.to_owned(), table);
        }
        Ok(Looked::Found(Self { tables: found, positions }))
    }

    /// Where each table stands, by name.
    pub(super) fn positions(&self) -> &BTreeMap<String, Offsets> {
        &self.positions
    }

    /// Up to where every table is complete.
    pub(super) fn complete(&self) -> Offsets {
        complete(self.positions.values())
    }

    /// A session in which each table has its name.
    pub(super) async fn session(&self, tables: &Tables) -> Result<SessionContext> {
        tables.session_over(self.tables.iter().map(|(name, table)| (name.as_str(), table))).await
    }
}

/// What a look at the tables came to.
enum Looked {
    Found(Snapshot),
    /// There is nothing to compare yet, and why.
    Nothing(String),
}

fn shown(source: &Source) -> String {
    format!("topic id {} of cluster {}", source.topic, source.cluster)
}
