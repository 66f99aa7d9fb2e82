//! Where the tables of a scene stand, and what they have gone through.

use std::collections::BTreeMap;

use anyhow::Result;
use lakehouse::commit::{Lakehouse, SnapshotInfo};
use lakehouse::position::Position;
use streamforge::query::Tables;

/// The table property that holds the position.
const POSITION: &str = "streamforge.position";

/// All tables of a scene at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Stand(BTreeMap<String, Held>);

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) position: BTreeMap<i32, i64>,
    /// Newest first.
    pub(crate) snapshots: Vec<SnapshotInfo>,
}

impl Stand {
    /// `None` when a table is missing or was never committed to.
    pub(super) async fn look(lake: &Lakehouse, tables: &Tables) -> Result<Option<Self>> {
        let mut held = BTreeMap::new();
        for (namespace, name) in tables.names() {
            let Some(table) = lake.table(namespace, name).await? else { return Ok(None) };
            let properties = table.properties();
            let Some(position) = properties.get(POSITION) else { return Ok(None) };
            let position = Position::from_json(position)?;
            let position = position.offsets().iter().map(|(p, at)| (p.get(), at.get())).collect();
            let snapshots = table.snapshots();
            held.insert(name.to_owned(), Held { position, snapshots });
        }
        Ok(Some(Self(held)))
    }

    /// The least offset of every partition over all tables.
    pub(crate) fn least(&self) -> BTreeMap<i32, i64> {
        let mut least: Option<BTreeMap<i32, i64>> = None;
        for Held { position, .. } in self.0.values() {
            least = Some(match least {
                None => position.clone(),
                Some(mut least) => {
                    least.retain(|partition, _| position.contains_key(partition));
                    for (partition, at) in &mut least {
                        *at = position.get(partition).map_or(*at, |other| (*at).min(*other));
                    }
                    least
                }
            });
        }
        least.unwrap_or_default()
    }

    /// Whether every table stands at `ends`.
    pub(crate) fn reaches(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let least = self.least();
        ends.iter().all(|(partition, end)| least.get(partition) == Some(end))
    }

    /// What identifies the state of every table: the newest snapshot and the position.
    pub(crate) fn fingerprint(&self) -> String {
        let one = |(name, held): (&String, &Held)| {
            let newest = held.snapshots.first().map(|snapshot| snapshot.id);
            format!("{name}: {newest:?} at {:?}", held.position)
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
