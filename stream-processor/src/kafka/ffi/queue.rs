//! Where a client's records, rebalances and errors arrive.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;

use super::batch::Messages;
use super::client::Client;
use super::{KafkaError, KafkaErrorKind, millis, taken};

/// A queue of a client; it keeps the client alive.
pub(in super::super) struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    client: Arc<Client>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Where records, rebalances and errors arrive.
    pub(in super::super) fn consumer(client: &Arc<Client>) -> Result<Self, KafkaError> {
        // SAFETY: a valid client.
        Self::of(client, unsafe { sys::rd_kafka_queue_get_consumer(client.rk()) })
    }

    /// A queue of its own.
    pub(in super::super) fn new(client: &Arc<Client>) -> Result<Self, KafkaError> {
        // SAFETY: a valid client.
        Self::of(client, unsafe { sys::rd_kafka_queue_new(client.rk()) })
    }

    fn of(client: &Arc<Client>, queue: *mut sys::rd_kafka_queue_t) -> Result<Self, KafkaError> {
        NonNull::new(queue)
            .map(|queue| Self { queue, client: Arc::clone(client) })
            .ok_or_else(|| KafkaError::new(KafkaErrorKind::Bug, "the client has no such queue"))
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Waits up to `timeout` for something to arrive, then takes what is there, up to `max`.
    ///
    /// Two calls, because one would wait for a full batch or the whole time-out. Callbacks run inside.
    pub(in super::super) fn consume(&self, max: usize, timeout: Duration) -> Messages {
        let mut messages = Vec::with_capacity(max);
        self.take(&mut messages, max.min(1), timeout);
        if !messages.is_empty() {
            self.take(&mut messages, max - 1, Duration::ZERO);
        }
        // SAFETY: just taken off a queue of this client.
        unsafe { Messages::new(messages, Arc::clone(&self.client)) }
    }

    fn take(
        &self,
        messages: &mut Vec<NonNull<sys::rd_kafka_message_t>>,
        max: usize,
        timeout: Duration,
    ) {
        if max == 0 {
            return;
        }
        messages.reserve(max);
        // SAFETY: a valid queue, and room for `max` pointers behind the vector's length; librdkafka writes
        // as many as it returns, none of them null.
        unsafe {
            let room = messages.as_mut_ptr().add(messages.len()).cast();
            let taken =
                sys::rd_kafka_consume_batch_queue(self.as_ptr(), millis(timeout), room, max);
            messages.set_len(messages.len() + usize::try_from(taken).unwrap_or(0));
        }
    }

    /// Leaves the group; rebalances of the farewell arrive on this queue.
    pub(in super::super) fn close_consumer(&self) -> Result<(), KafkaError> {
        // SAFETY: a valid client and queue; the error is returned to us.
        unsafe {
            taken(sys::rd_kafka_consumer_close_queue(self.client.rk(), self.as_ptr()), "closing")
        }
    }

    /// Whether the group was left.
    pub(in super::super) fn is_closed(&self) -> bool {
        // SAFETY: a valid client.
        unsafe { sys::rd_kafka_consumer_closed(self.client.rk()) != 0 }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once; the client is still alive.
        unsafe { sys::rd_kafka_queue_destroy(self.as_ptr()) }
    }
}
