//! The only unsafe code of this crate: librdkafka's C interface behind types that can't be misused.
//!
//! Owns every raw pointer. It must never decide anything about the protocol: which records count, where
//! a partition starts and what an error means is decided in safe code, in [`super`].

#![allow(unsafe_code, reason = "librdkafka is a C library; every block says why it is sound")]

mod batch;
mod callbacks;
mod client;
mod conf;
mod describe;
mod list;
mod queue;

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka_sys as sys;

use super::error::{KafkaError, KafkaErrorKind, kind_of};
use super::settings::ConsumerSettings;

pub(super) use batch::{Item, MessageRecords, Messages, Raised};
pub(super) use client::Client;
pub(super) use describe::TopicFacts;
pub(super) use queue::Queue;

/// Asks librdkafka whether it takes these settings, without starting anything.
///
/// # Errors
///
/// [`KafkaErrorKind::Config`]: as [`Client::new`].
pub(super) fn accepted(settings: &ConsumerSettings) -> Result<(), KafkaError> {
    conf::Conf::of(settings).map(drop)
}

/// Room for librdkafka's explanations.
const REASON_BYTES: usize = 512;

/// Copies a C string; a null pointer is empty.
///
/// # Safety
///
/// `text` is null or points to a string that ends with a zero byte and lives during the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null; the caller vouches for the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A zero byte inside a setting is a wrong setting. The value isn't repeated: it may be a secret.
fn c_string(value: &str) -> Result<CString, KafkaError> {
    CString::new(value)
        .map_err(|_| KafkaError::new(KafkaErrorKind::Config, "a setting contains a zero byte"))
}

/// An error code as a result; `doing` says what failed.
fn outcome(code: sys::rd_kafka_resp_err_t, doing: &str) -> Result<(), KafkaError> {
    let number = code as i32;
    if number == 0 {
        return Ok(());
    }
    // SAFETY: always a static string.
    let reason = unsafe { text(sys::rd_kafka_err2str(code)) };
    Err(KafkaError::new(kind_of(number), format!("{doing}: {reason}")))
}

/// Takes an error object over and frees it; null is success.
///
/// # Safety
///
/// `error` is null or an error object that nobody else frees.
unsafe fn taken(error: *mut sys::rd_kafka_error_t, doing: &str) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, and ours to read and to free once.
    unsafe {
        let number = sys::rd_kafka_error_code(error) as i32;
        let fatal = sys::rd_kafka_error_is_fatal(error) != 0;
        let reason = text(sys::rd_kafka_error_string(error));
        sys::rd_kafka_error_destroy(error);
        let kind = if fatal { KafkaErrorKind::Fatal } else { kind_of(number) };
        Err(KafkaError::new(kind, format!("{doing}: {reason}")))
    }
}

/// A time-out in whole milliseconds, as C wants it.
fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
