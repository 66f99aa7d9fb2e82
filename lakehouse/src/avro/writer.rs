//! Blocks → files: one file per UTC day of the partition column.
//!
//! Owns block boundaries, the file header and the split by day. It must never mix days in a file:
//! Iceberg prunes by the partition value, so a stray row would vanish from queries.
//!
//! Avro 1.11 specification, "Object Container Files".

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::PutPayloadMut;
use uuid::Uuid;

use super::Codec;
use super::compress::Compressor;
use super::days::split;
use super::encode::{Encoder, Rows, put_long};
use super::schema::TableSchema;
use crate::Result;
use crate::datafile::{EncodedFile, Metrics};

/// A block is cut at this many rows; readers decode block by block.
const BLOCK_ROWS_MAX: usize = 16_384;

/// A block is cut once its raw bytes reach this, which leaves room for the last rows below 256 KiB: zstandard works on 128 KiB at a
/// time, and the second half of a frame goes by what it learned of the first (every row of the demo's job, 165 B: cut at 128 KiB
/// 244 ns and 46.1 B a row, at 250 KiB 237 ns and 45.2 B, at 380 KiB 253 ns and 44.9 B). A larger one leaves the core's cache, and
/// the open block is memory.
const BLOCK_BYTES_MAX: usize = 240 << 10;

/// A file grows by pieces of at least this many bytes. In one piece, each doubling would copy what is there into new memory, which the
/// system hands out page by page; pieces of much the same size are used again, commit after commit.
const PIECE_BYTES: usize = 64 << 10;

/// Rows encoded between two looks at the block's size.
const ROWS_PER_LOOK: usize = 64;

const MAGIC: &[u8; 4] = b"Obj\x01";

/// One Avro file in memory, for one partition value.
pub struct FileWriter {
    file: OpenFile,
    schema: Arc<TableSchema>,
    compressor: Compressor,
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
        Ok(Self { file, schema, compressor: Compressor::new(codec)? })
    }

    /// Appends a batch, matched to the table by column name. The caller answers for its day.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the batch does not fit the table; nothing of it was written.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = Rows::check(&self.schema, batch)?;
        self.file.append(&self.schema, &rows, &mut self.compressor)
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
        self.file.finish(&mut self.compressor)
    }
}

/// Splits batches by the UTC day of the partition column; one open file per day.
pub struct DayWriter {
    schema: Arc<TableSchema>,
    codec: Codec,
    compressor: Compressor,
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
        let compressor = Compressor::new(codec)?;
        Ok(Self { schema, codec, compressor, files: BTreeMap::new(), bytes: 0, rows: 0 })
    }

    /// Appends a batch, matched to the table by column name.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the batch does not fit the table; nothing of it was written.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = Rows::check(&self.schema, batch)?;
        for (day, rows) in split(&self.schema, rows)? {
            let before = self.files.get(&day).map_or(0, OpenFile::bytes);
            let open = || OpenFile::new(&self.schema, self.codec, day);
            let file = self.files.entry(day).or_insert_with(open);
            file.append(&self.schema, &rows, &mut self.compressor)?;
            self.rows += rows.len() as u64;
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
        files.into_values().map(|mut file| file.finish(&mut self.compressor)).collect()
    }
}

/// A file without the compressor, which days share.
struct OpenFile {
    day: Option<i32>,
    sync: [u8; 16],
    /// Header and finished blocks.
    body: PutPayloadMut,
    block: Vec<u8>,
    block_rows: usize,
    rows: u64,
    metrics: Metrics,
}

impl OpenFile {
    fn new(schema: &TableSchema, codec: Codec, day: Option<i32>) -> Self {
        // Random, so that no payload can be made to contain it and mislead a reader that seeks.
        let sync = *Uuid::new_v4().as_bytes();
        let mut body = PutPayloadMut::new().with_block_size(PIECE_BYTES);
        body.extend_from_slice(&header(schema, codec, &sync));
        Self {
            day,
            sync,
            body,
            block: Vec::new(),
            block_rows: 0,
            rows: 0,
            metrics: Metrics::new(schema),
        }
    }

    fn bytes(&self) -> usize {
        self.body.content_length() + self.block.len()
    }

    fn append(&mut self, schema: &TableSchema, rows: &Rows, with: &mut Compressor) -> Result<()> {
        self.metrics.add(rows);
        let encoder = Encoder::new(schema, rows);
        let mut start = 0;
        while start < rows.len() {
            let room = ROWS_PER_LOOK.min(BLOCK_ROWS_MAX - self.block_rows);
            let end = rows.len().min(start + room);
            encoder.encode(start..end, &mut self.block);
            self.block_rows += end - start;
            self.rows += (end - start) as u64;
            start = end;
            if self.block_rows >= BLOCK_ROWS_MAX || self.block.len() >= BLOCK_BYTES_MAX {
                self.cut(with)?;
            }
        }
        Ok(())
    }

    fn cut(&mut self, with: &mut Compressor) -> Result<()> {
        if self.block_rows == 0 {
            return Ok(());
        }
        let packed = with.pack(&self.block)?;
        let mut lengths = Vec::with_capacity(20);
        put_len(&mut lengths, self.block_rows);
        put_len(&mut lengths, packed.len());
        self.body.extend_from_slice(&lengths);
        self.body.extend_from_slice(packed);
        self.body.extend_from_slice(&self.sync);
        self.block.clear();
        self.block_rows = 0;
        Ok(())
    }

    fn finish(&mut self, with: &mut Compressor) -> Result<EncodedFile> {
        self.cut(with)?;
        Ok(EncodedFile {
            content: std::mem::take(&mut self.body).freeze(),
            rows: self.rows,
            day: self.day,
            metrics: std::mem::take(&mut self.metrics),
        })
    }
}

fn header(schema: &TableSchema, codec: Codec, sync: &[u8; 16]) -> Vec<u8> {
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
    header.extend_from_slice(sync);
    header
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_long(out, i64::try_from(len).unwrap_or(i64::MAX));
}
