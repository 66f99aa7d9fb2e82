//! The topic, read again a window at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lakehouse::position::{ClusterId, Source, TopicId};
use stream_processor::kafka::{Consumer, ConsumerSettings, KafkaErrorKind, Probe};

use super::window::{Offsets, Window};
use super::{Record, Verifier};
use crate::group::NoGroup;
use crate::patience::{Patience, Teller};
use crate::show;

/// Records in one poll.
const POLL_MAX: usize = 5_000;
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long the broker may say nothing while records are missing.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How long one question may take: short, so that the reason for waiting is told often.
const ASK_MAX: Duration = Duration::from_secs(4);

/// A reader of one topic.
pub(crate) struct Topic {
    consumer: Consumer,
    teller: Teller,
}

/// What the brokers hold of the topic.
pub(crate) struct Extent {
    /// Which topic it is.
    pub(crate) source: Source,
    /// The first offset that can be read again.
    pub(crate) starts: Offsets,
    /// The offset behind the last record.
    pub(crate) ends: Offsets,
}

impl Topic {
    /// A reader that has read nothing yet.
    ///
    /// # Errors
    ///
    /// A setting is refused.
    pub(crate) fn new(settings: &ConsumerSettings, topic: &str) -> Result<Self> {
        let consumer = Consumer::new(settings, topic, Box::new(NoGroup))?;
        Ok(Self { consumer, teller: Teller::default() })
    }

    /// Asks the brokers what they hold.
    ///
    /// # Errors
    ///
    /// They did not answer in time, or there is no such topic.
    pub(crate) async fn extent(&self, server: &str, patience: &Patience) -> Result<Extent> {
        let ask = async || {
            let probe = self.consumer.probe();
            Ok(tokio::task::spawn_blocking(move || ask(&probe)).await??)
        };
        patience.wait(server, ask).await
    }

    /// Reads `window` and has every record of it compared.
    ///
    /// # Errors
    ///
    /// A record is not to be had.
    pub(super) fn read(&mut self, window: &Window, verifier: &mut Verifier<'_>) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "a reader that hears nothing must give up")]
        let now = Instant::now;
        self.consumer.assign(&window.iter().map(|(p, range)| (*p, range.start)).collect())?;
        let mut left: BTreeMap<_, _> = window.iter().map(|(p, range)| (*p, range.end)).collect();
        let mut heard = now();
        while !left.is_empty() {
            let batch = match self.consumer.poll(POLL_MAX, POLL_WAIT) {
                Ok(batch) => batch,
                Err(err)
                    if err.kind() == KafkaErrorKind::Retry && heard.elapsed() < SILENCE_MAX =>
                {
                    continue;
                }
                Err(err) => return Err(err.into()),
            };
            for record in batch.records() {
                heard = now();
                if window.get(&record.partition).is_some_and(|range| range.contains(&record.offset))
                {
                    verifier.compare(&Record {
                        partition: record.partition.get(),
                        offset: record.offset.get(),
                        payload: record.payload.map(<[u8]>::to_vec),
                    });
                }
            }
            let position = self.consumer.position();
            left.retain(|p, end| position.get(p).is_none_or(|at| at < end));
            let read = verifier.read();
            self.teller.tell(|| format!("{} compared", show::count(read, "record")));
            if heard.elapsed() >= SILENCE_MAX {
                let seconds = SILENCE_MAX.as_secs();
                bail!("the broker sent nothing for {seconds}s; still missing: {left:?}");
            }
        }
        Ok(())
    }
}

fn ask(probe: &Probe) -> Result<Extent, stream_processor::kafka::KafkaError> {
    let identity = probe.source(ASK_MAX)?;
    let (mut starts, mut ends) = (Offsets::new(), Offsets::new());
    for partition in identity.partitions {
        let marks = probe.watermarks(partition, ASK_MAX)?;
        starts.insert(partition, marks.low);
        ends.insert(partition, marks.high);
    }
    let source = Source {
        cluster: ClusterId::new(identity.cluster),
        topic: TopicId::new(identity.topic_id),
    };
    Ok(Extent { source, starts, ends })
}
