//! Records whose fate is known by their making: purchases that must be rows, and broken ones.
//!
//! Every sound record here is a row of the table, so that each one that is lost is seen to be lost.

use std::fmt::Write as _;

/// A purchase above the job's threshold, told from all others by `number`.
pub(crate) fn purchase(number: u64) -> Vec<u8> {
    with(number, "").into_bytes()
}

/// The same in so many bytes, in a field that nobody declared.
pub(crate) fn purchase_of_bytes(number: u64, bytes: usize) -> Vec<u8> {
    let bare = with(number, r#","note":"""#).len();
    let filler = "x".repeat(bytes.saturating_sub(bare));
    with(number, &format!(r#","note":"{filler}""#)).into_bytes()
}

/// The same with so many fields that nobody declared.
pub(crate) fn purchase_of_fields(number: u64, fields: usize) -> Vec<u8> {
    let mut more = String::with_capacity(fields * 16);
    for field in 0..fields {
        // Writing to a text does not fail.
        let _ = write!(more, r#","field_{field}":{field}"#);
    }
    with(number, &more).into_bytes()
}

fn with(number: u64, more: &str) -> String {
    let (cents, day, second) = (number % 90 + 10, number / 5_000 % 3 + 1, number % 60);
    let (minute, milli) = (number / 60 % 60, number % 1_000);
    format!(
        r#"{{"unique_event_id":"event-{number:012}","customer_id":"cust-{number:07}","session_guid":"session-{number}","activity_type":"purchase","source_url":"/checkout/confirmation?order={number}","client_platform":"web","event_ts_utc":"2026-06-{day:02}T08:{minute:02}:{second:02}.{milli:03}Z","customer_latitude":48.137154,"customer_longitude":-11.000005,"product_id":"prod-{number:05}","transaction_value":129.{cents}{more}}}"#
    )
}

/// How a record is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    CutOff,
    NoText,
    NotAnObject,
    WrongType,
    Missing,
    Empty,
    Doubled,
}

impl Broken {
    pub(crate) const ALL: [Self; 7] = [
        Self::CutOff,
        Self::NoText,
        Self::NotAnObject,
        Self::WrongType,
        Self::Missing,
        Self::Empty,
        Self::Doubled,
    ];

    /// A record broken like that.
    pub(crate) fn record(self, number: u64) -> Vec<u8> {
        let sound = with(number, "");
        match self {
            Self::CutOff => {
                let mut cut = sound.into_bytes();
                cut.pop();
                cut
            }
            Self::NoText => [sound.as_bytes(), &[0xff, 0xfe]].concat(),
            Self::NotAnObject => format!("[{number}]").into_bytes(),
            Self::WrongType => sound.replace(r#""purchase""#, "17").into_bytes(),
            Self::Missing => sound.replace("session_guid", "session").into_bytes(),
            Self::Empty => Vec::new(),
            Self::Doubled => with(number, r#","customer_id":"again""#).into_bytes(),
        }
    }
}
