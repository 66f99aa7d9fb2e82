//! The command for people: run the whole job in one process, make a platform ready, ask its tables, prove what
//! they hold.

pub mod demo;
pub mod provision;
pub mod query;
pub mod verify;

mod group;
mod job_text;
mod patience;
mod show;
