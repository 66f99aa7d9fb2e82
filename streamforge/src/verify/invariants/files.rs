//! I5, I7 and the first half of I14: what the metadata names against what the store holds.
//!
//! Pure. Files are compared by their place in the store, however their location is spelled.

use std::collections::{BTreeMap, BTreeSet};

use lakehouse::scan::{Inventory, NamedFile, Role};

/// Files of a table that may stand in one tier, and what a tier is a power of. The commits fold 16 manifests into one.
const FAN_IN: u64 = 16;
/// Files of a manifest that is folded no more.
const FULL: u64 = 1_024;

/// What is compared.
pub(super) struct Stock<'a> {
    pub(super) inventory: &'a Inventory,
    /// Place and length of every file in the table's folder, and of those that the inventory names elsewhere.
    pub(super) stored: &'a BTreeMap<String, u64>,
    /// The place of each location that the inventory names.
    pub(super) keys: &'a BTreeMap<String, String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stocktaking {
    pub(super) wrong: Vec<String>,
    /// Places that the metadata names.
    pub(super) named: BTreeSet<String>,
    /// Places that nobody names, with their lengths.
    pub(super) left_over: BTreeMap<String, u64>,
}

/// Compares them.
pub(super) fn check(stock: &Stock<'_>) -> Stocktaking {
    let mut found = Stocktaking::default();
    let Stock { inventory, stored, keys } = stock;
    for (location, why) in &inventory.broken {
        found.wrong.push(format!("I5: {location}: {why}"));
    }
    for file in &inventory.files {
        let Some(key) = keys.get(&file.location) else {
            found.wrong.push(format!("I5: {} lies in another store", shown(file)));
            continue;
        };
        found.named.insert(key.clone());
        match (stored.get(key), file.bytes) {
            (None, _) => found.wrong.push(format!("I5: {} is missing", shown(file))),
            (Some(0), None) => found.wrong.push(format!("I5: {} is empty", shown(file))),
            (Some(length), Some(recorded)) if *length != recorded => found.wrong.push(format!(
                "I5: {} has {length} bytes, and {recorded} are recorded",
                shown(file)
            )),
            _ => {}
        }
    }
    found.named.extend(inventory.log.iter().filter_map(|location| keys.get(location)).cloned());
    let left_over = stored.iter().filter(|(key, _)| !found.named.contains(*key));
    found.left_over = left_over.map(|(key, bytes)| (key.clone(), *bytes)).collect();
    found
}

/// More manifests than this, and folding does not work: sixteen of each tier, and those that are full.
pub(super) fn manifests_max(inventory: &Inventory) -> u64 {
    let files = inventory.live_files.max(1);
    FAN_IN * (u64::from(files.min(FULL).ilog(FAN_IN)) + 1) + files / FULL
}

/// What the totals of the current summary must be.
pub(super) fn totals(inventory: &Inventory, summary: &BTreeMap<String, String>) -> Vec<String> {
    let deletes = inventory.files.iter().any(|file| file.role == Role::Deletes);
    let counted =
        [("total-records", inventory.live_rows), ("total-data-files", inventory.live_files)];
    let wrong = counted.into_iter().filter_map(|(key, count)| {
        let total = summary.get(key)?;
        let agree = deletes || *total == count.to_string();
        (!agree).then(|| format!("I4: {key} is {total}, and the manifests hold {count}"))
    });
    if inventory.broken.is_empty() { wrong.collect() } else { Vec::new() }
}

