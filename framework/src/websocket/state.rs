//! What a WebSocket has in hand, and how far it is with it.

use std::task::Waker;
use std::time::Duration;

use crate::conn::chunk::Chunk;
use crate::conn::output::Output;
use crate::websocket::code::Code;

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// We have said that we close; the peer has not.
    CloseSent,
    /// All is said as soon as what is queued is out: then our FIN goes out.
    Ending,
    Over,
}

/// How far the message is that is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    None,
    Text,
    Binary,
    /// Its head is written or kept; what is left of its frame the one who sends it has.
    Begun,
}

/// What was agreed to in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) subprotocol: u8,
    pub(super) deflates: bool,
}

/// What a connection holds while it has something in hand.
#[derive(Debug)]
pub(super) struct Rare {
    // ---- what comes ----
    /// Of the data frame that is being read: what is left of it, whether it is its message's last,
    /// and its key from there on.
    pub(super) left: u64,
    pub(super) is_last: bool,
    pub(super) key: Option<[u8; 4]>,
    pub(super) partial: Option<Partial>,
    /// When a peer that was pinged, and has said nothing since, must have.
    pub(super) pong_until: Option<Duration>,
    // ---- what goes out ----
    /// The rest of frames that are half out.
    pub(super) rest: Output<'static>,
    /// A whole frame; a later one takes its place (RFC 6455, 5.5.3).
    pub(super) pong: Vec<u8>,
    /// Whole frames behind it.
    pub(super) control: Vec<u8>,
    /// One who sends waits for room, and writes all this first.
    pub(super) sender: Option<Waker>,
    // ---- the end ----
    /// When the peer must have closed, too.
    pub(super) close_until: Option<Duration>,
    pub(super) end: Option<End>,
    pub(super) violation: Option<&'static str>,
}

/// A message of which not all has come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) is_text: bool,
    pub(super) is_compressed: bool,
    pub(super) bytes: Chunk,
    /// Bytes of it that are known to be UTF-8.
    pub(super) valid: usize,
    pub(super) frames: u32,
    pub(super) until: Duration,
}

/// How a WebSocket has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The peer has closed it, or has answered our closing.
    Closed {
        /// Why, if it has said so (RFC 6455 calls it 1005 if not).
        code: Option<Code>,
        /// In words, for the log.
        reason: String,
    },
    /// The peer has ended the connection between two messages without closing the WebSocket (RFC
    /// 6455 calls it 1006).
    Abandoned,
    /// The server drains, and has told the peer so (1001).
    Drained,
    /// The peer has broken a rule, and was told the code.
    Broken(Code),
}

impl Default for Rare {
    fn default() -> Self {
        Self {
            left: 0,
            is_last: false,
            key: None,
            partial: None,
            pong_until: None,
            rest: Output::Slice(&[]),
            pong: Vec::new(),
            control: Vec::new(),
            sender: None,
            close_until: None,
            end: None,
            violation: None,
        }
    }
}

impl Rare {
    pub(super) fn is_needed(&self) -> bool {
        self.left > 0
            || self.partial.is_some()
            || self.pong_until.is_some()
            || self.has_output()
            || self.sender.is_some()
            || self.close_until.is_some()
            || self.end.is_some()
            || self.violation.is_some()
    }

    pub(super) fn has_output(&self) -> bool {
        !(self.rest.is_empty() && self.pong.is_empty() && self.control.is_empty())
    }
}
