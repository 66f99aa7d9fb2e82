//! The two numbers of an event, held as integers so that their text is exact.

/// An amount in US cents, written in dollars with two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cents(u64);

impl Cents {
    /// An amount of `cents`.
    pub const fn new(cents: u64) -> Self {
        Self(cents)
    }

    /// The amount in cents.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An angle in millionths of a degree (about 0.1 m), written with six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Microdegrees(i32);

impl Microdegrees {
    /// An angle of `microdegrees`.
    pub const fn new(microdegrees: i32) -> Self {
        Self(microdegrees)
    }

    /// The angle in millionths of a degree.
    pub const fn get(self) -> i32 {
        self.0
    }
}
