//! Requests: from the first byte of one until its handler reads on, and by when that must be.
//!
//! A frame is what a parser sees, a request what a peer wants: its reading, the handler's work and the answer. Where it begins is plain: with
//! the first byte that comes while there is none. Its end is known by what the handler does, for a handler that frames for itself with `read`
//! asks for more both between requests and within one:
//!
//! - who has written something since and reads again, has answered;
//! - who was given a frame and wants the next one, is done with the first, answered or not;
//! - who says so.
//!
//! The next request begins with what is unread by then, else with the next byte. The former one's answer is covered until the kernel has
//! taken it, or the next one has begun. So a peer that drips one request gets no second clock, however often its handler reads; and one that
//! pipelines gets one for each.

use std::time::Duration;

use super::State;
use super::deadline::{Tick, Ticks};
use super::table::Talk;
use crate::ring::{Key, SlotIndex};

/// How far a connection has come with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is none.
    Between,
    /// Bytes of it have come.
    Open,
    /// The handler was given a whole frame.
    Framed,
    /// The handler has written something.
    Answered,
    /// The handler reads on, and the answer is on its way out.
    Leaving,
}

/// How a handler reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Whatever has come.
    Bytes,
    /// A frame.
    Frame,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    deadline: Tick,
    stage: Stage,
}

impl Request {
    const NONE: Self = Self { deadline: Tick::NEVER, stage: Stage::Between };

    /// Whether a handler that reads on is done with it. `within_frame`: it has read the beginning of a frame, and goes on with that one.
    fn ends_by(self, reading: Reading, within_frame: bool) -> bool {
        match self.stage {
            Stage::Answered => !within_frame,
            Stage::Framed => reading == Reading::Frame && !within_frame,
            Stage::Between | Stage::Open | Stage::Leaving => false,
        }
    }
}

/// The requests of a shard's connections, beside the table. Without a setting that needs them there are none, and each look finds nothing.
#[derive(Debug)]
pub(super) struct Requests {
    requests: Vec<Request>,
    within: Ticks,
    is_on: bool,
}

impl Requests {
    pub(super) fn new(within: Option<Duration>) -> Self {
        Self { requests: Vec::new(), within: Ticks::of(within), is_on: within.is_some() }
    }

    /// A connection begins.
    pub(super) fn begin(&mut self, slot: SlotIndex) {
        if !self.is_on {
            return;
        }
        if self.requests.len() <= slot.0 as usize {
            self.requests.resize(slot.0 as usize + 1, Request::NONE);
        }
        self.requests[slot.0 as usize] = Request::NONE;
    }

    fn get(&self, slot: SlotIndex) -> Option<Request> {
        self.requests.get(slot.0 as usize).copied()
    }

    fn set(&mut self, slot: SlotIndex, stage: Stage) {
        if let Some(request) = self.requests.get_mut(slot.0 as usize) {
            request.stage = stage;
        }
    }

    /// Bytes have come. Gives the deadline of the request that they begin, if they do.
    pub(super) fn heard(&mut self, slot: SlotIndex, now: Tick) -> Option<Tick> {
        let request = self.get(slot)?;
        matches!(request.stage, Stage::Between | Stage::Leaving).then(|| self.open(slot, now))
    }

    fn open(&mut self, slot: SlotIndex, now: Tick) -> Tick {
        let deadline = now.after(self.within);
        self.requests[slot.0 as usize] = Request { deadline, stage: Stage::Open };
        deadline
    }

    /// The handler was given a whole frame.
    pub(super) fn framed(&mut self, slot: SlotIndex) {
        if self.get(slot).is_some_and(|request| request.stage == Stage::Open) {
            self.set(slot, Stage::Framed);
        }
    }

    /// The handler has written something.
    pub(super) fn answered(&mut self, slot: SlotIndex) {
        if self.get(slot).is_some_and(|request| matches!(request.stage, Stage::Open | Stage::Framed)) {
            self.set(slot, Stage::Answered);
        }
    }

