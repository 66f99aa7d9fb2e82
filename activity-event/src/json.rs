//! Writes the JSON text of an event straight into a byte buffer.
//!
//! Nothing is allocated but what `out` needs to grow, and no float is involved.

use uuid::Uuid;

use crate::{ActivityEvent, Cents, EventTime, Microdegrees, field};

/// What an event usually takes, so that a fresh buffer grows once.
const TYPICAL_BYTES: usize = 384;

/// Appends `event` as one JSON object; the order of the lines is the contract.
pub(crate) fn write_event(event: &ActivityEvent<'_>, out: &mut Vec<u8>) {
    out.reserve(TYPICAL_BYTES);
    out.push(b'{');
    name(out, field::UNIQUE_EVENT_ID);
    guid(out, event.unique_event_id);
    next(out, field::CUSTOMER_ID);
    text(out, event.customer_id);
    next(out, field::SESSION_GUID);
    guid(out, event.session_guid);
    next(out, field::ACTIVITY_TYPE);
    text(out, event.activity_type.as_str());
    next(out, field::SOURCE_URL);
    text(out, event.source_url);
    next(out, field::CLIENT_PLATFORM);
    text(out, event.client_platform.as_str());
    next(out, field::EVENT_TS_UTC);
    instant(out, event.event_ts_utc);
    next(out, field::CUSTOMER_LATITUDE);
    or_null(out, event.customer_latitude, angle);
    next(out, field::CUSTOMER_LONGITUDE);
    or_null(out, event.customer_longitude, angle);
    next(out, field::PRODUCT_ID);
    or_null(out, event.product_id, text);
    next(out, field::TRANSACTION_VALUE);
    or_null(out, event.transaction_value, dollars);
    out.push(b'}');
}

fn next(out: &mut Vec<u8>, field: &str) {
    out.push(b',');
    name(out, field);
}

fn name(out: &mut Vec<u8>, field: &str) {
    out.push(b'"');
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b"\":");
}

fn or_null<T>(out: &mut Vec<u8>, value: Option<T>, write: fn(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes a string, escaping what RFC 8259 section 7 says must be escaped.
fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    // Looking at every byte, without stopping at the first, is what vectorizes.
    if value.bytes().fold(false, |found, byte| found | must_escape(byte)) {
        value.bytes().for_each(|byte| escaped(out, byte));
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        byte if byte < b' ' => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        byte => out.push(byte),
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn guid(out: &mut Vec<u8>, id: Uuid) {
    let mut buffer = Uuid::encode_buffer();
    out.push(b'"');
    out.extend_from_slice(id.as_hyphenated().encode_lower(&mut buffer).as_bytes());
    out.push(b'"');
}

/// `"2025-06-01T08:30:00.125Z"`.
fn instant(out: &mut Vec<u8>, at: EventTime) {
    let at = at.civil();
    out.push(b'"');
    digits::<4>(out, at.year);
    out.push(b'-');
    digits::<2>(out, at.month);
    out.push(b'-');
    digits::<2>(out, at.day);
    out.push(b'T');
    digits::<2>(out, at.hour);
    out.push(b':');
    digits::<2>(out, at.minute);
    out.push(b':');
    digits::<2>(out, at.second);
    out.push(b'.');
    digits::<3>(out, at.millis);
    out.extend_from_slice(b"Z\"");
}

fn dollars(out: &mut Vec<u8>, value: Cents) {
    whole(out, value.get() / 100);
    out.push(b'.');
    digits::<2>(out, value.get() % 100);
}

fn angle(out: &mut Vec<u8>, value: Microdegrees) {
    if value.get() < 0 {
        out.push(b'-');
    }
    let size = u64::from(value.get().unsigned_abs());
    whole(out, size / 1_000_000);
    out.push(b'.');
    digits::<6>(out, size % 1_000_000);
}

/// Writes exactly `N` decimal digits, the lowest ones of `value`.
fn digits<const N: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [b'0'; N];
    for digit in buffer.iter_mut().rev() {
        *digit = decimal_digit(value);
        value /= 10;
    }
    out.extend_from_slice(&buffer);
}

/// Writes `value` with as many decimal digits as it has.
fn whole(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(decimal_digit(value));
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

fn decimal_digit(value: u64) -> u8 {
    // A remainder of ten always fits.
    b'0' + u8::try_from(value % 10).unwrap_or_default()
}
