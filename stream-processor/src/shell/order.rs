//! Several threads between two pipes: things leave in the order in which they came, however long each takes.
//!
//! Owns that order. It must never know what is done with the things.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Where one thing comes out, once somebody is done with it.
pub(crate) type Place<O> = Receiver<O>;

/// The way in. Shared by the threads that do the work.
pub(crate) struct Intake<I, O> {
    ends: Mutex<Ends<I, O>>,
}

struct Ends<I, O> {
    input: Receiver<I>,
    places: Sender<Place<O>>,
}

impl<I, O> Intake<I, O> {
    /// What comes through `input` leaves in the order of `places`, which holds as many as may be under way.
    pub(crate) fn new(input: Receiver<I>, places: Sender<Place<O>>) -> Self {
        Self { ends: Mutex::new(Ends { input, places }) }
    }

    /// The next thing, and where its outcome goes; `None` when either end has hung up.
    ///
    /// Who waits here keeps the others waiting, so that a place in line is taken along with the thing.
    pub(crate) fn take(&self) -> Option<(I, Sender<O>)> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let thing = ends.input.recv().ok()?;
        let (outcome, place) = bounded(1);
        ends.places.send(place).ok()?;
        Some((thing, outcome))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use std::collections::BTreeSet;
    use std::thread;

    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn what_is_done_first_leaves_in_its_turn() {
        let (input_in, input) = bounded(2);
        let (places_in, places) = bounded(2);
        let intake = Intake::<u32, u32>::new(input, places_in);
        input_in.send(1).unwrap();
        input_in.send(2).unwrap();
        let (first, first_out) = intake.take().unwrap();
        let (second, second_out) = intake.take().unwrap();
        second_out.send(second).unwrap();
        first_out.send(first).unwrap();
        let left: Vec<u32> = places.try_iter().map(|place| place.recv().unwrap()).collect();
        assert_eq!(left, [1, 2]);
    }

    #[test]
    fn threads_that_race_change_no_order() {
        let (input_in, input) = unbounded();
        (0..50_000).for_each(|number| input_in.send(number).unwrap());
        drop(input_in);
        let (places_in, places) = bounded(4);
        let intake = Intake::<u32, (u32, thread::ThreadId)>::new(input, places_in);
        thread::scope(|scope| {
            // Hangs up if an assertion fails, so that the threads end.
            let places = places;
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((number, outcome)) = intake.take() {
                        if outcome.send((number, thread::current().id())).is_err() {
                            break;
                        }
                        thread::yield_now();
                    }
                });
            }
            let mut workers = BTreeSet::new();
            for number in 0..50_000 {
                let (found, worker) = places.recv().unwrap().recv().unwrap();
                assert_eq!(found, number);
                workers.insert(format!("{worker:?}"));
            }
            assert!(workers.len() > 1, "one thread did it all: nothing was seen");
        });
    }

    #[test]
    fn an_outcome_that_never_comes_is_noticed() {
        let (input_in, input) = bounded(1);
        let (places_in, places) = bounded(1);
        let intake = Intake::<u32, u32>::new(input, places_in);
        input_in.send(1).unwrap();
        drop(intake.take().unwrap());
        assert!(places.recv().unwrap().recv().is_err());
    }

    #[test]
    fn either_end_that_hangs_up_ends_it() {
        let (input_in, input) = bounded::<u32>(1);
        let (places_in, places) = bounded::<Place<u32>>(1);
        let intake = Intake::new(input, places_in);
        input_in.send(1).unwrap();
        drop(places);
        assert!(intake.take().is_none());
        let (places_in, _places) = bounded::<Place<u32>>(1);
        let (input_in, input) = bounded::<u32>(1);
        let intake = Intake::new(input, places_in);
        drop(input_in);
        assert!(intake.take().is_none());
    }
}
