//! Writes the JSON text of an event straight into a byte buffer.
//!
//! Nothing is allocated but what `out` needs to grow, and no float is involved. What has a fixed length is put together on the
//! stack and appended at once: an append is a call and a look at the room left, and there were dozens in a record.

use uuid::Uuid;

use crate::{ActivityEvent, Cents, EventTime, Microdegrees, field};

/// What an event usually takes, so that a fresh buffer grows once.
const TYPICAL_BYTES: usize = 448;

/// A field's name with what stands around it, made by the compiler: `{"name":` or `,"name":`.
macro_rules! label {
    ($before:literal, $name:expr) => {{
        const LABEL: [u8; $name.len() + 4] = label($before, $name.as_bytes());
        &LABEL
    }};
}

/// Appends `event` as one JSON object; the order of the lines is the contract.
pub(crate) fn write_event(event: &ActivityEvent<'_>, out: &mut Vec<u8>) {
    out.reserve(TYPICAL_BYTES);
    out.extend_from_slice(label!(b'{', field::UNIQUE_EVENT_ID));
    guid(out, event.unique_event_id);
    out.extend_from_slice(label!(b',', field::CUSTOMER_ID));
    text(out, event.customer_id);
    out.extend_from_slice(label!(b',', field::SESSION_GUID));
    guid(out, event.session_guid);
    out.extend_from_slice(label!(b',', field::ACTIVITY_TYPE));
    word(out, event.activity_type.as_str());
    out.extend_from_slice(label!(b',', field::SOURCE_URL));
    text(out, event.source_url);
    out.extend_from_slice(label!(b',', field::CLIENT_PLATFORM));
    word(out, event.client_platform.as_str());
    out.extend_from_slice(label!(b',', field::EVENT_TS_UTC));
    instant(out, event.event_ts_utc);
    out.extend_from_slice(label!(b',', field::CUSTOMER_LATITUDE));
    or_null(out, event.customer_latitude, angle);
    out.extend_from_slice(label!(b',', field::CUSTOMER_LONGITUDE));
    or_null(out, event.customer_longitude, angle);
    out.extend_from_slice(label!(b',', field::PRODUCT_ID));
    or_null(out, event.product_id, text);
    out.extend_from_slice(label!(b',', field::TRANSACTION_VALUE));
    or_null(out, event.transaction_value, dollars);
    out.push(b'}');
}

#[allow(clippy::indexing_slicing, reason = "the compiler runs it, and would tell")]
const fn label<const N: usize>(before: u8, name: &[u8]) -> [u8; N] {
    let mut label = [b'"'; N];
    label[0] = before;
    let mut at = 0;
    while at < name.len() {
        label[at + 2] = name[at];
        at += 1;
    }
    label[N - 1] = b':';
    label
}

fn or_null<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes a string of ours, in which nothing is to be escaped.
fn word(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Writes a string, escaping what RFC 8259 section 7 says must be escaped.
fn text(out: &mut Vec<u8>, value: &str) {
    if !holds_what_must_be_escaped(value.as_bytes()) {
        return word(out, value);
    }
    out.push(b'"');
    value.bytes().for_each(|byte| escaped(out, byte));
    out.push(b'"');
}

/// Looks at sixteen bytes at a time, and at each of them: that becomes a few vector instructions.
fn holds_what_must_be_escaped(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let mut last = [b' '; 16];
    if let Some(last) = last.get_mut(..rest.len()) {
        last.copy_from_slice(rest);
    }
    let any = |chunk: &[u8; 16]| chunk.iter().fold(false, |found, byte| found | must_escape(*byte));
    chunks.iter().fold(any(&last), |found, chunk| found | any(chunk))
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

/// `"6f1e0d54-93f1-4be0-9a3c-fedcba987654"`.
fn guid(out: &mut Vec<u8>, id: Uuid) {
    let mut text = [b'"'; 38];
    id.as_hyphenated().encode_lower(&mut text[1..37]);
    out.extend_from_slice(&text);
}

/// `"2025-06-01T08:30:00.125Z"`.
fn instant(out: &mut Vec<u8>, at: EventTime) {
    let at = at.civil();
    let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
    digits(&mut text[1..5], at.year);
    digits(&mut text[6..8], at.month);
    digits(&mut text[9..11], at.day);
    digits(&mut text[12..14], at.hour);
    digits(&mut text[15..17], at.minute);
    digits(&mut text[18..20], at.second);
    digits(&mut text[21..24], at.millis);
    out.extend_from_slice(&text);
}

/// Fills `text` with the lowest decimal digits of `value`.
fn digits(text: &mut [u8], mut value: u64) {
    for digit in text.iter_mut().rev() {
        *digit = decimal_digit(value);
        value /= 10;
    }
}

fn dollars(out: &mut Vec<u8>, value: Cents) {
    fraction::<2>(out, value.get());
}

fn angle(out: &mut Vec<u8>, value: Microdegrees) {
    if value.get() < 0 {
        out.push(b'-');
    }
    fraction::<6>(out, u64::from(value.get().unsigned_abs()));
}

/// Writes `value` divided by 10 to the power of `DECIMALS`, with that many decimals.
fn fraction<const DECIMALS: usize>(out: &mut Vec<u8>, mut value: u64) {
    // The digits of the greatest number, and the point.
    let mut text = [b'0'; 21];
    let mut length = 0;
    for place in text.iter_mut().rev() {
        if length == DECIMALS {
            *place = b'.';
        } else {
            *place = decimal_digit(value);
            value /= 10;
        }
        length += 1;
        if value == 0 && length > DECIMALS + 1 {
            break;
        }
    }
    let (_, written) = text.split_at(text.len() - length);
    out.extend_from_slice(written);
}

fn decimal_digit(value: u64) -> u8 {
    // A remainder of ten always fits.
    b'0' + u8::try_from(value % 10).unwrap_or_default()
}
