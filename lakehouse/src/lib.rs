//! Iceberg tables whose data files are Avro, committed exactly once.
//!
//! Rows come in as Arrow batches and leave as snapshots, in the order of these modules:
//! `spec` (what the table must look like) → `avro` (columns → blocks) → `datafile` (blocks → file and
//! metrics) → `storage` (file → object store) → `position` (may this be committed?) → `catalog` and
//! `commit` (one fenced compare-and-swap, its manifests folded by `manifest`) → `scan` (the way back: snapshot → Arrow). `janitor` stands beside them and
//! deletes what nobody names.
//!
//! This crate knows no Kafka client. Offsets and partitions are numbers to it, and Iceberg's own types
//! stay inside.

pub mod ids;
pub mod spec;

pub mod avro;
pub mod datafile;
pub mod storage;

pub mod position;

pub mod catalog;
pub mod commit;
mod manifest;

pub mod scan;

pub mod janitor;

pub mod faults;
#[cfg(feature = "faults")]
pub mod simulated;

mod error;

pub use error::{Error, Kind, Result};
