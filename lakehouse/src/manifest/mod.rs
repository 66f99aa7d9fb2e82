//! Entries of manifests, copied into one manifest as bytes.
//!
//! A fold takes a thousand entries along and changes four numbers in each. Decoding them costs kilobytes of memory for
//! each file and most of a commit's time, so an entry is cut out of its block and keeps the bytes that describe its file.
//! Owns the layout of a manifest of the Iceberg spec v2 (status, snapshot, two sequence numbers, then the file), and knows
//! nothing of what is said of a file. It must never guess: whatever it does not know to the last byte (another schema, a
//! compression, bytes left over) is told with `None`, and the caller takes the library's way.

mod cursor;
mod skip;

#[cfg(test)]
mod tests;

use iceberg::spec::ManifestFile;
use serde_json::Value;

use crate::avro::put_long;
use cursor::Cursor;
use skip::Skip;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC: usize = 16;
/// What an entry begins with, before its file.
const LEADING: [&str; 4] = ["status", "snapshot_id", "sequence_number", "file_sequence_number"];

const EXISTING: i64 = 0;
const ADDED: i64 = 1;
const DELETED: i64 = 2;
/// The branch of an optional number that is there, as a number of a union is written.
const THERE: u8 = 2;

/// A manifest that grows by the entries of others.
pub(crate) struct Copier {
    file: Vec<u8>,
    /// The entries of one block, whose length is written before them.
    block: Vec<u8>,
    schema: String,
    sync: [u8; SYNC],
    data_file: Skip,
    copied: u32,
    min_sequence: Option<i64>,
}

/// What was copied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The whole manifest.
    pub(crate) file: Vec<u8>,
    /// Entries that came from others.
    pub(crate) files: u32,
    /// The least data sequence number of those.
    pub(crate) min_sequence: Option<i64>,
}

impl Copier {
    /// Goes on with a manifest that the library has written, and expects about `more` bytes; `None` if its layout is not
    /// the known one.
    pub(crate) fn new(first: &[u8], more: usize) -> Option<Self> {
        let Header { schema, sync, .. } = Header::read(&mut Cursor::new(first))?;
        let parsed: Value = serde_json::from_str(schema).ok()?;
        let fields = parsed.get("fields")?.as_array()?;
        let [leading @ .., file] = fields.as_slice() else { return None };
        let known = leading.len() == LEADING.len()
            && leading.iter().zip(LEADING).enumerate().all(|(place, (field, name))| {
                let kind = field.get("type");
                let number = if place == 0 {
                    kind == Some(&Value::from("int"))
                } else {
                    kind == Some(&Value::from(vec!["null", "long"]))
                };
                number && field.get("name").and_then(Value::as_str) == Some(name)
            });
        if !known || file.get("name").and_then(Value::as_str) != Some("data_file") {
            return None;
        }
        let data_file = Skip::of(file.get("type")?)?;
        let schema = schema.to_owned();
        let mut file = Vec::with_capacity(first.len().saturating_add(more));
        file.extend_from_slice(first);
        let block = Vec::new();
        Some(Self { file, block, schema, sync, data_file, copied: 0, min_sequence: None })
    }

    /// Adds the entries of `manifest`, whose bytes are `bytes`, that are not deleted; they become existing ones, and go on
    /// saying where they came into the table. After `None` the whole is of no use.
    pub(crate) fn add(&mut self, manifest: &ManifestFile, bytes: &[u8]) -> Option<()> {
        let mut rest = Cursor::new(bytes);
        let header = Header::read(&mut rest)?;
        if header.schema != self.schema || header.content != "data" {
            return None;
        }
        let mut entries = 0;
        self.block.clear();
        while !rest.is_empty() {
            let count = rest.long()?;
            let length = usize::try_from(rest.long()?).ok()?;
            let mut inside = Cursor::new(rest.take(length)?);
            for _ in 0..count {
                entries += i64::from(self.entry(manifest, &mut inside)?);
            }
            if !inside.is_empty() || rest.take(SYNC)? != header.sync {
                return None;
            }
        }
        if entries > 0 {
            put_long(&mut self.file, entries);
            put_long(&mut self.file, i64::try_from(self.block.len()).ok()?);
            self.file.extend_from_slice(&self.block);
            self.file.extend_from_slice(&self.sync);
        }
        self.copied = self.copied.checked_add(u32::try_from(entries).ok()?)?;
        Some(())
    }

    /// Copies one entry, if it is alive: whether it is.
    fn entry(&mut self, manifest: &ManifestFile, from: &mut Cursor<'_>) -> Option<bool> {
        let status = from.long()?;
        // What an entry does not say it has from the list, under the rules of the spec.
        let inherited =
            (status == ADDED || manifest.sequence_number == 0).then_some(manifest.sequence_number);
        let snapshot = from.long_or(Some(manifest.added_snapshot_id))?;
        let (sequence, file_sequence) = (from.long_or(inherited)?, from.long_or(inherited)?);
        let file = from.spanned(|from| self.data_file.pass(from))?;
        if status == DELETED {
            return Some(false);
        }
        let to = &mut self.block;
        put_long(to, EXISTING);
        for number in [snapshot, sequence, file_sequence] {
            to.push(THERE);
            put_long(to, number);
        }
        to.extend_from_slice(file);
        self.min_sequence = Some(self.min_sequence.map_or(sequence, |least| least.min(sequence)));
        Some(true)
    }

    /// The whole manifest.
    pub(crate) fn finish(self) -> Copied {
        Copied { file: self.file, files: self.copied, min_sequence: self.min_sequence }
    }
}

/// What the head of a container says.
struct Header<'a> {
    schema: &'a str,
    content: &'a str,
    sync: [u8; SYNC],
}

impl<'a> Header<'a> {
    /// `None` for what is no container, or one whose blocks are compressed.
    fn read(from: &mut Cursor<'a>) -> Option<Self> {
        if from.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let (mut schema, mut content) = (None, "data");
        loop {
            let count = match from.long()? {
                0 => break,
                // Then the length of the entries in bytes follows.
                count @ ..0 => from.long().and(count.checked_neg())?,
                count => count,
            };
            for _ in 0..count {
                let key = from.text()?;
                let value = from.text()?;
                match key {
                    "avro.schema" => schema = Some(value),
                    "avro.codec" if value != "null" => return None,
                    "content" => content = value,
                    _ => {}
                }
            }
        }
        Some(Self { schema: schema?, content, sync: from.take(SYNC)?.try_into().ok()? })
    }
}
