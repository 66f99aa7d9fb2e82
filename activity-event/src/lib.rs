//! The wire contract: one user activity, and the JSON object it becomes.
//!
//! `event` says what an activity is; `number` and `time` hold the values
//! whose text form is part of the contract; `json` writes bytes.
//!
//! This crate owns the field names, their order and their spelling. It knows
//! neither Kafka nor a table, reads no clock, and never parses: a reader that
//! shares code with the writer would agree with its mistakes.

mod event;
mod json;
mod number;
mod time;

pub use event::{ActivityEvent, ActivityType, Platform, field};
pub use number::{Cents, Microdegrees};
pub use time::EventTime;
