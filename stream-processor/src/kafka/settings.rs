//! What the consumer is told, and what nobody may tell it otherwise.
//!
//! Owns the list of librdkafka properties that exactly-once rests on. Pure: nothing here talks to a
//! broker or reads the environment.

use std::fmt;
use std::time::Duration;

use lakehouse::faults::{Bug, made};

use super::error::{KafkaError, KafkaErrorKind};

/// 1 MiB a partition and fetch: larger fetches cost speed and memory.
pub const FETCH_BYTES: usize = 1024 * 1024;
/// 4 MiB of fetched records may wait in librdkafka; 64 MiB is no faster.
pub const QUEUE_KBYTES: usize = 4096;
/// How long a dead member holds its partitions.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the polling thread may stay away, for instance inside [`super::Rebalance::assigned`].
pub const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);

/// librdkafka wants a group for every consumer; one that only assigns never joins it.
const NO_GROUP: &str = "streamforge-reader";
/// The broker's own upper bound on a heartbeat is a third of the session.
const HEARTBEATS_PER_SESSION: u32 = 3;

/// How long a broker may hold a fetch back that has nothing to bring. It delays every seek, pause and new partition at
/// this broker by as much (librdkafka's default: 500 ms).
const FETCH_WAIT: (&str, i32) = ("fetch.wait.max.ms", 100);

/// Properties of librdkafka that change nothing about how records are fetched, or are heeded by our own way, too.
const BESIDES_FETCHING: [&str; 9] = [
    FETCH_WAIT.0,
    "topic.metadata.",
    "metadata.max.age.ms",
    "reconnect.backoff.",
    "retry.backoff.",
    "statistics.",
    "log",
    "debug",
    "socket.keepalive.enable",
];

/// Who fetches the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fetching {
    /// This program, wherever brokers need neither TLS nor a login and know Kafka 3.1's requests; librdkafka elsewhere.
    #[default]
    Own,
    /// librdkafka.
    Librdkafka,
}

impl fmt::Display for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Librdkafka => "librdkafka",
        })
    }
}

impl std::str::FromStr for Fetching {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "own" => Ok(Self::Own),
            "librdkafka" => Ok(Self::Librdkafka),
            _ => Err("say own or librdkafka".to_owned()),
        }
    }
}

/// How to reach Kafka and how much to hold of it.
#[derive(Clone)]
pub struct ConsumerSettings {
    /// `host:port,…`
    pub brokers: String,
    /// The consumer group; `None` for a reader that only assigns.
    pub group: Option<String>,
    /// Static membership: a restart within the session keeps its partitions.
    pub instance_id: Option<String>,
    /// The name that brokers log.
    pub client_id: String,
    /// Bytes asked for, a partition and fetch.
    pub fetch_bytes: usize,
    /// Fetched and not yet polled, in KiB. One fetch over the limit is still delivered.
    pub queue_kbytes: usize,
    /// How long a dead member holds its partitions.
    pub session_timeout: Duration,
    /// Must exceed the longest commit that a rebalance may wait for.
    pub max_poll_interval: Duration,
    /// Who fetches the records.
    pub fetching: Fetching,
    /// More librdkafka properties (TLS, SASL, …). None may change a protected one.
    pub extra: Vec<(String, String)>,
}

