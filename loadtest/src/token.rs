//! Several runs at a time, of which one asks: then whatever else the machine does meets all of them
//! alike.
//!
//! Every run opens its connections and waits. The one that holds the token loads its server; once
//! it is revoked, requests under way come to their end, and another run has its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::control::{RunStage, SharedStage};

const NOBODY: u32 = u32::MAX;

/// One for all of the runs: written by the thread that conducts them.
#[derive(Debug)]
pub struct Token {
    /// How many turns there were in the upper half, and in the lower half the number of the run
    /// that holds it.
    turn: AtomicU64,
    /// Connections with a request under way, or about to look whether they may send one.
    busy: AtomicU32,
    /// The stage that the runs are called to: they go on to it when they see it.
    stage: SharedStage,
    /// How often a run has come to a stage in which it waits to be called.
    arrivals: AtomicUsize,
}

impl Token {
    /// Held by nobody.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            turn: AtomicU64::new(NOBODY.into()),
            busy: AtomicU32::new(0),
            stage: SharedStage::new(RunStage::Warming),
            arrivals: AtomicUsize::new(0),
        })
    }

    /// For the plan of run `number`.
    pub fn participant(self: &Arc<Self>, number: u32) -> Participant {
        Participant {
            token: Arc::clone(self),
            number,
        }
    }

    /// Gives it to run `number`. By one thread alone, as [`Self::revoke`].
    pub fn grant(&self, number: u32) {
        let turns = self.turn.load(Ordering::SeqCst) >> u32::BITS;
        let turn = (turns + 1) << u32::BITS | u64::from(number);
        self.turn.store(turn, Ordering::SeqCst);
    }

    /// Gives it to nobody.
    pub fn revoke(&self) {
        self.grant(NOBODY);
    }

    /// Whether there are requests under way.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// Calls all runs to a stage.
    pub fn call(&self, stage: RunStage) {
        self.stage.set(stage);
    }

    /// How often a run has come to a stage in which it waits to be called.
    pub fn arrivals(&self) -> usize {
        self.arrivals.load(Ordering::Acquire)
    }
}

/// One run among several.
#[derive(Debug, Clone)]
pub struct Participant {
    token: Arc<Token>,
    number: u32,
}

impl Participant {
    pub(crate) fn holds_token(&self) -> bool {
        self.turn().is_some()
    }

    /// The present turn, if it is this run's: another one than its last, even if nobody had one in
    /// between.
    pub(crate) fn turn(&self) -> Option<u64> {
        let turn = self.token.turn.load(Ordering::SeqCst);
        (turn as u32 == self.number).then_some(turn)
    }

    /// A connection is about to ask, as long as [`Self::holds_token`] says so. To be asked after
    /// this: nothing is under way only when nobody could still believe to hold the token.
    pub(crate) fn begin(&self) -> Busy<'_> {
        self.token.busy.fetch_add(1, Ordering::SeqCst);
        Busy(&self.token)
    }

    /// The run has come to a stage at whose end it is called.
    pub(crate) fn arrive(&self) {
        self.token.arrivals.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn called_to(&self) -> RunStage {
        self.token.stage.get()
    }
}

/// A connection with requests under way.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Token);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_the_token_and_nothing_is_under_way_when_the_last_request_is_over() {
        let token = Token::new();
        let [first, second] = [token.participant(0), token.participant(1)];
        assert!(!first.holds_token() && !second.holds_token());
        token.grant(1);
        assert!(!first.holds_token() && second.holds_token());
        let turn = second.turn();
        let requests = [second.begin(), second.begin()];
        token.revoke();
        for request in requests {
            assert!(!second.holds_token() && token.is_busy());
            drop(request);
        }
        assert!(!token.is_busy());
        token.grant(1);
        assert!(
            second.turn().is_some() && second.turn() != turn,
            "a turn of its own, though nobody else had one"
        );
    }

    #[test]
    fn runs_are_called_when_all_have_arrived() {
        let token = Token::new();
        let runs = [token.participant(0), token.participant(1)];
        runs.iter().for_each(Participant::arrive);
        assert_eq!(token.arrivals(), 2);
        assert!(runs.iter().all(|run| run.called_to() == RunStage::Warming));
        token.call(RunStage::Measuring);
        assert!(
            runs.iter()
                .all(|run| run.called_to() == RunStage::Measuring)
        );
    }
}
