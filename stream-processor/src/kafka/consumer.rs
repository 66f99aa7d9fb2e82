//! The polling side: one thread, one topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lakehouse::faults::{Bug, made};
use lakehouse::ids::{Offset, PartitionId};
use tracing::{debug, info, warn};

use super::Rebalance;
use super::batch::Batch;
use super::error::{KafkaError, KafkaErrorKind, is_astray, kind_at, kind_of};
use super::fetch::{Fetcher, Taken};
use super::ffi::{Client, Item, Messages, Queue, Raised};
use super::probe::{Probe, SourceIdentity, Watermarks};
use super::settings::ConsumerSettings;
use super::tracker::{Change, Tracker};

/// Sending fetchers elsewhere is a matter of librdkafka's own threads; a second is forever.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a poll rests that can only repeat an error.
const FAULT_PAUSE: Duration = Duration::from_millis(10);
/// How often a close looks whether it is done.
const CLOSE_TICK: Duration = Duration::from_millis(50);

/// Reads one topic. Dropping it without [`Self::close`] leaves the group by time-out.
pub struct Consumer {
    /// Who fetches the records, unless librdkafka does.
    fetcher: Option<Fetcher>,
    queue: Queue,
    client: Arc<Client>,
    probe: Probe,
    tracker: Tracker,
    /// Met in a poll that also had records; told by the next one.
    pending: Option<KafkaError>,
    subscribed: bool,
    /// Who this client was in the group when it last told it its offsets.
    committed_as: String,
    settings: ConsumerSettings,
    topic: String,
}

