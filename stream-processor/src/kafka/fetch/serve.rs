//! The threads that fetch, and what they share.
//!
//! Owns the lock around the [`Desk`] and the sockets. No thread holds the lock while it talks to a broker.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use lakehouse::ids::{Offset, PartitionId};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::super::error::{KafkaError, KafkaErrorKind};
use super::super::settings::ConsumerSettings;
use super::connection::{Address, Connection, NoAnswer};
use super::desk::{Desk, Replaced, Time, Turn};
use super::fetched::Pool;
use super::read::{NO_ERROR, NOT_AUTHORIZED, Read};
use super::wire::{self, Amount, Ask, TopicId};
use super::{Arrival, Span};

/// The first wait after a failure; each one after it is twice as long, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// So many answers in a row that can't be read mean that the brokers speak otherwise than we think, and not that bytes were
/// damaged.
const MALFORMED_MAX: u32 = 8;
/// A broker that comes up may not know its topics yet.
const UNKNOWN_TOPIC_MAX: Duration = Duration::from_secs(30);
/// Where a broker listens when it isn't said.
const DEFAULT_PORT: u16 = 9092;

const UNKNOWN_TOPIC: i16 = 3;

/// What all threads see.
pub(super) struct Shared {
    topic: String,
    client: String,
    bootstrap: Vec<Address>,
    amount: Amount,
    pool: Pool,
    arrivals: Sender<Arrival>,
    started: Instant,
    /// Answers in a row that could not be read.
    malformed: AtomicU32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    desk: Desk,
    ended: bool,
    /// What each thread is connected by.
    streams: BTreeMap<Address, TcpStream>,
    /// Brokers that have a thread.
    served: BTreeMap<i32, Address>,
}

impl Shared {
    /// Starts to look for leaders as soon as a partition is placed.
    #[allow(clippy::disallowed_methods, reason = "its threads wait")]
    pub(super) fn start(
        settings: &ConsumerSettings,
        topic: &str,
        arrivals: Sender<Arrival>,
    ) -> io::Result<Arc<Self>> {
        let bytes = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let shared = Arc::new(Self {
            topic: topic.to_owned(),
            client: settings.client_id.clone(),
            bootstrap: settings.brokers.split(',').filter_map(address).collect(),
            amount: Amount {
                wait_ms: settings.fetch_wait_ms(),
                bytes: bytes(settings.fetch_bytes.saturating_mul(2)),
                partition_bytes: bytes(settings.fetch_bytes),
            },
            pool: Pool::new(),
            arrivals,
            started: Instant::now(),
            malformed: AtomicU32::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let leaders = Arc::clone(&shared);
        thread::Builder::new()
            .name("leaders".to_owned())
            .spawn(move || leaders.follow_leaders())?;
        Ok(shared)
    }

    pub(super) fn place(
        &self,
        targets: &BTreeMap<PartitionId, Offset>,
    ) -> Vec<(PartitionId, Turn)> {
        let now = self.now();
        let mut state = self.lock();
        let place = |(partition, next): (&PartitionId, &Offset)| {
            (*partition, state.desk.place(*partition, *next, now))
        };
        let turns = targets.iter().map(place).collect();
        self.changed.notify_all();
        turns
    }

    pub(super) fn lift(&self, partitions: &[PartitionId]) {
        let mut state = self.lock();
        for partition in partitions {
            state.desk.lift(*partition);
        }
    }

    pub(super) fn marks(&self, partition: PartitionId) -> Option<(Offset, Offset)> {
        self.lock().desk.marks(partition)
    }

    /// Ends all threads, those that wait for a broker too.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        for stream in state.streams.values() {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    /// Waits until `ready` has something; `None` at the end.
    fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(found) = ready(&mut state) {
                return Some(found);
            }
            // A partition that rests is looked at again by itself.
            let waited = self.changed.wait_timeout(state, super::desk::REST);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits, unless the end comes first.
    fn pause(&self, pause: Duration) {
        let until = self.now() + pause;
        self.wait(|_| (self.now() >= until).then_some(()));
    }

    /// How long a broker may hold a fetch back.
    fn wait_max(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.amount.wait_ms).unwrap_or(0))
    }

    fn connect(&self, address: &Address, api: wire::Api) -> Result<Connection, NoAnswer> {
        let connection = Connection::open(address, &self.client, api, self.wait_max())?;
        let handle = connection.handle()?;
        let mut state = self.lock();
        if state.ended {
            drop(handle.shutdown(Shutdown::Both));
        }
        state.streams.insert(address.clone(), handle);
        Ok(connection)
    }

