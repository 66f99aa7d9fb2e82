//! Facts → what may go. Pure.
//!
//! A file goes if nothing names it, it is old, and its name is one that only a writer of this table gives. Whatever
//! else lies in the folder belongs to somebody: another engine has its own way to clean up.

use std::collections::HashSet;

use uuid::Uuid;

use crate::storage::StoredFile;

/// What becomes of the files in a table's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Named by retained metadata.
    pub named: usize,
    /// Named by nothing, but young: a commit may be about to name it.
    pub young: usize,
    /// Named by nothing, and by its name none of ours.
    pub foreign: usize,
    /// Left over, but more than one pass takes.
    pub beyond: usize,
    /// To be deleted, the oldest first.
    pub leftovers: Vec<StoredFile>,
    /// Metadata files that nothing names, young ones too: whether they are of this table is not seen from outside.
    pub(super) unnamed_metadata: Vec<String>,
}

impl Choice {
    /// Bytes that can be had back in this pass.
    pub fn bytes(&self) -> u64 {
        self.leftovers.iter().map(|file| file.bytes).sum()
    }
}

/// A location's last part.
pub(super) fn name(location: &str) -> &str {
    location.rsplit_once('/').map_or(location, |(_, name)| name)
}

/// Chooses among `files`, all of them below `folder`, what was stored before `cutoff_ms` and whose name is not in
/// `named`.
pub(super) fn choose(
    files: &[StoredFile],
    named: &HashSet<String>,
    folder: &str,
    cutoff_ms: i64,
    files_max: usize,
) -> Choice {
    let mut choice = Choice::default();
    for file in files {
        let within = file.key.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        if named.contains(name(&file.key)) {
            choice.named += 1;
            continue;
        }
        if file.key.ends_with(".metadata.json") {
            choice.unnamed_metadata.push(file.key.clone());
        }
        if !within.is_some_and(is_ours) {
            choice.foreign += 1;
        } else if file.modified_ms >= cutoff_ms {
            choice.young += 1;
        } else {
            choice.leftovers.push(file.clone());
        }
    }
    choice
        .leftovers
        .sort_by(|one, other| (one.modified_ms, &one.key).cmp(&(other.modified_ms, &other.key)));
    choice.beyond = choice.leftovers.len().saturating_sub(files_max);
    choice.leftovers.truncate(files_max);
    choice
}

/// Whether a file of this name, in the table's folder, comes from a writer like ours.
fn is_ours(within: &str) -> bool {
    // A put that was killed leaves its file beside the place: `name#1`.
    let whole = match within.rsplit_once('#') {
        Some((name, number)) if is_number(number) => name,
        Some(_) => return false,
        None => within,
    };
    let Some((folder, name)) = whole.split_once('/') else { return false };
    match folder {
        "data" => is_data(name),
        "metadata" => is_manifest(name) || is_list(name) || is_metadata(name),
        _ => false,
    }
}

/// `at_day=2026-03-01/<uuid>.avro`
fn is_data(path: &str) -> bool {
    name(path).strip_suffix(".avro").is_some_and(is_uuid)
}

/// `<uuid>-m0.avro`
fn is_manifest(name: &str) -> bool {
    let parts = name.strip_suffix(".avro").and_then(|stem| stem.rsplit_once("-m"));
    parts.is_some_and(|(uuid, number)| is_uuid(uuid) && is_number(number))
}

/// `snap-<snapshot>-1-<uuid>.avro`
fn is_list(name: &str) -> bool {
    let rest = name.strip_prefix("snap-").and_then(|rest| rest.strip_suffix(".avro"));
    let parts = rest.and_then(|rest| rest.split_once("-1-"));
    parts.is_some_and(|(snapshot, uuid)| is_number(snapshot) && is_uuid(uuid))
}

/// `00012-<uuid>.metadata.json`
fn is_metadata(name: &str) -> bool {
    let parts = name.strip_suffix(".metadata.json").and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(version, uuid)| is_number(version) && is_uuid(uuid))
}

fn is_uuid(text: &str) -> bool {
    // With its hyphens only: other spellings are not ours.
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c7a0-1111-7222-8333-444455556666";
    const FOLDER: &str = "w/ns/rows";
    const CUTOFF: i64 = 1_000;

    fn file(within: &str, modified_ms: i64) -> StoredFile {
        let key = format!("{FOLDER}/{}", within.replace("ID", ID));
        StoredFile { key, bytes: 10, modified_ms }
    }

    #[track_caller]
    fn check(within: &str, modified_ms: i64, expected: &str) {
        let file = file(within, modified_ms);
        let choice = choose(&[file], &HashSet::new(), FOLDER, CUTOFF, 9);
        let found = match choice {
            Choice { young: 1, .. } => "young",
            Choice { foreign: 1, .. } => "foreign",
            Choice { leftovers, .. } if leftovers.len() == 1 => "leftover",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{within} of {modified_ms}");
    }

    #[test]
    fn what_is_old_and_unnamed_is_left_over() {
        for name in [
            "data/ID.avro",
            "data/at_day=2026-03-01/ID.avro",
            "data/at_day=null/ID.avro",
            "data/at_day=2026-03-01/ID.avro#1",
            "metadata/ID-m0.avro",
            "metadata/ID-m12.avro",
            "metadata/snap-8123-1-ID.avro",
            "metadata/00012-ID.metadata.json",
            "metadata/00012-ID.metadata.json#12",
        ] {
            check(name, CUTOFF - 1, "leftover");
            check(name, CUTOFF, "young");
            check(name, i64::MAX, "young");
        }
    }

    #[test]
    fn what_others_made_stays_however_old_it_is() {
        for name in [
            "ID.avro",
            "data/ID.parquet",
            "data/at_day=2026-03-01/20260301_a.avro",
            "data/README.md",
            "data/ID.avro#x",
            "data/ID.avro#",
            "metadata/ID.stats",
            "metadata/ID-m.avro",
            "metadata/snap-8123-2-ID.avro",
            "metadata/snap--1-ID.avro",
            "metadata/version-hint.text",
            "metadata/v12.metadata.json",
            "metadata/00012-ID.gz.metadata.json",
            "other/ID.avro",
            "data/0198c7a0111172228333444455556666.avro",
        ] {
            check(name, 0, "foreign");
        }
    }

    #[test]
    fn another_folder_with_the_same_beginning_is_not_this_one() {
        let key = format!("w/ns/rows2/data/{ID}.avro");
        let other = StoredFile { key, bytes: 1, modified_ms: 0 };
        let choice = choose(&[other], &HashSet::new(), FOLDER, CUTOFF, 9);
        assert_eq!((choice.foreign, choice.leftovers.len()), (1, 0));
    }

    #[test]
    fn what_is_named_stays_and_a_pass_takes_the_oldest() {
        let files = [
            file("data/ID.avro", 5),
            file("metadata/ID-m0.avro", 3),
            file("metadata/ID-m1.avro", 4),
            file("metadata/00001-ID.metadata.json", 999),
        ];
        let named = HashSet::from([format!("{ID}.avro")]);
        let choice = choose(&files, &named, FOLDER, CUTOFF, 2);
        assert_eq!((choice.named, choice.beyond, choice.bytes()), (1, 1, 20));
        assert_eq!(choice.leftovers, [files[1].clone(), files[2].clone()]);
        assert_eq!(choice.unnamed_metadata, [files[3].key.clone()]);
    }
}
