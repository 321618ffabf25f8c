//! A connection that speaks WebSocket: where its peer and its handler are.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::conn::chunk::Chunk;
use crate::conn::handle::Handle;
use crate::conn::output::Output;
use crate::error::Error;
use crate::id::Key;
use crate::shard::conns::interest::Interest;
use crate::shard::futures::every::Every;
use crate::websocket::code::{Code, Violation};
use crate::websocket::head::{self, CONTROL_MAX, Opcode};
use crate::websocket::options::Options;
use crate::websocket::state::{Agreed, End, Rare, Sending, State};
use crate::websocket::{mask, random};

/// What [`WebSocket`](super::WebSocket) and its halves work on. An idle connection keeps it, so it is
/// small.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) handle: Handle,
    pub(super) options: Rc<Options>,
    /// None while nothing is half-way, unless the peer is pinged.
    extra: Option<Box<Extra>>,
    pub(super) state: State,
    pub(super) is_client: bool,
    pub(super) deflates: bool,
    /// Somebody waits for what comes.
    pub(super) is_reading: bool,
    /// The message that is being sent.
    pub(super) sending: Sending,
    /// The number of the one that is spoken, from 1 on; 0: none.
    pub(super) subprotocol: u8,
}

/// What few have, in one pointer.
#[derive(Debug, Default)]
struct Extra {
    ticker: Option<Every>,
    rare: Option<Box<Rare>>,
}

/// A session that two halves have. It is taken out for each poll: a flag for a borrow would be room
/// that an idle connection takes.
pub(super) struct Shared(Cell<Option<Session>>);

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self(Cell::new(Some(session)))
    }

    /// None where a panic has lost it.
    pub(super) fn try_with<R>(&self, act: impl FnOnce(&mut Session) -> R) -> Option<R> {
        let mut session = self.0.take()?;
        let acted = act(&mut session);
        self.0.set(Some(session));
        Some(acted)
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Session) -> R) -> R {
        let acted = self.try_with(act);
        acted.expect("no poll is within a poll, and whoever has panicked is not polled")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shared")
    }
}

impl Session {
    pub(super) fn new(
        handle: Handle,
        options: &Rc<Options>,
        is_client: bool,
        agreed: Agreed,
    ) -> Self {
        let place = handle.key.slot.0;
        let ticker = |period| Every::at_place(place, period);
        let pinged = |period| Extra {
            ticker: Some(ticker(period)),
            rare: None,
        };
        Self {
            handle,
            options: Rc::clone(options),
            extra: options.ping_interval.map(pinged).map(Box::new),
            state: State::Open,
            is_client,
            deflates: agreed.deflates,
            is_reading: false,
            sending: Sending::None,
            subprotocol: agreed.subprotocol,
        }
    }

    pub(super) fn owner(&self) -> Key {
        self.handle.key
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        let extra = self.extra.get_or_insert_default();
        extra.rare.get_or_insert_default()
    }

    pub(super) fn rare_if_any(&self) -> Option<&Rare> {
        self.extra.as_ref()?.rare.as_deref()
    }

    pub(super) fn rare_mut_if_any(&mut self) -> Option<&mut Rare> {
        self.extra.as_mut()?.rare.as_deref_mut()
    }

    pub(super) fn ticker(&mut self) -> Option<&mut Every> {
        self.extra.as_mut()?.ticker.as_mut()
    }

    /// Gives memory back that nothing needs.
    pub(super) fn tidy(&mut self) {
        let Some(extra) = &mut self.extra else {
            return;
        };
        if extra.rare.as_ref().is_some_and(|rare| !rare.is_needed()) {
            extra.rare = None;
        }
        if extra.rare.is_none() && extra.ticker.is_none() {
            self.extra = None;
        }
    }

    pub(super) fn clock(&self) -> Duration {
        let clock = self.handle.with(|conn| conn.clock());
        clock.unwrap_or_default()
    }

    // ---- frames of ours ----

    /// A key for a frame, if ours are masked.
    pub(super) fn new_key(&self) -> Option<[u8; 4]> {
        self.is_client.then(random::bytes)
    }

    /// A control frame.
    fn control(&self, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let key = self.new_key();
        let payload = &payload[..payload.len().min(CONTROL_MAX)];
        let (head, size) = head::write(opcode, false, payload.len(), key);
        let mut frame = head[..size].to_vec();
        frame.extend_from_slice(payload);
        if let Some(key) = key {
            mask::apply(&mut frame[size..], key);
        }
        frame
    }

    pub(super) fn queue_ping(&mut self) {
        let mut ping = self.control(Opcode::Ping, b"");
        self.rare().control.append(&mut ping);
    }

    pub(super) fn queue_pong(&mut self, payload: &[u8]) {
        self.rare().pong = self.control(Opcode::Pong, payload);
    }

