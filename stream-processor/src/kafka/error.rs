//! What can go wrong between this process and Kafka, sorted by what the caller must do.

use std::fmt;

use lakehouse::ids::{Offset, PartitionId};
use rdkafka_sys::rd_kafka_resp_err_t as Code;

/// What the caller does about a [`KafkaError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaErrorKind {
    /// A passing fault. The client keeps trying by itself: poll again.
    Retry,
    /// The broker doesn't hold `offset` of `partition`: trimmed by retention, or truncated. Nothing of
    /// this partition is delivered any more; an operator must decide.
    OffsetOutOfRange {
        /// The partition that can't be read on.
        partition: PartitionId,
        /// The first offset that is missing.
        offset: Offset,
    },
    /// Bytes behind `offset` of `partition` failed their checksum or can't be decompressed. Every poll
    /// reads them again, so corruption on the wire heals; the same error for minutes is corruption on disk.
    ///
    /// librdkafka 2.12.1 may also abort the process on a checksum error (confluent-kafka-python#689: it
    /// goes on parsing at the wrong place). Nothing was committed then, and a restart reads again.
    Corrupt {
        /// The partition that can't be read on.
        partition: PartitionId,
        /// The first offset that was not delivered.
        offset: Offset,
    },
    /// The topic, or a partition of it, does not exist.
    UnknownTopic,
    /// A setting, a credential or a permission is wrong.
    Config,
    /// This client can't go on: another process took its instance id, or librdkafka gave up.
    Fatal,
    /// A programmer's mistake.
    Bug,
}

/// One failure: what was being done, librdkafka's word for it, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaError {
    kind: KafkaErrorKind,
    message: String,
}

