//! A connection as an operator sees it.

use std::time::Duration;

use crate::error::CloseReason;
use crate::shard::commands::survey::{Close, Row};
use crate::shard::conns::conn_mut::ConnMut;
use crate::shard::conns::interest::Interest;
use crate::shard::conns::slot::{Origin, Phase, RecvState, SendState};
use crate::time::Tick;

impl ConnMut<'_> {
    pub(crate) fn row(&mut self) -> Row {
        let (ends, idle) = (self.next_end(), self.idle());
        let (slot, shared) = (&*self.slot, &*self.shared);
        let until = |tick: Tick| tick.start().saturating_sub(shared.clock);
        let unread = shared
            .segments
            .iter(slot.input)
            .map(|buffer| u64::from(buffer.len()));
        let age = shared.now.start().saturating_sub(slot.opened.start());
        let subscriptions = shared.topics.subscriptions_of(self.key.slot);
        Row {
            id: self.id(),
            peer: self.peer(),
            listener: (!self.is_outbound()).then(|| self.entrance()),
            origin: origin(slot.origin),
            phase: phase(slot.phase),
            age,
            // Deadlines are rounded up.
            idle: idle.map(|idle| idle.min(age)),
            unread_bytes: unread.sum(),
            unsent_bytes: slot.output_bytes.into(),
            deadline: ends.map(|(reason, tick)| (reason, until(tick))),
            receive: receive(slot.recv),
            send: send(slot.send),
            waits_for: self.waits_for(),
            subscriptions,
            is_told_to_end: false,
        }
    }

    /// Ends it because an operator says so. False: nobody serves it, and it ends by itself.
    pub(crate) fn close_by_operator(&mut self, how: Close) -> bool {
        let is_served = self.slot.phase == Phase::Serving && !self.slot.is_outbound();
        match how {
            _ if !is_served => {}
            Close::AtOnce => self.fail(CloseReason::ClosedByOperator),
            Close::Politely => self.end_input(),
        }
        is_served
    }

    /// For how long the peer has been silent: what runs tells when that began.
    fn idle(&mut self) -> Option<Duration> {
        let (reason, ends) = self.next_end()?;
        let bounds = &self.shared.bounds;
        let bound = match reason {
            "idle_timeout" => {
                self.shared
                    .own_timeouts
                    .of(self.key.slot, |own| own.idle, bounds.idle)
            }
            "first_byte_timeout" => bounds.first_byte,
            _ => return None,
        };
        let began = ends.start().saturating_sub(bound.length());
        Some(self.shared.clock.saturating_sub(began))
    }

    fn waits_for(&self) -> &'static str {
        let waits = self.slot.waits;
        let has = [Interest::Input, Interest::Space, Interest::Flushed].map(|of| waits.has(of));
        match has {
            [false, false, false] => "nothing of it",
            [true, false, false] => "input",
            [false, true, _] => "room to write",
            [false, false, true] => "the end of its output",
            [true, _, _] => "input and output",
        }
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Accepted => "accepted",
        Origin::Overflow => "overflow",
        Origin::Outbound => "outbound",
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Free => "free",
        Phase::Connecting => "connecting",
        Phase::Held => "held",
        Phase::Serving => "serving",
        Phase::Flushing => "flushing",
        Phase::Lingering => "lingering",
        Phase::Closing | Phase::CloseInFlight => "closing",
    }
}

fn receive(state: RecvState) -> &'static str {
    match state {
        RecvState::Disarmed => "off",
        RecvState::Armed => "armed",
        RecvState::Polled => "polled",
        RecvState::Cancelling => "cancelling",
        RecvState::Starved => "waits for a buffer",
        RecvState::Ended => "ended",
    }
}

fn send(state: SendState) -> &'static str {
    match state {
        SendState::Idle => "idle",
        SendState::InFlight => "in the kernel",
        SendState::FinInFlight | SendState::FinSent => "ended",
    }
}
