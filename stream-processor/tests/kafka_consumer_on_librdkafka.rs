//! The tests of the Kafka consumer once more, with librdkafka fetching.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

#[path = "kafka_consumer/main.rs"]
mod kafka_consumer;
