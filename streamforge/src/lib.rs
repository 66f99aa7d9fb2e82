//! The command for people: run the whole job in one process, ask its tables, prove what they hold.

pub mod demo;
pub mod query;
pub mod verify;

mod job_text;
mod show;