impl Consumer {
    /// Makes a consumer of `topic`. It reads nothing before [`Self::subscribe`] or [`Self::assign`].
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Config`]: a setting is refused; the message names it.
    pub fn new(
        settings: &ConsumerSettings,
        topic: &str,
        handler: Box<dyn Rebalance>,
    ) -> Result<Self, KafkaError> {
        settings.check(topic)?;
        let fetcher = settings.may_fetch().then(|| Fetcher::new(settings, topic));
        let fetcher = fetcher.transpose().map_err(|err| {
            KafkaError::new(KafkaErrorKind::Fatal, format!("no thread to fetch on: {err}"))
        })?;
        let client = Client::new(settings, topic, handler, fetcher.is_none())?;
        let queue = Queue::consumer(&client)?;
        Ok(Self {
            probe: Probe::new(&client, fetcher.as_ref().map(Fetcher::marks)),
            fetcher,
            queue,
            client,
            tracker: Tracker::default(),
            pending: None,
            subscribed: false,
            committed_as: String::new(),
            settings: settings.clone(),
            topic: topic.to_owned(),
        })
    }

    /// Joins the group; partitions arrive through [`Rebalance`].
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Config`]: the settings name no group.
    pub fn subscribe(&mut self) -> Result<(), KafkaError> {
        if self.settings.group.is_none() {
            return Err(KafkaError::new(KafkaErrorKind::Config, "subscribing needs a group"));
        }
        self.subscribed = true;
        self.client.subscribe()
    }

    /// Gives all partitions back and joins the group again, so that its partitions are shared out anew: a static member
    /// that restarts gets what it had, even if the topic has grown meanwhile.
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Retry`]: the client is shutting down.
    pub fn rejoin(&mut self) -> Result<(), KafkaError> {
        self.client.rejoin()
    }

    /// Reads exactly these partitions from these offsets on, without a group and without [`Rebalance`].
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Retry`]: the client is shutting down.
    pub fn assign(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), KafkaError> {
        self.client.assign(starts)?;
        self.follow_rebalances();
        Ok(())
    }

    /// Waits up to `timeout` for a record, then takes what is there, up to `max`. An empty batch is no
    /// error. Rebalances happen inside.
    ///
    /// Records of a partition come in order, each once, from its start offset on, with holes where
    /// compaction or transaction markers left them. An error never costs a record: those met before it
    /// are returned first, and those behind it are read again.
    ///
    /// # Errors
    ///
    /// See [`KafkaErrorKind`]. Anything but `Retry` repeats itself until its cause is gone.
    pub fn poll(&mut self, max: usize, timeout: Duration) -> Result<Batch, KafkaError> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        self.place_fetchers();
        if let Some(error) =
            self.tracker.fault().filter(|error| error.kind() != KafkaErrorKind::Retry)
        {
            thread::sleep(FAULT_PAUSE.min(timeout));
            return Err(error);
        }
        let wait = if self.fetcher.is_some() { Duration::ZERO } else { timeout };
        let mut batch = self.queue.consume(max, wait);
        self.follow_rebalances();
        self.sift(&mut batch);
        if self.pending.as_ref().is_some_and(|error| error.kind() == KafkaErrorKind::Fatal)
            && self.is_its_own_rival()
        {
            warn!(
                "a late group commit of this member was taken for a rival's: joining anew; nothing is lost"
            );
            batch.retain(|_| false);
            self.renew()?;
        }
        let batch = match &self.pending {
            None if self.fetcher.is_some() => self.fetched(max, timeout)?,
            _ => batch.into(),
        };
        match self.pending.take() {
            Some(error) if batch.is_empty() => Err(error),
            pending => {
                self.pending = pending;
                Ok(batch)
            }
        }
    }

    /// The next offset of every assigned partition: what a commit of everything delivered so far would
    /// record. It counts transaction markers, so it may be past the last record plus one.
    pub fn position(&mut self) -> BTreeMap<PartitionId, Offset> {
        if self.fetcher.is_some() {
            return self.tracker.positions(&BTreeMap::new());
        }
        let reported = self.client.position(&self.tracker.partitions()).unwrap_or_else(|error| {
            debug!(%error, "positions are counted from the records alone");
            BTreeMap::new()
        });
        if made(Bug::S7LastOffsetPlusOne) {
            return self.tracker.positions(&BTreeMap::new());
        }
        self.tracker.positions(&reported)
    }

    /// Goes on at these offsets. Nothing fetched before is delivered afterwards. Partitions that are not
    /// assigned are left alone. Also the way to restart a fetcher that hangs: seek to its own position.
    pub fn seek(&mut self, targets: &BTreeMap<PartitionId, Offset>) {
        for (partition, offset) in targets {
            if !self.tracker.seek(*partition, *offset) {
                debug!(%partition, %offset, "not assigned: no seek");
            }
        }
        self.place_fetchers();
    }

    /// Stops reading these partitions; a partition that is paused already is left alone. What was fetched
    /// of them is thrown away and fetched again after [`Self::resume`].
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Retry`]: the client is shutting down.
    pub fn pause(&mut self, partitions: &[PartitionId]) -> Result<(), KafkaError> {
        match self.tracker.set_paused(partitions, true).as_slice() {
            [] => Ok(()),
            news => match &mut self.fetcher {
                Some(fetcher) => {
                    fetcher.lift(news);
                    Ok(())
                }
                None => self.client.pause(news),
            },
        }
    }

    /// Reads these partitions again.
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Retry`]: the client is shutting down.
    pub fn resume(&mut self, partitions: &[PartitionId]) -> Result<(), KafkaError> {
        match self.tracker.set_paused(partitions, false).as_slice() {
            [] => Ok(()),
            news => match &mut self.fetcher {
                Some(fetcher) => {
                    fetcher.place(&self.tracker.nexts(news));
                    Ok(())
                }
                None => self.client.resume(news),
            },
        }
    }

    /// Tells the group how far the table is, for lag dashboards. Nothing waits for it, failures are
    /// logged, and nothing ever reads it back. Without a group it does nothing.
    pub fn commit_offsets(&mut self, offsets: &BTreeMap<PartitionId, Offset>) {
        if self.settings.group.is_none() || offsets.is_empty() {
            return;
        }
        let member = self.client.member();
        if self.subscribed && member.is_empty() {
            debug!("nobody in the group now: it isn't told the offsets");
            return;
        }
        self.committed_as = member;
        if let Err(error) = self.client.commit(offsets) {
            warn!(%error, "only lag dashboards read group offsets; the table holds the position");
        }
    }

    /// A handle for questions from other threads.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// See [`Probe::source`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn source(&self, timeout: Duration) -> Result<SourceIdentity, KafkaError> {
        self.probe.source(timeout)
    }

    /// See [`Probe::watermarks`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn watermarks(
        &self,
        partition: PartitionId,
        timeout: Duration,
    ) -> Result<Watermarks, KafkaError> {
        self.probe.watermarks(partition, timeout)
    }

    /// Leaves the group (a static member keeps its place) and stops the client. `deadline` bounds the
    /// wait, not the work: what hangs is left to the end of the process. Drop all batches and probes
    /// before, or the client outlives this call.
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Retry`]: the deadline passed first.
    #[allow(clippy::disallowed_methods, reason = "the adapter keeps the deadline it is given")]
    pub fn close(self, deadline: Duration) -> Result<(), KafkaError> {
        let started = Instant::now();
        let left = || deadline.saturating_sub(started.elapsed());
        let Self { fetcher, queue, client, probe, .. } = self;
        drop((fetcher, probe));
        let farewell = Queue::new(&client)?;
        match farewell.close_consumer() {
            Ok(()) => {
                while !farewell.is_closed() && !left().is_zero() {
                    drop(farewell.consume(1, CLOSE_TICK.min(left())));
                    drop(client.take_changes());
                }
            }
            // After a fatal error there is no group to leave.
            Err(error) => debug!(%error, "the group is not left"),
        }
        let left_in_time = !left().is_zero();
        drop((queue, farewell));
        let stopped = Arc::into_inner(client).is_none_or(|client| client.destroy(left()));
        if left_in_time && stopped {
            return Ok(());
        }
        Err(KafkaError::new(KafkaErrorKind::Retry, format!("not closed within {deadline:?}")))
    }

    /// Whether the group took this very client for a rival of itself.
    ///
    /// librdkafka (2.12.1) forgets who it is in the group when its session runs out or the broker does not know it any
    /// more. A commit handed over before, which waited for a coordinator or is sent again, then comes from nobody with
    /// this client's name: it is refused, and librdkafka takes that for fatal whatever the reason. A true rival takes
    /// the place of a client that still believes to be who it was.
    fn is_its_own_rival(&self) -> bool {
        self.client.is_commit_fenced() && self.committed_as != self.client.member()
    }

    /// Joins the group with a new client. What the old one still holds is lost.
    fn renew(&mut self) -> Result<(), KafkaError> {
        let reads = self.fetcher.is_none();
        self.client = Client::new(&self.settings, &self.topic, self.client.retire(), reads)?;
        if let Some(fetcher) = &mut self.fetcher {
            fetcher.lift(&fetcher.placed());
        }
        self.queue = Queue::consumer(&self.client)?;
        self.probe.follow(&self.client);
        (self.tracker, self.pending) = (Tracker::default(), None);
        self.committed_as.clear();
        self.client.subscribe()
    }

    /// What the fetcher has, and in `pending` what went wrong behind it.
    fn fetched(&mut self, max: usize, timeout: Duration) -> Result<Batch, KafkaError> {
        let Some(fetcher) = &mut self.fetcher else { return Ok(Batch::default()) };
        match fetcher.take(max, timeout, &mut self.tracker) {
            Taken::Records(runs, error) => {
                self.pending = error;
                Ok(runs.map_or_else(Batch::default, Batch::from))
            }
            Taken::Unsupported(why) => {
                self.leave_it_to_librdkafka(&why)?;
                Ok(Batch::default())
            }
        }
    }

    /// From now on librdkafka fetches, from where delivery stands.
    fn leave_it_to_librdkafka(&mut self, why: &str) -> Result<(), KafkaError> {
        info!(why, "librdkafka fetches the records");
        self.fetcher = None;
        let held = self.tracker.partitions();
        self.client.read_on(&self.tracker.nexts(&held), self.subscribed)?;
        match self.tracker.paused().as_slice() {
            [] => Ok(()),
            paused => self.client.pause(paused),
        }
    }

    /// Takes over what rebalances did.
    fn follow_rebalances(&mut self) {
        let mut changes = self.client.take_changes();
        if changes.is_empty() {
            return;
        }
        if let Some(fetcher) = &mut self.fetcher {
            for change in &mut changes {
                match change {
                    // Nobody fetches them yet.
                    Change::Assigned { starts, left_over } => {
                        *left_over = starts.keys().copied().collect();
                    }
                    Change::Revoked(partitions) => fetcher.lift(partitions),
                }
            }
        }
        let forgotten = self.tracker.apply(changes);
        if self.fetcher.is_some() {
            self.place_fetchers();
        } else if !forgotten.is_empty()
            // librdkafka keeps the flag of a partition that left, and would bring it back paused.
            && let Err(error) = self.client.resume(&forgotten)
        {
            warn!(%error, ?forgotten, "partitions that left may come back paused");
        }
    }

    /// Keeps what is delivered, and the worst error.
    fn sift(&mut self, batch: &mut Messages) {
        let Self { tracker, pending, .. } = self;
        batch.retain(|item| match item {
            Item::Record(partition, offset) => tracker.admit(partition, offset),
            Item::Raised(raised) => {
                let error = judge(tracker, &raised);
                *pending = Some(match pending.take() {
                    Some(before) => before.or_worse(error),
                    None => error,
                });
                false
            }
        });
    }

    /// Sends the fetchers of stopped partitions to where delivery goes on. One that can't go yet, because
    /// librdkafka is still starting or stopping it, is sent by the next poll.
    fn place_fetchers(&mut self) {
        let mut stopped = self.tracker.stopped();
        if stopped.is_empty() {
            return;
        }
        if let Some(fetcher) = &mut self.fetcher {
            let paused = self.tracker.paused();
            for partition in stopped.keys() {
                self.tracker.restarted(*partition);
            }
            stopped.retain(|partition, _| !paused.contains(partition));
            fetcher.place(&stopped);
            return;
        }
        match self.client.seek(&stopped, SEEK_TIMEOUT) {
            Ok(placed) => {
                for partition in placed {
                    self.tracker.restarted(partition);
                }
            }
            Err(error) => debug!(%error, ?stopped, "the next poll tries again"),
        }
    }
}

/// What an error event means. One of a partition stops it: librdkafka has moved its own position past the
/// place, goes on behind it, and may name a place that doesn't exist.
fn judge(tracker: &mut Tracker, raised: &Raised) -> KafkaError {
    let held = raised.partition.and_then(|partition| Some((partition, tracker.next(partition)?)));
    let Some((partition, next)) = held else {
        return KafkaError::new(kind_of(raised.number), raised.reason.clone());
    };
    let error = if is_astray(raised.number, next, raised.offset) {
        let reason = format!(
            "partition {partition}, offset {next}: damaged bytes led the Kafka client astray, to offset {}; start \
             again ({})",
            raised.offset, raised.reason
        );
        KafkaError::new(KafkaErrorKind::Fatal, reason)
    } else {
        let kind = kind_at(raised.number, partition, next);
        KafkaError::new(kind, format!("partition {partition}, offset {next}: {}", raised.reason))
    };
    tracker.fail(partition, error.clone());
    error
}
