//! The clock, chance and sleep of a simulated process: thread-local, so that worlds run side by side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, select};

use super::Dice;

struct Seam {
    now: Duration,
    wall_ms: i64,
    dice: Dice,
    /// When each pause under way is over.
    pauses: BTreeMap<u64, Duration>,
    paused: u64,
}

thread_local! {
    static HERE: RefCell<Option<Seam>> = const { RefCell::new(None) };
}

fn here<T>(ask: impl FnOnce(&mut Seam) -> T) -> Option<T> {
    HERE.with_borrow_mut(|seam| seam.as_mut().map(ask))
}

/// Time and chance on this thread follow from a seed for as long as this lives.
#[derive(Debug)]
pub struct Simulation(());

impl Simulation {
    /// Begins; only one can be under way on a thread.
    ///
    /// # Panics
    ///
    /// Another one is under way.
    pub fn begin(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let begun =
            Seam { now: Duration::ZERO, wall_ms: 0, dice, pauses: BTreeMap::new(), paused: 0 };
        let before = HERE.with_borrow_mut(|seam| seam.replace(begun));
        assert!(before.is_none(), "one simulation at a time on a thread");
        Self(())
    }

    /// Sets what the process that is polled next reads: the time since the beginning, and its wall clock.
    pub fn set(&self, now: Duration, wall_ms: i64) {
        here(|seam| (seam.now, seam.wall_ms) = (now, wall_ms));
    }

    /// When the first of all pauses under way is over.
    pub fn next_wake(&self) -> Option<Duration> {
        here(|seam| seam.pauses.values().min().copied()).flatten()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        HERE.set(None);
    }
}

pub(crate) fn now() -> Option<Duration> {
    here(|seam| seam.now)
}

pub(crate) fn wall_ms() -> Option<i64> {
    here(|seam| seam.wall_ms)
}

pub(crate) fn bits() -> Option<u64> {
    here(|seam| seam.dice.bits())
}

/// A pause of the simulated clock.
pub(crate) struct Pause {
    id: u64,
    until: Duration,
}

pub(crate) fn pause(duration: Duration) -> Option<Pause> {
    here(|seam| {
        seam.paused += 1;
        let (id, until) = (seam.paused, seam.now + duration);
        seam.pauses.insert(id, until);
        Pause { id, until }
    })
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // Whoever drives the world polls again when it has moved the clock.
        if now().is_none_or(|now| now >= self.until) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        here(|seam| seam.pauses.remove(&self.id));
    }
}

/// What `work` comes to, unless `pause` is over before.
pub(crate) async fn first<T>(work: impl Future<Output = T>, pause: Pause) -> Option<T> {
    match select(pin!(work), pause).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(((), _)) => None,
    }
}
