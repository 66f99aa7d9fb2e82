//! The topic: made where it is missing, compared where it is there.
//!
//! It must never change a topic: partitions can't be taken away again, and records can't be moved between them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Probe, SourceIdentity};
use tokio::task::spawn_blocking;

use crate::group::NoGroup;
use crate::patience::Patience;

/// How long one question may take: short, so that the reason for waiting is told often.
const ASK_MAX: Duration = Duration::from_secs(4);
/// How long the brokers may take to make a topic.
const MAKE_MAX: Duration = Duration::from_secs(20);

/// The topic as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication: i32,
}

/// The topic as it is, and whether it was made now.
pub(super) struct Ready {
    pub(super) identity: SourceIdentity,
    pub(super) made: bool,
}

/// Makes the topic ready, or says how it differs.
pub(super) async fn ready(
    settings: &ConsumerSettings,
    wanted: &Wanted,
    patience: &Patience,
) -> Result<Ready> {
    let consumer = Consumer::new(settings, &wanted.name, Box::new(NoGroup))?;
    let probe = consumer.probe();
    let server = format!("Kafka at {}", settings.brokers);
    let found = patience.wait(&server, async || look(&probe).await).await?;
    let made = found.is_none();
    let identity = if let Some(identity) = found {
        identity
    } else {
        patience.wait(&server, async || make(settings, wanted).await).await?;
        // The brokers tell each other of it.
        let seen = async || look(&probe).await?.ok_or_else(not_yet);
        patience.wait(&server, seen).await?
    };
    if let Some(difference) = difference(wanted, &identity) {
        bail!("{difference}");
    }
    Ok(Ready { identity, made })
}

/// The topic, if there is one.
async fn look(probe: &Probe) -> Result<Option<SourceIdentity>> {
    let probe = probe.clone();
    match spawn_blocking(move || probe.source(ASK_MAX)).await? {
        Ok(identity) => Ok(Some(identity)),
        Err(err) if err.kind() == KafkaErrorKind::UnknownTopic => Ok(None),
        Err(err) => Err(err.into()),
    }
}

fn not_yet() -> anyhow::Error {
    passing("the topic was made, and is not visible yet".to_owned())
}

/// A fault that is worth waiting for.
fn passing(words: String) -> anyhow::Error {
    lakehouse::Error::new(lakehouse::Kind::Retry, words).into()
}

async fn make(settings: &ConsumerSettings, wanted: &Wanted) -> Result<()> {
    let mut config = ClientConfig::new();
    for (key, value) in &settings.extra {
        config.set(key, value);
    }
    config.set("bootstrap.servers", &settings.brokers).set("client.id", "streamforge-provision");
    let admin: AdminClient<DefaultClientContext> =
        config.create().context("KAFKA_PROPERTIES make no client")?;
    let topic =
        NewTopic::new(&wanted.name, wanted.partitions, TopicReplication::Fixed(wanted.replication));
    let options =
        AdminOptions::new().request_timeout(Some(MAKE_MAX)).operation_timeout(Some(MAKE_MAX));
    let answers = match admin.create_topics([&topic], &options).await {
        Ok(answers) => answers,
        Err(ClientError::AdminOp(code)) => return Err(refusal(wanted, code)),
        Err(err) => return Err(passing(err.to_string())),
    };
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(refusal(wanted, code)),
        }
    }
    Ok(())
}

/// Why the topic was not made. Brokers that are still starting say some of it, too.
fn refusal(wanted: &Wanted, code: RDKafkaErrorCode) -> anyhow::Error {
    use RDKafkaErrorCode::{
        BrokerNotAvailable, BrokerTransportFailure, CoordinatorLoadInProgress,
        InvalidReplicationFactor, LeaderNotAvailable, NetworkException, NotController,
        OperationTimedOut, RequestTimedOut, Unknown,
    };
    let Wanted { name, partitions, replication } = wanted;
    let words = format!(
        "topic {name} with {partitions} partitions and replication {replication} was not made: {code}"
    );
    match code {
        BrokerNotAvailable
        | BrokerTransportFailure
        | CoordinatorLoadInProgress
        | InvalidReplicationFactor
        | LeaderNotAvailable
        | NetworkException
        | NotController
        | OperationTimedOut
        | RequestTimedOut
        | Unknown => passing(words),
        _ => anyhow::anyhow!("{words}; make it by hand, and start this again to check it"),
    }
}

/// How the topic differs from what is wanted, and what can be done.
fn difference(wanted: &Wanted, found: &SourceIdentity) -> Option<String> {
    let Wanted { name, partitions, replication } = wanted;
    let there = found.partitions.len();
    let (wanted_partitions, wanted_copies) =
        (usize::try_from(*partitions).unwrap_or(0), usize::try_from(*replication).unwrap_or(0));
    let mut differences = Vec::new();
    if there > wanted_partitions {
        differences.push(format!(
            "it has {there} partitions and {partitions} are wanted: set KAFKA_PARTITIONS={there}"
        ));
    } else if there < wanted_partitions {
        differences.push(format!(
            "it has {there} partitions and {partitions} are wanted: set KAFKA_PARTITIONS={there}, or add \
             partitions with Kafka's kafka-topics.sh --alter"
        ));
    }
    // A broker that does not tell has nothing to compare.
    if found.replication != 0 && found.replication != wanted_copies {
        let copies = found.replication;
        differences.push(format!(
            "it has replication {copies} and {replication} is wanted: set KAFKA_REPLICATION={copies}"
        ));
    }
    let text = differences.join("; ");
    (!text.is_empty()).then(|| format!("topic {name} is there, but differs: {text}"))
}

#[cfg(test)]
mod tests {
    use lakehouse::ids::PartitionId;

    use super::*;

    fn found(partitions: i32, replication: usize) -> SourceIdentity {
        SourceIdentity {
            cluster: "c".to_owned(),
            topic_id: "t".to_owned(),
            partitions: (0..partitions).map(PartitionId::new).collect(),
            replication,
        }
    }

    #[track_caller]
    fn check(found: &SourceIdentity, words: &[&str]) {
        let wanted = Wanted { name: "clicks".to_owned(), partitions: 6, replication: 1 };
        let difference = difference(&wanted, found).unwrap_or_default();
        assert_eq!(difference.is_empty(), words.is_empty(), "{difference}");
        for word in words {
            assert!(difference.contains(word), "`{word}` is missing in {difference}");
        }
    }

    #[test]
    fn a_topic_that_is_there_must_be_what_is_wanted() {
        check(&found(6, 1), &[]);
        check(&found(6, 0), &[]);
        check(
            &found(3, 1),
            &["topic clicks", "has 3 partitions and 6", "KAFKA_PARTITIONS=3", "--alter"],
        );
        check(&found(8, 1), &["has 8 partitions and 6", "KAFKA_PARTITIONS=8"]);
        check(&found(6, 3), &["replication 3 and 1", "KAFKA_REPLICATION=3"]);
        check(&found(1, 2), &["KAFKA_PARTITIONS=1", "KAFKA_REPLICATION=2"]);
    }
}
