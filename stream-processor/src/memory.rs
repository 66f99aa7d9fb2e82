//! The allocator of every program that runs a job.
//!
//! A record's memory is taken by librdkafka's thread and freed by the reader's. glibc guards both with one lock for each
//! arena, and they waited for each other; mimalloc frees across threads without one. It replaces `malloc` for C as well
//! (measured in `docs/decisions/0011-where-a-records-time-goes.md`).
//!
//! Owns that choice for the processor, `streamforge` and the proof. No other library may make one: a program has only one
//! allocator. The emitter's program, which does without this crate, makes its own.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
