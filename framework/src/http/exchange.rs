//! One request and its answer: all that a connection holds while it has one in hand, and nothing
//! that an idle one holds. Exchanges are lent by their thread, so that a request allocates nothing.

use std::cell::RefCell;
use std::time::Duration;

use crate::conn::chunk::Chunk;
use crate::conn::output::Output;
use crate::http::head::{Framing, Head};
use crate::http::limits::Limits;
use crate::http::status::Status;
use crate::time::Tick;

/// Exchanges that a thread keeps for later. No key: a turn serves its connections one after the
/// other, so few are in hand at a time.
const SPARE_MAX: usize = 64;
/// Bytes of output that a spare exchange has room for at most.
const SPARE_OUT_MAX: usize = 8 * 1024;

thread_local! {
    #[expect(clippy::vec_box, reason = "a box moves into a connection and back, whatever its size")]
    static SPARE: RefCell<Vec<Box<Exchange>>> = const { RefCell::new(Vec::new()) };
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reply {
    /// There is no request.
    #[default]
    Idle,
    /// A request waits for it.
    Awaited,
    /// It is refused: nothing of it is sent, and why not.
    Invalid(&'static str),
    /// It is being written, and is then as said in `then`.
    Sending,
    /// Its head is out, and its content comes in parts.
    Streamed,
    /// All of it is written.
    Whole,
    /// The request is refused in the layer's own words; the connection ends behind them.
    Refused(&'static str),
    /// The connection speaks another protocol from now on.
    Upgraded,
}

/// How content that comes in parts ends (RFC 9112, 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parts {
    /// With the last chunk.
    #[default]
    Chunked,
    /// After so many bytes more.
    Length(u64),
    /// With the connection.
    UntilClose,
    /// None of them is sent: of an answer to HEAD, say.
    Unsent,
}

/// Where in a body its reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind it.
    #[default]
    End,
    /// So many bytes before its end.
    Length(u64),
    /// Before the line of a chunk, the first one or a later one.
    FirstLine,
    Line,
    /// In a chunk, so many bytes before its end.
    Chunk(u64),
    Trailers,
}

/// A body on its way in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Incoming {
    pub(super) place: Place,
    /// Bytes of the body so far.
    pub(super) received: u64,
    /// Of these, those that nobody wanted.
    pub(super) skipped: u32,
    /// Bytes of chunk extensions so far.
    pub(super) extensions: u32,
    /// Of the trailers.
    pub(super) scanned: u16,
    /// A mistake in it was found that could not be told.
    pub(super) is_faulty: bool,
    /// Bytes that are left to be written of `100 Continue`.
    pub(super) continue_left: u8,
    /// For how long more it may be waited for.
    pub(super) allowance: Duration,
    /// Since when it is.
    pub(super) waits_since: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What was received, where it lies: the head, and requests behind it that were sent ahead.
    pub(super) input: Chunk,
    /// Where the head begins in it, and where it ends.
    pub(super) head_start: usize,
    pub(super) head_end: usize,
    pub(super) said: Head,
    pub(super) body: Incoming,
    pub(super) reply: Reply,
    /// What the answer is once that which is being written is out.
    pub(super) then: Reply,
    pub(super) parts: Parts,
    /// What is to be written, in this order: these bytes from the `written`th on; those; and these.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    pub(super) held: Output<'static>,
    pub(super) end: &'static [u8],
    /// The beginning of the answer before: one of the same status in the same tick begins alike.
    pub(super) beginning: Vec<u8>,
    pub(super) begins: Option<(Status, Tick)>,
}

/// The interim answer to `Expect: 100-continue` (RFC 9110, 15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Default for Exchange {
    fn default() -> Self {
        Self {
            input: Chunk::empty(),
            head_start: 0,
            head_end: 0,
            said: Head::default(),
            body: Incoming::default(),
            reply: Reply::Idle,
            then: Reply::Idle,
            parts: Parts::Chunked,
            out: Vec::new(),
            written: 0,
            held: Output::Slice(&[]),
            end: &[],
            beginning: Vec::new(),
            begins: None,
        }
    }
}

/// The exchange of a session, which gets one if it has none.
pub(super) fn in_hand(exchange: &mut Option<Box<Exchange>>) -> &mut Exchange {
    match exchange {
        Some(exchange) => exchange,
        none => none.insert(Exchange::take()),
    }
}

/// How many exchanges nobody on this thread has.
#[cfg(test)]
pub(crate) fn spare() -> usize {
    SPARE.with_borrow(Vec::len)
}

impl Exchange {
    /// One without a request, from this thread's if it has one.
    #[cold] // as often as a connection speaks after a silence, and not for each request
    fn take() -> Box<Self> {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        spare.ok().flatten().unwrap_or_default()
    }

    /// Gives it back.
    pub(super) fn put(mut self: Box<Self>) {
        self.clear();
        self.set_input(Chunk::empty());
        self.out.shrink_to(SPARE_OUT_MAX);
        let _at_the_threads_end = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(self);
            }
        });
    }

    /// The bytes of the head.
    pub(super) fn head(&self) -> &[u8] {
        self.input
            .get(self.head_start..self.head_end)
            .unwrap_or_default()
    }

    /// What was sent ahead of it.
    pub(super) fn rest(&self) -> &[u8] {
        self.input.get(self.head_end..).unwrap_or_default()
    }

    /// Takes the rest out.
    pub(super) fn take_rest(&mut self) -> Chunk {
        let head = self.input.split_to(self.head_end);
        std::mem::replace(&mut self.input, head)
    }

    /// A request has come whose head are the next `length` bytes, and waits for its answer.
    pub(super) fn begin(&mut self, length: usize, limits: &Limits) {
        self.head_start = self.head_end;
        self.head_end += length;
        self.reply = Reply::Awaited;
        let place = match self.said.framing {
            Framing::None => return,
            Framing::Length(length) => Place::Length(length),
            Framing::Chunked => Place::FirstLine,
        };
        let expects = self.said.expects_continue;
        self.body = Incoming {
            place,
            continue_left: if expects { CONTINUE.len() as u8 } else { 0 },
            allowance: limits.body_timeout,
            ..Incoming::default()
        };
    }

    /// What was received is used up.
    pub(super) fn set_input(&mut self, input: Chunk) {
        self.input = input;
        self.head_start = 0;
        self.head_end = 0;
    }

    pub(super) fn is_written(&self) -> bool {
        self.written == self.out.len() && self.held.is_empty() && self.end.is_empty()
    }

    /// All that was to be written is: the answer is as far as was said in `then`.
    pub(super) fn end_write(&mut self) {
        self.out.clear();
        self.written = 0;
        if self.reply == Reply::Sending {
            self.reply = self.then;
        }
    }

    /// It is over. What was sent ahead stays.
    pub(super) fn clear(&mut self) {
        self.reply = Reply::Idle;
        self.said.is_head = false;
        if self.body.received > 0 || self.body.place != Place::End {
            self.body = Incoming::default();
        }
        self.out.clear();
        self.written = 0;
        if !self.held.is_empty() {
            self.held = Output::Slice(&[]);
        }
        self.end = &[];
    }
}
