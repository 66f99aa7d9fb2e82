//! Kafka → SQL → Avro → Iceberg, exactly once.
//!
//! Data flows through the modules in this order:
//! `job` (SQL → plan) → `kafka` → `decode` (bytes → Arrow columns or a `Reject`) → `transform` (filter,
//! project) → `batch` and `pipeline` (what belongs to which commit) → `sink` (Avro files → object store →
//! fenced commit) → `status`.

pub mod decode;
pub mod job;
pub mod kafka;
pub mod transform;
