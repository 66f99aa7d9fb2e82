//! Seeded randomness with the same bits on every machine and in every release.
//!
//! `ChaCha8Rng` promises its output; `StdRng`, `rand`'s distributions and the
//! platform's `exp` and `ln` don't, so the few distributions needed are here.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Fraction;

/// One stream of random draws.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// Stream number `stream` of `seed`; streams don't influence each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// 16 uniform bytes.
    pub(crate) fn bytes16(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        // The high half of the product is below `limit`. The bias, one part in
        // 2^32 / limit, is nothing to a shop.
        let product = u64::from(self.0.next_u32()) * u64::from(limit);
        u32::try_from(product >> 32).unwrap_or_default()
    }

    /// A number from `low` up to, without, `high`.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low)
    }

    /// One of `choices`, which must not be empty.
    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        let index = self.below(count) as usize;
        choices.get(index).expect("an index drawn below the length")
    }

    /// Whether something of this likelihood happens.
    pub(crate) fn chance(&mut self, fraction: Fraction) -> bool {
        fraction.holds(self.0.next_u32())
    }

    /// A log-normal number: `median` times e to the power of a normal number.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// A standard normal number, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// A number from 0 up to, without, 1.
    fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }
}

/// Numbers below a limit where number `k` comes `k + 1` times as rarely as 0:
/// Zipf's law with exponent 1, by Vose's alias method (constant time a draw).
pub(crate) struct Zipf {
    columns: Vec<Column>,
}

/// One column of the alias table: below `split` it stands for its own number,
/// else for `alias`.
#[derive(Clone, Copy)]
struct Column {
    split: u32,
    alias: u32,
}

impl Zipf {
    /// The distribution over the numbers below `count`, which must not be 0.
    pub(crate) fn new(count: u32) -> Self {
        let weights = (0..count).map(|rank| 1.0 / (f64::from(rank) + 1.0));
        let scale = f64::from(count) / weights.clone().sum::<f64>();
        // A column holds 1. Rare numbers leave room in theirs, which frequent ones fill.
        let mut columns: Vec<_> =
            (0..count).map(|rank| Column { split: u32::MAX, alias: rank }).collect();
        let (mut frequent, mut rare): (Vec<_>, Vec<_>) = (0..count)
            .zip(weights.map(|weight| weight * scale))
            .partition(|(_, share)| *share >= 1.0);
        while let (Some((donor, surplus)), Some((rank, share))) = (frequent.pop(), rare.pop()) {
            if let Some(column) = columns.get_mut(rank as usize) {
                *column = Column { split: split(share), alias: donor };
            }
            let left = surplus - (1.0 - share);
            if left >= 1.0 { frequent.push((donor, left)) } else { rare.push((donor, left)) }
        }
        Self { columns }
    }

    /// Draws a number.
    pub(crate) fn draw(&self, dice: &mut Dice) -> u32 {
        let rank = dice.below(u32::try_from(self.columns.len()).unwrap_or(u32::MAX));
        let height = dice.0.next_u32();
        match self.columns.get(rank as usize) {
            Some(column) if height >= column.split => column.alias,
            _ => rank,
        }
    }
}

/// A share of a column as a threshold for 32 uniform bits.
fn split(share: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float too large for the target becomes the target's maximum, as wanted"
    )]
    let split = (share * f64::from(u32::MAX)) as u32;
    split
}
