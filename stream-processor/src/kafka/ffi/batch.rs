//! Fetched records, owned and read in place.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use lakehouse::ids::{Offset, PartitionId};
use rdkafka_sys as sys;

use super::super::batch::Record;
use super::client::Client;
use super::text;

/// Records taken off a queue. They stay where librdkafka put them.
///
/// Freeing costs 0.10–0.17 s per million records, on whichever thread drops them.
pub(in super::super) struct Messages {
    messages: Vec<NonNull<sys::rd_kafka_message_t>>,
    /// librdkafka waits for its records when it is destroyed, so they keep it alive.
    _client: Arc<Client>,
}

// SAFETY: a message belongs to whoever took it off the queue; librdkafka neither reads nor changes it
// afterwards, and its destructor may run on any thread.
unsafe impl Send for Messages {}
// SAFETY: a shared batch only reads plain fields and bytes that nobody changes.
unsafe impl Sync for Messages {}

/// What librdkafka hands out: a record's place, or an error.
pub(in super::super) enum Item {
    Record(PartitionId, Offset),
    Raised(Raised),
}

/// An error event that came in place of a record.
pub(in super::super) struct Raised {
    pub(in super::super) number: i32,
    /// `None` when the error is the client's or the topic's.
    pub(in super::super) partition: Option<PartitionId>,
    /// Where librdkafka stood, which need not be a place that exists.
    pub(in super::super) offset: Offset,
    pub(in super::super) reason: String,
}

impl Messages {
    /// # Safety
    ///
    /// `messages` came from a queue of `client` and belong to nobody else.
    pub(super) unsafe fn new(
        messages: Vec<NonNull<sys::rd_kafka_message_t>>,
        client: Arc<Client>,
    ) -> Self {
        Self { messages, _client: client }
    }

    pub(in super::super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(in super::super) fn records(&self) -> MessageRecords<'_> {
        MessageRecords(self.messages.iter())
    }

    /// Frees everything that `keep` turns down; it is asked in the order of delivery.
    pub(in super::super) fn retain(&mut self, mut keep: impl FnMut(Item) -> bool) {
        self.messages.retain(|message| {
            // SAFETY: the message is ours until it is destroyed.
            let kept = unsafe { item(*message) };
            let kept = keep(kept);
            if !kept {
                // SAFETY: ours; it leaves the vector with this call, so it is freed once.
                unsafe { sys::rd_kafka_message_destroy(message.as_ptr()) }
            }
            kept
        });
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for message in &self.messages {
            // SAFETY: ours, and freed once.
            unsafe { sys::rd_kafka_message_destroy(message.as_ptr()) }
        }
    }
}

/// The records of [`Messages`].
pub(in super::super) struct MessageRecords<'a>(slice::Iter<'a, NonNull<sys::rd_kafka_message_t>>);

impl<'a> Iterator for MessageRecords<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        // SAFETY: the batch owns the message and outlives `'a`.
        self.0.next().map(|message| unsafe { record(*message) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// # Safety
///
/// `message` is valid for `'a`.
unsafe fn record<'a>(message: NonNull<sys::rd_kafka_message_t>) -> Record<'a> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: a valid message.
    let (timestamp, partition, offset, payload) = unsafe {
        let timestamp = sys::rd_kafka_message_timestamp(message.as_ptr(), &raw mut kind);
        let fields = &raw const *message.as_ptr();
        let payload = bytes((*fields).payload, (*fields).len);
        (timestamp, (*fields).partition, (*fields).offset, payload)
    };
    Record {
        partition: PartitionId::new(partition),
        offset: Offset::new(offset),
        timestamp_ms: (timestamp >= 0).then_some(timestamp),
        payload,
    }
}

/// # Safety
///
/// `start` is null, or `length` bytes there are valid and unchanged for `'a`.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: not null then, and the caller vouches for the rest.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}

/// # Safety
///
/// `message` is valid.
unsafe fn item(message: NonNull<sys::rd_kafka_message_t>) -> Item {
    let fields = message.as_ptr();
    // SAFETY: a valid message. The error is read as a number, because a broker may send one that the
    // generated enum lacks, and such a value must never become the enum.
    unsafe {
        let number = (&raw const (*fields).err).cast::<i32>().read();
        if number == 0 {
            return Item::Record(
                PartitionId::new((*fields).partition),
                Offset::new((*fields).offset),
            );
        }
        Item::Raised(Raised {
            number,
            // Without a topic the partition is a left-over zero.
            partition: (!(*fields).rkt.is_null()).then(|| PartitionId::new((*fields).partition)),
            offset: Offset::new((*fields).offset),
            reason: text(sys::rd_kafka_message_errstr(fields)),
        })
    }
}