impl KafkaError {
    /// An error of `kind`; `message` is in lower case and without a full stop.
    pub(crate) fn new(kind: KafkaErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What to do about it.
    pub fn kind(&self) -> KafkaErrorKind {
        self.kind
    }

    /// Of two errors met together, the one the caller must not miss.
    pub(super) fn or_worse(self, other: Self) -> Self {
        if self.kind == KafkaErrorKind::Retry { other } else { self }
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KafkaError {}

/// Whether librdkafka's number is `code`. Brokers newer than this build may send numbers that the
/// generated enum lacks, so numbers are compared and the enum is never made from one.
fn is(number: i32, codes: &[Code]) -> bool {
    codes.iter().any(|code| *code as i32 == number)
}

/// What an error number means when no partition is named.
pub(super) fn kind_of(number: i32) -> KafkaErrorKind {
    use Code::{
        RD_KAFKA_RESP_ERR__AUTHENTICATION as AUTHENTICATION, RD_KAFKA_RESP_ERR__FATAL as FATAL,
        RD_KAFKA_RESP_ERR__FENCED as FENCED, RD_KAFKA_RESP_ERR__INVALID_ARG as INVALID_ARG,
        RD_KAFKA_RESP_ERR__SSL as SSL, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as NO_PARTITION,
        RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC as NO_TOPIC,
        RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE as UNSUPPORTED_FEATURE,
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED as CLUSTER_DENIED,
        RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID as FENCED_INSTANCE,
        RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED as GROUP_DENIED,
        RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL as OTHER_STRATEGY,
        RD_KAFKA_RESP_ERR_INVALID_GROUP_ID as GROUP_ID,
        RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT as SESSION_TIMEOUT,
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE,
        RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED as SASL,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as TOPIC_DENIED,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID as NO_TOPIC_ID,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as NO_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM as SASL_MECHANISM,
    };
    if is(number, &[FATAL, FENCED, FENCED_INSTANCE]) {
        KafkaErrorKind::Fatal
    } else if is(number, &[NO_TOPIC, NO_PARTITION, NO_TOPIC_OR_PART, NO_TOPIC_ID]) {
        KafkaErrorKind::UnknownTopic
    } else if is(
        number,
        &[
            AUTHENTICATION,
            SSL,
            SASL,
            SASL_MECHANISM,
            TOPIC_DENIED,
            GROUP_DENIED,
            CLUSTER_DENIED,
            GROUP_ID,
            SESSION_TIMEOUT,
            OTHER_STRATEGY,
            TOO_LARGE,
            UNSUPPORTED_FEATURE,
            INVALID_ARG,
        ],
    ) {
        KafkaErrorKind::Config
    } else {
        KafkaErrorKind::Retry
    }
}

/// Records that no response of a broker holds.
const FAR: i64 = 1 << 40;

/// Whether librdkafka asked for `fetched`, which the broker does not have, while the next record is at `offset`.
///
/// After a checksum error librdkafka (2.12.1, `rd_kafka_buf_skip_to` with a length) reads on inside the damaged
/// bytes, and may take some of them for the next offset. That the broker has nothing there says nothing of the
/// topic, but the partition's fetcher is dead, and no seek wakes it: only another client reads on. The same when they
/// are taken for a record batch at once: librdkafka goes on behind the offset that it read there.
pub(super) fn is_astray(number: i32, offset: Offset, fetched: Offset) -> bool {
    use Code::{
        RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as RESET, RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED as MAGIC,
        RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE as OUT_OF_RANGE,
    };
    let ahead = fetched.get().saturating_sub(offset.get());
    is(number, &[RESET, OUT_OF_RANGE]) && ahead > 0 || is(number, &[MAGIC]) && ahead > FAR
}

/// What an error number means when it was raised at `offset` of `partition`.
pub(super) fn kind_at(number: i32, partition: PartitionId, offset: Offset) -> KafkaErrorKind {
    use Code::{
        RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as RESET,
        RD_KAFKA_RESP_ERR__BAD_COMPRESSION as COMPRESSION, RD_KAFKA_RESP_ERR__BAD_MSG as BAD_MSG,
        RD_KAFKA_RESP_ERR__LOG_TRUNCATION as TRUNCATED,
        RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED as MAGIC, RD_KAFKA_RESP_ERR_INVALID_MSG as INVALID_MSG,
        RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE as OUT_OF_RANGE,
    };
    if is(number, &[RESET, TRUNCATED, OUT_OF_RANGE]) {
        KafkaErrorKind::OffsetOutOfRange { partition, offset }
    } else if is(number, &[BAD_MSG, COMPRESSION, MAGIC, INVALID_MSG]) {
        KafkaErrorKind::Corrupt { partition, offset }
    } else {
        kind_of(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: i32, expected: KafkaErrorKind) {
        assert_eq!(kind_at(number, PartitionId::new(3), Offset::new(70)), expected);
    }

    #[test]
    fn error_numbers_become_what_the_caller_does() {
        let (partition, offset) = (PartitionId::new(3), Offset::new(70));
        check(-140, KafkaErrorKind::OffsetOutOfRange { partition, offset });
        check(1, KafkaErrorKind::OffsetOutOfRange { partition, offset });
        check(-199, KafkaErrorKind::Corrupt { partition, offset });
        check(-198, KafkaErrorKind::Corrupt { partition, offset });
        check(3, KafkaErrorKind::UnknownTopic);
        check(-150, KafkaErrorKind::Fatal);
        check(82, KafkaErrorKind::Fatal);
        check(29, KafkaErrorKind::Config);
        check(-195, KafkaErrorKind::Retry);
    }

    #[test]
    fn an_offset_that_damaged_bytes_made_up_is_not_the_topics() {
        let is_astray = |number, fetched| is_astray(number, Offset::new(70), Offset::new(fetched));
        assert!(is_astray(-140, 0x2c22_6375_7374_6f6e));
        assert!(is_astray(1, 71));
        assert!(is_astray(-170, 8_387_513_893_272_042_018));
        assert!(!is_astray(-170, 90), "a damaged batch of the same response");
        assert!(!is_astray(-140, 70), "the place itself is gone");
        assert!(!is_astray(-140, -1001), "librdkafka names no place");
        assert!(!is_astray(-139, 71), "the log was truncated");
    }

    #[test]
    fn a_number_from_a_newer_broker_is_retried() {
        check(30_000, KafkaErrorKind::Retry);
    }

    #[test]
    fn the_error_that_must_not_be_missed_wins() {
        let retry = KafkaError::new(KafkaErrorKind::Retry, "a");
        let fatal = KafkaError::new(KafkaErrorKind::Fatal, "b");
        assert_eq!(retry.clone().or_worse(fatal.clone()), fatal);
        assert_eq!(fatal.clone().or_worse(retry), fatal);
    }
}
