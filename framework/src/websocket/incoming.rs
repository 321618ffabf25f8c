//! From frames to messages (RFC 6455, 5.4 to 5.6 and 7).

use std::task::{Context, Poll, ready};

use crate::conn::chunk::Chunk;
use crate::error::Error;
use crate::shard::conns::EndOfInput;
use crate::shard::handle::Shard;
use crate::step::Step;
use crate::websocket::code::{Code, Violation};
use crate::websocket::head::{self, Head, Opcode, Rules};
use crate::websocket::mask;
use crate::websocket::message::{Message, Text};
use crate::websocket::session::Session;
use crate::websocket::state::{End, Partial, Rare, State};

const NOT_UTF8: Violation = Violation::payload("a text message is not UTF-8");
const TOO_LARGE: Violation = Violation::too_big("the message is too large");
const TOO_MANY: Violation = Violation::too_big("the message has too many fragments");

/// What was read: a message if it became whole.
type Read = Poll<Result<Option<Message>, Error>>;

impl Session {
    /// The next message; none at the end.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Read {
        let read = self.poll_message(context);
        self.is_reading = read.is_pending();
        read
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Read {
        loop {
            match self.state {
                State::Open | State::CloseSent => {}
                State::Ending => return self.poll_end(context).map_ok(|()| None),
                State::Over => return Poll::Ready(Ok(None)),
            }
            self.tick(context);
            self.write_queued(context)?;
            self.set_deadline();
            let read = match self.rare_if_any().map_or(0, |rare| rare.left) {
                0 => self.poll_frame(context),
                left => self.poll_payload(context, left),
            };
            match read {
                Poll::Pending => {
                    self.tidy();
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => {
                    self.state = State::Over;
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(Some(message))) if self.state == State::Open => {
                    return Poll::Ready(Ok(Some(message)));
                }
                Poll::Ready(Ok(_)) => {} // behind our close frame nobody wants it
            }
        }
    }

    /// Pings when it is time.
    fn tick(&mut self, context: &mut Context<'_>) {
        let Some(ticker) = self.ticker() else {
            return;
        };
        if ticker.poll_tick(context).is_pending() {
            return;
        }
        let _it_waits_again = ticker.poll_tick(context);
        let is_pinged = |rare: &Rare| rare.pong_until.is_some();
        if self.rare_if_any().is_some_and(is_pinged) || self.state != State::Open {
            return;
        }
        self.queue_ping();
        let until = self.clock().saturating_add(self.options.pong_timeout);
        self.rare().pong_until = Some(until);
    }

    /// What is under way has a deadline of its own, which each frame that was read has ended.
    fn set_deadline(&self) {
        let Some(rare) = self.rare_if_any() else {
            return;
        };
        let message = rare.partial.as_ref().map(|partial| partial.until);
        let all = [message, rare.pong_until, rare.close_until];
        if let Some(until) = all.into_iter().flatten().min() {
            self.handle.with(|conn| {
                let within = until.saturating_sub(conn.clock());
                conn.set_read_deadline(Some(within));
            });
        }
    }

    /// A frame, or as much as there is of it.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Read {
        let rare = self.rare_if_any();
        let rules = Rules {
            is_masked: !self.is_client,
            deflates: self.deflates,
            in_message: rare.is_some_and(|rare| rare.partial.is_some()),
        };
        let mut parse = |bytes: &[u8]| head::parse(bytes, rules);
        let frame = match ready!(self.handle.poll_parsed(context, usize::MAX, &mut parse)) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Poll::Ready(self.input_ended(false)),
            Err(Error::Truncated) => return Poll::Ready(self.input_ended(true)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.has_heard();
        let head = match frame.value {
            Ok(head) => head,
            Err(violation) => {
                self.violate(violation);
                return Poll::Ready(Ok(None));
            }
        };
        let mut payload = frame.bytes;
        payload.advance(head.size);
        if let Some(key) = head.key {
            mask::apply(payload.make_mut(self.owner()), key);
        }
        if head.opcode.is_control() {
            self.take_control(head.opcode, &payload);
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(self.begin_frame(head, payload)))
    }

    /// More of what a data frame carries.
    fn poll_payload(&mut self, context: &mut Context<'_>, left: u64) -> Read {
        let mut parse = |bytes: &[u8]| Step::Frame {
            value: (),
            length: left.min(bytes.len() as u64) as usize,
        };
        let frame = match ready!(self.handle.poll_parsed(context, usize::MAX, &mut parse)) {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(Error::Truncated) => return Poll::Ready(self.input_ended(true)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.has_heard();
        let mut piece = frame.bytes;
        let owner = self.owner();
        let rare = self.rare();
        rare.left -= piece.len() as u64;
        if let Some(key) = rare.key {
            rare.key = Some(mask::after(key, piece.len()));
            mask::apply(piece.make_mut(owner), key);
        }
        Poll::Ready(Ok(self.add(piece)))
    }

    /// The peer lives.
    fn has_heard(&mut self) {
        if let Some(rare) = self.rare_mut_if_any() {
            rare.pong_until = None;
        }
        if self.is_client {
            self.handle.with(|conn| conn.set_read_deadline(None));
        }
    }

    // ---- data ----

    fn begin_frame(&mut self, head: Head, payload: Chunk) -> Option<Message> {
        let (message_max, fragments_max) =
            (self.options.message_max(), self.options.fragments_max());
        let partial = self.rare_if_any().and_then(|rare| rare.partial.as_ref());
        let (before, frames) = partial.map_or((0, 0), |partial| {
            (partial.bytes.len() as u64, partial.frames)
        });
        if head.length > message_max - before.min(message_max) {
            self.violate(TOO_LARGE);
            return None;
        }
        if frames >= fragments_max {
            self.violate(TOO_MANY);
            return None;
        }
        let is_text = head.opcode == Opcode::Text;
        let is_whole = payload.len() as u64 == head.length;
        if frames == 0 && head.is_last && is_whole {
            return self.complete(is_text, head.is_compressed, payload, None);
        }
        let until = self.clock().saturating_add(self.options.message_timeout);
        let rare = self.rare();
        rare.left = head.length - payload.len() as u64;
        rare.is_last = head.is_last;
        rare.key = head.key.map(|key| mask::after(key, payload.len()));
        let partial = rare.partial.get_or_insert_with(|| Partial {
            is_text,
            is_compressed: head.is_compressed,
            bytes: Chunk::default(),
            valid: 0,
            frames: 0,
            until,
        });
        partial.frames += 1;
        self.add(payload)
    }

    /// More of a message that comes in pieces.
    fn add(&mut self, piece: Chunk) -> Option<Message> {
        let rare = self.rare_mut_if_any()?;
        let is_over = rare.left == 0 && rare.is_last;
        let partial = rare.partial.as_mut()?;
        partial.bytes.append(piece);
        if partial.is_text && !partial.is_compressed {
            match str::from_utf8(&partial.bytes[partial.valid..]) {
                Ok(_) => partial.valid = partial.bytes.len(),
                Err(error) => {
                    partial.valid += error.valid_up_to();
                    if error.error_len().is_some() {
                        self.violate(NOT_UTF8);
                        return None;
                    }
                }
            }
        }
        if !is_over {
            return None;
        }
        let whole = rare.partial.take()?;
        self.complete(
            whole.is_text,
            whole.is_compressed,
            whole.bytes,
            Some(whole.valid),
        )
    }

    /// A message has come, of whose bytes so many are known to be UTF-8.
    fn complete(
        &mut self,
        is_text: bool,
        is_compressed: bool,
        mut bytes: Chunk,
        mut valid: Option<usize>,
    ) -> Option<Message> {
        if is_compressed {
            valid = None;
            match inflate(&bytes, self.options.message_max(), self.owner()) {
                Ok(inflated) => bytes = inflated,
                Err(violation) => {
                    self.violate(violation);
                    return None;
                }
            }
        }
        let is_valid = match valid {
            _ if !is_text => true,
            Some(valid) => valid == bytes.len(),
            None => str::from_utf8(&bytes).is_ok(),
        };
        if !is_valid {
            self.violate(NOT_UTF8);
            return None;
        }
        Shard::with(|shard| shard.metrics.messages.add(1));
        Some(match is_text {
            true => Message::Text(Text::of_valid(bytes)),
            false => Message::Binary(bytes),
        })
    }

    // ---- control ----

    fn take_control(&mut self, opcode: Opcode, payload: &[u8]) {
        match opcode {
            Opcode::Ping if self.state == State::Open => self.queue_pong(payload),
            Opcode::Close => match parse_close(payload) {
                Ok((code, reason)) => self.peer_closes(code, reason),
                Err(violation) => self.violate(violation),
            },
            _ => {}
        }
    }

    /// The peer closes: it gets its code back, unless we have closed before (RFC 6455, 5.5.1).
    fn peer_closes(&mut self, code: Option<Code>, reason: &str) {
        self.queue_close(code, "");
        self.state = State::Ending;
        let rare = self.rare();
        (rare.partial, rare.left) = (None, 0);
        let reason = reason.to_owned();
        rare.end = Some(End::Closed { code, reason });
    }

    // ---- the end ----

    /// No more comes; `is_within`: within a frame.
    fn input_ended(&mut self, is_within: bool) -> Result<Option<Message>, Error> {
        let end = self.handle.with(|conn| conn.end_of_input()).flatten();
        if self.state == State::CloseSent {
            self.state = State::Ending; // and so it would not answer
            return Ok(None);
        }
        if end == Some(EndOfInput::Drain) {
            self.queue_close(Some(Code::GOING_AWAY), "the server is shutting down");
            self.state = State::Ending;
            self.rare().end = Some(End::Drained);
            return Ok(None);
        }
        let rare = self.rare();
        let is_within = is_within || rare.partial.is_some();
        rare.end = Some(End::Abandoned);
        rare.partial = None;
        self.state = State::Over;
        match is_within {
            true => Err(Error::Truncated),
            false => Ok(None),
        }
    }

    /// What is queued goes out, and our FIN: so what was said last is read, whatever the peer has sent
    /// and nobody has read.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.is_half_sent() {
            if let Some(sender) = self.rare().sender.take() {
                sender.wake(); // to learn that it comes too late
            }
            ready!(self.poll_flush(context))?;
            ready!(self.handle.poll_close(context))?;
            self.state = State::Over;
        }
        match self.rare().violation.take() {
            Some(why) => Poll::Ready(Err(Error::Protocol(why))),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// What a close frame says.
fn parse_close(payload: &[u8]) -> Result<(Option<Code>, &str), Violation> {
    let Some((number, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok((None, "")),
            _ => Err(Violation::protocol("a close frame with half a code")),
        };
    };
    let code = Code::new(u16::from_be_bytes(*number));
    let code = code.ok_or(Violation::protocol("a close code that may not be sent"))?;
    let reason = str::from_utf8(reason);
    let reason = reason.map_err(|_| Violation::payload("the reason of a close is not UTF-8"))?;
    Ok((Some(code), reason))
}

#[cfg(feature = "websocket-deflate")]
use crate::websocket::deflate::inflate;

/// Without the feature none is agreed to, so none comes.
#[cfg(not(feature = "websocket-deflate"))]
fn inflate(_: &[u8], _: u64, _: crate::id::Key) -> Result<Chunk, Violation> {
    Err(Violation::protocol("a compressed message"))
}
