//! Requests: each lasts from its first byte until its handler reads on; this sets by when.
//!
//! A frame is what a parser sees, a request what a peer wants: its reading, the handler's work and
//! the answer. Where it begins is plain: with the first byte that comes while there is none. Its
//! end is known by what the handler does, for a handler that frames for itself with `read` asks for
//! more both between requests and within one:
//!
//! - who has written something since and reads again, has answered;
//! - who was given a frame and wants the next one, is done with the first, answered or not;
//! - who says so.
//!
//! The next request begins with what is unread by then, else with the next byte. The former one's
//! answer is covered until the kernel has taken it, or the next one has begun. So a peer that drips
//! one request gets no second clock, however often its handler reads; and one that pipelines gets
//! one for each.

use std::time::Duration;

use crate::id::SlotIndex;
use crate::shard::policy::min_rate::{Rate, Sweep, pending};
use crate::time::{Tick, Ticks};

/// How far a connection has come with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestState {
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
    /// Bytes that came since the mark.
    received: u32,
    state: RequestState,
    /// It was in want of bytes at the last look at its rate, and for no fault of ours ever since.
    is_marked: bool,
}

/// What one takes beside the table.
pub(crate) const BYTES: usize = size_of::<Request>();

impl Request {
    const NONE: Self = Self {
        deadline: Tick::NEVER,
        received: 0,
        state: RequestState::Between,
        is_marked: false,
    };

    /// Whether a handler that reads on is done with it. `within_frame`: it has read the beginning
    /// of a frame, and goes on with that one.
    fn ends_by(self, reading: Reading, within_frame: bool) -> bool {
        match self.state {
            RequestState::Answered => !within_frame,
            RequestState::Framed => reading == Reading::Frame && !within_frame,
            RequestState::Between | RequestState::Open | RequestState::Leaving => false,
        }
    }
}

/// The requests of a shard's connections, beside the table. Without a setting that needs them there
/// are none, and each look finds nothing.
#[derive(Debug)]
pub(crate) struct RequestTimers {
    requests: Vec<Request>,
    within: Ticks,
    is_on: bool,
    /// At the rate at which they come in.
    pub(crate) sweep: Sweep,
}

impl RequestTimers {
    /// Each over `within`, and coming in at `rate` at least.
    pub(crate) fn new(within: Option<Duration>, rate: Option<Rate>) -> Self {
        let is_on = within.is_some() || rate.is_some();
        Self {
            requests: Vec::new(),
            within: Ticks::of(within),
            is_on,
            sweep: Sweep::new(rate),
        }
    }

    /// From now on they are to be over `within`, for `slots` slots: those that begin. One that has
    /// begun keeps its deadline, or has none any more. True: deadlines have changed.
    pub(crate) fn set_within(&mut self, within: Option<Duration>, slots: usize) -> bool {
        let within = Ticks::of(within);
        if self.within == within {
            return false;
        }
        self.within = within;
        if !self.has_deadlines() {
            let requests = self.requests.iter_mut();
            requests.for_each(|request| request.deadline = Tick::NEVER);
        }
        self.fit_to(slots);
        true
    }

    /// From `now` on they are to come in at `rate`, for `slots` slots. Nobody is judged by a time in
    /// which it was another.
    pub(crate) fn set_rate(&mut self, rate: Option<Rate>, slots: usize, now: Tick) {
        if self.sweep.rate == rate {
            return;
        }
        self.sweep = Sweep::new(rate);
        self.sweep.one_is_pending(now);
        self.fit_to(slots);
        self.reset_windows();
    }

    fn fit_to(&mut self, slots: usize) {
        self.is_on = self.has_deadlines() || self.sweep.rate.is_some();
        let slots = if self.is_on { slots } else { 0 };
        self.requests.resize(slots, Request::NONE);
    }

    fn has_deadlines(&self) -> bool {
        self.within != Ticks::of(None)
    }

