//! A catalog whose answers can't be trusted, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iceberg::TableIdent;

use super::{Answer, Base, Catalog, Change, Creation};
use crate::{Error, Kind, Result};

/// What goes wrong with one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is lost on the way there.
    LostRequest,
    /// It is applied, and the answer is lost.
    LostAnswer,
    /// It is applied, and a proxy that repeated it answers with a conflict.
    Replayed,
    /// It is delivered after the caller has read again, just before the next publish.
    LateBeforeNext,
    /// It is delivered after the next publish.
    LateAfterNext,
    /// The server calls it malformed.
    Malformed,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::None,
        Self::LostRequest,
        Self::LostAnswer,
        Self::Replayed,
        Self::LateBeforeNext,
        Self::LateAfterNext,
        Self::Malformed,
    ];
}

/// Plays a script of faults, one for each publish, and then none.
pub(crate) struct FaultyCatalog {
    inner: Arc<dyn Catalog>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Fault>,
    before: Vec<(Base, Change)>,
    after: Vec<(Base, Change)>,
    publishes: u32,
    late_applied: u32,
    late_refused: u32,
}

impl FaultyCatalog {
    pub(crate) fn new(
        inner: Arc<dyn Catalog>,
        script: impl IntoIterator<Item = Fault>,
    ) -> Arc<Self> {
        let state = State { script: script.into_iter().collect(), ..State::default() };
        Arc::new(Self { inner, state: Mutex::new(state) })
    }

    pub(crate) fn publishes(&self) -> u32 {
        self.state().publishes
    }

    /// Late requests that were applied, and that the fence kept out.
    pub(crate) fn late(&self) -> (u32, u32) {
        let state = self.state();
        (state.late_applied, state.late_refused)
    }

    /// Delivers what is still on its way.
    pub(crate) async fn settle(&self) {
        let (mut held, more) = {
            let mut state = self.state();
            (std::mem::take(&mut state.before), std::mem::take(&mut state.after))
        };
        held.extend(more);
        self.deliver(held).await;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, held: Vec<(Base, Change)>) {
        for (base, change) in held {
            match self.inner.publish(&base, change).await {
                Answer::Committed(_) => self.state().late_applied += 1,
                Answer::Conflict | Answer::Unknown(_) => self.state().late_refused += 1,
            }
        }
    }
}

#[async_trait]
impl Catalog for FaultyCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Option<Base>> {
        let base = self.inner.load(ident).await;
        // Long enough for others to move the table on.
        tokio::task::yield_now().await;
        base
    }

    async fn create(&self, ident: &TableIdent, creation: &Creation) -> Result<Base> {
        self.inner.create(ident, creation).await
    }

    async fn publish(&self, base: &Base, change: Change) -> Answer {
        let (fault, before) = {
            let mut state = self.state();
            state.publishes += 1;
            let fault = state.script.pop_front().unwrap_or(Fault::None);
            (fault, std::mem::take(&mut state.before))
        };
        self.deliver(before).await;
        let unknown = |kind| Answer::Unknown(Error::new(kind, "injected"));
        let after = std::mem::take(&mut self.state().after);
        let answer = match fault {
            Fault::None => self.inner.publish(base, change).await,
            Fault::LostRequest => unknown(Kind::Retry),
            Fault::Malformed => unknown(Kind::Config),
            Fault::LostAnswer => {
                self.inner.publish(base, change).await;
                unknown(Kind::Retry)
            }
            Fault::Replayed => match self.inner.publish(base, change).await {
                Answer::Committed(_) => Answer::Conflict,
                other => other,
            },
            Fault::LateBeforeNext => {
                self.state().before.push((base.clone(), change));
                unknown(Kind::Retry)
            }
            Fault::LateAfterNext => {
                self.state().after.push((base.clone(), change));
                unknown(Kind::Retry)
            }
        };
        self.deliver(after).await;
        answer
    }
}