    /// Says that we close, once.
    pub(super) fn queue_close(&mut self, code: Option<Code>, reason: &str) {
        if self.state != State::Open {
            return;
        }
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.number().to_be_bytes());
            let most = reason.floor_char_boundary(CONTROL_MAX - payload.len());
            payload.extend_from_slice(&reason.as_bytes()[..most]);
        }
        let mut close = self.control(Opcode::Close, &payload);
        self.rare().control.append(&mut close);
        self.state = State::CloseSent;
    }

    /// We close; the peer is waited for.
    pub(super) fn begin_close(&mut self, code: Code, reason: &str) {
        if self.state == State::Open {
            self.queue_close(Some(code), reason);
            let until = self.clock().saturating_add(self.options.close_timeout);
            self.rare().close_until = Some(until);
        }
    }

    /// The peer has broken a rule: it is told which, and that is the end.
    pub(super) fn violate(&mut self, violation: Violation) {
        let Violation { code, why } = violation;
        self.queue_close(Some(code), why);
        self.state = State::Ending;
        let rare = self.rare();
        (rare.partial, rare.left) = (None, 0);
        rare.end = Some(End::Broken(code));
        rare.violation = Some(why);
    }

    // ---- writing ----

    /// Writes what is queued between two messages. Not while one is half out.
    pub(super) fn poll_queued(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (handle, owner, state) = (self.handle, self.owner(), self.state);
        while let Some(rare) = self.rare_mut_if_any().filter(|rare| rare.has_output()) {
            ready!(handle.poll_write(context, &mut rare.rest))?;
            let mut frames = std::mem::take(&mut rare.pong);
            frames.append(&mut rare.control);
            let mut left = Output::Slice(&frames);
            let poll = handle.poll_write(context, &mut left);
            let written = frames.len() - left.len();
            rare.rest = Output::Chunk(Chunk::copy_of(&frames[written..], owner));
            ready!(poll)?;
            if state != State::Open {
                // Nothing that others publish comes behind a close frame.
                handle.with(|conn| conn.set_writing(true));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The same, for one who does not wait for it: if another does, that one sees to it.
    pub(super) fn write_queued(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if self.is_half_sent() || self.has_sender() {
            return Ok(());
        }
        match self.poll_queued(context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    fn has_sender(&self) -> bool {
        self.rare_if_any().is_some_and(|rare| rare.sender.is_some())
    }

    /// Who sends waits for room, or does no more.
    pub(super) fn set_sender(&mut self, sender: Option<Waker>) {
        if sender.is_some() || self.has_sender() {
            self.rare().sender = sender;
        }
    }

    /// The rest of a frame that is half out, and nothing behind it.
    pub(super) fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let handle = self.handle;
        match self.rare_mut_if_any() {
            Some(rare) => handle.poll_write(context, &mut rare.rest),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_queued(context))?;
        self.handle.poll_flush(context)
    }

    /// The one who was sending a message has gone: what is left of it goes out before anything else.
    pub(super) fn keep_rest(&mut self, left: Output<'_>) {
        let owner = self.owner();
        let rest = &mut self.rare().rest;
        let own = match left {
            Output::Slice(bytes) => Output::Chunk(Chunk::copy_of(bytes, owner)),
            Output::Chunk(chunk) => Output::Chunk(chunk),
            Output::Shared(bytes) => Output::Shared(bytes),
        };
        *rest = match std::mem::replace(rest, Output::Slice(&[])) {
            head if head.is_empty() => own,
            head => Output::Shared([head.bytes(), own.bytes()].concat().into()),
        };
    }

    /// The future that may have waited for what comes was dropped.
    pub(super) fn stop_reading(&mut self) {
        if std::mem::take(&mut self.is_reading) {
            self.handle.stop_waiting(Interest::Input);
            if self.state == State::Ending {
                self.handle.stop_waiting(Interest::Flushed);
            }
            self.stop_writing();
        }
    }

    /// The future that may have waited for a flush was dropped.
    pub(super) fn stop_flushing(&self) {
        self.handle.stop_waiting(Interest::Flushed);
        self.stop_writing();
    }

    /// A future that may have waited to write was dropped. While a frame is half out nothing that
    /// others publish may come between.
    pub(super) fn stop_writing(&self) {
        if self.is_half_sent() || self.has_sender() {
            return; // another one waits
        }
        let is_half_out = self.rare_if_any().is_some_and(|rare| !rare.rest.is_empty());
        if is_half_out || self.state != State::Open {
            self.handle.stop_waiting(Interest::Space);
        } else {
            self.handle.stop_writing();
        }
    }

    /// Why nothing can be sent any more.
    pub(super) fn refusal(&self) -> Error {
        let rare = self.rare_if_any();
        Error::Closed(match rare.and_then(|rare| rare.end.as_ref()) {
            Some(End::Closed { .. } | End::Abandoned) => CloseReason::PeerClosed,
            _ => CloseReason::HandlerClosed,
        })
    }
}