impl ConsumerSettings {
    /// Defaults for these `brokers`, without a group.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            group: None,
            instance_id: None,
            client_id: "streamforge".to_owned(),
            fetch_bytes: FETCH_BYTES,
            queue_kbytes: QUEUE_KBYTES,
            session_timeout: SESSION_TIMEOUT,
            max_poll_interval: MAX_POLL_INTERVAL,
            fetching: Fetching::default(),
            extra: Vec::new(),
        }
    }

    /// How long a broker may hold a fetch back, in milliseconds.
    pub(super) fn fetch_wait_ms(&self) -> i32 {
        let set = self.extra.iter().rev().find(|(key, _)| key == FETCH_WAIT.0);
        set.and_then(|(_, value)| value.parse().ok()).unwrap_or(FETCH_WAIT.1)
    }

    /// Whether this program may fetch the records itself, as far as the settings tell.
    pub(super) fn may_fetch(&self) -> bool {
        let is_besides = |key: &str| BESIDES_FETCHING.iter().any(|begin| key.starts_with(begin));
        // These mistakes are ways to set librdkafka up wrongly.
        let mistaken = made(Bug::S8ResetToLatest) || made(Bug::S11AssignThenSeek);
        self.fetching == Fetching::Own
            && !mistaken
            && self.extra.iter().all(|(key, _)| is_besides(key))
    }

    /// The properties that are set last, can't be overridden, and are read back from the running client.
    pub(super) fn protected(&self) -> Vec<(&'static str, String)> {
        let session_ms = millis(self.session_timeout);
        let heartbeat_ms = millis(self.session_timeout / HEARTBEATS_PER_SESSION);
        let mut properties = vec![
            ("bootstrap.servers", self.brokers.clone()),
            ("client.id", self.client_id.clone()),
            ("group.id", self.group.clone().unwrap_or_else(|| NO_GROUP.to_owned())),
            // A missing offset must stop the job, not move it (the default is `largest`).
            ("auto.offset.reset", on_missing_offset().to_owned()),
            // The table holds the position; Kafka's copy is for dashboards and never read back.
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            // Off by default in librdkafka, and then damaged bytes pass. No measurable cost.
            ("check.crcs", "true".to_owned()),
            // An end-of-partition event moves position() one too far in the batch interface.
            ("enable.partition.eof", "false".to_owned()),
            // No row of an aborted transaction.
            ("isolation.level", "read_committed".to_owned()),
            // KIP-848's protocol has fatal bugs before librdkafka 2.15.
            ("group.protocol", "classic".to_owned()),
            ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
            ("session.timeout.ms", session_ms.to_string()),
            ("heartbeat.interval.ms", heartbeat_ms.max(1).to_string()),
            ("max.poll.interval.ms", millis(self.max_poll_interval).to_string()),
            ("fetch.message.max.bytes", self.fetch_bytes.to_string()),
            ("queued.max.messages.kbytes", self.queue_kbytes.to_string()),
            // 1000 by default: the fetcher sleeps whenever decoding is slower than fetching.
            ("fetch.queue.backoff.ms", "1".to_owned()),
            // Reading must not create what it is asked to read.
            ("allow.auto.create.topics", "false".to_owned()),
        ];
        if let Some(instance) = &self.instance_id {
            properties.push(("group.instance.id", instance.clone()));
        }
        properties
    }

    /// Values that differ from librdkafka's defaults and may be overridden by `extra`.
    pub(super) fn preferred(&self) -> [(&'static str, String); 5] {
        let queue_bytes = self.queue_kbytes.saturating_mul(1024);
        [
            // Partitions added to the topic are noticed within this time (default: 5 minutes).
            ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
            // A broker that is back is found within two seconds (default: 10).
            ("reconnect.backoff.max.ms", "2000".to_owned()),
            // One response of a broker: 50 MB by default, whatever the queue may hold.
            ("fetch.max.bytes", queue_bytes.max(self.fetch_bytes).max(FETCH_BYTES).to_string()),
            (FETCH_WAIT.0, FETCH_WAIT.1.to_string()),
            // Half-open connections are noticed by the kernel too.
            ("socket.keepalive.enable", "true".to_owned()),
        ]
    }

    /// Checks everything that needs no broker.
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Config`]: a setting contradicts another, or librdkafka refuses a property, which is
    /// named.
    pub fn accepted(&self, topic: &str) -> Result<(), KafkaError> {
        self.check(topic)?;
        super::ffi::accepted(self)
    }

    /// Checks what can be checked without librdkafka.
    pub(super) fn check(&self, topic: &str) -> Result<(), KafkaError> {
        let refused = |message: String| Err(KafkaError::new(KafkaErrorKind::Config, message));
        if topic.is_empty() || topic.starts_with('^') {
            return refused(format!("topic `{topic}` is not the name of one topic"));
        }
        if self.brokers.trim().is_empty() {
            return refused("no brokers are given (host:port,…)".to_owned());
        }
        if self.instance_id.is_some() && self.group.is_none() {
            return refused("an instance id needs a group".to_owned());
        }
        if self.max_poll_interval < self.session_timeout {
            return refused(format!(
                "max.poll.interval {:?} is shorter than the session timeout {:?}",
                self.max_poll_interval, self.session_timeout
            ));
        }
        Ok(())
    }
}

/// Values of `extra` may be passwords: only the names are shown.
impl fmt::Debug for ConsumerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra: Vec<&str> = self.extra.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("ConsumerSettings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance_id", &self.instance_id)
            .field("client_id", &self.client_id)
            .field("fetch_bytes", &self.fetch_bytes)
            .field("queue_kbytes", &self.queue_kbytes)
            .field("session_timeout", &self.session_timeout)
            .field("max_poll_interval", &self.max_poll_interval)
            .field("fetching", &self.fetching)
            .field("extra", &extra)
            .finish()
    }
}

/// Whether librdkafka's own words about a bad value may repeat a secret.
pub(super) fn is_secret(key: &str) -> bool {
    ["password", "secret", "key", "token", "jaas", "oauthbearer", "username", "pem"]
        .iter()
        .any(|word| key.contains(word))
}

fn on_missing_offset() -> &'static str {
    if made(Bug::S8ResetToLatest) { "largest" } else { "error" }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value_of_an_extra_property() {
        let mut settings = ConsumerSettings::new("a:1");
        settings.extra.push(("sasl.password".to_owned(), "canary".to_owned()));
        let text = format!("{settings:?}");
        assert!(text.contains("sasl.password"));
        assert!(!text.contains("canary"));
    }

    #[test]
    fn what_only_librdkafka_can_do_is_left_to_it() {
        let with = |extra: &[(&str, &str)]| {
            let extra = extra.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            ConsumerSettings { extra: extra.collect(), ..ConsumerSettings::new("a:1") }
        };
        assert!(with(&[]).may_fetch());
        assert!(!ConsumerSettings { fetching: Fetching::Librdkafka, ..with(&[]) }.may_fetch());
        assert!(with(&[("statistics.interval.ms", "1"), ("fetch.wait.max.ms", "7")]).may_fetch());
        for key in [
            "security.protocol",
            "sasl.mechanism",
            "ssl.ca.location",
            "client.rack",
            "fetch.min.bytes",
        ] {
            assert!(!with(&[("debug", "all"), (key, "x")]).may_fetch(), "{key}");
        }
        assert_eq!(with(&[]).fetch_wait_ms(), 100);
        let twice = with(&[("fetch.wait.max.ms", "7"), ("fetch.wait.max.ms", "30")]);
        assert_eq!(twice.fetch_wait_ms(), 30);
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let good = ConsumerSettings::new("a:1");
        assert!(good.check("events").is_ok());
        assert!(good.check("").is_err());
        assert!(good.check("^event.*").is_err());
        assert!(ConsumerSettings::new(" ").check("events").is_err());
        let no_group = ConsumerSettings { instance_id: Some("one".to_owned()), ..good.clone() };
        assert!(no_group.check("events").is_err());
        let impatient = ConsumerSettings { max_poll_interval: Duration::from_secs(1), ..good };
        assert!(impatient.check("events").is_err());
    }
}
