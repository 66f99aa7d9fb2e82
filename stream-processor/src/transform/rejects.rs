//! Rejects → rows of `rejected_events`.

use std::sync::Arc;

use arrow::array::{
    BinaryBuilder, Int32Array, Int64Array, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use lakehouse::spec::UTC;

use crate::decode::Reject;
use crate::job;

const MICROS_PER_MILLI: i64 = 1000;

/// The rows of `rejected_events`, in the schema of [`Job::rejects_spec`](crate::job::Job::rejects_spec).
pub fn rejects_batch(topic: &str, rejects: &[Reject]) -> RecordBatch {
    let micros =
        |reject: &Reject| reject.timestamp_ms.and_then(|ms| ms.checked_mul(MICROS_PER_MILLI));
    let mut details = StringBuilder::new();
    let mut payloads = BinaryBuilder::new();
    for reject in rejects {
        details.append_value(&reject.detail);
        payloads.append_option(reject.payload.as_deref());
    }
    let topics = StringArray::from_iter_values(rejects.iter().map(|_| topic));
    let partitions = Int32Array::from_iter_values(rejects.iter().map(|r| r.partition.get()));
    let offsets = Int64Array::from_iter_values(rejects.iter().map(|r| r.offset.get()));
    let times: TimestampMicrosecondArray = rejects.iter().map(micros).collect();
    let reasons = StringArray::from_iter_values(rejects.iter().map(|r| r.reason.as_str()));
    RecordBatch::try_new(
        job::rejects_table("").arrow_schema(),
        vec![
            Arc::new(topics),
            Arc::new(partitions),
            Arc::new(offsets),
            Arc::new(times.with_timezone(UTC)),
            Arc::new(reasons),
            Arc::new(details.finish()),
            Arc::new(payloads.finish()),
        ],
    )
    .unwrap_or_else(|err| unreachable!("the columns are those of rejects_spec: {err}"))
}
