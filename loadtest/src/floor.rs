//! Several runs at a time, of which one speaks: what the machine does meanwhile then meets all of
//! them alike.
//!
//! Every run opens its connections and waits. Who has the floor loads its server; when it must
//! yield, what is under way comes to its end, and another one has its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::orders::{SharedStage, Stage};

/// The number of no run.
const NOBODY: u32 = u32::MAX;

/// One for all of the runs: written by who conducts them.
#[derive(Debug)]
pub(crate) struct Floor {
    /// Whose turn it is: how many turns there were in the upper half, and in the lower half the
    /// number of the run that may speak.
    turn: AtomicU64,
    /// Connections with a request under way, or about to look whether they may send one.
    speaking: AtomicU32,
    /// The stage that the runs are called to: they go on to it when they see it.
    stage: SharedStage,
    /// How often a run has come to a stage in which it waits to be called.
    arrivals: AtomicUsize,
}

impl Floor {
    pub(crate) fn new() -> Arc<Self> {
        let (turn, speaking, arrivals) = (
            AtomicU64::new(NOBODY.into()),
            AtomicU32::new(0),
            AtomicUsize::new(0),
        );
        Arc::new(Self {
            turn,
            speaking,
            stage: SharedStage::new(Stage::Warming),
            arrivals,
        })
    }

    pub(crate) fn seat(self: &Arc<Self>, number: u32) -> Seat {
        Seat {
            floor: Arc::clone(self),
            number,
        }
    }

    pub(crate) fn give(&self, number: u32) {
        self.begin_turn(number);
    }

    pub(crate) fn take(&self) {
        self.begin_turn(NOBODY);
    }

    /// Called by one thread alone.
    fn begin_turn(&self, number: u32) {
        let turns = self.turn.load(Ordering::SeqCst) >> u32::BITS;
        self.turn.store(
            (turns + 1) << u32::BITS | u64::from(number),
            Ordering::SeqCst,
        );
    }

    /// Whether there are requests under way.
    pub(crate) fn is_spoken_on(&self) -> bool {
        self.speaking.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn call(&self, stage: Stage) {
        self.stage.set(stage);
    }

    pub(crate) fn arrivals(&self) -> usize {
        self.arrivals.load(Ordering::Acquire)
    }
}

/// The place of one run among several.
#[derive(Debug, Clone)]
pub struct Seat {
    floor: Arc<Floor>,
    number: u32,
}

impl Seat {
    pub(crate) fn has_floor(&self) -> bool {
        self.turn().is_some()
    }

    /// The present turn, if it is this run's: another one than its last, even if nobody had one in
    /// between.
    pub(crate) fn turn(&self) -> Option<u64> {
        let turn = self.floor.turn.load(Ordering::SeqCst);
        (turn as u32 == self.number).then_some(turn)
    }

    /// A connection is about to speak, as long as [`Self::has_floor`] says so. To be asked after
    /// this: the floor is free only when nobody could still believe to have it.
    pub(crate) fn speak(&self) -> Speaking<'_> {
        self.floor.speaking.fetch_add(1, Ordering::SeqCst);
        Speaking(&self.floor)
    }

    /// The run has come to a stage at whose end it is called.
    pub(crate) fn arrive(&self) {
        self.floor.arrivals.fetch_add(1, Ordering::Release);
    }

    /// The stage that the run is called to.
    pub(crate) fn called_to(&self) -> Stage {
        self.floor.stage.get()
    }
}

/// A connection with requests under way.
#[derive(Debug)]
pub(crate) struct Speaking<'a>(&'a Floor);

impl Drop for Speaking<'_> {
    fn drop(&mut self) {
        self.0.speaking.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_floor_and_it_is_free_when_the_last_word_is_said() {
        let floor = Floor::new();
        let [first, second] = [floor.seat(0), floor.seat(1)];
        assert!(!first.has_floor() && !second.has_floor());
        floor.give(1);
        assert!(!first.has_floor() && second.has_floor());
        let turn = second.turn();
        let words = [second.speak(), second.speak()];
        floor.take();
        for word in words {
            assert!(!second.has_floor() && floor.is_spoken_on());
            drop(word);
        }
        assert!(!floor.is_spoken_on());
        floor.give(1);
        assert!(
            second.turn().is_some() && second.turn() != turn,
            "a turn of its own, though nobody else had one"
        );
    }

    #[test]
    fn runs_are_called_when_all_have_arrived() {
        let floor = Floor::new();
        let seats = [floor.seat(0), floor.seat(1)];
        seats.iter().for_each(Seat::arrive);
        assert_eq!(floor.arrivals(), 2);
        assert!(seats.iter().all(|seat| seat.called_to() == Stage::Warming));
        floor.call(Stage::Measuring);
        assert!(
            seats
                .iter()
                .all(|seat| seat.called_to() == Stage::Measuring)
        );
    }
}