fn shown(file: &NamedFile) -> String {
    let role = match file.role {
        Role::Metadata => "metadata file",
        Role::ManifestList => "manifest list",
        Role::Manifest => "manifest",
        Role::Data => "data file",
        Role::Deletes => "delete file",
        Role::Statistics => "statistics file",
    };
    format!("{role} {}", file.location)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(location: &str, role: Role, bytes: Option<u64>) -> NamedFile {
        NamedFile { location: location.to_owned(), role, bytes, rows: None, avro: true }
    }

    /// A table with one file of each kind, and the store that holds them.
    fn sound() -> (Inventory, BTreeMap<String, u64>) {
        let files = vec![
            file("/m.json", Role::Metadata, None),
            file("/list", Role::ManifestList, None),
            file("/manifest", Role::Manifest, Some(20)),
            file("/data", Role::Data, Some(30)),
        ];
        let log = vec!["/m0.json".to_owned()];
        let inventory =
            Inventory { files, log, live_files: 1, live_rows: 5, ..Inventory::default() };
        let stored = [("m.json", 5), ("list", 10), ("manifest", 20), ("data", 30), ("m0.json", 4)];
        (inventory, stored.map(|(key, bytes)| (key.to_owned(), bytes)).into())
    }

    fn checked(inventory: &Inventory, stored: &BTreeMap<String, u64>) -> Stocktaking {
        let locations = inventory.files.iter().map(|file| &file.location).chain(&inventory.log);
        let keys =
            locations.map(|one| (one.clone(), one.trim_start_matches('/').to_owned())).collect();
        check(&Stock { inventory, stored, keys: &keys })
    }

    #[track_caller]
    fn check_wrong(
        name: &str,
        change: impl FnOnce(&mut Inventory, &mut BTreeMap<String, u64>),
        expected: &[&str],
    ) {
        let (mut inventory, mut stored) = sound();
        change(&mut inventory, &mut stored);
        assert_eq!(checked(&inventory, &stored).wrong, expected, "{name}");
    }

    fn without(stored: &mut BTreeMap<String, u64>, key: &str) {
        stored.remove(key).unwrap();
    }

    #[test]
    fn every_named_file_is_there_with_its_length() {
        check_wrong("sound", |_, _| {}, &[]);
        check_wrong(
            "a data file gone",
            |_, s| without(s, "data"),
            &["I5: data file /data is missing"],
        );
        check_wrong(
            "a list gone",
            |_, s| without(s, "list"),
            &["I5: manifest list /list is missing"],
        );
        check_wrong("nobody needs old metadata", |_, s| without(s, "m0.json"), &[]);
        let short = |_: &mut Inventory, stored: &mut BTreeMap<String, u64>| {
            stored.insert("manifest".to_owned(), 19);
            stored.insert("list".to_owned(), 0);
        };
        let words = [
            "I5: manifest list /list is empty",
            "I5: manifest /manifest has 19 bytes, and 20 are recorded",
        ];
        check_wrong("short files", short, &words);
        let broken = |inventory: &mut Inventory, _: &mut BTreeMap<String, u64>| {
            inventory.broken.insert("/manifest".to_owned(), "not readable".to_owned());
        };
        check_wrong("a broken one", broken, &["I5: /manifest: not readable"]);
    }

    #[test]
    fn what_nobody_names_is_left_over() {
        let (inventory, mut stored) = sound();
        assert_eq!(checked(&inventory, &stored).left_over, BTreeMap::new());
        stored.insert("orphan".to_owned(), 77);
        assert_eq!(checked(&inventory, &stored).left_over, [("orphan".to_owned(), 77)].into());
    }

    #[test]
    fn totals_are_what_the_manifests_hold() {
        let (mut inventory, _) = sound();
        let summary = |rows: &str| [("total-records".to_owned(), rows.to_owned())].into();
        assert_eq!(totals(&inventory, &summary("5")), Vec::<String>::new());
        assert_eq!(totals(&inventory, &BTreeMap::new()), Vec::<String>::new());
        assert_eq!(
            totals(&inventory, &summary("6")),
            ["I4: total-records is 6, and the manifests hold 5"]
        );
        inventory.files.push(file("/d", Role::Deletes, None));
        assert_eq!(totals(&inventory, &summary("6")), Vec::<String>::new());
    }

    #[test]
    fn the_bound_of_manifests_is_three_tiers_and_the_full_ones() {
        let bound = |live_files| manifests_max(&Inventory { live_files, ..Inventory::default() });
        assert_eq!([0, 15, 16, 256, 100_000].map(bound), [16, 16, 32, 48, 145]);
    }
}
