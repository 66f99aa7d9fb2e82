//! A running librdkafka client.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use lakehouse::ids::{Offset, PartitionId};
use rdkafka_sys as sys;
use tracing::warn;

use super::super::Rebalance;
use super::super::settings::ConsumerSettings;
use super::super::tracker::Change;
use super::callbacks::{Callbacks, positions};
use super::conf::{Conf, differs};
use super::list::List;
use super::{KafkaError, KafkaErrorKind, REASON_BYTES, c_string, millis, outcome, taken, text};

/// An owned `rd_kafka_t` that reads one topic. It is destroyed on a thread of its own, because that may
/// hang, and only after every queue and batch of it is gone.
pub(in super::super) struct Client {
    native: Native,
    topic: CString,
}

struct Native {
    rk: *mut sys::rd_kafka_t,
    callbacks: *mut Callbacks,
}

// SAFETY: librdkafka's client may be used from any thread at the same time, and `Callbacks` guards its
// state with a mutex.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Client {
    /// Starts a client; it connects by itself. Unless it `reads`, it knows the group and fetches nothing.
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Config`]: a property is unknown, refused, or forbidden.
    pub(in super::super) fn new(
        settings: &ConsumerSettings,
        topic: &str,
        handler: Box<dyn Rebalance>,
        reads: bool,
    ) -> Result<Arc<Self>, KafkaError> {
        let topic = c_string(topic)?;
        let conf = Conf::of(settings)?;
        let callbacks = Box::into_raw(Box::new(Callbacks::new(topic.clone(), handler, reads)));
        Callbacks::register(callbacks, &conf);
        let conf = conf.into_raw();
        let mut reason = [0 as c_char; REASON_BYTES];
        let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
        // SAFETY: a conf of ours, taken over on success, and a buffer of the length given.
        let rk = unsafe { sys::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len()) };
        if rk.is_null() {
            // SAFETY: a failed client leaves both to us; the reason ends with a zero byte.
            let reason = unsafe {
                drop(Conf::from_raw(conf));
                drop(Box::from_raw(callbacks));
                text(reason.as_ptr())
            };
            return Err(KafkaError::new(
                KafkaErrorKind::Config,
                format!("starting the client: {reason}"),
            ));
        }
        let client = Arc::new(Self { native: Native { rk, callbacks }, topic });
        client.verify(settings)?;
        // SAFETY: a valid client. Errors and commit results now arrive on the consumer's queue.
        outcome(unsafe { sys::rd_kafka_poll_set_consumer(rk) }, "joining the queues")?;
        Ok(client)
    }

    /// Reads the running client's properties back.
    fn verify(&self, settings: &ConsumerSettings) -> Result<(), KafkaError> {
        // SAFETY: a valid client, whose conf nobody changes.
        let wrong = unsafe { differs(sys::rd_kafka_conf(self.rk()), &settings.protected()) }?;
        wrong.map_or(Ok(()), |key| {
            let message = format!("property `{key}` is not in force in the running client");
            Err(KafkaError::new(KafkaErrorKind::Bug, message))
        })
    }

    pub(super) fn rk(&self) -> *mut sys::rd_kafka_t {
        self.native.rk
    }

    pub(super) fn topic(&self) -> &CString {
        &self.topic
    }

    fn callbacks(&self) -> &Callbacks {
        // SAFETY: the box is freed after the client.
        unsafe { &*self.native.callbacks }
    }

    /// Adds to a passing fault what librdkafka complained about last: its own answer is a mere time-out.
    pub(in super::super) fn with_trouble(&self, error: KafkaError) -> KafkaError {
        match (error.kind(), self.callbacks().trouble()) {
            (KafkaErrorKind::Retry, Some(trouble)) => {
                KafkaError::new(KafkaErrorKind::Retry, format!("{error} ({trouble})"))
            }
            _ => error,
        }
    }

    /// What rebalances did since the last call.
    pub(in super::super) fn take_changes(&self) -> Vec<Change> {
        self.callbacks().take_changes()
    }

    /// Joins the group.
    pub(in super::super) fn subscribe(&self) -> Result<(), KafkaError> {
        let list = List::of(&self.topic, [PartitionId::new(-1)]);
        // SAFETY: a valid client and a list of ours, which is copied.
        outcome(unsafe { sys::rd_kafka_subscribe(self.rk(), list.as_ptr()) }, "subscribing")
    }

    /// Gives everything back and joins the group again, as a new member does.
    pub(in super::super) fn rejoin(&self) -> Result<(), KafkaError> {
        // SAFETY: a valid client. librdkafka keeps the subscription that follows until all is given back.
        outcome(unsafe { sys::rd_kafka_unsubscribe(self.rk()) }, "leaving the group")?;
        self.subscribe()
    }

    /// Reads these partitions, and no others, without a group.
    pub(in super::super) fn assign(
        &self,
        starts: &BTreeMap<PartitionId, Offset>,
    ) -> Result<(), KafkaError> {
        if self.callbacks().reads() {
            self.read_only(starts)?;
        }
        self.callbacks().assigned_by_hand(starts.clone());
        Ok(())
    }

    fn read_only(&self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), KafkaError> {
        let list = List::with_offsets(&self.topic, starts);
        // SAFETY: a valid client and a list of ours, which is copied.
        outcome(unsafe { sys::rd_kafka_assign(self.rk(), list.as_ptr()) }, "assigning partitions")
    }

    /// Makes librdkafka read what another has read until now, from these offsets on.
    pub(in super::super) fn read_on(
        &self,
        starts: &BTreeMap<PartitionId, Offset>,
        in_group: bool,
    ) -> Result<(), KafkaError> {
        self.callbacks().read_on();
        if !in_group {
            return self.read_only(starts);
        }
        let list = List::with_offsets(&self.topic, starts);
        // SAFETY: a valid client and a list of ours, which is copied.
        let error = unsafe { sys::rd_kafka_incremental_assign(self.rk(), list.as_ptr()) };
        // SAFETY: returned to us.
        unsafe { taken(error, "taking over partitions") }
    }

    /// librdkafka's position of each partition, where it has one.
    pub(in super::super) fn position(
        &self,
        partitions: &[PartitionId],
    ) -> Result<BTreeMap<PartitionId, Offset>, KafkaError> {
        // SAFETY: a valid client.
        unsafe { positions(self.rk(), &self.topic, partitions.iter().copied()) }
    }

    /// Sends fetchers elsewhere; returns those that went. What they fetched before is never delivered.
    pub(in super::super) fn seek(
        &self,
        targets: &BTreeMap<PartitionId, Offset>,
        timeout: Duration,
    ) -> Result<Vec<PartitionId>, KafkaError> {
        let list = List::with_offsets(&self.topic, targets);
        // SAFETY: a valid client and a list of ours, which is filled in.
        let error =
            unsafe { sys::rd_kafka_seek_partitions(self.rk(), list.as_ptr(), millis(timeout)) };
        // SAFETY: returned to us.
        unsafe { taken(error, "seeking") }?;
        let arrived = list.entries().into_iter().filter(|entry| entry.error == 0);
        Ok(arrived.map(|entry| entry.partition).collect())
    }

    /// Stops fetching.
    pub(in super::super) fn pause(&self, partitions: &[PartitionId]) -> Result<(), KafkaError> {
        let list = List::of(&self.topic, partitions.iter().copied());
        // SAFETY: a valid client and a list of ours.
        outcome(unsafe { sys::rd_kafka_pause_partitions(self.rk(), list.as_ptr()) }, "pausing")
    }

    /// Fetches again.
    pub(in super::super) fn resume(&self, partitions: &[PartitionId]) -> Result<(), KafkaError> {
        let list = List::of(&self.topic, partitions.iter().copied());
        // SAFETY: a valid client and a list of ours.
        outcome(unsafe { sys::rd_kafka_resume_partitions(self.rk(), list.as_ptr()) }, "resuming")
    }

    /// Sends group offsets; the result is logged.
    pub(in super::super) fn commit(
        &self,
        offsets: &BTreeMap<PartitionId, Offset>,
    ) -> Result<(), KafkaError> {
        let list = List::with_offsets(&self.topic, offsets);
        // SAFETY: a valid client and a list of ours, which is copied.
        outcome(
            unsafe { sys::rd_kafka_commit(self.rk(), list.as_ptr(), 1) },
            "committing group offsets",
        )
    }

    /// Whether librdkafka gave up because the group refused a commit as one of a rival of the member with this client's
    /// instance id.
    pub(in super::super) fn is_commit_fenced(&self) -> bool {
        let mut reason = [0 as c_char; REASON_BYTES];
        // SAFETY: a valid client and a buffer of the length given.
        let code =
            unsafe { sys::rd_kafka_fatal_error(self.rk(), reason.as_mut_ptr(), reason.len()) };
        // SAFETY: the reason ends with a zero byte.
        let of_commit = || unsafe { text(reason.as_ptr()) }.starts_with("OffsetCommit");
        code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID && of_commit()
    }

    /// Who this client is in the group: empty when it is nobody yet, or has lost its place.
    pub(in super::super) fn member(&self) -> String {
        // SAFETY: a valid client; the text is null or ours to free.
        unsafe {
            let id = sys::rd_kafka_memberid(self.rk());
            let member = text(id);
            if !id.is_null() {
                sys::rd_kafka_mem_free(self.rk(), id.cast());
            }
            member
        }
    }

    /// Tells the rebalance handler that what it still holds is lost, and hands it back. This client must not be polled
    /// any more.
    pub(in super::super) fn retire(&self) -> Box<dyn Rebalance> {
        self.callbacks().retire()
    }

    /// Asks the partition's leader for its first and its next offset.
    pub(in super::super) fn query_watermarks(
        &self,
        partition: PartitionId,
        timeout: Duration,
    ) -> Result<(Offset, Offset), KafkaError> {
        let (mut low, mut high) = (0, 0);
        let (topic, number) = (self.topic.as_ptr(), partition.get());
        // SAFETY: a valid client, a C string, and two places to write to.
        let code = unsafe {
            let (low, high) = (&raw mut low, &raw mut high);
            sys::rd_kafka_query_watermark_offsets(
                self.rk(),
                topic,
                number,
                low,
                high,
                millis(timeout),
            )
        };
        outcome(code, "asking for watermarks")?;
        Ok((Offset::new(low), Offset::new(high)))
    }

    /// What the last fetch said; `None` before the first one.
    pub(in super::super) fn cached_watermarks(
        &self,
        partition: PartitionId,
    ) -> Option<(Offset, Offset)> {
        let (mut low, mut high) = (-1, -1);
        let (topic, number) = (self.topic.as_ptr(), partition.get());
        // SAFETY: a valid client, a C string, and two places to write to.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.rk(),
                topic,
                number,
                &raw mut low,
                &raw mut high,
            )
        };
        (code as i32 == 0 && high >= 0).then(|| (Offset::new(low.max(0)), Offset::new(high)))
    }

    /// Destroys the client and waits for it; `false` when the deadline passed first.
    pub(in super::super) fn destroy(mut self, deadline: Duration) -> bool {
        let done = self.native.destroy();
        done.is_some_and(|done| done.recv_timeout(deadline).is_ok())
    }
}

impl Native {
    /// Starts the destruction; the receiver hears when it is done.
    fn destroy(&mut self) -> Option<mpsc::Receiver<()>> {
        let rk = std::mem::replace(&mut self.rk, ptr::null_mut());
        if rk.is_null() {
            return None;
        }
        let doomed = Self { rk, callbacks: self.callbacks };
        let (done, heard) = mpsc::sync_channel(1);
        let thread =
            std::thread::Builder::new().name("kafka-destroy".to_owned()).spawn(move || {
                let mut doomed = doomed;
                doomed.free();
                // Nobody listens when the client was dropped.
                let _ = done.send(());
            });
        match thread {
            Ok(_) => Some(heard),
            Err(error) => {
                warn!(%error, "no thread to stop the Kafka client on; it is left to the end of the process");
                None
            }
        }
    }

    /// Blocks until librdkafka's threads are gone.
    fn free(&mut self) {
        let rk = std::mem::replace(&mut self.rk, ptr::null_mut());
        // SAFETY: ours, destroyed once, with no queue or batch left. Without a close no callback runs, and
        // the callbacks' box is freed after the last thread that could.
        unsafe {
            sys::rd_kafka_destroy_flags(rk, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
            drop(Box::from_raw(self.callbacks));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.native.destroy();
    }
}
