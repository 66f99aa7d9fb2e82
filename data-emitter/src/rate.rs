//! How many events per second of real time. Reads no clock: it is told.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// The speed of the emitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As fast as the broker takes it.
    Max,
    /// So many events per second.
    PerSecond(NonZeroU32),
}

/// The event-time rate of a stream that goes out as fast as it can. No machine
/// is faster, so event time never runs ahead of the time of day, which brokers refuse.
const MAX_EVENTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");

impl Rate {
    /// How many events should be out `elapsed` after the start. An emitter that
    /// fell behind catches up, so that event time stays near the time of day.
    pub fn due(self, elapsed: Duration) -> u64 {
        match self {
            Self::Max => u64::MAX,
            Self::PerSecond(rate) => {
                let events = elapsed.as_micros() * u128::from(rate.get()) / 1_000_000;
                // The first event is due at once.
                u64::try_from(events).unwrap_or(u64::MAX).saturating_add(1)
            }
        }
    }

    /// The event-time rate that goes with this speed.
    pub fn event_rate(self) -> NonZeroU32 {
        match self {
            Self::Max => MAX_EVENTS_PER_SECOND,
            Self::PerSecond(rate) => rate,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::PerSecond(rate) => write!(f, "{rate}"),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let text = text.trim();
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix("/s").unwrap_or(text).replace('_', "");
        number.parse().map(Self::PerSecond).map_err(|_| RateError(text.to_owned()))
    }
}

/// A rate that isn't one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate; give events per second, for example 1000, or `max`")]
pub struct RateError(String);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[track_caller]
    fn check(text: &str, millis: u64, due: u64) {
        let rate: Rate = text.parse().unwrap();
        assert_eq!(rate.due(Duration::from_millis(millis)), due, "{text} after {millis} ms");
    }

    #[test]
    fn events_fall_due_evenly() {
        check("1000", 0, 1);
        check("1000/s", 1, 2);
        check("1000", 2_500, 2_501);
        check("1", 999, 1);
        check("1", 1_000, 2);
        check("1_000_000", 3_600_000, 3_600_000_001);
        check("max", 0, u64::MAX);
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "0", "-5", "fast", "1.5", "9999999999"] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("for example 1000"), "{error}");
        }
    }

    #[test]
    fn a_rate_reads_back_as_it_is_shown() {
        for text in ["max", "250"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
