//! One block's bytes, smaller.
//!
//! Owns the compression contexts, which are costly to make and are kept from block to block. It must
//! never keep state between blocks: each is a frame of its own, so that readers can start anywhere
//! and blocks can be moved between files.

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::bulk::Compressor as Zstd;
use zstd::zstd_safe::CParameter;

use super::Codec;
use crate::{Error, Kind, Result};

/// Zstandard's fastest regular level.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// Deflate's level.
pub(crate) const DEFLATE_LEVEL: u32 = 6;

/// Compresses one block after another.
pub(crate) struct Compressor {
    codec: Coder,
    packed: Vec<u8>,
}

enum Coder {
    None,
    Deflate(Box<Compress>),
    Zstandard(Box<Zstd<'static>>),
}

impl Compressor {
    pub(crate) fn new(codec: Codec) -> Result<Self> {
        Self::with_levels(codec, ZSTD_LEVEL, DEFLATE_LEVEL)
    }

    pub(crate) fn with_levels(codec: Codec, zstd: i32, deflate: u32) -> Result<Self> {
        let codec = match codec {
            Codec::None => Coder::None,
            Codec::Deflate => {
                Coder::Deflate(Box::new(Compress::new(Compression::new(deflate), false)))
            }
            Codec::Zstandard => Coder::Zstandard(Box::new(zstandard(zstd)?)),
        };
        Ok(Self { codec, packed: Vec::new() })
    }

    /// `block` as it goes into the file; valid until the next call.
    pub(crate) fn pack<'a>(&'a mut self, block: &'a [u8]) -> Result<&'a [u8]> {
        match &mut self.codec {
            Coder::None => return Ok(block),
            Coder::Deflate(coder) => deflate(coder, block, &mut self.packed)?,
            Coder::Zstandard(coder) => {
                self.packed.clear();
                self.packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
                coder.compress_to_buffer(block, &mut self.packed).map_err(failed)?;
            }
        }
        Ok(&self.packed)
    }
}

fn zstandard(level: i32) -> Result<Zstd<'static>> {
    let mut coder = Zstd::new(level).map_err(failed)?;
    // Avro has no checksum of its own for this codec; readers verify this one by themselves.
    coder.set_parameter(CParameter::ChecksumFlag(true)).map_err(failed)?;
    Ok(coder)
}

fn deflate(coder: &mut Compress, block: &[u8], packed: &mut Vec<u8>) -> Result<()> {
    coder.reset();
    packed.clear();
    packed.reserve(block.len() / 2 + 64);
    loop {
        let rest = usize::try_from(coder.total_in()).ok().and_then(|done| block.get(done..));
        let rest = rest.unwrap_or_default();
        match coder.compress_vec(rest, packed, FlushCompress::Finish).map_err(failed)? {
            Status::StreamEnd => return Ok(()),
            Status::Ok | Status::BufError => packed.reserve(packed.capacity().max(64)),
        }
    }
}

fn failed(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Bug, "the block does not compress").because(err)
}