    /// By when the request must be over; never if there is none. One that was answered and read on from is over once nothing is `unsent`.
    pub(super) fn deadline(&mut self, slot: SlotIndex, unsent: bool) -> Tick {
        let Some(request) = self.get(slot) else { return Tick::NEVER };
        match request.stage {
            Stage::Between => Tick::NEVER,
            Stage::Leaving if !unsent => {
                self.set(slot, Stage::Between);
                Tick::NEVER
            }
            Stage::Open | Stage::Framed | Stage::Answered | Stage::Leaving => request.deadline,
        }
    }
}

impl State {
    /// The handler asks for more: the end of a request that it has answered or been given whole, and the beginning of the next if that is
    /// there already.
    pub(crate) fn read_on(&mut self, key: Key, reading: Reading) {
        let Some(request) = self.requests.get(key.slot) else { return };
        let Some(slot) = self.table.get(key).filter(|slot| slot.talk != Talk::Dialed) else { return };
        let (unread, within_frame) = (!slot.input.is_empty(), slot.frame_deadline != Tick::NEVER);
        let ends = request.ends_by(reading, within_frame);
        if unread && (ends || request.stage == Stage::Between) {
            let deadline = self.requests.open(key.slot, self.now);
            self.table.deadlines.lower(key.slot, deadline);
        } else if ends {
            self.requests.set(key.slot, Stage::Leaving);
        }
    }

    /// The handler says that the request is over.
    pub(crate) fn request_done(&mut self, key: Key) {
        if self.table.get(key).is_some() {
            self.requests.set(key.slot, Stage::Between);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotIndex = SlotIndex(2);

    fn requests() -> Requests {
        let mut requests = Requests::new(Some(Duration::from_secs(1)));
        requests.begin(SLOT);
        requests
    }

    #[test]
    fn only_the_first_byte_of_a_request_sets_its_deadline() {
        let mut requests = requests();
        let deadline = requests.heard(SLOT, Tick(10));
        assert_eq!(deadline, Some(Tick(10).after(Ticks::of(Some(Duration::from_secs(1))))));
        assert_eq!(requests.heard(SLOT, Tick(12)), None);
        assert_eq!(Some(requests.deadline(SLOT, false)), deadline);
    }

    #[test]
    fn an_answer_is_covered_until_it_is_sent_or_the_next_request_begins() {
        let mut requests = requests();
        let deadline = requests.heard(SLOT, Tick(10)).expect("a request begins");
        requests.answered(SLOT);
        requests.set(SLOT, Stage::Leaving);
        assert_eq!(requests.deadline(SLOT, true), deadline);
        assert!(requests.heard(SLOT, Tick(20)).is_some_and(|next| next > deadline));
        requests.set(SLOT, Stage::Leaving);
        assert_eq!(requests.deadline(SLOT, false), Tick::NEVER);
        assert_eq!(requests.deadline(SLOT, true), Tick::NEVER, "it is over, whatever is sent later");
    }

    #[test]
    fn reading_on_ends_what_was_answered_and_frames_that_were_given() {
        let table = [
            (Stage::Open, false, false),
            (Stage::Framed, false, true),
            (Stage::Answered, true, true),
            (Stage::Between, false, false),
            (Stage::Leaving, false, false),
        ];
        for (stage, by_bytes, by_frame) in table {
            let request = Request { stage, ..Request::NONE };
            assert_eq!(request.ends_by(Reading::Bytes, false), by_bytes, "{stage:?}");
            assert_eq!(request.ends_by(Reading::Frame, false), by_frame, "{stage:?}");
            assert!(!request.ends_by(Reading::Frame, true), "{stage:?}: the frame that has begun is not the next one");
        }
    }

    #[test]
    fn without_the_setting_nothing_is_kept() {
        let mut requests = Requests::new(None);
        requests.begin(SLOT);
        assert_eq!(requests.heard(SLOT, Tick(0)), None);
        requests.answered(SLOT);
        assert_eq!((requests.deadline(SLOT, true), requests.requests.capacity()), (Tick::NEVER, 0));
    }
}
