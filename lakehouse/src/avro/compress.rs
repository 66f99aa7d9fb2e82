//! One block's bytes, smaller.
//!
//! Owns the compression contexts, which are costly to make and are kept from block to block. It must
//! never keep state between blocks: each is a frame of its own, so that readers can start anywhere
//! and blocks can be moved between files.

use libdeflater::{CompressionLvl, Compressor as Deflate};
use zstd::bulk::Compressor as Zstd;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use super::Codec;
use super::blocks::SCRATCH_BYTES;
use crate::{Error, Kind, Result};

/// Zstandard's level. Higher ones take longer and are no smaller on such rows (conversions, 181 B a row,
/// in blocks of 128 KiB: level 1 319 ns and 54.7 B, 2 341 ns and 55.3 B, 3 469 ns and 56.0 B); the
/// negative ones are quicker and larger (-3: 239 ns and 72.0 B).
const ZSTD_LEVEL: i32 = 1;

/// Where nothing matches the search goes on in larger steps, and a match has at least seven bytes: identifiers are found or not, and
/// shorter matches cost more than they save. Literals are compressed all the same, which such steps turn off by default (every
/// row of the demo's job, 165 B, in blocks of 250 KiB: 245 ns and 44.8 B as the level has it, 216 ns and 46.1 B so, and
/// 45.9 B in the blocks of 128 KiB that were before).
const ZSTD_STEPS: u32 = 2;
const ZSTD_MATCH_MIN: u32 = 7;

/// Deflate's level, in libdeflate's scale (the same rows: level 1 642 ns and 57.3 B, 4 1,127 ns and
/// 57.3 B, 6 1,897 ns and 55.6 B; zlib's default, level 6, 2,223 ns and 54.7 B).
const DEFLATE_LEVEL: i32 = 1;

/// Compresses one block after another.
pub(crate) struct Compressor {
    codec: Coder,
    packed: Vec<u8>,
}

enum Coder {
    None,
    Deflate(Box<Deflate>),
    Zstandard(Box<Zstd<'static>>),
}

impl Compressor {
    pub(crate) fn new(codec: Codec) -> Result<Self> {
        let codec = match codec {
            Codec::None => Coder::None,
            Codec::Deflate => {
                let level = CompressionLvl::new(DEFLATE_LEVEL).map_err(|err| {
                    Error::new(Kind::Bug, "deflate has no such level")
                        .with("reason", format!("{err:?}"))
                })?;
                Coder::Deflate(Box::new(Deflate::new(level)))
            }
            Codec::Zstandard => Coder::Zstandard(Box::new(zstandard()?)),
        };
        Ok(Self { codec, packed: Vec::new() })
    }

    /// `block` as it goes into the file; valid until the next call.
    pub(crate) fn pack<'a>(&'a mut self, block: &'a [u8]) -> Result<&'a [u8]> {
        self.packed.clear();
        self.packed.shrink_to(SCRATCH_BYTES);
        match &mut self.codec {
            Coder::None => return Ok(block),
            Coder::Deflate(coder) => deflate(coder, block, &mut self.packed)?,
            Coder::Zstandard(coder) => {
                self.packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
                coder.compress_to_buffer(block, &mut self.packed).map_err(failed)?;
            }
        }
        Ok(&self.packed)
    }
}

fn zstandard() -> Result<Zstd<'static>> {
    let mut coder = Zstd::new(ZSTD_LEVEL).map_err(failed)?;
    // Avro has no checksum of its own for this codec; readers verify this one by themselves.
    coder.set_parameter(CParameter::ChecksumFlag(true)).map_err(failed)?;
    coder.set_parameter(CParameter::MinMatch(ZSTD_MATCH_MIN)).map_err(failed)?;
    coder.set_parameter(CParameter::TargetLength(ZSTD_STEPS)).map_err(failed)?;
    let literals = CParameter::LiteralCompressionMode(ParamSwitch::Enable);
    coder.set_parameter(literals).map_err(failed)?;
    Ok(coder)
}

fn deflate(coder: &mut Deflate, block: &[u8], packed: &mut Vec<u8>) -> Result<()> {
    packed.resize(coder.deflate_compress_bound(block.len()), 0);
    let len = coder.deflate_compress(block, packed).map_err(failed)?;
    packed.truncate(len);
    Ok(())
}

fn failed(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Bug, "the block does not compress").because(err)
}
