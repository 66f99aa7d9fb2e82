//! Blocks → files: one file per UTC day of the partition column.
//!
//! Owns the file header, the open block and the split by day. It must never mix days in a file:
//! Iceberg prunes by the partition value, so a stray row would vanish from queries.
//!
//! Avro 1.11 specification, "Object Container Files".

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use uuid::Uuid;

use super::Codec;
use super::blocks::{
    BLOCK_BYTES, BLOCK_ROWS_MAX, Content, EncodedRows, Marker, Part, RowEncoder, put_len,
};
use super::encode::Rows;
use super::schema::TableSchema;
use crate::datafile::{EncodedFile, Metrics};
use crate::{Error, Kind, Result};

const MAGIC: &[u8; 4] = b"Obj\x01";

/// One Avro file in memory, for one partition value.
pub struct FileWriter {
    file: OpenFile,
    schema: Arc<TableSchema>,
    encoder: RowEncoder,
}

impl FileWriter {
    /// An empty file of `day` (counted from 1970-01-01; `None` when the table has no partitions, or
    /// for rows whose day is null).
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the codec can't be set up.
    pub fn new(schema: Arc<TableSchema>, codec: Codec, day: Option<i32>) -> Result<Self> {
        let file = OpenFile::new(&schema, codec, day);
        Ok(Self { file, schema, encoder: RowEncoder::new(codec)? })
    }

    /// Appends a batch, matched to the table by column name. The caller answers for its day.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the batch does not fit the table; nothing of it was written.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = Rows::check(&self.schema, batch)?;
        let part = self.encoder.part(&self.schema, &rows, self.file.day)?;
        self.file.add(part, &mut self.encoder)
    }

    /// Bytes held: finished blocks and the raw open one.
    pub fn bytes(&self) -> usize {
        self.file.bytes()
    }

    /// Rows appended.
    pub fn rows(&self) -> u64 {
        self.file.rows
    }

    /// Cuts the last block and hands the file over.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the last block does not compress.
    pub fn finish(mut self) -> Result<EncodedFile> {
        self.file.finish(&mut self.encoder)
    }
}

/// Splits batches by the UTC day of the partition column; one open file per day.
pub struct DayWriter {
    schema: Arc<TableSchema>,
    encoder: RowEncoder,
    files: BTreeMap<Option<i32>, OpenFile>,
    bytes: usize,
    rows: u64,
}

impl DayWriter {
    /// No files yet.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the codec can't be set up.
    pub fn new(schema: Arc<TableSchema>, codec: Codec) -> Result<Self> {
        let encoder = RowEncoder::new(codec)?;
        Ok(Self { schema, encoder, files: BTreeMap::new(), bytes: 0, rows: 0 })
    }

    /// Appends a batch, matched to the table by column name.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the batch does not fit the table; nothing of it was written.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.encoder.encode(&self.schema, batch)?;
        self.add(rows)
    }

    /// Appends a batch that was encoded before, perhaps on another thread.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): it was encoded for another table, or by another codec; nothing of it
    /// was written. Or a block does not compress.
    pub fn add(&mut self, rows: EncodedRows) -> Result<()> {
        let codec = self.encoder.codec();
        if !Arc::ptr_eq(&rows.schema, &self.schema) || rows.codec != codec {
            return Err(Error::new(Kind::Bug, "the rows were encoded for another file")
                .with("codec", codec)
                .with("codec of the rows", rows.codec));
        }
        for part in rows.parts {
            let before = self.files.get(&part.day).map_or(0, OpenFile::bytes);
            let open = || OpenFile::new(&self.schema, codec, part.day);
            let file = self.files.entry(part.day).or_insert_with(open);
            self.rows += part.rows as u64;
            file.add(part, &mut self.encoder)?;
            self.bytes = self.bytes + file.bytes() - before;
        }
        Ok(())
    }

    /// Bytes held over all days: finished blocks and the raw open ones.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows appended.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Days with an open file.
    pub fn days(&self) -> usize {
        self.files.len()
    }

    /// One file per day, in the order of days; none when nothing was appended.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): a last block does not compress.
    pub fn finish(mut self) -> Result<Vec<EncodedFile>> {
        let files = std::mem::take(&mut self.files);
        files.into_values().map(|mut file| file.finish(&mut self.encoder)).collect()
    }
}

/// A file without the encoder, which days share.
struct OpenFile {
    day: Option<i32>,
    marker: Marker,
    /// Header and finished blocks, each in one piece: in one piece for all, each doubling would copy what is
    /// there into new memory, which the system hands out page by page.
    pieces: Vec<Bytes>,
    piece_bytes: usize,
    /// Rows for the next block, raw.
    open: Vec<u8>,
    open_rows: usize,
    rows: u64,
    metrics: Metrics,
}

impl OpenFile {
    fn new(schema: &TableSchema, codec: Codec, day: Option<i32>) -> Self {
        // Random, so that no payload can be made to contain it and mislead a reader that seeks.
        let marker = *Uuid::new_v4().as_bytes();
        let mut file = Self {
            day,
            marker,
            pieces: Vec::new(),
            piece_bytes: 0,
            open: Vec::new(),
            open_rows: 0,
            rows: 0,
            metrics: Metrics::new(schema),
        };
        file.push(header(schema, codec, &marker).into());
        file
    }

    fn bytes(&self) -> usize {
        self.piece_bytes + self.open.len()
    }

    fn push(&mut self, piece: Bytes) {
        self.piece_bytes += piece.len();
        self.pieces.push(piece);
    }

    fn add(&mut self, part: Part, encoder: &mut RowEncoder) -> Result<()> {
        match part.content {
            Content::Blocks(blocks) => {
                // The rows that are open came before.
                self.cut(encoder)?;
                for block in blocks {
                    self.push(block.seal(&self.marker));
                }
            }
            Content::Loose(raw) => {
                let is_full = self.open_rows + part.rows > BLOCK_ROWS_MAX
                    || self.open.len() + raw.len() > BLOCK_BYTES;
                if is_full {
                    self.cut(encoder)?;
                }
                self.open.extend_from_slice(&raw);
                self.open_rows += part.rows;
            }
        }
        self.metrics.merge(part.metrics);
        self.rows += part.rows as u64;
        Ok(())
    }

    fn cut(&mut self, encoder: &mut RowEncoder) -> Result<()> {
        if self.open_rows > 0 {
            let block = encoder.block(self.open_rows, &self.open)?;
            self.push(block.seal(&self.marker));
            self.open.clear();
            self.open_rows = 0;
        }
        Ok(())
    }

    fn finish(&mut self, encoder: &mut RowEncoder) -> Result<EncodedFile> {
        self.cut(encoder)?;
        Ok(EncodedFile {
            content: std::mem::take(&mut self.pieces).into_iter().collect(),
            rows: self.rows,
            day: self.day,
            metrics: std::mem::take(&mut self.metrics),
        })
    }
}

fn header(schema: &TableSchema, codec: Codec, marker: &Marker) -> Vec<u8> {
    let entries = [("avro.schema", schema.avro_json()), ("avro.codec", codec.avro_name())];
    let mut header = MAGIC.to_vec();
    put_len(&mut header, entries.len());
    for (key, value) in entries {
        put_len(&mut header, key.len());
        header.extend_from_slice(key.as_bytes());
        put_len(&mut header, value.len());
        header.extend_from_slice(value.as_bytes());
    }
    put_len(&mut header, 0);
    header.extend_from_slice(marker);
    header
}
