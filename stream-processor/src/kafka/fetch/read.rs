//! What a broker's answer means for one partition.
//!
//! Owns which of a broker's refusals are passing and which are told. Pure.

use lakehouse::ids::{Offset, PartitionId};

use super::super::error::{KafkaError, KafkaErrorKind, kind_at};
use super::Span;
use super::batches::{self, Damage};
use super::desk::Turn;
use super::fetched::Buffers;
use super::wire::{Ask, Part};

/// Numbers that brokers answer with.
pub(super) const NO_ERROR: i16 = 0;
const OUT_OF_RANGE: i16 = 1;
const DAMAGED: i16 = 2;
pub(super) const NOT_AUTHORIZED: i16 = 29;

/// What was read of one partition.
pub(super) struct Read {
    pub(super) span: Span,
    pub(super) epoch: Option<i32>,
    /// Whether anything is behind the offset asked for.
    pub(super) moved: bool,
    /// Another broker may lead, or this one is not ready.
    pub(super) retry: bool,
    pub(super) marks: Option<(i64, i64)>,
}

impl Read {
    pub(super) fn of(part: &Part, ask: &Ask, turn: Turn, buffers: &mut Buffers) -> Self {
        let (partition, wanted) = (PartitionId::new(part.partition), Offset::new(ask.offset));
        let at = buffers.entries.len();
        let mut read = Self {
            span: Span { partition, turn, entries: at..at, next: wanted, fault: None },
            epoch: None,
            moved: false,
            retry: false,
            marks: None,
        };
        let fault = |kind, what: &dyn std::fmt::Display| {
            Some(KafkaError::new(kind, format!("partition {partition}, offset {wanted}: {what}")))
        };
        if part.error != NO_ERROR {
            let kind = kind_at(part.error.into(), partition, wanted);
            match kind {
                // Its leader has moved, or does not know it yet.
                KafkaErrorKind::Retry | KafkaErrorKind::UnknownTopic => read.retry = true,
                kind => read.span.fault = fault(kind, &reason(part.error)),
            }
            return read;
        }
        read.marks = Some((part.low, if part.stable < 0 { part.high } else { part.stable }));
        if let Some(end) = part.cut {
            let kind = KafkaErrorKind::OffsetOutOfRange { partition, offset: wanted };
            read.span.fault = fault(
                kind,
                &format_args!("the log was cut: what was read last is gone from offset {end} on"),
            );
            return read;
        }
        let reached = batches::read(&mut buffers.bytes, part, ask, &mut buffers.entries);
        let next = Offset::new(reached.next);
        read.span.entries = at..buffers.entries.len();
        (read.span.next, read.epoch, read.moved) = (next, reached.epoch, next != wanted);
        read.span.fault = reached.damage.map(|damage| corrupt(partition, next, &damage));
        read
    }
}

fn corrupt(partition: PartitionId, offset: Offset, damage: &Damage) -> KafkaError {
    let kind = KafkaErrorKind::Corrupt { partition, offset };
    KafkaError::new(kind, format!("partition {partition}, offset {offset}: {damage}"))
}

/// What a broker's error number says.
fn reason(error: i16) -> String {
    match error {
        OUT_OF_RANGE => "the broker does not hold it".to_owned(),
        DAMAGED => "the broker finds its record batch damaged".to_owned(),
        NOT_AUTHORIZED => "not allowed to read it".to_owned(),
        _ => format!("the broker refuses it (error {error})"),
    }
}
