//! The names under which a commit leaves its facts, exactly-once protocol §2. They are forever.

/// Summary and property: the full position.
pub(super) const POSITION: &str = "streamforge.position";
/// Property: the sequence number of the snapshot that recorded the position.
pub(super) const SEQUENCE: &str = "streamforge.sequence";
/// Property: unnamed files stored before this time, in milliseconds since 1970, may be gone.
pub(super) const SWEPT: &str = "streamforge.swept";
/// Property: the field ids that the job writes. Other columns are someone else's.
pub(super) const COLUMNS: &str = "streamforge.columns";
/// Property: which other engine writes the table. It is there only while the table is lent.
pub(super) const LENT: &str = "streamforge.lent";
/// Summary: the attempt's id, by which a lost answer is recognised.
pub(super) const ATTEMPT: &str = "streamforge.attempt";
/// Summary: the offsets covered, half-open.
pub(super) const RANGES: &str = "streamforge.ranges";
/// Summary: records read, which is the sum of the next three.
pub(super) const READ: &str = "streamforge.read";
/// Summary: records written to this table.
pub(super) const WRITTEN: &str = "streamforge.written";
/// Summary: records that the job's filter left out.
pub(super) const FILTERED: &str = "streamforge.filtered";
/// Summary: records that were rejected with a reason.
pub(super) const REJECTED: &str = "streamforge.rejected";
/// Summary, as Flink's sink leaves it: the job that made the snapshot.
pub(super) const FLINK_JOB: &str = "flink.job-id";
