//! Synthetic shoppers whose activity goes to Kafka.
//!
//! In the order in which data flows:
//! `settings` → `dice` → `shop` → `session` → `fault` → `generator` → `placement`
//! → `rate` → `pace` → `ledger` → `properties` (all of them pure) → `producer` → `emitter` → `outcome`.
//!
//! [`Generator`] is a pure function of its [`GeneratorSettings`]: the same
//! settings give the same bytes on every machine, so whoever knows them can say
//! what stands at any offset ([`Generator::partitioned`]). [`emit`] publishes
//! that stream and accounts for every record of it.
//!
//! This crate never reads from Kafka, never checks what becomes of a record
//! after its acknowledgement, and reads the time of day only in `main`.

mod settings;

mod dice;

mod shop;

mod session;

mod fault;

mod generator;

mod placement;

mod rate;

mod pace;

mod ledger;

mod properties;

mod producer;

mod emitter;

mod outcome;

pub use emitter::{EmitterSettings, emit};
pub use fault::Fault;
pub use generator::{Emission, Generator, Tally};
pub use ledger::{Misplaced, PartitionSummary};
pub use outcome::{EmitError, Progress, Summary};
pub use pace::{NextRecord, Pace, Unlimited};
pub use placement::{Partitioned, Placed, partition_of};
pub use producer::{Compression, CompressionError};
pub use properties::{Properties, PropertyError};
pub use rate::{Rate, RateError};
pub use settings::{Fraction, FractionError, GeneratorSettings};
