//! Faults on the wire, between a processor and the real servers.
//!
//! Owns what happens to a request, an answer or a connection, and the count of it. What is not named by a rule
//! is passed on byte for byte, so that signatures hold. It must never count a fault before it was carried out,
//! and never say of a request that it was applied unless the server answered so.
//!
//! In the order of one request: `door` → `message` → `plan` → `fault` → `http`; `kafka` is for Kafka's frames.

mod door;
mod fault;
mod fetch;
mod http;
mod kafka;
mod late;
mod message;
mod plan;

#[cfg(test)]
mod tests;

pub(crate) use fault::{Fault, Until};
pub(crate) use http::{Flavour, HttpProxy};
pub(crate) use kafka::{KafkaProxy, Weather};
pub(crate) use plan::{Rule, Seen, Which};
