//! Reading Avro's numbers and texts off a piece of memory.

/// What is left to read. Everything is `None` when the bytes end too early or are not what was asked for.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Zigzag, seven bits a byte, least significant first.
    pub(super) fn long(&mut self) -> Option<i64> {
        let mut bits = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            bits |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        None
    }

    /// A union of null, which stands for `absent`, and a number.
    pub(super) fn long_or(&mut self, absent: Option<i64>) -> Option<i64> {
        match self.long()? {
            0 => absent,
            1 => self.long(),
            _ => None,
        }
    }

    /// Bytes, with their length before them.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The bytes that `pass` goes over.
    pub(super) fn spanned(
        &mut self,
        pass: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<&'a [u8]> {
        let before = self.0;
        pass(self)?;
        before.get(..before.len() - self.0.len())
    }
}
