//! The command for people: run the whole job in one process, make a platform ready, ask its tables, prove what
//! they hold, hand them to Flink and back.

pub mod demo;
pub mod handover;
pub mod provision;
pub mod query;
pub mod tables;
pub mod tidy;
pub mod verify;

mod group;
mod job_text;
mod patience;
mod show;
