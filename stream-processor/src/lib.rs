//! Kafka → SQL → Avro → Iceberg, exactly once.
//!
//! Data flows through the modules in this order:
//! `job` (SQL → plan) → `kafka` → `decode` (bytes → Arrow columns or a `Reject`) → `transform` (filter,
//! project) → `pipeline` (what belongs to which commit) → `sink` (Avro files → object store → fenced
//! commit) → `status`. `shell` runs them on threads; `run` wires it all.
//!
//! `job`, `decode`, `transform`, `pipeline` and `preflight` are pure: no await, no clock, no environment.

pub mod config;
pub mod job;
pub mod kafka;

pub mod decode;
pub mod transform;

pub mod pipeline;
pub mod preflight;

pub mod sink;
pub mod status;

pub mod process;
pub mod runtime;
pub mod telemetry;

mod memory;
mod patience;
mod run;
mod shell;
mod start;

pub use run::run;
