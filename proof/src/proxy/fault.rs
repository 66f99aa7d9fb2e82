//! What can happen to one request and its answer.

use std::fmt;
use std::time::Duration;

/// What happens. *Applied* means: passed on to the server, and its answer awaited.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Answered with this status and error code; never applied.
    Refuse(u16, &'static str),
    /// Applied, and answered with this status and error code whatever came of it.
    Hide(u16, &'static str),
    /// Reset when half of its body was read; never applied.
    CutBefore,
    /// Applied, then reset in place of the answer.
    CutAfter,
    /// Applied, then closed in order without an answer.
    Lose,
    /// Never applied, never answered; the connection stays.
    HangBefore,
    /// Applied, never answered; the connection stays.
    HangAfter,
    /// Reset at once, applied later.
    Late(Until),
    /// Applied twice; the second answer is given, as by a proxy that tries again.
    Twice,
    /// Applied; half of the answer arrives, then the end.
    Truncate,
    /// Applied; half of the answer arrives, then silence.
    Stall,
    /// Applied, and answered 200 with this body.
    Garble(&'static str),
    /// Applied; the answer arrives in small pieces over so long.
    Drip(Duration),
    /// Applied after its new snapshots were dated so many milliseconds later.
    Redate(i64),
    /// Applied and answered truly; the object then keeps only the first half of its bytes.
    Shorten,
    /// Answered 200, never applied.
    Pretend,
}

/// When a late request is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// After so long.
    Passed(Duration),
    /// After a later read of the same path was answered.
    Read,
    /// As `Read`, but only reads after a release count; until then the client gets no answer, not even a reset.
    ReleasedAndRead,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(status, _) => write!(f, "{status} before"),
            Self::Hide(status, _) => write!(f, "{status} after"),
            Self::CutBefore => f.write_str("reset before"),
            Self::CutAfter => f.write_str("reset after"),
            Self::Lose => f.write_str("answer lost"),
            Self::HangBefore => f.write_str("hang before"),
            Self::HangAfter => f.write_str("hang after"),
            Self::Late(_) => f.write_str("applied late"),
            Self::Twice => f.write_str("sent twice"),
            Self::Truncate => f.write_str("answer cut"),
            Self::Stall => f.write_str("answer stalled"),
            Self::Garble(_) => f.write_str("malformed 200"),
            Self::Drip(_) => f.write_str("slow drip"),
            Self::Redate(_) => f.write_str("redated"),
            Self::Shorten => f.write_str("short object"),
            Self::Pretend => f.write_str("no object"),
        }
    }
}
