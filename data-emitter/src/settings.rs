//! What determines the generated stream: these values and nothing else.

use std::num::NonZeroU32;
use std::str::FromStr;

/// Customers known to the shop; Zipf-distributed, so a few of them are regulars.
const CUSTOMERS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
/// Products on sale; Zipf-distributed too.
const PRODUCTS: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");
/// Visits going on at the same time. Few enough that a run of a thousand
/// events has purchases, many enough that visits interleave in a partition.
const SHOPPERS: NonZeroU32 = NonZeroU32::new(256).expect("not zero");
/// Events per second of event time.
const EVENT_RATE: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");

/// Everything the stream follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorSettings {
    /// Chooses the stream among all streams with these settings.
    pub seed: u64,
    /// When the first event happens: milliseconds since 1970, UTC.
    pub start_ms: i64,
    /// Events per second of event time.
    pub event_rate: NonZeroU32,
    /// Customers known to the shop.
    pub customers: NonZeroU32,
    /// Products on sale.
    pub products: NonZeroU32,
    /// Visits going on at the same time.
    pub shoppers: NonZeroU32,
    /// Visits recorded offline and delivered hours later.
    pub late: Fraction,
    /// Records sent a second time, unchanged, a little later.
    pub duplicates: Fraction,
    /// Events overtaken by later ones on their way to the topic.
    pub out_of_order: Fraction,
    /// Records broken in one of the ways of [`Fault`](crate::Fault).
    pub malformed: Fraction,
}

impl GeneratorSettings {
    /// A faultless stream of the usual shop.
    pub fn new(seed: u64, start_ms: i64) -> Self {
        Self {
            seed,
            start_ms,
            event_rate: EVENT_RATE,
            customers: CUSTOMERS,
            products: PRODUCTS,
            shoppers: SHOPPERS,
            late: Fraction::ZERO,
            duplicates: Fraction::ZERO,
            out_of_order: Fraction::ZERO,
            malformed: Fraction::ZERO,
        }
    }
}

/// A share between 0 and 1, held to a resolution of 2⁻³².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(u64);

/// What a whole is in [`Fraction`]'s unit.
const WHOLE: u64 = 1 << 32;

impl Fraction {
    /// Never.
    pub const ZERO: Self = Self(0);

    /// A share of `value`.
    ///
    /// # Errors
    ///
    /// [`FractionError`] unless `value` lies between 0 and 1.
    pub fn new(value: f64) -> Result<Self, FractionError> {
        if !(0.0..=1.0).contains(&value) {
            return Err(FractionError(value.to_string()));
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the product lies between 0 and 2^32"
        )]
        Ok(Self((value * WHOLE as f64).round() as u64))
    }

    /// The share as a number between 0 and 1.
    pub fn get(self) -> f64 {
        self.0 as f64 / WHOLE as f64
    }

    /// Whether a draw of 32 uniform bits falls into the share.
    pub(crate) fn holds(self, bits: u32) -> bool {
        u64::from(bits) < self.0
    }
}

impl FromStr for Fraction {
    type Err = FractionError;

    fn from_str(text: &str) -> Result<Self, FractionError> {
        text.trim().parse().map_err(|_| FractionError(text.to_owned())).and_then(Self::new)
    }
}

/// A share that isn't one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a fraction; give a number from 0 to 1, for example 0.01 for one in a hundred"
)]
pub struct FractionError(String);
