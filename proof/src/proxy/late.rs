//! Requests that are held back, and passed on when their client has long given up.
//!
//! Owns what they wait for. It must never forget one: each is passed on in the end, and until then it is in the
//! count of what is held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::fault::Until;
use super::http::Inner;
use super::message::Message;

/// A read that never comes is waited for so long; then the request is passed on all the same.
const READ_MAX: Duration = Duration::from_secs(20);

/// The reads that were answered, by path, and the release of what is held.
#[derive(Default)]
pub(super) struct Reads {
    answered: watch::Sender<BTreeMap<String, u64>>,
    /// How often.
    released: watch::Sender<u64>,
}

impl Reads {
    pub(super) fn answered(&self, path: &str) {
        self.answered.send_modify(|reads| *reads.entry(path.to_owned()).or_default() += 1);
    }

    pub(super) fn release(&self) {
        self.released.send_modify(|times| *times += 1);
    }

    async fn await_release(&self) {
        // The sender lives as long as `self`.
        let mut released = self.released.subscribe();
        let before = *released.borrow_and_update();
        let _ = released.wait_for(|times| *times > before).await;
    }

    async fn await_read(&self, path: &str) {
        let count = |reads: &BTreeMap<String, u64>| reads.get(path).copied().unwrap_or(0);
        let mut reads = self.answered.subscribe();
        let before = count(&reads.borrow_and_update());
        let _ = reads.wait_for(|reads| count(reads) > before).await;
    }
}

impl Inner {
    /// Takes `request` and passes it on when its time has come.
    pub(super) fn hold(self: &Arc<Self>, until: Until, request: Message) {
        self.plan.record(|seen| seen.held += 1);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let path = request.path();
            let time = async {
                match until {
                    Until::Passed(time) => tokio::time::sleep(time).await,
                    Until::Read => this.reads.await_read(&path).await,
                    Until::ReleasedAndRead => {
                        this.reads.await_release().await;
                        this.reads.await_read(&path).await;
                    }
                }
            };
            let _ = tokio::time::timeout(READ_MAX, time).await;
            // Its outcome is in the counts, and nobody waits for the answer.
            let _ = this.applied(&request).await;
            this.plan.record(|seen| seen.held -= 1);
        });
    }
}
