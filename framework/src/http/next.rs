//! From one request to the next: what is left of the one before, and then a head.

use std::task::{Context, Poll, ready};

use crate::conn::chunk::Chunk;
use crate::error::Error;
use crate::http::exchange::{Place, Reply, in_hand};
use crate::http::head::{self, Found};
use crate::http::refusal::Refusal;
use crate::http::session::Session;
use crate::http::status::Status;
use crate::step::Step;

/// Empty lines before a request that are passed over (RFC 9112, 2.2 asks for one). No key: no client
/// sends more.
const EMPTY_LINES_MAX: u8 = 4;

const UNANSWERED: Refusal = Refusal::of(Status::INTERNAL_SERVER_ERROR, "the request has no answer");

impl Session {
    /// Whether there is a next request. Then the session has it in hand.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        loop {
            match self.reply() {
                Reply::Idle if self.is_over() => {
                    self.put_exchange();
                    return Poll::Ready(Ok(false));
                }
                Reply::Idle => match ready!(self.poll_head(context))? {
                    None => return Poll::Ready(Ok(false)),
                    Some(Found::Head) => return Poll::Ready(Ok(true)),
                    Some(Found::EmptyLine) => {}
                    Some(Found::Refused(refusal)) => self.refuse(refusal),
                },
                Reply::Awaited => self.refuse(UNANSWERED), // its handler has dropped it
                Reply::Refused(why) => return self.poll_refused(context, why).map(Err),
                Reply::Whole => {
                    ready!(self.poll_rest(context))?;
                }
                Reply::Upgraded => {
                    self.end();
                    self.exchange_mut().clear();
                }
                Reply::Invalid(why) => return Poll::Ready(Err(Error::handler(why))),
                Reply::Sending | Reply::Streamed => {
                    let why = "an answer was begun and not brought to its end";
                    return Poll::Ready(Err(Error::handler(why)));
                }
            }
        }
    }

    /// What is left of a request that was answered.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.is_over() && self.exchange_mut().body.place != Place::End {
            match ready!(self.poll_skip(context)) {
                Ok(true) => {}
                // Its peer was answered, and goes.
                Ok(false) | Err(Error::Truncated) => self.end(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.exchange_mut().clear();
        Poll::Ready(Ok(()))
    }

    /// What comes next; none at the end of the input.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Found>, Error>> {
        if self.in_hand >= self.limits.pipelined_max {
            ready!(self.handle.poll_flush(context))?;
            self.in_hand = 0;
        }
        if self.head_is_in_hand() {
            return Poll::Ready(Ok(Some(Found::Head)));
        }
        let (handle, limits) = (self.handle, &*self.limits);
        let exchange = in_hand(&mut self.exchange);
        let (scanned, said) = (&mut self.scanned, &mut exchange.said);
        let mut parse = |bytes: &[u8]| {
            let is_begun = *scanned > 0;
            let step = head::parse(bytes, scanned, limits, said);
            if step == Step::NeedMore && !is_begun {
                handle.with(|conn| conn.set_read_deadline(Some(limits.header_timeout)));
            }
            step
        };
        let frame = match handle.poll_parsed(context, usize::MAX, &mut parse) {
            Poll::Pending => {
                self.in_hand = 0; // what was written goes out now
                self.put_exchange();
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame?,
        };
        let Some(frame) = frame else {
            self.put_exchange();
            return Poll::Ready(Ok(None));
        };
        let mut found = frame.value;
        match found {
            Found::Head => {
                let length = frame.bytes.len();
                exchange.set_input(frame.bytes);
                self.begin(length);
            }
            Found::EmptyLine if self.empty_lines == EMPTY_LINES_MAX => {
                found = Found::Refused(Refusal::bad("too many empty lines before a request"));
            }
            Found::EmptyLine => self.empty_lines += 1,
            Found::Refused(_) => {}
        }
        Poll::Ready(Ok(Some(found)))
    }

    /// Begins with the next head, if all of it has been received. Requests that were sent ahead are
    /// taken from one buffer, one after the other, without a way to the connection's queue for each.
    fn head_is_in_hand(&mut self) -> bool {
        if self.scanned > 0 || self.empty_lines > 0 {
            return false; // a head that comes in pieces has a deadline, which its frame ends
        }
        let (handle, limits) = (self.handle, &*self.limits);
        let exchange = in_hand(&mut self.exchange);
        if exchange.rest().is_empty() {
            match handle.take_input() {
                Some(input) => exchange.set_input(input),
                None => {
                    exchange.set_input(Chunk::empty());
                    return false;
                }
            }
        } else if !handle.may_read_on() {
            self.give_back();
            return false;
        }
        let rest = exchange.input.get(exchange.head_end..).unwrap_or_default();
        let Step::Frame {
            value: Found::Head,
            length,
        } = head::parse(rest, &mut 0, limits, &mut exchange.said)
        else {
            self.give_back();
            return false;
        };
        self.begin(length);
        true
    }

    /// The request has come whose head are the next `length` bytes of what was received.
    fn begin(&mut self, length: usize) {
        self.requests_left -= 1;
        self.in_hand += 1;
        self.empty_lines = 0;
        let limits = &*self.limits;
        let exchange = in_hand(&mut self.exchange);
        exchange.begin(length, limits);
        if exchange.body.place != Place::End {
            self.give_back(); // the body is read from the connection
        }
    }
}
