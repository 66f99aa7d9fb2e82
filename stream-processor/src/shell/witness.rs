//! Says that the records of a batch are the topic's own, before they are committed.
//!
//! A topic that is deleted and made again keeps its name, and a reader that was cut off or frozen meanwhile goes on
//! in it at the old offset. Ids never return: if the topic has the known id *after* the last record of a
//! batch was read, all of the batch came from it. So the question is asked for every commit, and a batch for
//! which it can't be answered waits.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lakehouse::position::Source;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::kafka::{KafkaErrorKind, Probe};

/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// Who asks the brokers on behalf of commits. Clones ask through the same client.
#[derive(Clone)]
pub(crate) struct Witness {
    source: Source,
    probe: Arc<OnceLock<Probe>>,
}

impl Witness {
    /// A witness of `source`, to be given a way to ask by [`Self::ask_through`].
    pub(crate) fn new(source: Source) -> Self {
        Self { source, probe: Arc::default() }
    }

    /// From now on `probe` is asked; only the first one counts.
    pub(crate) fn ask_through(&self, probe: Probe) {
        drop(self.probe.set(probe));
    }

    /// Waits until the brokers confirm that the topic is the one whose records were read until now. `trouble`
    /// hears why it takes longer.
    ///
    /// # Errors
    ///
    /// It is another one, or there is none any more; nothing of the batch may be committed.
    pub(crate) async fn confirm(&self, trouble: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let probe = self.probe.get().context("records were read, so there is a consumer")?;
        loop {
            let probe = probe.clone();
            match spawn_blocking(move || probe.source(ASK_MAX)).await? {
                Ok(found) => return same_source(&self.source, &found.cluster, &found.topic_id),
                Err(err) if err.kind() == KafkaErrorKind::Retry => {
                    warn!(%err, "not committed yet: the topic's identity can't be looked up");
                    trouble(&err.to_string());
                }
                Err(err) => {
                    return Err(err).context("the topic is gone; nothing more was committed");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Fails closed when the topic is not the one the tables know.
pub(super) fn same_source(known: &Source, cluster: &str, topic_id: &str) -> Result<()> {
    ensure!(
        known.cluster.as_str() == cluster && known.topic.as_str() == topic_id,
        "the topic was replaced while it was read: cluster {} topic {} became cluster {cluster} topic {topic_id}; \
         its offsets mean other records now, and nothing more was committed",
        known.cluster.as_str(),
        known.topic.as_str()
    );
    Ok(())
}
