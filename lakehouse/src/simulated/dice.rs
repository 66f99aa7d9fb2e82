//! Chance that follows from a seed alone, the same on every machine.

/// xorshift64*: enough for a schedule.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Follows from `seed`; near seeds give streams that have nothing in common.
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One of `0..bound`; 0 when the bound is.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.bits() >> 11) % bound.max(1)
    }

    /// True once in `bound` times; never when the bound is 0.
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0 && bound > 0
    }
}