    /// The thread that asks who leads, whenever somebody doubts it.
    fn follow_leaders(self: Arc<Self>) {
        let (mut pause, mut unknown_since) = (PAUSE_MIN, None);
        while self.wait(|state| state.desk.is_in_doubt().then_some(())).is_some() {
            let asked = self.now();
            match self.ask_for_leaders() {
                Ok(metadata) => match metadata.error {
                    UNKNOWN_TOPIC => {
                        let since = *unknown_since.get_or_insert(asked);
                        if asked.saturating_sub(since) >= UNKNOWN_TOPIC_MAX {
                            let message = format!("topic {}: there is none", self.topic);
                            self.trouble(KafkaErrorKind::UnknownTopic, message);
                        }
                    }
                    NOT_AUTHORIZED => {
                        let message = format!("topic {}: not allowed to read it", self.topic);
                        self.trouble(KafkaErrorKind::Config, message);
                    }
                    // Some partition may have no leader at the moment.
                    _ => {
                        unknown_since = None;
                        self.learn(metadata);
                    }
                },
                Err(err) if self.is_hopeless(&err) => return self.give_up(&err),
                Err(err) => debug!(%err, "nobody says who leads"),
            }
            self.pause(pause);
            let doubted_again = self.lock().desk.is_in_doubt();
            pause = if doubted_again { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
        }
    }

    /// Asks the brokers in turn, those first that were named at the start.
    fn ask_for_leaders(&self) -> Result<wire::Metadata, NoAnswer> {
        let mut brokers = self.bootstrap.clone();
        brokers.extend(self.lock().desk.brokers().cloned());
        let mut failed =
            NoAnswer::Io(io::Error::new(io::ErrorKind::NotFound, "no broker is named"));
        for address in brokers {
            let asked = Connection::open(&address, &self.client, wire::METADATA, Duration::ZERO)
                .and_then(|mut connection| connection.metadata(&self.topic));
            match asked {
                Ok(metadata) => return Ok(metadata),
                Err(NoAnswer::Unsupported(api)) => return Err(NoAnswer::Unsupported(api)),
                Err(err) => failed = err,
            }
            if self.lock().ended {
                break;
            }
        }
        Err(failed)
    }

    fn learn(self: &Arc<Self>, metadata: wire::Metadata) {
        let mut state = self.lock();
        let learned = state.desk.learn(metadata);
        let leading: Vec<(i32, Address)> =
            state.desk.leading().map(|(id, address)| (id, address.clone())).collect();
        let mut news = Vec::new();
        for (id, address) in leading {
            if state.served.get(&id) != Some(&address) {
                state.served.insert(id, address.clone());
                news.push((id, address));
            }
        }
        self.changed.notify_all();
        drop(state);
        if let Err(Replaced { known, found }) = learned {
            let (known, found) = (Uuid::from_bytes(known), Uuid::from_bytes(found));
            let message = format!(
                "the topic was replaced while it was read: id {known} became {found}; its offsets mean other \
                 records now"
            );
            self.trouble(KafkaErrorKind::UnknownTopic, message);
        }
        for (id, address) in news {
            let shared = Arc::clone(self);
            let serving = move || shared.serve(id, &address);
            if let Err(err) = thread::Builder::new().name(format!("fetch-{id}")).spawn(serving) {
                warn!(%err, broker = id, "no thread to fetch from a broker");
                self.lock().served.remove(&id);
                self.lock().desk.doubt();
            }
        }
    }

    fn trouble(&self, kind: KafkaErrorKind, message: String) {
        // Nobody listens at the end.
        drop(self.arrivals.send(Arrival::Trouble(KafkaError::new(kind, message))));
    }

    /// Whether these brokers can't be read this way.
    fn is_hopeless(&self, err: &NoAnswer) -> bool {
        match err {
            NoAnswer::Unsupported(_) => true,
            NoAnswer::Malformed => {
                self.malformed.fetch_add(1, Ordering::Relaxed) + 1 >= MALFORMED_MAX
            }
            NoAnswer::Io(_) => false,
        }
    }

    /// Leaves the reading to librdkafka.
    fn give_up(&self, why: &NoAnswer) {
        self.end();
        drop(self.arrivals.send(Arrival::Unsupported(why.to_string())));
    }

    /// The thread of one broker, as long as the broker is where it was.
    fn serve(&self, broker: i32, address: &Address) {
        let (mut connection, mut pause) = (None, PAUSE_MIN);
        while let Some((topic, asks)) = self.next_asks(broker, address) {
            let fetched = match &mut connection {
                Some(connection) => self.fetch(connection, &topic, &asks),
                None => self
                    .connect(address, wire::FETCH)
                    .and_then(|opened| self.fetch(connection.insert(opened), &topic, &asks)),
            };
            match fetched {
                Ok((arrival, throttle)) => {
                    self.malformed.store(0, Ordering::Relaxed);
                    if pause > PAUSE_MIN {
                        info!(broker = %address, "fetching again");
                        pause = PAUSE_MIN;
                    }
                    if arrival.is_some_and(|arrival| self.arrivals.send(arrival).is_err()) {
                        break;
                    }
                    if !throttle.is_zero() {
                        debug!(broker = %address, ?throttle, "the broker's quota is used up");
                        self.pause(throttle);
                    }
                }
                Err(err) if self.is_hopeless(&err) => return self.give_up(&err),
                Err(err) => {
                    connection = None;
                    self.lock().streams.remove(address);
                    if self.lock().ended {
                        break;
                    }
                    if pause == PAUSE_MIN {
                        info!(broker = %address, %err, "fetching stopped; connecting again");
                    }
                    self.lock().desk.doubt();
                    self.changed.notify_all();
                    self.pause(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn next_asks(&self, broker: i32, address: &Address) -> Option<(TopicId, Vec<(Ask, Turn)>)> {
        let asks = self.wait(|state| {
            if state.desk.address(broker) != Some(address) {
                state.streams.remove(address);
                if state.served.get(&broker) == Some(address) {
                    state.served.remove(&broker);
                }
                return Some(None);
            }
            let topic = state.desk.topic()?;
            let asks = state.desk.asks(broker, self.now());
            (!asks.is_empty()).then_some(Some((topic, asks)))
        });
        asks.flatten()
    }

    /// One fetch: what it brought, if that is anything to tell, and how long the broker wants to be left alone.
    fn fetch(
        &self,
        connection: &mut Connection,
        topic: &TopicId,
        asks: &[(Ask, Turn)],
    ) -> Result<(Option<Arrival>, Duration), NoAnswer> {
        let mut buffers = self.pool.take();
        let wanted: Vec<Ask> = asks.iter().map(|(ask, _)| *ask).collect();
        connection.fetch(topic, &wanted, self.amount, &mut buffers.bytes)?;
        let answer = wire::read_fetch(&buffers.bytes).ok_or(NoAnswer::Malformed)?;
        let throttle = Duration::from_millis(u64::try_from(answer.throttle_ms).unwrap_or(0));
        if answer.error != NO_ERROR {
            debug!(answer.error, "a fetch was refused");
            let mut state = self.lock();
            state.desk.doubt();
            for ask in &wanted {
                state.desk.rest(PartitionId::new(ask.partition), self.now());
            }
            self.changed.notify_all();
            return Ok((None, throttle));
        }
        let asked: BTreeMap<i32, _> = asks.iter().map(|asked| (asked.0.partition, asked)).collect();
        let mut read = Vec::with_capacity(answer.parts.len());
        for part in &answer.parts {
            if let Some((ask, turn)) = asked.get(&part.partition) {
                read.push(Read::of(part, ask, *turn, &mut buffers));
            }
        }
        let spans = self.settle(read);
        let fetched = self.pool.filled(buffers);
        let arrival = (!spans.is_empty()).then(|| Arrival::Records(Arc::new(fetched), spans));
        Ok((arrival, throttle))
    }

    /// Moves the partitions on; what counts is told.
    fn settle(&self, read: Vec<Read>) -> Vec<Span> {
        let now = self.now();
        let mut state = self.lock();
        let desk = &mut state.desk;
        let mut spans = Vec::new();
        for Read { mut span, epoch, moved, mut retry, marks } in read {
            if !desk.is_current(span.partition, span.turn) {
                continue;
            }
            let lacks = |fault: &KafkaError| {
                matches!(fault.kind(), KafkaErrorKind::OffsetOutOfRange { .. })
            };
            if span.fault.as_ref().is_some_and(lacks) && !desk.is_lacking(span.partition) {
                (span.fault, retry) = (None, true);
            }
            if let Some((low, high)) = marks {
                desk.mark(span.partition, low, high);
            }
            if retry {
                desk.doubt();
                desk.rest(span.partition, now);
                self.changed.notify_all();
            }
            desk.read(span.partition, span.next.get(), epoch);
            if span.fault.is_some() {
                desk.tell(span.partition);
            }
            if moved || span.fault.is_some() {
                spans.push(span);
            }
        }
        spans
    }
}

/// `host:port`, or `PROTOCOL://host:port`; the port may be absent.
fn address(text: &str) -> Option<Address> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let is_bare_v6 = text.starts_with('[') && text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bare_v6 => (host, port.parse().ok()?),
        _ => (text, DEFAULT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, u16)>) {
        let expected = expected.map(|(host, port)| Address { host: host.to_owned(), port });
        assert_eq!(address(text), expected);
    }

    #[test]
    fn brokers_are_named_as_librdkafka_wants_them() {
        check("kafka:9092", Some(("kafka", 9092)));
        check(" PLAINTEXT://kafka:19092", Some(("kafka", 19092)));
        check("kafka", Some(("kafka", 9092)));
        check("[::1]:99", Some(("::1", 99)));
        check("[::1]", Some(("::1", 9092)));
        check("kafka:port", None);
        check("", None);
    }
}