    /// A connection begins or ends.
    pub(crate) fn reset(&mut self, slot: SlotIndex) {
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

    fn set(&mut self, slot: SlotIndex, state: RequestState) {
        if let Some(request) = self.requests.get_mut(slot.0 as usize) {
            request.state = state;
        }
    }

    /// So many bytes have come. Gives the deadline of the request that they begin, if they do.
    pub(crate) fn heard(&mut self, slot: SlotIndex, bytes: u32, now: Tick) -> Option<Tick> {
        self.goes_on(slot, bytes);
        let request = self.requests.get_mut(slot.0 as usize)?;
        matches!(request.state, RequestState::Between | RequestState::Leaving)
            .then(|| self.open(slot, now))
    }

    /// So many bytes have come, of which nobody knows yet whether they are of a request.
    pub(crate) fn goes_on(&mut self, slot: SlotIndex, bytes: u32) {
        if let Some(request) = self.requests.get_mut(slot.0 as usize) {
            request.received = request.received.saturating_add(bytes);
        }
    }

    fn open(&mut self, slot: SlotIndex, now: Tick) -> Tick {
        let deadline = now.after(self.within);
        self.requests[slot.0 as usize] = Request {
            deadline,
            state: RequestState::Open,
            ..Request::NONE
        };
        self.sweep.one_is_pending(now);
        deadline
    }

    /// The handler was given a whole frame.
    pub(crate) fn framed(&mut self, slot: SlotIndex) {
        if self
            .get(slot)
            .is_some_and(|request| request.state == RequestState::Open)
        {
            self.set(slot, RequestState::Framed);
        }
    }

    /// The handler has written something.
    pub(crate) fn answered(&mut self, slot: SlotIndex) {
        if self.get(slot).is_some_and(|request| {
            matches!(request.state, RequestState::Open | RequestState::Framed)
        }) {
            self.set(slot, RequestState::Answered);
        }
    }

    /// The handler reads on. This ends a request that it has answered or got whole; if more is
    /// `unread`, the next begins. Gives the deadline of that one.
    pub(crate) fn read_on(
        &mut self,
        slot: SlotIndex,
        reading: Reading,
        unread: bool,
        within_frame: bool,
        now: Tick,
    ) -> Option<Tick> {
        let request = self.get(slot)?;
        let ends = request.ends_by(reading, within_frame);
        if unread && (ends || request.state == RequestState::Between) {
            return Some(self.open(slot, now));
        }
        if ends {
            self.set(slot, RequestState::Leaving);
        } else if request.state == RequestState::Framed && reading == Reading::Bytes {
            // What follows the frame belongs to it, as a body to its head.
            self.set(slot, RequestState::Open);
        }
        None
    }

    /// The handler says that the request is over.
    pub(crate) fn done(&mut self, slot: SlotIndex) {
        self.set(slot, RequestState::Between);
    }

    /// Those whose rate is to be looked at now: that are not whole yet, as far as the shard knows.
    pub(crate) fn due_now(&mut self, now: Tick, clock: Duration) -> Vec<SlotIndex> {
        self.sweep.take(now, clock, || {
            pending(&self.requests, |request| {
                request.state == RequestState::Open
            })
        })
    }

    /// True: too little has come of it since the mark. `is_pending`: its peer is waited for, and
    /// can be judged from now on.
    pub(crate) fn is_too_slow(&mut self, slot: SlotIndex, is_pending: bool) -> bool {
        let (Some(request), Some(rate)) = (self.requests.get_mut(slot.0 as usize), self.sweep.rate)
        else {
            return false;
        };
        let slow = is_pending && request.is_marked && !rate.is_met_by(request.received);
        request.received = 0;
        request.is_marked = is_pending;
        slow
    }

    /// What comes of it until the next look says nothing of its peer.
    pub(crate) fn reset_window(&mut self, slot: SlotIndex) {
        if let Some(request) = self.requests.get_mut(slot.0 as usize) {
            request.is_marked = false;
        }
    }

    pub(crate) fn reset_windows(&mut self) {
        self.requests
            .iter_mut()
            .for_each(|request| request.is_marked = false);
    }

    /// By when the request must be over; never if there is none. One that was answered and read on
    /// from is over once nothing is `unsent`.
    pub(crate) fn deadline(&mut self, slot: SlotIndex, unsent: bool) -> Tick {
        let Some(request) = self.get(slot) else {
            return Tick::NEVER;
        };
        match request.state {
            RequestState::Between => Tick::NEVER,
            RequestState::Leaving if !unsent => {
                self.set(slot, RequestState::Between);
                Tick::NEVER
            }
            RequestState::Open
            | RequestState::Framed
            | RequestState::Answered
            | RequestState::Leaving => request.deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotIndex = SlotIndex(2);

    fn requests() -> RequestTimers {
        let rate = Rate::of_receiving(100, Duration::from_secs(1));
        let mut requests = RequestTimers::new(Some(Duration::from_secs(1)), Some(rate));
        requests.reset(SLOT);
        requests
    }

    #[test]
    fn only_the_first_byte_of_a_request_sets_its_deadline() {
        let mut requests = requests();
        let deadline = requests.heard(SLOT, 1, Tick(10));
        assert_eq!(
            deadline,
            Some(Tick(10).after(Ticks::of(Some(Duration::from_secs(1)))))
        );
        assert_eq!(requests.heard(SLOT, 1, Tick(12)), None);
        assert_eq!(Some(requests.deadline(SLOT, false)), deadline);
    }

    #[test]
    fn an_answer_is_covered_until_it_is_sent_or_the_next_request_begins() {
        let mut requests = requests();
        let deadline = requests.heard(SLOT, 1, Tick(10)).expect("a request begins");
        requests.answered(SLOT);
        requests.set(SLOT, RequestState::Leaving);
        assert_eq!(requests.deadline(SLOT, true), deadline);
        assert!(
            requests
                .heard(SLOT, 1, Tick(20))
                .is_some_and(|next| next > deadline)
        );
        requests.set(SLOT, RequestState::Leaving);
        assert_eq!(requests.deadline(SLOT, false), Tick::NEVER);
        assert_eq!(
            requests.deadline(SLOT, true),
            Tick::NEVER,
            "it is over, whatever is sent later"
        );
    }

    #[test]
    fn reading_on_ends_what_was_answered_and_frames_that_were_given() {
        let table = [
            (RequestState::Open, false, false),
            (RequestState::Framed, false, true),
            (RequestState::Answered, true, true),
            (RequestState::Between, false, false),
            (RequestState::Leaving, false, false),
        ];
        for (state, by_bytes, by_frame) in table {
            let request = Request {
                state,
                ..Request::NONE
            };
            assert_eq!(
                request.ends_by(Reading::Bytes, false),
                by_bytes,
                "{state:?}"
            );
            assert_eq!(
                request.ends_by(Reading::Frame, false),
                by_frame,
                "{state:?}"
            );
            assert!(
                !request.ends_by(Reading::Frame, true),
                "{state:?}: the frame that has begun is not the next one"
            );
        }
    }

    #[test]
    fn a_request_is_judged_by_the_windows_that_lie_within_it() {
        let mut requests = requests();
        assert_eq!(requests.sweep.due(Tick(0)), Tick::NEVER);
        requests.heard(SLOT, 1, Tick(0));
        assert_eq!(
            requests.due_now(requests.sweep.due(Tick(0)), Duration::ZERO),
            [SLOT]
        );
        assert!(
            !requests.is_too_slow(SLOT, true),
            "the first window has begun before it"
        );
        requests.heard(SLOT, 100, Tick(12));
        assert!(!requests.is_too_slow(SLOT, true));
        requests.heard(SLOT, 99, Tick(20));
        assert!(requests.is_too_slow(SLOT, true));
        requests.framed(SLOT);
        assert_eq!(
            (
                requests.due_now(Tick(30), Duration::ZERO).len(),
                requests.sweep.due(Tick(30))
            ),
            (0, Tick::NEVER)
        );
    }

    #[test]
    fn a_window_in_which_we_did_not_read_is_not_held_against_its_peer() {
        let mut requests = requests();
        requests.heard(SLOT, 1, Tick(0));
        assert!(!requests.is_too_slow(SLOT, true));
        requests.reset_window(SLOT);
        assert!(!requests.is_too_slow(SLOT, true));
        assert!(!requests.is_too_slow(SLOT, false), "the handler is at work");
        assert!(!requests.is_too_slow(SLOT, true));
        assert!(requests.is_too_slow(SLOT, true));
    }

    #[test]
    fn without_the_setting_nothing_is_kept() {
        let mut requests = RequestTimers::new(None, None);
        requests.reset(SLOT);
        assert_eq!(requests.heard(SLOT, 1, Tick(0)), None);
        requests.answered(SLOT);
        assert_eq!(
            (requests.deadline(SLOT, true), requests.requests.capacity()),
            (Tick::NEVER, 0)
        );
    }

    #[test]
    fn another_bound_is_that_of_the_requests_that_begin() {
        const SECOND: Option<Duration> = Some(Duration::from_secs(1));
        let mut requests = RequestTimers::new(None, None);
        assert!(requests.set_within(SECOND, 3));
        assert!(!requests.set_within(SECOND, 3), "nothing has changed");
        let begun = requests.heard(SLOT, 1, Tick(0));
        assert_eq!(begun, Some(Tick(0).after(Ticks::of(SECOND))));
        requests.set_within(Some(Duration::from_secs(9)), 3);
        assert_eq!(Some(requests.deadline(SLOT, false)), begun, "it has begun");
        requests.set_rate(
            Some(Rate::of_receiving(1, Duration::from_secs(1))),
            2,
            Tick(0),
        );
        requests.set_within(None, 3);
        assert_eq!(requests.deadline(SLOT, false), Tick::NEVER);
        requests.set_rate(None, 3, Tick(0));
        assert_eq!(requests.heard(SLOT, 1, Tick(0)), None);
    }
}
