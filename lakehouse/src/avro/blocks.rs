//! Rows → blocks: all of a file that can be made before it is known which file it goes into.
//!
//! Owns where blocks are cut, their framing, and which rows stay loose because they are too few for a block.
//! It must never reorder rows, and never mix days: a part has one.
//!
//! Avro 1.11 specification, "Object Container Files".

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::Codec;
use super::compress::Compressor;
use super::days::split;
use super::encode::{Encoder, Rows, put_long};
use super::schema::TableSchema;
use crate::Result;
use crate::datafile::Metrics;

/// A block has at most this many rows; readers decode block by block.
pub(super) const BLOCK_ROWS_MAX: usize = 16_384;

/// A block has about this many raw bytes, between half and one and a half of it: zstandard works on 128 KiB at a time,
/// and the second half of a frame goes by what it learned of the first (every row of the demo's job, 165 B: cut at 128 KiB 244 ns
/// and 46.1 B a row, at 250 KiB 237 ns and 45.2 B, at 380 KiB 253 ns and 44.9 B). A larger one leaves the core's cache, and the
/// open block is memory.
pub(super) const BLOCK_BYTES: usize = 240 << 10;

/// Rows encoded between two places where a block may end.
const ROWS_PER_LOOK: usize = 64;

/// Room for a batch that is kept; what a larger one needed is given back.
pub(super) const SCRATCH_BYTES: usize = 1 << 20;

const MARKER_BYTES: usize = 16;

/// A file's own marker, behind its header and each of its blocks.
pub(super) type Marker = [u8; MARKER_BYTES];

/// Makes blocks of batches; keeps its scratch memory between calls. One serves any number of tables.
pub struct RowEncoder {
    codec: Codec,
    compressor: Compressor,
    raw: Vec<u8>,
    looks: Vec<Look>,
}

/// So many rows take so many bytes.
#[derive(Clone, Copy, Default)]
struct Look {
    rows: usize,
    bytes: usize,
}

/// A batch as it goes into the files of a [`DayWriter`](super::DayWriter).
pub struct EncodedRows {
    pub(super) schema: Arc<TableSchema>,
    pub(super) codec: Codec,
    pub(super) parts: Vec<Part>,
}

/// The rows of one day.
pub(super) struct Part {
    pub(super) day: Option<i32>,
    pub(super) rows: usize,
    pub(super) metrics: Metrics,
    pub(super) content: Content,
}

pub(super) enum Content {
    Blocks(Vec<Block>),
    /// Too few for a block: raw, to share one with others.
    Loose(Vec<u8>),
}

/// A block, whole but for the marker of its file, for which there is room at its end.
pub(super) struct Block(Vec<u8>);

impl Block {
    pub(super) fn seal(mut self, marker: &Marker) -> Bytes {
        if let Some(end) = self.0.last_chunk_mut() {
            *end = *marker;
        }
        self.0.into()
    }
}

impl RowEncoder {
    /// An encoder of blocks that `codec` compresses.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the codec can't be set up.
    pub fn new(codec: Codec) -> Result<Self> {
        let compressor = Compressor::new(codec)?;
        Ok(Self { codec, compressor, raw: Vec::new(), looks: Vec::new() })
    }

    /// Encodes a batch, matched to the table by column name, and compresses what fills blocks of its own.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`](crate::Kind::Bug): the batch does not fit the table.
    pub fn encode(
        &mut self,
        schema: &Arc<TableSchema>,
        batch: &RecordBatch,
    ) -> Result<EncodedRows> {
        let days = split(schema, Rows::check(schema, batch)?)?;
        let parts = days.iter().map(|(day, rows)| self.part(schema, rows, *day));
        let parts = parts.collect::<Result<_>>()?;
        Ok(EncodedRows { schema: Arc::clone(schema), codec: self.codec, parts })
    }

    /// Encodes rows of one day.
    pub(super) fn part(
        &mut self,
        schema: &TableSchema,
        rows: &Rows,
        day: Option<i32>,
    ) -> Result<Part> {
        let mut metrics = Metrics::new(schema);
        metrics.add(rows);
        self.fill(&Encoder::new(schema, rows), rows.len());
        let whole = Look { rows: rows.len(), bytes: self.raw.len() };
        let content = if whole.rows < BLOCK_ROWS_MAX / 2 && whole.bytes < BLOCK_BYTES / 2 {
            Content::Loose(self.raw.clone())
        } else {
            Content::Blocks(self.blocks(whole)?)
        };
        self.raw.clear();
        self.raw.shrink_to(SCRATCH_BYTES);
        Ok(Part { day, rows: rows.len(), metrics, content })
    }

    /// Some encoded rows as a block.
    pub(super) fn block(&mut self, rows: usize, raw: &[u8]) -> Result<Block> {
        block(&mut self.compressor, rows, raw)
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    fn fill(&mut self, encoder: &Encoder<'_>, rows: usize) {
        self.raw.clear();
        self.looks.clear();
        for start in (0..rows).step_by(ROWS_PER_LOOK) {
            let end = rows.min(start + ROWS_PER_LOOK);
            encoder.encode(start..end, &mut self.raw);
            self.looks.push(Look { rows: end, bytes: self.raw.len() });
        }
    }

    /// Blocks of much the same size.
    fn blocks(&mut self, whole: Look) -> Result<Vec<Block>> {
        let nearest = (whole.bytes + BLOCK_BYTES / 2) / BLOCK_BYTES;
        let count = nearest.max(whole.rows.div_ceil(BLOCK_ROWS_MAX)).max(1);
        let each = Look { rows: whole.rows.div_ceil(count), bytes: whole.bytes.div_ceil(count) };
        let mut blocks = Vec::with_capacity(count);
        let mut start = Look::default();
        for look in &self.looks {
            let (rows, bytes) = (look.rows - start.rows, start.bytes..look.bytes);
            if rows >= each.rows || bytes.len() >= each.bytes || look.rows == whole.rows {
                let raw = self.raw.get(bytes).unwrap_or_default();
                blocks.push(block(&mut self.compressor, rows, raw)?);
                start = *look;
            }
        }
        Ok(blocks)
    }
}

fn block(compressor: &mut Compressor, rows: usize, raw: &[u8]) -> Result<Block> {
    let packed = compressor.pack(raw)?;
    let mut framed = Vec::with_capacity(2 * LEN_BYTES_MAX + packed.len() + MARKER_BYTES);
    put_len(&mut framed, rows);
    put_len(&mut framed, packed.len());
    framed.extend_from_slice(packed);
    framed.extend_from_slice(&[0; MARKER_BYTES]);
    Ok(Block(framed))
}

/// A length takes up to this many bytes.
const LEN_BYTES_MAX: usize = 10;

pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_long(out, i64::try_from(len).unwrap_or(i64::MAX));
}
