//! One look at one table: everything that the checks need, read at one moment.
//!
//! It reads the metadata first and lists the store afterwards, so that a file which a commit adds meanwhile is left
//! over at worst, and never missing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use lakehouse::commit::ReadTable;
use lakehouse::scan::{Inventory, NamedFile, Role, read_file};

use super::avro;
use super::history::History;

/// What is known of a table.
pub(super) struct Facts {
    pub(super) history: History,
    pub(super) inventory: Inventory,
    pub(super) stored: BTreeMap<String, u64>,
    pub(super) keys: BTreeMap<String, String>,
}

impl Facts {
    /// Reads them.
    pub(super) async fn read(table: &ReadTable) -> Result<Self> {
        let history = History {
            properties: table.properties(),
            last_sequence: table.last_sequence(),
            ancestry: table.snapshots(),
        };
        let inventory = table.inventory().await?;
        let store = table.store();
        let locations = inventory.files.iter().map(|file| &file.location).chain(&inventory.log);
        let keys: BTreeMap<_, _> = locations
            .filter_map(|location| Some((location.clone(), store.key(location).ok()?)))
            .collect();
        let listed = store.list(table.location()).await?;
        let mut stored: BTreeMap<_, _> =
            listed.into_iter().map(|file| (file.key, file.bytes)).collect();
        for file in &inventory.files {
            let Some(key) = keys.get(&file.location) else { continue };
            if !stored.contains_key(key)
                && let Some(bytes) = store.size(&file.location).await?
            {
                // Outside of the table's folder, or newer than the listing.
                stored.insert(key.clone(), bytes);
            }
        }
        Ok(Self { history, inventory, stored, keys })
    }

    /// Parses every data file that is not in `parsed` yet, by two readers that share no code with the writer.
    pub(super) async fn parse(
        &self,
        table: &ReadTable,
        parsed: &mut BTreeSet<String>,
    ) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let schema = table.schema()?;
        for file in self.inventory.files.iter().filter(|file| file.role == Role::Data && file.avro)
        {
            let there =
                self.keys.get(&file.location).is_some_and(|key| self.stored.contains_key(key));
            if !there || parsed.contains(&file.location) {
                continue;
            }
            let bytes = table.store().read(&file.location).await.context("a data file")?;
            let read = || -> Result<u64, String> {
                let frame = avro::frame(&bytes)?;
                avro::has_ids(&frame.schema)?;
                same(file, "its blocks hold", frame.rows)?;
                let mut rows = 0;
                let told = |err: lakehouse::Error| err.to_string();
                for batch in read_file(bytes.clone(), &schema, None).map_err(told)? {
                    rows += batch.map_err(told)?.num_rows() as u64;
                }
                same(file, "it holds", rows)?;
                Ok(rows)
            };
            match read() {
                Ok(_) => drop(parsed.insert(file.location.clone())),
                Err(why) => wrong.push(format!("I5: data file {}: {why}", file.location)),
            }
        }
        Ok(wrong)
    }
}

fn same(file: &NamedFile, what: &str, rows: u64) -> Result<(), String> {
    match file.rows {
        Some(recorded) if recorded != rows => {
            Err(format!("{what} {rows} rows, and {recorded} are recorded"))
        }
        _ => Ok(()),
    }
}
