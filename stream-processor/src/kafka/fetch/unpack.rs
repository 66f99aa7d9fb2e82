//! Compressed record batches.
//!
//! Owns the four codecs of Kafka's format and their framing. It must never make more of a batch than
//! [`UNPACKED_MAX`] bytes, whatever the batch says of itself.

use std::io::{self, Read};

/// A batch that unpacks to more is refused: a few bytes of zeros must not cost all memory.
const UNPACKED_MAX: u64 = 128 << 20;
/// What Java's snappy library writes before its blocks.
const XERIAL: &[u8; 8] = b"\x82SNAPPY\0";
/// Behind it, a version and the least version that can read it.
const XERIAL_HEAD: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Snappy,
    Lz4,
    Zstandard,
}

impl Codec {
    /// The codec that a batch's attributes name, if there is one; the outer `None` when it isn't known.
    #[allow(clippy::option_option, reason = "uncompressed is an answer, unknown is none")]
    pub(super) fn of(attributes: i16) -> Option<Option<Self>> {
        match attributes & 7 {
            0 => Some(None),
            1 => Some(Some(Self::Gzip)),
            2 => Some(Some(Self::Snappy)),
            3 => Some(Some(Self::Lz4)),
            4 => Some(Some(Self::Zstandard)),
            _ => None,
        }
    }
}

pub(super) fn unpack(codec: Codec, packed: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Codec::Gzip => all(flate2::read::MultiGzDecoder::new(packed)),
        Codec::Snappy => snappy(packed),
        Codec::Lz4 => all(lz4_flex::frame::FrameDecoder::new(packed)),
        Codec::Zstandard => all(zstd::stream::read::Decoder::with_buffer(packed)?),
    }
}

fn all(from: impl Read) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    from.take(UNPACKED_MAX + 1).read_to_end(&mut unpacked)?;
    within(unpacked.len())?;
    Ok(unpacked)
}

fn within(length: usize) -> io::Result<()> {
    if length as u64 <= UNPACKED_MAX {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("it unpacks to more than {UNPACKED_MAX} bytes"),
    ))
}

/// One block, as librdkafka writes it, or Java's blocks with their lengths.
fn snappy(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    if !packed.starts_with(XERIAL) {
        block(packed, &mut unpacked)?;
        return Ok(unpacked);
    }
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut rest = packed.get(XERIAL_HEAD..).ok_or_else(cut)?;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(io::Error::other)?;
        let (packed, behind) = behind.split_at_checked(length).ok_or_else(cut)?;
        block(packed, &mut unpacked)?;
        rest = behind;
    }
    Ok(unpacked)
}

fn block(packed: &[u8], unpacked: &mut Vec<u8>) -> io::Result<()> {
    let length = snap::raw::decompress_len(packed)?;
    let start = unpacked.len();
    within(start + length)?;
    unpacked.resize(start + length, 0);
    let room = unpacked.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(packed, room)?;
    Ok(())
}
