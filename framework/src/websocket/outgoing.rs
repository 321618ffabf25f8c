//! Sending messages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::conn::chunk::Chunk;
use crate::conn::output::Output;
use crate::error::Error;
use crate::websocket::head::{self, HEAD_MAX, Opcode};
use crate::websocket::mask;
use crate::websocket::message::Outgoing;
use crate::websocket::session::{Session, Shared};
use crate::websocket::state::{Sending, State};

/// The future of [`WebSocket::send`](super::WebSocket::send): it waits while the peer takes nothing.
///
/// May be dropped half-way: a message of which something is out goes on by itself, before whatever is
/// sent next or with the next [`next`](super::WebSocket::next); one of which nothing is out is not
/// sent.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a> {
    session: &'a Shared,
    /// What is not queued yet: empty once it has ended well. How far it is besides the session
    /// knows, of which there is one message at a time.
    payload: Output<'a>,
}

impl<'a> Send<'a> {
    pub(super) fn new(session: &'a Shared, message: Outgoing<'a>) -> Self {
        let sending = match message.is_text {
            true => Sending::Text,
            false => Sending::Binary,
        };
        session.with(|session| session.sending = sending);
        Self {
            session,
            payload: message.payload,
        }
    }
}

impl Future for Send<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let send = &mut *self;
        send.session.with(|session| {
            let poll = session.poll_send(context, &mut send.payload);
            let waits = poll.is_pending() && !session.is_half_sent();
            session.set_sender(waits.then(|| context.waker().clone()));
            if poll.is_ready() {
                session.sending = Sending::None;
            }
            poll
        })
    }
}

impl Drop for Send<'_> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut self.payload, Output::Slice(&[]));
        self.session.try_with(|session| session.give_up(left));
    }
}

impl Session {
    /// Of a message that is sent a part is out, and the one who sends it has the rest.
    pub(super) fn is_half_sent(&self) -> bool {
        self.sending == Sending::Begun
    }

    /// The one who was sending a message has gone, and has left this of it.
    fn give_up(&mut self, left: Output<'_>) {
        match std::mem::replace(&mut self.sending, Sending::None) {
            Sending::None => return,
            Sending::Begun => self.keep_rest(left),
            Sending::Text | Sending::Binary => self.set_sender(None),
        }
        self.stop_writing();
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        payload: &mut Output<'_>,
    ) -> Poll<Result<(), Error>> {
        let opcode = match self.sending {
            Sending::Text => Some(Opcode::Text),
            Sending::Binary => Some(Opcode::Binary),
            Sending::Begun | Sending::None => None,
        };
        if let Some(opcode) = opcode {
            if self.state != State::Open {
                return Poll::Ready(Err(self.refusal()));
            }
            ready!(self.poll_queued(context))?;
            ready!(self.poll_begin(context, opcode, payload))?;
            self.sending = Sending::Begun;
        }
        ready!(self.poll_rest(context))?;
        ready!(self.handle.poll_write(context, payload))?;
        self.sending = Sending::None;
        self.set_sender(None);
        // Whatever was to go out meanwhile; what does not go now goes with the next message, or while
        // one is waited for.
        Poll::Ready(self.write_queued(context))
    }

    /// Writes the head of a frame as soon as there is room for some of it.
    fn poll_begin(
        &mut self,
        context: &mut Context<'_>,
        opcode: Opcode,
        payload: &mut Output<'_>,
    ) -> Poll<Result<(), Error>> {
        if u32::try_from(payload.len() + HEAD_MAX).is_err() {
            return Poll::Ready(Err(Error::handler("4 GiB in one message")));
        }
        if self.is_client || self.deflates {
            *payload = Output::Chunk(self.encoded(opcode, payload));
            return Poll::Ready(Ok(()));
        }
        let (head, size) = head::write(opcode, false, payload.len(), None);
        let mut left = Output::Slice(&head[..size]);
        let poll = self.handle.poll_write(context, &mut left);
        let written = size - left.len();
        if written == 0 {
            return poll;
        }
        if written < size {
            let rest = Chunk::copy_of(&head[written..size], self.owner());
            self.rare().rest = Output::Chunk(rest);
        }
        Poll::Ready(Ok(()))
    }

    /// A whole frame whose bytes are other than those of its message: compressed, masked, or both.
    fn encoded(&self, opcode: Opcode, payload: &Output<'_>) -> Chunk {
        let owner = self.owner();
        let deflated = match self.deflates {
            true => deflate(payload.bytes()),
            false => None,
        };
        let bytes = deflated.as_deref().unwrap_or_else(|| payload.bytes());
        let key = self.new_key();
        let (head, size) = head::write(opcode, deflated.is_some(), bytes.len(), key);
        let mut frame = Chunk::copy_of(&head[..size], owner);
        frame.append(Chunk::copy_of(bytes, owner));
        if let Some(key) = key {
            mask::apply(&mut frame.make_mut(owner)[size..], key);
        }
        frame
    }
}

#[cfg(feature = "websocket-deflate")]
use crate::websocket::deflate::deflate;

#[cfg(not(feature = "websocket-deflate"))]
fn deflate(_: &[u8]) -> Option<Vec<u8>> {
    None
}

/// A text message as a server sends it, framed once, for all who are to get it: to be
/// [published](crate::Topic::publish), or [sent](crate::Peers::send_to) to a connection of any shard.
/// It comes to each between two of its handler's messages. A subscriber must have gone over to
/// WebSocket before it subscribes.
///
/// ```
/// use corelane::{Topic, websocket};
///
/// fn tell_all(hall: &Topic, news: &str) -> bool {
///     hall.publish(websocket::text_frame(news)).is_ok()
/// }
/// # let _ = tell_all;
/// ```
pub fn text_frame(text: &str) -> Arc<[u8]> {
    frame(Opcode::Text, text.as_bytes())
}

/// As [`text_frame`], of a binary message.
pub fn binary_frame(bytes: &[u8]) -> Arc<[u8]> {
    frame(Opcode::Binary, bytes)
}

fn frame(opcode: Opcode, payload: &[u8]) -> Arc<[u8]> {
    let (head, size) = head::write(opcode, false, payload.len(), None);
    [&head[..size], payload].concat().into()
}
